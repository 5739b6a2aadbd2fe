//! Looks at what a step claims to have done, check by check, before it counts as done.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Attempt, Stop};
use crate::orchestrator::{Judgement, cut};
use crate::task::{
    CallAt, CheckKind, Claim, Event, Fault, FaultClass, Payload, Reserve, Standing, UNVERIFIED, Usage,
    Verdict, as_text, data_of,
};
use crate::tools::validator;

/// How much of the evidence of one check a model is told, in bytes.
const TOLD_BYTES: usize = 4 * 1024;

/// Problems with a schema that are told.
const PROBLEMS: usize = 8;

/// What becomes of a claim.
pub(super) enum Claimed {
    /// It stands; this is the output to record, if the claim has not recorded it.
    Stands(Option<Payload>),
    /// It does not, for these reasons.
    Refused(String),
}

/// What one check found.
struct Found {
    passed: bool,
    evidence: Value,
    by: String,
    usage: Usage,
}

impl Attempt {
    /// Claims that the step is done and has its checks made. `output` is recorded with the claim; without
    /// it, the result of the last call is what was `brought`.
    pub(super) async fn claim(&mut self, output: Option<Payload>, brought: &Value) -> Result<Claimed, Stop> {
        if self.step.checks().is_empty() {
            return Ok(Claimed::Stands(output));
        }
        if matches!(self.step.standing(), Standing::Unclaimed | Standing::Refused) {
            self.journal.record(Event::StepClaimed { step: self.index, output }).await?;
            let claim = Claim { calls: 0, seq: 0, verdicts: Vec::new() };
            self.step.verification.get_or_insert_default().claims.push(claim);
        }
        let mut words = String::new();
        loop {
            match self.step.standing() {
                Standing::Open(check) => self.check(check, brought, &mut words).await?,
                Standing::Refused => return Ok(Claimed::Refused(self.words_or(words).await?)),
                Standing::Met | Standing::Unclaimed => return Ok(Claimed::Stands(None)),
            }
        }
    }

    /// The same for a step that no conversation can mend. What a probe says may become true with
    /// time; everything else stays as it is.
    pub(super) async fn claim_once(
        &mut self,
        output: Option<Payload>,
        brought: &Value,
    ) -> Result<Option<Payload>, Stop> {
        match self.claim(output, brought).await? {
            Claimed::Stands(output) => Ok(output),
            Claimed::Refused(words) => {
                let may_change = self.asked_a_probe() && self.step.tries() <= self.spec.limits.max_repairs;
                let class = if may_change { FaultClass::Transient } else { FaultClass::Permanent };
                Err(Stop::Failed(Fault::new(class, UNVERIFIED, unverified(&words))))
            }
        }
    }

    /// Claims an output that is recorded with the end of the step.
    pub(super) async fn brought(&mut self, output: Payload) -> Result<Option<Payload>, Stop> {
        if self.step.checks().is_empty() {
            return Ok(Some(output));
        }
        let content = self.content(&output).await?;
        self.claim_once(Some(output), &content).await
    }

    /// Whether the step may mend what it claimed; the error ends it.
    pub(super) fn may_repair(&self, words: &str) -> Result<(), Stop> {
        if self.step.tries() <= self.spec.limits.max_repairs {
            return Ok(());
        }
        Err(Stop::Failed(Fault::permanent(UNVERIFIED, unverified(words))))
    }

    async fn check(&mut self, index: u32, brought: &Value, words: &mut String) -> Result<(), Stop> {
        let Some(check) = self.step.checks().get(index as usize).cloned() else { return Ok(()) };
        let found = match &check.kind {
            CheckKind::Schema(schema) => by_schema(schema, brought),
            CheckKind::Probe(name) => self.by_probe(name, brought).await?,
            CheckKind::Judge(criteria) => self.by_judge(criteria, brought).await?,
        };
        if !found.passed {
            let _ = writeln!(words, "- {}: {}", check.name(), shown(&found.evidence));
        }
        self.journal
            .record(Event::StepVerified {
                step: self.index,
                check: index,
                passed: found.passed,
                evidence: Payload::Inline(found.evidence),
                by: found.by,
                usage: found.usage,
            })
            .await?;
        let verdict = Verdict { check: index, passed: found.passed, seq: 0 };
        let claims = self.step.verification.get_or_insert_default();
        claims.claims.last_mut().into_iter().for_each(|claim| claim.verdicts.push(verdict));
        Ok(())
    }

    async fn by_probe(&self, name: &str, brought: &Value) -> Result<Found, Stop> {
        let input = json!({
            "taskId": self.task_id, "goal": self.spec.goal, "step": self.step.plan.id,
            "description": self.step.plan.description, "output": brought,
        });
        let asked = tokio::select! {
            asked = self.orchestrator.probes().ask(name, &input) => asked,
            () = self.cancel.cancelled() => return Err(Stop::Interrupted),
        };
        let by = format!("probe {name}");
        Ok(match asked {
            Some(finding) => {
                Found { passed: finding.passed, evidence: finding.evidence, by, usage: Usage::default() }
            }
            None => {
                let evidence = json!({"error": format!("there is no [checks.{name}] in the configuration")});
                Found { passed: false, evidence, by, usage: Usage::default() }
            }
        })
    }

