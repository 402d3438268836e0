SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA t7e20db844b;
CREATE FUNCTION t7e20db844b.count_dead_letters() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 't7e20db844b'
    AS $$
DECLARE
    more dead_letter_counts[];
    less dead_letter_counts[];
    errors_change boolean := true;
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO dead_letter_classes (class_id, queue, reason, destination, type)
        SELECT DISTINCT ON (class_id) class_id, queue, reason, destination,
               CASE WHEN stage IN ('store', 'integrate') THEN type END
        FROM came ORDER BY class_id
        ON CONFLICT (class_id) DO NOTHING;
    END IF;
    -- What is done about a letter changes nothing of its error.
    IF TG_OP = 'UPDATE' THEN
        errors_change := EXISTS (SELECT error_id FROM came EXCEPT SELECT error_id FROM went);
    END IF;
    IF TG_OP <> 'DELETE' AND errors_change THEN
        INSERT INTO dead_letter_errors AS known (error_id, error, fingerprint_id, letters)
        SELECT error_id, min(error), min(fingerprint_id::text)::uuid, count(*)
        FROM came GROUP BY error_id ORDER BY error_id
        ON CONFLICT (error_id) DO UPDATE SET letters = known.letters + excluded.letters;
    END IF;
    IF TG_OP <> 'INSERT' AND errors_change THEN
        INSERT INTO dead_letter_errors AS known (error_id, error, fingerprint_id, letters)
        SELECT error_id, min(error), min(fingerprint_id::text)::uuid, -count(*)
        FROM went GROUP BY error_id ORDER BY error_id
        ON CONFLICT (error_id) DO UPDATE SET letters = known.letters + excluded.letters;
        DELETE FROM dead_letter_errors WHERE letters <= 0 AND error_id IN (SELECT error_id FROM went);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        SELECT array_agg(counted) INTO more FROM (
            SELECT class_id, fingerprint, date_trunc('hour', last_failed_at, 'UTC') AS hour, state,
                   count(*) AS letters, min(last_failed_at) AS first_at, max(last_failed_at) AS last_at
            FROM came GROUP BY 1, 2, 3, 4
        ) AS counted;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        SELECT array_agg(counted) INTO less FROM (
            SELECT class_id, fingerprint, date_trunc('hour', last_failed_at, 'UTC') AS hour, state,
                   -count(*) AS letters, min(last_failed_at) AS first_at, max(last_failed_at) AS last_at
            FROM went GROUP BY 1, 2, 3, 4
        ) AS counted;
    END IF;
    -- All in one statement and in one order, so that no two of these ever wait for each other in a circle. Rows
    -- that are locked here are free again with the commit, which is what comes next.
    INSERT INTO dead_letter_counts AS known
    SELECT class_id, fingerprint, counted_as, state, sum(letters), min(first_at), max(last_at)
    FROM unnest(more || less) CROSS JOIN LATERAL (VALUES (hour), ('-infinity')) AS place (counted_as)
    GROUP BY 1, 2, 3, 4 HAVING sum(letters) <> 0 ORDER BY 1, 2, 3, 4
    ON CONFLICT (class_id, fingerprint, hour, state) DO UPDATE SET
        letters = known.letters + excluded.letters,
        first_at = CASE WHEN excluded.letters < 0 THEN known.first_at
                        WHEN known.letters <= 0 THEN excluded.first_at
                        ELSE LEAST(known.first_at, excluded.first_at) END,
        last_at = CASE WHEN excluded.letters < 0 THEN known.last_at
                       WHEN known.letters <= 0 THEN excluded.last_at
                       ELSE GREATEST(known.last_at, excluded.last_at) END;
    RETURN NULL;
