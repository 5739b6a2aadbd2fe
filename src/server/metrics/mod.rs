//! `GET /metrics`: what happened and what is, in the text format of Prometheus.
//!
//! The counters are the sums that the analytics tell, over all users and all time: they are of the
//! database and not of a process, so that they outlive both restarts and retention, and several
//! servers tell the same. Who adds them up over servers has to take the largest.

mod process;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use self::text::{Kind, Page};
use super::error::ApiError;
use super::state::AppState;
use crate::repository::analytics::{Durations, Figure, FigureFilter, Line, Measure, Sum};
use crate::repository::{Presence, WorkerSummary};

/// Names of models or tools that are told apart at most; the calls of all others are told as `other`. A
/// name comes from configurations and requests, and each is a dozen time series.
const NAMES: usize = 50;

/// Upper bounds of classes of durations, in milliseconds.
const BOUNDS: [u64; 12] =
    [10, 50, 100, 500, 1000, 5000, 10_000, 30_000, 60_000, 300_000, 1_800_000, 7_200_000];

/// The sums of one name: how much, and how long.
type Named = BTreeMap<String, (Sum, Durations)>;

/// The names that this process tells apart, by measure. Whoever has been told under its own name stays, and nobody
/// takes its place: what is told as `other` would fall otherwise, and a counter that falls counts as begun anew.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Arc<Mutex<BTreeMap<Measure, BTreeSet<String>>>>);

/// What was counted, and which of it is told by name.
struct Figures<'a> {
    all: &'a [Figure],
    names: &'a Names,
}

/// `GET /metrics`.
pub(super) async fn show(State(state): State<AppState>) -> Result<impl IntoResponse, ApiError> {
    let repository = state.repository();
    let filter = FigureFilter { user_id: None, measures: Measure::ALL.to_vec(), range: None };
    let figures = Figures { all: &repository.analytics().figures(&filter).await?, names: &state.names };
    let line = repository.analytics().line(None).await?;
    let workers = repository.workers().await?;
    let mut page = Page::default();
    tasks(&mut page, &figures);
    steps(&mut page, &figures);
    models(&mut page, &figures);
    tools(&mut page, &figures);
    now(&mut page, &line, &workers);
    page.family(
        "longhaul_tasks_in_line",
        Kind::Gauge,
        "Tasks of this process's worker with a step that waits for the limiter.",
    );
    page.sample("", &[], f64::from(state.worker.snapshot().in_line));
    process::tell(&mut page);
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.into_text()))
}

fn tasks(page: &mut Page, figures: &Figures) {
    counter(
        page,
        "longhaul_tasks_created_total",
        "Tasks that were created.",
        "",
        &figures.of(Measure::Created),
    );
    let ended = figures.of(Measure::Ended);
    counter(page, "longhaul_tasks_ended_total", "Tasks that ended.", "status", &ended);
    histogram(
        page,
        "longhaul_task_duration_seconds",
        "From the creation of tasks to their end.",
        "status",
        &ended,
    );
    let waits = figures.of(Measure::Wait);
    histogram(
        page,
        "longhaul_task_wait_seconds",
        "From the creation of tasks to their first claim.",
        "",
        &waits,
    );
}

fn steps(page: &mut Page, figures: &Figures) {
    let done = figures.of(Measure::Step);
    counter(page, "longhaul_steps_completed_total", "Steps that were completed.", "type", &done);
    histogram(
        page,
        "longhaul_step_duration_seconds",
        "From the first start of steps to their end.",
        "type",
        &done,
    );
    let failed = figures.of(Measure::StepFailed);
    counter(page, "longhaul_step_failures_total", "Attempts of steps that failed.", "type", &failed);
    let retried = figures.of(Measure::StepRetried);
    counter(
        page,
        "longhaul_step_retries_total",
        "Failed attempts after which another follows.",
        "type",
        &retried,
    );
}

