//! What has to hold of a step's output before the step counts as done.
//!
//! That a step ran, that it says it is done, and that this is so are three facts: its calls, a
//! claim with the output, and a verdict of each check on that claim.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::apply::Verdict as Applied;
use super::{Entry, Event, Payload, Step, StepStatus, Task};

/// The code of a step whose output did not pass its checks.
pub const UNVERIFIED: &str = "unverified";

/// One thing that has to hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What is looked at.
    #[serde(flatten)]
    pub kind: CheckKind,
    /// Whether the step is not done without it. What is not required is only recorded.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub required: bool,
}

/// How a check is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CheckKind {
    /// The output, or the JSON that it holds, fits this JSON Schema.
    Schema(Value),
    /// The command or the address with this name in the configuration says so: `[checks.NAME]`.
    Probe(String),
    /// A model finds that the output meets these criteria.
    Judge(String),
}

fn yes() -> bool {
    true
}

fn is_yes(required: &bool) -> bool {
    *required
}

impl Check {
    /// What it is called: `schema`, `probe NAME` or `judge`.
    pub fn name(&self) -> String {
        match &self.kind {
            CheckKind::Schema(_) => "schema".to_owned(),
            CheckKind::Probe(name) => format!("probe {name}"),
            CheckKind::Judge(_) => "judge".to_owned(),
        }
    }
}

/// What is known of a step's checks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// What the step claimed, oldest first. Each but the last was refused.
    pub claims: Vec<Claim>,
    /// How many of them do not count any more: a person let the step try again.
    #[serde(default, skip_serializing_if = "super::usage::is_zero")]
    pub forgiven: u32,
    /// The entry in which a person accepted the last one as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<i64>,
}

/// That a step is done, in its own words: the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// How many calls the step had made.
    pub calls: u32,
    /// The entry with the claim.
    pub seq: i64,
    /// What the checks say, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
}

/// What a check says of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// The position of the check in the step.
    pub check: u32,
    /// Whether it holds.
    pub passed: bool,
    /// The entry with the evidence.
    pub seq: i64,
}

/// Where the newest claim of a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is nothing to check, or nothing was claimed yet.
    Unclaimed,
    /// This check is next.
    Open(u32),
    /// A required check failed.
    Refused,
    /// Every required check holds, or a person accepted it.
    Met,
}

/// What a person says about a step that did not pass its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckDecision {
    /// What it brought is good enough.
    Accept,
    /// It may try again.
    Retry,
}

/// A check that was made, and where its evidence is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The index of the step.
    pub step: u32,
    /// Its id.
    pub step_id: String,
    /// `schema`, `probe NAME`, `judge`; or `person`, who accepted what the checks refused.
    pub check: String,
    /// Whether the step is not done without it.
    pub required: bool,
    /// Whether it holds.
    pub passed: bool,
    /// The number of the entry with the evidence.
    pub seq: i64,
}

impl Step {
    /// What has to hold of what it brings. A step with items brings what they bring: they are
    /// checked one by one.
    pub fn checks(&self) -> &[Check] {
        if self.plan.for_each.is_some() { &[] } else { &self.plan.checks }
    }

    /// Where its newest claim stands.
    pub fn standing(&self) -> Standing {
        let Some(verification) = self.verification.as_deref() else { return Standing::Unclaimed };
        let Some(claim) = verification.claims.last() else { return Standing::Unclaimed };
        if verification.accepted.is_some() {
            return Standing::Met;
        }
        let is_required =
            |verdict: &Verdict| self.checks().get(verdict.check as usize).is_none_or(|check| check.required);
        if claim.verdicts.iter().any(|verdict| !verdict.passed && is_required(verdict)) {
            return Standing::Refused;
        }
        match claim.verdicts.len() {
            made if made < self.checks().len() => Standing::Open(made as u32),
            _ => Standing::Met,
        }
    }

    /// Whether a probe is asked of its newest claim: that changes nothing, and may be done again.
    pub fn asks_a_probe(&self) -> bool {
        let Standing::Open(check) = self.standing() else { return false };
        self.checks().get(check as usize).is_some_and(|check| matches!(check.kind, CheckKind::Probe(_)))
    }

    /// How often it claimed to be done, since a person let it try again if one did.
    pub fn tries(&self) -> u32 {
        let Some(verification) = self.verification.as_deref() else { return 0 };
        (verification.claims.len() as u32).saturating_sub(verification.forgiven)
    }

    /// Whether it failed for good because of its checks: a person may still accept what it brought.
    pub fn is_unverified(&self) -> bool {
        self.status == StepStatus::Failed
            && self.retry_at.is_none()
            && !self.replaced
            && self.standing() == Standing::Refused
    }

    fn is_done(&self) -> bool {
        self.checks().is_empty() || self.standing() == Standing::Met
    }

