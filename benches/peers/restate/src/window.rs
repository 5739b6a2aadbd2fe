//! The span of time in which steps count, and what is said about it.

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// `CONCURRENCY WARMUP SECONDS`
pub(crate) struct Order {
    pub(crate) concurrency: usize,
    pub(crate) warmup: f64,
    pub(crate) seconds: f64,
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

    pub(crate) fn is_over(&self) -> bool {
        self.with(|state| state.over)
    }

    pub(crate) fn reset(&self) {
        self.with(|state| *state = State::default());
    }

    pub(crate) fn open(&self) {
        self.with(|state| state.opened = Some(Instant::now()));
        say(&json!({"event": "begin"}));
    }

    pub(crate) fn close(&self) {
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

    pub(crate) fn idle(&self) {
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

/// One line of JSON on stdout.
pub(crate) fn say(line: &Value) {
    let mut stdout = std::io::stdout().lock();
    // Without a reader nobody wants the figures any more.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
