-- Only the newest generation of what died is open: sending an older one as well would make the delivery twice.

-- SQLite cannot change the check on a column, so the table is made anew. Its edits go with it and come back.
CREATE TABLE "NAMESPACE.dead_letters_before" AS SELECT * FROM "NAMESPACE.dead_letters";
CREATE TABLE "NAMESPACE.dead_letter_edits_before" AS SELECT * FROM "NAMESPACE.dead_letter_edits";
DROP TABLE "NAMESPACE.dead_letters";

-- Messages that a stage gave up on, whole, until somebody mends, replays or discards them.
CREATE TABLE "NAMESPACE.dead_letters" (
    -- Made from event, queue and generation, so that keeping one twice keeps one.
    dead_letter_id BLOB NOT NULL,
    -- The event, where the message was one.
    event_id BLOB,
    -- Its type, where known.
    type TEXT,
    -- Its source, where known.
    source TEXT,
    -- The queue it died in.
    queue TEXT NOT NULL,
    -- The stage that gave up: validate, store, integrate or archive.
    stage TEXT NOT NULL,
    -- The destination, in the integrate stage.
    destination TEXT,
    -- How often the event had been replayed when it died.
    generation INTEGER NOT NULL,
    -- The stable reason code: longshore explain CODE.
    reason TEXT NOT NULL,
    -- The chain of errors, outermost first.
    error TEXT NOT NULL,
    -- How many attempts failed.
    attempts INTEGER NOT NULL,
    -- When the first attempt failed.
    first_failed_at TEXT NOT NULL,
    -- When it was given up.
    last_failed_at TEXT NOT NULL,
    -- The routing key the message had.
    routing_key TEXT NOT NULL,
    -- Media type of the body.
    content_type TEXT,
    -- The other properties of the message: message_id, type, app_id, user_id, timestamp.
    properties TEXT NOT NULL
        CONSTRAINT dead_letters_properties_is_json CHECK (json_valid(properties)),
    -- The headers of the message; bytes are {"base64": …}.
    headers TEXT NOT NULL CONSTRAINT dead_letters_headers_is_json CHECK (json_valid(headers)),
    -- The body, byte for byte.
    body BLOB NOT NULL,
    -- open: nothing was done yet; replaying: a replay has claimed it; replayed: it was sent again; discarded:
    -- given up for good; superseded: a later generation died or was delivered, so there is nothing to do about
    -- this one.
    state TEXT NOT NULL DEFAULT 'open',
    -- The last replay that claimed it.
    replay_id BLOB,
    -- When it was sent again.
    replayed_at TEXT,
    -- When this row was written.
    archived_at TEXT NOT NULL,
    -- What the error has in common with others: without numbers, ids, quoted texts and addresses. Empty where a
    -- program of before there were fingerprints has kept it, until the next migration.
    fingerprint TEXT NOT NULL DEFAULT '',
    -- When it was discarded.
    discarded_at TEXT,
    -- Who discarded it.
    discarded_by TEXT,
    -- Why.
    discarded_why TEXT,
    -- When it was seen that it is superseded.
    superseded_at TEXT,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (dead_letter_id),
    CONSTRAINT dead_letters_replay_id_fkey FOREIGN KEY (replay_id) REFERENCES "NAMESPACE.replays" (replay_id),
    CONSTRAINT dead_letters_state_known
        CHECK (state IN ('open', 'replaying', 'replayed', 'discarded', 'superseded')),
    CONSTRAINT dead_letters_claim_has_replay
        CHECK ((state IN ('replaying', 'replayed')) <= (replay_id IS NOT NULL)),
    CONSTRAINT dead_letters_superseded_known CHECK ((state = 'superseded') <= (superseded_at IS NOT NULL)),
    CONSTRAINT dead_letters_generation_range CHECK (generation BETWEEN 0 AND 4294967295),
    CONSTRAINT dead_letters_attempts_range CHECK (attempts BETWEEN 0 AND 4294967295)
) STRICT;
INSERT INTO "NAMESPACE.dead_letters" (
    dead_letter_id, event_id, type, source, queue, stage, destination, generation, reason, error, attempts,
    first_failed_at, last_failed_at, routing_key, content_type, properties, headers, body, state, replay_id,
    replayed_at, archived_at, fingerprint, discarded_at, discarded_by, discarded_why)
SELECT dead_letter_id, event_id, type, source, queue, stage, destination, generation, reason, error, attempts,
    first_failed_at, last_failed_at, routing_key, content_type, properties, headers, body, state, replay_id,
    replayed_at, archived_at, fingerprint, discarded_at, discarded_by, discarded_why
FROM "NAMESPACE.dead_letters_before";
DELETE FROM "NAMESPACE.dead_letter_edits";
INSERT INTO "NAMESPACE.dead_letter_edits" (edit_id, dead_letter_id, edited_at, who, why, before)
SELECT edit_id, dead_letter_id, edited_at, who, why, before FROM "NAMESPACE.dead_letter_edits_before";
DROP TABLE "NAMESPACE.dead_letters_before";
DROP TABLE "NAMESPACE.dead_letter_edits_before";

-- Lists, newest first, page by page.
CREATE INDEX "NAMESPACE.dead_letters_newest_idx"
    ON "NAMESPACE.dead_letters" (last_failed_at DESC, dead_letter_id DESC);
-- Where an event stands.
CREATE INDEX "NAMESPACE.dead_letters_event_id_idx"
    ON "NAMESPACE.dead_letters" (event_id) WHERE event_id IS NOT NULL;
-- What is open in one queue, oldest first: what a replay claims.
CREATE INDEX "NAMESPACE.dead_letters_open_idx"
    ON "NAMESPACE.dead_letters" (queue, last_failed_at, dead_letter_id) WHERE state = 'open';
-- What is open, oldest first: what a replay claims that asks for no queue.
CREATE INDEX "NAMESPACE.dead_letters_oldest_idx"
    ON "NAMESPACE.dead_letters" (last_failed_at, dead_letter_id) WHERE state = 'open';
-- What has no fingerprint yet.
CREATE INDEX "NAMESPACE.dead_letters_unprinted_idx"
    ON "NAMESPACE.dead_letters" (dead_letter_id) WHERE fingerprint = '';
-- What a replay has sent, and what it left claimed when it was killed.
CREATE INDEX "NAMESPACE.dead_letters_replay_idx"
    ON "NAMESPACE.dead_letters" (replay_id, state, dead_letter_id) WHERE replay_id IS NOT NULL;
-- What may be removed once it is old enough.
CREATE INDEX "NAMESPACE.dead_letters_settled_idx"
    ON "NAMESPACE.dead_letters" (coalesce(discarded_at, replayed_at, superseded_at))
    WHERE state IN ('replayed', 'discarded', 'superseded');

-- What is there already.
UPDATE "NAMESPACE.dead_letters" AS letter
SET state = 'superseded', superseded_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
WHERE state = 'open' AND stage = 'integrate' AND destination IS NOT NULL AND (
    EXISTS (
        SELECT 1 FROM "NAMESPACE.dead_letters" AS newer
        WHERE newer.event_id = letter.event_id AND newer.destination = letter.destination
              AND newer.stage = 'integrate' AND newer.generation > letter.generation)
    OR EXISTS (
        SELECT 1 FROM "NAMESPACE.deliveries" AS delivery
        WHERE delivery.event_id = letter.event_id AND delivery.destination = letter.destination
              AND delivery.generation >= letter.generation AND delivery.status = 'delivered'));
