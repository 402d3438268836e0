-- What is due where, and what was tried.

-- Which event is due at which destination, and how that stands. No foreign key to events: others may publish to
-- the stored exchange directly, and their events are delivered as well.
CREATE TABLE "NAMESPACE.deliveries" (
    -- The event.
    event_id BLOB NOT NULL,
    -- The configured outside system.
    destination TEXT NOT NULL,
    -- How often the event had been replayed: 0 the first time.
    generation INTEGER NOT NULL,
    -- due: has to be made; delivered: the receiver has it; dead: given up, there is a dead letter; discarded: an
    -- operator decided that it shall not be made.
    status TEXT NOT NULL DEFAULT 'due',
    -- How many attempts there were.
    attempts INTEGER NOT NULL DEFAULT 0,
    -- Since when it is due.
    due_at TEXT NOT NULL,
    -- When the last attempt began.
    last_attempt_at TEXT,
    -- When the receiver had it.
    delivered_at TEXT,
    -- The HTTP status of the last attempt, where there was an answer.
    last_status_code INTEGER,
    -- What failed in the last attempt; none where it was delivered.
    last_error TEXT,
    -- One successful delivery per event, destination and generation.
    CONSTRAINT deliveries_pkey PRIMARY KEY (event_id, destination, generation),
    CONSTRAINT deliveries_status_known CHECK (status IN ('due', 'delivered', 'dead', 'discarded')),
    CONSTRAINT deliveries_generation_range CHECK (generation BETWEEN 0 AND 4294967295),
    CONSTRAINT deliveries_attempts_range CHECK (attempts BETWEEN 0 AND 4294967295),
    CONSTRAINT deliveries_delivered_at_known CHECK ((status = 'delivered') <= (delivered_at IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- Every request that was made to a destination.
CREATE TABLE "NAMESPACE.delivery_attempts" (
    -- The event.
    event_id BLOB NOT NULL,
    -- The configured outside system.
    destination TEXT NOT NULL,
    -- The generation of the delivery.
    generation INTEGER NOT NULL,
    -- Which attempt; 1 is the first.
    attempt INTEGER NOT NULL,
    -- When it began.
    started_at TEXT NOT NULL,
    -- How long it took, in milliseconds.
    duration_ms INTEGER NOT NULL,
    -- The HTTP status, where there was an answer.
    status_code INTEGER,
    -- What failed; none where it was delivered.
    error TEXT,
    -- The beginning of the answer.
    response_excerpt TEXT,
    -- A row is one request that was made. A redelivered attempt has the same number but another beginning, and
    -- is a second row; the same batch written again after an unknown commit is not. Also finds the attempts of
    -- one delivery.
    CONSTRAINT delivery_attempts_pkey PRIMARY KEY (event_id, destination, generation, attempt, started_at)
) STRICT, WITHOUT ROWID;
