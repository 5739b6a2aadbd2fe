//! What is printed where: results to stdout, progress and log lines to stderr.

use std::io::{self, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::fmt::MakeWriter;

/// The way to the person or the program that started us. Clones share the screen.
#[derive(Clone)]
pub(super) struct Terminal {
    bars: MultiProgress,
    /// Print results and errors only.
    quiet: bool,
}

impl Terminal {
    /// The terminal of this process. Bars move only if a person watches them.
    pub(super) fn of_process(quiet: bool) -> Self {
        let watched = io::stdout().is_terminal() && io::stderr().is_terminal() && !quiet;
        let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), quiet }
    }

    /// How whoever reads this calls the program: by its name if it is found by that, else as it was
    /// called this time.
    pub(super) fn program(&self) -> String {
        let called = std::env::args().next().unwrap_or_default();
        if called.contains(std::path::MAIN_SEPARATOR) { called } else { "longhaul".to_owned() }
    }

    /// Whether a person watches.
    pub(super) fn is_watched(&self) -> bool {
        !self.bars.is_hidden()
    }

    /// Where bars are drawn.
    pub(super) fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Prints a line of the result.
    pub(super) fn result(&self, line: impl AsRef<str>) {
        self.bars.suspend(|| print(io::stdout().lock(), line.as_ref()));
    }

    /// Prints a line about what goes on: above the bars where somebody watches, among the
    /// results in a pipe.
    pub(super) fn progress(&self, line: impl AsRef<str>) {
        if self.quiet {
            return;
        }
        if self.is_watched() {
            self.bars.suspend(|| print(io::stderr().lock(), line.as_ref()));
        } else {
            print(io::stdout().lock(), line.as_ref());
        }
    }

    /// Prints a line that is neither result nor progress: what to know besides.
    pub(super) fn note(&self, line: impl AsRef<str>) {
        if !self.quiet {
            self.warn(line);
        }
    }

    /// Prints a line that nothing silences.
    pub(super) fn warn(&self, line: impl AsRef<str>) {
        self.bars.suspend(|| print(io::stderr().lock(), line.as_ref()));
    }
}

/// How much of a text a table shows: all of it where nobody watches but a program reads.
pub(super) fn cell(most: usize) -> usize {
    if io::stdout().is_terminal() { most } else { usize::MAX }
}

/// Whoever closed the other end does not want to hear more; the work goes on.
fn print(mut out: impl Write, line: &str) {
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Log lines go above the bars, not through them.
impl<'a> MakeWriter<'a> for Terminal {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine(self.bars.clone())
    }
}

/// Writes one line of the log.
pub(super) struct LogLine(MultiProgress);

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
