-- The audit record: who did what to what, when and why. Each entry holds a hash over itself and the entry before it.

-- The acts of operators, allowed and denied. An entry is written in the transaction of its act, and never changed.
CREATE TABLE "NAMESPACE.audit" (
    -- Its number: 1 is the first, and there are no gaps.
    seq INTEGER NOT NULL,
    -- When the act was done.
    at TEXT NOT NULL,
    -- Who did it, such as cli:ada for a user of the operating system.
    who TEXT NOT NULL,
    -- The role of the operator.
    role TEXT,
    -- Where the act came from: a host for the command line, an address for HTTP.
    origin TEXT NOT NULL,
    -- What was done, as a stable word such as dead.discard.
    action TEXT NOT NULL,
    -- What it was done to.
    target TEXT NOT NULL,
    -- Whether the act was allowed or denied. A denied act has changed nothing.
    outcome TEXT NOT NULL,
    -- The facts that the act has changed, as they were before, secrets masked.
    before TEXT,
    -- The same facts after the act.
    after TEXT,
    -- The reason, as the operator gave it.
    why TEXT,
    -- The request that the act was a part of.
    request_id TEXT,
    -- The hash of the entry before; 32 zero bytes in the first entry.
    previous_hash BLOB NOT NULL,
    -- SHA-256 over the previous hash and every other column, as docs/audit.md describes.
    hash BLOB NOT NULL,
    CONSTRAINT audit_pkey PRIMARY KEY (seq),
    CONSTRAINT audit_seq_range CHECK (seq >= 1),
    CONSTRAINT audit_role_known CHECK (role IN ('viewer', 'operator', 'admin')),
    CONSTRAINT audit_outcome_known CHECK (outcome IN ('allowed', 'denied')),
    CONSTRAINT audit_before_is_json CHECK (json_valid(before)),
    CONSTRAINT audit_after_is_json CHECK (json_valid(after)),
    CONSTRAINT audit_previous_hash_length CHECK (length(previous_hash) = 32),
    CONSTRAINT audit_hash_length CHECK (length(hash) = 32)
) STRICT;

-- The end of the audit record, one row. One process writes at a time, so entries have one order.
CREATE TABLE "NAMESPACE.audit_head" (
    -- Always 1.
    id INTEGER NOT NULL DEFAULT 1,
    -- The number of the newest entry; 0 before the first.
    seq INTEGER NOT NULL,
    -- The hash of the newest entry.
    hash BLOB NOT NULL,
    CONSTRAINT audit_head_pkey PRIMARY KEY (id),
    CONSTRAINT audit_head_is_one_row CHECK (id = 1),
    CONSTRAINT audit_head_seq_range CHECK (seq >= 0),
    CONSTRAINT audit_head_hash_length CHECK (length(hash) = 32)
) STRICT;

INSERT INTO "NAMESPACE.audit_head" (seq, hash) VALUES (0, zeroblob(32));
