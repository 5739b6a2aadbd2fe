//! What was measured, as a table and as JSON.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

use super::baseline::Baseline;

/// How much work.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Load {
    /// Tasks.
    pub(super) tasks: u32,
    /// Steps of each.
    pub(super) steps: u32,
    /// Bytes that each step returns.
    pub(super) payload: u32,
    /// Tasks worked on at the same time.
    pub(super) concurrency: u32,
}

/// One run.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// Steps in all.
    pub(super) steps: u64,
    /// From the start of the worker to the end of the last task.
    pub(super) wall: Duration,
    /// Processor time of this process meanwhile, if the system says it.
    pub(super) cpu: Option<Duration>,
    /// How much the database grew, in bytes.
    pub(super) bytes: u64,
    /// From one step of a task to its next, in the order they ended.
    pub(super) periods: Vec<Duration>,
}

/// Claims while others wait.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    /// Tasks that are due.
    pub(super) waiting: u32,
    /// How many of them a user may have at work, if that is limited; most are one user's then.
    pub(super) per_user: u32,
    /// How long each claim took.
    pub(super) took: Vec<Duration>,
}

/// Everything.
pub(super) struct Figures {
    /// Which database, with its version.
    pub(super) engine: String,
    /// The work of the full run.
    pub(super) load: Load,
    /// One task alone.
    pub(super) lone: Measured,
    /// The full run.
    pub(super) full: Measured,
    /// Claims, if they were asked for.
    pub(super) claims: Option<Claims>,
    /// What the machine can do.
    pub(super) baseline: Option<Baseline>,
}

impl Measured {
    /// Steps per second.
    fn rate(&self) -> f64 {
        self.steps as f64 / self.wall.as_secs_f64()
    }

    /// Milliseconds that so many percent of the steps did not exceed.
    fn percentile(&self, percent: usize) -> f64 {
        percentile(&self.periods, percent)
    }

    /// How much the last tenth of the steps cost against the first tenth: 1 if a step costs
    /// the same however many there were before.
    fn growth(&self) -> Option<f64> {
        let tenth = self.periods.len() / 10;
        let first = percentile(self.periods.get(..tenth)?, 50);
        let last = percentile(self.periods.get(self.periods.len() - tenth..)?, 50);
        (first > 0.0).then(|| last / first)
    }

    fn cpu_micros(&self) -> Option<f64> {
        self.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / self.steps as f64)
    }

    fn json(&self) -> Value {
        json!({
            "steps": self.steps,
            "seconds": rounded(self.wall.as_secs_f64()),
            "stepsPerSecond": rounded(self.rate()),
            "msPerStep": {"p50": rounded(self.percentile(50)), "p95": rounded(self.percentile(95)),
                "p99": rounded(self.percentile(99))},
            "lastTenthToFirst": self.growth().map(rounded),
            "cpuMicrosPerStep": self.cpu_micros().map(rounded),
            "diskBytesPerStep": rounded(self.bytes as f64 / self.steps as f64),
        })
    }

    fn cells(&self) -> [String; 8] {
        let number = |value: f64| format!("{value:.2}");
        let unknown = || "-".to_owned();
        [
            self.steps.to_string(),
            format!("{:.0}", self.rate()),
            number(self.percentile(50)),
            number(self.percentile(95)),
            number(self.percentile(99)),
            self.growth().map_or_else(unknown, number),
            self.cpu_micros().map_or_else(unknown, |micros| format!("{micros:.0}")),
            format!("{:.0}", self.bytes as f64 / self.steps as f64),
        ]
    }
}

