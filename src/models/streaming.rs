//! Whether a server streams, as far as that was seen. A server that answered once in one piece may have meant a
//! failure by it, as gateways do: so it is asked for a stream again after a few requests, and each time that
//! brings nothing after four times as many.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Requests after which it is tried again at last.
const MOST_PASSED_OVER: u32 = 1024;

/// A request that asks for a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Try {
    /// How many were in vain before.
    in_vain: u32,
}

/// What is known of a server.
#[derive(Debug, Default)]
pub(super) struct Streaming {
    /// It did: an answer without an event was cut then.
    does: AtomicBool,
    /// It said that it does not.
    refuses: AtomicBool,
    /// Streams that brought nothing where the same request was answered in one piece, since the last one that did.
    in_vain: AtomicU32,
    /// Requests that are made without one before the next try.
    left: AtomicU32,
}

impl Streaming {
    /// A try, if the next request asks for a stream.
    pub(super) fn next_try(&self) -> Option<Try> {
        let passed_over = |left: u32| left.checked_sub(1);
        let waits = || self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, passed_over).is_ok();
        if self.refuses.load(Ordering::Relaxed) || waits() {
            return None;
        }
        Some(Try { in_vain: self.in_vain.load(Ordering::Relaxed) })
    }

    /// Whether the server was seen to stream.
    pub(super) fn is_known(&self) -> bool {
        self.does.load(Ordering::Relaxed)
    }

    /// A stream began.
    pub(super) fn began(&self) {
        self.does.store(true, Ordering::Relaxed);
        self.in_vain.store(0, Ordering::Relaxed);
        self.left.store(0, Ordering::Relaxed);
    }

    /// A stream brought nothing, and the same request was answered in one piece. `is_said` is whether the server
    /// gave that as its reason. Of tries side by side one counts.
    pub(super) fn was_in_vain(&self, tried: Try, is_said: bool) {
        if is_said {
            return self.refuses.store(true, Ordering::Relaxed);
        }
        let times = tried.in_vain.saturating_add(1);
        let counts =
            self.in_vain.compare_exchange(tried.in_vain, times, Ordering::Relaxed, Ordering::Relaxed);
        if counts.is_ok() {
            self.left.store(4u32.saturating_pow(times).min(MOST_PASSED_OVER), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of so many requests, those that ask for a stream, where none brings anything.
    fn tries(streaming: &Streaming, requests: u32) -> Vec<u32> {
        let asked = (0..requests).filter(|_| {
            let tried = streaming.next_try();
            tried.into_iter().for_each(|tried| streaming.was_in_vain(tried, false));
            tried.is_some()
        });
        asked.collect()
    }

    #[test]
    fn a_server_that_answers_in_one_piece_is_asked_for_a_stream_more_and_more_seldom() {
        let streaming = Streaming::default();
        assert_eq!(tries(&streaming, 400), [0, 5, 22, 87, 344]);
        assert_eq!(tries(&streaming, 4000).len(), 3, "and no more seldom than that");
        assert!(!streaming.is_known());
    }

    #[test]
    fn one_answer_in_one_piece_is_forgotten_once_a_stream_began() {
        let streaming = Streaming::default();
        assert_eq!(tries(&streaming, 5), [0]);
        assert!(streaming.next_try().is_some());
        streaming.began();
        assert!(streaming.is_known() && streaming.next_try().is_some());
    }

    #[test]
    fn of_requests_side_by_side_one_counts() {
        let streaming = Streaming::default();
        let tried: Vec<Try> = (0..10).filter_map(|_| streaming.next_try()).collect();
        assert_eq!(tried.len(), 10);
        tried.into_iter().for_each(|tried| streaming.was_in_vain(tried, false));
        assert_eq!(tries(&streaming, 22), [4, 21], "as after one");
    }

    #[test]
    fn a_server_that_says_so_is_not_asked_again() {
        let streaming = Streaming::default();
        let tried = streaming.next_try().unwrap();
        streaming.was_in_vain(tried, true);
        assert!((0..2000).all(|_| streaming.next_try().is_none()));
    }
}
