//! What parents and children have to do with each other while both live: a child tells its parent how it
//! ended, and what stops a parent reaches its children.
//!
//! All of it is derived from facts. Whatever a lost process leaves undone, a look at the children that do
//! not stand as their parents do finds again.

use std::time::Duration;

use futures::future::BoxFuture;

use super::{Orchestrator, OrchestratorError};
use crate::queue::Wake;
use crate::repository::{Fate, Lease, ListFilter, RepositoryError};
use crate::task::{
    CallAt, EffectRecord, Event, Parent, Pause, PauseReason, Payload, Status, Taint, Task, TaskId, TopUp,
};

/// Entries in which the end of a task is looked for.
const LAST: u32 = 20;

impl Orchestrator {
    /// How a child that has ended ended, as its parent records it.
    pub(crate) async fn end_of_child(&self, child: &Task) -> Result<Event, OrchestratorError> {
        let (status, state) = (child.status(), child.state());
        let of = child.spec().parent.ok_or(OrchestratorError::NotFound)?;
        let result = match (status, &state.output) {
            (Status::Completed, Some(output)) => Payload::Inline(self.repository.content(output).await?),
            (Status::Cancelled, _) => Payload::text(match self.who_cancelled(child.id).await? {
                Some(by) => format!("the sub-task was cancelled by {by}"),
                None => "the sub-task was cancelled".to_owned(),
            }),
            _ => {
                let why = state.fault.as_ref().map(|fault| format!(": {fault}")).unwrap_or_default();
                Payload::text(format!("the sub-task failed{why}"))
            }
        };
        let (usage, besides) = (state.usage, child.consumed_besides());
        let is_error = status != Status::Completed;
        // What it had read before it began, its parent knows better.
        let (known, mut taint) = (&child.spec().taint, Taint::default());
        let own = Taint {
            untrusted: state.taint.untrusted.clone().filter(|_| known.untrusted.is_none()),
            private: state.taint.private.clone().filter(|_| known.private.is_none()),
        };
        taint.join(&own, child.id);
        Ok(Event::ChildEnded {
            step: of.step,
            call: of.call,
            status,
            result,
            is_error,
            usage,
            besides,
            taint,
        })
    }

    /// A task and its sub-tasks at any depth, as far as they have not ended; those that came first, first.
    pub async fn open_tree(&self, root: TaskId) -> Result<Vec<TaskId>, RepositoryError> {
        let mut tree = vec![root];
        let mut next = 0;
        while let Some(parent) = tree.get(next).copied() {
            next += 1;
            let filter = ListFilter {
                parent: Some(parent),
                statuses: vec![Status::Pending, Status::Running, Status::Paused],
                limit: u32::MAX,
                ..ListFilter::default()
            };
            let children = self.repository.list(&filter).await?;
            tree.extend(children.iter().rev().map(|child| child.id));
        }
        Ok(tree)
    }

    async fn who_cancelled(&self, id: TaskId) -> Result<Option<String>, OrchestratorError> {
        let latest = self.repository.latest(id, LAST).await?;
        Ok(latest.into_iter().rev().find_map(|entry| match entry.event {
            Event::Cancelled { by } => Some(by),
            _ => None,
        }))
    }

    /// What follows from the end of a task: its children end with it, and its parent hears of it. If that
    /// is not written, the parent looks for itself a minute later.
    pub(crate) async fn after_end(&self, task: &Task) {
        if !task.status().is_terminal() {
            return;
        }
        self.reach_children(task).await;
        if task.spec().parent.is_some()
            && let Err(error) = self.tell_parent(task.id).await
        {
            tracing::warn!(task = %task.id, %error, "the parent was not told of the end, it will look for itself");
        }
    }

