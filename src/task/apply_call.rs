//! What entries say about the calls of a step: the part of [`Task::apply`] below the step.

use super::apply::Verdict;
use super::{
    CUT_SHORT, Call, CallState, CallSubject, Digest, Entry, Event, Opening, Payload, Status, Step,
    StepStatus, Task, Timestamp,
};

impl Task {
    pub(super) fn call_event(&mut self, event: &Event, entry: &Entry) -> Verdict {
        let at = entry.at;
        match event {
            Event::ModelRequested { step, call, attempt, model, reserve, heard, shows, parts, .. } => {
                let subject = CallSubject::Model { model: model.clone(), reserve: *reserve };
                self.dispatched(*step, *call, *attempt, subject, at)?;
                let asked = self.call_in(*step, *call, &CallState::Dispatched)?;
                asked.heard = *heard;
                asked.opening = shows
                    .clone()
                    .map(|shows| Opening { parts: parts.iter().take(3).cloned().collect(), shows });
                Ok(())
            }
            Event::ToolDispatched { step, call, attempt, tool, arguments, effect, labels, request_id } => {
                let subject = CallSubject::Tool {
                    tool: tool.clone(),
                    arguments: arguments.clone(),
                    effect: *effect,
                    labels: *labels,
                    request_id: request_id.clone(),
                };
                self.dispatched(*step, *call, *attempt, subject, at)
            }
            Event::ConversationSummarized { step, through, summary, .. } => {
                self.digested(*step, *through, summary)
            }
            asked if asked.is_about_people() => self.ask_event(asked, entry),
            about_child if about_child.is_about_child() => self.child_event(about_child, at, entry.seq),
            outcome => self.outcome(outcome, entry.seq),
        }
    }

    pub(super) fn dispatched(
        &mut self,
        step: u32,
        number: u32,
        attempt: u32,
        subject: CallSubject,
        at: Timestamp,
    ) -> Verdict {
        let is_tool = matches!(subject, CallSubject::Tool { .. });
        let running = self.calling_step(step)?;
        let call = Call::new(number, attempt, subject, at);
        match running.calls.last_mut() {
            Some(last) if last.number == number && last.is_approved => {
                last.is_covered(&call.subject, attempt)?;
                *last = Call { is_approved: true, is_edited: last.is_edited, ..call };
            }
            _ => running.begin_call(call).map_err(|why| format!("step {step}: {why}"))?,
        }
        if is_tool {
            running.usage.tool_calls += 1;
            self.state.usage.tool_calls += 1;
        }
        Ok(())
    }

    /// The step, if it may call something.
    pub(super) fn calling_step(&mut self, index: u32) -> Result<&mut Step, String> {
        self.expect_status(&[Status::Running])?;
        if self.waits_for_items(index) {
            return Err(format!("step {index} waits for its items"));
        }
        self.running_step(index)
    }

    /// Takes what stands for the calls up to one, from the first on.
    fn digested(&mut self, step: u32, through: u32, summary: &Payload) -> Verdict {
        let running = self.running_step(step)?;
        let covered = running.digest.as_ref().map_or(0, |digest| digest.through);
        if through <= covered || through as usize > running.calls.len() {
            return Err(format!("calls {} to {through} of step {step} are not there", covered + 1));
        }
        // A call without an outcome is still to be made: nothing stands for it.
        let mut folded = running.calls.iter().filter(|call| call.number > covered && call.number <= through);
        if let Some(open) = folded.find(|call| !call.state.is_outcome()) {
            return Err(format!("call {} of step {step} is {}", open.number, open.state.as_str()));
        }
        running.digest = Some(Digest { through, text: summary.clone() });
        Ok(())
    }

    fn outcome(&mut self, event: &Event, seq: i64) -> Verdict {
        if event.is_outcome() {
            // Whatever is recorded is not repeated, so a worker that dies now dies of something else.
            self.state.crashes = 0;
        }
        if let Event::ModelAnswered {
            step,
            call,
            text,
            requests,
            thinking,
            finish,
            usage,
            without_pictures,
            ..
        } = event
        {
            let known = self.call_in(*step, *call, &CallState::Dispatched)?;
            known.returned(text, seq);
            known.requests = requests.clone();
            known.thinking = thinking.clone();
            known.is_cut = finish == CUT_SHORT;
            known.without_pictures = *without_pictures;
            self.steps[*step as usize].usage += *usage;
            self.state.usage += *usage;
            return Ok(());
        }
        match event {
            Event::ToolReturned { step, call, result, is_error } => {
                let known = self.call_in(*step, *call, &CallState::Dispatched)?;
                known.returned(result, seq);
                known.is_error = *is_error;
            }
            Event::CallFailed { step, call, fault, .. } => {
                self.call_in(*step, *call, &CallState::Dispatched)?.state = CallState::Failed(fault.clone());
                let usage = fault.usage.as_deref().copied().unwrap_or_default();
                self.steps[*step as usize].usage += usage;
                self.state.usage += usage;
            }
            Event::CallLost { step, call, .. } => {
                let known = self.call_in(*step, *call, &CallState::Dispatched)?;
                known.state = if known.may_repeat() { CallState::Lost } else { CallState::Unknown };
            }
            Event::OutcomeDecided { step, call, result, by } => {
                let known = self.call_in(*step, *call, &CallState::Unknown)?;
                known.decide(result.clone(), seq, by);
            }
            other => return Err(format!("'{}' is not about a call", other.kind())),
        }
        Ok(())
    }

    pub(super) fn call_in(&mut self, step: u32, number: u32, state: &CallState) -> Result<&mut Call, String> {
        let step = self.step_mut(step)?;
        let call = step.call_mut(number)?;
        if call.state != *state {
            return Err(format!("call {number} is {}", call.state.as_str()));
        }
        Ok(call)
    }

    /// Applies only what an entry says about the calls of a step: for a task that was loaded
    /// from its tables, where everything else is known already.
    pub(super) fn recall(&mut self, entry: &Entry) {
        let Some(index) = entry.event.step() else { return };
        let before = (self.state.usage, self.state.status, self.state.crashes);
        let Some(step) = self.steps.get_mut(index as usize) else { return };
        let kept = (step.usage, step.status);
        // What was recorded was legal when it was recorded; the status now may be a later one.
        step.status = StepStatus::Running;
        self.state.status = Status::Running;
        let _ = self.call_event(&entry.event, entry);
        (self.state.usage, self.state.status, self.state.crashes) = before;
        let step = &mut self.steps[index as usize];
        (step.usage, step.status) = kept;
    }
}
