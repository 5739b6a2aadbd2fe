//! What an event carries: its contents, and its words as JSON.

use serde_json::Value;

use super::{Event, Payload, ToolNotice};

impl Event {
    /// Every payload in it, so that large ones can be stored by name.
    pub fn payloads_mut(&mut self) -> Vec<&mut Payload> {
        match self {
            Self::Promoted { said, .. } => vec![said],
            Self::Planned { tools, .. } => tools.iter_mut().collect(),
            Self::ToolChanged(notice) => {
                let ToolNotice { arguments, change, .. } = notice.as_mut();
                vec![arguments, &mut change.before, &mut change.now]
            }
            Self::ToolAccepted { tools, .. } => vec![tools],
            Self::ModelRequested { parts, .. } => parts.iter_mut().collect(),
            Self::ModelAnswered { text, requests, thinking, .. } => {
                let asked = requests.iter_mut().map(|request| &mut request.arguments);
                std::iter::once(text).chain(asked).chain(thinking).collect()
            }
            Self::ToolDispatched { arguments, .. }
            | Self::ChildStarted { arguments, .. }
            | Self::ApprovalRequested { arguments, .. }
            | Self::InputRequested { arguments, .. } => vec![arguments],
            Self::ApprovalGiven { arguments, .. } => arguments.iter_mut().collect(),
            Self::InputGiven { answer, .. } => vec![answer],
            Self::MessageReceived { text, pictures, .. } => {
                std::iter::once(text).chain(pictures.iter_mut().map(|shown| &mut shown.content)).collect()
            }
            Self::ToolReturned { result, .. } | Self::ChildEnded { result, .. } => vec![result],
            Self::OutcomeDecided { result, .. } => result.iter_mut().collect(),
            Self::StepCompleted { output, .. } | Self::StepClaimed { output, .. } => {
                output.iter_mut().collect()
            }
            Self::StepVerified { evidence, .. } => vec![evidence],
            Self::FannedOut { items, .. } => items.iter_mut().map(|item| &mut item.value).collect(),
            Self::CallFailed { partial, .. } => partial.iter_mut().collect(),
            Self::CheckpointTaken { context, .. } => vec![context],
            Self::Restored { notice, summary, .. } => {
                std::iter::once(notice).chain(summary.as_mut().map(|summary| &mut summary.text)).collect()
            }
            Self::ContextSummarized { summary, .. } | Self::ConversationSummarized { summary, .. } => {
                vec![summary]
            }
            Self::FactPinned { text, .. } => vec![text],
            Self::Completed { output } => vec![output],
            _ => Vec::new(),
        }
    }

    /// What it says beyond its tag, as JSON.
    pub fn data(&self) -> Value {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut tagged)) => tagged.remove("data").unwrap_or(Value::Null),
            _ => Value::Null,
        }
    }
}
