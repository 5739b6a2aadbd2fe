//! A task's journal as a chat message: a pure function from the entries, in order, to the
//! chunks of a UI message stream.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::ui_stream::UiChunk;
use super::introduction;
use super::words::Words;
use crate::orchestrator::Said;
use crate::task::{Entry, Event, Payload, Plan, TaskId, as_text};

/// Lines of the plan that are shown: a plan may have thousands.
const PLAN_LINES: usize = 50;

/// What has been said of a task so far, as far as it matters for what is said next.
#[derive(Debug)]
pub(super) struct TaskFrames {
    id: TaskId,
    /// The descriptions of all steps, by index.
    steps: Vec<String>,
    /// Tool calls that were announced: no other call may be answered.
    tools: HashSet<String>,
    /// What was told in the chat before there was a task is not told again: entries up to this one.
    told: i64,
    /// What models say meanwhile, for whoever wants it.
    words: Option<Words>,
}

impl TaskFrames {
    /// Nothing was said of this task yet.
    pub(super) fn of_task(id: TaskId, words: bool) -> Self {
        let words = words.then(Words::default);
        Self { id, steps: Vec::new(), tools: HashSet::new(), told: 0, words }
    }

    /// The beginning of the message, while there is no task yet.
    pub(super) fn begin(message_id: &str) -> Vec<UiChunk> {
        let message_metadata = Some(json!({"orchestrated": true}));
        vec![UiChunk::Start { message_id: message_id.to_owned(), message_metadata }, UiChunk::StartStep]
    }

    /// What is said when an answer becomes a task.
    pub(super) fn promoted(task: TaskId, reason: &str) -> Vec<UiChunk> {
        let line = format!("\n\nI go on with this as a task, for {reason}. Task: {task}\n\n");
        let message_metadata = json!({"taskId": task, "orchestrated": true});
        let mut chunks = vec![UiChunk::MessageMetadata { message_metadata }];
        chunks.extend(UiChunk::text("promotion", line));
        chunks
    }

    /// What an entry adds to the message. Large contents must have been put back in place of
    /// their names before, or their beginnings are shown.
    pub(super) fn frames(&mut self, entry: &Entry) -> Vec<UiChunk> {
        let chunks = self.of(entry);
        if entry.seq > self.told || matches!(entry.event, Event::Promoted { .. }) {
            chunks
        } else {
            Vec::new()
        }
    }

    /// What a piece of an answer adds to the message.
    pub(super) fn said(&mut self, said: &Said) -> Vec<UiChunk> {
        self.words.as_mut().map(|words| words.said(said)).unwrap_or_default()
    }

    /// Ends what is open, before the message ends.
    pub(super) fn close(&mut self) -> Vec<UiChunk> {
        self.words.as_mut().map(Words::end).unwrap_or_default()
    }

    /// What an entry adds to the words of models.
    fn words(&mut self, event: &Event) -> Vec<UiChunk> {
        let Some(words) = &mut self.words else { return Vec::new() };
        match event {
            Event::ModelRequested { step, call, attempt, .. } => words.begun(*step, *call, *attempt),
            Event::ModelAnswered { step, call, text, .. } => {
                return words.answered(*step, *call, &text_of(text));
            }
            Event::CallFailed { step, call, .. } | Event::CallLost { step, call, .. } => {
                return words.failed(*step, *call);
            }
            _ => {}
        }
        Vec::new()
    }

    fn of(&mut self, entry: &Entry) -> Vec<UiChunk> {
        let mut chunks = self.words(&entry.event);
        chunks.extend(self.of_journal(entry));
        chunks
    }

