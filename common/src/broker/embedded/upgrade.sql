-- From version 1 of the schema to version 2. What waits for its time had a place in the future.
ALTER TABLE waiting ADD COLUMN due INTEGER NOT NULL DEFAULT 0;
ALTER TABLE waiting ADD COLUMN delay INTEGER NOT NULL DEFAULT 0;
ALTER TABLE history ADD COLUMN at INTEGER;
CREATE INDEX waiting_due ON waiting (queue, due) WHERE due > 0;
CREATE INDEX waiting_since ON waiting (queue, due - delay) WHERE due > 0;
UPDATE waiting SET due = place, delay = place - message, place = 4611686018427387904 + message
WHERE place > (SELECT clock FROM state);
UPDATE state SET version = 2;