    async fn by_judge(&mut self, criteria: &str, brought: &Value) -> Result<Found, Stop> {
        let (model, mut request) =
            self.orchestrator.judge_of(&self.spec, &self.step, criteria, &as_text(brought.clone()))?;
        request.at = Some(CallAt { step: self.index, call: 0 });
        let reservation = self.reserve(model.as_ref(), &request).await?;
        let answer = tokio::select! {
            answer = model.generate(request) => answer,
            () = self.cancel.cancelled() => return Err(Stop::Interrupted),
        };
        let answer =
            answer.map_err(|error| Fault { model: Some(Box::new(model.name().clone())), ..error.fault() });
        let used = answer.as_ref().map_or_else(Fault::used, |answer| Some(Reserve::of(&answer.usage)));
        if let Some(used) = used {
            reservation.settle(used);
        }
        let answer = answer.map_err(Stop::Failed)?;
        let Judgement { passed, reason } = Judgement::read(&answer.text);
        Ok(Found {
            passed,
            evidence: Value::String(reason),
            by: model.name().to_string(),
            usage: answer.usage,
        })
    }

    fn asked_a_probe(&self) -> bool {
        let failed = self.step.verification.iter().filter_map(|known| known.claims.last());
        let mut failed = failed.flat_map(|claim| &claim.verdicts).filter(|verdict| !verdict.passed);
        failed.any(|verdict| {
            let check = self.step.checks().get(verdict.check as usize);
            check.is_some_and(|check| matches!(check.kind, CheckKind::Probe(_)))
        })
    }

    /// What the checks of a claim said that was refused before this attempt; `seen` if they were made
    /// by it.
    pub(super) async fn words_or(&self, seen: String) -> Result<String, Stop> {
        if !seen.is_empty() {
            return Ok(seen);
        }
        let claim = self.step.verification.as_ref().and_then(|known| known.claims.last());
        match claim {
            Some(claim) => self.words_about(claim).await,
            None => Ok(seen),
        }
    }

    /// Why a recorded claim was refused.
    pub(super) async fn words_about(&self, claim: &Claim) -> Result<String, Stop> {
        let mut words = String::new();
        for verdict in claim.verdicts.iter().filter(|verdict| !verdict.passed) {
            let Some(check) = self.step.checks().get(verdict.check as usize) else { continue };
            let evidence = self.orchestrator.evidence(self.task_id, verdict.seq).await?;
            let _ = writeln!(words, "- {}: {}", check.name(), shown(&evidence.unwrap_or(Value::Null)));
        }
        Ok(words)
    }

    /// Why claims were refused, by the number of the call that each followed.
    pub(super) async fn refusals(&self) -> Result<Vec<(u32, String)>, Stop> {
        let mut refusals = Vec::new();
        let Some(known) = self.step.verification.as_deref() else { return Ok(refusals) };
        let last = known.claims.len().saturating_sub(1);
        for (position, claim) in known.claims.iter().enumerate() {
            if position < last || self.step.standing() == Standing::Refused {
                refusals.push((claim.calls, repair(&self.words_about(claim).await?)));
            }
        }
        Ok(refusals)
    }
}

fn by_schema(schema: &Value, brought: &Value) -> Found {
    let found = |passed, evidence: String| Found {
        passed,
        evidence: Value::String(evidence),
        by: "schema".to_owned(),
        usage: Usage::default(),
    };
    let validator = match validator(schema) {
        Ok(validator) => validator,
        Err(error) => return found(false, format!("the schema itself cannot be used: {error}")),
    };
    if validator.is_valid(brought) {
        return found(true, "it fits the schema".to_owned());
    }
    // Models bring their data as text.
    let data = data_of(brought.clone());
    let problems: Vec<String> = validator
        .iter_errors(&data)
        .take(PROBLEMS)
        .map(|error| {
            let whole = error.to_string();
            // The value is quoted before the reason: of a long one nothing but the value would be told.
            let words =
                if whole.len() > TOLD_BYTES / PROBLEMS / 2 { error.masked().to_string() } else { whole };
            match error.instance_path().to_string() {
                path if path.is_empty() => words,
                path => format!("at {path}: {words}"),
            }
        })
        .map(|problem| cut(&problem, TOLD_BYTES / PROBLEMS))
        .collect();
    match problems.as_slice() {
        [] => found(true, "it fits the schema".to_owned()),
        problems => found(false, problems.join("; ")),
    }
}

/// What a model is told of a claim that was refused.
pub(super) fn repair(words: &str) -> String {
    format!(
        "What you brought was checked and does not stand:\n{words}\nMend it, then give your whole answer anew."
    )
}

fn unverified(words: &str) -> String {
    format!("what it brought did not pass its checks:\n{}", words.trim_end())
}

fn shown(evidence: &Value) -> String {
    cut(&as_text(evidence.clone()), TOLD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_does_not_hide_what_is_wrong_with_it() {
        let schema = json!({"type": "object", "required": ["files"]});
        let found = by_schema(&schema, &Value::String("word after word ".repeat(2000)));
        assert!(!found.passed);
        assert_eq!(found.evidence, json!(r#"value is not of type "object""#));
        let short = by_schema(&schema, &json!("a word"));
        assert_eq!(short.evidence, json!(r#""a word" is not of type "object""#));
    }
}