    fn of_journal(&mut self, entry: &Entry) -> Vec<UiChunk> {
        match &entry.event {
            Event::Promoted { said: Payload::Inline(said), through, .. } => {
                self.told = *through;
                serde_json::from_value(said.clone()).unwrap_or_default()
            }
            Event::Planned { revision: 1, plan, .. } => {
                let message_metadata = json!({"taskId": self.id, "orchestrated": true});
                let mut chunks = vec![UiChunk::MessageMetadata { message_metadata }];
                let introduction = introduction(self.id, plan.steps.len());
                chunks.extend(UiChunk::text("introduction", format!("{introduction}\n\n")));
                chunks
                    .extend(UiChunk::text(&format!("entry-{}", entry.seq), self.plan(1, plan, &entry.event)));
                chunks
            }
            Event::ToolDispatched { step, call, tool, arguments, .. }
            | Event::ChildStarted { step, call, tool, arguments, .. } => {
                let tool_call_id = call_id(*step, *call);
                self.tools.insert(tool_call_id.clone());
                vec![UiChunk::ToolInputAvailable {
                    tool_call_id,
                    tool_name: tool.clone(),
                    input: shown(arguments),
                }]
            }
            Event::ToolReturned { step, call, result, is_error }
            | Event::ChildEnded { step, call, result, is_error, .. } => {
                self.returned(call_id(*step, *call), result, *is_error)
            }
            Event::CallFailed { step, call, fault, .. } => {
                self.unanswered(call_id(*step, *call), fault.to_string())
            }
            Event::CallLost { step, call, detail } => self.unanswered(call_id(*step, *call), detail.clone()),
            other => match self.line(other) {
                Some(line) => UiChunk::text(&format!("entry-{}", entry.seq), line).into(),
                None => Vec::new(),
            },
        }
    }

    /// The end of the message; with an error if the goal was not reached.
    pub(super) fn end(error: Option<String>) -> Vec<UiChunk> {
        let mut chunks = vec![UiChunk::FinishStep];
        chunks.extend(error.map(|error_text| UiChunk::Error { error_text }));
        chunks.push(UiChunk::Finish);
        chunks
    }

    fn returned(&self, tool_call_id: String, result: &Payload, is_error: bool) -> Vec<UiChunk> {
        if is_error {
            return self.unanswered(tool_call_id, result.preview());
        }
        if !self.tools.contains(&tool_call_id) {
            return Vec::new();
        }
        vec![UiChunk::ToolOutputAvailable { tool_call_id, output: shown(result) }]
    }

    /// A model call fails under a number as well, but it was never announced.
    fn unanswered(&self, tool_call_id: String, error_text: String) -> Vec<UiChunk> {
        if !self.tools.contains(&tool_call_id) {
            return Vec::new();
        }
        vec![UiChunk::ToolOutputError { tool_call_id, error_text }]
    }

    /// A line of text, for entries that a reader of the chat wants to know of.
    fn line(&mut self, event: &Event) -> Option<String> {
        if let Some((revision, plan)) = event.new_plan() {
            return Some(self.plan(revision, plan, event));
        }
        Some(match event {
            Event::FannedOut { items, .. } => {
                self.steps.extend(items.iter().map(|item| item.description.clone()));
                format!("{}\n", event.message())
            }
            Event::StepStarted { step, attempt } => {
                let what = self.steps.get(*step as usize).map_or("", String::as_str);
                match attempt {
                    1 => format!("Step {}: {what}\n", step + 1),
                    _ => format!("Step {}, attempt {attempt}: {what}\n", step + 1),
                }
            }
            Event::StepFailed { .. }
            | Event::StepSkipped { .. }
            | Event::Paused { .. }
            | Event::Resumed { .. }
            | Event::OutcomeDecided { .. }
            | Event::Failed { .. }
            | Event::Cancelled { .. } => format!("{}\n", event.message()),
            Event::Completed { output } => format!("\n{}", text_of(output)),
            _ => return None,
        })
    }

