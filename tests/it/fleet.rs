//! Three workers of the real program, a server, PostgreSQL and Redis: to be killed, frozen,
//! crashed and emptied while they work.

use std::fs::File;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow};

use crate::postgres_server::PostgresServer;
use crate::program::{self, Program, Server};
use crate::redis_server::RedisServer;

/// How long a test waits for what must happen. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(120);
const WORKERS: usize = 3;

/// One process `longhaul worker`.
struct Process {
    child: Child,
    log: PathBuf,
    /// It was frozen: what it was about to do then may happen at any time until it is killed.
    was_frozen: bool,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Fleet {
    pub(crate) program: Program,
    pub(crate) postgres: PostgresServer,
    pub(crate) redis: RedisServer,
    server: Server,
    workers: Vec<Process>,
    started: usize,
    /// How many workers that were frozen said that they were fenced.
    pub(crate) noticed: usize,
    /// The tasks whose creation was confirmed.
    pub(crate) ids: Vec<String>,
}

/// A failure is looked into by what it left, which ends with the test.
impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("tasks that did not end:\n{}", self.unfinished());
            for worker in &self.workers {
                let printed = std::fs::read_to_string(&worker.log).unwrap_or_default();
                let last: Vec<&str> = printed.lines().rev().take(12).collect();
                eprintln!("worker {} printed last, newest first:\n{}", worker.child.id(), last.join("\n"));
            }
        }
    }
}

impl Fleet {
    pub(crate) async fn start(script: &Value) -> Self {
        let (postgres, redis) = (PostgresServer::start(), RedisServer::start());
        let more =
            format!("tools = {{ slow = {{ effect = \"unsafe\" }} }}\n[queue]\nurl = {:?}\n", redis.url());
        let program = Program::on(Some(postgres.url()), script, &more);
        program.reconfigure("[worker]\n", "[worker]\nleaseMs = 800\nheartbeatMs = 200\ncancelMs = 500\n");
        program.reconfigure("pollMs = 50\n", "pollMs = 100\n");
        let server = program.serve(&["--no-worker"]).await;
        crate::judge::witness(&postgres.url());
        let (workers, ids) = (Vec::new(), Vec::new());
        let mut fleet = Self { program, postgres, redis, server, workers, started: 0, noticed: 0, ids };
        for _ in 0..WORKERS {
            let worker = fleet.spawn();
            fleet.workers.push(worker);
        }
        fleet
    }

    fn spawn(&mut self) -> Process {
        self.started += 1;
        let log = self.program.directory.path().join(format!("worker-{}.log", self.started));
        let output = File::create(&log).unwrap();
        let mut command = self.program.command();
        command.arg("worker").stdout(output.try_clone().unwrap()).stderr(output);
        Process { child: command.spawn().unwrap(), log, was_frozen: false }
    }

    /// `kill -9`, and another one takes its place.
    pub(crate) fn replace(&mut self, worker: usize) {
        let fresh = self.spawn();
        // The old one dies as it is dropped.
        self.workers[worker] = fresh;
    }

    pub(crate) fn replace_all(&mut self) {
        (0..WORKERS).for_each(|worker| self.replace(worker));
    }

    /// Creates a task, whatever happens meanwhile: the key makes one of all attempts.
    pub(crate) async fn create(&mut self) {
        let goal = format!("goal {}", self.ids.len());
        let body = json!({"goal": goal, "threadId": "thread"});
        let id = patiently("the task is created", async || {
            let request = self.program.request("POST", &self.server, "/api/chat/orchestrate");
            let key = goal.replace(' ', "-");
            let reply = request.header("Idempotency-Key", key).json(&body).send().await.ok()?;
            assert!(!reply.status().is_client_error(), "{reply:?}");
            let reply: Value = reply.json().await.ok()?;
            reply["taskId"].as_str().map(str::to_owned)
        })
        .await;
        self.ids.push(id);
    }

    /// The rows of a query, as soon as the database answers it.
    pub(crate) async fn ask(&self, query: &str) -> Vec<PgRow> {
        patiently("the database answers", async || {
            let mut connection = PgConnection::connect(&self.postgres.url()).await.ok()?;
            sqlx::raw_sql(AssertSqlSafe(query)).fetch_all(&mut connection).await.ok()
        })
        .await
    }

    pub(crate) async fn count(&self, condition: &str) -> i64 {
        let query = format!("SELECT count(*) FROM task_execution WHERE {condition}");
        self.ask(&query).await[0].get(0)
    }

