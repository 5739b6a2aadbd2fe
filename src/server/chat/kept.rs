//! A stored answer as the chunks of a UI message stream.

use serde_json::Value;

use super::answer_frames::AnswerFrames;
use crate::models::Chunk;
use crate::repository::Message;
use crate::server::ui_stream::UiChunk;

/// The whole message, part by part.
pub(super) fn chunks(message: &Message) -> Vec<UiChunk> {
    let mut chunks = AnswerFrames::begin(&message.id);
    let mut frames = AnswerFrames::default();
    let mut error = None;
    for part in message.parts.as_array().into_iter().flatten() {
        let text = |name: &str| part[name].as_str().unwrap_or_default().to_owned();
        match text("type").as_str() {
            "text" => chunks.extend(frames.frames(&Chunk::Text(text("text")))),
            "reasoning" => chunks.extend(frames.frames(&Chunk::Reasoning(text("text")))),
            "data-error" => error = part["data"]["message"].as_str().map(str::to_owned),
            kind => {
                if let Some(tool) = kind.strip_prefix("tool-") {
                    chunks.extend(frames.called(&text("toolCallId"), tool, &part["input"]));
                    chunks.extend(outcome(part).map(|end| frames.returned(&text("toolCallId"), end)));
                }
            }
        }
    }
    chunks.extend(frames.end(error));
    chunks
}

fn outcome(part: &Value) -> Option<Result<Value, String>> {
    match part["state"].as_str()? {
        "output-available" => Some(Ok(part["output"].clone())),
        "output-error" => Some(Err(part["errorText"].as_str().unwrap_or_default().to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::task::Timestamp;

    #[test]
    fn a_stored_answer_is_told_part_by_part() {
        let parts = json!([
            {"type": "text", "text": "I look."},
            {"type": "tool-look", "toolCallId": "c", "state": "output-available", "input": {}, "output": 1},
            {"type": "text", "text": "One."},
            {"type": "data-error", "data": {"code": "x", "message": "cut"}},
        ]);
        let message = Message {
            id: "m".into(),
            thread_id: "t".into(),
            role: "assistant".into(),
            parts,
            task_id: None,
            created_at: Timestamp::default(),
        };
        let told = serde_json::to_value(chunks(&message)).unwrap();
        let types: Vec<&str> =
            told.as_array().unwrap().iter().map(|chunk| chunk["type"].as_str().unwrap()).collect();
        assert_eq!(
            types.join(" "),
            "start start-step text-start text-delta text-end tool-input-available tool-output-available \
             text-start text-delta text-end finish-step error finish"
        );
    }
}
