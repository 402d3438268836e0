-- What is due where, and what was tried.

-- No foreign key to events: others may publish to the stored exchange directly, and their events are
-- delivered as well.
CREATE TABLE deliveries (
    event_id         uuid        NOT NULL,
    destination      text        NOT NULL,
    generation       bigint      NOT NULL,
    status           text        NOT NULL DEFAULT 'due',
    attempts         bigint      NOT NULL DEFAULT 0,
    due_at           timestamptz NOT NULL DEFAULT now(),
    last_attempt_at  timestamptz,
    delivered_at     timestamptz,
    last_status_code integer,
    last_error       text,
    -- One successful delivery per event, destination and generation.
    CONSTRAINT deliveries_pkey PRIMARY KEY (event_id, destination, generation),
    CONSTRAINT deliveries_status_known CHECK (status IN ('due', 'delivered', 'dead', 'discarded')),
    CONSTRAINT deliveries_generation_range CHECK (generation BETWEEN 0 AND 4294967295),
    CONSTRAINT deliveries_attempts_range CHECK (attempts BETWEEN 0 AND 4294967295),
    CONSTRAINT deliveries_delivered_at_known CHECK ((status = 'delivered') <= (delivered_at IS NOT NULL))
)
-- Every row is updated soon after it was inserted: room on the page keeps that on the page and spares the
-- index, as long as no index holds a column that changes. So there is none on status or due_at.
WITH (fillfactor = 70);
COMMENT ON TABLE deliveries IS 'Which event is due at which destination, and how that stands.';
COMMENT ON COLUMN deliveries.event_id IS 'The event.';
COMMENT ON COLUMN deliveries.destination IS 'The configured outside system.';
COMMENT ON COLUMN deliveries.generation IS 'How often the event had been replayed: 0 the first time.';
COMMENT ON COLUMN deliveries.status IS 'due: has to be made; delivered: the receiver has it; dead: given up, there is a dead letter; discarded: an operator decided that it shall not be made.';
COMMENT ON COLUMN deliveries.attempts IS 'How many attempts there were.';
COMMENT ON COLUMN deliveries.due_at IS 'Since when it is due.';
COMMENT ON COLUMN deliveries.last_attempt_at IS 'When the last attempt began.';
COMMENT ON COLUMN deliveries.delivered_at IS 'When the receiver had it.';
COMMENT ON COLUMN deliveries.last_status_code IS 'The HTTP status of the last attempt, where there was an answer.';
COMMENT ON COLUMN deliveries.last_error IS 'What failed in the last attempt; none where it was delivered.';

CREATE TABLE delivery_attempts (
    event_id         uuid        NOT NULL,
    destination      text        NOT NULL,
    generation       bigint      NOT NULL,
    attempt          bigint      NOT NULL,
    started_at       timestamptz NOT NULL,
    duration_ms      bigint      NOT NULL,
    status_code      integer,
    error            text,
    response_excerpt text,
    -- A row is one request that was made. A redelivered attempt has the same number but another beginning, and
    -- is a second row; the same batch written again after an unknown commit is not. Also finds the attempts of
    -- one delivery.
    CONSTRAINT delivery_attempts_pkey PRIMARY KEY (event_id, destination, generation, attempt, started_at)
);
COMMENT ON TABLE delivery_attempts IS 'Every request that was made to a destination.';
COMMENT ON COLUMN delivery_attempts.event_id IS 'The event.';
COMMENT ON COLUMN delivery_attempts.destination IS 'The configured outside system.';
COMMENT ON COLUMN delivery_attempts.generation IS 'The generation of the delivery.';
COMMENT ON COLUMN delivery_attempts.attempt IS 'Which attempt; 1 is the first.';
COMMENT ON COLUMN delivery_attempts.started_at IS 'When it began.';
COMMENT ON COLUMN delivery_attempts.duration_ms IS 'How long it took, in milliseconds.';
COMMENT ON COLUMN delivery_attempts.status_code IS 'The HTTP status, where there was an answer.';
COMMENT ON COLUMN delivery_attempts.error IS 'What failed; none where it was delivered.';
COMMENT ON COLUMN delivery_attempts.response_excerpt IS 'The beginning of the answer.';
