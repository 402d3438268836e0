-- Operators: people who look and mend, each with a role and a key.

-- People who look and mend. A revoked operator stays, because the audit record names it.
CREATE TABLE "NAMESPACE.operators" (
    -- The id, which is also the public part of the key.
    operator_id TEXT NOT NULL,
    -- The name, which the audit record holds. One operator at a time has it.
    name TEXT NOT NULL,
    -- What the operator may do: viewer, operator or admin.
    role TEXT NOT NULL,
    -- SHA-256 of the key. The key itself is kept nowhere.
    key_hash BLOB NOT NULL,
    -- When the operator was made.
    created_at TEXT NOT NULL,
    -- When the key was revoked.
    revoked_at TEXT,
    -- When the key was last used, to the minute.
    last_used_at TEXT,
    CONSTRAINT operators_pkey PRIMARY KEY (operator_id),
    CONSTRAINT operators_key_hash_key UNIQUE (key_hash),
    CONSTRAINT operators_role_known CHECK (role IN ('viewer', 'operator', 'admin')),
    CONSTRAINT operators_key_hash_length CHECK (length(key_hash) = 32)
) STRICT;

CREATE UNIQUE INDEX "NAMESPACE.operators_name_idx" ON "NAMESPACE.operators" (name) WHERE revoked_at IS NULL;
