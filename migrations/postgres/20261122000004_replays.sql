-- Finding dead letters among a million, mending and discarding them, and replays in full.

ALTER TABLE replays
    ADD COLUMN rate      bigint,
    ADD COLUMN stop_when smallint,
    ADD COLUMN slice     json,
    ADD COLUMN position  bigint,
    DROP CONSTRAINT replays_state_known,
    ADD CONSTRAINT replays_state_known CHECK (state IN ('running', 'paused', 'done', 'stopped')),
    ADD CONSTRAINT replays_rate_range CHECK (rate BETWEEN 1 AND 4294967295),
    ADD CONSTRAINT replays_stop_when_range CHECK (stop_when BETWEEN 0 AND 100),
    ADD CONSTRAINT replays_position_range CHECK (position >= 0);
COMMENT ON TABLE replays IS 'Every replay of dead letters or of the history, so that one that was killed can be resumed.';
COMMENT ON COLUMN replays.state IS 'running: under way, or killed on the way; paused: told to wait; done: all was sent; stopped: ended before that.';
COMMENT ON COLUMN replays.replayed IS 'How many dead letters, or events of the history, it has sent.';
COMMENT ON COLUMN replays.rate IS 'At most so many a second; as fast as the broker takes them where none is given.';
COMMENT ON COLUMN replays.stop_when IS 'It stops by itself when more than so many of a hundred die again.';
COMMENT ON COLUMN replays.slice IS 'Which part of the history it sends; none for a replay of dead letters.';
COMMENT ON COLUMN replays.position IS 'How far it has come in the history.';

-- Lists, newest first, page by page.
CREATE INDEX replays_newest_idx ON replays (started_at, replay_id);

ALTER TABLE dead_letters
    -- Looked at for every letter that is claimed, although each claim holds the row of its replay, and replays stay.
    DROP CONSTRAINT dead_letters_replay_id_fkey,
    ADD COLUMN fingerprint   text NOT NULL DEFAULT '',
    ADD COLUMN discarded_at  timestamptz,
    ADD COLUMN discarded_by  text,
    ADD COLUMN discarded_why text,
    -- Each part by itself, so that no two lists of parts are one text. What was not validated yet may have anybody's
    -- word as its type, any number of them.
    ADD COLUMN class_id      uuid NOT NULL
        GENERATED ALWAYS AS (md5(md5(queue) || md5(reason) || COALESCE(md5(destination), '-')
            || CASE WHEN stage IN ('store', 'integrate') THEN COALESCE(md5(type), '') ELSE '' END)::uuid) STORED,
    ADD COLUMN fingerprint_id uuid NOT NULL GENERATED ALWAYS AS (md5(fingerprint)::uuid) STORED,
    ADD COLUMN error_id      uuid NOT NULL GENERATED ALWAYS AS (md5(md5(error) || fingerprint)::uuid) STORED,
    ADD CONSTRAINT dead_letters_discarded_known
        CHECK ((state = 'discarded') <= (discarded_at IS NOT NULL AND discarded_by IS NOT NULL AND discarded_why IS NOT NULL))
        NOT VALID;
COMMENT ON COLUMN dead_letters.fingerprint IS 'What the error has in common with others: without numbers, ids, quoted texts and addresses. Empty where a program of before there were fingerprints has kept it, until the next longshore migrate.';
COMMENT ON COLUMN dead_letters.discarded_at IS 'When it was discarded.';
COMMENT ON COLUMN dead_letters.discarded_by IS 'Who discarded it.';
COMMENT ON COLUMN dead_letters.discarded_why IS 'Why.';
COMMENT ON COLUMN dead_letters.class_id IS 'Stands for queue, reason, destination and validated type, in dead_letter_classes.';
COMMENT ON COLUMN dead_letters.fingerprint_id IS 'Stands for the fingerprint.';
COMMENT ON COLUMN dead_letters.error_id IS 'Stands for the error and its fingerprint, in dead_letter_errors.';
COMMENT ON COLUMN dead_letters.replay_id IS 'The last replay that claimed it.';

-- There are few classes. A list with any filter on them looks at the head of each that matches and merges those,
-- so it never depends on how the letters of one class lie among those of others. It takes the place of the
-- indexes that knew all letters, or those of one queue. What lists and replays ask beyond the class is in it too.
CREATE INDEX dead_letters_class_idx ON dead_letters (class_id, state, last_failed_at, dead_letter_id)
    INCLUDE (error_id, fingerprint_id, archived_at);
-- The same for letters of one fingerprint: the counts tell in which classes and states there are any.
CREATE INDEX dead_letters_fingerprint_idx
    ON dead_letters (fingerprint_id, class_id, state, last_failed_at, dead_letter_id) INCLUDE (error_id, archived_at);
