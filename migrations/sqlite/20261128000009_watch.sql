-- The standing watch: who keeps it, what it found, what it sent again.

-- Duties that one program of all has at a time.
CREATE TABLE "NAMESPACE.leases" (
    -- The duty.
    name TEXT NOT NULL,
    -- The process that has it.
    holder BLOB NOT NULL,
    -- When this process took it.
    taken_at TEXT NOT NULL,
    -- When it last said that it goes on.
    renewed_at TEXT NOT NULL,
    -- From then on another process may take it.
    expires_at TEXT NOT NULL,
    -- How far the duty is done, for the next holder to go on from.
    position INTEGER,
    CONSTRAINT leases_pkey PRIMARY KEY (name),
    CONSTRAINT leases_position_range CHECK (position >= 0)
) STRICT;

-- What is wrong at the moment, as the standing watch sees it.
CREATE TABLE "NAMESPACE.watch_findings" (
    -- What is wrong, in one word.
    finding TEXT NOT NULL,
    -- What it is about, such as a queue.
    subject TEXT NOT NULL,
    -- How many there are.
    number INTEGER NOT NULL,
    -- For people.
    detail TEXT NOT NULL,
    -- Since when it is so.
    found_at TEXT NOT NULL,
    CONSTRAINT watch_findings_pkey PRIMARY KEY (finding, subject)
) STRICT;

-- What the standing watch sent again because it was in no queue and no table.
CREATE TABLE "NAMESPACE.watch_repairs" (
    -- The event; for a message that is none, the dead letter it would become.
    subject BLOB NOT NULL,
    -- The destination it was due at; empty where it went to validation.
    destination TEXT NOT NULL,
    -- The generation of the delivery.
    generation INTEGER NOT NULL,
    -- How often it was sent.
    sent INTEGER NOT NULL DEFAULT 1,
    -- When first.
    first_at TEXT NOT NULL,
    -- When last.
    last_at TEXT NOT NULL,
    CONSTRAINT watch_repairs_pkey PRIMARY KEY (subject, destination, generation),
    CONSTRAINT watch_repairs_generation_range CHECK (generation BETWEEN 0 AND 4294967295)
) STRICT;

-- What is due, the oldest first.
CREATE INDEX "NAMESPACE.deliveries_due_idx" ON "NAMESPACE.deliveries" (due_at) WHERE status = 'due';
