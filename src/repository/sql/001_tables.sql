-- Allowed words are compared one by one: for IN with a list SQLite builds a table, each time a row is
-- written.

-- A task as its newest entry left it. Exactly the live tasks have a wake-up: there is no way
-- to strand one. While a worker holds a task, wake_at is the moment its lease ends. What was asked
-- for is in the journal, in entry 1; spec holds it only where retention has removed the entries. A task that
-- carries out a call of another one names that as its parent, which may be gone before it. Where a task comes
-- from stands here, too, for lists say it.
CREATE TABLE task_execution (
    id {uuid} NOT NULL PRIMARY KEY,
    user_id text NOT NULL,
    thread_id text NOT NULL,
    goal text NOT NULL,
    status text NOT NULL,
    pause_reason text,
    seq bigint NOT NULL,
    epoch bigint NOT NULL,
    wake_at {time},
    lease_owner text,
    crashes bigint NOT NULL,
    completed_steps bigint NOT NULL,
    total_steps bigint NOT NULL,
    spec {json},
    state {json} NOT NULL,
    priority bigint NOT NULL,
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL,
    completed_at {time},
    parent_id {uuid},
    forked_from {json},
    imported boolean NOT NULL,
    CONSTRAINT task_status_known CHECK
        (status = 'running' OR status = 'pending' OR status = 'paused' OR status = 'completed'
        OR status = 'failed' OR status = 'cancelled'),
    CONSTRAINT task_live_iff_wake_up CHECK ((status = 'running' OR status = 'pending') = (wake_at IS NOT NULL)),
    CONSTRAINT task_ended_iff_completed_at CHECK
        ((status = 'completed' OR status = 'failed' OR status = 'cancelled') = (completed_at IS NOT NULL)),
    CONSTRAINT task_paused_iff_reason CHECK ((status = 'paused') = (pause_reason IS NOT NULL)),
    CONSTRAINT task_priority_known CHECK (priority BETWEEN 1 AND 5),
    CONSTRAINT task_counts CHECK
        (seq >= 1 AND epoch >= 0 AND crashes >= 0 AND completed_steps >= 0 AND completed_steps <= total_steps)
){tuning};