    fn claim(&mut self) -> Option<&mut Claim> {
        self.verification.as_deref_mut()?.claims.last_mut()
    }
}

impl Task {
    /// The checks that were made of what steps claimed last, in order.
    pub fn evidence(&self) -> Vec<Evidence> {
        let checked = (0u32..).zip(self.steps()).filter(|(_, step)| step.verification.is_some());
        checked.flat_map(|(index, step)| evidence(index, step)).collect()
    }

    /// Steps about which a person may say that they are good enough: those that are in the way, and
    /// the items of a list that is.
    pub fn unverified(&self) -> Vec<u32> {
        let in_the_way = |index: &u32| self.step(*index).is_some_and(Step::is_dead_end);
        let open = self.frontier().iter().copied().filter(in_the_way);
        let with_items = open.flat_map(|index| std::iter::once(index).chain(self.items_of(index)));
        with_items.filter(|index| self.step(*index).is_some_and(Step::is_unverified)).collect()
    }

    pub(super) fn check_event(&mut self, event: &Event, entry: &Entry) -> Applied {
        match event {
            Event::StepClaimed { step, output } => self.claimed(*step, output.as_ref(), entry),
            Event::StepVerified { step, check, passed, usage, .. } => {
                let verdict = Verdict { check: *check, passed: *passed, seq: entry.seq };
                self.verified(*step, verdict)?;
                self.charge(usage)
            }
            Event::CheckDecided { step, decision, .. } => self.check_decided(*step, *decision, entry),
            other => Err(format!("'{}' is not about a check", other.kind())),
        }
    }

    fn claimed(&mut self, index: u32, output: Option<&Payload>, entry: &Entry) -> Applied {
        let step = self.running_step(index)?;
        if step.checks().is_empty() {
            return Err(format!("step {index} has no checks"));
        }
        if !matches!(step.standing(), Standing::Unclaimed | Standing::Refused) {
            return Err(format!("what step {index} claimed is not refused"));
        }
        step.bring(output, entry.seq);
        let claim = Claim { calls: step.calls.len() as u32, seq: entry.seq, verdicts: Vec::new() };
        step.verification.get_or_insert_default().claims.push(claim);
        Ok(())
    }

    fn verified(&mut self, index: u32, verdict: Verdict) -> Applied {
        let step = self.running_step(index)?;
        if step.standing() != Standing::Open(verdict.check) {
            return Err(format!("check {} of step {index} is not next", verdict.check));
        }
        if let Some(claim) = step.claim() {
            claim.verdicts.push(verdict);
        }
        self.state.crashes = 0;
        Ok(())
    }

    /// Whether the checks of a step let it be completed.
    pub(super) fn is_verified(&self, index: u32) -> Applied {
        match self.step(index) {
            Some(step) if !step.is_done() => Err(format!("a required check of step {index} is not met")),
            _ => Ok(()),
        }
    }

    fn check_decided(&mut self, index: u32, decision: CheckDecision, entry: &Entry) -> Applied {
        if !self.unverified().contains(&index) {
            return Err(format!("step {index} is not in the way because of its checks"));
        }
        let step = self.step_mut(index)?;
        let list = step.item.as_ref().map(|item| item.of);
        let verification = step.verification.get_or_insert_default();
        match decision {
            CheckDecision::Accept => {
                verification.accepted = Some(entry.seq);
                step.fault = None;
                step.status = StepStatus::Completed;
                step.completed_at = Some(entry.at);
                step.forget_calls();
            }
            CheckDecision::Retry => {
                verification.forgiven = verification.claims.len() as u32;
                step.retry_at = Some(entry.at);
                step.completed_at = None;
            }
        }
        self.state.completed += u32::from(decision == CheckDecision::Accept);
        if let Some(list) =
            list.and_then(|list| self.steps.get_mut(list as usize)).filter(|of| of.is_dead_end())
        {
            // It looks at its items again.
            list.retry_at = Some(entry.at);
            list.completed_at = None;
        }
        self.rebuild_frontier();
        Ok(())
    }
}

fn evidence(index: u32, step: &Step) -> Vec<Evidence> {
    let Some(verification) = step.verification.as_deref() else { return Vec::new() };
    let made = verification.claims.last().map_or(&[][..], |claim| &claim.verdicts);
    let of = |check: String, required: bool, passed: bool, seq: i64| Evidence {
        step: index,
        step_id: step.plan.id.clone(),
        check,
        required,
        passed,
        seq,
    };
    let made = made.iter().filter_map(|verdict| {
        let check = step.checks().get(verdict.check as usize)?;
        Some(of(check.name(), check.required, verdict.passed, verdict.seq))
    });
    made.chain(verification.accepted.map(|seq| of("person".to_owned(), true, true, seq))).collect()
}
