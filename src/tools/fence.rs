//! Whether whoever makes a call still has the right to make it.

use std::fmt;
use std::sync::Arc;

/// Stands between a call and the world. It closes when somebody else may have taken the task over:
/// a process that was frozen goes on in the middle of a call, as if no time had passed.
///
/// It is asked as late as possible, where the call is handed to the operating system. What remains
/// is the moment between the look and the hand-over: only a tool that knows the idempotency key can
/// close that.
#[derive(Clone, Default)]
pub struct Fence(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Fence {
    /// A fence that is closed whenever `is_closed` says so. It must answer at once.
    pub fn new(is_closed: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_closed)))
    }

    /// Whether the call must not be made any more, as far as that can be told without asking.
    pub fn is_closed(&self) -> bool {
        self.0.as_ref().is_some_and(|is_closed| is_closed())
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("is_closed", &self.is_closed()).finish()
    }
}
