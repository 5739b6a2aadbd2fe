//! The span of time in which steps count, and the protocol of a driver; see README.md.

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Whatever ends the program.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// `CONCURRENCY WARMUP SECONDS`
struct Order {
    concurrency: usize,
    warmup: f64,
    seconds: f64,
}

impl FromStr for Order {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let numbers: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [concurrency, warmup, seconds] => Ok(Self { concurrency: concurrency as usize, warmup, seconds }),
            _ => Err(format!("not CONCURRENCY WARMUP SECONDS: {line}")),
        }
    }
}

/// Counts steps, and keeps the times between those within the window.
#[derive(Default)]
pub(crate) struct Window(Mutex<State>);

#[derive(Default)]
struct State {
    opened: Option<Instant>,
    over: bool,
    total: u64,
    counted: u64,
    periods: Vec<Duration>,
}

impl Window {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A step ran; `period` is how long ago the one before it ran.
    pub(crate) fn step(&self, period: Option<Duration>) {
        self.with(|state| {
            state.total += 1;
            if state.opened.is_some() && !state.over {
                state.counted += 1;
                state.periods.extend(period);
            }
        });
    }

    fn is_over(&self) -> bool {
        self.with(|state| state.over)
    }

    fn reset(&self) {
        self.with(|state| *state = State::default());
    }

    fn open(&self) {
        self.with(|state| state.opened = Some(Instant::now()));
        say(&json!({"event": "begin"}));
    }

    fn close(&self) {
        let closed = self.with(|state| {
            state.over = true;
            state.periods.sort_unstable();
            let middle = state.periods.get(state.periods.len() / 2);
            json!({
                "event": "end",
                "steps": state.counted,
                "seconds": state.opened.map(|opened| opened.elapsed().as_secs_f64()),
                "p50": middle.map(|period| period.as_secs_f64() * 1_000.0),
            })
        });
        say(&closed);
    }

    fn idle(&self) {
        say(&json!({"event": "idle", "steps": self.with(|state| state.total)}));
    }
}

/// 300 letters that no other step returned: what repeats would be compressed to nothing.
pub(crate) fn payload() -> String {
    let mut state = RandomState::new().hash_one(()) | 1;
    let letters = (0..300).map(|_| {
        // Xorshift: these are not secrets.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + (state >> 32) as u8 % 26)
    });
    letters.collect()
}

/// Carries out orders until stdin ends. `task` does one task from its creation to its end.
pub(crate) async fn drive<F, T>(window: &Arc<Window>, task: F) -> Result<(), Failure>
where
    F: Fn() -> T + Clone + Send + 'static,
    T: Future<Output = Result<(), Failure>> + Send,
{
    say(&json!({"event": "ready"}));
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = orders.next_line().await? {
        carry_out(window, &task, line.parse()?).await?;
    }
    Ok(())
}

/// Keeps so many tasks going until the window has closed.
async fn carry_out<F, T>(window: &Arc<Window>, task: &F, order: Order) -> Result<(), Failure>
where
    F: Fn() -> T + Clone + Send + 'static,
    T: Future<Output = Result<(), Failure>> + Send,
{
    window.reset();
    let clients = (0..order.concurrency).map(|_| {
        let (task, window) = (task.clone(), window.clone());
        tokio::spawn(async move {
            while !window.is_over() {
                task().await?;
            }
            Ok::<_, Failure>(())
        })
    });
    let clients: Vec<_> = clients.collect();
    tokio::time::sleep(Duration::from_secs_f64(order.warmup)).await;
    window.open();
    tokio::time::sleep(Duration::from_secs_f64(order.seconds)).await;
    window.close();
    for client in clients {
        client.await??;
    }
    window.idle();
    Ok(())
}

/// One line of JSON on stdout.
fn say(line: &Value) {
    let mut stdout = std::io::stdout().lock();
    // Without a reader nobody wants the figures any more.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
