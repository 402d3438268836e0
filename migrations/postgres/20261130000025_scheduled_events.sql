-- Scheduled events: stored, and handed on when their moment has come.

CREATE TABLE scheduled_events (
    event_id      uuid NOT NULL REFERENCES events (event_id) ON DELETE CASCADE,
    not_before    timestamptz NOT NULL,
    sent_at       timestamptz,
    released_at   timestamptz,
    cancelled_at  timestamptz,
    cancelled_by  text,
    cancelled_why text,
    CONSTRAINT scheduled_events_pkey PRIMARY KEY (event_id),
    CONSTRAINT scheduled_events_ended_once CHECK (released_at IS NULL OR cancelled_at IS NULL),
    CONSTRAINT scheduled_events_cancelled_known CHECK ((cancelled_at IS NULL) = (cancelled_by IS NULL))
);
CREATE INDEX scheduled_events_waiting_idx ON scheduled_events (not_before, event_id)
    WHERE released_at IS NULL AND cancelled_at IS NULL;
CREATE INDEX scheduled_events_unsent_idx ON scheduled_events (not_before, event_id)
    WHERE sent_at IS NULL AND released_at IS NULL AND cancelled_at IS NULL;
CREATE INDEX scheduled_events_sent_idx ON scheduled_events (sent_at)
    WHERE sent_at IS NOT NULL AND released_at IS NULL AND cancelled_at IS NULL;

COMMENT ON TABLE scheduled_events IS 'Events that name a moment before which nobody gets them, and that came before it. One waits until it is released or cancelled.';
COMMENT ON COLUMN scheduled_events.event_id IS 'The event.';
COMMENT ON COLUMN scheduled_events.not_before IS 'The moment.';
COMMENT ON COLUMN scheduled_events.sent_at IS 'When the store stage was last told that the moment has come.';
COMMENT ON COLUMN scheduled_events.released_at IS 'When the event was handed on, in the transaction that wrote its deliveries down as due.';
COMMENT ON COLUMN scheduled_events.cancelled_at IS 'When it was cancelled: nobody gets it.';
COMMENT ON COLUMN scheduled_events.cancelled_by IS 'Who cancelled it: a caller of the door, or an operator.';
COMMENT ON COLUMN scheduled_events.cancelled_why IS 'The reason, where one was given.';
