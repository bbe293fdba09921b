-- Sounds that people uploaded, and recordings of calls. The sound itself is in a file named after the id.

-- +goose Up

CREATE TABLE audio_clips (
    id          TEXT PRIMARY KEY,
    account_id  TEXT NOT NULL REFERENCES accounts (id),
    version     INTEGER NOT NULL,
    name        TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    rate        INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    loudness    REAL NOT NULL,
    peaks       BLOB NOT NULL, -- one octet a part
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX audio_clips_account ON audio_clips (account_id);

CREATE TABLE recordings (
    id          TEXT PRIMARY KEY,
    account_id  TEXT NOT NULL REFERENCES accounts (id),
    version     INTEGER NOT NULL,
    call_id     TEXT NOT NULL UNIQUE,
    started_at  INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    running     INTEGER NOT NULL,
    users       TEXT NOT NULL, -- JSON array
    detail      TEXT NOT NULL, -- JSON: sides, rule, notice, gaps
    search      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX recordings_account ON recordings (account_id, started_at);

-- JSON: RecordingPolicy.
ALTER TABLE accounts ADD COLUMN recording TEXT NOT NULL DEFAULT '{}';
-- '' means as the account.
ALTER TABLE users ADD COLUMN hold_music_clip_id TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN recording TEXT NOT NULL DEFAULT '';
ALTER TABLE numbers ADD COLUMN hold_music_clip_id TEXT NOT NULL DEFAULT '';
ALTER TABLE numbers ADD COLUMN recording TEXT NOT NULL DEFAULT '';
