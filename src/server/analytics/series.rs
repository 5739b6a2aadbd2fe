//! Counters of a time, and how they went over it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::tables::{Percentiles, Usage, dollars};
use crate::repository::analytics::{Durations, Figure, Line, Measure, Span};
use crate::task::Timestamp;

/// The counters of a time, and what waits now.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::server) struct Overview {
    from: Timestamp,
    to: Timestamp,
    /// What waits, runs and rests now.
    now: Line,
    tasks: Outcomes,
    /// From the creation of tasks to their completion: what fails or is cancelled early is no faster for it.
    duration: Percentiles,
    /// From the creation of tasks to their first claim.
    wait: Percentiles,
    /// Steps that were completed.
    steps: u64,
    /// Attempts of steps that failed.
    failed_attempts: u64,
    /// Attempts of steps that were made again.
    retries: u64,
    /// Calls that tools answered.
    tool_calls: u64,
    usage: Usage,
}

/// How tasks went.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Outcomes {
    created: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    /// Completed tasks among those that completed or failed, 0 to 1; null if there are none.
    success_rate: Option<f64>,
}

/// How tasks went over time.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::server) struct TaskSeries {
    from: Timestamp,
    to: Timestamp,
    /// The length of the pieces.
    bucket_ms: i64,
    /// Every piece, also those in which nothing happened.
    pub(super) points: Vec<TaskPoint>,
}

/// How tasks went in one piece of time.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TaskPoint {
    /// Its beginning.
    at: Timestamp,
    created: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    /// Completed tasks among those that completed or failed, 0 to 1; null if there are none.
    success_rate: Option<f64>,
    /// From creation to completion, of tasks that were completed then.
    duration_p50_ms: Option<u64>,
    duration_p95_ms: Option<u64>,
    /// From creation to first claim, of tasks that were claimed then.
    wait_p50_ms: Option<u64>,
    wait_p95_ms: Option<u64>,
}

impl Outcomes {
    fn add(&mut self, figure: &Figure) {
        let events = figure.sum.events;
        match (figure.measure, figure.name.as_str()) {
            (Measure::Created, _) => self.created += events,
            (Measure::Ended, "completed") => self.completed += events,
            (Measure::Ended, "failed") => self.failed += events,
            (Measure::Ended, _) => self.cancelled += events,
            _ => return,
        }
        let decided = self.completed + self.failed;
        self.success_rate = (decided > 0).then(|| self.completed as f64 / decided as f64);
    }
}

/// The durations among figures of one measure.
pub(super) fn durations<'a>(figures: impl Iterator<Item = &'a Figure>, measure: Measure) -> Durations {
    let mut durations = Durations::default();
    for figure in figures.filter(|figure| figure.measure == measure) {
        if let Some(slot) = figure.slot {
            durations.add(slot, figure.sum.events);
        }
    }
    durations
}

/// How long completed tasks took.
fn took<'a>(figures: impl Iterator<Item = &'a Figure>) -> Durations {
    durations(figures.filter(|figure| figure.name == "completed"), Measure::Ended)
}

impl Overview {
    pub(super) fn of(span: Span, figures: &[Figure], now: Line) -> Self {
        let mut tasks = Outcomes::default();
        figures.iter().for_each(|figure| tasks.add(figure));
        let counted = |measures: &[Measure]| {
            let those = figures.iter().filter(|figure| measures.contains(&figure.measure));
            those.map(|figure| figure.sum.events).sum()
        };
        let mut usage = Usage::default();
        figures
            .iter()
            .filter(|figure| figure.measure == Measure::Model)
            .for_each(|figure| usage.add(figure.sum));
        Self {
            from: span.from,
            to: span.to,
            now,
            tasks,
            duration: Percentiles::of(&took(figures.iter())),
            wait: Percentiles::of(&durations(figures.iter(), Measure::Wait)),
            steps: counted(&[Measure::Step]),
            failed_attempts: counted(&[Measure::StepFailed]),
            retries: counted(&[Measure::StepRetried]),
            tool_calls: counted(&[Measure::Tool]),
            usage,
        }
    }
}