END
$$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE t7e20db844b._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
CREATE TABLE t7e20db844b.dead_letter_classes (
    class_id uuid NOT NULL,
    queue text NOT NULL,
    reason text NOT NULL,
    destination text,
    type text,
    group_id uuid GENERATED ALWAYS AS ((md5(((md5(queue) || md5(reason)) || COALESCE(md5(destination), '-'::text))))::uuid) STORED NOT NULL
);
COMMENT ON TABLE t7e20db844b.dead_letter_classes IS 'Every combination of queue, reason, destination and validated type that dead letters have had.';
COMMENT ON COLUMN t7e20db844b.dead_letter_classes.class_id IS 'Made from the other columns.';
COMMENT ON COLUMN t7e20db844b.dead_letter_classes.queue IS 'The queue they died in.';
COMMENT ON COLUMN t7e20db844b.dead_letter_classes.reason IS 'The stable reason code.';
COMMENT ON COLUMN t7e20db844b.dead_letter_classes.destination IS 'The destination, in the integrate stage.';
COMMENT ON COLUMN t7e20db844b.dead_letter_classes.type IS 'The type, in the stages after validate.';
COMMENT ON COLUMN t7e20db844b.dead_letter_classes.group_id IS 'Stands for queue, reason and destination.';
CREATE TABLE t7e20db844b.dead_letter_counts (
    class_id uuid NOT NULL,
    fingerprint text NOT NULL,
    hour timestamp with time zone NOT NULL,
    state text NOT NULL,
    letters bigint NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL
)
WITH (fillfactor='50');
COMMENT ON TABLE t7e20db844b.dead_letter_counts IS 'How many dead letters there are, kept by triggers in the transaction of every change.';
COMMENT ON COLUMN t7e20db844b.dead_letter_counts.class_id IS 'Their queue, reason, destination and validated type, in dead_letter_classes.';
COMMENT ON COLUMN t7e20db844b.dead_letter_counts.fingerprint IS 'What their errors have in common.';
COMMENT ON COLUMN t7e20db844b.dead_letter_counts.hour IS 'The hour, in UTC, in which they were given up; -infinity for those of all hours together.';
COMMENT ON COLUMN t7e20db844b.dead_letter_counts.state IS 'What has been done about them.';
COMMENT ON COLUMN t7e20db844b.dead_letter_counts.letters IS 'How many.';
COMMENT ON COLUMN t7e20db844b.dead_letter_counts.first_at IS 'When the first that was in this state was given up.';
COMMENT ON COLUMN t7e20db844b.dead_letter_counts.last_at IS 'When the last that was in this state was given up.';
CREATE TABLE t7e20db844b.dead_letter_edits (
    edit_id uuid DEFAULT gen_random_uuid() NOT NULL,
    dead_letter_id uuid NOT NULL,
    edited_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    who text NOT NULL,
    why text,
    before bytea NOT NULL
);
COMMENT ON TABLE t7e20db844b.dead_letter_edits IS 'Every change of a dead letter''s body.';
COMMENT ON COLUMN t7e20db844b.dead_letter_edits.edit_id IS 'Its id.';
COMMENT ON COLUMN t7e20db844b.dead_letter_edits.dead_letter_id IS 'The dead letter.';
COMMENT ON COLUMN t7e20db844b.dead_letter_edits.edited_at IS 'When.';
COMMENT ON COLUMN t7e20db844b.dead_letter_edits.who IS 'Who changed it.';
COMMENT ON COLUMN t7e20db844b.dead_letter_edits.why IS 'Why, where somebody said so.';
COMMENT ON COLUMN t7e20db844b.dead_letter_edits.before IS 'The body that was replaced; that of the first edit is the original.';
CREATE TABLE t7e20db844b.dead_letter_errors (
    error_id uuid NOT NULL,
    error text NOT NULL,
    fingerprint_id uuid NOT NULL,
    letters bigint NOT NULL
)
WITH (fillfactor='70');
COMMENT ON TABLE t7e20db844b.dead_letter_errors IS 'Every error of a dead letter once, to find texts in.';
COMMENT ON COLUMN t7e20db844b.dead_letter_errors.error_id IS 'Made from the error and its fingerprint.';
COMMENT ON COLUMN t7e20db844b.dead_letter_errors.error IS 'The chain of errors, outermost first.';
COMMENT ON COLUMN t7e20db844b.dead_letter_errors.fingerprint_id IS 'Stands for its fingerprint.';
COMMENT ON COLUMN t7e20db844b.dead_letter_errors.letters IS 'How many dead letters have it.';
CREATE TABLE t7e20db844b.dead_letters (
    dead_letter_id uuid NOT NULL,
    event_id uuid,
    type text,
    source text,
    queue text NOT NULL,
    stage text NOT NULL,
    destination text,
    generation bigint NOT NULL,
    reason text NOT NULL,
    error text NOT NULL,
    attempts bigint NOT NULL,
    first_failed_at timestamp with time zone NOT NULL,
    last_failed_at timestamp with time zone NOT NULL,
    routing_key text NOT NULL,
    content_type text,
    properties json NOT NULL,
    headers json NOT NULL,
    body bytea NOT NULL,
    state text DEFAULT 'open'::text NOT NULL,
    replay_id uuid,
    replayed_at timestamp with time zone,
    archived_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    fingerprint text DEFAULT ''::text NOT NULL,
    discarded_at timestamp with time zone,
    discarded_by text,
    discarded_why text,
    class_id uuid GENERATED ALWAYS AS ((md5((((md5(queue) || md5(reason)) || COALESCE(md5(destination), '-'::text)) ||
CASE
    WHEN (stage = ANY (ARRAY['store'::text, 'integrate'::text])) THEN COALESCE(md5(type), ''::text)
    ELSE ''::text
END)))::uuid) STORED NOT NULL,
    fingerprint_id uuid GENERATED ALWAYS AS ((md5(fingerprint))::uuid) STORED NOT NULL,
    error_id uuid GENERATED ALWAYS AS ((md5((md5(error) || fingerprint)))::uuid) STORED NOT NULL,
    CONSTRAINT dead_letters_attempts_range CHECK (((attempts >= 0) AND (attempts <= '4294967295'::bigint))),
    CONSTRAINT dead_letters_claim_has_replay CHECK (((state = ANY (ARRAY['replaying'::text, 'replayed'::text])) <= (replay_id IS NOT NULL))),
    CONSTRAINT dead_letters_generation_range CHECK (((generation >= 0) AND (generation <= '4294967295'::bigint))),
    CONSTRAINT dead_letters_state_known CHECK ((state = ANY (ARRAY['open'::text, 'replaying'::text, 'replayed'::text, 'discarded'::text])))
);
COMMENT ON TABLE t7e20db844b.dead_letters IS 'Messages that a stage gave up on, whole, until somebody mends, replays or discards them.';
COMMENT ON COLUMN t7e20db844b.dead_letters.dead_letter_id IS 'Made from event, queue and generation, so that keeping one twice keeps one.';
COMMENT ON COLUMN t7e20db844b.dead_letters.event_id IS 'The event, where the message was one.';
COMMENT ON COLUMN t7e20db844b.dead_letters.type IS 'Its type, where known.';
COMMENT ON COLUMN t7e20db844b.dead_letters.source IS 'Its source, where known.';
COMMENT ON COLUMN t7e20db844b.dead_letters.queue IS 'The queue it died in.';
COMMENT ON COLUMN t7e20db844b.dead_letters.stage IS 'The stage that gave up: validate, store, integrate or archive.';
COMMENT ON COLUMN t7e20db844b.dead_letters.destination IS 'The destination, in the integrate stage.';
COMMENT ON COLUMN t7e20db844b.dead_letters.generation IS 'How often the event had been replayed when it died.';
COMMENT ON COLUMN t7e20db844b.dead_letters.reason IS 'The stable reason code: longshore explain CODE.';
COMMENT ON COLUMN t7e20db844b.dead_letters.error IS 'The chain of errors, outermost first.';
COMMENT ON COLUMN t7e20db844b.dead_letters.attempts IS 'How many attempts failed.';
COMMENT ON COLUMN t7e20db844b.dead_letters.first_failed_at IS 'When the first attempt failed.';
COMMENT ON COLUMN t7e20db844b.dead_letters.last_failed_at IS 'When it was given up.';
COMMENT ON COLUMN t7e20db844b.dead_letters.routing_key IS 'The routing key the message had.';
COMMENT ON COLUMN t7e20db844b.dead_letters.content_type IS 'Media type of the body.';
COMMENT ON COLUMN t7e20db844b.dead_letters.properties IS 'The other properties of the message: message_id, type, app_id, user_id, timestamp.';
COMMENT ON COLUMN t7e20db844b.dead_letters.headers IS 'The headers of the message; bytes are {"base64": …}.';
COMMENT ON COLUMN t7e20db844b.dead_letters.body IS 'The body, byte for byte.';
COMMENT ON COLUMN t7e20db844b.dead_letters.state IS 'open: nothing was done yet; replaying: a replay has claimed it; replayed: it was sent again; discarded: given up for good.';
COMMENT ON COLUMN t7e20db844b.dead_letters.replay_id IS 'The last replay that claimed it.';
COMMENT ON COLUMN t7e20db844b.dead_letters.replayed_at IS 'When it was sent again.';
COMMENT ON COLUMN t7e20db844b.dead_letters.archived_at IS 'When this row was written.';
COMMENT ON COLUMN t7e20db844b.dead_letters.fingerprint IS 'What the error has in common with others: without numbers, ids, quoted texts and addresses. Empty where a program of before there were fingerprints has kept it, until the next longshore migrate.';
COMMENT ON COLUMN t7e20db844b.dead_letters.discarded_at IS 'When it was discarded.';
COMMENT ON COLUMN t7e20db844b.dead_letters.discarded_by IS 'Who discarded it.';
COMMENT ON COLUMN t7e20db844b.dead_letters.discarded_why IS 'Why.';
COMMENT ON COLUMN t7e20db844b.dead_letters.class_id IS 'Stands for queue, reason, destination and validated type, in dead_letter_classes.';
COMMENT ON COLUMN t7e20db844b.dead_letters.fingerprint_id IS 'Stands for the fingerprint.';
COMMENT ON COLUMN t7e20db844b.dead_letters.error_id IS 'Stands for the error and its fingerprint, in dead_letter_errors.';
CREATE TABLE t7e20db844b.deliveries (
    event_id uuid NOT NULL,
    destination text NOT NULL,
    generation bigint NOT NULL,
    status text DEFAULT 'due'::text NOT NULL,
    attempts bigint DEFAULT 0 NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    last_attempt_at timestamp with time zone,
    delivered_at timestamp with time zone,
    last_status_code integer,
    last_error text,
    CONSTRAINT deliveries_attempts_range CHECK (((attempts >= 0) AND (attempts <= '4294967295'::bigint))),
    CONSTRAINT deliveries_delivered_at_known CHECK (((status = 'delivered'::text) <= (delivered_at IS NOT NULL))),
    CONSTRAINT deliveries_generation_range CHECK (((generation >= 0) AND (generation <= '4294967295'::bigint))),
    CONSTRAINT deliveries_status_known CHECK ((status = ANY (ARRAY['due'::text, 'delivered'::text, 'dead'::text, 'discarded'::text])))
)
WITH (fillfactor='70');
COMMENT ON TABLE t7e20db844b.deliveries IS 'Which event is due at which destination, and how that stands.';
COMMENT ON COLUMN t7e20db844b.deliveries.event_id IS 'The event.';
COMMENT ON COLUMN t7e20db844b.deliveries.destination IS 'The configured outside system.';
COMMENT ON COLUMN t7e20db844b.deliveries.generation IS 'How often the event had been replayed: 0 the first time.';
COMMENT ON COLUMN t7e20db844b.deliveries.status IS 'due: has to be made; delivered: the receiver has it; dead: given up, there is a dead letter; discarded: an operator decided that it shall not be made.';
COMMENT ON COLUMN t7e20db844b.deliveries.attempts IS 'How many attempts there were.';
COMMENT ON COLUMN t7e20db844b.deliveries.due_at IS 'Since when it is due.';
COMMENT ON COLUMN t7e20db844b.deliveries.last_attempt_at IS 'When the last attempt began.';
COMMENT ON COLUMN t7e20db844b.deliveries.delivered_at IS 'When the receiver had it.';
COMMENT ON COLUMN t7e20db844b.deliveries.last_status_code IS 'The HTTP status of the last attempt, where there was an answer.';
COMMENT ON COLUMN t7e20db844b.deliveries.last_error IS 'What failed in the last attempt; none where it was delivered.';
CREATE TABLE t7e20db844b.delivery_attempts (
    event_id uuid NOT NULL,
    destination text NOT NULL,
    generation bigint NOT NULL,
    attempt bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    duration_ms bigint NOT NULL,
    status_code integer,
    error text,
    response_excerpt text
);
COMMENT ON TABLE t7e20db844b.delivery_attempts IS 'Every request that was made to a destination.';
COMMENT ON COLUMN t7e20db844b.delivery_attempts.event_id IS 'The event.';
COMMENT ON COLUMN t7e20db844b.delivery_attempts.destination IS 'The configured outside system.';
COMMENT ON COLUMN t7e20db844b.delivery_attempts.generation IS 'The generation of the delivery.';
COMMENT ON COLUMN t7e20db844b.delivery_attempts.attempt IS 'Which attempt; 1 is the first.';
COMMENT ON COLUMN t7e20db844b.delivery_attempts.started_at IS 'When it began.';
COMMENT ON COLUMN t7e20db844b.delivery_attempts.duration_ms IS 'How long it took, in milliseconds.';
COMMENT ON COLUMN t7e20db844b.delivery_attempts.status_code IS 'The HTTP status, where there was an answer.';
COMMENT ON COLUMN t7e20db844b.delivery_attempts.error IS 'What failed; none where it was delivered.';
COMMENT ON COLUMN t7e20db844b.delivery_attempts.response_excerpt IS 'The beginning of the answer.';
CREATE TABLE t7e20db844b.events (
    event_id uuid NOT NULL,
    type text NOT NULL,
    source text NOT NULL,
    source_id text NOT NULL,
    publisher text NOT NULL,
    subject text,
    "time" timestamp with time zone,
    received_at timestamp with time zone NOT NULL,
    accepted_at timestamp with time zone NOT NULL,
    stored_at timestamp with time zone DEFAULT now() NOT NULL,
    fingerprint bytea NOT NULL,
    body json NOT NULL,
    CONSTRAINT events_fingerprint_is_sha256 CHECK ((octet_length(fingerprint) = 32))
);
COMMENT ON TABLE t7e20db844b.events IS 'Every stored event, as it was accepted.';
COMMENT ON COLUMN t7e20db844b.events.event_id IS 'Our key: the id of the API, the message_id on the broker.';
COMMENT ON COLUMN t7e20db844b.events.type IS 'What it is, such as signup.requested.';
COMMENT ON COLUMN t7e20db844b.events.source IS 'The CloudEvents source, as its publisher gave it.';
COMMENT ON COLUMN t7e20db844b.events.source_id IS 'The CloudEvents id, as its publisher gave it.';
COMMENT ON COLUMN t7e20db844b.events.publisher IS 'Who published it, as far as can be vouched for.';
COMMENT ON COLUMN t7e20db844b.events.subject IS 'The CloudEvents subject, where there is one.';
COMMENT ON COLUMN t7e20db844b.events."time" IS 'When it happened, where its publisher said so.';
COMMENT ON COLUMN t7e20db844b.events.received_at IS 'When it came through a door.';
COMMENT ON COLUMN t7e20db844b.events.accepted_at IS 'When the validate stage accepted it.';
COMMENT ON COLUMN t7e20db844b.events.stored_at IS 'When this row was written.';
COMMENT ON COLUMN t7e20db844b.events.fingerprint IS 'SHA-256 of what the publisher said; tells another content under the same id apart.';
COMMENT ON COLUMN t7e20db844b.events.body IS 'The canonical event: one structured CloudEvent, byte for byte.';
CREATE TABLE t7e20db844b.processing (
    event_id uuid NOT NULL,
    task text NOT NULL,
    payload json NOT NULL
);
COMMENT ON TABLE t7e20db844b.processing IS 'What processing.requested events ask for.';
COMMENT ON COLUMN t7e20db844b.processing.event_id IS 'The event.';
COMMENT ON COLUMN t7e20db844b.processing.task IS 'Which work.';
COMMENT ON COLUMN t7e20db844b.processing.payload IS 'What the work needs to know, a JSON object.';
CREATE TABLE t7e20db844b.rejections (
    rejection_id uuid NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    source text NOT NULL,
    publisher text NOT NULL,
    reason text NOT NULL,
    errors json NOT NULL,
    stage text NOT NULL,
    received_at timestamp with time zone,
    rejected_at timestamp with time zone NOT NULL,
    body bytea NOT NULL
);
COMMENT ON TABLE t7e20db844b.rejections IS 'Events that were refused by a rule.';
COMMENT ON COLUMN t7e20db844b.rejections.rejection_id IS 'Made from event, reason and content, so that keeping one twice keeps one.';
COMMENT ON COLUMN t7e20db844b.rejections.event_id IS 'The event.';
COMMENT ON COLUMN t7e20db844b.rejections.type IS 'Its type.';
COMMENT ON COLUMN t7e20db844b.rejections.source IS 'Its source.';
COMMENT ON COLUMN t7e20db844b.rejections.publisher IS 'Who published it.';
COMMENT ON COLUMN t7e20db844b.rejections.reason IS 'The stable reason code: longshore explain CODE.';
COMMENT ON COLUMN t7e20db844b.rejections.errors IS 'Everything that is wrong: a list of {pointer, detail}.';
COMMENT ON COLUMN t7e20db844b.rejections.stage IS 'The stage that refused it.';
COMMENT ON COLUMN t7e20db844b.rejections.received_at IS 'When it came through a door, where known.';
COMMENT ON COLUMN t7e20db844b.rejections.rejected_at IS 'When it was refused.';
COMMENT ON COLUMN t7e20db844b.rejections.body IS 'The event as it was refused, secrets masked.';
CREATE TABLE t7e20db844b.replays (
    replay_id uuid NOT NULL,
    filter json NOT NULL,
    to_queue text,
    who text NOT NULL,
    why text,
    state text DEFAULT 'running'::text NOT NULL,
    replayed bigint DEFAULT 0 NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended_at timestamp with time zone,
    rate bigint,
    stop_when smallint,
    slice json,
    "position" bigint,
    CONSTRAINT replays_position_range CHECK (("position" >= 0)),
    CONSTRAINT replays_rate_range CHECK (((rate >= 1) AND (rate <= '4294967295'::bigint))),
    CONSTRAINT replays_replayed_range CHECK ((replayed >= 0)),
    CONSTRAINT replays_state_known CHECK ((state = ANY (ARRAY['running'::text, 'paused'::text, 'done'::text, 'stopped'::text]))),
    CONSTRAINT replays_stop_when_range CHECK (((stop_when >= 0) AND (stop_when <= 100)))
);
COMMENT ON TABLE t7e20db844b.replays IS 'Every replay of dead letters or of the history, so that one that was killed can be resumed.';
COMMENT ON COLUMN t7e20db844b.replays.replay_id IS 'Its id.';
COMMENT ON COLUMN t7e20db844b.replays.filter IS 'Which dead letters it sends.';
COMMENT ON COLUMN t7e20db844b.replays.to_queue IS 'Where it sends them; each to the queue it died in where none is given.';
COMMENT ON COLUMN t7e20db844b.replays.who IS 'Who began it.';
COMMENT ON COLUMN t7e20db844b.replays.why IS 'Why, where somebody said so.';
COMMENT ON COLUMN t7e20db844b.replays.state IS 'running: under way, or killed on the way; paused: told to wait; done: all was sent; stopped: ended before that.';
COMMENT ON COLUMN t7e20db844b.replays.replayed IS 'How many dead letters, or events of the history, it has sent.';
COMMENT ON COLUMN t7e20db844b.replays.started_at IS 'When it began; only dead letters archived before are its own.';
COMMENT ON COLUMN t7e20db844b.replays.ended_at IS 'When it ended.';
COMMENT ON COLUMN t7e20db844b.replays.rate IS 'At most so many a second; as fast as the broker takes them where none is given.';
COMMENT ON COLUMN t7e20db844b.replays.stop_when IS 'It stops by itself when more than so many of a hundred die again.';
COMMENT ON COLUMN t7e20db844b.replays.slice IS 'Which part of the history it sends; none for a replay of dead letters.';
COMMENT ON COLUMN t7e20db844b.replays."position" IS 'How far it has come in the history.';
CREATE TABLE t7e20db844b.signups (
    event_id uuid NOT NULL,
    email text NOT NULL,
    email_normalised text NOT NULL,
    name text NOT NULL,
    plan text,
    locale text,
    password_hash text,
    attributes json
);
COMMENT ON TABLE t7e20db844b.signups IS 'What signup.requested events ask for.';
COMMENT ON COLUMN t7e20db844b.signups.event_id IS 'The event.';
COMMENT ON COLUMN t7e20db844b.signups.email IS 'The address as given.';
COMMENT ON COLUMN t7e20db844b.signups.email_normalised IS 'The address in the form for comparing.';
COMMENT ON COLUMN t7e20db844b.signups.name IS 'What the person is called.';
COMMENT ON COLUMN t7e20db844b.signups.plan IS 'The plan asked for.';
COMMENT ON COLUMN t7e20db844b.signups.locale IS 'A BCP 47 language tag.';
COMMENT ON COLUMN t7e20db844b.signups.password_hash IS 'An argon2id hash in PHC format; the password itself is never here.';
COMMENT ON COLUMN t7e20db844b.signups.attributes IS 'Anything else, a JSON object.';
INSERT INTO t7e20db844b._sqlx_migrations VALUES (20261122000001, 'events', '2026-11-29 00:38:41.679723+00', true, '\xc9e943ef7053ae493ce3557d1373b7974b20ce28f92d854ab1bb133e89b94cffba17d2522b71a78883b6612cefa2bb08', 7598691);
INSERT INTO t7e20db844b._sqlx_migrations VALUES (20261122000002, 'deliveries', '2026-11-29 00:38:41.687799+00', true, '\xcc75c0d9eb302bceae4986c8495ac964804aa95431e40c636cc21dce4a9b1a96e3b7e2f11339e85b01936e0d5ae2d919', 4424388);
INSERT INTO t7e20db844b._sqlx_migrations VALUES (20261122000003, 'dead letters', '2026-11-29 00:38:41.692499+00', true, '\x613051f8159ea825e926e89d1d2016e07bd4a5d2952d2bc5af3519f386cb443828c969a3dc18ee92b752d9a6d4b2445b', 9206194);
INSERT INTO t7e20db844b._sqlx_migrations VALUES (20261122000004, 'replays', '2026-11-29 00:38:41.701954+00', true, '\x91214637bc26f15953c70b24d8532b5ca297f982bf9f8184ddd1dd476a061067dd0c8f781f26dcd9ecff2b84c69e96a1', 31993531);
INSERT INTO t7e20db844b.dead_letter_classes VALUES ('59f5eb35-05bd-1c88-b9ff-59f373ad5afe', 't7e20db844b.integrate.crm', 'receiver_failing', 'crm', 'signup.requested', DEFAULT);
INSERT INTO t7e20db844b.dead_letter_counts VALUES ('59f5eb35-05bd-1c88-b9ff-59f373ad5afe', 'expected status #xx, found # Internal Server Error', '-infinity', 'open', 4, '2026-11-29 00:38:42.453587+00', '2026-11-29 00:38:42.454571+00');
INSERT INTO t7e20db844b.dead_letter_counts VALUES ('59f5eb35-05bd-1c88-b9ff-59f373ad5afe', 'expected status #xx, found # Internal Server Error', '2026-11-29 00:00:00+00', 'open', 4, '2026-11-29 00:38:42.453587+00', '2026-11-29 00:38:42.454571+00');
INSERT INTO t7e20db844b.dead_letter_counts VALUES ('59f5eb35-05bd-1c88-b9ff-59f373ad5afe', 'expected status #xx, found # Internal Server Error', '-infinity', 'replayed', 4, '2026-11-29 00:38:42.453587+00', '2026-11-29 00:38:42.454536+00');
INSERT INTO t7e20db844b.dead_letter_counts VALUES ('59f5eb35-05bd-1c88-b9ff-59f373ad5afe', 'expected status #xx, found # Internal Server Error', '-infinity', 'replaying', 0, '2026-11-29 00:38:42.45452+00', '2026-11-29 00:38:42.454536+00');
INSERT INTO t7e20db844b.dead_letter_counts VALUES ('59f5eb35-05bd-1c88-b9ff-59f373ad5afe', 'expected status #xx, found # Internal Server Error', '2026-11-29 00:00:00+00', 'replayed', 4, '2026-11-29 00:38:42.453587+00', '2026-11-29 00:38:42.454536+00');
INSERT INTO t7e20db844b.dead_letter_counts VALUES ('59f5eb35-05bd-1c88-b9ff-59f373ad5afe', 'expected status #xx, found # Internal Server Error', '2026-11-29 00:00:00+00', 'replaying', 0, '2026-11-29 00:38:42.45452+00', '2026-11-29 00:38:42.454536+00');
INSERT INTO t7e20db844b.dead_letter_errors VALUES ('51a75c51-7a63-0823-9f73-8e641292cd6d', 'expected status 2xx, found 500 Internal Server Error', '91d0f8b3-3b66-c122-4be6-71d8b8d15ac0', 8);
INSERT INTO t7e20db844b.dead_letters VALUES ('0c93b849-1d1f-5adb-b151-bc0bd1634782', '01a224bd-67f3-7120-8382-cb334c110925', 'signup.requested', '/v1/signups', 't7e20db844b.integrate.crm', 'integrate', 'crm', 0, 'receiver_failing', 'expected status 2xx, found 500 Internal Server Error', 1, '2026-11-29 00:38:42.454563+00', '2026-11-29 00:38:42.454563+00', 'signup.requested', 'application/cloudevents+json', '{"message_id":"01a224bd-67f3-7120-8382-cb334c110925","type":"signup.requested","app_id":"/v1/signups","user_id":"guest","timestamp":1795912722}', '{"longshore-accepted-at":"2026-11-29T00:38:42.42235Z","longshore-attempt":1,"longshore-first-failed-at":"2026-11-29T00:38:42.454563Z","longshore-publisher":"longshore","longshore-received-at":"2026-11-29T00:38:42.419415Z"}', '\x7b227370656376657273696f6e223a22312e30222c226964223a2230316132323462642d363766332d373132302d383338322d636233333463313130393235222c22736f75726365223a222f76312f7369676e757073222c2274797065223a227369676e75702e726571756573746564222c2274696d65223a22323032362d31312d32395430303a33383a34322e3431393431355a222c2264617461636f6e74656e7474797065223a226170706c69636174696f6e2f6a736f6e222c2264617461223a7b22656d61696c223a22757365722e757067726164652e6430353335343531376434663464353162303438326637663465373461333164406578616d706c652e636f6d222c226c6f63616c65223a22656e222c226e616d65223a22557365722075706772616465222c22706c616e223a2266726565227d7d', 'open', NULL, NULL, '2026-11-29 00:38:42.466701+00', 'expected status #xx, found # Internal Server Error', NULL, NULL, NULL, DEFAULT, DEFAULT, DEFAULT);
INSERT INTO t7e20db844b.dead_letters VALUES ('0df2b669-35ed-5294-b800-3ab8727cf0c3', '01a224bd-67ed-737f-9d0d-b0a0373ad794', 'signup.requested', '/v1/signups', 't7e20db844b.integrate.crm', 'integrate', 'crm', 0, 'receiver_failing', 'expected status 2xx, found 500 Internal Server Error', 1, '2026-11-29 00:38:42.454571+00', '2026-11-29 00:38:42.454571+00', 'signup.requested', 'application/cloudevents+json', '{"message_id":"01a224bd-67ed-737f-9d0d-b0a0373ad794","type":"signup.requested","app_id":"/v1/signups","user_id":"guest","timestamp":1795912722}', '{"longshore-accepted-at":"2026-11-29T00:38:42.415042Z","longshore-attempt":1,"longshore-first-failed-at":"2026-11-29T00:38:42.454571Z","longshore-publisher":"longshore","longshore-received-at":"2026-11-29T00:38:42.413753Z"}', '\x7b227370656376657273696f6e223a22312e30222c226964223a2230316132323462642d363765642d373337662d396430642d623061303337336164373934222c22736f75726365223a222f76312f7369676e757073222c2274797065223a227369676e75702e726571756573746564222c2274696d65223a22323032362d31312d32395430303a33383a34322e3431333735335a222c2264617461636f6e74656e7474797065223a226170706c69636174696f6e2f6a736f6e222c2264617461223a7b22656d61696c223a22757365722e757067726164652e3461363234316135363630393462303662303138306131343335306666643034406578616d706c652e636f6d222c226c6f63616c65223a22656e222c226e616d65223a22557365722075706772616465222c22706c616e223a2266726565227d7d', 'open', NULL, NULL, '2026-11-29 00:38:42.467429+00', 'expected status #xx, found # Internal Server Error', NULL, NULL, NULL, DEFAULT, DEFAULT, DEFAULT);
INSERT INTO t7e20db844b.dead_letters VALUES ('0e47fbde-8ccb-5093-ba2e-4dfb9906ea03', '01a224bd-67f1-75ae-92c9-8a180d1390c5', 'signup.requested', '/v1/signups', 't7e20db844b.integrate.crm', 'integrate', 'crm', 0, 'receiver_failing', 'expected status 2xx, found 500 Internal Server Error', 1, '2026-11-29 00:38:42.454555+00', '2026-11-29 00:38:42.454555+00', 'signup.requested', 'application/cloudevents+json', '{"message_id":"01a224bd-67f1-75ae-92c9-8a180d1390c5","type":"signup.requested","app_id":"/v1/signups","user_id":"guest","timestamp":1795912722}', '{"longshore-accepted-at":"2026-11-29T00:38:42.419258Z","longshore-attempt":1,"longshore-first-failed-at":"2026-11-29T00:38:42.454555Z","longshore-publisher":"longshore","longshore-received-at":"2026-11-29T00:38:42.41759Z"}', '\x7b227370656376657273696f6e223a22312e30222c226964223a2230316132323462642d363766312d373561652d393263392d386131383064313339306335222c22736f75726365223a222f76312f7369676e757073222c2274797065223a227369676e75702e726571756573746564222c2274696d65223a22323032362d31312d32395430303a33383a34322e34313735395a222c2264617461636f6e74656e7474797065223a226170706c69636174696f6e2f6a736f6e222c2264617461223a7b22656d61696c223a22757365722e757067726164652e3665323963646562346563343430373739366233653736643762343635336364406578616d706c652e636f6d222c226c6f63616c65223a22656e222c226e616d65223a22557365722075706772616465222c22706c616e223a2266726565227d7d', 'open', NULL, NULL, '2026-11-29 00:38:42.467471+00', 'expected status #xx, found # Internal Server Error', NULL, NULL, NULL, DEFAULT, DEFAULT, DEFAULT);
INSERT INTO t7e20db844b.dead_letters VALUES ('24ffed3a-ad5d-54f1-98f2-e6e1edff5019', '01a224bd-67eb-7000-9dcb-2f7f97df53cd', 'signup.requested', '/v1/signups', 't7e20db844b.integrate.crm', 'integrate', 'crm', 0, 'receiver_failing', 'expected status 2xx, found 500 Internal Server Error', 1, '2026-11-29 00:38:42.45452+00', '2026-11-29 00:38:42.45452+00', 'signup.requested', 'application/cloudevents+json', '{"message_id":"01a224bd-67eb-7000-9dcb-2f7f97df53cd","type":"signup.requested","app_id":"/v1/signups","user_id":"guest","timestamp":1795912722}', '{"longshore-accepted-at":"2026-11-29T00:38:42.413041Z","longshore-attempt":1,"longshore-first-failed-at":"2026-11-29T00:38:42.45452Z","longshore-publisher":"longshore","longshore-received-at":"2026-11-29T00:38:42.411981Z"}', '\x7b227370656376657273696f6e223a22312e30222c226964223a2230316132323462642d363765622d373030302d396463622d326637663937646635336364222c22736f75726365223a222f76312f7369676e757073222c2274797065223a227369676e75702e726571756573746564222c2274696d65223a22323032362d31312d32395430303a33383a34322e3431313938315a222c2264617461636f6e74656e7474797065223a226170706c69636174696f6e2f6a736f6e222c2264617461223a7b22656d61696c223a22757365722e757067726164652e3432303763353633326535633433313762383336306163613632366561393838406578616d706c652e636f6d222c226c6f63616c65223a22656e222c226e616d65223a22557365722075706772616465222c22706c616e223a2266726565227d7d', 'replayed', '01a224bd-68b1-772a-aa7a-2bbc127270a4', '2026-11-29 00:38:44.135595+00', '2026-11-29 00:38:42.467519+00', 'expected status #xx, found # Internal Server Error', NULL, NULL, NULL, DEFAULT, DEFAULT, DEFAULT);
INSERT INTO t7e20db844b.dead_letters VALUES ('2a6f54b6-0478-5923-b35d-686e4f3cbd0c', '01a224bd-67ea-75b8-a977-2021108ff61b', 'signup.requested', '/v1/signups', 't7e20db844b.integrate.crm', 'integrate', 'crm', 0, 'receiver_failing', 'expected status 2xx, found 500 Internal Server Error', 1, '2026-11-29 00:38:42.454536+00', '2026-11-29 00:38:42.454536+00', 'signup.requested', 'application/cloudevents+json', '{"message_id":"01a224bd-67ea-75b8-a977-2021108ff61b","type":"signup.requested","app_id":"/v1/signups","user_id":"guest","timestamp":1795912722}', '{"longshore-accepted-at":"2026-11-29T00:38:42.41201Z","longshore-attempt":1,"longshore-first-failed-at":"2026-11-29T00:38:42.454536Z","longshore-publisher":"longshore","longshore-received-at":"2026-11-29T00:38:42.4102Z"}', '\x7b227370656376657273696f6e223a22312e30222c226964223a2230316132323462642d363765612d373562382d613937372d323032313130386666363162222c22736f75726365223a222f76312f7369676e757073222c2274797065223a227369676e75702e726571756573746564222c2274696d65223a22323032362d31312d32395430303a33383a34322e343130325a222c2264617461636f6e74656e7474797065223a226170706c69636174696f6e2f6a736f6e222c2264617461223a7b22656d61696c223a22757365722e757067726164652e6139333938313436313838333465343861656539633335326263653232346235406578616d706c652e636f6d222c226c6f63616c65223a22656e222c226e616d65223a22557365722075706772616465222c22706c616e223a2266726565227d7d', 'replayed', '01a224bd-68b1-772a-aa7a-2bbc127270a4', '2026-11-29 00:38:44.135709+00', '2026-11-29 00:38:42.467537+00', 'expected status #xx, found # Internal Server Error', NULL, NULL, NULL, DEFAULT, DEFAULT, DEFAULT);
INSERT INTO t7e20db844b.dead_letters VALUES ('7bf57f3c-ff10-54dd-ae30-863cae065fd2', '01a224bd-67e7-72d2-844e-8a9a5fe31225', 'signup.requested', '/v1/signups', 't7e20db844b.integrate.crm', 'integrate', 'crm', 0, 'receiver_failing', 'expected status 2xx, found 500 Internal Server Error', 1, '2026-11-29 00:38:42.454546+00', '2026-11-29 00:38:42.454546+00', 'signup.requested', 'application/cloudevents+json', '{"message_id":"01a224bd-67e7-72d2-844e-8a9a5fe31225","type":"signup.requested","app_id":"/v1/signups","user_id":"guest","timestamp":1795912722}', '{"longshore-accepted-at":"2026-11-29T00:38:42.40967Z","longshore-attempt":1,"longshore-first-failed-at":"2026-11-29T00:38:42.454546Z","longshore-publisher":"longshore","longshore-received-at":"2026-11-29T00:38:42.407593Z"}', '\x7b227370656376657273696f6e223a22312e30222c226964223a2230316132323462642d363765372d373264322d383434652d386139613566653331323235222c22736f75726365223a222f76312f7369676e757073222c2274797065223a227369676e75702e726571756573746564222c2274696d65223a22323032362d31312d32395430303a33383a34322e3430373539335a222c2264617461636f6e74656e7474797065223a226170706c69636174696f6e2f6a736f6e222c2264617461223a7b22656d61696c223a22757365722e757067726164652e3564363239643936346462633430373562386331356139353531376163636631406578616d706c652e636f6d222c226c6f63616c65223a22656e222c226e616d65223a22557365722075706772616465222c22706c616e223a2266726565227d7d', 'open', NULL, NULL, '2026-11-29 00:38:42.467578+00', 'expected status #xx, found # Internal Server Error', NULL, NULL, NULL, DEFAULT, DEFAULT, DEFAULT);
INSERT INTO t7e20db844b.dead_letters VALUES ('6140e77e-88b1-54e9-bfef-dea7a85ef1f9', '01a224bd-67e3-7445-afc2-080806823325', 'signup.requested', '/v1/signups', 't7e20db844b.integrate.crm', 'integrate', 'crm', 0, 'receiver_failing', 'expected status 2xx, found 500 Internal Server Error', 1, '2026-11-29 00:38:42.453587+00', '2026-11-29 00:38:42.453587+00', 'signup.requested', 'application/cloudevents+json', '{"message_id":"01a224bd-67e3-7445-afc2-080806823325","type":"signup.requested","app_id":"/v1/signups","user_id":"guest","timestamp":1795912722}', '{"longshore-accepted-at":"2026-11-29T00:38:42.407645Z","longshore-attempt":1,"longshore-first-failed-at":"2026-11-29T00:38:42.453587Z","longshore-publisher":"longshore","longshore-received-at":"2026-11-29T00:38:42.403927Z"}', '\x7b227370656376657273696f6e223a22312e30222c226964223a2230316132323462642d363765332d373434352d616663322d303830383036383233333235222c22736f75726365223a222f76312f7369676e757073222c2274797065223a227369676e75702e726571756573746564222c2274696d65223a22323032362d31312d32395430303a33383a34322e3430333932375a222c2264617461636f6e74656e7474797065223a226170706c69636174696f6e2f6a736f6e222c2264617461223a7b22656d61696c223a22757365722e757067726164652e3762653336613136636464623439633839343135303631613864306539633834406578616d706c652e636f6d222c226c6f63616c65223a22656e222c226e616d65223a22557365722075706772616465222c22706c616e223a2266726565227d7d', 'replayed', '01a224bd-68b1-772a-aa7a-2bbc127270a4', '2026-11-29 00:38:43.135305+00', '2026-11-29 00:38:42.467559+00', 'expected status #xx, found # Internal Server Error', NULL, NULL, NULL, DEFAULT, DEFAULT, DEFAULT);
INSERT INTO t7e20db844b.dead_letters VALUES ('1cda89ac-e9d4-5d01-b338-d79e75d8fcd4', '01a224bd-67ef-76ab-89d9-95e50afd2d44', 'signup.requested', '/v1/signups', 't7e20db844b.integrate.crm', 'integrate', 'crm', 0, 'receiver_failing', 'expected status 2xx, found 500 Internal Server Error', 1, '2026-11-29 00:38:42.454452+00', '2026-11-29 00:38:42.454452+00', 'signup.requested', 'application/cloudevents+json', '{"message_id":"01a224bd-67ef-76ab-89d9-95e50afd2d44","type":"signup.requested","app_id":"/v1/signups","user_id":"guest","timestamp":1795912722}', '{"longshore-accepted-at":"2026-11-29T00:38:42.416886Z","longshore-attempt":1,"longshore-first-failed-at":"2026-11-29T00:38:42.454452Z","longshore-publisher":"longshore","longshore-received-at":"2026-11-29T00:38:42.415859Z"}', '\x7b227370656376657273696f6e223a22312e30222c226964223a2230316132323462642d363765662d373661622d383964392d393565353061666432643434222c22736f75726365223a222f76312f7369676e757073222c2274797065223a227369676e75702e726571756573746564222c2274696d65223a22323032362d31312d32395430303a33383a34322e3431353835395a222c2264617461636f6e74656e7474797065223a226170706c69636174696f6e2f6a736f6e222c2264617461223a7b22656d61696c223a22757365722e757067726164652e3836343461316130323633663438353862333336323633633233373266346138406578616d706c652e636f6d222c226c6f63616c65223a22656e222c226e616d65223a22557365722075706772616465222c22706c616e223a2266726565227d7d', 'replayed', '01a224bd-68b1-772a-aa7a-2bbc127270a4', '2026-11-29 00:38:43.135551+00', '2026-11-29 00:38:42.467495+00', 'expected status #xx, found # Internal Server Error', NULL, NULL, NULL, DEFAULT, DEFAULT, DEFAULT);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67ea-75b8-a977-2021108ff61b', 'erp', 0, 'delivered', 1, '2026-11-29 00:38:42.421664+00', '2026-11-29 00:38:42.438286+00', '2026-11-29 00:38:42.439286+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67ea-75b8-a977-2021108ff61b', 'crm', 1, 'delivered', 1, '2026-11-29 00:38:43.139835+00', '2026-11-29 00:38:44.134423+00', '2026-11-29 00:38:44.135423+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6ebe-7667-b95d-63664e5fa92c', 'erp', 0, 'due', 1, '2026-11-29 00:38:44.163128+00', '2026-11-29 00:38:44.170331+00', NULL, 500, 'expected status 2xx, found 500 Internal Server Error');
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67e3-7445-afc2-080806823325', 'erp', 0, 'delivered', 1, '2026-11-29 00:38:42.421664+00', '2026-11-29 00:38:42.440554+00', '2026-11-29 00:38:42.445554+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67e7-72d2-844e-8a9a5fe31225', 'erp', 0, 'delivered', 1, '2026-11-29 00:38:42.421664+00', '2026-11-29 00:38:42.440584+00', '2026-11-29 00:38:42.445584+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67eb-7000-9dcb-2f7f97df53cd', 'erp', 0, 'delivered', 1, '2026-11-29 00:38:42.421664+00', '2026-11-29 00:38:42.440396+00', '2026-11-29 00:38:42.442396+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67ed-737f-9d0d-b0a0373ad794', 'erp', 0, 'delivered', 1, '2026-11-29 00:38:42.431628+00', '2026-11-29 00:38:42.443161+00', '2026-11-29 00:38:42.448161+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67f3-7120-8382-cb334c110925', 'erp', 0, 'delivered', 1, '2026-11-29 00:38:42.431628+00', '2026-11-29 00:38:42.443124+00', '2026-11-29 00:38:42.447124+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67ef-76ab-89d9-95e50afd2d44', 'erp', 0, 'delivered', 1, '2026-11-29 00:38:42.431628+00', '2026-11-29 00:38:42.443323+00', '2026-11-29 00:38:42.449323+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67f1-75ae-92c9-8a180d1390c5', 'erp', 0, 'delivered', 1, '2026-11-29 00:38:42.431628+00', '2026-11-29 00:38:42.443352+00', '2026-11-29 00:38:42.449352+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67e3-7445-afc2-080806823325', 'crm', 0, 'dead', 1, '2026-11-29 00:38:42.421664+00', '2026-11-29 00:38:42.440501+00', NULL, 500, 'expected status 2xx, found 500 Internal Server Error');
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67e7-72d2-844e-8a9a5fe31225', 'crm', 0, 'dead', 1, '2026-11-29 00:38:42.421664+00', '2026-11-29 00:38:42.440528+00', NULL, 500, 'expected status 2xx, found 500 Internal Server Error');
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67ea-75b8-a977-2021108ff61b', 'crm', 0, 'dead', 1, '2026-11-29 00:38:42.421664+00', '2026-11-29 00:38:42.440468+00', NULL, 500, 'expected status 2xx, found 500 Internal Server Error');
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67eb-7000-9dcb-2f7f97df53cd', 'crm', 0, 'dead', 1, '2026-11-29 00:38:42.421664+00', '2026-11-29 00:38:42.44031+00', NULL, 500, 'expected status 2xx, found 500 Internal Server Error');
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67ed-737f-9d0d-b0a0373ad794', 'crm', 0, 'dead', 1, '2026-11-29 00:38:42.431628+00', '2026-11-29 00:38:42.443378+00', NULL, 500, 'expected status 2xx, found 500 Internal Server Error');
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67ef-76ab-89d9-95e50afd2d44', 'crm', 0, 'dead', 1, '2026-11-29 00:38:42.431628+00', '2026-11-29 00:38:42.443403+00', NULL, 500, 'expected status 2xx, found 500 Internal Server Error');
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67f1-75ae-92c9-8a180d1390c5', 'crm', 0, 'dead', 1, '2026-11-29 00:38:42.431628+00', '2026-11-29 00:38:42.443432+00', NULL, 500, 'expected status 2xx, found 500 Internal Server Error');
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67f3-7120-8382-cb334c110925', 'crm', 0, 'dead', 1, '2026-11-29 00:38:42.431628+00', '2026-11-29 00:38:42.443284+00', NULL, 500, 'expected status 2xx, found 500 Internal Server Error');
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67e3-7445-afc2-080806823325', 'crm', 1, 'delivered', 1, '2026-11-29 00:38:42.620734+00', '2026-11-29 00:38:42.636431+00', '2026-11-29 00:38:42.637431+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67ef-76ab-89d9-95e50afd2d44', 'crm', 1, 'delivered', 1, '2026-11-29 00:38:42.620734+00', '2026-11-29 00:38:43.134972+00', '2026-11-29 00:38:43.135972+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-67eb-7000-9dcb-2f7f97df53cd', 'crm', 1, 'delivered', 1, '2026-11-29 00:38:43.139835+00', '2026-11-29 00:38:43.634575+00', '2026-11-29 00:38:43.635575+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6ec1-7609-a733-de2c6d31d846', 'erp', 0, 'due', 1, '2026-11-29 00:38:44.165834+00', '2026-11-29 00:38:44.170722+00', NULL, 500, 'expected status 2xx, found 500 Internal Server Error');
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6ec1-7609-a733-de2c6d31d846', 'crm', 0, 'delivered', 1, '2026-11-29 00:38:44.165834+00', '2026-11-29 00:38:44.170657+00', '2026-11-29 00:38:44.173657+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6ebe-7667-b95d-63664e5fa92c', 'crm', 0, 'delivered', 1, '2026-11-29 00:38:44.163128+00', '2026-11-29 00:38:44.171179+00', '2026-11-29 00:38:44.175179+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6ec4-7193-971d-6fdfc7ee8f63', 'crm', 0, 'delivered', 1, '2026-11-29 00:38:44.171716+00', '2026-11-29 00:38:44.178083+00', '2026-11-29 00:38:44.179083+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6ec4-7193-971d-6fdfc7ee8f63', 'erp', 0, 'due', 1, '2026-11-29 00:38:44.171716+00', '2026-11-29 00:38:44.178167+00', NULL, 500, 'expected status 2xx, found 500 Internal Server Error');
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6ee9-7303-b0d1-84d178fbe318', 'erp', 0, 'delivered', 1, '2026-11-29 00:38:44.205186+00', '2026-11-29 00:38:44.211092+00', '2026-11-29 00:38:44.213092+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6eeb-7754-a5b2-08b33af0ff48', 'crm', 0, 'due', 1, '2026-11-29 00:38:44.208619+00', '2026-11-29 00:38:44.211871+00', NULL, 500, 'expected status 2xx, found 500 Internal Server Error');
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6eeb-7754-a5b2-08b33af0ff48', 'erp', 0, 'delivered', 1, '2026-11-29 00:38:44.208619+00', '2026-11-29 00:38:44.211803+00', '2026-11-29 00:38:44.213803+00', 200, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6ee9-7303-b0d1-84d178fbe318', 'crm', 0, 'due', 1, '2026-11-29 00:38:44.205186+00', '2026-11-29 00:38:44.210926+00', NULL, 500, 'expected status 2xx, found 500 Internal Server Error');
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6f27-70f9-aed3-992eedcbbb5a', 'crm', 0, 'due', 0, '2026-11-29 00:38:44.266677+00', NULL, NULL, NULL, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6f27-70f9-aed3-992eedcbbb5a', 'erp', 0, 'due', 0, '2026-11-29 00:38:44.266677+00', NULL, NULL, NULL, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6f2a-755f-a506-106c56844b59', 'crm', 0, 'due', 0, '2026-11-29 00:38:44.271265+00', NULL, NULL, NULL, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6f2a-755f-a506-106c56844b59', 'erp', 0, 'due', 0, '2026-11-29 00:38:44.271265+00', NULL, NULL, NULL, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6f2e-7711-b9e8-1c345618626d', 'crm', 0, 'due', 0, '2026-11-29 00:38:44.273905+00', NULL, NULL, NULL, NULL);
INSERT INTO t7e20db844b.deliveries VALUES ('01a224bd-6f2e-7711-b9e8-1c345618626d', 'erp', 0, 'due', 0, '2026-11-29 00:38:44.273905+00', NULL, NULL, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67ea-75b8-a977-2021108ff61b', 'erp', 0, 1, '2026-11-29 00:38:42.438286+00', 1, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67e3-7445-afc2-080806823325', 'crm', 0, 1, '2026-11-29 00:38:42.440501+00', 5, 500, 'expected status 2xx, found 500 Internal Server Error', 'answered 500');
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67eb-7000-9dcb-2f7f97df53cd', 'crm', 0, 1, '2026-11-29 00:38:42.44031+00', 6, 500, 'expected status 2xx, found 500 Internal Server Error', 'answered 500');
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67ea-75b8-a977-2021108ff61b', 'crm', 0, 1, '2026-11-29 00:38:42.440468+00', 5, 500, 'expected status 2xx, found 500 Internal Server Error', 'answered 500');
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67e7-72d2-844e-8a9a5fe31225', 'crm', 0, 1, '2026-11-29 00:38:42.440528+00', 5, 500, 'expected status 2xx, found 500 Internal Server Error', 'answered 500');
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67f1-75ae-92c9-8a180d1390c5', 'crm', 0, 1, '2026-11-29 00:38:42.443432+00', 6, 500, 'expected status 2xx, found 500 Internal Server Error', 'answered 500');
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67f3-7120-8382-cb334c110925', 'crm', 0, 1, '2026-11-29 00:38:42.443284+00', 6, 500, 'expected status 2xx, found 500 Internal Server Error', 'answered 500');
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67ed-737f-9d0d-b0a0373ad794', 'crm', 0, 1, '2026-11-29 00:38:42.443378+00', 6, 500, 'expected status 2xx, found 500 Internal Server Error', 'answered 500');
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67ef-76ab-89d9-95e50afd2d44', 'crm', 0, 1, '2026-11-29 00:38:42.443403+00', 6, 500, 'expected status 2xx, found 500 Internal Server Error', 'answered 500');
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67eb-7000-9dcb-2f7f97df53cd', 'erp', 0, 1, '2026-11-29 00:38:42.440396+00', 2, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67e3-7445-afc2-080806823325', 'erp', 0, 1, '2026-11-29 00:38:42.440554+00', 5, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67e7-72d2-844e-8a9a5fe31225', 'erp', 0, 1, '2026-11-29 00:38:42.440584+00', 5, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67f3-7120-8382-cb334c110925', 'erp', 0, 1, '2026-11-29 00:38:42.443124+00', 4, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67ed-737f-9d0d-b0a0373ad794', 'erp', 0, 1, '2026-11-29 00:38:42.443161+00', 5, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67ef-76ab-89d9-95e50afd2d44', 'erp', 0, 1, '2026-11-29 00:38:42.443323+00', 6, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67f1-75ae-92c9-8a180d1390c5', 'erp', 0, 1, '2026-11-29 00:38:42.443352+00', 6, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67e3-7445-afc2-080806823325', 'crm', 1, 1, '2026-11-29 00:38:42.636431+00', 1, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67ef-76ab-89d9-95e50afd2d44', 'crm', 1, 1, '2026-11-29 00:38:43.134972+00', 1, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67eb-7000-9dcb-2f7f97df53cd', 'crm', 1, 1, '2026-11-29 00:38:43.634575+00', 1, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-67ea-75b8-a977-2021108ff61b', 'crm', 1, 1, '2026-11-29 00:38:44.134423+00', 1, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-6ebe-7667-b95d-63664e5fa92c', 'erp', 0, 1, '2026-11-29 00:38:44.170331+00', 2, 500, 'expected status 2xx, found 500 Internal Server Error', 'answered 500');
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-6ec1-7609-a733-de2c6d31d846', 'erp', 0, 1, '2026-11-29 00:38:44.170722+00', 3, 500, 'expected status 2xx, found 500 Internal Server Error', 'answered 500');
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-6ec1-7609-a733-de2c6d31d846', 'crm', 0, 1, '2026-11-29 00:38:44.170657+00', 3, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-6ebe-7667-b95d-63664e5fa92c', 'crm', 0, 1, '2026-11-29 00:38:44.171179+00', 4, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-6ec4-7193-971d-6fdfc7ee8f63', 'crm', 0, 1, '2026-11-29 00:38:44.178083+00', 1, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-6ec4-7193-971d-6fdfc7ee8f63', 'erp', 0, 1, '2026-11-29 00:38:44.178167+00', 1, 500, 'expected status 2xx, found 500 Internal Server Error', 'answered 500');
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-6ee9-7303-b0d1-84d178fbe318', 'erp', 0, 1, '2026-11-29 00:38:44.211092+00', 2, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-6eeb-7754-a5b2-08b33af0ff48', 'crm', 0, 1, '2026-11-29 00:38:44.211871+00', 1, 500, 'expected status 2xx, found 500 Internal Server Error', 'answered 500');
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-6eeb-7754-a5b2-08b33af0ff48', 'erp', 0, 1, '2026-11-29 00:38:44.211803+00', 2, 200, NULL, NULL);
INSERT INTO t7e20db844b.delivery_attempts VALUES ('01a224bd-6ee9-7303-b0d1-84d178fbe318', 'crm', 0, 1, '2026-11-29 00:38:44.210926+00', 2, 500, 'expected status 2xx, found 500 Internal Server Error', 'answered 500');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-67e3-7445-afc2-080806823325', 'signup.requested', '/v1/signups', '01a224bd-67e3-7445-afc2-080806823325', 'longshore', NULL, '2026-11-29 00:38:42.403927+00', '2026-11-29 00:38:42.403927+00', '2026-11-29 00:38:42.407645+00', '2026-11-29 00:38:42.421664+00', '\x7287f53b20f21cbf72d72941762015cffdacad48457e2d2a4379e19abd4342f9', '{"specversion":"1.0","id":"01a224bd-67e3-7445-afc2-080806823325","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:42.403927Z","datacontenttype":"application/json","data":{"email":"user.upgrade.7be36a16cddb49c89415061a8d0e9c84@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-67e7-72d2-844e-8a9a5fe31225', 'signup.requested', '/v1/signups', '01a224bd-67e7-72d2-844e-8a9a5fe31225', 'longshore', NULL, '2026-11-29 00:38:42.407593+00', '2026-11-29 00:38:42.407593+00', '2026-11-29 00:38:42.40967+00', '2026-11-29 00:38:42.421664+00', '\xb53295429a79be93f170212898f4602808d64fdb5a6049cfefd1f6098d21f383', '{"specversion":"1.0","id":"01a224bd-67e7-72d2-844e-8a9a5fe31225","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:42.407593Z","datacontenttype":"application/json","data":{"email":"user.upgrade.5d629d964dbc4075b8c15a95517accf1@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-67ea-75b8-a977-2021108ff61b', 'signup.requested', '/v1/signups', '01a224bd-67ea-75b8-a977-2021108ff61b', 'longshore', NULL, '2026-11-29 00:38:42.4102+00', '2026-11-29 00:38:42.4102+00', '2026-11-29 00:38:42.41201+00', '2026-11-29 00:38:42.421664+00', '\x4660184b2881ef33fa44a4c24986988962c8e3a538446f41afd7272e87b5e3df', '{"specversion":"1.0","id":"01a224bd-67ea-75b8-a977-2021108ff61b","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:42.4102Z","datacontenttype":"application/json","data":{"email":"user.upgrade.a939814618834e48aee9c352bce224b5@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-67eb-7000-9dcb-2f7f97df53cd', 'signup.requested', '/v1/signups', '01a224bd-67eb-7000-9dcb-2f7f97df53cd', 'longshore', NULL, '2026-11-29 00:38:42.411981+00', '2026-11-29 00:38:42.411981+00', '2026-11-29 00:38:42.413041+00', '2026-11-29 00:38:42.421664+00', '\xa226cc959ce53a563ce0e39501d521d73b6f3684391b842b86e8186bf185662b', '{"specversion":"1.0","id":"01a224bd-67eb-7000-9dcb-2f7f97df53cd","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:42.411981Z","datacontenttype":"application/json","data":{"email":"user.upgrade.4207c5632e5c4317b8360aca626ea988@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-67ed-737f-9d0d-b0a0373ad794', 'signup.requested', '/v1/signups', '01a224bd-67ed-737f-9d0d-b0a0373ad794', 'longshore', NULL, '2026-11-29 00:38:42.413753+00', '2026-11-29 00:38:42.413753+00', '2026-11-29 00:38:42.415042+00', '2026-11-29 00:38:42.431628+00', '\x2a06fd3b9d86d7e8fdb8e5c00b4b30a112a16c4259110141b870b969e63f4e43', '{"specversion":"1.0","id":"01a224bd-67ed-737f-9d0d-b0a0373ad794","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:42.413753Z","datacontenttype":"application/json","data":{"email":"user.upgrade.4a6241a566094b06b0180a14350ffd04@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-67ef-76ab-89d9-95e50afd2d44', 'signup.requested', '/v1/signups', '01a224bd-67ef-76ab-89d9-95e50afd2d44', 'longshore', NULL, '2026-11-29 00:38:42.415859+00', '2026-11-29 00:38:42.415859+00', '2026-11-29 00:38:42.416886+00', '2026-11-29 00:38:42.431628+00', '\xb92814ff62089bf1f8eefab6d6f1d30a97f15b76079931ab3e489a08d2814e20', '{"specversion":"1.0","id":"01a224bd-67ef-76ab-89d9-95e50afd2d44","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:42.415859Z","datacontenttype":"application/json","data":{"email":"user.upgrade.8644a1a0263f4858b336263c2372f4a8@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-67f1-75ae-92c9-8a180d1390c5', 'signup.requested', '/v1/signups', '01a224bd-67f1-75ae-92c9-8a180d1390c5', 'longshore', NULL, '2026-11-29 00:38:42.41759+00', '2026-11-29 00:38:42.41759+00', '2026-11-29 00:38:42.419258+00', '2026-11-29 00:38:42.431628+00', '\xe911614e2cd4c18b3615563cbe6a0490566aa814bb48aba688da5d72ccac8bb1', '{"specversion":"1.0","id":"01a224bd-67f1-75ae-92c9-8a180d1390c5","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:42.41759Z","datacontenttype":"application/json","data":{"email":"user.upgrade.6e29cdeb4ec4407796b3e76d7b4653cd@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-67f3-7120-8382-cb334c110925', 'signup.requested', '/v1/signups', '01a224bd-67f3-7120-8382-cb334c110925', 'longshore', NULL, '2026-11-29 00:38:42.419415+00', '2026-11-29 00:38:42.419415+00', '2026-11-29 00:38:42.42235+00', '2026-11-29 00:38:42.431628+00', '\xd5f0277f405ec5a0b11cc97acc70e55dc288760227e3cda8d9ffb06482d39e4f', '{"specversion":"1.0","id":"01a224bd-67f3-7120-8382-cb334c110925","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:42.419415Z","datacontenttype":"application/json","data":{"email":"user.upgrade.d05354517d4f4d51b0482f7f4e74a31d@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-6ebe-7667-b95d-63664e5fa92c', 'signup.requested', '/v1/signups', '01a224bd-6ebe-7667-b95d-63664e5fa92c', 'longshore', NULL, '2026-11-29 00:38:44.158878+00', '2026-11-29 00:38:44.158878+00', '2026-11-29 00:38:44.160508+00', '2026-11-29 00:38:44.163128+00', '\xb4d1a90164609eb830f31f81e51c9cd1d80f8d400161602c1e5dfc4b01ebdcbd', '{"specversion":"1.0","id":"01a224bd-6ebe-7667-b95d-63664e5fa92c","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:44.158878Z","datacontenttype":"application/json","data":{"email":"user.upgrade.7094b4b5df034109a7c7f5b5dc9c71ba@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-6ec1-7609-a733-de2c6d31d846', 'signup.requested', '/v1/signups', '01a224bd-6ec1-7609-a733-de2c6d31d846', 'longshore', NULL, '2026-11-29 00:38:44.161281+00', '2026-11-29 00:38:44.161281+00', '2026-11-29 00:38:44.162774+00', '2026-11-29 00:38:44.165834+00', '\x8ac7463b21966c8155f7ea057cf209347f5584c948bd9a8e3c04c3e48ae9b8c2', '{"specversion":"1.0","id":"01a224bd-6ec1-7609-a733-de2c6d31d846","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:44.161281Z","datacontenttype":"application/json","data":{"email":"user.upgrade.fc335b3f0d2a416fbed81567b0969e5c@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-6ec4-7193-971d-6fdfc7ee8f63', 'signup.requested', '/v1/signups', '01a224bd-6ec4-7193-971d-6fdfc7ee8f63', 'longshore', NULL, '2026-11-29 00:38:44.164016+00', '2026-11-29 00:38:44.164016+00', '2026-11-29 00:38:44.167651+00', '2026-11-29 00:38:44.171716+00', '\x15d74bd1377c52024e3a2f45a90e2625b92e53876b930732727feac0d645384e', '{"specversion":"1.0","id":"01a224bd-6ec4-7193-971d-6fdfc7ee8f63","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:44.164016Z","datacontenttype":"application/json","data":{"email":"user.upgrade.63d0b99cf97b481d8819a6f6fd76c0be@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-6ee9-7303-b0d1-84d178fbe318', 'signup.requested', '/v1/signups', '01a224bd-6ee9-7303-b0d1-84d178fbe318', 'longshore', NULL, '2026-11-29 00:38:44.2015+00', '2026-11-29 00:38:44.2015+00', '2026-11-29 00:38:44.202775+00', '2026-11-29 00:38:44.205186+00', '\xc8c7adf48c6a5efa6d6b3f06ba486b2ed4d2d02fadcd6d39627953d1f3b271a0', '{"specversion":"1.0","id":"01a224bd-6ee9-7303-b0d1-84d178fbe318","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:44.2015Z","datacontenttype":"application/json","data":{"email":"user.upgrade.789959acf17047939bdd8fc0f7056567@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-6eeb-7754-a5b2-08b33af0ff48', 'signup.requested', '/v1/signups', '01a224bd-6eeb-7754-a5b2-08b33af0ff48', 'longshore', NULL, '2026-11-29 00:38:44.2035+00', '2026-11-29 00:38:44.2035+00', '2026-11-29 00:38:44.205265+00', '2026-11-29 00:38:44.208619+00', '\xb11b60a87fc6b8eface392c9157b8e977e3c05c80f87997e5c152b60c63124a7', '{"specversion":"1.0","id":"01a224bd-6eeb-7754-a5b2-08b33af0ff48","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:44.2035Z","datacontenttype":"application/json","data":{"email":"user.upgrade.62f68ef8fa824a6abe5c3e1a3755ee8c@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-6f27-70f9-aed3-992eedcbbb5a', 'signup.requested', '/v1/signups', '01a224bd-6f27-70f9-aed3-992eedcbbb5a', 'longshore', NULL, '2026-11-29 00:38:44.263806+00', '2026-11-29 00:38:44.263806+00', '2026-11-29 00:38:44.265395+00', '2026-11-29 00:38:44.266677+00', '\x3cffafc8de213ed89e74f0054d342bebc5976e613e88042056272bcc6c0a70b2', '{"specversion":"1.0","id":"01a224bd-6f27-70f9-aed3-992eedcbbb5a","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:44.263806Z","datacontenttype":"application/json","data":{"email":"user.upgrade.3806eb1a1274445cbb0edfff67f7f19f@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-6f2a-755f-a506-106c56844b59', 'signup.requested', '/v1/signups', '01a224bd-6f2a-755f-a506-106c56844b59', 'longshore', NULL, '2026-11-29 00:38:44.266846+00', '2026-11-29 00:38:44.266846+00', '2026-11-29 00:38:44.269226+00', '2026-11-29 00:38:44.271265+00', '\xb2a081889a347830825d548681fc03c6cf3c122c7af5e6e606917482e1cb6817', '{"specversion":"1.0","id":"01a224bd-6f2a-755f-a506-106c56844b59","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:44.266846Z","datacontenttype":"application/json","data":{"email":"user.upgrade.4cff89500da448159ad027795d5bf90b@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.events VALUES ('01a224bd-6f2e-7711-b9e8-1c345618626d', 'signup.requested', '/v1/signups', '01a224bd-6f2e-7711-b9e8-1c345618626d', 'longshore', NULL, '2026-11-29 00:38:44.270101+00', '2026-11-29 00:38:44.270101+00', '2026-11-29 00:38:44.272482+00', '2026-11-29 00:38:44.273905+00', '\x27e40e072f7419fa9ff3c6e60d200925c3e24bfd9db19b9955faf448359eec84', '{"specversion":"1.0","id":"01a224bd-6f2e-7711-b9e8-1c345618626d","source":"/v1/signups","type":"signup.requested","time":"2026-11-29T00:38:44.270101Z","datacontenttype":"application/json","data":{"email":"user.upgrade.5c6c35087c794640a544fa4bdd947523@example.com","locale":"en","name":"User upgrade","plan":"free"}}');
INSERT INTO t7e20db844b.replays VALUES ('01a224bd-68b1-772a-aa7a-2bbc127270a4', '{}', NULL, 'cli:unknown', NULL, 'paused', 4, '2026-11-29 00:38:42.616405+00', NULL, 2, NULL, NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-67eb-7000-9dcb-2f7f97df53cd', 'user.upgrade.4207c5632e5c4317b8360aca626ea988@example.com', 'user.upgrade.4207c5632e5c4317b8360aca626ea988@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-67e7-72d2-844e-8a9a5fe31225', 'user.upgrade.5d629d964dbc4075b8c15a95517accf1@example.com', 'user.upgrade.5d629d964dbc4075b8c15a95517accf1@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-67e3-7445-afc2-080806823325', 'user.upgrade.7be36a16cddb49c89415061a8d0e9c84@example.com', 'user.upgrade.7be36a16cddb49c89415061a8d0e9c84@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-67ea-75b8-a977-2021108ff61b', 'user.upgrade.a939814618834e48aee9c352bce224b5@example.com', 'user.upgrade.a939814618834e48aee9c352bce224b5@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-67ed-737f-9d0d-b0a0373ad794', 'user.upgrade.4a6241a566094b06b0180a14350ffd04@example.com', 'user.upgrade.4a6241a566094b06b0180a14350ffd04@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-67f1-75ae-92c9-8a180d1390c5', 'user.upgrade.6e29cdeb4ec4407796b3e76d7b4653cd@example.com', 'user.upgrade.6e29cdeb4ec4407796b3e76d7b4653cd@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-67ef-76ab-89d9-95e50afd2d44', 'user.upgrade.8644a1a0263f4858b336263c2372f4a8@example.com', 'user.upgrade.8644a1a0263f4858b336263c2372f4a8@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-67f3-7120-8382-cb334c110925', 'user.upgrade.d05354517d4f4d51b0482f7f4e74a31d@example.com', 'user.upgrade.d05354517d4f4d51b0482f7f4e74a31d@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-6ebe-7667-b95d-63664e5fa92c', 'user.upgrade.7094b4b5df034109a7c7f5b5dc9c71ba@example.com', 'user.upgrade.7094b4b5df034109a7c7f5b5dc9c71ba@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-6ec1-7609-a733-de2c6d31d846', 'user.upgrade.fc335b3f0d2a416fbed81567b0969e5c@example.com', 'user.upgrade.fc335b3f0d2a416fbed81567b0969e5c@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-6ec4-7193-971d-6fdfc7ee8f63', 'user.upgrade.63d0b99cf97b481d8819a6f6fd76c0be@example.com', 'user.upgrade.63d0b99cf97b481d8819a6f6fd76c0be@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-6ee9-7303-b0d1-84d178fbe318', 'user.upgrade.789959acf17047939bdd8fc0f7056567@example.com', 'user.upgrade.789959acf17047939bdd8fc0f7056567@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-6eeb-7754-a5b2-08b33af0ff48', 'user.upgrade.62f68ef8fa824a6abe5c3e1a3755ee8c@example.com', 'user.upgrade.62f68ef8fa824a6abe5c3e1a3755ee8c@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-6f27-70f9-aed3-992eedcbbb5a', 'user.upgrade.3806eb1a1274445cbb0edfff67f7f19f@example.com', 'user.upgrade.3806eb1a1274445cbb0edfff67f7f19f@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-6f2a-755f-a506-106c56844b59', 'user.upgrade.4cff89500da448159ad027795d5bf90b@example.com', 'user.upgrade.4cff89500da448159ad027795d5bf90b@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
INSERT INTO t7e20db844b.signups VALUES ('01a224bd-6f2e-7711-b9e8-1c345618626d', 'user.upgrade.5c6c35087c794640a544fa4bdd947523@example.com', 'user.upgrade.5c6c35087c794640a544fa4bdd947523@example.com', 'User upgrade', 'free', 'en', NULL, NULL);
ALTER TABLE ONLY t7e20db844b._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY t7e20db844b.dead_letter_classes
    ADD CONSTRAINT dead_letter_classes_pkey PRIMARY KEY (class_id);
ALTER TABLE ONLY t7e20db844b.dead_letter_counts
    ADD CONSTRAINT dead_letter_counts_pkey PRIMARY KEY (class_id, fingerprint, hour, state);
ALTER TABLE ONLY t7e20db844b.dead_letter_edits
    ADD CONSTRAINT dead_letter_edits_pkey PRIMARY KEY (edit_id);
ALTER TABLE ONLY t7e20db844b.dead_letter_errors
    ADD CONSTRAINT dead_letter_errors_pkey PRIMARY KEY (error_id);
ALTER TABLE t7e20db844b.dead_letters
    ADD CONSTRAINT dead_letters_discarded_known CHECK (((state = 'discarded'::text) <= ((discarded_at IS NOT NULL) AND (discarded_by IS NOT NULL) AND (discarded_why IS NOT NULL)))) NOT VALID;
ALTER TABLE ONLY t7e20db844b.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (dead_letter_id);
ALTER TABLE ONLY t7e20db844b.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (event_id, destination, generation);
ALTER TABLE ONLY t7e20db844b.delivery_attempts
    ADD CONSTRAINT delivery_attempts_pkey PRIMARY KEY (event_id, destination, generation, attempt, started_at);
ALTER TABLE ONLY t7e20db844b.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (event_id);
ALTER TABLE ONLY t7e20db844b.processing
    ADD CONSTRAINT processing_pkey PRIMARY KEY (event_id);
ALTER TABLE ONLY t7e20db844b.rejections
    ADD CONSTRAINT rejections_pkey PRIMARY KEY (rejection_id);
ALTER TABLE ONLY t7e20db844b.replays
    ADD CONSTRAINT replays_pkey PRIMARY KEY (replay_id);
ALTER TABLE ONLY t7e20db844b.signups
    ADD CONSTRAINT signups_email_normalised_key UNIQUE (email_normalised);
ALTER TABLE ONLY t7e20db844b.signups
    ADD CONSTRAINT signups_pkey PRIMARY KEY (event_id);
CREATE INDEX dead_letter_classes_filter_idx ON t7e20db844b.dead_letter_classes USING btree (queue, reason, destination, type, class_id);
CREATE INDEX dead_letter_counts_hour_idx ON t7e20db844b.dead_letter_counts USING btree (hour, class_id);
CREATE INDEX dead_letter_edits_letter_idx ON t7e20db844b.dead_letter_edits USING btree (dead_letter_id, edited_at);
CREATE INDEX dead_letter_errors_text_idx ON t7e20db844b.dead_letter_errors USING gin (lower((error COLLATE "C")) public.gin_trgm_ops, (ARRAY[fingerprint_id]));
CREATE INDEX dead_letters_class_idx ON t7e20db844b.dead_letters USING btree (class_id, state, last_failed_at, dead_letter_id) INCLUDE (error_id, fingerprint_id, archived_at);
CREATE INDEX dead_letters_error_idx ON t7e20db844b.dead_letters USING btree (error_id, state, last_failed_at, dead_letter_id) INCLUDE (class_id, archived_at);
CREATE INDEX dead_letters_event_id_idx ON t7e20db844b.dead_letters USING btree (event_id) WHERE (event_id IS NOT NULL);
CREATE INDEX dead_letters_fingerprint_idx ON t7e20db844b.dead_letters USING btree (fingerprint_id, class_id, state, last_failed_at, dead_letter_id) INCLUDE (error_id, archived_at);
CREATE INDEX dead_letters_replay_idx ON t7e20db844b.dead_letters USING btree (replay_id, state, dead_letter_id) WHERE (replay_id IS NOT NULL);
CREATE INDEX dead_letters_settled_idx ON t7e20db844b.dead_letters USING btree (COALESCE(discarded_at, replayed_at)) WHERE (state = ANY (ARRAY['replayed'::text, 'discarded'::text]));
CREATE INDEX dead_letters_type_idx ON t7e20db844b.dead_letters USING btree (type, last_failed_at, dead_letter_id) WHERE (stage <> ALL (ARRAY['store'::text, 'integrate'::text]));
CREATE INDEX dead_letters_unprinted_idx ON t7e20db844b.dead_letters USING btree (dead_letter_id) WHERE (fingerprint = ''::text);
CREATE INDEX rejections_event_id_idx ON t7e20db844b.rejections USING btree (event_id);
CREATE INDEX replays_newest_idx ON t7e20db844b.replays USING btree (started_at, replay_id);
CREATE TRIGGER dead_letters_change AFTER UPDATE ON t7e20db844b.dead_letters REFERENCING OLD TABLE AS went NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION t7e20db844b.count_dead_letters();
CREATE TRIGGER dead_letters_come AFTER INSERT ON t7e20db844b.dead_letters REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION t7e20db844b.count_dead_letters();
CREATE TRIGGER dead_letters_go AFTER DELETE ON t7e20db844b.dead_letters REFERENCING OLD TABLE AS went FOR EACH STATEMENT EXECUTE FUNCTION t7e20db844b.count_dead_letters();
ALTER TABLE ONLY t7e20db844b.dead_letter_edits
    ADD CONSTRAINT dead_letter_edits_dead_letter_id_fkey FOREIGN KEY (dead_letter_id) REFERENCES t7e20db844b.dead_letters(dead_letter_id) ON DELETE CASCADE;
ALTER TABLE ONLY t7e20db844b.processing
    ADD CONSTRAINT processing_event_id_fkey FOREIGN KEY (event_id) REFERENCES t7e20db844b.events(event_id) ON DELETE CASCADE;
ALTER TABLE ONLY t7e20db844b.signups
    ADD CONSTRAINT signups_event_id_fkey FOREIGN KEY (event_id) REFERENCES t7e20db844b.events(event_id) ON DELETE CASCADE;
