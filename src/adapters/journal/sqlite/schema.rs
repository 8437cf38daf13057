//! The tables of the SQLite journal, readable with any `sqlite3` during an incident.

/// Kept in `PRAGMA user_version`.
pub(super) const SCHEMA_VERSION: u32 = 3;

/// What makes a journal of version 1 one of version 2: minutes with response times.
pub(super) const FROM_1_TO_2: &str = "ALTER TABLE minutes ADD COLUMN times TEXT;";

/// And one of version 2 one of version 3: the picture for other replicas. (One file has none, but both databases have the same tables.)
pub(super) const FROM_2_TO_3: &str = "
CREATE TABLE published (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    at      TEXT NOT NULL,
    picture TEXT NOT NULL
) STRICT;
";

/// Times that are compared in SQL are RFC 3339 with nine decimals, so that their text sorts as they do.
pub(super) const CREATE: &str = "
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0);

CREATE TABLE records (
    seq       INTEGER PRIMARY KEY,
    v         INTEGER NOT NULL,
    stream    TEXT NOT NULL,
    at        TEXT NOT NULL,
    epoch     INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    body      TEXT NOT NULL,
    prev_hash TEXT NOT NULL
) STRICT;
CREATE INDEX records_stream ON records (stream, seq);

CREATE TABLE inbox (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    key       TEXT NOT NULL UNIQUE,
    kind      TEXT NOT NULL,
    body      TEXT NOT NULL,
    at        TEXT NOT NULL,
    folded_at TEXT
) STRICT;
CREATE INDEX inbox_open ON inbox (id) WHERE folded_at IS NULL;

CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    key        TEXT NOT NULL,
    channel    TEXT NOT NULL,
    incident   TEXT NOT NULL,
    kind       TEXT NOT NULL,
    body       TEXT NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    state      TEXT NOT NULL DEFAULT 'waiting'
               CHECK (state IN ('waiting', 'done', 'repeating', 'dropped')),
    created_at TEXT NOT NULL,
    next_at    TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    last_error TEXT,
    UNIQUE (key, channel)
) STRICT;
CREATE INDEX outbox_open ON outbox (channel, incident, id) WHERE state IN ('waiting', 'repeating');

CREATE TABLE minutes (
    target TEXT NOT NULL,
    rule   TEXT NOT NULL,
    minute TEXT NOT NULL,
    bad    REAL NOT NULL,
    total  REAL NOT NULL,
    times  TEXT,
    PRIMARY KEY (target, rule, minute)
) STRICT, WITHOUT ROWID;

CREATE TABLE published (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    at      TEXT NOT NULL,
    picture TEXT NOT NULL
) STRICT;
";
