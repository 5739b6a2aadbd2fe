//! MCP servers as processes: what they are given, what they can do, and what becomes of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs};

use longhaul::task::{Effect, ToolAllowance};
use longhaul::tools::{
    CallContext, Fence, McpServerConfig, McpToolConfig, Tool, ToolError, ToolOutput, Toolbox, ToolsConfig,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

#[cfg(target_os = "linux")]
use crate::program::signal;

/// The server program, built beside this test program.
pub(crate) fn server_program() -> PathBuf {
    let here = env::current_exe().unwrap();
    let target = here.parent().and_then(Path::parent).unwrap();
    let program = target.join("examples/counting_mcp_server");
    assert!(program.exists(), "{} is missing: cargo build --examples", program.display());
    program
}

/// One counting server, and the ledger it writes.
struct World {
    directory: TempDir,
    toolbox: Toolbox,
}

impl World {
    async fn new(adapt: impl FnOnce(&mut ToolsConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ledger = directory.path().join("ledger").display().to_string();
        let server = McpServerConfig {
            command: Some(server_program().display().to_string()),
            env: BTreeMap::from([("LEDGER".to_owned(), ledger)]),
            ..McpServerConfig::default()
        };
        let mut config = ToolsConfig {
            workspace: Some(directory.path().to_owned()),
            mcp: BTreeMap::from([("test".to_owned(), server)]),
            ..ToolsConfig::default()
        };
        adapt(&mut config);
        Self { toolbox: Toolbox::open(&config).await.unwrap(), directory }
    }

    fn tool(&self, name: &str) -> Arc<dyn Tool> {
        self.toolbox.find(name, &ToolAllowance::default()).unwrap_or_else(|| panic!("no tool {name}"))
    }

    async fn call(&self, name: &str, arguments: Value) -> Result<ToolOutput, ToolError> {
        self.tool(name).call(arguments, context()).await
    }

    fn ledger(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.directory.path().join("ledger")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until the ledger has this entry; the test's own time limit is the deadline.
    async fn until_recorded(&self, tool: &str) {
        while !self.ledger().iter().any(|entry| entry["tool"] == json!(tool)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn context() -> CallContext {
    CallContext {
        idempotency_key: "task-1/step-2/3".to_owned(),
        timeout: Duration::from_secs(60),
        cancel: CancellationToken::new(),
        max_output_bytes: 8 * 1024 * 1024,
        fence: Fence::default(),
        is_confidential: false,
    }
}

fn server(config: &mut ToolsConfig) -> &mut McpServerConfig {
    config.mcp.get_mut("test").unwrap()
}

#[tokio::test]
async fn a_call_reaches_the_server_with_its_key_and_comes_back() {
    let world = World::new(|_| ()).await;
    let output = world.call("test_count", json!({"label": "a"})).await.unwrap();
    assert_eq!(output, ToolOutput::ok(json!({"label": "a", "n": 1})));
    let ledger = world.ledger();
    assert_eq!(ledger.len(), 1);
    assert_eq!((&ledger[0]["tool"], &ledger[0]["key"]), (&json!("count"), &json!("task-1/step-2/3")));
    world.toolbox.close().await;
}

#[tokio::test]
async fn effects_are_declared_believed_or_unsafe() {
    let effects = |world: &World| {
        ["count", "keyed", "read"].map(|tool| world.tool(&format!("test_{tool}")).description().effect)
    };
    let untrusted = World::new(|_| ()).await;
    assert_eq!(effects(&untrusted), [Effect::Unsafe; 3]);
    let trusted = World::new(|config| {
        server(config).trusted = true;
        server(config)
            .tools
            .insert("read".to_owned(), McpToolConfig { effect: Effect::Unsafe, reconcile: None });
    })
    .await;
    assert_eq!(effects(&trusted), [Effect::Unsafe, Effect::Idempotent, Effect::Unsafe]);
    untrusted.toolbox.close().await;
    trusted.toolbox.close().await;
}

#[tokio::test]
async fn the_server_is_given_no_more_of_the_environment_than_it_needs() {
    let world = World::new(|_| ()).await;
    let output = world.call("test_environment", json!({})).await.unwrap();
    let variables: Vec<(String, String)> = serde_json::from_str(output.content.as_str().unwrap()).unwrap();
    let mut names: Vec<_> = variables.into_iter().map(|(name, _)| name).collect();
    names.retain(|name| !["PATH", "HOME", "LANG"].contains(&name.as_str()));
    assert_eq!(names, ["LEDGER"]);
    world.toolbox.close().await;
}

#[tokio::test]
async fn a_server_that_says_its_tools_have_changed_is_asked_for_them_again() {
    let world = World::new(|_| ()).await;
    let words = |world: &World| world.tool("test_shifty").description().description.clone();
    assert_eq!(words(&world), "Counts a call, and is what it seems.");
    world.call("test_change", json!({"label": "description"})).await.unwrap();
    while words(&world) == "Counts a call, and is what it seems." {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.call("test_change", json!({"label": "new"})).await.unwrap();
    while world.toolbox.find("test_late", &ToolAllowance::default()).is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(world.toolbox.servers()[0].connected, "it is the same connection");
    world.toolbox.close().await;
}

#[tokio::test]
async fn a_call_that_comes_too_late_is_held_back_at_the_last_moment() {
    let world = World::new(|_| ()).await;
    for looks in 0..2 {
        let seen = Arc::new(AtomicUsize::new(0));
        let fence = Fence::new(move || seen.fetch_add(1, Ordering::SeqCst) >= looks);
        let late = CallContext { fence, ..context() };
        let error = world.tool("test_count").call(json!({"label": "late"}), late).await.unwrap_err();
        assert!(matches!(error, ToolError::HeldBack), "{error:?}");
        assert!(!error.may_have_taken_effect() && error.is_out_of_reach());
    }
    assert_eq!(world.call("test_count", json!({"label": "a"})).await.unwrap().content["n"], json!(1));
}

#[tokio::test]
async fn an_error_of_the_tool_is_a_result() {
    let world = World::new(|_| ()).await;
    let output = world.call("test_fail", json!({"message": "no\0such"})).await.unwrap();
    assert_eq!(output, ToolOutput::error("no\u{fffd}such"));
    let error = world.call("test_count", json!("not an object")).await.unwrap_err();
    assert_eq!(error.code(), "tool_arguments");
    world.toolbox.close().await;
}

#[tokio::test]
async fn a_result_of_50_mb_fails_at_once_and_the_server_goes_on() {
    let world = World::new(|_| ()).await;
    for bytes in [9 * 1024 * 1024, 50 * 1024 * 1024] {
        let error = world.call("test_huge", json!({"bytes": bytes})).await.unwrap_err();
        assert!(matches!(error, ToolError::OutputTooLarge { limit: 8_388_608 }), "{error:?}");
    }
    let output = world.call("test_huge", json!({"bytes": 1_000_000})).await.unwrap();
    assert_eq!(output.content.as_str().unwrap().len(), 1_000_000);
    world.toolbox.close().await;
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_given_up_and_the_server_is_told() {
    let world = World::new(|_| ()).await;
    let hurried = CallContext { timeout: Duration::from_millis(300), ..context() };
    let error = world.tool("test_hang").call(json!({}), hurried).await.unwrap_err();
    assert!(matches!(error, ToolError::Timeout(_)) && error.may_have_taken_effect(), "{error:?}");
    world.until_recorded("cancelled").await;
    let output = world.call("test_count", json!({"label": "after"})).await.unwrap();
    assert_eq!(output.content["n"], json!(3), "the same process, which counted the cancelled call too");
    world.toolbox.close().await;
}

#[tokio::test]
async fn a_cancelled_call_ends_at_once_and_the_server_is_told() {
    let world = World::new(|_| ()).await;
    let context = context();
    let (outcome, ()) = tokio::join!(
        async { world.tool("test_slow").call(json!({"label": "x", "ms": 600_000}), context.clone()).await },
        async {
            world.until_recorded("slow").await;
            context.cancel.cancel();
        }
    );
    assert!(matches!(outcome.unwrap_err(), ToolError::Cancelled));
    world.until_recorded("cancelled").await;
    world.toolbox.close().await;
}

#[tokio::test]
async fn a_server_that_dies_costs_its_own_calls_and_comes_back() {
    let world = World::new(|config| {
        let other = server(config).clone();
        config.mcp.insert("other".to_owned(), other);
    })
    .await;
    world.call("other_count", json!({"label": "x"})).await.unwrap();
    let error = world.call("test_die", json!({})).await.unwrap_err();
    assert!(matches!(error, ToolError::Interrupted { .. }) && error.may_have_taken_effect(), "{error:?}");
    let other = world.call("other_count", json!({"label": "x"})).await.unwrap();
    assert_eq!(other.content["n"], json!(2), "the other server is the same process as before");
    let again = world.call("test_count", json!({"label": "back"})).await.unwrap();
    assert_eq!(again.content["n"], json!(1), "a new process");
    let status = world.toolbox.servers().into_iter().find(|server| server.name == "test").unwrap();
    assert!(status.connected && status.last_error.unwrap().contains("dying as asked"));
    world.toolbox.close().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_hangs_as_a_whole_is_replaced() {
    let world = World::new(|_| ()).await;
    let old = processes(world.directory.path());
    signal("-STOP", old[0]);
    let hurried = CallContext { timeout: Duration::from_millis(200), ..context() };
    let error = world.tool("test_count").call(json!({"label": "x"}), hurried).await.unwrap_err();
    assert!(matches!(error, ToolError::Timeout(_)), "{error:?}");
    while processes(world.directory.path()).contains(&old[0]) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let output = world.call("test_count", json!({"label": "y"})).await.unwrap();
    assert_eq!(output.content["n"], json!(1));
    world.toolbox.close().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn closing_leaves_no_process_behind_even_of_servers_that_start_others() {
    let world = World::new(|config| {
        let server = server(config);
        let program = server.command.replace("/bin/sh".to_owned()).unwrap();
        server.args = vec!["-c".to_owned(), format!("sleep 1000 & '{program}'; sleep 1000")];
    })
    .await;
    world.call("test_count", json!({"label": "x"})).await.unwrap();
    assert!(processes(world.directory.path()).len() >= 3);
    world.toolbox.close().await;
    // They are killed by then; a busy machine takes them away a moment later.
    let gone = async {
        while !processes(world.directory.path()).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(5), gone).await.is_ok(), "some are left");
    let error = world.call("test_count", json!({"label": "x"})).await.unwrap_err();
    assert_eq!(error.code(), "tool_unreachable");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn dropping_the_toolbox_leaves_no_process_behind_either() {
    let world = World::new(|_| ()).await;
    let World { directory, toolbox } = world;
    assert_eq!(processes(directory.path()).len(), 1);
    drop(toolbox);
    while !processes(directory.path()).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Not a test: the program that [`killing_longhaul_leaves_no_server_behind`] kills.
#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "hosts servers until it is killed"]
async fn hosts_a_server_that_does_not_want_to_end() {
    let Ok(ledger) = env::var("HOST_LEDGER") else { return };
    let world = World::new(|config| {
        let server = server(config);
        server.env.insert("LEDGER".to_owned(), ledger);
        let program = server.command.replace("/bin/sh".to_owned()).unwrap();
        let script = format!("trap '' TERM HUP; sleep 1000 & '{program}'; sleep 1000");
        server.args = vec!["-c".to_owned(), script];
    })
    .await;
    world.call("test_count", json!({"label": "hosted"})).await.unwrap();
    std::future::pending::<()>().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn killing_longhaul_leaves_no_server_behind() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("ledger");
    let mut host = tokio::process::Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "mcp::hosts_a_server_that_does_not_want_to_end"])
        .env("HOST_LEDGER", &ledger)
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    while fs::read_to_string(&ledger).unwrap_or_default().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(processes(directory.path()).len() >= 4, "the host, the shell, its sleep and the server");
    signal("-KILL", host.id().unwrap());
    host.wait().await.unwrap();
    while !processes(directory.path()).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_down_and_does_not_hold_up_the_rest() {
    let world = World::new(|config| {
        let silent = McpServerConfig {
            command: Some("/bin/sh".to_owned()),
            args: vec!["-c".to_owned(), "echo loading >&2; exec sleep 1000".to_owned()],
            connect_timeout_ms: 300,
            ..McpServerConfig::default()
        };
        config.mcp.insert("silent".to_owned(), silent);
    })
    .await;
    let status = world.toolbox.servers();
    assert_eq!(status.iter().map(|server| server.connected).collect::<Vec<_>>(), [false, true]);
    assert!(status[0].last_error.as_ref().unwrap().contains("no connection within"));
    world.call("test_count", json!({"label": "x"})).await.unwrap();
    world.toolbox.close().await;
}

/// The processes that have this directory in their environment: servers and what they started.
#[cfg(target_os = "linux")]
fn processes(directory: &Path) -> Vec<u32> {
    let mark = directory.display().to_string();
    let found = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let process: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let environment = fs::read(format!("/proc/{process}/environ")).ok()?;
        String::from_utf8_lossy(&environment).contains(&mark).then_some(process)
    });
    found.collect()
}
