//! What happens when a schedule is due: once for each fire time, however many workers look.
//!
//! ```text
//! claim (a lease) ─▶ is there a task of this fire time? ─▶ start it ─▶ write down, with the next fire time
//! ```
//!
//! The task of a fire time has an id that is made of the schedule and the fire time: whoever starts it
//! once more, because somebody died before it was written down, is told that it exists.

use std::time::Duration;

use sha2::{Digest, Sha256};
use uuid::Builder;

use super::decompose::Again;
use super::recurrence::Recurrence;
use super::schedule::{comes, next, request};
use super::{Orchestrator, OrchestratorError, TaskRequest};
use crate::repository::{Overlap, RepositoryError, Schedule, ScheduleId, Timing};
use crate::task::{TaskId, Timestamp, with_causes};

/// The longest wait before a start that failed is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How long a start that fails is tried again, if no other fire time comes.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// What became of a fire time.
enum Outcome {
    Started(TaskId),
    /// The task before has not ended.
    Skipped,
    Failed(String),
}

impl Orchestrator {
    /// Leases a schedule that is due, if there is one. Whoever has it fires it, or lets the lease end.
    pub async fn due_schedule(&self, lease: Duration) -> Result<Option<Schedule>, OrchestratorError> {
        Ok(self.repository.claim_schedule(lease).await?)
    }

    /// Starts the task of a leased schedule and writes down which fire time comes next. Several fire
    /// times that have passed are one task. The lease is kept for as long as the start takes.
    ///
    /// A start that fails is written down as the schedule's fault and is tried again, with longer and
    /// longer waits, until the next fire time comes, or for a day if there is none.
    pub async fn fire(&self, schedule: Schedule, lease: Duration) -> Result<(), OrchestratorError> {
        let schedule = match self.pass_over(schedule, lease).await {
            Err(OrchestratorError::NoSchedule) => return Ok(()),
            passed => passed?,
        };
        let (id, revision) = (schedule.id, schedule.revision);
        let kept = async {
            let mut ticks = tokio::time::interval((lease / 3).max(Duration::from_millis(1)));
            loop {
                ticks.tick().await;
                // If it is lost, the worst is that two make plans and one of them starts the task.
                if let Err(error) = self.repository.keep_schedule(id, revision, lease).await {
                    tracing::debug!(schedule = %id, %error, "the lease was not extended");
                }
            }
        };
        let fired = tokio::select! {
            fired = self.fire_once(schedule, lease) => fired,
            () = kept => Ok(()),
        };
        match fired {
            // It was removed meanwhile.
            Err(OrchestratorError::NoSchedule) => Ok(()),
            other => other,
        }
    }

    async fn fire_once(&self, schedule: Schedule, lease: Duration) -> Result<(), OrchestratorError> {
        let Some(fire) = schedule.next_at else { return Ok(()) };
        let id = task_id(schedule.id, fire);
        let outcome = if self.repository.load(id).await?.is_some() {
            Outcome::Started(id)
        } else if schedule.overlap == Overlap::Skip && self.is_under_way(schedule.task_id).await? {
            Outcome::Skipped
        } else {
            self.try_to_start(TaskRequest { id: Some(id), ..request(&schedule) }, id).await?
        };
        match &outcome {
            Outcome::Started(task) => tracing::info!(schedule = %schedule.id, %fire, %task, "schedule fired"),
            Outcome::Skipped => {
                tracing::info!(schedule = %schedule.id, %fire, "skipped: the last task goes on")
            }
            Outcome::Failed(fault) => tracing::warn!(schedule = %schedule.id, %fire, fault, "not started"),
        }
        let now = self.now();
        let settled = |schedule: &mut Schedule| settle(schedule, fire, &outcome, now, lease);
        self.write_schedule(schedule, settled).await.map(drop)
    }

