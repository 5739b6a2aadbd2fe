//! Keeps the conversation of a step within the window: before a call that would fill it, older turns
//! are folded into a summary; and once more if the provider finds it too long all the same.

use super::conversation::{Conversation, Shares};
use super::{Attempt, Stop};
use crate::models::{Message, Model, Request};
use crate::orchestrator::{Compression, OrchestratorError, Window};
use crate::task::{Event, Fault, FaultClass, Payload};

/// What a fold frees at least, as a part of the window: less is not worth a call of a model.
const WORTH_PART: u64 = 10;

/// Of what a provider found too long, this part is kept word for word at most.
const KEPT_PART: usize = 4;

/// Why a conversation is folded.
#[derive(Debug, Clone, Copy)]
enum Hurry {
    /// The window is nearly full.
    Soon,
    /// The next request has no room.
    Now,
}

impl Hurry {
    /// How many bytes of a conversation are kept word for word when it is folded; `None` if it is
    /// not. A fold that would free next to nothing is not tried: it would be tried every turn.
    ///
    /// What is kept leaves at least as much room again: in a small window, most of which instructions and
    /// tools take, the next fold would come two turns later, and each makes the provider read all anew.
    fn keeps(self, window: &Window, tokens: u64, turns: usize) -> Option<usize> {
        let beside = tokens.saturating_sub(window.tokens(turns as u64));
        let recent = window.recent_bytes().min(window.bytes_of(window.full().saturating_sub(beside) / 2));
        let old = window.tokens(turns.saturating_sub(recent) as u64);
        match self {
            Self::Soon => (tokens > window.full() && old > window.limit() / WORTH_PART).then_some(recent),
            Self::Now => (tokens > window.room()).then_some(0),
        }
    }
}

/// The bytes that a summary of so many bytes of turns may have, with what stood for earlier ones: at
/// most half of them, for a summary that is as long frees nothing.
fn summary_room(window: &Window, turns: usize, earlier: usize) -> usize {
    window.summary_bytes().min(turns / 2 + earlier)
}

impl Attempt {
    /// The next request, within the window. `ask` makes it of the conversation as it is.
    ///
    /// Where there is no room at all, everything but the opening is folded. What does not fit then
    /// cannot be asked.
    pub(super) async fn fit(
        &mut self,
        model: &dyn Model,
        window: &Window,
        conversation: &mut Conversation,
        ask: impl Fn(&Conversation) -> Request,
    ) -> Result<Request, Stop> {
        let mut request = ask(conversation);
        for hurry in [Hurry::Soon, Hurry::Now] {
            let turns = conversation.messages.iter().map(Message::bytes).sum();
            if let Some(recent) = hurry.keeps(window, window.of_request(&request), turns) {
                self.compact(window, conversation, recent).await?;
                request = ask(conversation);
            }
        }
        match window.of_request(&request) {
            tokens if tokens <= window.room() => Ok(request),
            tokens => Err(Stop::Failed(does_not_fit(model, window, tokens))),
        }
    }

    /// Makes room in a conversation that the provider found too long, so that the call can be made again.
    /// The window is by now what was learnt of it. Returns whether there is more room: there is none if
    /// nothing was said yet.
    pub(super) async fn after_overflow(
        &mut self,
        window: &Window,
        conversation: &mut Conversation,
    ) -> Result<bool, Stop> {
        let (result, turn) = window.result_bytes();
        conversation.narrow(Shares { result, turn });
        let before: usize = conversation.messages.iter().map(Message::bytes).sum();
        self.compact(window, conversation, window.recent_bytes().min(before / KEPT_PART)).await?;
        let after: usize = conversation.messages.iter().map(Message::bytes).sum();
        Ok(after < before)
    }

    /// Folds all turns that do not fit into so many bytes.
    async fn compact(
        &mut self,
        window: &Window,
        conversation: &mut Conversation,
        recent: usize,
    ) -> Result<(), Stop> {
        let handles = conversation.handles();
        let before: usize = conversation.messages.iter().map(Message::bytes).sum();
        let earlier = conversation.digest.clone();
        let (spec, index) = (self.spec.clone(), self.index);
        let compression = |ledger| Compression {
            goal: &spec.goal,
            wish: spec.chat_model.as_ref(),
            earlier: earlier.as_deref(),
            ledger,
            room: summary_room(window, before, earlier.as_ref().map_or(0, String::len)),
            step: Some(index),
        };
        let orchestrator = self.orchestrator.clone();
        let messages = conversation.messages[..conversation.made()].to_vec();
        let ledger = Some(self.allowance.ledger());
        let handle = |at: usize| handles.get(at).cloned().flatten();
        let folding = orchestrator.fold_messages(&messages, handle, compression(ledger), window, recent);
        let folded = tokio::select! {
            folded = folding => folded,
            () = self.cancel.cancelled() => return Err(Stop::Interrupted),
        };
        let folded = match folded {
            Err(OrchestratorError::OutOfBudget(exceeded)) => return Err(Stop::Budget(exceeded)),
            folded => folded?,
        };
        let Some(folded) = folded else { return Ok(()) };
        let Some(through) = conversation.mark(folded.messages) else { return Ok(()) };
        let covered: usize = messages[..folded.messages].iter().map(Message::bytes).sum();
        let summary = folded.summary;
        self.allowance.charge(&summary.usage);
        // Durable before anything is asked of it: who goes on has the same conversation.
        self.journal
            .record(Event::ConversationSummarized {
                step: self.index,
                from: conversation.folded + 1,
                through,
                summary: Payload::text(&summary.text),
                by: summary.by,
                prompt: summary.prompt,
                input: summary.input,
                tokens_before: window.tokens((covered + earlier.as_ref().map_or(0, String::len)) as u64),
                tokens_after: window.tokens(summary.text.len() as u64),
                usage: summary.usage,
            })
            .await?;
        conversation.fold(through, summary.text);
        Ok(())
    }
}

