-- How calls sounded.

-- +goose Up

ALTER TABLE call_records ADD COLUMN quality TEXT NOT NULL DEFAULT 'null';
