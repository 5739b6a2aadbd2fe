//! Tools that are not what they were when the plan was made.

use std::sync::Arc;

use super::calls::Dispatch;
use super::{Attempt, recollection};
use crate::task::{CallAt, Event, FrozenTool, Payload, ToolChange, ToolNotice};
use crate::tools::{Tool, ToolDescription, ToolError};

impl Attempt {
    /// Finds a tool that this task may use: one that its plan was made with, and that is there. A server
    /// that is being connected for the first time is waited for.
    pub(super) async fn tool(&self, name: &str) -> Result<Arc<dyn Tool>, ToolError> {
        self.orchestrator.tools().settled(Some(name)).await;
        let own = || recollection::tool(name, &self.orchestrator, self.task_id);
        // Nothing was taken down, so nobody could tell whether a tool is what it was.
        let Some(frozen) = &self.frozen else {
            return own().ok_or_else(|| ToolError::Unknown(name.to_owned()));
        };
        let found = self.orchestrator.tools().find(name, &self.spec.tools);
        match (frozen.get(name), found) {
            (Some(_), Some(tool)) => Ok(tool),
            (Some(known), None) => Err(self.gone(known)),
            (None, Some(_)) => own().ok_or_else(|| ToolError::NotPlanned(name.to_owned())),
            (None, None) => own().ok_or_else(|| ToolError::Unknown(name.to_owned())),
        }
    }

    /// Why a tool of the plan is not there. A server that is down has its tools again when it is up.
    fn gone(&self, known: &FrozenTool) -> ToolError {
        let servers = self.orchestrator.tools().servers();
        let down = servers.into_iter().find(|server| known.server.as_ref() == Some(&server.name));
        match down.filter(|server| !server.connected) {
            Some(down) => {
                let detail = down.last_error.unwrap_or_else(|| "it is not connected".to_owned());
                ToolError::Unreachable { server: down.name, detail, source: None }
            }
            None => ToolError::Gone(known.name.clone()),
        }
    }

    /// What became of a tool since the plan was made, if it is another one when this call is made.
    pub(super) fn change_of(&self, now: &ToolDescription, call: u32, attempt: u32) -> Option<ToolChange> {
        if let Some(rehearsal) = self.orchestrator.rehearsal() {
            return rehearsal.change(CallAt { step: self.index, call }, attempt);
        }
        let known = self.frozen.as_ref()?.get(&now.name)?;
        // Of a tool of this program only the effect counts, so nothing has to be hashed.
        if now.server().is_none() && known.server.is_none() && now.effect == known.effect {
            return None;
        }
        let now = now.frozen();
        known.differs(&now).then(|| ToolChange { before: content(known), now: content(&now) })
    }

    /// Asks a person to look at a tool.
    pub(super) fn ask_about_change(
        &mut self,
        change: ToolChange,
        known: &ToolDescription,
        dispatch: Dispatch,
    ) {
        let terms = &self.spec.approval;
        self.journal.note(Event::ToolChanged(Box::new(ToolNotice {
            step: self.index,
            call: dispatch.number,
            attempt: dispatch.attempt,
            tool: known.name.clone(),
            arguments: Payload::Inline(dispatch.arguments),
            effect: known.effect,
            request_id: dispatch.request_id,
            change,
            expires_at: terms.expiry(self.orchestrator.now()),
            on_expiry: terms.on_expiry,
        })));
    }
}

fn content(tool: &FrozenTool) -> Payload {
    Payload::Inline(serde_json::json!(tool))
}
