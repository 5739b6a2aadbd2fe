//! Tools of MCP servers, over standard input and output or streamable HTTP.
//!
//! ```text
//! tool ──▶ server (names, effects, reconnecting) ──▶ connection ──▶ stdio │ http
//! ```
//!
//! A server that dies, hangs or talks nonsense costs its own calls and nobody else's.

mod backoff;
mod changes;
mod child;
mod connection;
mod content;
mod line;
mod naming;
mod plain;
mod server;
mod stdio;
mod tool;

pub(super) use child::{guard, usual_environment};
pub(super) use server::{Limits, Server};

/// How one MCP server is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    /// Its name in the configuration.
    pub name: String,
    /// `stdio` or `http`.
    pub transport: &'static str,
    /// Whether calls can reach it now.
    pub connected: bool,
    /// The full names of its tools, as of its last connection.
    pub tools: Vec<String>,
    /// Why it is not connected, or was not at some time.
    pub last_error: Option<String>,
}
