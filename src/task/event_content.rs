//! What an event carries: its contents, and its words as JSON.

use serde_json::Value;

use super::{Event, Payload, ShownPicture, ToolNotice};

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

    /// What it says beyond its tag, as JSON for whoever looks at a journal: of pictures their names, kinds and
    /// sizes.
    pub fn data(&self) -> Value {
        let mut data = match serde_json::to_value(self) {
            Ok(Value::Object(mut tagged)) => tagged.remove("data").unwrap_or(Value::Null),
            _ => Value::Null,
        };
        if let Self::MessageReceived { pictures, .. } = self
            && let Some(shown) = data.get_mut("pictures")
        {
            *shown = serde_json::json!(pictures.iter().map(ShownPicture::in_short).collect::<Vec<_>>());
        }
        data
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pictures_are_told_in_short_where_people_look_and_kept_where_they_are_stored() {
        let picture = |data: &str| ShownPicture {
            name: "cat.png".to_owned(),
            media_type: "image/png".to_owned(),
            content: Payload::text(data),
        };
        let mut large = picture(&"aGVsbG8h".repeat(100_000));
        large.content.seal().unwrap();
        let pictures = vec![picture("aGVsbG8="), large];
        let event =
            Event::MessageReceived { text: Payload::text("See"), pictures, by: "somebody".to_owned() };
        let shown = |bytes: u64| json!({"name": "cat.png", "mediaType": "image/png", "bytes": bytes});
        let data = event.data();
        assert_eq!(data["pictures"], json!([shown(5), shown(600_000)]));
        assert!(data.to_string().len() < 300, "{data}");
        let said = event.message();
        assert!(
            said.ends_with(
                "See [picture cat.png, image/png, 5 bytes] [picture cat.png, image/png, 600000 bytes]"
            ),
            "{said}"
        );
        let stored = serde_json::to_value(&event).unwrap();
        assert_eq!(serde_json::from_value::<Event>(stored).unwrap(), event);
    }
}
