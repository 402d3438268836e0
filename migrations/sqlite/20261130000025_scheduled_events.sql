-- Scheduled events: stored, and handed on when their moment has come. Events that name a moment before which nobody gets them, and
-- that came before it. One waits until it is released or cancelled.

CREATE TABLE "NAMESPACE.scheduled_events" (
    event_id      BLOB NOT NULL PRIMARY KEY REFERENCES "NAMESPACE.events" (event_id) ON DELETE CASCADE,
    not_before    TEXT NOT NULL,
    -- When the store stage was last told that the moment has come.
    sent_at       TEXT,
    -- When the event was handed on, in the transaction that wrote its deliveries down as due.
    released_at   TEXT,
    -- When it was cancelled, by whom (a caller of the door, or an operator), and why: nobody gets it.
    cancelled_at  TEXT,
    cancelled_by  TEXT,
    cancelled_why TEXT,
    CHECK (released_at IS NULL OR cancelled_at IS NULL),
    CHECK ((cancelled_at IS NULL) = (cancelled_by IS NULL))
) STRICT;
CREATE INDEX "NAMESPACE.scheduled_events_waiting_idx" ON "NAMESPACE.scheduled_events" (not_before, event_id)
    WHERE released_at IS NULL AND cancelled_at IS NULL;
CREATE INDEX "NAMESPACE.scheduled_events_unsent_idx" ON "NAMESPACE.scheduled_events" (not_before, event_id)
    WHERE sent_at IS NULL AND released_at IS NULL AND cancelled_at IS NULL;
CREATE INDEX "NAMESPACE.scheduled_events_sent_idx" ON "NAMESPACE.scheduled_events" (sent_at)
    WHERE sent_at IS NOT NULL AND released_at IS NULL AND cancelled_at IS NULL;