-- The line of those that are due, for each priority, and the lines of its users, for whoever looks behind one of
-- them; and the tasks in the hands of workers.
CREATE INDEX task_execution_due ON task_execution (priority, wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX task_execution_due_of ON task_execution (priority, user_id, wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX task_execution_held ON task_execution (user_id) WHERE lease_owner IS NOT NULL;
CREATE INDEX task_execution_by_user ON task_execution (user_id, id);
CREATE INDEX task_execution_by_thread ON task_execution (thread_id, id);
CREATE INDEX task_execution_paused ON task_execution (user_id, id) WHERE status = 'paused';
CREATE INDEX task_execution_ended ON task_execution (completed_at) WHERE completed_at IS NOT NULL;
-- The children of a task, and those of all tasks that have not ended.
CREATE INDEX task_execution_children ON task_execution (parent_id, id) WHERE parent_id IS NOT NULL;
CREATE INDEX task_execution_open_children ON task_execution (parent_id)
    WHERE parent_id IS NOT NULL AND completed_at IS NULL;

-- A step of a task's plan, over all revisions. What it brought is in the journal, in the entry
-- output_seq; output holds it only where retention has removed the entries. Steps and entries name their
-- task without a foreign key: they are written only by the statement that has found it, and one that
-- looked it up again for each of them would take a fifth of PostgreSQL's time for a commit.
CREATE TABLE task_execution_step (
    task_id {uuid} NOT NULL,
    step_index bigint NOT NULL,
    step_id text NOT NULL,
    revision bigint NOT NULL,
    type text NOT NULL,
    description text NOT NULL,
    status text NOT NULL,
    optional boolean NOT NULL,
    replaced boolean NOT NULL,
    depends_on {json} NOT NULL,
    input {json},
    output_seq bigint,
    output {json},
    verification {json},
    error {json},
    usage {json} NOT NULL,
    attempts bigint NOT NULL,
    estimated_ms bigint,
    first_seq bigint,
    retry_at {time},
    started_at {time},
    completed_at {time},
    PRIMARY KEY (task_id, step_index),
    CONSTRAINT step_type_known CHECK
        (type = 'tool-call' OR type = 'llm-reasoning' OR type = 'checkpoint' OR type = 'summarization'),
    CONSTRAINT step_status_known CHECK
        (status = 'completed' OR status = 'running' OR status = 'pending' OR status = 'failed' OR status = 'skipped'),
    CONSTRAINT step_started_iff_attempts CHECK ((attempts > 0) = (started_at IS NOT NULL)),
    CONSTRAINT step_retry_only_after_failure CHECK (retry_at IS NULL OR status = 'failed'),
    CONSTRAINT step_done_has_end CHECK ((status <> 'completed' AND status <> 'skipped') OR completed_at IS NOT NULL)
){clustered};

-- The journal: what happened, in order, without gaps. Entries are only ever added. They are kept in
-- the order in which they come and not by task: those that many tasks write at once share pages.
CREATE TABLE task_execution_trace (
    task_id {uuid} NOT NULL,
    seq bigint NOT NULL,
    epoch bigint NOT NULL,
    at {time} NOT NULL,
    step_index bigint,
    type text NOT NULL,
    kind text NOT NULL,
    data {json} NOT NULL,
    PRIMARY KEY (task_id, seq),
    CONSTRAINT trace_type_known CHECK
        (type = 'tool-call' OR type = 'decision' OR type = 'llm-request' OR type = 'llm-response'
        OR type = 'checkpoint' OR type = 'error'),
    CONSTRAINT trace_numbers CHECK (seq >= 1 AND epoch >= 0)
);

-- Large contents, once each, under the SHA-256 of their canonical JSON; compressed with zstd.
CREATE TABLE blob (
    hash {bytes} NOT NULL PRIMARY KEY,
    size bigint NOT NULL,
    bytes {bytes} NOT NULL,
    touched_at {time} NOT NULL
);

-- Which tasks refer to which contents.
CREATE TABLE task_execution_blob (
    task_id {uuid} NOT NULL REFERENCES task_execution (id) ON DELETE CASCADE,
    hash {bytes} NOT NULL,
    PRIMARY KEY (hash, task_id)
){clustered};

-- All that a task refers to has one key here, which PostgreSQL stores once.
CREATE INDEX task_execution_blob_by_task ON task_execution_blob (task_id);

-- Conversations and their messages.
CREATE TABLE chat_thread (
    id text NOT NULL PRIMARY KEY,
    user_id text NOT NULL,
    title text NOT NULL,
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL
);

CREATE INDEX chat_thread_by_user ON chat_thread (user_id, updated_at, id);

-- A message that was replaced, because the one before it was answered anew, stays and is passed over.
CREATE TABLE chat_message (
    thread_id text NOT NULL REFERENCES chat_thread (id) ON DELETE CASCADE,
    id text NOT NULL,
    position bigint NOT NULL,
    role text NOT NULL,
    parts {json} NOT NULL,
    task_id {uuid},
    created_at {time} NOT NULL,
    replaced boolean NOT NULL,
    PRIMARY KEY (thread_id, id),
    CONSTRAINT message_role_known CHECK (role IN ('user', 'assistant', 'system'))
);

CREATE UNIQUE INDEX chat_message_in_order ON chat_message (thread_id, position);
CREATE INDEX chat_message_by_id ON chat_message (id);

-- What requests with an idempotency key were answered, for a day. The reply outlives its task.
CREATE TABLE idempotency_key (
    user_id text NOT NULL,
    key text NOT NULL,
    request_hash {bytes} NOT NULL,
    task_id {uuid},
    reply text NOT NULL,
    created_at {time} NOT NULL,
    PRIMARY KEY (user_id, key),
    CONSTRAINT idempotency_key_length CHECK (length(key) BETWEEN 1 AND 255)
);

CREATE INDEX idempotency_key_by_age ON idempotency_key (created_at);

-- Who works. A worker that stops takes its row away; one that dies is silent.
CREATE TABLE worker (
    name text NOT NULL PRIMARY KEY,
    host text NOT NULL,
    pid bigint NOT NULL,
    version text NOT NULL,
    concurrency bigint NOT NULL,
    lease_ms bigint NOT NULL,
    draining boolean NOT NULL,
    started_at {time} NOT NULL,
    seen_at {time} NOT NULL
);

-- Limits that all workers share: when the next permit would be due if nobody were ahead of time,
-- in microseconds since 1970, and how many permits were granted last.
CREATE TABLE limiter (
    name text NOT NULL PRIMARY KEY,
    next_due bigint NOT NULL,
    granted bigint NOT NULL
);

-- What is to be started when. wake_at is when a worker looks at a schedule: at next_at, or when whoever
-- is starting its task must be thought dead, or when a start that failed is tried again.
CREATE TABLE schedule (
    id {uuid} NOT NULL PRIMARY KEY,
    user_id text NOT NULL,
    name text NOT NULL,
    cron text,
    time_zone text,
    at {time},
    overlap text NOT NULL,
    task {json} NOT NULL,
    revision bigint NOT NULL,
    paused boolean NOT NULL,
    next_at {time},
    wake_at {time},
    fired_at {time},
    task_id {uuid},
    runs bigint NOT NULL,
    skipped bigint NOT NULL,
    fault text,
    created_at {time} NOT NULL,
    updated_at {time} NOT NULL,
    CONSTRAINT schedule_cron_or_at CHECK ((cron IS NULL) <> (at IS NULL)),
    CONSTRAINT schedule_cron_has_time_zone CHECK ((cron IS NULL) = (time_zone IS NULL)),
    CONSTRAINT schedule_overlap_known CHECK (overlap = 'skip' OR overlap = 'allow'),
    CONSTRAINT schedule_wakes_iff_it_comes CHECK ((NOT paused AND next_at IS NOT NULL) = (wake_at IS NOT NULL)),
    CONSTRAINT schedule_counts CHECK (revision >= 1 AND runs >= 0 AND skipped >= 0)
);

CREATE INDEX schedule_due ON schedule (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX schedule_by_user ON schedule (user_id, id);
CREATE UNIQUE INDEX schedule_by_name ON schedule (user_id, name);

-- Strategies with parameters: one row for each version, which never changes.
CREATE TABLE template (
    user_id text NOT NULL,
    name text NOT NULL,
    version bigint NOT NULL,
    -- None of one that was removed: its number is not given again.
    content {json},
    created_at {time} NOT NULL,
    PRIMARY KEY (user_id, name, version),
    CONSTRAINT template_version CHECK (version >= 1)
);

{row_types}
