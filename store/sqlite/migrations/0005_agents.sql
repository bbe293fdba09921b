-- What phones say of themselves when they register, and whether a carrier's check of callers is believed.

-- +goose Up

-- In thousandths (RFC 3261 §20.10).
ALTER TABLE bindings ADD COLUMN q INTEGER NOT NULL DEFAULT 1000;
-- Feature parameters of the Contact, as they came (RFC 3840).
ALTER TABLE bindings ADD COLUMN features TEXT NOT NULL DEFAULT '';

-- Whether verstat of its callers is believed (RFC 8588).
ALTER TABLE trunks ADD COLUMN trust_verstat INTEGER NOT NULL DEFAULT 0;
