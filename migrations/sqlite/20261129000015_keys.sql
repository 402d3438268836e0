-- Keys: what callers show at the door.

-- What callers show at the door. Revoked keys stay.
CREATE TABLE "NAMESPACE.keys" (
    -- The public part of the key: the 8 characters behind lsk_.
    key_id TEXT NOT NULL CONSTRAINT keys_key_id_form CHECK (length(key_id) = 8 AND key_id NOT GLOB '*[^0-9A-Za-z]*'),
    -- The caller. Event ids are made of it, so all keys of one caller have one name.
    name TEXT NOT NULL CONSTRAINT keys_name_form
        CHECK (length(name) BETWEEN 1 AND 64 AND name NOT GLOB '*[^a-z0-9._-]*' AND name <> 'anonymous'),
    -- SHA-256 of the whole key, which is kept nowhere.
    hash BLOB NOT NULL CONSTRAINT keys_hash_length CHECK (length(hash) = 32),
    -- What it opens, such as ["events:write:signup.*"].
    scopes TEXT NOT NULL CONSTRAINT keys_scopes_is_json CHECK (json_valid(scopes)),
    -- The rate of events it may send, such as 100/s.
    rate TEXT,
    -- How many events it may send at once; as many as rate counts where none is given.
    burst INTEGER CONSTRAINT keys_burst_range CHECK (burst BETWEEN 1 AND 4294967295),
    -- The networks it may be used from; any if there are none.
    networks TEXT NOT NULL DEFAULT '[]' CONSTRAINT keys_networks_is_json CHECK (json_valid(networks)),
    -- When it ends by itself.
    expires_at TEXT,
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL,
    -- When it was used last, to the minute.
    last_used_at TEXT,
    -- When an operator ended it.
    revoked_at TEXT,
    revoked_by TEXT,
    revoked_why TEXT,
    -- The revision of its last change. Doors read the keys with a higher revision than they know.
    revision INTEGER NOT NULL,
    CONSTRAINT keys_pkey PRIMARY KEY (key_id),
    CONSTRAINT keys_hash_key UNIQUE (hash),
    CONSTRAINT keys_revoked_known
        CHECK ((revoked_at IS NOT NULL) = (revoked_by IS NOT NULL AND revoked_why IS NOT NULL))
) STRICT;

-- What has changed since a door looked.
CREATE UNIQUE INDEX "NAMESPACE.keys_revision_idx" ON "NAMESPACE.keys" (revision);
-- Lists, newest first, page by page.
CREATE INDEX "NAMESPACE.keys_newest_idx" ON "NAMESPACE.keys" (created_at, key_id);

-- The revision of the last change of a key.
CREATE TABLE "NAMESPACE.key_revision" (
    is_only INTEGER NOT NULL DEFAULT 1 CONSTRAINT key_revision_is_one_row CHECK (is_only = 1),
    revision INTEGER NOT NULL,
    CONSTRAINT key_revision_pkey PRIMARY KEY (is_only)
) STRICT;
INSERT INTO "NAMESPACE.key_revision" (revision) VALUES (0);
