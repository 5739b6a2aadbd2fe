//! A way to a server that can swallow what is sent on it, as a network does that has lost a route.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Forwards connections to a server. Ends with the test's runtime.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    opened: AtomicUsize,
    /// Connections that were opened before so many were say nothing any more.
    silent: AtomicUsize,
    swallows_all: AtomicBool,
}

impl Proxy {
    /// A way to `server`, `host:port`.
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        tokio::spawn(forward(listener, server, shared.clone()));
        Self { port, shared }
    }

    /// From now on nothing comes through on the connections that exist; nobody is told. New ones are well.
    pub(crate) fn swallow(&self) {
        self.shared.silent.store(self.shared.opened.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// From now on nothing comes through on any.
    pub(crate) fn swallow_all(&self) {
        self.shared.swallows_all.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn swallows(&self, connection: usize) -> bool {
        connection < self.silent.load(Ordering::SeqCst) || self.swallows_all.load(Ordering::SeqCst)
    }
}

async fn forward(listener: TcpListener, server: String, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let connection = shared.opened.fetch_add(1, Ordering::SeqCst);
        let Ok(server) = TcpStream::connect(&server).await else { continue };
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::spawn(pass_on(from_client, to_server, shared.clone(), connection));
        tokio::spawn(pass_on(from_server, to_client, shared.clone(), connection));
    }
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: Arc<Shared>, connection: usize) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        while shared.swallows(connection) {
            // The end of it is not passed on, either.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
