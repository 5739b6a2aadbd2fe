-- Rows as they are passed in: one parameter for each table, and one function of rows that the server
-- carries out for it.
CREATE TYPE task_move AS (
    task_id uuid,
    epoch bigint,
    base_seq bigint,
    seq bigint,
    status text,
    pause_reason text,
    live boolean,
    keep boolean,
    due boolean,
    wake_in bigint,
    priority bigint,
    crashes bigint,
    completed_steps bigint,
    total_steps bigint,
    state jsonb,
    updated_at timestamptz,
    completed_at timestamptz
);

CREATE TYPE new_task AS (
    task_id uuid,
    user_id text,
    thread_id text,
    goal text,
    status text,
    pause_reason text,
    seq bigint,
    epoch bigint,
    live boolean,
    priority bigint,
    crashes bigint,
    completed_steps bigint,
    total_steps bigint,
    state jsonb,
    created_at timestamptz,
    updated_at timestamptz,
    completed_at timestamptz,
    parent_id uuid,
    forked_from jsonb,
    imported boolean
);

CREATE TYPE new_entry AS (
    task_id uuid,
    seq bigint,
    epoch bigint,
    at timestamptz,
    step_index bigint,
    type text,
    kind text,
    data jsonb
);

CREATE TYPE new_step AS (
    task_id uuid,
    step_index bigint,
    step_id text,
    revision bigint,
    type text,
    description text,
    status text,
    optional boolean,
    replaced boolean,
    depends_on jsonb,
    input jsonb,
    output_seq bigint,
    verification jsonb,
    error jsonb,
    usage jsonb,
    attempts bigint,
    estimated_ms bigint,
    first_seq bigint,
    retry_at timestamptz,
    started_at timestamptz,
    completed_at timestamptz
);

CREATE TYPE step_move AS (
    task_id uuid,
    step_index bigint,
    status text,
    replaced boolean,
    output_seq bigint,
    verification jsonb,
    error jsonb,
    usage jsonb,
    attempts bigint,
    first_seq bigint,
    retry_at timestamptz,
    started_at timestamptz,
    completed_at timestamptz
);