-- The same for types that are no part of a class.
CREATE INDEX dead_letters_type_idx ON dead_letters (type, last_failed_at, dead_letter_id)
    WHERE stage NOT IN ('store', 'integrate');
-- The same for errors with some text in them.
CREATE INDEX dead_letters_error_idx ON dead_letters (error_id, state, last_failed_at, dead_letter_id)
    INCLUDE (class_id, archived_at);
-- What has no fingerprint yet.
CREATE INDEX dead_letters_unprinted_idx ON dead_letters (dead_letter_id) WHERE fingerprint = '';
-- What a replay has sent, and what it left claimed when it was killed.
CREATE INDEX dead_letters_replay_idx ON dead_letters (replay_id, state, dead_letter_id) WHERE replay_id IS NOT NULL;
-- What may be removed once it is old enough.
CREATE INDEX dead_letters_settled_idx ON dead_letters (COALESCE(discarded_at, replayed_at))
    WHERE state IN ('replayed', 'discarded');
DROP INDEX dead_letters_newest_idx, dead_letters_open_idx, dead_letters_claimed_idx;

CREATE TABLE dead_letter_edits (
    edit_id        uuid        NOT NULL DEFAULT gen_random_uuid(),
    dead_letter_id uuid        NOT NULL,
    edited_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    who            text        NOT NULL,
    why            text,
    before         bytea       NOT NULL,
    CONSTRAINT dead_letter_edits_pkey PRIMARY KEY (edit_id),
    CONSTRAINT dead_letter_edits_dead_letter_id_fkey FOREIGN KEY (dead_letter_id)
        REFERENCES dead_letters (dead_letter_id) ON DELETE CASCADE
);
COMMENT ON TABLE dead_letter_edits IS 'Every change of a dead letter''s body.';
COMMENT ON COLUMN dead_letter_edits.edit_id IS 'Its id.';
COMMENT ON COLUMN dead_letter_edits.dead_letter_id IS 'The dead letter.';
COMMENT ON COLUMN dead_letter_edits.edited_at IS 'When.';
COMMENT ON COLUMN dead_letter_edits.who IS 'Who changed it.';
COMMENT ON COLUMN dead_letter_edits.why IS 'Why, where somebody said so.';
COMMENT ON COLUMN dead_letter_edits.before IS 'The body that was replaced; that of the first edit is the original.';

-- The edits of one letter.
CREATE INDEX dead_letter_edits_letter_idx ON dead_letter_edits (dead_letter_id, edited_at);

CREATE TABLE dead_letter_classes (
    class_id    uuid NOT NULL,
    queue       text NOT NULL,
    reason      text NOT NULL,
    destination text,
    type        text,
    group_id    uuid NOT NULL
        GENERATED ALWAYS AS (md5(md5(queue) || md5(reason) || COALESCE(md5(destination), '-'))::uuid) STORED,
    CONSTRAINT dead_letter_classes_pkey PRIMARY KEY (class_id)
);
COMMENT ON TABLE dead_letter_classes IS 'Every combination of queue, reason, destination and validated type that dead letters have had.';
COMMENT ON COLUMN dead_letter_classes.class_id IS 'Made from the other columns.';
COMMENT ON COLUMN dead_letter_classes.queue IS 'The queue they died in.';
COMMENT ON COLUMN dead_letter_classes.reason IS 'The stable reason code.';
COMMENT ON COLUMN dead_letter_classes.destination IS 'The destination, in the integrate stage.';
COMMENT ON COLUMN dead_letter_classes.type IS 'The type, in the stages after validate.';
COMMENT ON COLUMN dead_letter_classes.group_id IS 'Stands for queue, reason and destination.';

-- Holds the whole row, so that there is an index for any filter: our sessions do without scans of tables, and a plan
-- that cannot is costed so high that the rest of it hardly counts.
CREATE INDEX dead_letter_classes_filter_idx ON dead_letter_classes (queue, reason, destination, type, class_id);

CREATE TABLE dead_letter_errors (
    error_id       uuid   NOT NULL,
    error          text   NOT NULL,
    fingerprint_id uuid   NOT NULL,
    letters        bigint NOT NULL,
    CONSTRAINT dead_letter_errors_pkey PRIMARY KEY (error_id)
)
WITH (fillfactor = 70);
COMMENT ON TABLE dead_letter_errors IS 'Every error of a dead letter once, to find texts in.';
COMMENT ON COLUMN dead_letter_errors.error_id IS 'Made from the error and its fingerprint.';
COMMENT ON COLUMN dead_letter_errors.error IS 'The chain of errors, outermost first.';
COMMENT ON COLUMN dead_letter_errors.fingerprint_id IS 'Stands for its fingerprint.';
COMMENT ON COLUMN dead_letter_errors.letters IS 'How many dead letters have it.';

