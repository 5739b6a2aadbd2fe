//! Turns results into something people read: reports, comparisons, counts.

mod compare;
mod compose;
mod count;
mod markdown;
mod render;

use std::sync::Arc;

pub(super) use compare::compared;
pub(super) use markdown::{code_span, path_span};

use super::built_in;
use crate::tools::Tool;

/// The report tools.
pub(super) fn tools() -> Vec<Arc<dyn Tool>> {
    vec![built_in(compose::Compose), built_in(compare::Compare), built_in(count::Count)]
}