impl TaskSeries {
    pub(super) fn of(span: Span, figures: &[Figure]) -> Self {
        let mut pieces: BTreeMap<Timestamp, Vec<&Figure>> =
            beginnings(span).map(|at| (at, Vec::new())).collect();
        for figure in figures {
            pieces.entry(figure.at).or_default().push(figure);
        }
        let points = pieces.into_iter().map(|(at, figures)| TaskPoint::of(at, &figures)).collect();
        Self { from: span.from, to: span.to, bucket_ms: span.piece, points }
    }
}

impl TaskPoint {
    fn of(at: Timestamp, figures: &[&Figure]) -> Self {
        let mut outcomes = Outcomes::default();
        figures.iter().for_each(|figure| outcomes.add(figure));
        let Outcomes { created, completed, failed, cancelled, success_rate } = outcomes;
        let took = took(figures.iter().copied());
        let waited = durations(figures.iter().copied(), Measure::Wait);
        Self {
            at,
            created,
            completed,
            failed,
            cancelled,
            success_rate,
            duration_p50_ms: took.percentile(50),
            duration_p95_ms: took.percentile(95),
            wait_p50_ms: waited.percentile(50),
            wait_p95_ms: waited.percentile(95),
        }
    }
}

/// The beginnings of all pieces of a time.
pub(super) fn beginnings(span: Span) -> impl Iterator<Item = Timestamp> {
    let (from, to, piece) = (span.from.as_millis(), span.to.as_millis(), span.piece);
    (0..).map(move |number| from + number * piece).take_while(move |at| *at < to).map(Timestamp::from_millis)
}

impl Usage {
    /// Adds what was counted.
    pub(super) fn add(&mut self, sum: crate::repository::analytics::Sum) {
        self.calls += sum.events;
        self.input_tokens += sum.input_tokens;
        self.output_tokens += sum.output_tokens;
        self.cached_tokens += sum.cached_tokens;
        self.cost_usd += dollars(sum.cost_nanos);
        self.unpriced_calls += sum.unpriced;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::analytics::Sum;

    fn figure(measure: Measure, name: &str, slot: Option<u16>, events: u64) -> Figure {
        let sum = Sum { events, ..Sum::default() };
        Figure { at: Timestamp::from_millis(0), measure, name: name.into(), slot, sum }
    }

    fn span() -> Span {
        let at = Timestamp::from_millis;
        Span { from: at(0), to: at(3_600_000), piece: 3_600_000, by_minute: true }
    }

    #[test]
    fn what_a_step_is_made_again_for_is_one_retry() {
        let figures = [
            figure(Measure::StepRetried, "llm-reasoning", None, 3),
            figure(Measure::ModelRetried, "scripted/a", None, 3),
            figure(Measure::ToolRetried, "clock_now", None, 1),
        ];
        assert_eq!(Overview::of(span(), &figures, Line::default()).retries, 3);
    }

    #[test]
    fn what_did_not_come_to_its_end_does_not_tell_how_long_that_takes() {
        let figures = [
            figure(Measure::Ended, "completed", Some(40), 1),
            figure(Measure::Ended, "failed", Some(2), 5),
            figure(Measure::Ended, "cancelled", Some(90), 5),
        ];
        let mut completed = Durations::default();
        completed.add(40, 1);
        let overview = Overview::of(span(), &figures, Line::default());
        let known = serde_json::to_value(&overview.duration).unwrap();
        assert_eq!(known, serde_json::to_value(Percentiles::of(&completed)).unwrap());
        assert_eq!((overview.tasks.failed, overview.tasks.cancelled), (5, 5));
        let series = TaskSeries::of(span(), &figures);
        assert_eq!(series.points[0].duration_p50_ms, completed.percentile(50));
    }
}
