//! Amounts and endings as people read them.

use crate::task::grouped;

/// `1 match`, `2,310 matches`.
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count as u64), if count == 1 { one } else { many })
}

/// What is said behind a count that is not all there is.
pub(super) fn cut(is_cut: bool, at: usize) -> String {
    if is_cut { format!(" (cut at {}: there are more)", grouped(at as u64)) } else { String::new() }
}