fn models(page: &mut Page, figures: &Figures) {
    let answers = figures.of(Measure::Model);
    counter(
        page,
        "longhaul_model_calls_total",
        "Calls of models, those included that failed.",
        "model",
        &answers,
    );
    histogram(page, "longhaul_model_call_duration_seconds", "From request to answer.", "model", &answers);
    let failed = figures.of(Measure::ModelFailed);
    counter(page, "longhaul_model_call_failures_total", "Model calls without an answer.", "model", &failed);
    let retried = figures.of(Measure::ModelRetried);
    counter(
        page,
        "longhaul_model_call_retries_total",
        "Model calls that were made again.",
        "model",
        &retried,
    );
    page.family("longhaul_model_tokens_total", Kind::Counter, "Tokens as providers report them.");
    for (model, (sum, _)) in &answers {
        for (direction, tokens) in
            [("input", sum.input_tokens), ("output", sum.output_tokens), ("cached", sum.cached_tokens)]
        {
            page.sample("", &[("model", model), ("direction", direction)], tokens as f64);
        }
    }
    page.family("longhaul_model_cost_usd_total", Kind::Counter, "What is known of the cost of models.");
    for (model, (sum, _)) in &answers {
        page.sample("", &[("model", model)], sum.cost_nanos as f64 / 1e9);
    }
}

fn tools(page: &mut Page, figures: &Figures) {
    let returns = figures.of(Measure::Tool);
    counter(
        page,
        "longhaul_tool_calls_total",
        "Calls of tools, those included that failed.",
        "tool",
        &returns,
    );
    histogram(page, "longhaul_tool_call_duration_seconds", "From dispatch to return.", "tool", &returns);
    let failed = figures.of(Measure::ToolFailed);
    counter(
        page,
        "longhaul_tool_call_failures_total",
        "Tool calls that failed or are lost.",
        "tool",
        &failed,
    );
    let retried = figures.of(Measure::ToolRetried);
    counter(page, "longhaul_tool_call_retries_total", "Tool calls that were made again.", "tool", &retried);
}

fn now(page: &mut Page, line: &Line, workers: &[WorkerSummary]) {
    page.family("longhaul_tasks", Kind::Gauge, "Tasks that are not at their end.");
    let states =
        [("waiting", line.waiting), ("delayed", line.delayed), ("held", line.held), ("paused", line.paused)];
    for (state, tasks) in states {
        page.sample("", &[("state", state)], tasks as f64);
    }
    page.family(
        "longhaul_oldest_waiting_seconds",
        Kind::Gauge,
        "For how long the first in the line has waited.",
    );
    let waited = line.oldest.as_ref().map_or(0, |oldest| oldest.waited_ms);
    page.sample("", &[], waited as f64 / 1000.0);
    page.family("longhaul_workers", Kind::Gauge, "Workers of the database.");
    for (word, presence) in
        [("working", Presence::Working), ("draining", Presence::Draining), ("gone", Presence::Gone)]
    {
        let count = workers.iter().filter(|worker| worker.presence == presence).count();
        page.sample("", &[("presence", word)], count as f64);
    }
}

impl Figures<'_> {
    /// The sums of a measure by name; those of names that are not told apart together.
    fn of(&self, measure: Measure) -> Named {
        let mut named = Named::new();
        for figure in self.all.iter().filter(|figure| figure.measure == measure) {
            add(
                &mut named,
                figure.name.clone(),
                figure.sum,
                figure.slot.map(|slot| (slot, figure.sum.events)),
            );
        }
        let told = self.names.told(measure, &named);
        let others: Vec<String> = named.keys().filter(|name| !told.contains(*name)).cloned().collect();
        for name in others {
            if let Some((sum, durations)) = named.remove(&name) {
                add(&mut named, "other".to_owned(), sum, durations.classes());
            }
        }
        named
    }
}

impl Names {
    /// Which of these names are told: those that were, and where there is room those with the most events.
    fn told(&self, measure: Measure, named: &Named) -> BTreeSet<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = known.entry(measure).or_default();
        let mut new: Vec<(u64, &String)> = named
            .iter()
            .filter(|(name, _)| !told.contains(*name))
            .map(|(name, (sum, _))| (sum.events, name))
            .collect();
        new.sort_unstable_by(|one, other| other.cmp(one));
        let room = NAMES.saturating_sub(told.len());
        told.extend(new.into_iter().take(room).map(|(_, name)| name.clone()));
        told.clone()
    }
}

