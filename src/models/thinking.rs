//! What models think before they ask for tools, and what their providers want back of it.
//!
//! DeepSeek and Kimi refuse the results of tools if they are not given back what the model thought before it
//! asked for them; Anthropic and Gemini seal it, and think anew without it, or refuse as well. Others
//! refuse the very field. So it is recorded as it came, and goes back to the model that thought it.

use genai::chat::{ContentPart, CustomPart, MessageContent, ToolCall};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::task::{ModelName, Payload};

/// What a model thought, in the pieces of its provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thinking {
    /// Whose it is. It is worth nothing to any other model.
    pub model: ModelName,
    /// The pieces, in order.
    pub thoughts: Vec<Thought>,
}

/// A piece of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thought {
    /// In words.
    Words(String),
    /// The seal of the provider on what was thought.
    Seal(String),
    /// Its seal on one of the calls that are asked for, by their order from 0.
    CallSeal {
        /// Which call.
        call: usize,
        /// The seal.
        seal: String,
    },
    /// A block in the form of the provider.
    Block(Value),
}

impl Thinking {
    /// What `model` thought before it said this. `words` are what the library has of it beside the content, `blocks`
    /// what it has not.
    pub(super) fn of(
        model: &ModelName,
        content: &MessageContent,
        words: Option<String>,
        blocks: &[Value],
    ) -> Option<Box<Self>> {
        let mut thoughts: Vec<Thought> = blocks.iter().cloned().map(Thought::Block).collect();
        for part in content {
            match part {
                ContentPart::ReasoningContent(words) => thoughts.push(Thought::Words(words.clone())),
                ContentPart::ThoughtSignature(seal) => thoughts.push(Thought::Seal(seal.clone())),
                ContentPart::Custom(block) => thoughts.push(Thought::Block(block.data.clone())),
                _ => {}
            }
        }
        if !thoughts.iter().any(|thought| matches!(thought, Thought::Words(_) | Thought::Seal(_))) {
            thoughts.extend(words.filter(|words| !words.is_empty()).map(Thought::Words));
        }
        // The library hangs the seals of the whole on the first call, too.
        let mut seals = Vec::new();
        for (call, asked) in content.tool_calls().into_iter().enumerate() {
            let of_call = asked.thought_signatures.iter().flatten();
            let own = of_call.filter(|seal| !thoughts.contains(&Thought::Seal((*seal).clone())));
            seals.extend(own.map(|seal| Thought::CallSeal { call, seal: seal.clone() }));
        }
        thoughts.extend(seals);
        (!thoughts.is_empty()).then(|| Box::new(Self { model: model.clone(), thoughts }))
    }

    /// What goes before the answer. Blocks are the provider's own; whether it takes words is another question.
    pub(super) fn parts(&self, with_words: bool) -> impl Iterator<Item = ContentPart> {
        self.thoughts.iter().filter_map(move |thought| match thought {
            Thought::Words(_) if !with_words => None,
            Thought::Words(words) => Some(ContentPart::ReasoningContent(words.clone())),
            Thought::Seal(seal) => Some(ContentPart::ThoughtSignature(seal.clone())),
            Thought::Block(block) => {
                Some(ContentPart::Custom(CustomPart { model_iden: None, data: block.clone() }))
            }
            Thought::CallSeal { .. } => None,
        })
    }

    /// Puts its seal on a call.
    pub(super) fn seal(&self, position: usize, call: &mut ToolCall) {
        let seals = self.thoughts.iter().filter_map(|thought| match thought {
            Thought::CallSeal { call, seal } if *call == position => Some(seal.clone()),
            _ => None,
        });
        call.thought_signatures = Some(seals.collect::<Vec<_>>()).filter(|seals| !seals.is_empty());
    }

    /// About how many bytes of a prompt it takes. Seals stand for what was thought and are not read.
    pub fn bytes(&self) -> usize {
        let sizes = self.thoughts.iter().map(|thought| match thought {
            Thought::Words(words) => words.len(),
            Thought::Block(block) => block.to_string().len(),
            Thought::Seal(_) | Thought::CallSeal { .. } => 0,
        });
        sizes.sum()
    }

    /// As it is recorded.
    pub fn recorded(&self) -> Payload {
        Payload::Inline(serde_json::to_value(self).unwrap_or_default())
    }

    /// What was recorded. The answer is worth more than what led to it: what cannot be read is left out.
    pub fn read(recorded: Value) -> Option<Box<Self>> {
        serde_json::from_value(recorded).ok()
    }
}
