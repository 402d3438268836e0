-- A replay belongs to the system: workers run it, and its row says what only the process knew that ran it.

-- When it was handed over to the workers; none where a program of before runs its replays itself.
ALTER TABLE "NAMESPACE.replays" ADD COLUMN handed_over_at TEXT;
-- The stopped replay of dead letters that it goes on with.
ALTER TABLE "NAMESPACE.replays" ADD COLUMN resumes BLOB;
-- What it waits for, why it stopped by itself, which dead letters stay open, and which events of the history were
-- skipped.
ALTER TABLE "NAMESPACE.replays" ADD COLUMN report TEXT
    CONSTRAINT replays_report_is_json CHECK (json_valid(report));

-- What the workers have to run.
CREATE INDEX "NAMESPACE.replays_running_idx" ON "NAMESPACE.replays" (started_at) WHERE state = 'running';