    async fn tell_parent(&self, child: TaskId) -> Result<(), OrchestratorError> {
        // Its own children have ended meanwhile, and are on its account.
        let child = self.repository.load(child).await?.ok_or(OrchestratorError::NotFound)?;
        let Some(of) = child.spec().parent else { return Ok(()) };
        let ended = self.end_of_child(&child).await?;
        let told = self
            .record_as(of.task, Lease::Due, |parent| match waits_for(parent, of, child.id) {
                true => Ok(vec![ended.clone()]),
                false => Err(OrchestratorError::Closed),
            })
            .await;
        match told {
            Ok(parent) if parent.status().is_live() => {
                self.wake(Wake::again(&parent, Duration::ZERO)).await;
                Ok(())
            }
            Ok(_) | Err(OrchestratorError::Closed | OrchestratorError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Lets the children of a task stand as it does: cancelled once it has ended, paused while somebody
    /// paused it, at work again when it goes on.
    pub(super) async fn reach_children(&self, task: &Task) {
        let fate = match task.status() {
            status if status.is_terminal() => Fate::End,
            Status::Paused if task.is_stopped() => Fate::Pause,
            Status::Paused => return,
            _ => Fate::Resume,
        };
        let children: Vec<TaskId> = task.children_at_work().map(|(_, _, child)| child.task).collect();
        for child in children {
            if let Err(error) = self.see_to(child, task.id, fate).await {
                tracing::warn!(task = %child, parent = %task.id, %error, "not reached, trying again later");
            }
        }
    }

    /// Looks for children that do not stand as their parents do, and sees to them. Returns how many were
    /// changed. Any number of processes may do this at once. One that cannot be changed does not keep the
    /// others from it.
    pub async fn see_to_strays(&self) -> Result<u32, OrchestratorError> {
        let mut changed = 0;
        for stray in self.repository.strays().await? {
            match self.see_to(stray.id, stray.parent, stray.fate).await {
                Ok(has_changed) => changed += u32::from(has_changed),
                Err(error) => {
                    tracing::warn!(task = %stray.id, parent = %stray.parent, %error, "not reached, trying again later");
                }
            }
        }
        Ok(changed)
    }

    /// Whether that changed anything.
    fn see_to(
        &self,
        id: TaskId,
        parent: TaskId,
        fate: Fate,
    ) -> BoxFuture<'_, Result<bool, OrchestratorError>> {
        Box::pin(async move {
            let by = format!("task {parent}");
            let seen_to = match fate {
                Fate::End => self.cancel(id, &by).await,
                Fate::Pause => self.pause_with_parent(id, &by).await,
                Fate::Resume => self.resume_with_parent(id, &by).await,
            };
            match seen_to {
                Ok(_) => Ok(true),
                // It is not there yet, or somebody was quicker.
                Err(OrchestratorError::NotFound | OrchestratorError::NotNow { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    async fn pause_with_parent(&self, id: TaskId, by: &str) -> Result<Task, OrchestratorError> {
        let task = self
            .record(id, |task| {
                super::lifecycle::expect(task, "pause", &[Status::Pending, Status::Running])?;
                let pause = Pause::new(PauseReason::Parent, format!("paused with {by}"));
                Ok(vec![Event::Paused { pause, by: by.to_owned() }])
            })
            .await?;
        self.reach_children(&task).await;
        Ok(task)
    }

    async fn resume_with_parent(&self, id: TaskId, by: &str) -> Result<Task, OrchestratorError> {
        let task = self
            .record(id, |task| {
                let status = task.status();
                match task.state().pause.as_ref().map(|pause| pause.reason) {
                    Some(PauseReason::Parent) => Ok(vec![Event::Resumed { by: by.to_owned() }]),
                    _ => Err(OrchestratorError::NotNow { verb: "resume", status }),
                }
            })
            .await?;
        self.wake(Wake::again(&task, Duration::ZERO)).await;
        self.reach_children(&task).await;
        Ok(task)
    }

    /// Adds to the budgets of the tasks above a child what is added to its own, and sets it aside for it:
    /// from the top, so that nobody ever has more than was granted.
    pub(super) async fn raise_above(
        &self,
        of: Parent,
        add: TopUp,
        by: &str,
    ) -> Result<(), OrchestratorError> {
        let mut chain = vec![of];
        while let Some(last) = chain.last() {
            let above = self.repository.load(last.task).await?;
            match above.and_then(|task| task.spec().parent) {
                Some(next) => chain.push(next),
                None => break,
            }
        }
        for of in chain.into_iter().rev() {
            let child = Some(CallAt { step: of.step, call: of.call });
            let raised = self
                .record(of.task, |task| match is_delegated(task, of) && !task.status().is_terminal() {
                    true => Ok(vec![Event::BudgetRaised { add, by: by.to_owned(), child }]),
                    false => Err(OrchestratorError::Closed),
                })
                .await;
            match raised {
                Ok(_) | Err(OrchestratorError::Closed | OrchestratorError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What a child of a user's task did to the world, or may have done. A journal that came as a file may
    /// name any task: those of others, and those that are nobody's children, are passed over.
    pub(super) fn effects_of_child<'a>(
        &'a self,
        child: TaskId,
        user: &'a str,
    ) -> BoxFuture<'a, Result<Vec<EffectRecord>, OrchestratorError>> {
        Box::pin(async move {
            let known = self.repository.load(child).await?;
            let is_child = |known: &Task| known.spec().user_id == user && known.spec().parent.is_some();
            if !known.as_ref().is_some_and(is_child) {
                return Ok(Vec::new());
            }
            let mut records = self.effects(child).await?;
            records.iter_mut().for_each(|record| {
                record.child.get_or_insert(child);
            });
            Ok(records)
        })
    }
}

fn waits_for(parent: &Task, of: Parent, child: TaskId) -> bool {
    let at_work = parent.step(of.step).and_then(|step| step.child_at_work());
    at_work.is_some_and(|(call, known)| call.number == of.call && known.task == child)
}

fn is_delegated(task: &Task, of: Parent) -> bool {
    let at_work = task.step(of.step).and_then(|step| step.child_at_work());
    at_work.is_some_and(|(call, _)| call.number == of.call)
}
