-- Mending and discarding dead letters, and replays in full.

-- SQLite cannot change the check on a column, so the table is made anew. Letters that refer to a replay do so to
-- the one of the same id in the new table, once all of this is done.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE "NAMESPACE.replays_before" AS SELECT * FROM "NAMESPACE.replays";
DROP TABLE "NAMESPACE.replays";

-- Every replay of dead letters or of the history, so that one that was killed can be resumed.
CREATE TABLE "NAMESPACE.replays" (
    -- Its id.
    replay_id BLOB NOT NULL,
    -- Which dead letters it sends.
    filter TEXT NOT NULL CONSTRAINT replays_filter_is_json CHECK (json_valid(filter)),
    -- Where it sends them; each to the queue it died in where none is given.
    to_queue TEXT,
    -- Who began it.
    who TEXT NOT NULL,
    -- Why, where somebody said so.
    why TEXT,
    -- running: under way, or killed on the way; paused: told to wait; done: all was sent; stopped: ended before
    -- that.
    state TEXT NOT NULL DEFAULT 'running',
    -- At most so many a second; as fast as the broker takes them where none is given.
    rate INTEGER,
    -- It stops by itself when more than so many of a hundred die again.
    stop_when INTEGER,
    -- Which part of the history it sends; none for a replay of dead letters.
    slice TEXT CONSTRAINT replays_slice_is_json CHECK (json_valid(slice)),
    -- How far it has come in the history.
    position INTEGER,
    -- How many dead letters, or events of the history, it has sent.
    replayed INTEGER NOT NULL DEFAULT 0,
    -- When it began; only dead letters archived before are its own.
    started_at TEXT NOT NULL,
    -- When it ended.
    ended_at TEXT,
    CONSTRAINT replays_pkey PRIMARY KEY (replay_id),
    CONSTRAINT replays_state_known CHECK (state IN ('running', 'paused', 'done', 'stopped')),
    CONSTRAINT replays_replayed_range CHECK (replayed >= 0),
    CONSTRAINT replays_rate_range CHECK (rate BETWEEN 1 AND 4294967295),
    CONSTRAINT replays_stop_when_range CHECK (stop_when BETWEEN 0 AND 100),
    CONSTRAINT replays_position_range CHECK (position >= 0)
) STRICT;
INSERT INTO "NAMESPACE.replays" (replay_id, filter, to_queue, who, why, state, replayed, started_at, ended_at)
SELECT replay_id, filter, to_queue, who, why, state, replayed, started_at, ended_at FROM "NAMESPACE.replays_before";
DROP TABLE "NAMESPACE.replays_before";

-- Lists, newest first, page by page.
CREATE INDEX "NAMESPACE.replays_newest_idx" ON "NAMESPACE.replays" (started_at, replay_id);

-- What the error has in common with others: without numbers, ids, quoted texts and addresses. Empty where a program
-- of before there were fingerprints has kept it, until the next migration.
ALTER TABLE "NAMESPACE.dead_letters" ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
-- When it was discarded.
ALTER TABLE "NAMESPACE.dead_letters" ADD COLUMN discarded_at TEXT;
-- Who discarded it.
ALTER TABLE "NAMESPACE.dead_letters" ADD COLUMN discarded_by TEXT;
-- Why.
ALTER TABLE "NAMESPACE.dead_letters" ADD COLUMN discarded_why TEXT;

-- What is open, oldest first: what a replay claims that asks for no queue.
CREATE INDEX "NAMESPACE.dead_letters_oldest_idx"
    ON "NAMESPACE.dead_letters" (last_failed_at, dead_letter_id) WHERE state = 'open';
-- What has no fingerprint yet.
CREATE INDEX "NAMESPACE.dead_letters_unprinted_idx"
    ON "NAMESPACE.dead_letters" (dead_letter_id) WHERE fingerprint = '';
-- What a replay has sent, and what it left claimed when it was killed.
CREATE INDEX "NAMESPACE.dead_letters_replay_idx"
    ON "NAMESPACE.dead_letters" (replay_id, state, dead_letter_id) WHERE replay_id IS NOT NULL;
DROP INDEX "NAMESPACE.dead_letters_claimed_idx";
-- What may be removed once it is old enough.
CREATE INDEX "NAMESPACE.dead_letters_settled_idx"
    ON "NAMESPACE.dead_letters" (coalesce(discarded_at, replayed_at)) WHERE state IN ('replayed', 'discarded');

-- Every change of a dead letter's body.
CREATE TABLE "NAMESPACE.dead_letter_edits" (
    -- Its number; later edits have higher ones.
    edit_id INTEGER NOT NULL PRIMARY KEY,
    -- The dead letter.
    dead_letter_id BLOB NOT NULL,
    -- When.
    edited_at TEXT NOT NULL,
    -- Who changed it.
    who TEXT NOT NULL,
    -- Why, where somebody said so.
    why TEXT,
    -- The body that was replaced; that of the first edit is the original.
    before BLOB NOT NULL,
    CONSTRAINT dead_letter_edits_dead_letter_id_fkey FOREIGN KEY (dead_letter_id)
        REFERENCES "NAMESPACE.dead_letters" (dead_letter_id) ON DELETE CASCADE
) STRICT;

-- The edits of one letter.
CREATE INDEX "NAMESPACE.dead_letter_edits_letter_idx"
    ON "NAMESPACE.dead_letter_edits" (dead_letter_id);
