//! The deadlines of one answer: first byte, between chunks, total; and what its frames bring.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use genai::chat::{ChatFrameSink, FrameCtx, RawFrameRef};
use tokio::time::{Instant, timeout_at};

use super::config::Timeouts;
use super::pieces::CallPieces;

/// Watches one answer arrive. Every frame on the wire counts as a sign of life, also the
/// comments by which gateways say that a model is still being loaded.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    started: Instant,
    timeouts: Timeouts,
    signs: Arc<Signs>,
}

#[derive(Debug)]
struct Signs {
    started: Instant,
    /// Milliseconds from the start to the last frame.
    last: AtomicU64,
    frames: AtomicU64,
    /// Frames that carried data.
    events: AtomicU64,
    /// The tool calls that they carried, where they are those of chat completions.
    pieces: Mutex<CallPieces>,
}

impl Watch {
    /// Begins with the request.
    pub(super) fn start(timeouts: Timeouts) -> Self {
        let started = Instant::now();
        let signs = Signs {
            started,
            last: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            events: AtomicU64::new(0),
            pieces: Mutex::default(),
        };
        Self { started, timeouts, signs: Arc::new(signs) }
    }

    /// What the client library tells about frames.
    pub(super) fn sink(&self) -> Arc<dyn ChatFrameSink> {
        self.signs.clone()
    }

    /// Whether anything was received that is part of a stream.
    pub(super) fn has_events(&self) -> bool {
        self.signs.events.load(Ordering::Relaxed) > 0
    }

    /// Whether anything was received at all.
    pub(super) fn has_frames(&self) -> bool {
        self.signs.frames.load(Ordering::Relaxed) > 0
    }

    /// The tool calls that were received, where they are those of chat completions.
    pub(super) fn pieces(&self) -> MutexGuard<'_, CallPieces> {
        self.signs.pieces()
    }

    /// Waits for `next`, or says which deadline passed.
    pub(super) async fn wait<F: Future>(&self, next: F) -> Result<F::Output, &'static str> {
        let mut next = pin!(next);
        loop {
            let (deadline, phase) = self.deadline();
            if let Ok(output) = timeout_at(deadline, &mut next).await {
                return Ok(output);
            }
            // A frame without content may have moved the deadline meanwhile.
            if self.deadline().0 <= deadline {
                return Err(phase);
            }
        }
    }

    /// Waits for an answer that comes in one piece: only the total deadline is meaningful.
    pub(super) async fn wait_whole<F: Future>(&self, next: F) -> Result<F::Output, &'static str> {
        timeout_at(self.started + self.timeouts.total(), next).await.map_err(|_| "total")
    }

    fn deadline(&self) -> (Instant, &'static str) {
        let total = self.started + self.timeouts.total();
        let (idle, phase) = if self.signs.frames.load(Ordering::Relaxed) == 0 {
            (self.started + self.timeouts.first_byte(), "first byte")
        } else {
            let last = Duration::from_millis(self.signs.last.load(Ordering::Relaxed));
            (self.started + last + self.timeouts.between_chunks(), "between chunks")
        };
        if idle < total { (idle, phase) } else { (total, "total") }
    }
}

impl Signs {
    /// Nothing panics while it holds the pieces; if something did, they are as good as before.
    fn pieces(&self) -> MutexGuard<'_, CallPieces> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChatFrameSink for Signs {
    fn on_frame(&self, _: &FrameCtx, frame: RawFrameRef<'_>) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
        self.frames.fetch_add(1, Ordering::Relaxed);
        if !frame.data.is_empty() {
            self.events.fetch_add(1, Ordering::Relaxed);
            self.pieces().take(frame.data);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn phase_after(timeouts: Timeouts, frames: u64) -> &'static str {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let watch = Watch::start(timeouts);
            watch.signs.frames.store(frames, Ordering::Relaxed);
            watch.wait(pending::<()>()).await.unwrap_err()
        })
    }

    #[test]
    fn the_earliest_deadline_names_the_phase() {
        let long = Timeouts::default();
        assert_eq!(phase_after(Timeouts { first_byte_ms: 1, ..long }, 0), "first byte");
        assert_eq!(phase_after(Timeouts { between_chunks_ms: 1, ..long }, 1), "between chunks");
        assert_eq!(phase_after(Timeouts { total_ms: 1, ..long }, 1), "total");
    }
}
