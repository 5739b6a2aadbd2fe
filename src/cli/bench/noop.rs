//! The tool that does nothing, and notes when it is called.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::task::Effect;
use crate::tools::{CallContext, Origin, Tool, ToolDescription, ToolError, ToolOutput};

/// Its name.
pub(super) const NAME: &str = "noop";

/// Returns a text. The time between its calls for two consecutive steps of a task is what one
/// durable step takes.
pub(super) struct Noop {
    description: ToolDescription,
    payload: String,
    calls: Mutex<Calls>,
    count: AtomicU64,
}

#[derive(Default)]
struct Calls {
    /// When each task called last.
    last: HashMap<String, Instant>,
    /// Steps by when they ended, in the order of all calls: how long each took.
    periods: Vec<Duration>,
}

impl Noop {
    /// A tool that returns `payload` bytes.
    pub(super) fn new(payload: u32) -> Self {
        let description = ToolDescription {
            name: NAME.to_owned(),
            description: "Returns a text of constant length.".to_owned(),
            schema: json!({"type": "object"}).into(),
            effect: Effect::ReadOnly,
            origin: Origin::App { toolkit: "bench".to_owned() },
        };
        // Text that does not compress to nothing, as real results do not.
        let words =
            (0..payload).map(|at| char::from(b'a' + (at.wrapping_mul(2_654_435_761) >> 27) as u8 % 26));
        Self { description, payload: words.collect(), calls: Mutex::default(), count: AtomicU64::new(0) }
    }

    /// How often it was called.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How long the steps took, in the order they ended.
    pub(super) fn periods(&self) -> Vec<Duration> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).periods.clone()
    }
}

#[async_trait]
impl Tool for Noop {
    fn description(&self) -> &ToolDescription {
        &self.description
    }

    async fn call(&self, _: Value, context: CallContext) -> Result<ToolOutput, ToolError> {
        // The key is task-step-call.
        let task: String = context.idempotency_key.rsplitn(3, '-').last().unwrap_or_default().to_owned();
        let now = Instant::now();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = calls.last.insert(task, now) {
            calls.periods.push(now.duration_since(before));
        }
        drop(calls);
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(ToolOutput::ok(self.payload.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Task, TaskId};

    #[tokio::test]
    async fn periods_lie_between_the_calls_of_one_task() {
        let noop = Noop::new(300);
        let call = |task: u128, step: u32| {
            let context = CallContext {
                idempotency_key: Task::idempotency_key(TaskId(uuid::Uuid::from_u128(task)), step, 1),
                ..CallContext::of_test()
            };
            noop.call(json!({}), context)
        };
        let output = call(1, 0).await.unwrap();
        assert_eq!(output.content.as_str().map(str::len), Some(300));
        call(2, 0).await.unwrap();
        assert_eq!(noop.periods().len(), 0);
        call(1, 1).await.unwrap();
        call(2, 1).await.unwrap();
        assert_eq!(noop.periods().len(), 2);
    }
}
