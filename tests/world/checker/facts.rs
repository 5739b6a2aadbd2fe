//! What the checker looks at: the tables, the ledgers, and when each epoch began.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

use serde_json::Value;
use sqlx::{Connection, PgConnection, Row};

/// A claim leaves no entry behind until its worker writes for the first time. So a trigger notes
/// which entry was the newest one when an epoch began. It stands outside of the program, which
/// knows nothing of it.
const WITNESS: &str = "
CREATE SCHEMA witness;
CREATE TABLE witness.claim (
    task_id uuid NOT NULL, epoch bigint NOT NULL, seq bigint NOT NULL, PRIMARY KEY (task_id, epoch));
CREATE FUNCTION witness.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO witness.claim VALUES (NEW.id, NEW.epoch, NEW.seq) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER witness AFTER UPDATE OF epoch ON task_execution
    FOR EACH ROW WHEN (NEW.epoch > OLD.epoch) EXECUTE FUNCTION witness.note();
";

/// Where the ledgers are; what is not given is not looked at.
#[derive(Default)]
pub(crate) struct Files {
    /// Lines `{tool, key, atMs}`: what the tools were really asked.
    pub(crate) tools: Option<PathBuf>,
    /// Lines `{role, goal}`: what the models were really asked.
    pub(crate) models: Option<PathBuf>,
    /// The tasks whose creation was confirmed, one id in each line.
    pub(crate) promised: Option<PathBuf>,
}

/// All that is known.
pub(crate) struct Facts {
    pub(crate) tasks: BTreeMap<String, Task>,
    /// By idempotency key, in order.
    pub(crate) calls: BTreeMap<String, Vec<ToolCall>>,
    /// How often a model was asked to execute for a goal; none without a ledger.
    pub(crate) asked: Option<BTreeMap<String, usize>>,
    pub(crate) promised: Vec<String>,
}

/// A row of the table of tasks with its journal.
pub(crate) struct Task {
    pub(crate) goal: String,
    pub(crate) status: String,
    pub(crate) pause_reason: Option<String>,
    pub(crate) seq: i64,
    pub(crate) epoch: i64,
    pub(crate) entries: Vec<Entry>,
    /// Which entry was the newest one when an epoch began, by epoch.
    pub(crate) claims: BTreeMap<i64, i64>,
}

/// A row of the journal.
pub(crate) struct Entry {
    pub(crate) seq: i64,
    pub(crate) epoch: i64,
    pub(crate) at_ms: i64,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

/// A line of the tools' ledger.
pub(crate) struct ToolCall {
    pub(crate) tool: String,
    /// When it was called, if the ledger says it.
    pub(crate) at_ms: Option<i64>,
}

/// Has every claim noted from now on.
pub(crate) async fn install_witness(database: &str) -> Result<(), Box<dyn Error>> {
    let mut connection = PgConnection::connect(database).await?;
    sqlx::raw_sql(WITNESS).execute(&mut connection).await?;
    Ok(())
}

impl Facts {
    pub(crate) async fn read(database: &str, files: &Files) -> Result<Self, Box<dyn Error>> {
        let mut connection = PgConnection::connect(database).await?;
        // One picture of all tables.
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut connection).await?;
        let mut tasks = read_tasks(&mut connection).await?;
        read_entries(&mut connection, &mut tasks).await?;
        read_claims(&mut connection, &mut tasks).await?;
        let promised = text(&files.promised)?.lines().map(str::to_owned).collect();
        Ok(Self { tasks, calls: tool_calls(files)?, asked: asked(files)?, promised })
    }

    /// What was looked at, for people and for tests that want to know whether it was anything.
    pub(crate) fn summary(&self) -> String {
        let entries: usize = self.tasks.values().map(|task| task.entries.len()).sum();
        let claims: usize = self.tasks.values().map(|task| task.claims.len()).sum();
        let calls: usize = self.calls.values().map(Vec::len).sum();
        let (tasks, promised) = (self.tasks.len(), self.promised.len());
        format!("{tasks} tasks ({promised} promised), {entries} entries, {claims} claims, {calls} tool calls")
    }
}

