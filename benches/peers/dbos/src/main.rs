//! The measured work as workflows of DBOS for Rust. `DATABASE_URL` names the server.
//!
//! Workflows are started directly, not through a queue, whose polling would be measured instead.

#[path = "../../restate/src/window.rs"]
mod window;

use std::env;
use std::sync::Arc;
use std::time::Instant;

use dbos::{Config, DBOS};

use self::window::{Failure, Window};

/// Steps of one task.
const STEPS: usize = 10;

async fn steps(window: Arc<Window>) -> dbos::Result<()> {
    let mut last: Option<Instant> = None;
    for _ in 0..STEPS {
        let (counter, at) = (window.clone(), &mut last);
        let step = dbos::step("step", move || {
            let now = Instant::now();
            counter.step(at.map(|before| now - before));
            *at = Some(now);
            async { Ok::<_, dbos::Error>(window::payload()) }
        });
        step.await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let window = Arc::new(Window::default());
    let dbos = DBOS::new(Config {
        // More than the default of 10, for 50 tasks.
        max_connections: 20,
        app_version: Some("1".to_owned()),
        ..Config::new("peer", env::var("DATABASE_URL")?)
    });
    let counter = window.clone();
    let workflow = dbos.register_workflow("task", move |_: ()| steps(counter.clone()))?;
    dbos.launch().await?;
    let task = move || {
        let workflow = workflow.clone();
        async move { Ok(workflow.run(()).await?) }
    };
    window::drive(&window, task).await?;
    dbos.shutdown().await;
    Ok(())
}
