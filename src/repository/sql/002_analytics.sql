-- What happened, counted: the sums of the journals, which a background pass brings up to date. No
-- commit of a task writes here.

-- Sums by time, user and name. width is the length of the span in milliseconds: a minute, an hour,
-- or 0 for all time; at is its beginning in milliseconds since 1970. slot is a class of durations,
-- -1 where there is none.
CREATE TABLE figure (
    width bigint NOT NULL,
    user_id text NOT NULL,
    at bigint NOT NULL,
    measure text NOT NULL,
    name text NOT NULL,
    slot bigint NOT NULL,
    events bigint NOT NULL,
    millis bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    cost_nanos bigint NOT NULL,
    unpriced bigint NOT NULL,
    PRIMARY KEY (width, user_id, at, measure, name, slot)
){clustered};

-- Failures by hour and kind, with the newest task that met them.
CREATE TABLE failure (
    user_id text NOT NULL,
    at bigint NOT NULL,
    place text NOT NULL,
    code text NOT NULL,
    message text NOT NULL,
    events bigint NOT NULL,
    last_at bigint NOT NULL,
    task_id {uuid} NOT NULL,
    PRIMARY KEY (user_id, at, place, code, message)
){clustered};

-- Up to which entry the journal of a task is counted.
CREATE TABLE counted (
    task_id {uuid} NOT NULL PRIMARY KEY REFERENCES task_execution (id) ON DELETE CASCADE,
    seq bigint NOT NULL
){clustered};

-- Whoever writes counts changes the one row first, so that one does so at a time.
CREATE TABLE counting (
    passes bigint NOT NULL
);

INSERT INTO counting (passes) VALUES (0);
