-- How the sound to a carrier is protected; devices have had their word on it from the beginning.

-- +goose Up

ALTER TABLE trunks ADD COLUMN srtp TEXT NOT NULL DEFAULT 'off';
