-- Times are integers: microseconds since 1970 in UTC, 0 for never.
-- Durations are integers: milliseconds. Blobs named *_sealed are encrypted.
-- Every row belongs to an account.

-- +goose Up

-- Proof that the key file beside the database belongs to it.
CREATE TABLE vault (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    key_check BLOB NOT NULL
) STRICT;

CREATE TABLE accounts (
    id                         TEXT PRIMARY KEY,
    version                    INTEGER NOT NULL,
    name                       TEXT NOT NULL,
    email                      TEXT NOT NULL,
    timezone                   TEXT NOT NULL,
    country                    TEXT NOT NULL,
    billing_address            TEXT NOT NULL,
    extension_length           INTEGER NOT NULL,
    hold_music_clip_id         TEXT NOT NULL,
    transcription_enabled      INTEGER NOT NULL,
    recording_enabled          INTEGER NOT NULL,
    parking_timeout_ms         INTEGER NOT NULL,
    inbound_fax_limit          INTEGER NOT NULL,
    outbound_fax_limit         INTEGER NOT NULL,
    provisioning_token_sealed  BLOB NOT NULL,
    phone_admin_password_sealed BLOB NOT NULL,
    created_at                 INTEGER NOT NULL,
    updated_at                 INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id                TEXT PRIMARY KEY,
    account_id        TEXT NOT NULL REFERENCES accounts (id),
    version           INTEGER NOT NULL,
    name              TEXT NOT NULL,
    email             TEXT NOT NULL,
    username          TEXT NOT NULL,
    role              TEXT NOT NULL,
    extension         TEXT NOT NULL,
    password_hash     TEXT NOT NULL,
    do_not_disturb    INTEGER NOT NULL,
    ring_timeout_ms   INTEGER NOT NULL,
    voicemail_enabled INTEGER NOT NULL,
    pin_hash          TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX users_account ON users (account_id);
CREATE UNIQUE INDEX users_extension ON users (account_id, extension) WHERE extension <> '';
-- A person signs in with a login alone, so logins are unique in the whole store.
CREATE UNIQUE INDEX users_email ON users (lower(email)) WHERE email <> '';
CREATE UNIQUE INDEX users_username ON users (username) WHERE username <> '';

CREATE TABLE devices (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    version    INTEGER NOT NULL,
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    vendor     TEXT NOT NULL,
    model      TEXT NOT NULL,
    mac        TEXT NOT NULL,
    ipei       TEXT NOT NULL,
    base_id    TEXT NOT NULL,
    transport  TEXT NOT NULL,
    srtp       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX devices_account ON devices (account_id);
-- A telephone that asks for its configuration may name nothing but its MAC address.
CREATE UNIQUE INDEX devices_mac ON devices (mac) WHERE mac <> '';

CREATE TABLE lines (
    id              TEXT PRIMARY KEY,
    account_id      TEXT NOT NULL REFERENCES accounts (id),
    device_id       TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    user_id         TEXT NOT NULL REFERENCES users (id),
    line_index      INTEGER NOT NULL,
    label           TEXT NOT NULL,
    username        TEXT NOT NULL UNIQUE,
    password_sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX lines_device ON lines (device_id);
CREATE INDEX lines_user ON lines (user_id);

CREATE TABLE bindings (
    id            TEXT PRIMARY KEY,
    account_id    TEXT NOT NULL REFERENCES accounts (id),
    line_id       TEXT NOT NULL REFERENCES lines (id) ON DELETE CASCADE,
    device_id     TEXT NOT NULL,
    user_id       TEXT NOT NULL,
    contact       TEXT NOT NULL,
    source        TEXT NOT NULL,
    local         TEXT NOT NULL,
    transport     TEXT NOT NULL,
    user_agent    TEXT NOT NULL,
    call_id       TEXT NOT NULL,
    cseq          INTEGER NOT NULL,
    path          TEXT NOT NULL, -- JSON array
    instance      TEXT NOT NULL,
    reg_id        INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX bindings_line ON bindings (line_id);

CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash BLOB NOT NULL UNIQUE,
    ip         TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    prefix     TEXT NOT NULL,
    key_hash   BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL,
    used_ip    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_user ON api_keys (user_id);

CREATE TABLE messages (
    id            TEXT PRIMARY KEY,
    account_id    TEXT NOT NULL REFERENCES accounts (id),
    version       INTEGER NOT NULL,
    mailbox       TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    call_id       TEXT NOT NULL,
    caller_name   TEXT NOT NULL,
    caller_number TEXT NOT NULL,
    received_at   INTEGER NOT NULL,
    duration_ms   INTEGER NOT NULL,
    read          INTEGER NOT NULL,
    recording     INTEGER NOT NULL,
    search        TEXT NOT NULL -- what is shown of the caller, in lower case
) STRICT, WITHOUT ROWID;

CREATE INDEX messages_mailbox ON messages (account_id, mailbox, recording, read);
CREATE INDEX messages_user ON messages (mailbox); -- for deleting a user
CREATE INDEX messages_account ON messages (account_id, id);

-- Records of calls outlive users and devices, so nothing here refers to them.
CREATE TABLE call_records (
    id           TEXT PRIMARY KEY,
    account_id   TEXT NOT NULL REFERENCES accounts (id),
    started_at   INTEGER NOT NULL,
    answered_at  INTEGER NOT NULL,
    ended_at     INTEGER NOT NULL,
    direction    TEXT NOT NULL,
    caller_user  TEXT NOT NULL,
    callee_user  TEXT NOT NULL,
    dialed       TEXT NOT NULL,
    outcome      TEXT NOT NULL,
    hangup_by    TEXT NOT NULL,
    hangup_cause TEXT NOT NULL,
    caller       TEXT NOT NULL, -- JSON: CallParty
    callee       TEXT NOT NULL, -- JSON: CallParty
    segments     TEXT NOT NULL, -- JSON: [Segment]
    route        TEXT NOT NULL, -- JSON: [Reason]
    search       TEXT NOT NULL  -- what is shown of both sides, in lower case
) STRICT, WITHOUT ROWID;

CREATE INDEX call_records_account ON call_records (account_id, id);
CREATE INDEX call_records_caller ON call_records (account_id, caller_user, id) WHERE caller_user <> '';
CREATE INDEX call_records_callee ON call_records (account_id, callee_user, id) WHERE callee_user <> '';
CREATE INDEX call_records_open ON call_records (outcome) WHERE outcome = 'ongoing';

-- seq keeps entries of one millisecond in their order, whatever the clock does.
CREATE TABLE activity (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    at         INTEGER NOT NULL,
    event      TEXT NOT NULL,
    resource   TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id   TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    actor_ip   TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    detail     TEXT NOT NULL, -- JSON, or empty
    count      INTEGER NOT NULL
) STRICT;

CREATE INDEX activity_account ON activity (account_id, seq);
CREATE INDEX activity_at ON activity (at);

CREATE TABLE provision_fetches (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    device_id  TEXT NOT NULL,
    at         INTEGER NOT NULL,
    file       TEXT NOT NULL,
    source     TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    status     INTEGER NOT NULL,
    bytes      INTEGER NOT NULL
) STRICT;

CREATE INDEX provision_fetches_device ON provision_fetches (account_id, device_id, seq);
