//! Looks after the tasks that work for one of this worker's.

use std::time::Duration;

use super::drive::{Drive, Turn};
use super::writer::Lost;
use crate::task::{Next, PauseReason};

impl Drive {
    /// Sees to it that all children are there, and takes what those have brought that have ended.
    pub(super) async fn look_after_children(&mut self) -> Result<Turn, Lost> {
        // A child is created only once it is called for.
        self.writer.flush().await?;
        let (shared, task) = (self.shared.clone(), self.writer.task.clone());
        let now = (shared.clock)();
        // Another one's end may have become known with that: the task goes on, and would wait for nothing.
        let Next::Children(until) = task.next(now) else { return Ok(Turn::Again) };
        let looking = shared.orchestrator.look_after_children(&task);
        let Some((ended, problem)) = self.unless_called_off(looking).await? else {
            return Ok(Turn::Leave(now));
        };
        let has_ended = !ended.is_empty();
        if has_ended {
            self.say_who();
        }
        for event in ended {
            self.writer.note(event);
        }
        match problem {
            _ if has_ended => return Ok(Turn::Again),
            Some(error) if !error.is_passing() => {
                self.say_who();
                let detail = format!("a sub-task cannot be planned ({error})");
                self.pause(PauseReason::Provider, detail);
                return Ok(Turn::Again);
            }
            Some(error) => tracing::warn!(task = %task.id, %error, "the sub-tasks were not looked after"),
            None => {}
        }
        let look = now.plus(Duration::from_millis(shared.config.children_ms));
        Ok(Turn::Leave(until.map_or(look, |until| until.min(look))))
    }
}
