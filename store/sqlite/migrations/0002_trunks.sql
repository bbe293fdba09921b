-- Lines to carriers, the numbers that they deliver, and the number that each user shows.

-- +goose Up

CREATE TABLE trunks (
    id                TEXT PRIMARY KEY,
    account_id        TEXT NOT NULL REFERENCES accounts (id),
    version           INTEGER NOT NULL,
    name              TEXT NOT NULL,
    enabled           INTEGER NOT NULL,
    host              TEXT NOT NULL,
    port              INTEGER NOT NULL,
    transport         TEXT NOT NULL,
    outbound_proxy    TEXT NOT NULL,
    register          INTEGER NOT NULL,
    username          TEXT NOT NULL,
    password_sealed   BLOB NOT NULL,
    auth_username     TEXT NOT NULL,
    from_domain       TEXT NOT NULL,
    expiry_ms         INTEGER NOT NULL,
    sources           TEXT NOT NULL, -- JSON array
    options           INTEGER NOT NULL,
    identity          TEXT NOT NULL,
    trust_identity    INTEGER NOT NULL,
    diversion         TEXT NOT NULL,
    format            TEXT NOT NULL,
    prefixes          TEXT NOT NULL, -- JSON array
    priority          INTEGER NOT NULL,
    rates             TEXT NOT NULL, -- JSON: [Rate]
    codecs            TEXT NOT NULL, -- JSON array
    max_calls         INTEGER NOT NULL,
    max_in            INTEGER NOT NULL,
    max_out           INTEGER NOT NULL,
    emergency_reserve INTEGER NOT NULL,
    messages          INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX trunks_account ON trunks (account_id);

-- Who refers to a number or a trunk is checked by the program, which names them; '' is nobody.
CREATE TABLE numbers (
    id                 TEXT PRIMARY KEY,
    account_id         TEXT NOT NULL REFERENCES accounts (id),
    version            INTEGER NOT NULL,
    number             TEXT NOT NULL UNIQUE, -- in the whole store: a call to it can mean one account only
    label              TEXT NOT NULL,
    kind               TEXT NOT NULL,
    status             TEXT NOT NULL,
    trunk_id           TEXT NOT NULL,
    destination_type   TEXT NOT NULL,
    destination_id     TEXT NOT NULL,
    destination_number TEXT NOT NULL,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX numbers_account ON numbers (account_id);

ALTER TABLE accounts ADD COLUMN default_outbound_number_id TEXT NOT NULL DEFAULT '';
-- Countries that may be called, JSON array of ISO codes, "*" for all; the account's own country always.
ALTER TABLE accounts ADD COLUMN outbound_countries TEXT NOT NULL DEFAULT '[]';
ALTER TABLE users ADD COLUMN outbound_number_id TEXT NOT NULL DEFAULT '';
-- '' means as the account.
ALTER TABLE users ADD COLUMN outbound_countries TEXT NOT NULL DEFAULT '';
