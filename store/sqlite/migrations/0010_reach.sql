-- How people are reached: find me, forwarding, ring groups, shared mailboxes, codes.

-- +goose Up

CREATE TABLE ring_groups (
    id                   TEXT PRIMARY KEY,
    account_id           TEXT NOT NULL REFERENCES accounts (id),
    version              INTEGER NOT NULL,
    name                 TEXT NOT NULL,
    extension            TEXT NOT NULL,
    strategy             TEXT NOT NULL,
    members              TEXT NOT NULL, -- JSON: [Target]
    timeout_ms           INTEGER NOT NULL,
    caller_prefix        TEXT NOT NULL,
    fallback             TEXT NOT NULL, -- JSON: Destination
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX ring_groups_account ON ring_groups (account_id);

CREATE TABLE mailboxes (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    version    INTEGER NOT NULL,
    name       TEXT NOT NULL,
    extension  TEXT NOT NULL,
    pin_hash   TEXT NOT NULL,
    member_ids TEXT NOT NULL, -- JSON array
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX mailboxes_account ON mailboxes (account_id);

ALTER TABLE users ADD COLUMN find_me TEXT NOT NULL DEFAULT '{}';       -- JSON: FindMe
ALTER TABLE users ADD COLUMN forward TEXT NOT NULL DEFAULT '{}';       -- JSON: Forward
ALTER TABLE users ADD COLUMN call_waiting INTEGER NOT NULL DEFAULT 1;
ALTER TABLE users ADD COLUMN reject_anonymous INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN pickup_groups TEXT NOT NULL DEFAULT '[]'; -- JSON array
ALTER TABLE users ADD COLUMN speed_dials TEXT NOT NULL DEFAULT '[]';   -- JSON: [SpeedDial]
ALTER TABLE users ADD COLUMN greetings TEXT NOT NULL DEFAULT '{}';     -- JSON: Greetings

ALTER TABLE accounts ADD COLUMN feature_codes TEXT NOT NULL DEFAULT '{}'; -- JSON: code by name
ALTER TABLE accounts ADD COLUMN speed_dials TEXT NOT NULL DEFAULT '[]';   -- JSON: [SpeedDial]
ALTER TABLE accounts ADD COLUMN voicemail_days INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN voicemail_max INTEGER NOT NULL DEFAULT 0;

CREATE TABLE wake_ups (
    user_id    TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    at         INTEGER NOT NULL,
    tries      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX wake_ups_at ON wake_ups (at);

-- A mailbox is that of a user or a shared one; what a mailbox leaves behind is removed by the program.
CREATE TABLE messages_of_mailboxes (
    id            TEXT PRIMARY KEY,
    account_id    TEXT NOT NULL REFERENCES accounts (id),
    version       INTEGER NOT NULL,
    mailbox       TEXT NOT NULL,
    call_id       TEXT NOT NULL,
    caller_name   TEXT NOT NULL,
    caller_number TEXT NOT NULL,
    received_at   INTEGER NOT NULL,
    duration_ms   INTEGER NOT NULL,
    read          INTEGER NOT NULL,
    recording     INTEGER NOT NULL,
    search        TEXT NOT NULL, -- what is shown of the caller, in lower case
    urgent        INTEGER NOT NULL DEFAULT 0,
    forwarded_by  TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

INSERT INTO messages_of_mailboxes (id, account_id, version, mailbox, call_id, caller_name, caller_number, received_at, duration_ms, read, recording, search)
    SELECT id, account_id, version, mailbox, call_id, caller_name, caller_number, received_at, duration_ms, read, recording, search FROM messages;
DROP TABLE messages;
ALTER TABLE messages_of_mailboxes RENAME TO messages;

CREATE INDEX messages_mailbox ON messages (account_id, mailbox, recording, read);
CREATE INDEX messages_account ON messages (account_id, id);
CREATE INDEX messages_received ON messages (received_at); -- for retention
