//! Hears that the tools of a server have changed, whichever way the server says so.

use rmcp::model::{ClientConfig, ProtocolVersion, SubscriptionFilter};
use rmcp::service::NotificationContext;
use rmcp::{ClientHandler, Peer, RoleClient};
use tokio::sync::mpsc;

/// Tells that the list is to be read again. One word that waits stands for all that follow it.
#[derive(Debug, Clone)]
pub(super) struct Bell(mpsc::Sender<()>);

/// Ends when the connection does, for whoever rings is gone then.
pub(super) type Changes = mpsc::Receiver<()>;

/// A bell, and who hears it.
pub(super) fn bell() -> (Bell, Changes) {
    let (ring, hear) = mpsc::channel(1);
    (Bell(ring), hear)
}

impl Bell {
    fn ring(&self) {
        // If it is full, the list is going to be read anyway.
        let _ = self.0.try_send(());
    }
}

/// What this program is for a server: it calls, and it listens.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) config: ClientConfig,
    pub(super) bell: Bell,
}

impl ClientHandler for Caller {
    fn get_info(&self) -> ClientConfig {
        self.config.clone()
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.bell.ring();
    }
}

/// Asks a server of the newer protocol to say when its tools change; those of the older one say so
/// unasked. What changed before it was asked is found by reading the list once more.
pub(super) fn listen(peer: Peer<RoleClient>, bell: Bell) {
    let Some(info) = peer.peer_info() else { return };
    let tells = info.capabilities.tools.as_ref().is_some_and(|tools| tools.list_changed == Some(true));
    if !tells || info.protocol_version != ProtocolVersion::V_2026_07_28 {
        return;
    }
    tokio::spawn(async move {
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        match peer.listen(filter).await {
            Ok(mut changes) => {
                bell.ring();
                while let Ok(Some(_)) = changes.next().await {
                    bell.ring();
                }
            }
            Err(error) => tracing::debug!(%error, "an MCP server does not say when its tools change"),
        }
    });
}