fn does_not_fit(model: &dyn Model, window: &Window, tokens: u64) -> Fault {
    let message = format!(
        "the instructions, the tools, the goal and the step are about {tokens} tokens, and {} leaves room for {} \
         (limits.contextWindowLimit, or the model's own window): raise the limit, offer fewer tools, or choose a \
         model with a larger window",
        model.name(),
        window.room()
    );
    Fault::new(FaultClass::Permanent, "context_full", message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::executor::conversation::{Returned, Shares, Turn};
    use crate::models::{Role, Scripted};
    use crate::orchestrator::{by_rules, fold_point};
    use crate::task::{BlobHash, ToolRequest};

    /// What the next request is, with everything a step is told in `opening` bytes.
    fn ask(conversation: &Conversation, opening: usize) -> Request {
        let first = "o".repeat(opening) + conversation.digest.as_deref().unwrap_or_default();
        let mut request = Request::new(Role::Execute, "goal", "", first);
        request.messages.extend(conversation.messages.iter().cloned());
        request
    }

    /// One turn: an answer of so many bytes, and results of so many.
    fn turn(conversation: &mut Conversation, answer: usize, results: &[usize]) {
        let request = |at: usize| ToolRequest {
            id: format!("id-{at}"),
            tool: "read".into(),
            arguments: serde_json::json!({"at": at}),
        };
        let (number, _) = conversation.next_call();
        let requests = (0..results.len()).map(request).collect();
        let said = Turn { text: "a".repeat(answer), requests, thinking: None };
        conversation.answered(number, said, false);
        for bytes in results {
            let (number, _) = conversation.next_call();
            conversation.returned(&Returned {
                number,
                tool: "read",
                arguments: BlobHash::of(b"x"),
                content: &"r".repeat(*bytes),
                untrusted: false,
                note: "",
                is_error: false,
            });
        }
    }

    #[test]
    fn a_fold_leaves_as_much_room_as_it_keeps_however_much_instructions_and_tools_take() {
        let model = Scripted::parse("m", r#"{"rules":[{"reply":{"text":"x"}}]}"#).unwrap();
        let kept = |limit: u64, beside: u64| {
            let window = Window::of(&model, limit, 4096);
            let turns = window.bytes_of(window.full() - beside) + 1000;
            let tokens = beside + window.tokens(turns as u64);
            let kept = Hurry::Soon.keeps(&window, tokens, turns).expect("it is full");
            (window.tokens(kept as u64), window)
        };
        let (recent, window) = kept(20_000, 7_000);
        assert!(window.full() - 7_000 - recent >= recent, "{recent}");
        let (recent, window) = kept(100_000, 7_000);
        assert_eq!(recent, window.tokens(window.recent_bytes() as u64), "a large one keeps its share");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_request_of_any_conversation_is_above_the_limit(
            limit in 3_000u64..60_000,
            opening in 0usize..100,
            turns in prop::collection::vec(
                (0usize..8_000, prop::collection::vec(0usize..80_000, 0..12)), 1..40,
            ),
        ) {
            let model = Scripted::parse("m", r#"{"rules":[{"reply":{"text":"x"}}]}"#).unwrap();
            let window = Window::of(&model, limit, 4096);
            let (result, of_turn) = window.result_bytes();
            let opening = window.opening_bytes() * opening / 100;
            let mut conversation = Conversation::new("step-1", Shares { result, turn: of_turn }, 0);
            for (answer, results) in turns {
                for hurry in [Hurry::Soon, Hurry::Now] {
                    let bytes = conversation.messages.iter().map(Message::bytes).sum();
                    let tokens = window.of_request(&ask(&conversation, opening));
                    let Some(recent) = hurry.keeps(&window, tokens, bytes) else { continue };
                    let count = fold_point(&conversation.messages, recent);
                    let Some(through) = conversation.mark(count) else { continue };
                    let earlier = conversation.digest.clone();
                    let room = summary_room(&window, bytes, earlier.as_ref().map_or(0, String::len));
                    let text = by_rules(&conversation.messages[..count], earlier.as_deref(), room);
                    conversation.fold(through, text);
                }
                let tokens = window.of_request(&ask(&conversation, opening));
                prop_assert!(tokens <= window.room(), "{tokens} > {}", window.room());
                turn(&mut conversation, answer, &results);
            }
        }
    }
}
