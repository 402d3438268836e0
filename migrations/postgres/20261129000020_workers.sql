-- Workers: the copies that deliver, and share what their destinations allow.

CREATE TABLE workers (
    worker_id    uuid        NOT NULL,
    program      text        NOT NULL,
    host         text        NOT NULL,
    version      text        NOT NULL,
    destinations json        NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    joined_at    timestamptz NOT NULL,
    seen_at      timestamptz NOT NULL,
    CONSTRAINT workers_pkey PRIMARY KEY (worker_id)
);
COMMENT ON TABLE workers IS 'Processes that deliver. They tell it while they have deliveries in hand.';
COMMENT ON COLUMN workers.worker_id IS 'The process: another one after each start.';
COMMENT ON COLUMN workers.program IS 'The program.';
COMMENT ON COLUMN workers.host IS 'The machine that it runs on, as it calls itself.';
COMMENT ON COLUMN workers.version IS 'Its version.';
COMMENT ON COLUMN workers.destinations IS 'The names of the destinations that it delivers to, a JSON list.';
COMMENT ON COLUMN workers.started_at IS 'When it delivered for the first time.';
COMMENT ON COLUMN workers.joined_at IS 'When it began to deliver, after a start or a time without deliveries.';
COMMENT ON COLUMN workers.seen_at IS 'When it was heard of last.';
