//! Ctrl-C and SIGTERM: the first one drains, the second one kills.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::error::CliError;
use super::terminal::Terminal;

/// Listens from now on. The token is cancelled by the first signal, and `word` is printed.
pub(super) fn listen(terminal: &Terminal, word: &'static str) -> Result<CancellationToken, CliError> {
    let stop = CancellationToken::new();
    let (interrupt, terminate) = (handler(SignalKind::interrupt())?, handler(SignalKind::terminate())?);
    tokio::spawn(handle(interrupt, terminate, stop.clone(), terminal.clone(), word));
    Ok(stop)
}

fn handler(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(|error| {
        CliError::failed("signals_unavailable", "signals cannot be listened to", Some(error))
    })
}

async fn handle(
    mut interrupt: Signal,
    mut terminate: Signal,
    stop: CancellationToken,
    terminal: Terminal,
    word: &'static str,
) {
    let mut any = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    any().await;
    terminal.warn(word);
    stop.cancel();
    any().await;
    // Nothing that is recorded is lost: the next process goes on from the journal.
    let _ = terminal.bars().clear();
    std::process::exit(i32::from(Exit::Interrupted.code()));
}