CREATE TABLE dead_letter_counts (
    class_id    uuid        NOT NULL,
    fingerprint text        NOT NULL,
    hour        timestamptz NOT NULL,
    state       text        NOT NULL,
    letters     bigint      NOT NULL,
    first_at    timestamptz NOT NULL,
    last_at     timestamptz NOT NULL,
    CONSTRAINT dead_letter_counts_pkey PRIMARY KEY (class_id, fingerprint, hour, state)
)
-- A row is updated with every batch of its hour: that stays on its page, as no index holds a column that changes.
WITH (fillfactor = 50);
COMMENT ON TABLE dead_letter_counts IS 'How many dead letters there are, kept by triggers in the transaction of every change.';
COMMENT ON COLUMN dead_letter_counts.class_id IS 'Their queue, reason, destination and validated type, in dead_letter_classes.';
COMMENT ON COLUMN dead_letter_counts.fingerprint IS 'What their errors have in common.';
COMMENT ON COLUMN dead_letter_counts.state IS 'What has been done about them.';
COMMENT ON COLUMN dead_letter_counts.hour IS 'The hour, in UTC, in which they were given up; -infinity for those of all hours together.';
COMMENT ON COLUMN dead_letter_counts.letters IS 'How many.';
COMMENT ON COLUMN dead_letter_counts.first_at IS 'When the first that was in this state was given up.';
COMMENT ON COLUMN dead_letter_counts.last_at IS 'When the last that was in this state was given up.';

-- All that was counted in some hours, or in all of them.
CREATE INDEX dead_letter_counts_hour_idx ON dead_letter_counts (hour, class_id);

-- Once for each statement, whoever changes dead letters, also a program of the version before.
CREATE FUNCTION count_dead_letters() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
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

CREATE TRIGGER dead_letters_come AFTER INSERT ON dead_letters
    REFERENCING NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION count_dead_letters();
CREATE TRIGGER dead_letters_change AFTER UPDATE ON dead_letters
    REFERENCING OLD TABLE AS went NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION count_dead_letters();
CREATE TRIGGER dead_letters_go AFTER DELETE ON dead_letters
    REFERENCING OLD TABLE AS went FOR EACH STATEMENT EXECUTE FUNCTION count_dead_letters();

-- What is there already.
INSERT INTO dead_letter_classes (class_id, queue, reason, destination, type)
SELECT DISTINCT ON (class_id) class_id, queue, reason, destination,
       CASE WHEN stage IN ('store', 'integrate') THEN type END
FROM dead_letters;
INSERT INTO dead_letter_errors (error_id, error, fingerprint_id, letters)
SELECT error_id, min(error), min(fingerprint_id::text)::uuid, count(*) FROM dead_letters GROUP BY error_id;
INSERT INTO dead_letter_counts
SELECT class_id, fingerprint, counted_as, state, count(*), min(last_failed_at), max(last_failed_at)
FROM dead_letters
CROSS JOIN LATERAL (VALUES (date_trunc('hour', last_failed_at, 'UTC')), ('-infinity')) AS place (counted_as)
GROUP BY 1, 2, 3, 4;

-- Texts are found at once with the index of pg_trgm, which comes with PostgreSQL. Without it every distinct error is
-- read, which is fine for some ten thousand of them. Capitals of ASCII alone are as good as small letters: that is
-- the same in every database, whatever its locale. Where a fingerprint has the text, each of its errors has it, and
-- none of them is looked at: the index leaves them out.
DO $$
DECLARE
    home text;
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm' AND installed_version IS NULL) THEN
        -- It belongs to the whole database: other namespaces may be at this point as well.
        PERFORM pg_advisory_xact_lock(hashtextextended('longshore pg_trgm', 0));
        BEGIN
            CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;
        EXCEPTION WHEN insufficient_privilege OR invalid_schema_name THEN
            RAISE NOTICE 'pg_trgm is not installed: ask an administrator for it where searching errors takes long';
        END;
    END IF;
    SELECT quote_ident(nspname) INTO home
    FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'pg_trgm';
    IF home IS NOT NULL THEN
        EXECUTE format('CREATE INDEX dead_letter_errors_text_idx ON dead_letter_errors '
            'USING gin (lower(error COLLATE "C") %s.gin_trgm_ops, (ARRAY[fingerprint_id]))', home);
    END IF;
END
$$;
