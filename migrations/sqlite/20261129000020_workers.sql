-- Workers: the copies that deliver, and share what their destinations allow.

-- Processes that deliver. They tell it while they have deliveries in hand.
CREATE TABLE "NAMESPACE.workers" (
    -- The process: another one after each start.
    worker_id BLOB NOT NULL,
    -- The program.
    program TEXT NOT NULL,
    -- The machine that it runs on, as it calls itself.
    host TEXT NOT NULL,
    -- Its version.
    version TEXT NOT NULL,
    -- The names of the destinations that it delivers to, a JSON list.
    destinations TEXT NOT NULL CONSTRAINT workers_destinations_is_json CHECK (json_valid(destinations)),
    -- When it delivered for the first time.
    started_at TEXT NOT NULL,
    -- When it began to deliver, after a start or a time without deliveries.
    joined_at TEXT NOT NULL,
    -- When it was heard of last.
    seen_at TEXT NOT NULL,
    CONSTRAINT workers_pkey PRIMARY KEY (worker_id)
) STRICT;
