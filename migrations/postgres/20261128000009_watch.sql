-- The standing watch: who keeps it, what it found, what it sent again.

CREATE TABLE leases (
    name       text        NOT NULL,
    holder     uuid        NOT NULL,
    taken_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    renewed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    position   bigint,
    CONSTRAINT leases_pkey PRIMARY KEY (name),
    CONSTRAINT leases_position_range CHECK (position >= 0)
);
COMMENT ON TABLE leases IS 'Duties that one program of all has at a time.';
COMMENT ON COLUMN leases.name IS 'The duty.';
COMMENT ON COLUMN leases.holder IS 'The process that has it.';
COMMENT ON COLUMN leases.taken_at IS 'When this process took it.';
COMMENT ON COLUMN leases.renewed_at IS 'When it last said that it goes on.';
COMMENT ON COLUMN leases.expires_at IS 'From then on another process may take it.';
COMMENT ON COLUMN leases.position IS 'How far the duty is done, for the next holder to go on from.';

CREATE TABLE watch_findings (
    finding  text        NOT NULL,
    subject  text        NOT NULL,
    number   bigint      NOT NULL,
    detail   text        NOT NULL,
    found_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT watch_findings_pkey PRIMARY KEY (finding, subject)
);
COMMENT ON TABLE watch_findings IS 'What is wrong at the moment, as the standing watch sees it.';
COMMENT ON COLUMN watch_findings.finding IS 'What is wrong, in one word.';
COMMENT ON COLUMN watch_findings.subject IS 'What it is about, such as a queue.';
COMMENT ON COLUMN watch_findings.number IS 'How many there are.';
COMMENT ON COLUMN watch_findings.detail IS 'For people.';
COMMENT ON COLUMN watch_findings.found_at IS 'Since when it is so.';

CREATE TABLE watch_repairs (
    subject     uuid        NOT NULL,
    -- Empty for an event that went to validation again.
    destination text        NOT NULL,
    generation  bigint      NOT NULL,
    sent        bigint      NOT NULL DEFAULT 1,
    first_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT watch_repairs_pkey PRIMARY KEY (subject, destination, generation),
    CONSTRAINT watch_repairs_generation_range CHECK (generation BETWEEN 0 AND 4294967295)
);
COMMENT ON TABLE watch_repairs IS 'What the standing watch sent again because it was in no queue and no table.';
COMMENT ON COLUMN watch_repairs.subject IS 'The event; for a message that is none, the dead letter it would become.';
COMMENT ON COLUMN watch_repairs.destination IS 'The destination it was due at; empty where it went to validation.';
COMMENT ON COLUMN watch_repairs.generation IS 'The generation of the delivery.';
COMMENT ON COLUMN watch_repairs.sent IS 'How often it was sent.';
COMMENT ON COLUMN watch_repairs.first_at IS 'When first.';
COMMENT ON COLUMN watch_repairs.last_at IS 'When last.';

-- Rows are written in the order of these moments, so that a block range index finds a window of them, and it
-- costs an insert next to nothing. No update changes the columns, so updates stay on their page.
CREATE INDEX events_stored_at_idx ON events USING brin (stored_at) WITH (autosummarize = on);
CREATE INDEX deliveries_due_at_idx ON deliveries USING brin (due_at) WITH (autosummarize = on);
