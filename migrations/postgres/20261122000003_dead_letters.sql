-- What was given up or refused, and what operators do about it.

CREATE TABLE replays (
    replay_id  uuid        NOT NULL,
    filter     json        NOT NULL,
    to_queue   text,
    who        text        NOT NULL,
    why        text,
    state      text        NOT NULL DEFAULT 'running',
    replayed   bigint      NOT NULL DEFAULT 0,
    -- clock_timestamp and not now: this moment divides the dead letters that are replayed from those that come
    -- of replaying.
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at   timestamptz,
    CONSTRAINT replays_pkey PRIMARY KEY (replay_id),
    CONSTRAINT replays_state_known CHECK (state IN ('running', 'done', 'stopped')),
    CONSTRAINT replays_replayed_range CHECK (replayed >= 0)
);
COMMENT ON TABLE replays IS 'Every replay of dead letters, so that one that was killed can be resumed.';
COMMENT ON COLUMN replays.replay_id IS 'Its id.';
COMMENT ON COLUMN replays.filter IS 'Which dead letters it sends.';
COMMENT ON COLUMN replays.to_queue IS 'Where it sends them; each to the queue it died in where none is given.';
COMMENT ON COLUMN replays.who IS 'Who began it.';
COMMENT ON COLUMN replays.why IS 'Why, where somebody said so.';
COMMENT ON COLUMN replays.state IS 'running: under way, or killed on the way; done: all was sent; stopped: ended before that.';
COMMENT ON COLUMN replays.replayed IS 'How many dead letters it has sent.';
COMMENT ON COLUMN replays.started_at IS 'When it began; only dead letters archived before are its own.';
COMMENT ON COLUMN replays.ended_at IS 'When it ended.';

CREATE TABLE dead_letters (
    dead_letter_id  uuid        NOT NULL,
    event_id        uuid,
    type            text,
    source          text,
    queue           text        NOT NULL,
    stage           text        NOT NULL,
    destination     text,
    generation      bigint      NOT NULL,
    reason          text        NOT NULL,
    error           text        NOT NULL,
    attempts        bigint      NOT NULL,
    first_failed_at timestamptz NOT NULL,
    last_failed_at  timestamptz NOT NULL,
    routing_key     text        NOT NULL,
    content_type    text,
    -- json and not jsonb, here and below: it takes the escape \u0000, which foreign headers may hold.
    properties      json        NOT NULL,
    headers         json        NOT NULL,
    body            bytea       NOT NULL,
    state           text        NOT NULL DEFAULT 'open',
    replay_id       uuid,
    replayed_at     timestamptz,
    archived_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT dead_letters_pkey PRIMARY KEY (dead_letter_id),
    CONSTRAINT dead_letters_replay_id_fkey FOREIGN KEY (replay_id) REFERENCES replays (replay_id),
    CONSTRAINT dead_letters_state_known CHECK (state IN ('open', 'replaying', 'replayed', 'discarded')),
    CONSTRAINT dead_letters_claim_has_replay CHECK ((state IN ('replaying', 'replayed')) <= (replay_id IS NOT NULL)),
    CONSTRAINT dead_letters_generation_range CHECK (generation BETWEEN 0 AND 4294967295),
    CONSTRAINT dead_letters_attempts_range CHECK (attempts BETWEEN 0 AND 4294967295)
);
COMMENT ON TABLE dead_letters IS 'Messages that a stage gave up on, whole, until somebody mends, replays or discards them.';
COMMENT ON COLUMN dead_letters.dead_letter_id IS 'Made from event, queue and generation, so that keeping one twice keeps one.';
COMMENT ON COLUMN dead_letters.event_id IS 'The event, where the message was one.';
COMMENT ON COLUMN dead_letters.type IS 'Its type, where known.';
COMMENT ON COLUMN dead_letters.source IS 'Its source, where known.';
COMMENT ON COLUMN dead_letters.queue IS 'The queue it died in.';
COMMENT ON COLUMN dead_letters.stage IS 'The stage that gave up: validate, store, integrate or archive.';
COMMENT ON COLUMN dead_letters.destination IS 'The destination, in the integrate stage.';
COMMENT ON COLUMN dead_letters.generation IS 'How often the event had been replayed when it died.';
COMMENT ON COLUMN dead_letters.reason IS 'The stable reason code: longshore explain CODE.';
COMMENT ON COLUMN dead_letters.error IS 'The chain of errors, outermost first.';
COMMENT ON COLUMN dead_letters.attempts IS 'How many attempts failed.';
COMMENT ON COLUMN dead_letters.first_failed_at IS 'When the first attempt failed.';
COMMENT ON COLUMN dead_letters.last_failed_at IS 'When it was given up.';
COMMENT ON COLUMN dead_letters.routing_key IS 'The routing key the message had.';
COMMENT ON COLUMN dead_letters.content_type IS 'Media type of the body.';
COMMENT ON COLUMN dead_letters.properties IS 'The other properties of the message: message_id, type, app_id, user_id, timestamp.';
COMMENT ON COLUMN dead_letters.headers IS 'The headers of the message; bytes are {"base64": …}.';
COMMENT ON COLUMN dead_letters.body IS 'The body, byte for byte.';
COMMENT ON COLUMN dead_letters.state IS 'open: nothing was done yet; replaying: a replay has claimed it; replayed: it was sent again; discarded: given up for good.';
COMMENT ON COLUMN dead_letters.replay_id IS 'The replay that claimed it or sent it again.';
COMMENT ON COLUMN dead_letters.replayed_at IS 'When it was sent again.';
COMMENT ON COLUMN dead_letters.archived_at IS 'When this row was written.';

