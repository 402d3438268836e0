-- Keys: what callers show at the door.

CREATE TABLE keys (
    key_id       text        NOT NULL,
    name         text        NOT NULL,
    hash         bytea       NOT NULL,
    scopes       json        NOT NULL,
    rate         text,
    burst        bigint,
    networks     json        NOT NULL DEFAULT '[]',
    expires_at   timestamptz,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by   text        NOT NULL,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    revoked_by   text,
    revoked_why  text,
    revision     bigint      NOT NULL,
    CONSTRAINT keys_pkey PRIMARY KEY (key_id),
    CONSTRAINT keys_hash_key UNIQUE (hash),
    CONSTRAINT keys_key_id_form CHECK (key_id ~ '^[0-9A-Za-z]{8}$'),
    CONSTRAINT keys_name_form CHECK (name ~ '^[a-z0-9._-]{1,64}$' AND name <> 'anonymous'),
    CONSTRAINT keys_hash_length CHECK (octet_length(hash) = 32),
    CONSTRAINT keys_burst_range CHECK (burst BETWEEN 1 AND 4294967295),
    CONSTRAINT keys_revoked_known
        CHECK ((revoked_at IS NOT NULL) = (revoked_by IS NOT NULL AND revoked_why IS NOT NULL))
);
COMMENT ON TABLE keys IS 'What callers show at the door. Revoked keys stay.';
COMMENT ON COLUMN keys.key_id IS 'The public part of the key: the 8 characters behind lsk_.';
COMMENT ON COLUMN keys.name IS 'The caller. Event ids are made of it, so all keys of one caller have one name.';
COMMENT ON COLUMN keys.hash IS 'SHA-256 of the whole key, which is kept nowhere.';
COMMENT ON COLUMN keys.scopes IS 'What it opens, such as ["events:write:signup.*"].';
COMMENT ON COLUMN keys.rate IS 'The rate of events it may send, such as 100/s.';
COMMENT ON COLUMN keys.burst IS 'How many events it may send at once; as many as rate counts where none is given.';
COMMENT ON COLUMN keys.networks IS 'The networks it may be used from; any if there are none.';
COMMENT ON COLUMN keys.expires_at IS 'When it ends by itself.';
COMMENT ON COLUMN keys.created_at IS 'When it was made.';
COMMENT ON COLUMN keys.created_by IS 'Who made it.';
COMMENT ON COLUMN keys.last_used_at IS 'When it was used last, to the minute.';
COMMENT ON COLUMN keys.revoked_at IS 'When an operator ended it.';
COMMENT ON COLUMN keys.revoked_by IS 'Who ended it.';
COMMENT ON COLUMN keys.revoked_why IS 'Why it was ended.';
COMMENT ON COLUMN keys.revision IS 'The revision of its last change. Doors read the keys with a higher revision than they know.';

-- What has changed since a door looked.
CREATE UNIQUE INDEX keys_revision_idx ON keys (revision);
-- Lists, newest first, page by page.
CREATE INDEX keys_newest_idx ON keys (created_at, key_id);

CREATE TABLE key_revision (
    is_only  boolean NOT NULL DEFAULT true,
    revision bigint  NOT NULL,
    CONSTRAINT key_revision_pkey PRIMARY KEY (is_only),
    CONSTRAINT key_revision_is_one_row CHECK (is_only)
);
COMMENT ON TABLE key_revision IS 'The revision of the last change of a key. Its one row is locked by each change, so revisions appear in their order.';
COMMENT ON COLUMN key_revision.is_only IS 'Always true: there is one row.';
COMMENT ON COLUMN key_revision.revision IS 'The revision.';
INSERT INTO key_revision (revision) VALUES (0);
