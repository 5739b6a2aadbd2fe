//! What needs a person's approval, and what happens if nobody answers.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Effect, Timestamp, WhenTainted};

/// A day: long enough for people in other time zones, short enough that nothing waits for ever.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Which calls and plans wait for a person's approval. Nothing does by default.
///
/// Copied into the task when it is created, so that a later change of the configuration does not
/// change a running task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ApprovalPolicy {
    /// Tools by full name, or by the beginning of it with a `*`: `true` always needs approval,
    /// `false` never does. The most precise name counts, and each counts before the classes.
    pub tools: BTreeMap<String, bool>,
    /// Tools of these effect classes need approval.
    pub classes: Vec<Effect>,
    /// Whether each revision of the plan needs approval before its steps start.
    pub plan: bool,
    /// What happens to a call that goes outward once the task has read untrusted and private content.
    pub when_tainted: WhenTainted,
    /// How long a request for approval or an answer stays open, in milliseconds.
    pub expires_after_ms: u64,
    /// What happens then.
    pub on_expiry: OnExpiry,
}

/// What a request for a task asks for beyond what the configuration says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ApprovalWish {
    /// Tools by name that need approval, too. `false` is refused: a request waives nothing.
    pub tools: BTreeMap<String, bool>,
    /// Effect classes that need approval, too.
    pub classes: Vec<Effect>,
    /// Whether the plan needs approval, too.
    pub plan: bool,
    /// What happens to calls that go outward once it has read untrusted and private content: what is
    /// stricter counts.
    pub when_tainted: Option<WhenTainted>,
    /// How long requests stay open, if not as configured, in milliseconds.
    pub expires_after_ms: Option<u64>,
    /// What happens then, if not as configured.
    pub on_expiry: Option<OnExpiry>,
}

/// What happens to a request that nobody answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnExpiry {
    /// It counts as denied: a model is told so, a planned call fails its step.
    #[default]
    Deny,
    /// The step fails, whoever asked for the call.
    Fail,
    /// The task is cancelled.
    Cancel,
}

impl Default for ApprovalPolicy {
    fn default() -> Self {
        Self {
            tools: BTreeMap::new(),
            classes: Vec::new(),
            plan: false,
            when_tainted: WhenTainted::default(),
            expires_after_ms: DAY_MS,
            on_expiry: OnExpiry::Deny,
        }
    }
}

impl ApprovalPolicy {
    /// Whether a call of this tool needs approval.
    pub fn needs(&self, tool: &str, effect: Effect) -> bool {
        self.by_name(tool).unwrap_or_else(|| self.classes.contains(&effect))
    }

    /// When a request that is made now expires.
    pub fn expiry(&self, now: Timestamp) -> Timestamp {
        now.plus(Duration::from_millis(self.expires_after_ms))
    }

    /// This policy with what a request asks for on top. A request can ask for more approvals and
    /// for other terms, and cannot waive any: the error names what it tried to waive.
    pub fn and(&self, request: &ApprovalWish) -> Result<Self, String> {
        if let Some((tool, _)) = request.tools.iter().find(|(_, needed)| !**needed) {
            return Err(format!("tools.{tool}: a request can ask for approvals and cannot waive them"));
        }
        let mut both = self.clone();
        both.plan |= request.plan;
        let asked = request.when_tainted.unwrap_or(self.when_tainted);
        if asked < self.when_tainted {
            return Err("whenTainted: a request can ask for approvals and cannot waive them".to_owned());
        }
        both.when_tainted = asked;
        both.classes.extend(request.classes.iter().filter(|class| !self.classes.contains(class)));
        both.tools.extend(request.tools.clone());
        both.expires_after_ms = request.expires_after_ms.unwrap_or(self.expires_after_ms);
        both.on_expiry = request.on_expiry.unwrap_or(self.on_expiry);
        Ok(both)
    }

    fn by_name(&self, tool: &str) -> Option<bool> {
        if let Some(needed) = self.tools.get(tool) {
            return Some(*needed);
        }
        let beginnings =
            self.tools.iter().filter_map(|(name, needed)| Some((name.strip_suffix('*')?, needed)));
        let fitting = beginnings.filter(|(beginning, _)| tool.starts_with(beginning));
        fitting.max_by_key(|(beginning, _)| beginning.len()).map(|(_, needed)| *needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> ApprovalPolicy {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn nothing_needs_approval_unless_somebody_says_so() {
        let silent = ApprovalPolicy::default();
        assert!(!silent.needs("mail_send", Effect::Unsafe) && !silent.plan);
        assert_eq!(silent.expiry(Timestamp::from_millis(5)).as_millis(), 86_400_005);
    }

    #[test]
    fn the_most_precise_name_counts_and_then_the_class() {
        let policy = policy(
            r#"{"classes": ["unsafe"], "tools": {"git_*": false, "git_push*": true, "git_push_tag": false, "read": true}}"#,
        );
        for (tool, effect, needed) in [
            ("mail_send", Effect::Unsafe, true),
            ("mail_read", Effect::ReadOnly, false),
            ("read", Effect::ReadOnly, true),
            ("git_commit", Effect::Unsafe, false),
            ("git_push_branch", Effect::Unsafe, true),
            ("git_push_tag", Effect::Unsafe, false),
        ] {
            assert_eq!(policy.needs(tool, effect), needed, "{tool}");
        }
    }

    #[test]
    fn a_request_can_ask_for_more_and_cannot_waive() {
        let configured = policy(r#"{"tools": {"mail_send": true, "clock": false}, "classes": ["unsafe"]}"#);
        let asked: ApprovalWish = serde_json::from_str(
            r#"{"tools": {"read": true}, "classes": ["idempotent"], "plan": true, "expiresAfterMs": 7}"#,
        )
        .unwrap();
        let both = configured.and(&asked).unwrap();
        assert!(both.plan && both.expires_after_ms == 7);
        for (tool, effect) in [
            ("mail_send", Effect::ReadOnly),
            ("read", Effect::ReadOnly),
            ("x", Effect::Unsafe),
            ("x", Effect::Idempotent),
        ] {
            assert!(both.needs(tool, effect), "{tool}");
        }
        assert!(!both.needs("clock", Effect::Unsafe));
        let waiver: ApprovalWish = serde_json::from_str(r#"{"tools": {"mail_send": false}}"#).unwrap();
        assert!(configured.and(&waiver).unwrap_err().contains("tools.mail_send"));
    }
}
