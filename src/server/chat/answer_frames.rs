//! A model's streamed answer as a chat message: a pure function from its pieces to the chunks
//! of a UI message stream, and to the parts that are kept of it.

use serde_json::{Value, json};

use super::super::ui_stream::UiChunk;
use crate::models::Chunk;

/// What kind of part is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Text,
    Reasoning,
}

/// What has been said so far.
#[derive(Debug, Default)]
pub(super) struct AnswerFrames {
    open: Option<Part>,
    parts: u32,
    /// Whether the model said anything since its turn began.
    has_text: bool,
    /// The parts of the message as clients have them in the end.
    kept: Vec<Value>,
}

impl AnswerFrames {
    /// The beginning of the message.
    pub(super) fn begin(message_id: &str) -> Vec<UiChunk> {
        vec![UiChunk::Start { message_id: message_id.to_owned(), message_metadata: None }, UiChunk::StartStep]
    }

    /// What a piece adds to the message.
    pub(super) fn frames(&mut self, piece: &Chunk) -> Vec<UiChunk> {
        match piece {
            Chunk::Text(delta) => self.said(Part::Text, delta),
            Chunk::Reasoning(delta) => self.said(Part::Reasoning, delta),
            // A model that does not stream says everything at the end.
            Chunk::End(answer) if !self.has_text => self.said(Part::Text, &answer.text),
            Chunk::End(_) => Vec::new(),
        }
    }

    /// A tool is called.
    pub(super) fn called(&mut self, id: &str, tool: &str, input: &Value) -> Vec<UiChunk> {
        let mut chunks: Vec<UiChunk> = self.close().into_iter().collect();
        self.kept.push(json!({
            "type": format!("tool-{tool}"), "toolCallId": id, "state": "input-available", "input": input,
        }));
        chunks.push(UiChunk::ToolInputAvailable {
            tool_call_id: id.to_owned(),
            tool_name: tool.to_owned(),
            input: input.clone(),
        });
        chunks
    }

    /// The tool that was called last returned this, or its error.
    pub(super) fn returned(&mut self, id: &str, outcome: Result<Value, String>) -> UiChunk {
        let tool_call_id = id.to_owned();
        let (chunk, state, key, value) = match outcome {
            Ok(output) => {
                let chunk = UiChunk::ToolOutputAvailable { tool_call_id, output: output.clone() };
                (chunk, "output-available", "output", output)
            }
            Err(error_text) => {
                let chunk = UiChunk::ToolOutputError { tool_call_id, error_text: error_text.clone() };
                (chunk, "output-error", "errorText", Value::String(error_text))
            }
        };
        if let Some(part) = self.kept.last_mut() {
            part["state"] = json!(state);
            part[key] = value;
        }
        chunk
    }

    /// The model was cut and goes on in the middle of what it says: for whoever reads it, nothing happened.
    pub(super) fn goes_on(&mut self) {
        self.has_text = false;
    }

    /// The model's turn is over and another one begins.
    pub(super) fn next_turn(&mut self) -> Vec<UiChunk> {
        let mut chunks: Vec<UiChunk> = self.close().into_iter().collect();
        self.has_text = false;
        chunks.extend([UiChunk::FinishStep, UiChunk::StartStep]);
        chunks
    }

    /// Closes what is open, before somebody else goes on with the message.
    pub(super) fn close(&mut self) -> Option<UiChunk> {
        let id = self.part_id();
        Some(match self.open.take()? {
            Part::Text => UiChunk::TextEnd { id },
            Part::Reasoning => UiChunk::ReasoningEnd { id },
        })
    }

    /// The end of the message; with an error if it was cut.
    pub(super) fn end(&mut self, error: Option<String>) -> Vec<UiChunk> {
        let mut chunks: Vec<UiChunk> = self.close().into_iter().collect();
        chunks.push(UiChunk::FinishStep);
        chunks.extend(error.map(|error_text| UiChunk::Error { error_text }));
        chunks.push(UiChunk::Finish);
        chunks
    }

    /// The parts so far, in the form of a UI message.
    pub(super) fn kept(&self) -> &[Value] {
        &self.kept
    }