    async fn try_to_start(&self, request: TaskRequest, id: TaskId) -> Result<Outcome, OrchestratorError> {
        match self.start_with(request, Again::Above).await {
            Ok(_) | Err(OrchestratorError::Repository(RepositoryError::Exists)) => Ok(Outcome::Started(id)),
            // Nothing can be written down now: whoever claims it when the lease ends tries again.
            Err(error @ OrchestratorError::Repository(_)) => Err(error),
            Err(error) => Ok(Outcome::Failed(with_causes(&error))),
        }
    }

    async fn is_under_way(&self, task: Option<TaskId>) -> Result<bool, OrchestratorError> {
        let Some(id) = task else { return Ok(false) };
        let task = self.repository.load(id).await?;
        Ok(task.is_some_and(|task| !task.status().is_terminal()))
    }

    /// Gives up a fire time whose task could not be started, if a later one has come. That is written
    /// down first, so that whoever goes on after a crash means the same fire time.
    async fn pass_over(&self, schedule: Schedule, lease: Duration) -> Result<Schedule, OrchestratorError> {
        let now = self.now();
        let later = |schedule: &Schedule| match (&schedule.timing, schedule.next_at) {
            (Timing::Cron { cron, time_zone }, Some(fire)) if schedule.fault.is_some() => {
                Recurrence::parse(cron, time_zone).ok()?.last_between(fire, now)
            }
            _ => None,
        };
        let pass = |schedule: &mut Schedule| {
            let Some(fire) = later(schedule) else { return Ok(false) };
            comes(schedule, Some(fire));
            schedule.wake_at = schedule.wake_at.map(|_| now.plus(lease));
            schedule.skipped += 1;
            schedule.fault = None;
            Ok(true)
        };
        self.write_schedule(schedule, pass).await
    }
}

/// Changes a schedule by what became of one of its fire times; false if that was written down already, or
/// has lost its meaning.
fn settle(
    schedule: &mut Schedule,
    fire: Timestamp,
    outcome: &Outcome,
    now: Timestamp,
    lease: Duration,
) -> Result<bool, OrchestratorError> {
    let is_current = schedule.next_at == Some(fire);
    let following = next(&schedule.timing, fire.max(now))?;
    match outcome {
        Outcome::Started(id) if schedule.task_id == Some(*id) => return Ok(false),
        Outcome::Started(id) => {
            schedule.runs += 1;
            schedule.fired_at = Some(fire);
            schedule.task_id = Some(*id);
        }
        _ if !is_current => return Ok(false),
        Outcome::Skipped => schedule.skipped += 1,
        Outcome::Failed(fault) => {
            schedule.fault = Some(fault.clone());
            let waited = now.since(fire);
            if following.is_some() || waited < PATIENCE {
                // As long again as it has lasted, but not beyond the fire time that comes then.
                let again = now.plus(waited.clamp(lease, LONGEST_WAIT.max(lease)));
                let nearest = following.map_or(again, |next| again.min(next));
                schedule.wake_at = schedule.wake_at.map(|_| nearest);
                return Ok(true);
            }
            schedule.skipped += 1;
        }
    }
    if is_current {
        if !matches!(outcome, Outcome::Failed(_)) {
            schedule.fault = None;
        }
        comes(schedule, following);
    }
    Ok(true)
}

