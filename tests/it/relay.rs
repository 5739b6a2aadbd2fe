//! A way to a server that can fall silent: what is under way on it is held, and neither end is told.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes on what comes, but for the connections that are held.
pub(crate) struct Relay {
    port: u16,
    made: Arc<AtomicUsize>,
    held: watch::Sender<Range<usize>>,
    _passing: JoinSet<()>,
}

impl Relay {
    /// A way to the server on this port of this machine.
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (made, held, mut passing) = (Arc::default(), watch::Sender::new(0..0), JoinSet::new());
        passing.spawn(accept(listener, server, Arc::clone(&made), held.subscribe()));
        Self { port, made, held, _passing: passing }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
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

async fn accept(
    listener: TcpListener,
    server: u16,
    made: Arc<AtomicUsize>,
    held: watch::Receiver<Range<usize>>,
) {
    let mut passing = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let Ok(far) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
        let number = made.fetch_add(1, Ordering::SeqCst);
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        passing.spawn(pass(near_in, far_out, number, held.clone()));
        passing.spawn(pass(far_in, near_out, number, held.clone()));
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: usize,
    mut held: watch::Receiver<Range<usize>>,
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut bytes).await.unwrap_or(0);
        // That an end has gone is held, too.
        let is_held = |held: &Range<usize>| held.contains(&number);
        let is_open = held.wait_for(|held| !is_held(held)).await.is_ok();
        if count == 0 || !is_open || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
