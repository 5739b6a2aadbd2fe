//! Forks and retries: new tasks that go on from what another task has recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::lifecycle::expect;
use super::{Orchestrator, OrchestratorError, RequestKey};
use crate::queue::Wake;
use crate::task::{
    CallAt, Cut, EffectRecord, Effects, Entry, Event, ForkPoint, Inheritance, MAX_DEPTH, ModelName, Payload,
    Status, Step, StepStatus, Task, TaskId, TaskSpec, inherit, is_too_deep,
};

/// Entries that are read at once.
const PAGE: u32 = 1000;

/// What is to be different in a fork, and from where on.
#[derive(Debug, Clone)]
pub struct ForkWish {
    /// From where on.
    pub at: ForkAt,
    /// The model to ask from there on.
    pub chat_model: Option<ModelName>,
    /// What is to be reached instead.
    pub goal: Option<String>,
    /// What its models are told besides: a message, as to a running task.
    pub prompt: Option<String>,
    /// Whether what the other task did to the world behind that place may be done once more.
    pub repeat_effects: bool,
    /// Makes the request repeatable.
    pub key: Option<RequestKey>,
}

/// What a retry does anew.
#[derive(Debug, Clone, Default)]
pub struct RetryWish {
    /// All from this step on; the steps that failed, if none is named.
    pub from_step: Option<u32>,
    /// Whether what the other task did to the world in these steps may be done once more.
    pub repeat_effects: bool,
    /// Makes the request repeatable.
    pub key: Option<RequestKey>,
}

/// Where a fork leaves the way of the other task.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ForkAt {
    /// Where the other task stands; the last moment before its end if it has ended.
    #[default]
    End,
    /// Behind the entry with this number.
    Entry(i64),
    /// Before the step with this index: it and all that wait for it are done anew.
    Step(u32),
    /// Behind a tool's result, with this one in its place.
    Result {
        /// The call.
        call: CallAt,
        /// What it returned.
        value: Value,
    },
}

impl ForkWish {
    /// A fork that differs in nothing.
    pub fn at(at: ForkAt) -> Self {
        Self { at, chat_model: None, goal: None, prompt: None, repeat_effects: false, key: None }
    }
}

impl From<ForkAt> for Cut {
    fn from(at: ForkAt) -> Self {
        match at {
            ForkAt::End => Self::End,
            ForkAt::Entry(seq) => Self::Entry(seq),
            ForkAt::Step(step) => Self::Steps([step].into()),
            ForkAt::Result { call, value } => Self::Result(call, value),
        }
    }
}

impl Orchestrator {
    /// Starts a task that begins with the facts of another one. What was completed there stays
    /// completed, and no tool is called again for it.
    ///
    /// # Errors
    /// [`OrchestratorError::WouldRepeat`] if the other task changed the world behind that place, and
    /// the wish does not say that this may be done once more.
    pub async fn fork(&self, id: TaskId, wish: ForkWish, by: &str) -> Result<Task, OrchestratorError> {
        let other = self.repository.load(id).await?.ok_or(OrchestratorError::NotFound)?;
        let cut = wish.at.clone().into();
        self.fork_from(&other, &cut, wish, by).await
    }

    /// Starts a new task in the place of one that has ended without reaching its goal: its failed
    /// steps are done anew, or all from one step on.
    ///
    /// # Errors
    /// As for [`Orchestrator::fork`]; and [`OrchestratorError::NotNow`] if the task has not ended.
    pub async fn retry(&self, id: TaskId, wish: RetryWish, by: &str) -> Result<Task, OrchestratorError> {
        let RetryWish { from_step, repeat_effects, key } = wish;
        let other = self.repository.load(id).await?.ok_or(OrchestratorError::NotFound)?;
        expect(&other, "retry", &[Status::Completed, Status::Failed, Status::Cancelled])?;
        let failed = failed_steps(&other);
        let cut = match from_step {
            Some(step) => Cut::Steps([step].into()),
            None if other.status() == Status::Completed => {
                let problem = "the task is completed: say from which step on it is to be done anew";
                return Err(OrchestratorError::Invalid { field: "step", problem: problem.to_owned() });
            }
            None if failed.is_empty() => Cut::End,
            None => Cut::Steps(failed),
        };
        let wish = ForkWish { repeat_effects, key, ..ForkWish::at(ForkAt::End) };
        self.fork_from(&other, &cut, wish, by).await
    }

