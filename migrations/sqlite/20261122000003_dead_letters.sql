-- What was given up or refused, and what operators do about it.

-- Every replay of dead letters, so that one that was killed can be resumed.
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
    -- running: under way, or killed on the way; done: all was sent; stopped: ended before that.
    state TEXT NOT NULL DEFAULT 'running',
    -- How many dead letters it has sent.
    replayed INTEGER NOT NULL DEFAULT 0,
    -- When it began; only dead letters archived before are its own.
    started_at TEXT NOT NULL,
    -- When it ended.
    ended_at TEXT,
    CONSTRAINT replays_pkey PRIMARY KEY (replay_id),
    CONSTRAINT replays_state_known CHECK (state IN ('running', 'done', 'stopped')),
    CONSTRAINT replays_replayed_range CHECK (replayed >= 0)
) STRICT;

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
    -- given up for good.
    state TEXT NOT NULL DEFAULT 'open',
    -- The replay that claimed it or sent it again.
    replay_id BLOB,
    -- When it was sent again.
    replayed_at TEXT,
    -- When this row was written.
    archived_at TEXT NOT NULL,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (dead_letter_id),
    CONSTRAINT dead_letters_replay_id_fkey FOREIGN KEY (replay_id) REFERENCES "NAMESPACE.replays" (replay_id),
    CONSTRAINT dead_letters_state_known CHECK (state IN ('open', 'replaying', 'replayed', 'discarded')),
    CONSTRAINT dead_letters_claim_has_replay
        CHECK ((state IN ('replaying', 'replayed')) <= (replay_id IS NOT NULL)),
    CONSTRAINT dead_letters_generation_range CHECK (generation BETWEEN 0 AND 4294967295),
    CONSTRAINT dead_letters_attempts_range CHECK (attempts BETWEEN 0 AND 4294967295)
) STRICT;

-- Lists, newest first, page by page.
CREATE INDEX "NAMESPACE.dead_letters_newest_idx"
    ON "NAMESPACE.dead_letters" (last_failed_at DESC, dead_letter_id DESC);
-- Where an event stands.
CREATE INDEX "NAMESPACE.dead_letters_event_id_idx"
    ON "NAMESPACE.dead_letters" (event_id) WHERE event_id IS NOT NULL;
-- What is open in one queue, oldest first: what a replay claims.
CREATE INDEX "NAMESPACE.dead_letters_open_idx"
    ON "NAMESPACE.dead_letters" (queue, last_failed_at, dead_letter_id) WHERE state = 'open';
-- What a killed replay left claimed.
CREATE INDEX "NAMESPACE.dead_letters_claimed_idx"
    ON "NAMESPACE.dead_letters" (replay_id) WHERE state = 'replaying';

-- Events that were refused by a rule.
CREATE TABLE "NAMESPACE.rejections" (
    -- Made from event, reason and content, so that keeping one twice keeps one.
    rejection_id BLOB NOT NULL,
    -- The event.
    event_id BLOB NOT NULL,
    -- Its type.
    type TEXT NOT NULL,
    -- Its source.
    source TEXT NOT NULL,
    -- Who published it.
    publisher TEXT NOT NULL,
    -- The stable reason code: longshore explain CODE.
    reason TEXT NOT NULL,
    -- Everything that is wrong: a list of {pointer, detail}.
    errors TEXT NOT NULL CONSTRAINT rejections_errors_is_json CHECK (json_valid(errors)),
    -- The stage that refused it.
    stage TEXT NOT NULL,
    -- When it came through a door, where known.
    received_at TEXT,
    -- When it was refused.
    rejected_at TEXT NOT NULL,
    -- The event as it was refused, secrets masked. It may be no JSON at all.
    body BLOB NOT NULL,
    CONSTRAINT rejections_pkey PRIMARY KEY (rejection_id)
) STRICT;

-- Where an event stands.
CREATE INDEX "NAMESPACE.rejections_event_id_idx"
    ON "NAMESPACE.rejections" (event_id);
