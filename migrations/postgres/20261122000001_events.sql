-- Events and the rows of their types' own tables. Everything here lies in the schema that is named after
-- the namespace: the connection's search_path says which, so no name is qualified.

CREATE TABLE events (
    event_id    uuid        NOT NULL,
    type        text        NOT NULL,
    source      text        NOT NULL,
    source_id   text        NOT NULL,
    publisher   text        NOT NULL,
    subject     text,
    time        timestamptz,
    received_at timestamptz NOT NULL,
    accepted_at timestamptz NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    fingerprint bytea       NOT NULL,
    -- json and not jsonb: it keeps every byte of the canonical event, and it takes the escape \u0000.
    body        json        NOT NULL,
    -- The key that makes storing twice change nothing. It is the only index: each one more would be paid for
    -- by every event.
    CONSTRAINT events_pkey PRIMARY KEY (event_id),
    CONSTRAINT events_fingerprint_is_sha256 CHECK (octet_length(fingerprint) = 32)
);
COMMENT ON TABLE events IS 'Every stored event, as it was accepted.';
COMMENT ON COLUMN events.event_id IS 'Our key: the id of the API, the message_id on the broker.';
COMMENT ON COLUMN events.type IS 'What it is, such as signup.requested.';
COMMENT ON COLUMN events.source IS 'The CloudEvents source, as its publisher gave it.';
COMMENT ON COLUMN events.source_id IS 'The CloudEvents id, as its publisher gave it.';
COMMENT ON COLUMN events.publisher IS 'Who published it, as far as can be vouched for.';
COMMENT ON COLUMN events.subject IS 'The CloudEvents subject, where there is one.';
COMMENT ON COLUMN events.time IS 'When it happened, where its publisher said so.';
COMMENT ON COLUMN events.received_at IS 'When it came through a door.';
COMMENT ON COLUMN events.accepted_at IS 'When the validate stage accepted it.';
COMMENT ON COLUMN events.stored_at IS 'When this row was written.';
COMMENT ON COLUMN events.fingerprint IS 'SHA-256 of what the publisher said; tells another content under the same id apart.';
COMMENT ON COLUMN events.body IS 'The canonical event: one structured CloudEvent, byte for byte.';

CREATE TABLE signups (
    event_id         uuid NOT NULL,
    email            text NOT NULL,
    email_normalised text NOT NULL,
    name             text NOT NULL,
    plan             text,
    locale           text,
    password_hash    text,
    attributes       json,
    CONSTRAINT signups_pkey PRIMARY KEY (event_id),
    -- One signup an address. Decides between two events that ask for the same one at the same moment.
    CONSTRAINT signups_email_normalised_key UNIQUE (email_normalised),
    CONSTRAINT signups_event_id_fkey FOREIGN KEY (event_id) REFERENCES events (event_id) ON DELETE CASCADE
);
COMMENT ON TABLE signups IS 'What signup.requested events ask for.';
COMMENT ON COLUMN signups.event_id IS 'The event.';
COMMENT ON COLUMN signups.email IS 'The address as given.';
COMMENT ON COLUMN signups.email_normalised IS 'The address in the form for comparing.';
COMMENT ON COLUMN signups.name IS 'What the person is called.';
COMMENT ON COLUMN signups.plan IS 'The plan asked for.';
COMMENT ON COLUMN signups.locale IS 'A BCP 47 language tag.';
COMMENT ON COLUMN signups.password_hash IS 'An argon2id hash in PHC format; the password itself is never here.';
COMMENT ON COLUMN signups.attributes IS 'Anything else, a JSON object.';

CREATE TABLE processing (
    event_id uuid NOT NULL,
    task     text NOT NULL,
    payload  json NOT NULL,
    CONSTRAINT processing_pkey PRIMARY KEY (event_id),
    CONSTRAINT processing_event_id_fkey FOREIGN KEY (event_id) REFERENCES events (event_id) ON DELETE CASCADE
);
COMMENT ON TABLE processing IS 'What processing.requested events ask for.';
COMMENT ON COLUMN processing.event_id IS 'The event.';
COMMENT ON COLUMN processing.task IS 'Which work.';
COMMENT ON COLUMN processing.payload IS 'What the work needs to know, a JSON object.';
