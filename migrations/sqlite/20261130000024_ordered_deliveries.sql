-- Ordered destinations: the deliveries that have a place behind, or before, others of their key. Of those with one key only the
-- first is made; it leaves the table when it has ended.

CREATE TABLE "NAMESPACE.ordered_deliveries" (
    destination TEXT NOT NULL,
    event_id    BLOB NOT NULL REFERENCES "NAMESPACE.events" (event_id) ON DELETE CASCADE,
    -- The newest generation of the delivery.
    generation  INTEGER NOT NULL,
    -- A UUID of version 5 made of the extension partitionkey, else of the subject.
    order_key   BLOB NOT NULL,
    -- When the event came through a door: the order, and then the id.
    received_at TEXT NOT NULL,
    -- When it took its place.
    entered_at  TEXT NOT NULL,
    -- When the one before it ended.
    first_at    TEXT,
    -- The worker that makes an attempt now, and until when nobody else makes one.
    held_by     BLOB,
    held_until  TEXT,
    PRIMARY KEY (destination, event_id)
) STRICT;
CREATE INDEX "NAMESPACE.ordered_deliveries_order_idx"
    ON "NAMESPACE.ordered_deliveries" (destination, order_key, received_at, event_id);
CREATE INDEX "NAMESPACE.ordered_deliveries_event_id_idx" ON "NAMESPACE.ordered_deliveries" (event_id);
