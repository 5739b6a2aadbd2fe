//! How many tools a task may still call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::task::{Fault, FaultClass, Task};

/// What is left of a task's tool calls (`limits.maxToolCalls`). Clones share one count, so that
/// steps that run side by side cannot exceed the limit together.
#[derive(Debug, Clone)]
pub struct CallAllowance {
    left: Arc<AtomicU32>,
    most: u32,
}

impl CallAllowance {
    /// What the limit leaves after the calls that are recorded.
    pub fn of(task: &Task) -> Self {
        let most = task.spec().limits.max_tool_calls;
        let left = most.saturating_sub(task.state().usage.tool_calls);
        Self { left: Arc::new(AtomicU32::new(left)), most }
    }

    /// Takes one call, or says that there is none left.
    pub(super) fn take(&self) -> Result<(), Fault> {
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if taken {
            return Ok(());
        }
        let message = format!("the task has made {} tool calls (limits.maxToolCalls)", self.most);
        Err(Fault::new(FaultClass::Limit, "too_many_tool_calls", message))
    }
}
