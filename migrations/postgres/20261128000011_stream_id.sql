-- A stream keeps less of some messages than their queues. Where the id of an event is made of what it drops, the history
-- makes another id of the event; by this one the event is known there.

ALTER TABLE events ADD COLUMN stream_id uuid;
COMMENT ON COLUMN events.stream_id IS 'The id that the history makes of the event, where a stream drops parts that its own id is made of (docs/identity.md); none for any other event, and for one that is older than this column.';
ALTER TABLE rejections ADD COLUMN stream_id uuid;
COMMENT ON COLUMN rejections.stream_id IS 'The id that the history makes of the event, where a stream drops parts that its own id is made of (docs/identity.md); none for any other event, and for one that is older than this column.';

-- What became of an entry of the history.
CREATE INDEX events_stream_id_idx ON events (stream_id, received_at) WHERE stream_id IS NOT NULL;
CREATE INDEX rejections_stream_id_idx ON rejections (stream_id, received_at) WHERE stream_id IS NOT NULL;