impl Figures {
    /// Steps per second over what the machine can do; and, where that was done one by one, the
    /// time of a lone step over that of one of them.
    fn ratios(&self) -> Option<(f64, Option<f64>)> {
        let baseline = self.baseline.as_ref()?;
        let lone = self.lone.percentile(50) * baseline.per_second / 1_000.0;
        Some((self.full.rate() / baseline.per_second, baseline.one_by_one.then_some(lone)))
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "engine": self.engine,
            "load": self.load,
            "full": self.full.json(),
            "lone": self.lone.json(),
            "claims": self.claims.as_ref().map(|claims| json!({
                "waiting": claims.waiting,
                "perUser": claims.per_user,
                "ms": {"p50": rounded(percentile(&claims.took, 50)), "p99": rounded(percentile(&claims.took, 99))},
            })),
            "baseline": self.baseline,
            "ratio": self.ratios().map(|(throughput, lone)| json!({
                "stepsPerBaseline": rounded(throughput), "loneStepPerBaseline": lone.map(rounded),
            })),
            "peakMemoryBytes": super::process::peak_memory(),
        })
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header([
            "",
            "STEPS",
            "STEPS/S",
            "MS P50",
            "P95",
            "P99",
            "LAST/FIRST",
            "CPU US",
            "DISK BYTES",
        ]);
        let full = format!("{} tasks, {} at once", self.load.tasks, self.load.concurrency);
        for (name, measured) in [(full, &self.full), ("one task alone".to_owned(), &self.lone)] {
            table.add_row(std::iter::once(name).chain(measured.cells()));
        }
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        let mut text = table.trim_fmt();
        if let Some(Claims { waiting, per_user, took }) = &self.claims {
            let [half, most] = [50, 99].map(|percent| percentile(took, percent));
            text.push_str(&format!(
                "\n\nClaims of five while {waiting} tasks wait: {half:.2} ms p50, {most:.2} ms p99"
            ));
            if *per_user > 0 {
                text.push_str(&format!(" (at most {per_user} of a user; most are one user's)"));
            }
        }
        if let (Some(baseline), Some((throughput, lone))) = (&self.baseline, self.ratios()) {
            let (what, rate) = (&baseline.what, baseline.per_second);
            text.push_str(&format!("\n\nBaseline, per second: {rate:.0} {what}"));
            text.push_str(&format!("\nSteps per second over that: {throughput:.2}"));
            if let Some(lone) = lone {
                text.push_str(&format!("\nOne step alone over one of them: {lone:.2}"));
            }
        }
        text
    }
}

/// Milliseconds, by the nearest rank.
fn percentile(periods: &[Duration], percent: usize) -> f64 {
    let mut sorted = periods.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or(0.0, |period| period.as_secs_f64() * 1_000.0)
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(millis: impl Iterator<Item = u64>) -> Measured {
        let periods: Vec<_> = millis.map(Duration::from_millis).collect();
        Measured {
            steps: 100,
            wall: Duration::from_secs(2),
            cpu: Some(Duration::from_millis(10)),
            bytes: 50_000,
            periods,
        }
    }

    #[test]
    fn percentiles_are_steps_that_happened() {
        let run = measured((1..=100).rev());
        assert_eq!([50, 95, 99].map(|percent| run.percentile(percent)), [50.0, 95.0, 99.0]);
        assert_eq!(measured(std::iter::empty()).percentile(50), 0.0);
    }

    #[test]
    fn figures_are_per_step() {
        let json = measured(std::iter::repeat_n(4, 100)).json();
        assert_eq!(json["stepsPerSecond"], 50.0);
        assert_eq!(json["cpuMicrosPerStep"], 100.0);
        assert_eq!(json["diskBytesPerStep"], 500.0);
        assert_eq!(json["lastTenthToFirst"], 1.0);
    }

    #[test]
    fn growth_is_seen() {
        assert_eq!(measured((0..100).map(|at| if at < 90 { 2 } else { 5 })).growth(), Some(2.5));
    }

    #[test]
    fn ratios_compare_with_the_machine() {
        let lone = measured(std::iter::repeat_n(3, 100));
        let baseline = Some(Baseline { what: String::new(), per_second: 500.0, one_by_one: true });
        let load = Load { tasks: 1, steps: 100, payload: 0, concurrency: 1 };
        let mut figures =
            Figures { engine: String::new(), load, full: lone.clone(), lone, claims: None, baseline };
        assert_eq!(figures.ratios(), Some((0.1, Some(1.5))));
        figures.baseline.as_mut().unwrap().one_by_one = false;
        assert_eq!(figures.ratios(), Some((0.1, None)), "clients side by side say nothing about one step");
    }
}
