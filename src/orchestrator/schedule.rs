//! Schedules: made, changed, paused, triggered, removed. What happens when one is due is next door, in
//! `firing`.

use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::recurrence::Recurrence;
use super::{Orchestrator, OrchestratorError, RequestKey, TaskRequest, TemplateUse};
use crate::repository::{Overlap, RepositoryError, Schedule, ScheduleId, ScheduledTask, Timing};
use crate::task::{Task, Timestamp};

/// How often a write is tried again after somebody else wrote first.
const TRIES: usize = 16;

/// Longest name, in characters; what a goal lends to a name is shorter.
const MAX_NAME: usize = 200;
const NAME_OF_GOAL: usize = 60;

/// What a schedule is to be. Of one that exists, what is missing stays as it is.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ScheduleWish {
    /// Its name for people; the beginning of the goal, if a new one is given none.
    pub name: Option<String>,
    /// Fires again and again; see [`Timing::Cron`].
    pub cron: Option<String>,
    /// Whose clock the pattern is about; UTC, if nobody says.
    pub time_zone: Option<String>,
    /// Fires once.
    pub at: Option<Timestamp>,
    /// What happens while the task before has not ended; nothing is started, if nobody says.
    pub overlap: Option<Overlap>,
    /// What is started.
    #[serde(deserialize_with = "crate::task::object")]
    pub task: Option<ScheduledTask>,
}

impl Orchestrator {
    /// Makes a schedule. When this returns, it is durable. With a key, the same request makes it once: see
    /// [`TaskRequest::key`].
    pub async fn create_schedule(
        &self,
        user_id: &str,
        wish: ScheduleWish,
        key: Option<RequestKey<Schedule>>,
    ) -> Result<Schedule, OrchestratorError> {
        let timing = timing(&wish, None)?
            .ok_or_else(|| invalid("cron", "is missing: say when, with cron or with at".to_owned()))?;
        let task = wish.task.ok_or_else(|| {
            invalid("task", "is missing: say what is to be started, at least a goal".to_owned())
        })?;
        let now = self.now();
        let next_at = Some(first(&timing, now)?);
        let named = if task.goal.trim().is_empty() {
            task.template.as_deref().unwrap_or_default()
        } else {
            task.goal.trim()
        };
        let name = wish.name.unwrap_or_else(|| named.chars().take(NAME_OF_GOAL).collect());
        let schedule = Schedule {
            id: ScheduleId(Uuid::now_v7()),
            user_id: user_id.to_owned(),
            name,
            timing,
            overlap: wish.overlap.unwrap_or_default(),
            task,
            revision: 1,
            paused: false,
            next_at,
            wake_at: next_at,
            fired_at: None,
            task_id: None,
            runs: 0,
            skipped: 0,
            fault: None,
            created_at: now,
            updated_at: now,
        };
        self.check_schedule(&schedule).await?;
        let made = match key {
            Some(key) => self.repository.begin_schedule(&schedule, &key.answer(&schedule)).await,
            None => self.repository.put_schedule(&schedule, 0).await,
        };
        made.map_err(|error| refused(error, &schedule))?;
        self.scheduled.notify_one();
        Ok(schedule)
    }

    /// Changes a schedule. A new timing counts from now on.
    pub async fn change_schedule(
        &self,
        id: ScheduleId,
        wish: ScheduleWish,
    ) -> Result<Schedule, OrchestratorError> {
        let now = self.now();
        let apply = |schedule: &mut Schedule| {
            if let Some(timing) = timing(&wish, Some(&schedule.timing))? {
                let next_at = first(&timing, now)?;
                schedule.timing = timing;
                schedule.fault = None;
                comes(schedule, Some(next_at));
            }
            if let Some(task) = &wish.task {
                schedule.task = task.clone();
                if schedule.fault.is_some() {
                    // What failed may have been mended.
                    comes(schedule, schedule.next_at);
                }
            }
            schedule.name = wish.name.as_ref().unwrap_or(&schedule.name).clone();
            schedule.overlap = wish.overlap.unwrap_or(schedule.overlap);
            Ok(true)
        };
        let mut draft = self.known(id).await?;
        apply(&mut draft)?;
        self.check_schedule(&draft).await?;
        self.write_schedule(self.known(id).await?, apply).await
    }

