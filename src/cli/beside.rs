//! The worker that works beside what a command does itself.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::error::CliError;
use crate::worker::Worker;

/// A worker in a task of its own. A command that counts on it does not go on without it.
pub(super) struct Beside {
    working: JoinHandle<()>,
    stop: CancellationToken,
}

impl Beside {
    /// Lets a worker work until `stop`.
    pub(super) fn begin(worker: Worker, stop: CancellationToken) -> Self {
        let until = stop.clone();
        Self { working: tokio::spawn(async move { worker.run(until).await }), stop }
    }

    /// Does something as long as the worker is there.
    ///
    /// # Errors
    /// The worker has ended though nobody stopped it.
    pub(super) async fn while_there<T>(&mut self, work: impl Future<Output = T>) -> Result<T, CliError> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = gone(&mut self.working, &self.stop) => {
                let what = "the worker of this process has ended by itself, which is a defect: the log tells of it. \
                    Nothing of the tasks is lost: start again";
                Err(CliError::failed("worker_ended", what, None))
            }
        }
    }

    /// Waits until its running steps, of this or of other tasks, have ended.
    pub(super) async fn end(self) {
        self.stop.cancel();
        if !self.working.is_finished() {
            // A panic of it is in the log.
            let _ = self.working.await;
        }
    }
}

/// Waits until the worker is gone; for ever if it was stopped.
async fn gone(working: &mut JoinHandle<()>, stop: &CancellationToken) {
    if !working.is_finished() {
        let _ = working.await;
    }
    if stop.is_cancelled() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(work: impl Future<Output = ()> + Send + 'static) -> Beside {
        Beside { working: tokio::spawn(work), stop: CancellationToken::new() }
    }

    #[tokio::test]
    async fn nothing_is_waited_for_without_the_worker_that_would_do_it() {
        let mut broken = beside(async { panic!("a defect of the worker, as the test wants it") });
        let error = broken.while_there(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!(error.code(), "worker_ended");
        assert!(broken.while_there(std::future::pending::<()>()).await.is_err(), "asked once more");
        broken.end().await;
    }

    #[tokio::test]
    async fn a_worker_that_was_stopped_is_not_missed() {
        let stop = CancellationToken::new();
        let until = stop.clone();
        let mut stopped = beside(async move { until.cancelled().await });
        stopped.stop = stop.clone();
        stop.cancel();
        let draining = async {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            "drained"
        };
        assert_eq!(stopped.while_there(draining).await.unwrap(), "drained");
        stopped.end().await;
    }
}
