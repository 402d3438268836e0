-- Operators: people who look and mend, each with a role and a key.

CREATE TABLE operators (
    operator_id  text        NOT NULL,
    name         text        NOT NULL,
    role         text        NOT NULL,
    key_hash     bytea       NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at   timestamptz,
    last_used_at timestamptz,
    CONSTRAINT operators_pkey PRIMARY KEY (operator_id),
    CONSTRAINT operators_key_hash_key UNIQUE (key_hash),
    CONSTRAINT operators_role_known CHECK (role IN ('viewer', 'operator', 'admin')),
    CONSTRAINT operators_key_hash_length CHECK (length(key_hash) = 32)
);
COMMENT ON TABLE operators IS 'People who look and mend. A revoked operator stays, because the audit record names it.';
COMMENT ON COLUMN operators.operator_id IS 'The id, which is also the public part of the key.';
COMMENT ON COLUMN operators.name IS 'The name, which the audit record holds. One operator at a time has it.';
COMMENT ON COLUMN operators.role IS 'What the operator may do: viewer, operator or admin.';
COMMENT ON COLUMN operators.key_hash IS 'SHA-256 of the key. The key itself is kept nowhere.';
COMMENT ON COLUMN operators.created_at IS 'When the operator was made.';
COMMENT ON COLUMN operators.revoked_at IS 'When the key was revoked.';
COMMENT ON COLUMN operators.last_used_at IS 'When the key was last used, to the minute.';

CREATE UNIQUE INDEX operators_name_idx ON operators (name) WHERE revoked_at IS NULL;
