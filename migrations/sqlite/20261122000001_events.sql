-- Events and the rows of their types' own tables. What stands before the dot is replaced by the namespace, so
-- that several live in one file. To read with the sqlite3 program: ids are the 16 bytes of a UUID
-- (lower(hex(event_id))), moments are text in UTC with microseconds, which sorts as it should.

-- Every stored event, as it was accepted.
CREATE TABLE "NAMESPACE.events" (
    -- Our key: the id of the API, the message_id on the broker.
    event_id BLOB NOT NULL,
    -- What it is, such as signup.requested.
    type TEXT NOT NULL,
    -- The CloudEvents source, as its publisher gave it.
    source TEXT NOT NULL,
    -- The CloudEvents id, as its publisher gave it.
    source_id TEXT NOT NULL,
    -- Who published it, as far as can be vouched for.
    publisher TEXT NOT NULL,
    -- The CloudEvents subject, where there is one.
    subject TEXT,
    -- When it happened, where its publisher said so.
    time TEXT,
    -- When it came through a door.
    received_at TEXT NOT NULL,
    -- When the validate stage accepted it.
    accepted_at TEXT NOT NULL,
    -- When this row was written.
    stored_at TEXT NOT NULL,
    -- SHA-256 of what the publisher said; tells another content under the same id apart.
    fingerprint BLOB NOT NULL,
    -- The canonical event: one structured CloudEvent, byte for byte.
    body TEXT NOT NULL CONSTRAINT events_body_is_json CHECK (json_valid(body)),
    -- The key that makes storing twice change nothing. It is the only index: each one more would be paid for
    -- by every event.
    CONSTRAINT events_pkey PRIMARY KEY (event_id),
    CONSTRAINT events_fingerprint_is_sha256 CHECK (length(fingerprint) = 32)
) STRICT;

-- What signup.requested events ask for.
CREATE TABLE "NAMESPACE.signups" (
    -- The event.
    event_id BLOB NOT NULL,
    -- The address as given.
    email TEXT NOT NULL,
    -- The address in the form for comparing.
    email_normalised TEXT NOT NULL,
    -- What the person is called.
    name TEXT NOT NULL,
    -- The plan asked for.
    plan TEXT,
    -- A BCP 47 language tag.
    locale TEXT,
    -- An argon2id hash in PHC format; the password itself is never here.
    password_hash TEXT,
    -- Anything else, a JSON object.
    attributes TEXT CONSTRAINT signups_attributes_is_json CHECK (json_valid(attributes)),
    CONSTRAINT signups_pkey PRIMARY KEY (event_id),
    -- One signup an address. Decides between two events that ask for the same one at the same moment.
    CONSTRAINT signups_email_normalised_key UNIQUE (email_normalised),
    CONSTRAINT signups_event_id_fkey FOREIGN KEY (event_id)
        REFERENCES "NAMESPACE.events" (event_id) ON DELETE CASCADE
) STRICT;

-- What processing.requested events ask for.
CREATE TABLE "NAMESPACE.processing" (
    -- The event.
    event_id BLOB NOT NULL,
    -- Which work.
    task TEXT NOT NULL,
    -- What the work needs to know, a JSON object.
    payload TEXT NOT NULL CONSTRAINT processing_payload_is_json CHECK (json_valid(payload)),
    CONSTRAINT processing_pkey PRIMARY KEY (event_id),
    CONSTRAINT processing_event_id_fkey FOREIGN KEY (event_id)
        REFERENCES "NAMESPACE.events" (event_id) ON DELETE CASCADE
) STRICT;
