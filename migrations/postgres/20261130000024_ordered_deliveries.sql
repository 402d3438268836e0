-- Ordered destinations: the deliveries that have a place behind, or before, others of their key.

CREATE TABLE ordered_deliveries (
    destination text NOT NULL,
    event_id    uuid NOT NULL REFERENCES events (event_id) ON DELETE CASCADE,
    generation  bigint NOT NULL,
    order_key   uuid NOT NULL,
    received_at timestamptz NOT NULL,
    entered_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    first_at    timestamptz,
    held_by     uuid,
    held_until  timestamptz,
    CONSTRAINT ordered_deliveries_pkey PRIMARY KEY (destination, event_id),
    CONSTRAINT ordered_deliveries_generation_range CHECK (generation BETWEEN 0 AND 4294967295),
    CONSTRAINT ordered_deliveries_held_known CHECK ((held_by IS NULL) = (held_until IS NULL))
);
CREATE INDEX ordered_deliveries_order_idx ON ordered_deliveries (destination, order_key, received_at, event_id);
CREATE INDEX ordered_deliveries_event_id_idx ON ordered_deliveries (event_id);

COMMENT ON TABLE ordered_deliveries IS 'Deliveries to ordered destinations that have not ended. Of those with one key only the first is made; it leaves the table when it has ended.';
COMMENT ON COLUMN ordered_deliveries.destination IS 'The name of the destination.';
COMMENT ON COLUMN ordered_deliveries.event_id IS 'The event.';
COMMENT ON COLUMN ordered_deliveries.generation IS 'The newest generation of the delivery.';
COMMENT ON COLUMN ordered_deliveries.order_key IS 'A UUID of version 5 made of the extension partitionkey, else of the subject.';
COMMENT ON COLUMN ordered_deliveries.received_at IS 'When the event came through a door: the order, and then the id.';
COMMENT ON COLUMN ordered_deliveries.entered_at IS 'When it took its place.';
COMMENT ON COLUMN ordered_deliveries.first_at IS 'When the one before it ended.';
COMMENT ON COLUMN ordered_deliveries.held_by IS 'The worker that makes an attempt now.';
COMMENT ON COLUMN ordered_deliveries.held_until IS 'Until when nobody else makes one.';
