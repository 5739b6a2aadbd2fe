//! Asks a tool how a call ended that was cut off, before a person has to be asked.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Attempt, Stop};
use crate::task::{Call, CallState, CallSubject, Effect, Event, Fault, Payload, Task, ToolAllowance};
use crate::tools::{CallContext, ToolOutput};

/// What a reconciling tool answers.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum Reconciled {
    /// It took effect, with this result.
    Happened {
        #[serde(default)]
        result: Value,
    },
    /// It did not take effect: it may be dispatched again.
    DidNotHappen,
    /// The tool does not know either.
    Unknown,
}

impl Attempt {
    /// Ends the doubt about a call that an earlier worker left behind, if its tool has somebody to
    /// ask. `false` leaves it to a person.
    pub(super) async fn settle(&mut self, call: &mut Call) -> Result<bool, Stop> {
        let CallSubject::Tool { tool, arguments, .. } = &call.subject else { return Ok(false) };
        let arguments = self.content(arguments).await?;
        match self.reconcile(tool, call.number, &arguments).await {
            Reconciled::Unknown => return Ok(false),
            Reconciled::Happened { result } => {
                call.state = CallState::Committed;
                call.result = Some(Payload::Inline(result));
            }
            Reconciled::DidNotHappen => {
                call.state = CallState::Failed(Fault::transient("did_not_happen", "it did not take effect"));
            }
        }
        Ok(true)
    }

    /// Asks the reconciling tool of a tool, if there is one, and records what it says. The call
    /// must be recorded as lost, or noted to be.
    pub(super) async fn reconcile(&mut self, tool: &str, call: u32, arguments: &Value) -> Reconciled {
        let Some((name, said)) = self.ask_reconciler(tool, call, arguments).await else {
            return Reconciled::Unknown;
        };
        let outcome = said.map_or(Reconciled::Unknown, |output| read(&output));
        let result = match &outcome {
            Reconciled::Happened { result } => Some(Payload::Inline(result.clone())),
            Reconciled::DidNotHappen => None,
            Reconciled::Unknown => {
                tracing::warn!(task = %self.task_id, tool, reconciler = name, "the outcome stays unknown");
                return outcome;
            }
        };
        let by = format!("reconcile:{name}");
        self.journal.note(Event::OutcomeDecided { step: self.index, call, result, by });
        outcome
    }

    /// What the reconciling tool returned, with its name. It only reads, so nothing is recorded
    /// before it is called.
    async fn ask_reconciler(
        &self,
        tool: &str,
        call: u32,
        arguments: &Value,
    ) -> Option<(String, Option<ToolOutput>)> {
        let tool_now = self.tool(tool).await.ok()?;
        // Nobody has looked at it yet as it is now.
        if self.change_of(tool_now.description(), call, 0).is_some() {
            return None;
        }
        let name = tool_now.reconciler()?.to_owned();
        // The operator names it for the engine's own use, so the task need not be allowed to.
        let reconciler = self.orchestrator.tools().find(&name, &ToolAllowance::default());
        let reconciler = reconciler.filter(|known| known.description().effect == Effect::ReadOnly);
        let Some(reconciler) = reconciler else {
            tracing::warn!(
                tool,
                reconciler = name,
                "the reconciling tool is not there or does not only read"
            );
            return Some((name, None));
        };
        let key = Task::idempotency_key(self.task_id, self.index, call);
        let context = CallContext {
            idempotency_key: format!("{key}-reconcile"),
            timeout: self.tool_timeout,
            cancel: self.cancel.child_token(),
            max_output_bytes: self.spec.limits.max_output_bytes,
            fence: self.journal.fence(),
            is_confidential: false,
        };
        let question = json!({"idempotencyKey": key, "tool": tool, "arguments": arguments});
        let said = reconciler.call(question, context).await;
        if let Err(error) = &said {
            tracing::warn!(tool, reconciler = name, %error, "the reconciling tool failed");
        }
        Some((name, said.ok().filter(|output| !output.is_error)))
    }
}

/// Reads an answer; whatever is no answer is no knowledge either.
fn read(output: &ToolOutput) -> Reconciled {
    let read = match &output.content {
        Value::String(text) => serde_json::from_str(text),
        other => serde_json::from_value(other.clone()),
    };
    read.unwrap_or(Reconciled::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_json_or_its_text_and_nonsense_is_no_knowledge() {
        let happened = || Reconciled::Happened { result: json!({"id": 7}) };
        for (content, expected) in [
            (json!({"outcome": "happened", "result": {"id": 7}}), happened()),
            (json!(r#"{"outcome": "happened", "result": {"id": 7}}"#), happened()),
            (json!({"outcome": "happened"}), Reconciled::Happened { result: Value::Null }),
            (json!({"outcome": "did_not_happen"}), Reconciled::DidNotHappen),
            (json!({"outcome": "unknown"}), Reconciled::Unknown),
            (json!({"outcome": "perhaps"}), Reconciled::Unknown),
            (json!("no idea"), Reconciled::Unknown),
        ] {
            assert_eq!(read(&ToolOutput::ok(content.clone())), expected, "{content}");
        }
    }
}
