//! Tasks that go and come as files: see [`Recording`].

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::request::check_ids;
use super::{Orchestrator, OrchestratorError};
use crate::repository::{Repository, RepositoryError};
use crate::task::{
    ApprovalPolicy, ApprovalWish, BlobHash, Entry, Event, Payload, Recording, RecordingError, RecordingText,
    Task, TaskId, TaskSpec,
};

/// Who ends a task that is imported before its end.
const IMPORT: &str = "import";

impl Orchestrator {
    /// The recording of a task, line by line. Contents are read as they are asked for.
    ///
    /// # Errors
    /// [`RecordingError`] if nothing of its journal is left.
    pub async fn export(
        &self,
        id: TaskId,
    ) -> Result<BoxStream<'static, Result<String, RepositoryError>>, OrchestratorError> {
        let journal = self.whole_journal(id).await?;
        if journal.is_empty() && self.repository.load(id).await?.is_none() {
            return Err(OrchestratorError::NotFound);
        }
        let RecordingText { lines, contents } = RecordingText::of(id, &journal)?;
        let repository = self.repository.clone();
        let known = stream::iter(lines.into_iter().map(Ok));
        let contents = stream::iter(contents).then(move |name| content_line(repository.clone(), name));
        Ok(known.chain(contents).boxed())
    }

    /// The same as one text of at most `limit` bytes.
    ///
    /// # Errors
    /// [`RecordingError`] also if it is larger.
    pub async fn recorded(&self, id: TaskId, limit: u64) -> Result<String, OrchestratorError> {
        let mut lines = self.export(id).await?;
        let mut text = String::new();
        while let Some(line) = lines.next().await {
            text.push_str(&line?);
            text.push('\n');
            if text.len() as u64 > limit {
                return Err(RecordingError::TooLarge(limit).into());
            }
        }
        Ok(text)
    }

    /// Makes a task known that was carried out elsewhere, as a record of `user`'s in a conversation of
    /// its own or this one. It never runs: one that had not ended is cancelled.
    ///
    /// # Errors
    /// [`RepositoryError::Exists`] if there is a task of this id; [`OrchestratorError::Invalid`] if it
    /// says that it is of the family of somebody else's task.
    pub async fn import(
        &self,
        recording: &Recording,
        user: &str,
        thread: Option<&str>,
    ) -> Result<Task, OrchestratorError> {
        // A conversation is not made for a task that is here already.
        if self.repository.load(recording.id).await?.is_some() {
            return Err(RepositoryError::Exists.into());
        }
        let mut entries = recording.opened();
        for named in entries.iter().flat_map(|entry| family_in(&entry.event)) {
            self.is_not_of_others(named, user).await?;
        }
        let thread = thread.map_or_else(|| recording.id.to_string(), str::to_owned);
        let mut settled = None;
        if let Some(Entry { event: Event::Created { spec }, .. }) = entries.first_mut() {
            spec.user_id = user.to_owned();
            spec.thread_id = thread;
            spec.imported = true;
            settled = Some(spec.clone());
        }
        let spec = settled.ok_or(RecordingError::NoJournal)?;
        check_ids(&spec.user_id, &spec.thread_id)?;
        let mut task = Task::fold(recording.id, &sealed(&entries))?;
        if !task.status().is_terminal() {
            let at = task.state().updated_at;
            entries.push(task.record(at, Event::Cancelled { by: IMPORT.to_owned() })?);
        }
        self.open_thread(&spec).await?;
        self.repository.create(&task, entries, None).await?;
        tracing::info!(task = %task.id, "task imported");
        Ok(task)
    }

    /// A file may name any task. One that is here has to be the user's own: nobody gets a child, a parent
    /// or a fork that they did not make.
    async fn is_not_of_others(&self, named: TaskId, user: &str) -> Result<(), OrchestratorError> {
        match self.repository.load(named).await? {
            Some(known) if known.spec().user_id != user => {
                let problem = format!(
                    "names task {named}, which is somebody else's, as its parent, its child or its origin: it was \
                     not exported like this"
                );
                Err(OrchestratorError::Invalid { field: "recording", problem })
            }
            _ => Ok(()),
        }
    }

    /// What a fork of an imported task goes by: limits, budget and approvals are those of this
    /// configuration, for nobody here agreed to those of the file. What its file asks approval for
    /// needs approval here, too.
    pub(super) fn own_terms(&self, spec: TaskSpec) -> Result<TaskSpec, OrchestratorError> {
        if !spec.imported {
            return Ok(spec);
        }
        let terms = self.config.terms(None, None)?;
        let approval = terms.approval.and(&asked_for(&spec.approval));
        let approval =
            approval.map_err(|problem| OrchestratorError::Invalid { field: "approval", problem })?;
        Ok(TaskSpec {
            limits: terms.limits,
            budget: terms.budget,
            retry: terms.retry,
            approval,
            imported: false,
            ..spec
        })
    }
}

/// The tasks that an entry names as relatives of its own.
fn family_in(event: &Event) -> Vec<TaskId> {
    match event {
        Event::Created { spec } => {
            let above = spec.parent.iter().flat_map(|parent| [parent.task, parent.root]);
            above.chain(spec.forked_from.map(|from| from.task)).collect()
        }
        Event::ChildStarted { child, .. } => vec![*child],
        Event::Forked { from, .. } => vec![from.task],
        _ => Vec::new(),
    }
}

/// The entries as the tables will have them.
fn sealed(entries: &[Entry]) -> Vec<Entry> {
    let mut entries = entries.to_vec();
    for payload in entries.iter_mut().flat_map(|entry| entry.event.payloads_mut()) {
        payload.seal();
    }
    entries
}

async fn content_line(repository: Arc<dyn Repository>, name: BlobHash) -> Result<String, RepositoryError> {
    let payload = Payload::Blob { hash: name, size: 0, preview: String::new() };
    match repository.content(&payload).await {
        Ok(content) => Ok(RecordingText::content_line(name, Some(&content))),
        Err(RepositoryError::Corrupt { what }) => {
            tracing::warn!(what, "a content is missing from a recording");
            Ok(RecordingText::content_line(name, None))
        }
        Err(error) => Err(error),
    }
}

fn asked_for(policy: &ApprovalPolicy) -> ApprovalWish {
    let tools = policy.tools.iter().filter(|(_, needed)| **needed);
    ApprovalWish {
        tools: tools.map(|(name, needed)| (name.clone(), *needed)).collect(),
        classes: policy.classes.clone(),
        plan: policy.plan,
        ..ApprovalWish::default()
    }
}