async fn read_tasks(connection: &mut PgConnection) -> Result<BTreeMap<String, Task>, Box<dyn Error>> {
    let query = "SELECT id::text, goal, status, pause_reason, seq, epoch FROM task_execution";
    let mut tasks = BTreeMap::new();
    for row in sqlx::query(query).fetch_all(connection).await? {
        let task = Task {
            goal: row.try_get("goal")?,
            status: row.try_get("status")?,
            pause_reason: row.try_get("pause_reason")?,
            seq: row.try_get("seq")?,
            epoch: row.try_get("epoch")?,
            entries: Vec::new(),
            claims: BTreeMap::new(),
        };
        tasks.insert(row.try_get("id")?, task);
    }
    Ok(tasks)
}

async fn read_entries(
    connection: &mut PgConnection,
    tasks: &mut BTreeMap<String, Task>,
) -> Result<(), Box<dyn Error>> {
    let query = "SELECT task_id::text, seq, epoch, CAST(round(extract(epoch FROM at) * 1000) AS bigint) AS at_ms, \
                 kind, data FROM task_execution_trace ORDER BY task_id, seq";
    for row in sqlx::query(query).fetch_all(connection).await? {
        let entry = Entry {
            seq: row.try_get("seq")?,
            epoch: row.try_get("epoch")?,
            at_ms: row.try_get("at_ms")?,
            kind: row.try_get("kind")?,
            data: row.try_get("data")?,
        };
        tasks.get_mut(row.try_get::<&str, _>("task_id")?).ok_or("an entry of no task")?.entries.push(entry);
    }
    Ok(())
}

async fn read_claims(
    connection: &mut PgConnection,
    tasks: &mut BTreeMap<String, Task>,
) -> Result<(), Box<dyn Error>> {
    let query = "SELECT task_id::text, epoch, seq FROM witness.claim";
    for row in sqlx::query(query).fetch_all(connection).await? {
        let task = tasks.get_mut(row.try_get::<&str, _>("task_id")?).ok_or("a claim of no task")?;
        task.claims.insert(row.try_get("epoch")?, row.try_get("seq")?);
    }
    Ok(())
}

fn tool_calls(files: &Files) -> Result<BTreeMap<String, Vec<ToolCall>>, Box<dyn Error>> {
    let mut calls: BTreeMap<String, Vec<ToolCall>> = BTreeMap::new();
    for line in text(&files.tools)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        let tool = line["tool"].as_str().ok_or("a line of the tools' ledger names no tool")?;
        // The server also writes down that a call was cancelled; that is no second call.
        if tool == "cancelled" {
            continue;
        }
        let key = line["key"].as_str().ok_or("a call without an idempotency key")?;
        let call = ToolCall { tool: tool.to_owned(), at_ms: line["atMs"].as_i64() };
        calls.entry(key.to_owned()).or_default().push(call);
    }
    Ok(calls)
}

fn asked(files: &Files) -> Result<Option<BTreeMap<String, usize>>, Box<dyn Error>> {
    if files.models.is_none() {
        return Ok(None);
    }
    let mut asked = BTreeMap::new();
    for line in text(&files.models)?.lines() {
        let line: Value = serde_json::from_str(line)?;
        if line["role"] == "execute" {
            let goal = line["goal"].as_str().ok_or("a line of the models' ledger names no goal")?;
            *asked.entry(goal.to_owned()).or_default() += 1;
        }
    }
    Ok(Some(asked))
}

fn text(file: &Option<PathBuf>) -> Result<String, Box<dyn Error>> {
    match file {
        Some(file) => {
            std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()).into())
        }
        None => Ok(String::new()),
    }
}
