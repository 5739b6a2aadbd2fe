//! What is printed where: results to stdout, progress and log lines to stderr.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::fmt::MakeWriter;

use super::args::Global;
use super::config::is_postgres;
use super::wiring::without_password;
use crate::task::TaskId;

/// The way to the person or the program that started us. Clones share the screen.
#[derive(Clone)]
pub(super) struct Terminal {
    bars: MultiProgress,
    /// Print results and errors only.
    quiet: bool,
    called: Arc<Called>,
    /// The first reason why something could not be printed among the results.
    failure: Arc<Mutex<Option<io::Error>>>,
}

/// How whoever reads this calls the program, so that what is to be typed works as it is printed.
struct Called {
    to_look: String,
    to_work: String,
}

impl Terminal {
    /// The terminal of this process. Bars move only if a person watches them.
    pub(super) fn of_process(global: &Global) -> Self {
        let quiet = global.quiet;
        let watched = io::stdout().is_terminal() && io::stderr().is_terminal() && !quiet;
        let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let program = program();
        let called = Called {
            to_look: typed(&program, &global.to_look()),
            to_work: typed(&program, &global.to_work()),
        };
        let bars = MultiProgress::with_draw_target(target);
        Self { bars, quiet, called: Arc::new(called), failure: Arc::default() }
    }

    /// The beginning of a command that looks at what is here, or decides about it.
    pub(super) fn program(&self) -> &str {
        &self.called.to_look
    }

    /// The command that works on a task until it rests.
    pub(super) fn resume(&self, id: TaskId) -> String {
        format!("{} run --resume {id}", self.called.to_work)
    }

    /// Says who goes on with a task about which something was decided.
    pub(super) fn tell_who_goes_on(&self, id: TaskId) {
        self.note(format!("A running worker goes on with it; without one: {}", self.resume(id)));
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
        self.bars.suspend(|| self.print(io::stdout().lock(), line.as_ref()));
    }

    /// Prints facts, one a line, each with its name before it.
    pub(super) fn facts<'n>(&self, facts: impl IntoIterator<Item = (&'n str, String)>) {
        for (name, value) in facts {
            self.result(format!("{name:<9} {value}"));
        }
    }

    /// Why what was printed is not all of the result: the disk is full, say. It is told once.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Prints a line about what goes on: above the bars where somebody watches, among the
    /// results in a pipe.
    pub(super) fn progress(&self, line: impl AsRef<str>) {
        if self.quiet {
            return;
        }
        if self.is_watched() {
            self.warn(line);
        } else {
            self.print(io::stdout().lock(), line.as_ref());
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
        // Where errors cannot be printed there is no place to say so.
        self.bars.suspend(|| drop(print(io::stderr().lock(), line.as_ref())));
    }

    /// Prints among the results. The work goes on if that fails; what is told of it is that it did.
    fn print(&self, out: impl Write, line: &str) {
        let Err(error) = print(out, line).or_else(unless_unheard) else { return };
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// Whoever closed the other end does not want to hear more: that is no failure.
pub(super) fn unless_unheard(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

/// How much of a text a table shows: all of it where nobody watches but a program reads.
pub(super) fn cell(most: usize) -> usize {
    if io::stdout().is_terminal() { most } else { usize::MAX }
}

/// The program by its name if it is found by that, else as it was called this time.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    if called.contains(std::path::MAIN_SEPARATOR) { called } else { "longhaul".to_owned() }
}

/// A command as a shell takes it. A password is left out: what is printed may be kept.
fn typed(program: &str, options: &[(&str, String)]) -> String {
    let words = options.iter().map(|(name, value)| {
        let value = if is_postgres(value) { without_password(value) } else { value.clone() };
        format!(" {name} {}", quoted(&value))
    });
    std::iter::once(quoted(program)).chain(words).collect()
}

fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+:@%=,".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn print(mut out: impl Write, line: &str) -> io::Result<()> {
    writeln!(out, "{line}").and_then(|()| out.flush())
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::CommandLine;

    #[test]
    fn what_is_printed_can_be_typed_as_it_stands() {
        let options = [("--db", "my tasks.db".to_owned()), ("--config", "it's.toml".to_owned())];
        assert_eq!(typed("./longhaul", &options), r"./longhaul --db 'my tasks.db' --config 'it'\''s.toml'");
        assert_eq!(typed("longhaul", &[]), "longhaul");
    }

    #[test]
    fn no_password_is_printed() {
        let options = [("--db", "postgres://me:secret@host:5433/tasks".to_owned())];
        assert_eq!(typed("longhaul", &options), "longhaul --db postgres://me@host:5433/tasks");
    }

    /// Takes nothing, for one reason.
    struct Refuses(ErrorKind);

    impl Write for Refuses {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_hangs_up_is_let_go_and_a_full_disk_is_told_once() {
        let quiet = CommandLine::parse_from(["longhaul", "--quiet", "doctor"]).global;
        let terminal = Terminal::of_process(&quiet);
        terminal.print(Refuses(ErrorKind::BrokenPipe), "result");
        assert!(terminal.failure().is_none());
        terminal.print(Refuses(ErrorKind::StorageFull), "result");
        terminal.print(Refuses(ErrorKind::Other), "more of it");
        assert_eq!(terminal.clone().failure().unwrap().kind(), ErrorKind::StorageFull, "the first reason");
        assert!(terminal.failure().is_none());
    }
}