    fn plan(&mut self, revision: u32, plan: &Plan, event: &Event) -> String {
        let first = self.steps.len();
        self.steps.extend(plan.steps.iter().map(|step| step.description.clone()));
        let mut text = if revision == 1 { "Plan:\n".to_owned() } else { format!("{}\n", event.message()) };
        for (offset, step) in plan.steps.iter().take(PLAN_LINES).enumerate() {
            let _ = writeln!(text, "{}. {}", first + offset + 1, step.description);
        }
        if let more @ 1.. = plan.steps.len().saturating_sub(PLAN_LINES) {
            let _ = writeln!(text, "… and {more} more");
        }
        text.push('\n');
        text
    }
}

/// Names a call over all its attempts: a further attempt is the same call.
pub(super) fn call_id(step: u32, call: u32) -> String {
    format!("call-{step}-{call}")
}

fn shown(payload: &Payload) -> Value {
    match payload {
        Payload::Inline(value) => value.clone(),
        Payload::Blob { preview, .. } => Value::String(preview.clone()),
    }
}

fn text_of(payload: &Payload) -> String {
    as_text(shown(payload))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::task::{Effect, Fault, ModelName, Planner, Timestamp};

    fn entry(seq: i64, event: Event) -> Entry {
        Entry { seq, epoch: 1, at: Timestamp::default(), event }
    }

    fn all(events: impl IntoIterator<Item = Event>) -> Vec<UiChunk> {
        let mut frames = TaskFrames::of_task(TaskId(Uuid::nil()), false);
        events.into_iter().zip(1..).flat_map(|(event, seq)| frames.frames(&entry(seq, event))).collect()
    }

    fn texts(chunks: &[UiChunk]) -> String {
        chunks
            .iter()
            .filter_map(|chunk| {
                if let UiChunk::TextDelta { delta, .. } = chunk { Some(delta.as_str()) } else { None }
            })
            .collect()
    }

    fn planned(revision: u32, descriptions: &[&str]) -> Event {
        let steps = descriptions.iter().map(|description| {
            serde_json::from_value(
                json!({"id": description, "description": description, "type": "llm-reasoning"}),
            )
            .unwrap()
        });
        Event::Planned {
            revision,
            plan: Plan { steps: steps.collect() },
            by: Planner::default(),
            tools: None,
        }
    }

    fn dispatched(call: u32) -> Event {
        Event::ToolDispatched {
            step: 0,
            call,
            attempt: 1,
            tool: "workspace_read".into(),
            arguments: Payload::Inline(json!({"path": "a"})),
            effect: Effect::ReadOnly,
            labels: Default::default(),
            request_id: None,
        }
    }

    #[test]
    fn plan_steps_and_answer_are_text() {
        let chunks = all([
            planned(1, &["look", "write"]),
            Event::StepStarted { step: 0, attempt: 1 },
            Event::StepCompleted { step: 0, output: None },
            Event::StepStarted { step: 1, attempt: 2 },
            Event::Completed { output: Payload::text("done") },
        ]);
        let said = texts(&chunks);
        let (introduction, rest) = said.split_once("\n\n").unwrap();
        assert!(introduction.contains("2 steps are planned"), "{introduction}");
        assert_eq!(rest, "Plan:\n1. look\n2. write\n\nStep 1: look\nStep 2, attempt 2: write\n\ndone");
    }

    #[test]
    fn a_revision_goes_on_counting() {
        let chunks =
            all([planned(1, &["a"]), planned(2, &["b"]), Event::StepStarted { step: 1, attempt: 1 }]);
        assert!(texts(&chunks).contains("\n2. b\n"));
        assert!(texts(&chunks).ends_with("Step 2: b\n"));
    }

    #[test]
    fn steps_that_are_done_again_are_counted_and_named_and_so_are_those_behind_them() {
        let Event::Planned { plan, .. } = planned(2, &["b again"]) else { unreachable!() };
        let restored = Event::Restored {
            checkpoint: 4,
            revision: 2,
            undone: vec![(1, 1)],
            plan,
            summary: None,
            notice: Payload::text("put back"),
            by: "ada".into(),
        };
        let chunks = all([
            planned(1, &["a", "b"]),
            restored,
            Event::StepStarted { step: 2, attempt: 1 },
            planned(3, &["c"]),
            Event::StepStarted { step: 3, attempt: 1 },
        ]);
        let said = texts(&chunks);
        assert!(said.contains("ada put the task back to checkpoint 4"), "{said}");
        assert!(said.contains("\n3. b again\n") && said.contains("Step 3: b again\n"), "{said}");
        assert!(said.contains("\n4. c\n") && said.ends_with("Step 4: c\n"), "{said}");
    }

    #[test]
    fn a_tool_call_is_announced_and_answered_under_one_id() {
        let result = Payload::Inline(json!({"lines": 3}));
        let chunks = all([dispatched(1), Event::ToolReturned { step: 0, call: 1, result, is_error: false }]);
        let id = || "call-0-1".to_owned();
        assert_eq!(
            chunks,
            [
                UiChunk::ToolInputAvailable {
                    tool_call_id: id(),
                    tool_name: "workspace_read".into(),
                    input: json!({"path": "a"})
                },
                UiChunk::ToolOutputAvailable { tool_call_id: id(), output: json!({"lines": 3}) },
            ]
        );
    }

    #[test]
    fn only_announced_calls_fail_visibly() {
        let fault = Fault::transient("provider_unavailable", "gone");
        let model: ModelName = "a/b".parse().unwrap();
        let chunks = all([
            Event::ModelRequested {
                step: 0,
                call: 1,
                attempt: 1,
                model,
                base: None,
                heard: None,
                shows: None,
                parts: Vec::new(),
                prompt: None,
                reserve: crate::task::Reserve::default(),
            },
            Event::CallFailed { step: 0, call: 1, fault, partial: None },
            dispatched(2),
            Event::CallLost { step: 0, call: 2, detail: "worker gone".into() },
        ]);
        assert_eq!(chunks.len(), 2, "clients refuse an answer to a call they do not know");
        let expected =
            UiChunk::ToolOutputError { tool_call_id: "call-0-2".into(), error_text: "worker gone".into() };
        assert_eq!(chunks[1], expected);
    }

    #[test]
    fn what_was_said_before_the_promotion_is_told_once() {
        let said = vec![UiChunk::Start { message_id: "m".into(), message_metadata: None }];
        let promoted = Event::Promoted {
            said: Payload::Inline(serde_json::to_value(&said).unwrap()),
            through: 4,
            reason: "r".into(),
        };
        let result = Payload::text("r");
        let chunks = all([
            promoted,
            planned(1, &["go on"]),
            dispatched(1),
            Event::StepStarted { step: 0, attempt: 1 },
            Event::ToolReturned { step: 0, call: 1, result, is_error: false },
        ]);
        assert_eq!(chunks[0], said[0]);
        assert!(matches!(chunks[1..], [UiChunk::ToolOutputAvailable { .. }]), "{chunks:?}");
    }

    #[test]
    fn every_text_part_has_an_id_of_its_own() {
        let mut chunks = TaskFrames::begin("m");
        chunks.extend(all([planned(1, &["a"]), Event::StepStarted { step: 0, attempt: 1 }]));
        let ids: Vec<_> = chunks
            .iter()
            .filter_map(|chunk| if let UiChunk::TextStart { id } = chunk { Some(id) } else { None })
            .collect();
        assert_eq!(ids, ["introduction", "entry-1", "entry-2"]);
    }

    #[test]
    fn nothing_follows_an_error_but_the_end() {
        let chunks = TaskFrames::end(Some("failed".into()));
        assert_eq!(
            chunks,
            [UiChunk::FinishStep, UiChunk::Error { error_text: "failed".into() }, UiChunk::Finish]
        );
        assert_eq!(TaskFrames::end(None), [UiChunk::FinishStep, UiChunk::Finish]);
    }
}