    async fn fork_from(
        &self,
        other: &Task,
        cut: &Cut,
        wish: ForkWish,
        by: &str,
    ) -> Result<Task, OrchestratorError> {
        if matches!(cut, Cut::Result(_, value) if is_too_deep(value)) {
            let problem = format!("the result is nested deeper than {MAX_DEPTH} levels");
            return Err(OrchestratorError::Invalid { field: "result", problem });
        }
        let journal = self.whole_journal(other.id).await?;
        let inherited = inherit(&journal, cut)
            .map_err(|error| OrchestratorError::Invalid { field: "at", problem: error.to_string() })?;
        let repeated = self.would_repeat(other, &journal, &inherited).await?;
        if !repeated.is_empty() && !wish.repeat_effects {
            return Err(OrchestratorError::WouldRepeat(repeated));
        }
        let replaced = match cut {
            Cut::Result(call, _) => Some(*call),
            _ => None,
        };
        let from = ForkPoint { task: other.id, seq: inherited.seq };
        let spec = self.forked_spec(other, from, &wish)?;
        let forked = Event::Forked {
            from,
            steps: inherited.steps.iter().copied().collect(),
            replaced,
            by: by.to_owned(),
        };
        let (task, entries) = self.forked_entries(spec, inherited, forked, &wish, by)?;
        let answer = wish.key.as_ref().map(|key| key.answer(&task));
        self.repository.create(&task, entries, answer.as_ref()).await?;
        tracing::info!(task = %task.id, from = %other.id, "task forked");
        if task.status().is_live() {
            self.wake(Wake::again(&task, Duration::ZERO)).await;
        }
        Ok(task)
    }

    /// What the other task did to the world, or may have done, that the fork may do once more; its children
    /// included.
    async fn would_repeat(
        &self,
        other: &Task,
        journal: &[Entry],
        inherited: &Inheritance,
    ) -> Result<Vec<EffectRecord>, OrchestratorError> {
        let mut effects = Effects::of(other.id);
        journal.iter().for_each(|entry| effects.take(entry));
        let is_left_out = |step: u32, call: u32| inherited.left_out.contains(&(step, call));
        let mut records = effects.into_records();
        records.retain(|effect| is_left_out(effect.step, effect.call));
        for entry in journal {
            if let Event::ChildStarted { step, call, child, .. } = &entry.event
                && is_left_out(*step, *call)
            {
                records.extend(self.effects_of_child(*child, &other.spec().user_id).await?);
            }
        }
        records.retain(EffectRecord::may_have_happened);
        Ok(records)
    }

    /// All entries of a task.
    pub(super) async fn whole_journal(&self, id: TaskId) -> Result<Vec<Entry>, OrchestratorError> {
        let mut journal: Vec<Entry> = Vec::new();
        loop {
            let after = journal.last().map_or(0, |last| last.seq);
            let mut page = self.repository.journal(id, after, PAGE).await?;
            if page.is_empty() {
                return Ok(journal);
            }
            journal.append(&mut page);
        }
    }

    fn forked_spec(
        &self,
        other: &Task,
        from: ForkPoint,
        wish: &ForkWish,
    ) -> Result<TaskSpec, OrchestratorError> {
        let mut spec = TaskSpec {
            priority: other.state().priority,
            forked_from: Some(from),
            // Nobody waits for it.
            parent: None,
            ..other.spec().clone()
        };
        spec = self.own_terms(spec)?;
        if let Some(goal) = &wish.goal {
            spec.goal = self.config.goal(goal)?;
        }
        if let Some(model) = &wish.chat_model {
            self.models.check_known(model)?;
            spec.chat_model = Some(model.clone());
        }
        Ok(spec)
    }

    /// The first entries of a fork. They are numbered anew, and no lease was ever granted for them.
    fn forked_entries(
        &self,
        spec: TaskSpec,
        inherited: Inheritance,
        forked: Event,
        wish: &ForkWish,
        by: &str,
    ) -> Result<(Task, Vec<Entry>), OrchestratorError> {
        let now = self.now();
        let created = Entry { seq: 1, epoch: 0, at: now, event: Event::Created { spec: Box::new(spec) } };
        let mut task = Task::begin(TaskId(Uuid::now_v7()), &created)?;
        let mut entries = vec![created];
        let mut messages = BTreeMap::new();
        for mut entry in inherited.entries {
            match &mut entry.event {
                Event::MessageReceived { .. } => drop(messages.insert(entry.seq, task.state().seq + 1)),
                Event::ModelRequested { heard: Some(heard), .. } => {
                    *heard = messages.get(heard).copied().unwrap_or(*heard);
                }
                _ => {}
            }
            entries.push(task.record(entry.at, entry.event)?);
        }
        entries.push(task.record(now, forked)?);
        if let Some(prompt) = &wish.prompt {
            let text = Payload::text(super::messages::message_text(prompt)?);
            let told = Event::MessageReceived { text, pictures: Vec::new(), by: by.to_owned() };
            entries.push(task.record(now, told)?);
        }
        Ok((task, entries))
    }
}

/// The steps that keep a task from its goal. Of a step with items these are the items that failed.
fn failed_steps(task: &Task) -> BTreeSet<u32> {
    let has_failed = |index: &u32| task.step(*index).is_some_and(|step| step.status == StepStatus::Failed);
    let required = |index: &u32| task.step(*index).is_some_and(Step::is_required);
    let in_the_way = (0..task.steps().len() as u32).filter(|index| required(index) && has_failed(index));
    let failed = in_the_way.flat_map(|index| {
        let items: Vec<u32> = task.items_of(index).filter(has_failed).collect();
        if items.is_empty() { vec![index] } else { items }
    });
    failed.collect()
}
