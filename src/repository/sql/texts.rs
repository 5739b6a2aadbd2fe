//! The texts that a commit is made of. Each engine puts them together its own way: one after
//! another within a transaction, or as one statement.

/// Moves tasks from the state their writers knew to the new one.
///
/// A worker that goes on keeps the wake-up, which is the end of its lease. A task that was
/// paused has none; resumed while its worker still holds it, it gets the end of a lease again.
macro_rules! move_tasks {
    ($list:literal) => {
        concat!(
            "UPDATE task_execution SET seq = r.seq, status = r.status, pause_reason = r.pause_reason, ",
            "crashes = r.crashes, completed_steps = r.completed_steps, total_steps = r.total_steps, ",
            "state = r.state, updated_at = r.updated_at, completed_at = r.completed_at, ",
            "lease_owner = CASE WHEN r.keep AND r.completed_at IS NULL THEN task_execution.lease_owner END, ",
            "wake_at = CASE WHEN NOT r.live THEN NULL ",
            "WHEN r.keep AND task_execution.lease_owner IS NOT NULL THEN COALESCE(task_execution.wake_at, ",
            // The lease of the promises; the worker's next heartbeat sets its own.
            now_plus!("15000"),
            ") ",
            "ELSE ",
            now_plus!("r.wake_in"),
            " END FROM ",
            rows!($list; task_id uuid, epoch bigint, base_seq bigint, seq bigint, status text,
                pause_reason text, live boolean, keep boolean, wake_in bigint,
                crashes bigint, completed_steps bigint, total_steps bigint, state json,
                updated_at time, completed_at time),
            " WHERE task_execution.id = r.task_id AND task_execution.epoch = r.epoch ",
            "AND task_execution.seq = r.base_seq"
        )
    };
}

macro_rules! add_entries {
    ($list:literal, $only:expr) => {
        concat!(
            "INSERT INTO task_execution_trace (task_id, seq, epoch, at, step_index, type, kind, data) ",
            "SELECT task_id, seq, epoch, at, step_index, type, kind, data FROM ",
            rows!($list; task_id uuid, seq bigint, epoch bigint, at time, step_index bigint,
                type text, kind text, data json),
            $only
        )
    };
}

macro_rules! put_steps {
    ($list:literal, $only:expr) => {
        concat!(
            "INSERT INTO task_execution_step (task_id, step_index, step_id, revision, type, description, ",
            "status, optional, replaced, depends_on, input, output, error, usage, attempts, estimated_ms, ",
            "first_seq, retry_at, started_at, completed_at) ",
            "SELECT task_id, step_index, step_id, revision, type, description, ",
            "status, optional, replaced, depends_on, input, output, error, usage, attempts, estimated_ms, ",
            "first_seq, retry_at, started_at, completed_at FROM ",
            rows!($list; task_id uuid, step_index bigint, step_id text, revision bigint, type text,
                description text, status text, optional boolean, replaced boolean, depends_on json,
                input json, output json, error json, usage json, attempts bigint, estimated_ms bigint,
                first_seq bigint, retry_at time, started_at time, completed_at time),
            $only,
            " ON CONFLICT (task_id, step_index) DO UPDATE SET status = excluded.status, ",
            "replaced = excluded.replaced, output = excluded.output, error = excluded.error, ",
            "usage = excluded.usage, attempts = excluded.attempts, first_seq = excluded.first_seq, ",
            "retry_at = excluded.retry_at, started_at = excluded.started_at, ",
            "completed_at = excluded.completed_at"
        )
    };
}
