-- Numbers that only grow: `sequence` (tokens, log entries, order of starts) and the totals for an operator.
CREATE TABLE number (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO number VALUES
    ('sequence', 0), ('leases', 0), ('completed', 0), ('failures', 0), ('expired', 0), ('retries', 0),
    ('given_back', 0), ('interrupted', 0);

-- AUTOINCREMENT: the id of a task that is gone is never used again.
CREATE TABLE task (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN (
        'pending', 'planning', 'encoding', 'merging', 'completed', 'failed', 'cancelled', 'clearing')),
    created_at INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    command TEXT,
    slice INTEGER,
    timeout_ms INTEGER,
    queue TEXT CHECK (queue IN ('priority', 'default')),
    failure TEXT,
    result_bytes INTEGER,
    log_entries INTEGER NOT NULL DEFAULT 0,
    log_dropped INTEGER NOT NULL DEFAULT 0,
    -- The large ones last: they are not read unless asked for.
    script TEXT,
    log TEXT,
    plan TEXT
) STRICT;

CREATE INDEX task_by_state ON task (state, id);

-- Clips, and the other work of a task. A token stays with completed work, so that completing twice is completing once.
CREATE TABLE work (
    id INTEGER PRIMARY KEY,
    task INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('index', 'plan', 'clip', 'merge')),
    number INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL CHECK (state IN ('queued', 'leased', 'completed', 'failed', 'stopped')),
    rank INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0,
    token INTEGER UNIQUE,
    deadline INTEGER,
    worker TEXT,
    first INTEGER NOT NULL DEFAULT 0,
    last INTEGER NOT NULL DEFAULT 0,
    frames INTEGER NOT NULL DEFAULT 0,
    fps REAL NOT NULL DEFAULT 0,
    bytes INTEGER,
    error TEXT,
    command TEXT,
    timeout_ms INTEGER,
    script TEXT,
    record TEXT,
    UNIQUE (task, kind, number),
    CHECK ((state = 'leased') = (deadline IS NOT NULL)),
    CHECK ((state IN ('leased', 'completed')) = (token IS NOT NULL))
) STRICT;

CREATE INDEX work_next ON work (rank, ordinal, number) WHERE state = 'queued';
CREATE INDEX work_overdue ON work (deadline) WHERE deadline IS NOT NULL;
CREATE INDEX work_unfinished ON work (task) WHERE kind = 'clip' AND state <> 'completed';

CREATE TABLE entry (
    task INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    happening TEXT NOT NULL,
    PRIMARY KEY (task, id)
) STRICT, WITHOUT ROWID;
