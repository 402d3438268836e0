-- The audit record: who did what to what, when and why. Each entry holds a hash over itself and the entry before it.

CREATE TABLE audit (
    seq           bigint      NOT NULL,
    at            timestamptz NOT NULL,
    who           text        NOT NULL,
    role          text,
    origin        text        NOT NULL,
    action        text        NOT NULL,
    target        text        NOT NULL,
    outcome       text        NOT NULL,
    -- Type json keeps the text as it came, so that its hash can be computed again.
    before        json,
    after         json,
    why           text,
    request_id    text,
    previous_hash bytea       NOT NULL,
    hash          bytea       NOT NULL,
    CONSTRAINT audit_pkey PRIMARY KEY (seq),
    CONSTRAINT audit_seq_range CHECK (seq >= 1),
    CONSTRAINT audit_role_known CHECK (role IN ('viewer', 'operator', 'admin')),
    CONSTRAINT audit_outcome_known CHECK (outcome IN ('allowed', 'denied')),
    CONSTRAINT audit_previous_hash_length CHECK (length(previous_hash) = 32),
    CONSTRAINT audit_hash_length CHECK (length(hash) = 32)
);
COMMENT ON TABLE audit IS 'The acts of operators, allowed and denied. An entry is written in the transaction of its act, and never changed.';
COMMENT ON COLUMN audit.seq IS 'Its number: 1 is the first, and there are no gaps.';
COMMENT ON COLUMN audit.at IS 'When the act was done.';
COMMENT ON COLUMN audit.who IS 'Who did it, such as cli:ada for a user of the operating system.';
COMMENT ON COLUMN audit.role IS 'The role of the operator.';
COMMENT ON COLUMN audit.origin IS 'Where the act came from: a host for the command line, an address for HTTP.';
COMMENT ON COLUMN audit.action IS 'What was done, as a stable word such as dead.discard.';
COMMENT ON COLUMN audit.target IS 'What it was done to.';
COMMENT ON COLUMN audit.outcome IS 'Whether the act was allowed or denied. A denied act has changed nothing.';
COMMENT ON COLUMN audit.before IS 'The facts that the act has changed, as they were before, secrets masked.';
COMMENT ON COLUMN audit.after IS 'The same facts after the act.';
COMMENT ON COLUMN audit.why IS 'The reason, as the operator gave it.';
COMMENT ON COLUMN audit.request_id IS 'The request that the act was a part of.';
COMMENT ON COLUMN audit.previous_hash IS 'The hash of the entry before; 32 zero bytes in the first entry.';
COMMENT ON COLUMN audit.hash IS 'SHA-256 over the previous hash and every other column, as docs/audit.md describes.';

CREATE TABLE audit_head (
    id   smallint NOT NULL DEFAULT 1,
    seq  bigint   NOT NULL,
    hash bytea    NOT NULL,
    CONSTRAINT audit_head_pkey PRIMARY KEY (id),
    CONSTRAINT audit_head_is_one_row CHECK (id = 1),
    CONSTRAINT audit_head_seq_range CHECK (seq >= 0),
    CONSTRAINT audit_head_hash_length CHECK (length(hash) = 32)
);
COMMENT ON TABLE audit_head IS 'The end of the audit record, one row. Whoever appends an entry locks it, so that entries have one order.';
COMMENT ON COLUMN audit_head.id IS 'Always 1.';
COMMENT ON COLUMN audit_head.seq IS 'The number of the newest entry; 0 before the first.';
COMMENT ON COLUMN audit_head.hash IS 'The hash of the newest entry.';

INSERT INTO audit_head (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));
