//! The texts that a commit is made of. Each engine puts them together its own way.
//!
//! `$arg` is how a text names a value (`listed!`: a column of the rows that were passed in,
//! `bound!`: a parameter), and `$from` where the rows come from, if values come as rows.

/// A new task's row.
#[rustfmt::skip]
macro_rules! add_task {
    ($arg:ident, $from:literal) => {
        concat!(
            "INSERT INTO task_execution (id, user_id, thread_id, goal, status, pause_reason, seq, epoch, ",
            "wake_at, priority, crashes, completed_steps, total_steps, state, created_at, updated_at, ",
            "completed_at, parent_id, forked_from, imported) SELECT ", $arg!(task_id), ", ", $arg!(user_id), ", ", $arg!(thread_id), ", ",
            $arg!(goal), ", ", $arg!(status), ", ", $arg!(pause_reason), ", ", $arg!(seq), ", ",
            $arg!(epoch), ", CASE WHEN ", $arg!(live), " THEN ", now!(), " END, ", $arg!(priority), ", ",
            $arg!(crashes), ", ", $arg!(completed_steps), ", ", $arg!(total_steps), ", ", $arg!(state), ", ",
            $arg!(created_at), ", ", $arg!(updated_at), ", ", $arg!(completed_at), ", ", $arg!(parent_id), ", ",
            $arg!(forked_from), ", ", $arg!(imported),
            $from
        )
    };
}

/// Moves tasks from the state their writers knew to the new one.
///
/// A worker that goes on keeps the wake-up, which is the end of its lease; so does a task that
/// waits, for its wake-up is its place in the line. A task that was paused has none; resumed while
/// its worker still holds it, it gets the end of a lease again. What makes a task due leaves a worker that
/// holds it alone.
#[rustfmt::skip]
macro_rules! move_tasks {
    ($arg:ident, $from:literal) => {
        concat!(
            "UPDATE task_execution SET seq = ", $arg!(seq), ", status = ", $arg!(status),
            ", pause_reason = ", $arg!(pause_reason), ", priority = ", $arg!(priority), ", crashes = ", $arg!(crashes),
            ", completed_steps = ", $arg!(completed_steps), ", total_steps = ", $arg!(total_steps),
            ", state = ", $arg!(state), ", updated_at = ", $arg!(updated_at),
            ", completed_at = ", $arg!(completed_at),
            ", lease_owner = CASE WHEN ", $arg!(keep), " AND ", $arg!(completed_at),
            " IS NULL THEN task_execution.lease_owner END, wake_at = CASE WHEN NOT ", $arg!(live),
            " THEN NULL WHEN ", $arg!(keep), " AND task_execution.wake_at IS NOT NULL AND NOT (", $arg!(due),
            " AND task_execution.lease_owner IS NULL) THEN task_execution.wake_at ",
            // The lease of the promises; the worker's next heartbeat sets its own.
            "WHEN ", $arg!(keep), " AND task_execution.lease_owner IS NOT NULL THEN ", now_plus!("15000"),
            " ELSE ", now_plus!($arg!(wake_in)), " END",
            $from,
            " WHERE task_execution.id = ", $arg!(task_id), " AND task_execution.epoch = ", $arg!(epoch),
            " AND task_execution.seq = ", $arg!(base_seq)
        )
    };
}

#[rustfmt::skip]
macro_rules! add_entries {
    ($arg:ident, $from:literal) => {
        concat!(
            "INSERT INTO task_execution_trace (task_id, seq, epoch, at, step_index, type, kind, data) SELECT ",
            $arg!(task_id), ", ", $arg!(seq), ", ", $arg!(epoch), ", ", $arg!(at), ", ",
            $arg!(step_index), ", ", $arg!(type), ", ", $arg!(kind), ", ", $arg!(data),
            $from
        )
    };
}

/// Steps that a plan brings, or that another task brought so far.
#[rustfmt::skip]
macro_rules! add_steps {
    ($arg:ident, $from:literal) => {
        concat!(
            "INSERT INTO task_execution_step (task_id, step_index, step_id, revision, type, description, ",
            "status, optional, replaced, depends_on, input, output_seq, verification, error, usage, attempts, ",
            "estimated_ms, first_seq, retry_at, started_at, completed_at) SELECT ",
            $arg!(task_id), ", ", $arg!(step_index), ", ", $arg!(step_id), ", ", $arg!(revision), ", ",
            $arg!(type), ", ", $arg!(description), ", ", $arg!(status), ", ", $arg!(optional), ", ",
            $arg!(replaced), ", ", $arg!(depends_on), ", ", $arg!(input), ", ", $arg!(output_seq), ", ",
            $arg!(verification), ", ", $arg!(error), ", ", $arg!(usage), ", ", $arg!(attempts), ", ", $arg!(estimated_ms), ", ",
            $arg!(first_seq), ", ", $arg!(retry_at), ", ", $arg!(started_at), ", ", $arg!(completed_at),
            $from
        )
    };
}

/// What changes of a step; its plan never does.
#[rustfmt::skip]
macro_rules! move_steps {
    ($arg:ident, $from:literal) => {
        concat!(
            "UPDATE task_execution_step SET status = ", $arg!(status), ", replaced = ", $arg!(replaced),
            ", output_seq = ", $arg!(output_seq), ", verification = ", $arg!(verification), ", error = ", $arg!(error), ", usage = ", $arg!(usage),
            ", attempts = ", $arg!(attempts), ", first_seq = ", $arg!(first_seq),
            ", retry_at = ", $arg!(retry_at), ", started_at = ", $arg!(started_at),
            ", completed_at = ", $arg!(completed_at),
            $from,
            " WHERE task_execution_step.task_id = ", $arg!(task_id),
            " AND task_execution_step.step_index = ", $arg!(step_index)
        )
    };
}

/// What a step brought, from the entry `o` that records it.
macro_rules! recorded_output {
    () => {
        "COALESCE(o.data->'output', o.data->'result', o.data->'text', o.data->'answer')"
    };
}

/// Takes a content's hash, its length, and its compressed bytes.
pub(in crate::repository) const PUT_BLOB: &str = concat!(
    "INSERT INTO blob (hash, size, bytes, touched_at) VALUES ($1, $2, $3, ",
    now!(),
    ") ON CONFLICT (hash) DO UPDATE SET touched_at = excluded.touched_at"
);

/// Takes the hash of a content that is stored already, so that it is not removed as one nobody wants.
pub(in crate::repository) const TOUCH_BLOB: &str =
    concat!("UPDATE blob SET touched_at = ", now!(), " WHERE hash = $1");

/// Takes a task's id and a content's hash.
pub(in crate::repository) const REFER_TO_BLOB: &str =
    "INSERT INTO task_execution_blob (task_id, hash) VALUES ($1, $2) ON CONFLICT DO NOTHING";

/// Takes a user, a key, the hash of the request, the task and the reply; changes no row if the key
/// is taken. One that is older than a day is free again, whether or not it has been removed yet.
pub(in crate::repository) const KEEP_ANSWER: &str = concat!(
    "INSERT INTO idempotency_key (user_id, key, request_hash, task_id, reply, created_at) ",
    "VALUES ($1, $2, $3, $4, $5, ",
    now!(),
    ") ON CONFLICT (user_id, key) DO UPDATE SET request_hash = excluded.request_hash, ",
    "task_id = excluded.task_id, reply = excluded.reply, created_at = excluded.created_at ",
    "WHERE idempotency_key.created_at < ",
    now_plus!("-86400000")
);