fn add(named: &mut Named, name: String, sum: Sum, classes: impl IntoIterator<Item = (u16, u64)>) {
    let (known, durations) = named.entry(name).or_default();
    *known += sum;
    classes.into_iter().for_each(|(slot, count)| durations.add(slot, count));
}

fn counter(page: &mut Page, name: &'static str, help: &str, label: &str, named: &Named) {
    page.family(name, Kind::Counter, help);
    if label.is_empty() && named.is_empty() {
        page.sample("", &[], 0.0);
    }
    for (value, (sum, _)) in named {
        page.sample("", &labels(label, value), sum.events as f64);
    }
}

fn histogram(page: &mut Page, name: &'static str, help: &str, label: &str, named: &Named) {
    page.family(name, Kind::Histogram, help);
    for (value, (sum, durations)) in named {
        let own = labels(label, value);
        let bucket = |bound: &str, count: u64, page: &mut Page| {
            let labels: Vec<(&str, &str)> = own.iter().copied().chain([("le", bound)]).collect();
            page.sample("_bucket", &labels, count as f64);
        };
        for bound in BOUNDS {
            bucket(&(bound as f64 / 1000.0).to_string(), durations.count_within(bound), page);
        }
        bucket("+Inf", durations.count(), page);
        page.sample("_sum", &own, sum.millis as f64 / 1000.0);
        page.sample("_count", &own, durations.count() as f64);
    }
}

fn labels<'a>(label: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    if label.is_empty() { Vec::new() } else { vec![(label, value)] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Timestamp;

    fn figure(name: &str, slot: Option<u16>, events: u64) -> Figure {
        let sum = Sum { events, millis: 40, ..Sum::default() };
        Figure { at: Timestamp::default(), measure: Measure::Tool, name: name.into(), slot, sum }
    }

    #[test]
    fn durations_are_told_in_classes_that_include_each_other() {
        let mut page = Page::default();
        let all = [figure("t", Some(7), 2), figure("t", Some(15), 1), figure("t", None, 1)];
        tools(&mut page, &Figures { all: &all, names: &Names::default() });
        let text = page.into_text();
        for line in [
            "# TYPE longhaul_tool_call_duration_seconds histogram",
            "longhaul_tool_calls_total{tool=\"t\"} 4",
            "longhaul_tool_call_duration_seconds_bucket{tool=\"t\",le=\"0.01\"} 2",
            "longhaul_tool_call_duration_seconds_bucket{tool=\"t\",le=\"0.05\"} 3",
            "longhaul_tool_call_duration_seconds_bucket{tool=\"t\",le=\"+Inf\"} 3",
            "longhaul_tool_call_duration_seconds_sum{tool=\"t\"} 0.12",
            "longhaul_tool_call_duration_seconds_count{tool=\"t\"} 3",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn rare_names_are_told_together() {
        let all: Vec<Figure> =
            (0..200).map(|number| figure(&format!("tool{number}"), Some(1), 200 - number)).collect();
        let named = Figures { all: &all, names: &Names::default() }.of(Measure::Tool);
        assert_eq!(named.len(), NAMES + 1);
        let (sum, durations) = &named["other"];
        assert_eq!((sum.events, durations.count()), ((1..=150).sum(), (1..=150).sum()));
    }

    #[test]
    fn no_counter_falls_when_another_name_becomes_frequent() {
        let names = Names::default();
        let mut all: Vec<Figure> =
            (0..60).map(|number| figure(&format!("tool{number}"), Some(1), 100 - number)).collect();
        let before = Figures { all: &all, names: &names }.of(Measure::Tool);
        all[59].sum.events = 10_000;
        all.push(figure("new", Some(1), 20_000));
        let after = Figures { all: &all, names: &names }.of(Measure::Tool);
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        assert!(before.iter().all(|(name, (sum, _))| after[name].0.events >= sum.events));
    }
}
