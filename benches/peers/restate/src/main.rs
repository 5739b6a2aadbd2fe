//! The measured work as a Restate service, and the client that keeps C tasks going.
//!
//! Speaks the protocol of README.md, one directory above, over stdin and stdout. `RESTATE_INGRESS` and
//! `RESTATE_ADMIN` hold the addresses of the server.

mod window;

use std::env;
use std::sync::Arc;
use std::time::Instant;

use restate_sdk::prelude::{Context, ContextSideEffects, Endpoint, HandlerResult, HttpServer, RunFuture};
use serde_json::json;
use tokio::net::TcpListener;

use self::window::{Failure, Window};

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
async fn main() -> Result<(), Failure> {
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
    let task = move || {
        let call = client.post(&url).send();
        async move {
            call.await?.error_for_status()?;
            Ok(())
        }
    };
    window::drive(&window, task).await
}
