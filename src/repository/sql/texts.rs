//! The texts that a commit is made of. Each engine puts them together its own way.
//!
//! `$arg` is how a text names a value (`listed!`: a column of the rows that were passed in,
//! `bound!`: a parameter), and `$from` where such rows come from.

/// Values that come as rows of a list.
macro_rules! listed {
    ($name:ident) => {
        concat!("r.", stringify!($name))
    };
}
macro_rules! listed_rows {
    ($list:literal; $($columns:tt)*) => {
        concat!(" FROM ", rows!($list; $($columns)*))
    };
}

/// Moves tasks from the state their writers knew to the new one.
///
/// A worker that goes on keeps the wake-up, which is the end of its lease; so does a task that
/// waits, for its wake-up is its place in the line. A task that was paused has none; resumed while
/// its worker still holds it, it gets the end of a lease again.
macro_rules! move_tasks {
    ($arg:ident, $from:ident $list:literal) => {
        concat!(
            "UPDATE task_execution SET seq = ", $arg!(seq), ", status = ", $arg!(status),
            ", pause_reason = ", $arg!(pause_reason), ", crashes = ", $arg!(crashes),
            ", completed_steps = ", $arg!(completed_steps), ", total_steps = ", $arg!(total_steps),
            ", state = ", $arg!(state), ", updated_at = ", $arg!(updated_at),
            ", completed_at = ", $arg!(completed_at),
            ", lease_owner = CASE WHEN ", $arg!(keep), " AND ", $arg!(completed_at),
            " IS NULL THEN task_execution.lease_owner END, wake_at = CASE WHEN NOT ", $arg!(live),
            " THEN NULL WHEN ", $arg!(keep), " AND task_execution.wake_at IS NOT NULL THEN task_execution.wake_at ",
            // The lease of the promises; the worker's next heartbeat sets its own.
            "WHEN ", $arg!(keep), " AND task_execution.lease_owner IS NOT NULL THEN ", now_plus!("15000"),
            " ELSE ", now_plus!($arg!(wake_in)), " END",
            $from!($list; task_id uuid, epoch bigint, base_seq bigint, seq bigint, status text,
                pause_reason text, live boolean, keep boolean, wake_in bigint,
                crashes bigint, completed_steps bigint, total_steps bigint, state json,
                updated_at time, completed_at time),
            " WHERE task_execution.id = ", $arg!(task_id), " AND task_execution.epoch = ", $arg!(epoch),
            " AND task_execution.seq = ", $arg!(base_seq)
        )
    };
}

macro_rules! add_entries {
    ($arg:ident, $from:ident $list:literal) => {
        concat!(
            "INSERT INTO task_execution_trace (task_id, seq, epoch, at, step_index, type, kind, data) SELECT ",
            $arg!(task_id), ", ", $arg!(seq), ", ", $arg!(epoch), ", ", $arg!(at), ", ",
            $arg!(step_index), ", ", $arg!(type), ", ", $arg!(kind), ", ", $arg!(data),
            $from!($list; task_id uuid, seq bigint, epoch bigint, at time, step_index bigint,
                type text, kind text, data json)
        )
    };
}

/// Steps that a plan brings.
macro_rules! add_steps {
    ($arg:ident, $from:ident $list:literal) => {
        concat!(
            "INSERT INTO task_execution_step (task_id, step_index, step_id, revision, type, description, ",
            "status, optional, replaced, depends_on, input, output_seq, error, usage, attempts, estimated_ms, ",
            "first_seq, retry_at, started_at, completed_at) SELECT ",
            $arg!(task_id), ", ", $arg!(step_index), ", ", $arg!(step_id), ", ", $arg!(revision), ", ",
            $arg!(type), ", ", $arg!(description), ", ", $arg!(status), ", ", $arg!(optional), ", ",
            $arg!(replaced), ", ", $arg!(depends_on), ", ", $arg!(input), ", ", $arg!(output_seq), ", ",
            $arg!(error), ", ", $arg!(usage), ", ", $arg!(attempts), ", ", $arg!(estimated_ms), ", ",
            $arg!(first_seq), ", ", $arg!(retry_at), ", ", $arg!(started_at), ", ", $arg!(completed_at),
            $from!($list; task_id uuid, step_index bigint, step_id text, revision bigint, type text,
                description text, status text, optional boolean, replaced boolean, depends_on json,
                input json, output_seq bigint, error json, usage json, attempts bigint, estimated_ms bigint,
                first_seq bigint, retry_at time, started_at time, completed_at time)
        )
    };
}

/// What changes of a step; its plan never does.
macro_rules! move_steps {
    ($arg:ident, $from:ident $list:literal) => {
        concat!(
            "UPDATE task_execution_step SET status = ", $arg!(status), ", replaced = ", $arg!(replaced),
            ", output_seq = ", $arg!(output_seq), ", error = ", $arg!(error), ", usage = ", $arg!(usage),
            ", attempts = ", $arg!(attempts), ", first_seq = ", $arg!(first_seq),
            ", retry_at = ", $arg!(retry_at), ", started_at = ", $arg!(started_at),
            ", completed_at = ", $arg!(completed_at),
            $from!($list; task_id uuid, step_index bigint, status text, replaced boolean, output_seq bigint,
                error json, usage json, attempts bigint, first_seq bigint, retry_at time, started_at time,
                completed_at time),
            " WHERE task_execution_step.task_id = ", $arg!(task_id),
            " AND task_execution_step.step_index = ", $arg!(step_index)
        )
    };
}

/// What a step brought, from the entry `o` that records it.
macro_rules! recorded_output {
    () => {
        "COALESCE(o.data->'output', o.data->'result', o.data->'text')"
    };
}