    /// Lets a schedule fire no more until it is resumed. A task that it has started goes on.
    pub async fn pause_schedule(&self, id: ScheduleId) -> Result<Schedule, OrchestratorError> {
        let pause = |schedule: &mut Schedule| {
            let is_new = !schedule.paused;
            schedule.paused = true;
            // What a pattern names meanwhile is not made up for; a single time is not forgotten.
            let next_at = schedule.next_at.filter(|_| matches!(schedule.timing, Timing::At { .. }));
            comes(schedule, next_at);
            Ok(is_new)
        };
        self.write_schedule(self.known(id).await?, pause).await
    }

    /// Lets a paused schedule fire again: a pattern at the next time that it names, a single time that
    /// has passed at once.
    pub async fn resume_schedule(&self, id: ScheduleId) -> Result<Schedule, OrchestratorError> {
        let now = self.now();
        let resume = |schedule: &mut Schedule| {
            let is_new = schedule.paused;
            schedule.paused = false;
            let next_at = match &schedule.timing {
                Timing::Cron { .. } if is_new => next(&schedule.timing, now)?,
                _ => schedule.next_at,
            };
            comes(schedule, next_at);
            Ok(is_new)
        };
        self.write_schedule(self.known(id).await?, resume).await
    }

    /// Starts the task of a schedule now, whatever its timing says, and whether or not it is paused or
    /// the task before has ended. Its fire times stay.
    pub async fn trigger_schedule(
        &self,
        id: ScheduleId,
        key: Option<RequestKey>,
    ) -> Result<Task, OrchestratorError> {
        let schedule = self.known(id).await?;
        let task = self.start(TaskRequest { key, ..request(&schedule) }).await?;
        let now = self.now();
        let triggered = |schedule: &mut Schedule| {
            schedule.runs += 1;
            schedule.fired_at = Some(now);
            schedule.task_id = Some(task.id);
            Ok(true)
        };
        match self.write_schedule(schedule, triggered).await {
            // Whoever removed the schedule meanwhile did not remove its task.
            Ok(_) | Err(OrchestratorError::NoSchedule) => Ok(task),
            Err(error) => Err(error),
        }
    }

    /// Forgets a schedule. Its tasks stay as they are.
    pub async fn delete_schedule(&self, id: ScheduleId) -> Result<(), OrchestratorError> {
        match self.repository.delete_schedule(id).await? {
            true => Ok(()),
            false => Err(OrchestratorError::NoSchedule),
        }
    }

    /// The next fire times of a schedule, at most so many; none if it is paused.
    pub fn upcoming(&self, schedule: &Schedule, limit: usize) -> Vec<Timestamp> {
        let first = schedule.next_at.filter(|_| !schedule.paused);
        let more = |moment: &Timestamp| next(&schedule.timing, *moment).ok().flatten();
        std::iter::successors(first, more).take(limit).collect()
    }

    /// The next moments that a pattern names, at most so many.
    pub fn fire_times(
        &self,
        cron: &str,
        time_zone: &str,
        limit: usize,
    ) -> Result<Vec<Timestamp>, OrchestratorError> {
        let recurrence = Recurrence::parse(cron, time_zone)?;
        let first = recurrence.after(self.now());
        Ok(std::iter::successors(first, |moment| recurrence.after(*moment)).take(limit).collect())
    }

    async fn known(&self, id: ScheduleId) -> Result<Schedule, OrchestratorError> {
        self.repository.schedule(id).await?.ok_or(OrchestratorError::NoSchedule)
    }

    /// Whether its tasks could be started, as far as that can be known before.
    async fn check_schedule(&self, schedule: &Schedule) -> Result<(), OrchestratorError> {
        let (request, _) = self.with_template(request(schedule)).await?;
        if let Some(model) = request.spec(&self.config)?.chat_model {
            self.models.check_known(&model)?;
        }
        self.check_names(&request.user_id, &request.tools).await?;
        if !(1..=MAX_NAME).contains(&schedule.name.trim().chars().count()) {
            return Err(invalid("name", format!("must have 1 to {MAX_NAME} characters")));
        }
        match self.repository.thread(&request.thread_id).await? {
            Some(thread) if thread.user_id != schedule.user_id => Err(OrchestratorError::Forbidden),
            _ => Ok(()),
        }
    }

