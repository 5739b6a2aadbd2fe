//! Tables by name: durations, usage, failures.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::series::{beginnings, durations};
use super::{Consumer, Timed};
use crate::repository::analytics::{Durations, FailureGroup, Figure, Measure, Span, Sum};
use crate::task::Timestamp;

/// How long something took, in milliseconds; off by 3 % at most. Null if it never happened.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Percentiles {
    p50_ms: Option<u64>,
    p95_ms: Option<u64>,
    p99_ms: Option<u64>,
}

impl Percentiles {
    pub(super) fn of(durations: &Durations) -> Self {
        let [p50_ms, p95_ms, p99_ms] = [50, 95, 99].map(|percent| durations.percentile(percent));
        Self { p50_ms, p95_ms, p99_ms }
    }
}

/// How long things took.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::server) struct DurationTable {
    from: Timestamp,
    to: Timestamp,
    /// The most frequent first.
    pub(super) rows: Vec<DurationRow>,
}

/// How long one kind of things took.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DurationRow {
    /// The type of step, the tool, the model, the status of the tasks; empty for waits.
    name: String,
    /// How often it happened, the times included that it failed; of steps, their attempts.
    count: u64,
    /// How often it failed.
    failed: u64,
    /// How often it was tried again.
    retried: u64,
    /// The mean, in milliseconds.
    mean_ms: Option<f64>,
    p50_ms: Option<u64>,
    p95_ms: Option<u64>,
    p99_ms: Option<u64>,
}

/// What was consumed.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::server) struct UsageTable {
    from: Timestamp,
    to: Timestamp,
    /// By model or template: the one with the most tokens first. By time: in order, every piece.
    pub(super) rows: Vec<UsageRow>,
}

/// What a model, a template, a user or a piece of time consumed.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct UsageRow {
    /// The model, the template, the user, or the beginning of the piece.
    name: String,
    #[serde(flatten)]
    usage: Usage,
}

/// What was consumed.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ModelUsage")]
pub(super) struct Usage {
    /// Calls of models, those included that failed.
    pub(super) calls: u64,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    /// Those of the input that came from a provider's cache.
    pub(super) cached_tokens: u64,
    /// What is known of the cost, in US dollars.
    pub(super) cost_usd: f64,
    /// Calls of models whose price is not known: the cost is at least what it says.
    pub(super) unpriced_calls: u64,
}

/// What failed.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::server) struct FailureTable {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// The most frequent first, at most 200.
    pub(super) failures: Vec<FailureGroup>,
}

/// A failure in one line.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FailureRow<'a> {
    code: &'a str,
    message: &'a str,
    count: u64,
    calls: u64,
    steps: u64,
    tasks: u64,
    last_at: Timestamp,
    example_task_id: String,
}

/// What is counted of that which is timed: the thing itself, its failures, its repetitions.
pub(super) fn measures(by: Timed) -> Vec<Measure> {
    match by {
        Timed::Step => vec![Measure::Step, Measure::StepFailed, Measure::StepRetried],
        Timed::Tool => vec![Measure::Tool, Measure::ToolFailed, Measure::ToolRetried],
        Timed::Model => vec![Measure::Model, Measure::ModelFailed, Measure::ModelRetried],
        Timed::Task => vec![Measure::Ended],
        Timed::Wait => vec![Measure::Wait],
    }
}

impl DurationTable {
    pub(super) fn of(span: Span, measure: Measure, figures: &[Figure]) -> Self {
        let mut names: BTreeMap<&str, Vec<&Figure>> = BTreeMap::new();
        for figure in figures {
            names.entry(&figure.name).or_default().push(figure);
        }
        let mut rows: Vec<DurationRow> =
            names.into_iter().map(|(name, figures)| DurationRow::of(name, measure, &figures)).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        Self { from: span.from, to: span.to, rows }
    }
}

impl DurationRow {
    fn of(name: &str, measure: Measure, figures: &[&Figure]) -> Self {
        let events = |is: &dyn Fn(Measure) -> bool| {
            figures.iter().filter(|figure| is(figure.measure)).map(|figure| figure.sum.events).sum::<u64>()
        };
        let durations = durations(figures.iter().copied(), measure);
        let timed = figures.iter().filter(|figure| figure.measure == measure && figure.slot.is_some());
        let millis: u64 = timed.map(|figure| figure.sum.millis).sum();
        let Percentiles { p50_ms, p95_ms, p99_ms } = Percentiles::of(&durations);
        Self {
            name: name.to_owned(),
            // A call that failed is among the calls; a step that failed is not among those that were completed.
            count: events(&|of| of == measure || measure == Measure::Step && of == Measure::StepFailed),
            failed: events(&|of| {
                matches!(of, Measure::StepFailed | Measure::ToolFailed | Measure::ModelFailed)
            }),
            retried: events(&|of| {
                matches!(of, Measure::StepRetried | Measure::ToolRetried | Measure::ModelRetried)
            }),
            mean_ms: (durations.count() > 0).then(|| millis as f64 / durations.count() as f64),
            p50_ms,
            p95_ms,
            p99_ms,
        }
    }
}

impl UsageTable {
    pub(super) fn of(span: Span, by: Consumer, user: &str, figures: &[Figure]) -> Self {
        let name = |figure: &Figure| match by {
            Consumer::Model | Consumer::Template => figure.name.clone(),
            Consumer::User => user.to_owned(),
            Consumer::Time => figure.at.to_string(),
        };
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        if by == Consumer::Time {
            sums.extend(beginnings(span).map(|at| (at.to_string(), Sum::default())));
        }
        for figure in figures {
            *sums.entry(name(figure)).or_default() += figure.sum;
        }
        let mut rows: Vec<UsageRow> = sums.into_iter().map(|(name, sum)| UsageRow::of(name, sum)).collect();
        if by != Consumer::Time {
            rows.sort_by_key(|row| std::cmp::Reverse(row.usage.input_tokens + row.usage.output_tokens));
        }
        Self { from: span.from, to: span.to, rows }
    }
}

impl UsageRow {
    fn of(name: String, sum: Sum) -> Self {
        let mut usage = Usage::default();
        usage.add(sum);
        Self { name, usage }
    }
}

/// Failures as lines.
pub(super) fn flat(failures: &[FailureGroup]) -> Vec<FailureRow<'_>> {
    failures.iter().map(FailureRow::of).collect()
}

impl<'a> FailureRow<'a> {
    fn of(failure: &'a FailureGroup) -> Self {
        Self {
            code: &failure.code,
            message: &failure.message,
            count: failure.count,
            calls: failure.calls,
            steps: failure.steps,
            tasks: failure.tasks,
            last_at: failure.last_at,
            example_task_id: failure.example_task_id.to_string(),
        }
    }
}

/// Thousand-millionths of a dollar as dollars.
pub(super) fn dollars(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
