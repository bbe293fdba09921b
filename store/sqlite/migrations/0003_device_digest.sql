-- How a phone may prove that it knows its password.

-- +goose Up

ALTER TABLE devices ADD COLUMN digest TEXT NOT NULL DEFAULT 'any';