/// The id of the task of one fire time.
fn task_id(schedule: ScheduleId, fire: Timestamp) -> TaskId {
    let hash = Sha256::new().chain_update(schedule.0.as_bytes()).chain_update(fire.as_millis().to_be_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let millis = u64::try_from(fire.as_millis()).unwrap_or(0);
    TaskId(Builder::from_unix_timestamp_millis(millis, &std::array::from_fn(|at| hash[at])).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::ScheduledTask;

    const LEASE: Duration = Duration::from_secs(15);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(timing: Timing, fire: Timestamp) -> Schedule {
        Schedule {
            id: ScheduleId(uuid::Uuid::nil()),
            user_id: "u".into(),
            name: "n".into(),
            timing,
            overlap: Overlap::Skip,
            task: ScheduledTask::default(),
            revision: 1,
            paused: false,
            next_at: Some(fire),
            wake_at: Some(fire),
            fired_at: None,
            task_id: None,
            runs: 0,
            skipped: 0,
            fault: None,
            created_at: fire,
            updated_at: fire,
        }
    }

    fn hourly() -> Schedule {
        let timing = Timing::Cron { cron: "@hourly".into(), time_zone: "UTC".into() };
        schedule(timing, at("2026-01-01T09:00:00Z"))
    }

    #[test]
    fn a_fire_time_has_one_task_and_each_has_another() {
        let (one, other) = (ScheduleId(uuid::Uuid::from_u128(1)), ScheduleId(uuid::Uuid::from_u128(2)));
        let (nine, ten) = (at("2026-01-01T09:00:00Z"), at("2026-01-01T10:00:00Z"));
        assert_eq!(task_id(one, nine), task_id(one, nine));
        assert_ne!(task_id(one, nine), task_id(other, nine));
        assert!(task_id(other, nine) < task_id(one, ten), "ids sort by fire time");
    }

    #[test]
    fn what_was_written_down_is_not_counted_again() {
        let mut schedule = hourly();
        let (fire, now) = (at("2026-01-01T09:00:00Z"), at("2026-01-01T12:30:00Z"));
        let started = Outcome::Started(task_id(schedule.id, fire));
        assert!(settle(&mut schedule, fire, &started, now, LEASE).unwrap());
        assert_eq!((schedule.runs, schedule.next_at), (1, Some(at("2026-01-01T13:00:00Z"))));
        assert!(!settle(&mut schedule, fire, &started, now, LEASE).unwrap());
        assert!(!settle(&mut schedule, fire, &Outcome::Skipped, now, LEASE).unwrap());
        assert_eq!((schedule.runs, schedule.skipped), (1, 0));
    }

    #[test]
    fn what_was_changed_meanwhile_stays_changed() {
        let mut schedule = hourly();
        comes(&mut schedule, Some(at("2027-01-01T00:00:00Z")));
        let fire = at("2026-01-01T09:00:00Z");
        let started = Outcome::Started(task_id(schedule.id, fire));
        assert!(settle(&mut schedule, fire, &started, fire, LEASE).unwrap());
        assert_eq!((schedule.runs, schedule.next_at), (1, Some(at("2027-01-01T00:00:00Z"))));
    }

    #[test]
    fn a_failed_start_waits_longer_and_longer_but_not_beyond_the_next_fire_time() {
        let failed = Outcome::Failed("no".into());
        for (now, again) in [
            ("2026-01-01T09:00:01Z", "2026-01-01T09:00:16Z"),
            ("2026-01-01T09:04:00Z", "2026-01-01T09:08:00Z"),
            ("2026-01-01T09:30:00Z", "2026-01-01T09:40:00Z"),
            ("2026-01-01T09:55:00Z", "2026-01-01T10:00:00Z"),
        ] {
            let mut schedule = hourly();
            let fire = at("2026-01-01T09:00:00Z");
            assert!(settle(&mut schedule, fire, &failed, at(now), LEASE).unwrap());
            assert_eq!((schedule.wake_at, schedule.next_at), (Some(at(again)), Some(fire)));
            assert_eq!((schedule.fault.as_deref(), schedule.skipped), (Some("no"), 0));
        }
    }

    #[test]
    fn a_single_time_is_given_up_after_a_day() {
        let fire = at("2026-01-01T09:00:00Z");
        let mut schedule = schedule(Timing::At { at: fire }, fire);
        let failed = Outcome::Failed("no".into());
        settle(&mut schedule, fire, &failed, at("2026-01-02T08:59:00Z"), LEASE).unwrap();
        assert_eq!((schedule.next_at, schedule.skipped), (Some(fire), 0));
        settle(&mut schedule, fire, &failed, at("2026-01-02T09:00:00Z"), LEASE).unwrap();
        assert_eq!((schedule.next_at, schedule.wake_at, schedule.skipped), (None, None, 1));
        assert!(schedule.fault.is_some());
    }
}
