//! A model's streamed answer as a chat message: a pure function from its pieces to the chunks
//! of a UI message stream.

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
    text: String,
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
            Chunk::End(answer) if self.text.is_empty() => self.said(Part::Text, &answer.text),
            Chunk::End(_) => Vec::new(),
        }
    }

    /// The end of the message; with an error if it was cut.
    pub(super) fn end(&mut self, error: Option<String>) -> Vec<UiChunk> {
        let mut chunks: Vec<UiChunk> = self.close().into_iter().collect();
        chunks.push(UiChunk::FinishStep);
        chunks.extend(error.map(|error_text| UiChunk::Error { error_text }));
        chunks.push(UiChunk::Finish);
        chunks
    }

    /// The text so far.
    pub(super) fn text(&self) -> &str {
        &self.text
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
            chunks.push(match part {
                Part::Text => UiChunk::TextStart { id },
                Part::Reasoning => UiChunk::ReasoningStart { id },
            });
        }
        let (id, delta) = (self.part_id(), delta.to_owned());
        chunks.push(match part {
            Part::Text => {
                self.text.push_str(&delta);
                UiChunk::TextDelta { id, delta }
            }
            Part::Reasoning => UiChunk::ReasoningDelta { id, delta },
        });
        chunks
    }

    fn close(&mut self) -> Option<UiChunk> {
        let id = self.part_id();
        Some(match self.open.take()? {
            Part::Text => UiChunk::TextEnd { id },
            Part::Reasoning => UiChunk::ReasoningEnd { id },
        })
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
        assert_eq!(frames.text(), "Hello");
    }

    #[test]
    fn an_answer_that_comes_at_once_is_said_at_once() {
        let mut frames = AnswerFrames::default();
        let chunks = frames.frames(&Chunk::End(Answer::text("all")));
        assert_eq!(types(&chunks), ["text-start", "text-delta"]);
        assert_eq!(frames.text(), "all");
    }

    #[test]
    fn a_cut_answer_keeps_its_text_and_says_why_it_ends() {
        let mut frames = AnswerFrames::default();
        frames.frames(&Chunk::Text("half".into()));
        let chunks = frames.end(Some("gone".into()));
        assert_eq!(types(&chunks), ["text-end", "finish-step", "error", "finish"]);
        assert_eq!(frames.text(), "half");
    }
}
