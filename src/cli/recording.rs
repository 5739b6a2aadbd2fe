//! `longhaul task export` and `import`: tasks that go and come as files.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use futures::{Stream, StreamExt};
use serde_json::json;

use super::Exit;
use super::args::{JsonArg, TaskArg};
use super::display::one_line;
use super::error::CliError;
use super::task::{find, told};
use super::terminal::{Terminal, unless_unheard};
use super::wiring::Engine;
use crate::orchestrator::OrchestratorError;
use crate::repository::RepositoryError;
use crate::task::{Recording, RecordingError, counted, unpack_recording, words_of};
use crate::worker::replay;

/// Bytes of a recording that are read at most, unpacked.
const MOST: u64 = 1024 * 1024 * 1024;

/// How files end that are packed.
const PACKED: &str = "zst";

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    task: TaskArg,
    /// Write to this file, packed if its name ends with .zst [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// What `longhaul task export` wrote; - is standard input
    file: PathBuf,
    /// The conversation that it belongs to [default: one of its own]
    #[arg(long, value_name = "ID")]
    thread: Option<String>,
    #[command(flatten)]
    form: JsonArg,
}

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// What `longhaul task export` wrote, or a task
    #[arg(value_name = "FILE|TASK")]
    of: String,
    #[command(flatten)]
    form: JsonArg,
}

impl ReplayArgs {
    /// Whether it names a file: then neither configuration nor database is needed. What cannot be an id
    /// names one, though it may not be there.
    pub(super) fn is_of_file(&self) -> bool {
        let is_of_id = |letter: char| letter.is_ascii_hexdigit() || matches!(letter, '-' | '…' | ' ');
        self.of == "-" || !self.of.chars().all(is_of_id) || Path::new(&self.of).exists()
    }
}

/// Carries a recorded task out again from its file.
pub(super) async fn replay_file(args: &ReplayArgs, terminal: &Terminal) -> Result<Exit, CliError> {
    replayed(&read(Path::new(&args.of))?, args.form.json, terminal).await
}

/// The same from the database.
pub(super) async fn replay_task(
    engine: &Engine,
    args: &ReplayArgs,
    terminal: &Terminal,
) -> Result<Exit, CliError> {
    let id = find(engine, &args.of).await?;
    let text = engine.orchestrator.recorded(id, MOST).await?;
    let recording = Recording::read(&text).map_err(OrchestratorError::from)?;
    replayed(&recording, args.form.json, terminal).await
}

async fn replayed(recording: &Recording, as_json: bool, terminal: &Terminal) -> Result<Exit, CliError> {
    let replay = replay(recording)
        .await
        .map_err(|error| CliError::failed("replay_impossible", words_of(&error).join(": "), None))?;
    let exit = if replay.is_same() { Exit::Done } else { Exit::Failed };
    if as_json {
        terminal.result(json!(replay).to_string());
        return Ok(exit);
    }
    let calls = format!(
        "{} and {} went the same way",
        counted(replay.model_calls, "model call"),
        counted(replay.tool_calls, "tool call")
    );
    match (&replay.divergence, replay.ends_at) {
        (Some(found), _) => {
            let step = found.place.step.map(|step| format!(", step {}", step + 1)).unwrap_or_default();
            let call = found.place.call.map(|call| format!(", call {call}")).unwrap_or_default();
            terminal.result(format!("{} diverges at entry {}{step}{call}", replay.task, found.place.seq));
            terminal.result(format!("  recorded: {}", one_line(&found.expected)));
            terminal.result(format!("  now:      {}", one_line(&found.came)));
            terminal.result(format!("{calls} before."));
        }
        (None, Some(last)) => {
            terminal.result(format!(
                "{} is the same until its recording ends at entry {last}: {calls}.",
                replay.task
            ));
        }
        (None, None) => terminal.result(format!("{} is the same, {}: {calls}.", replay.task, replay.status)),
    }
    Ok(exit)
}

/// Writes a task as one file.
pub(super) async fn export(engine: &Engine, args: ExportArgs, terminal: &Terminal) -> Result<Exit, CliError> {
    let id = find(engine, &args.task.id).await?;
    let mut lines = engine.orchestrator.export(id).await?;
    let Some(path) = args.output else {
        let mut out = BufWriter::new(io::stdout());
        let mut written = Ok(());
        while let (Ok(()), Some(line)) = (&written, lines.next().await) {
            written = writeln!(out, "{}", line?);
        }
        let written = written.and_then(|()| out.flush()).or_else(unless_unheard);
        written.map_err(|error| unwritable(Path::new("standard output"), error))?;
        return Ok(Exit::Done);
    };
    // Under its own name there is a whole file, or none.
    let part = path.with_added_extension("part");
    if let Err(error) = write(lines, &part, &path).await {
        // What counts is why it could not be written; what there is of it is of no use.
        let _ = std::fs::remove_file(&part);
        return Err(error);
    }
    terminal.result(format!("{id} {}", path.display()));
    Ok(Exit::Done)
}

/// Writes the lines beside their file, and gives them its name when they are all there.
async fn write(
    mut lines: impl Stream<Item = Result<String, RepositoryError>> + Unpin,
    part: &Path,
    path: &Path,
) -> Result<(), CliError> {
    let fault = |error| unwritable(path, error);
    let mut file = Sink::create(part, path).map_err(fault)?;
    while let Some(line) = lines.next().await {
        file.line(&line?).map_err(fault)?;
    }
    file.finish().and_then(|()| std::fs::rename(part, path)).map_err(fault)
}

/// Where lines go: a file, packed if its name says so.
enum Sink {
    Plain(BufWriter<File>),
    Packed(Box<zstd::Encoder<'static, BufWriter<File>>>),
}

impl Sink {
    fn create(part: &Path, named: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create(part)?);
        match named.extension().is_some_and(|ending| ending == PACKED) {
            true => Ok(Self::Packed(Box::new(zstd::Encoder::new(file, 3)?))),
            false => Ok(Self::Plain(file)),
        }
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Plain(file) => writeln!(file, "{line}"),
            Self::Packed(file) => writeln!(file, "{line}"),
        }
    }

    fn finish(self) -> io::Result<()> {
        let file = match self {
            Self::Plain(file) => file,
            Self::Packed(file) => file.finish()?,
        };
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

/// Takes a task that was exported, as a record.
pub(super) async fn import(engine: &Engine, args: ImportArgs, terminal: &Terminal) -> Result<Exit, CliError> {
    let recording = read(&args.file)?;
    if recording.missing() > 0 {
        let missing = counted(recording.missing() as u64, "content");
        terminal.warn(format!("the recording is incomplete: {missing} not in it"));
    }
    let user = &engine.settings.user;
    let task = engine.orchestrator.import(&recording, user, args.thread.as_deref()).await?;
    told(engine, &task, args.form, terminal).await
}

/// Reads a recording from a file or from standard input.
pub(super) fn read(path: &Path) -> Result<Recording, CliError> {
    let open = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let source: Box<dyn Read> = match path.as_os_str() == "-" {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(path)?),
        };
        source.take(MOST + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = open().map_err(|error| {
        CliError::failed("file_unreadable", format!("{} cannot be read", path.display()), Some(error))
    })?;
    let refused = |error: RecordingError| CliError::from(OrchestratorError::from(error));
    Recording::read(&unpack_recording(bytes, MOST).map_err(refused)?).map_err(refused)
}

fn unwritable(path: &Path, error: io::Error) -> CliError {
    CliError::failed("file_unwritable", format!("{} cannot be written", path.display()), Some(error))
}
