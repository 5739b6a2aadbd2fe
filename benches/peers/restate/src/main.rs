//! The measured work as a Restate service, and the client that keeps C tasks going.
//!
//! Speaks the protocol of README.md, one directory above, over stdin and stdout. `RESTATE_INGRESS` and
//! `RESTATE_ADMIN` hold the addresses of the server.

mod window;

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use restate_sdk::prelude::{Context, ContextSideEffects, Endpoint, HandlerResult, HttpServer, RunFuture};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

use self::window::{Order, Window};

/// Steps of one task.
const STEPS: usize = 10;

struct Peer {
    window: Arc<Window>,
}

#[restate_sdk::service]
impl Peer {
    /// One task. The time between two closures is what one durable step takes: Restate lets the
    /// handler go on when the result before is on the disk.
    #[handler]
    async fn task(&self, context: Context<'_>) -> HandlerResult<()> {
        let mut last: Option<Instant> = None;
        for _ in 0..STEPS {
            context
                .run(|| {
                    let now = Instant::now();
                    self.window.step(last.map(|before| now - before));
                    last = Some(now);
                    async { Ok(window::payload()) }
                })
                .name("step")
                .await?;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let window = Arc::new(Window::default());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let peer = Peer { window: window.clone() };
    tokio::spawn(HttpServer::new(Endpoint::builder().bind(peer).build()).serve(listener));
    let client = reqwest::Client::builder().build()?;
    let deployment = format!("{}/deployments", env::var("RESTATE_ADMIN")?);
    let body = json!({"uri": format!("http://{address}")});
    client.post(deployment).json(&body).send().await?.error_for_status()?;

    let url = format!("{}/Peer/task", env::var("RESTATE_INGRESS")?);
    window::say(&json!({"event": "ready"}));
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = orders.next_line().await? {
        carry_out(&client, &url, &window, line.parse()?).await?;
    }
    Ok(())
}

/// Keeps so many tasks going until the window has closed.
async fn carry_out(
    client: &reqwest::Client,
    url: &str,
    window: &Arc<Window>,
    order: Order,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let clients = (0..order.concurrency).map(|_| {
        let (client, url, window) = (client.clone(), url.to_owned(), window.clone());
        tokio::spawn(async move {
            while !window.is_over() {
                client.post(&url).send().await?.error_for_status()?;
            }
            Ok::<_, reqwest::Error>(())
        })
    });
    window.reset();
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