-- Lists, newest first, page by page.
CREATE INDEX dead_letters_newest_idx ON dead_letters (last_failed_at DESC, dead_letter_id DESC);
-- Where an event stands.
CREATE INDEX dead_letters_event_id_idx ON dead_letters (event_id) WHERE event_id IS NOT NULL;
-- What is open in one queue, oldest first: what a replay claims.
CREATE INDEX dead_letters_open_idx ON dead_letters (queue, last_failed_at, dead_letter_id) WHERE state = 'open';
-- What a killed replay left claimed.
CREATE INDEX dead_letters_claimed_idx ON dead_letters (replay_id) WHERE state = 'replaying';

CREATE TABLE rejections (
    rejection_id uuid        NOT NULL,
    event_id     uuid        NOT NULL,
    type         text        NOT NULL,
    source       text        NOT NULL,
    publisher    text        NOT NULL,
    reason       text        NOT NULL,
    errors       json        NOT NULL,
    stage        text        NOT NULL,
    received_at  timestamptz,
    rejected_at  timestamptz NOT NULL,
    -- bytea and not json: what was refused may be no JSON at all.
    body         bytea       NOT NULL,
    CONSTRAINT rejections_pkey PRIMARY KEY (rejection_id)
);
COMMENT ON TABLE rejections IS 'Events that were refused by a rule.';
COMMENT ON COLUMN rejections.rejection_id IS 'Made from event, reason and content, so that keeping one twice keeps one.';
COMMENT ON COLUMN rejections.event_id IS 'The event.';
COMMENT ON COLUMN rejections.type IS 'Its type.';
COMMENT ON COLUMN rejections.source IS 'Its source.';
COMMENT ON COLUMN rejections.publisher IS 'Who published it.';
COMMENT ON COLUMN rejections.reason IS 'The stable reason code: longshore explain CODE.';
COMMENT ON COLUMN rejections.errors IS 'Everything that is wrong: a list of {pointer, detail}.';
COMMENT ON COLUMN rejections.stage IS 'The stage that refused it.';
COMMENT ON COLUMN rejections.received_at IS 'When it came through a door, where known.';
COMMENT ON COLUMN rejections.rejected_at IS 'When it was refused.';
COMMENT ON COLUMN rejections.body IS 'The event as it was refused, secrets masked.';

-- Where an event stands.
CREATE INDEX rejections_event_id_idx ON rejections (event_id);
