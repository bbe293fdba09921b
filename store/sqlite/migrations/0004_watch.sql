-- What the watch over signalling keeps: bans, traces of calls, texts that wait for a phone.

-- +goose Up

-- Bans belong to no account: the door is one.
CREATE TABLE bans (
    addr      TEXT PRIMARY KEY,
    reason    TEXT NOT NULL,
    banned_by TEXT NOT NULL, -- '' is the guard
    since     INTEGER NOT NULL,
    until     INTEGER NOT NULL,
    times     INTEGER NOT NULL,
    hits      INTEGER NOT NULL,
    evidence  TEXT NOT NULL -- JSON array
) STRICT, WITHOUT ROWID;

CREATE TABLE traces (
    seq        INTEGER PRIMARY KEY, -- the oldest go first when there are too many
    call_id    TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    saved_at   INTEGER NOT NULL,
    messages   BLOB NOT NULL -- compressed
) STRICT;

CREATE INDEX traces_age ON traces (account_id, saved_at);

CREATE TABLE texts (
    seq          INTEGER PRIMARY KEY, -- texts are delivered in this order
    id           TEXT NOT NULL UNIQUE,
    account_id   TEXT NOT NULL REFERENCES accounts (id),
    to_user      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    from_user    TEXT NOT NULL,
    from_number  TEXT NOT NULL,
    from_name    TEXT NOT NULL,
    content_type TEXT NOT NULL,
    body         BLOB NOT NULL,
    received_at  INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;

CREATE INDEX texts_to ON texts (to_user);

-- How long traces are kept.
ALTER TABLE accounts ADD COLUMN trace_days INTEGER NOT NULL DEFAULT 30;
