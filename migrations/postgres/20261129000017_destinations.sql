-- Destinations: what operators, or receivers that are gone, have paused.

CREATE TABLE destinations (
    name       text NOT NULL,
    paused_at  timestamptz,
    paused_by  text,
    paused_why text,
    CONSTRAINT destinations_pkey PRIMARY KEY (name),
    CONSTRAINT destinations_paused_known
        CHECK ((paused_at IS NOT NULL) = (paused_by IS NOT NULL AND paused_why IS NOT NULL))
);
COMMENT ON TABLE destinations IS 'Destinations that are or were paused. The configuration says which destinations there are.';
COMMENT ON COLUMN destinations.name IS 'The name in the configuration.';
COMMENT ON COLUMN destinations.paused_at IS 'When it was paused; none while deliveries are made.';
COMMENT ON COLUMN destinations.paused_by IS 'Who paused it: an operator, or longshore-integrate after an answer of 410.';
COMMENT ON COLUMN destinations.paused_why IS 'Why it was paused.';

-- A destination may be a mail server.
COMMENT ON COLUMN deliveries.last_status_code IS 'The status of the last attempt, by HTTP or SMTP, where there was an answer.';
COMMENT ON COLUMN delivery_attempts.status_code IS 'The status, by HTTP or SMTP, where there was an answer.';