    /// Writes what `change` makes of a schedule, unless that says that there is nothing to write. If
    /// somebody else wrote first, the schedule is read again and changed again.
    pub(super) async fn write_schedule(
        &self,
        mut schedule: Schedule,
        change: impl Fn(&mut Schedule) -> Result<bool, OrchestratorError>,
    ) -> Result<Schedule, OrchestratorError> {
        for _ in 0..TRIES {
            let base = schedule.revision;
            if !change(&mut schedule)? {
                return Ok(schedule);
            }
            schedule.revision = base + 1;
            schedule.updated_at = self.now();
            match self.repository.put_schedule(&schedule, base).await {
                Err(RepositoryError::Stale) => schedule = self.known(schedule.id).await?,
                written => {
                    self.scheduled.notify_one();
                    return written.map_err(|error| refused(error, &schedule)).map(|()| schedule);
                }
            }
        }
        Err(RepositoryError::Stale.into())
    }
}

/// The request for a task of a schedule.
pub(super) fn request(schedule: &Schedule) -> TaskRequest {
    let task = &schedule.task;
    TaskRequest {
        goal: task.goal.clone(),
        user_id: schedule.user_id.clone(),
        thread_id: schedule.thread_id(),
        chat_model: task.chat_model.clone(),
        tools: task.tools(),
        agent_id: task.agent_id.clone(),
        preset: task.preset.clone(),
        priority: task.priority.unwrap_or_default(),
        budget: task.budget.unwrap_or_default(),
        approval: task.approval.clone(),
        plan: task.plan.clone(),
        template: task.template.clone().map(|name| TemplateUse {
            name,
            version: None,
            parameters: task.parameters.clone(),
        }),
        ..TaskRequest::default()
    }
}

/// Sets which fire time comes next, and that a worker looks then.
pub(super) fn comes(schedule: &mut Schedule, next_at: Option<Timestamp>) {
    schedule.next_at = next_at;
    schedule.wake_at = next_at.filter(|_| !schedule.paused);
}

/// The first fire time after a moment; none if there is none any more.
pub(super) fn next(timing: &Timing, after: Timestamp) -> Result<Option<Timestamp>, OrchestratorError> {
    match timing {
        Timing::Cron { cron, time_zone } => Ok(Recurrence::parse(cron, time_zone)?.after(after)),
        Timing::At { at } => Ok(Some(*at).filter(|at| *at > after)),
    }
}

/// The first fire time of a new timing.
fn first(timing: &Timing, now: Timestamp) -> Result<Timestamp, OrchestratorError> {
    next(timing, now)?.ok_or_else(|| match timing {
        Timing::Cron { cron, .. } => invalid("cron", format!("'{cron}' names a day that never comes")),
        Timing::At { at } => invalid("at", format!("{at} has passed: give a moment that is to come")),
    })
}

/// The timing that is wished for, if any is.
fn timing(wish: &ScheduleWish, current: Option<&Timing>) -> Result<Option<Timing>, OrchestratorError> {
    let old = match current {
        Some(Timing::Cron { cron, time_zone }) => Some((cron, time_zone)),
        _ => None,
    };
    match (&wish.cron, wish.at) {
        (Some(_), Some(_)) => Err(invalid("at", "and cron exclude each other".to_owned())),
        (None, Some(_)) if wish.time_zone.is_some() => {
            Err(invalid("timeZone", "goes with cron: the offset of at is part of it".to_owned()))
        }
        (None, Some(at)) => Ok(Some(Timing::At { at })),
        (cron, None) => {
            let cron = cron.as_ref().or(wish.time_zone.as_ref().and(old.map(|(cron, _)| cron)));
            let time_zone = wish.time_zone.as_ref().or(old.map(|(_, zone)| zone));
            match cron {
                Some(cron) => Ok(Some(Timing::Cron {
                    cron: cron.trim().to_owned(),
                    time_zone: time_zone.map_or("UTC", |zone| zone.trim()).to_owned(),
                })),
                None if wish.time_zone.is_some() => Err(invalid("timeZone", "goes with cron".to_owned())),
                None => Ok(None),
            }
        }
    }
}

fn refused(error: RepositoryError, schedule: &Schedule) -> OrchestratorError {
    match error {
        RepositoryError::NameTaken => OrchestratorError::ScheduleExists(schedule.name.clone()),
        other => other.into(),
    }
}

fn invalid(field: &'static str, problem: String) -> OrchestratorError {
    OrchestratorError::Invalid { field, problem }
}
