//! One WebSocket: sends with patience, listens, and shows that it is alive.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

/// How long a client may take to make room for a frame. One that takes longer is dropped: it knows
/// the number of the last entry that it has.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything was told.
pub(super) const DONE: u16 = 1000;
/// The server goes away; the same again elsewhere, or later.
pub(super) const AWAY: u16 = 1001;
/// Come back, behind the entry that was named.
pub(super) const TRY_AGAIN: u16 = 1013;

/// The client is gone, or as good as gone.
pub(super) struct Gone;

/// A WebSocket.
pub(super) struct Connection {
    socket: WebSocket,
    heartbeat: Interval,
    /// Whether the client was heard of since the last heartbeat.
    is_heard: bool,
}

impl Connection {
    pub(super) fn over(socket: WebSocket, heartbeat: Duration) -> Self {
        let period = heartbeat.max(Duration::from_millis(1));
        let mut heartbeat = interval_at(Instant::now() + period, period);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { socket, heartbeat, is_heard: true }
    }

    /// Sends a frame.
    pub(super) async fn send(&mut self, text: Utf8Bytes) -> Result<(), Gone> {
        self.put(Message::Text(text)).await
    }

    /// Says why it ends, and ends it.
    pub(super) async fn close(mut self, code: u16, reason: impl Into<Utf8Bytes>) {
        let frame = CloseFrame { code, reason: reason.into() };
        // A client that is gone already needs no reason.
        let _ = self.put(Message::Close(Some(frame))).await;
    }

    /// What the client says next. Meanwhile it is asked whether it is there: one that stays silent
    /// over two heartbeats is gone. May be dropped at any moment without losing anything.
    pub(super) async fn next(&mut self) -> Result<Utf8Bytes, Gone> {
        loop {
            tokio::select! {
                message = self.socket.recv() => {
                    self.is_heard = true;
                    match message {
                        Some(Ok(Message::Text(text))) => return Ok(text),
                        Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Gone),
                    }
                }
                _ = self.heartbeat.tick() => {
                    if !std::mem::take(&mut self.is_heard) {
                        return Err(Gone);
                    }
                    self.put(Message::Ping(Bytes::new())).await?;
                }
            }
        }
    }

    async fn put(&mut self, message: Message) -> Result<(), Gone> {
        match timeout(PATIENCE, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}
