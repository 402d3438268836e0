-- A replay belongs to the system: workers run it, and its row says what only the process knew that ran it.

ALTER TABLE replays
    ADD COLUMN handed_over_at timestamptz,
    ADD COLUMN resumes        uuid,
    ADD COLUMN report         json;
COMMENT ON COLUMN replays.handed_over_at IS 'When it was handed over to the workers; none where a program of before runs its replays itself.';
COMMENT ON COLUMN replays.resumes IS 'The stopped replay of dead letters that it goes on with.';
COMMENT ON COLUMN replays.report IS 'What it waits for, why it stopped by itself, which dead letters stay open, and which events of the history were skipped.';

-- What the workers have to run.
CREATE INDEX replays_running_idx ON replays (started_at) WHERE state = 'running';
