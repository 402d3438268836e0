-- Only the newest generation of what died is open: sending an older one as well would make the delivery twice.

ALTER TABLE dead_letters
    ADD COLUMN superseded_at timestamptz,
    DROP CONSTRAINT dead_letters_state_known,
    ADD CONSTRAINT dead_letters_state_known
        CHECK (state IN ('open', 'replaying', 'replayed', 'discarded', 'superseded')) NOT VALID,
    ADD CONSTRAINT dead_letters_superseded_known
        CHECK ((state = 'superseded') <= (superseded_at IS NOT NULL)) NOT VALID;
COMMENT ON COLUMN dead_letters.state IS 'open: nothing was done yet; replaying: a replay has claimed it; replayed: it was sent again; discarded: given up for good; superseded: a later generation died or was delivered, so there is nothing to do about this one.';
COMMENT ON COLUMN dead_letters.superseded_at IS 'When it was seen that it is superseded.';

-- What may be removed once it is old enough.
DROP INDEX dead_letters_settled_idx;
CREATE INDEX dead_letters_settled_idx ON dead_letters (COALESCE(discarded_at, replayed_at, superseded_at))
    WHERE state IN ('replayed', 'discarded', 'superseded');

-- What is there already.
UPDATE dead_letters AS letter SET state = 'superseded', superseded_at = clock_timestamp()
WHERE state = 'open' AND stage = 'integrate' AND destination IS NOT NULL AND (
    EXISTS (
        SELECT FROM dead_letters AS newer
        WHERE newer.event_id = letter.event_id AND newer.destination = letter.destination
              AND newer.stage = 'integrate' AND newer.generation > letter.generation)
    OR EXISTS (
        SELECT FROM deliveries AS delivery
        WHERE delivery.event_id = letter.event_id AND delivery.destination = letter.destination
              AND delivery.generation >= letter.generation AND delivery.status = 'delivered'));