    fn said(&mut self, part: Part, delta: &str) -> Vec<UiChunk> {
        if delta.is_empty() {
            return Vec::new();
        }
        let mut chunks = Vec::new();
        if self.open != Some(part) {
            chunks.extend(self.close());
            self.open = Some(part);
            self.parts += 1;
            let id = self.part_id();
            let (chunk, kind) = match part {
                Part::Text => (UiChunk::TextStart { id }, "text"),
                Part::Reasoning => (UiChunk::ReasoningStart { id }, "reasoning"),
            };
            chunks.push(chunk);
            self.kept.push(json!({"type": kind, "text": ""}));
        }
        if let Some(Value::String(text)) = self.kept.last_mut().and_then(|part| part.get_mut("text")) {
            text.push_str(delta);
        }
        let (id, delta) = (self.part_id(), delta.to_owned());
        chunks.push(match part {
            Part::Text => {
                self.has_text = true;
                UiChunk::TextDelta { id, delta }
            }
            Part::Reasoning => UiChunk::ReasoningDelta { id, delta },
        });
        chunks
    }

    fn part_id(&self) -> String {
        format!("part-{}", self.parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Answer;

    fn types(chunks: &[UiChunk]) -> Vec<String> {
        chunks
            .iter()
            .map(|chunk| serde_json::to_value(chunk).unwrap()["type"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn parts_open_and_close_in_turn() {
        let mut frames = AnswerFrames::default();
        let pieces = [
            Chunk::Reasoning("hm".into()),
            Chunk::Text("Hel".into()),
            Chunk::Text("lo".into()),
            Chunk::End(Answer::text("Hello")),
        ];
        let mut chunks = AnswerFrames::begin("m");
        chunks.extend(pieces.iter().flat_map(|piece| frames.frames(piece)).collect::<Vec<_>>());
        chunks.extend(frames.end(None));
        assert_eq!(
            types(&chunks),
            [
                "start",
                "start-step",
                "reasoning-start",
                "reasoning-delta",
                "reasoning-end",
                "text-start",
                "text-delta",
                "text-delta",
                "text-end",
                "finish-step",
                "finish"
            ]
        );
        let kept = [json!({"type": "reasoning", "text": "hm"}), json!({"type": "text", "text": "Hello"})];
        assert_eq!(frames.kept(), kept);
    }

    #[test]
    fn an_answer_that_comes_at_once_is_said_at_once() {
        let mut frames = AnswerFrames::default();
        let chunks = frames.frames(&Chunk::End(Answer::text("all")));
        assert_eq!(types(&chunks), ["text-start", "text-delta"]);
        assert_eq!(frames.kept()[0]["text"], "all");
    }

    #[test]
    fn a_cut_answer_keeps_its_text_and_says_why_it_ends() {
        let mut frames = AnswerFrames::default();
        frames.frames(&Chunk::Text("half".into()));
        let chunks = frames.end(Some("gone".into()));
        assert_eq!(types(&chunks), ["text-end", "finish-step", "error", "finish"]);
        assert_eq!(frames.kept()[0]["text"], "half");
    }

    #[test]
    fn tools_stand_between_turns_and_are_kept_as_clients_have_them() {
        let mut frames = AnswerFrames::default();
        frames.frames(&Chunk::Text("I look.".into()));
        let mut chunks = frames.called("c1", "look", &json!({"at": 1}));
        chunks.push(frames.returned("c1", Ok(json!("seen"))));
        chunks.extend(frames.called("c2", "look", &json!({})));
        chunks.push(frames.returned("c2", Err("gone".into())));
        chunks.extend(frames.next_turn());
        chunks.extend(frames.frames(&Chunk::End(Answer::text("Seen."))));
        assert_eq!(
            types(&chunks),
            [
                "text-end",
                "tool-input-available",
                "tool-output-available",
                "tool-input-available",
                "tool-output-error",
                "finish-step",
                "start-step",
                "text-start",
                "text-delta"
            ]
        );
        let looked = json!({"type": "tool-look", "toolCallId": "c1", "state": "output-available",
            "input": {"at": 1}, "output": "seen"});
        assert_eq!(frames.kept()[1], looked);
        assert_eq!(frames.kept()[2]["errorText"], "gone");
        assert_eq!(frames.kept()[3]["text"], "Seen.");
    }
}
