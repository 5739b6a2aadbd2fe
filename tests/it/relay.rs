//! A way to a server that can become slow, or fall silent: what is under way on it is held, and neither end
//! is told.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes on what comes, but for the connections that are held, and after a while if it is a slow way.
pub(crate) struct Relay {
    port: u16,
    made: Arc<AtomicUsize>,
    held: watch::Sender<Range<usize>>,
    slowness: Arc<AtomicU64>,
    _passing: JoinSet<()>,
}

impl Relay {
    /// A way to the server on this port of this machine.
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (made, held, mut passing) = (Arc::default(), watch::Sender::new(0..0), JoinSet::new());
        let slowness = Arc::default();
        let ways = Ways { made: Arc::clone(&made), slowness: Arc::clone(&slowness), held: held.subscribe() };
        passing.spawn(accept(listener, server, ways));
        Self { port, made, held, slowness, _passing: passing }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Takes so long from now on, in each direction.
    pub(crate) fn take(&self, millis: u64) {
        self.slowness.store(millis, Ordering::SeqCst);
    }

    /// Holds every byte of the connections that there are, but for the first ones. New ones are passed on.
    pub(crate) fn silence_all_but(&self, first: usize) {
        self.held.send_replace(first..self.made.load(Ordering::SeqCst));
    }

    /// Holds every byte, also of the connections that are still to be made.
    pub(crate) fn silence_for_good(&self) {
        self.held.send_replace(0..usize::MAX);
    }
}

/// How what comes is passed on.
#[derive(Clone)]
struct Ways {
    made: Arc<AtomicUsize>,
    slowness: Arc<AtomicU64>,
    held: watch::Receiver<Range<usize>>,
}

async fn accept(listener: TcpListener, server: u16, ways: Ways) {
    let mut passing = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let Ok(far) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
        let number = ways.made.fetch_add(1, Ordering::SeqCst);
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        passing.spawn(pass(near_in, far_out, number, ways.clone()));
        passing.spawn(pass(far_in, near_out, number, ways.clone()));
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, number: usize, mut ways: Ways) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut bytes).await.unwrap_or(0);
        // That an end has gone is held, too.
        let is_held = |held: &Range<usize>| held.contains(&number);
        tokio::time::sleep(Duration::from_millis(ways.slowness.load(Ordering::SeqCst))).await;
        let is_open = ways.held.wait_for(|held| !is_held(held)).await.is_ok();
        if count == 0 || !is_open || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