    /// The tasks in the hands of a worker process, with their epochs.
    async fn held(&self, worker: usize) -> Vec<(String, i64)> {
        let pid = self.workers[worker].child.id();
        let query = format!(
            "SELECT t.id::text, t.epoch FROM task_execution AS t JOIN worker AS w ON w.name = t.lease_owner \
             WHERE w.pid = {pid} AND t.wake_at > now() AND t.completed_at IS NULL"
        );
        self.ask(&query).await.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// Whoever came to an end by itself is started again, as whoever runs a service does it: a
    /// worker that finds no database at its start says so and ends.
    fn start_again(&mut self) {
        for worker in 0..WORKERS {
            if self.workers[worker].child.try_wait().unwrap().is_some() {
                self.replace(worker);
            }
        }
    }

    /// A worker that holds tasks, the first one from `from` on.
    pub(crate) async fn busy(&mut self, from: usize) -> usize {
        patiently("somebody works", async || {
            self.start_again();
            for worker in (0..WORKERS).map(|offset| (from + offset) % WORKERS) {
                if !self.held(worker).await.is_empty() {
                    return Some(worker);
                }
            }
            None
        })
        .await
    }

    /// Freezes a worker for as long as it takes others to take a task over, and lets it go on as if
    /// nothing had happened. `false` if its tasks happened to end just then.
    pub(crate) async fn freeze_beyond_the_lease(&mut self, worker: usize) -> bool {
        self.signal(worker, "-STOP");
        self.workers[worker].was_frozen = true;
        let held = self.held(worker).await;
        let moved_on = patiently("the tasks of the frozen worker go on", async || {
            self.start_again();
            let mut taken_over = 0;
            for (id, epoch) in &held {
                let query = format!("SELECT epoch, wake_at IS NULL FROM task_execution WHERE id = '{id}'");
                let row = &self.ask(&query).await[0];
                let (now, rests): (i64, bool) = (row.get(0), row.get(1));
                if now > *epoch {
                    taken_over += 1;
                } else if !rests {
                    return None;
                }
            }
            Some(taken_over)
        })
        .await;
        self.signal(worker, "-CONT");
        if moved_on > 0 {
            self.noticed += usize::from(self.notices(worker).await);
        }
        moved_on > 0
    }

    /// Whether a worker that goes on says that it was fenced. A task that it was just giving back as
    /// it froze is nothing that it could lose, so it is not asked for more than to be at work again: it
    /// has looked at its leases by then.
    async fn notices(&self, worker: usize) -> bool {
        let pid = self.workers[worker].child.id();
        let went_on: String = self.ask("SELECT now()::text").await[0].get(0);
        let at_work = format!(
            "SELECT seen_at > '{went_on}'::timestamptz + interval '1 second' FROM worker WHERE pid = {pid}"
        );
        patiently("the worker that was frozen works again", async || {
            let printed = std::fs::read_to_string(&self.workers[worker].log).unwrap();
            if printed.contains("the lease was lost") {
                return Some(true);
            }
            self.ask(&at_work).await.first().is_some_and(|row| row.get(0)).then_some(false)
        })
        .await
    }

    fn signal(&self, worker: usize, signal: &str) {
        program::signal(signal, self.workers[worker].child.id());
    }

    /// Whoever was frozen once and still lives.
    pub(crate) fn zombies(&self) -> Vec<usize> {
        (0..WORKERS).filter(|worker| self.workers[*worker].was_frozen).collect()
    }

    /// Answers for calls that were cut off, as a person would who looks into the tools' ledger.
    /// Not while a zombie lives: its call may not have arrived there yet.
    pub(crate) async fn decide(&mut self) -> usize {
        self.start_again();
        if !self.zombies().is_empty() {
            return 0;
        }
        let query = "SELECT t.id::text, (SELECT e.step_index || '-' || (e.data->>'call') FROM task_execution_trace AS e \
                     WHERE e.task_id = t.id AND e.kind = 'call_lost' ORDER BY e.seq DESC LIMIT 1) \
                     FROM task_execution AS t WHERE t.status = 'paused'";
        let mut decided = 0;
        for row in self.ask(query).await {
            let (id, call): (String, String) = (row.get(0), row.get(1));
            let key = format!("{id}-{call}");
            let happened = self.program.ledger("tool-ledger.jsonl").iter().any(|line| line["key"] == *key);
            let outcome =
                if happened { json!({"happened": {"label": "seen"}}) } else { json!("did-not-happen") };
            let path = format!("/api/tasks/{id}/resume");
            let said = self.program.post(&self.server, &path, &json!({"outcome": outcome})).await;
            decided += usize::from(said.is_some_and(|(status, _)| status == 200));
        }
        decided
    }

    /// Where the tasks stand that have not ended, and who holds them.
    fn unfinished(&self) -> String {
        const QUERY: &str = "SELECT concat_ws(' ', t.id, t.status, 'epoch', t.epoch, 'wakes', t.wake_at - now(), \
             'held by', t.lease_owner, (SELECT string_agg(e.seq || ':' || e.kind, ' ' ORDER BY e.seq) FROM \
             (SELECT * FROM task_execution_trace WHERE task_id = t.id ORDER BY seq DESC LIMIT 8) AS e)) \
             FROM task_execution AS t WHERE t.completed_at IS NULL";
        let url = self.postgres.url();
        let asked =
            std::thread::spawn(move || -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
                tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
                    let mut connection = PgConnection::connect(&url).await?;
                    let rows = sqlx::raw_sql(QUERY).fetch_all(&mut connection).await?;
                    Ok(rows.iter().map(|row| row.get(0)).collect())
                })
            });
        match asked.join() {
            Ok(Ok(lines)) => lines.join("\n"),
            failed => format!("the database does not say: {failed:?}"),
        }
    }

    /// What all workers printed.
    pub(crate) fn printed(&self) -> String {
        let logs = (1..=self.started).map(|number| format!("worker-{number}.log"));
        logs.map(|log| std::fs::read_to_string(self.program.directory.path().join(log)).unwrap()).collect()
    }
}

/// Asks until there is an answer.
pub(crate) async fn patiently<T>(what: &str, mut wanted: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(answer) = wanted().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("it never happened that {what}"))
}
