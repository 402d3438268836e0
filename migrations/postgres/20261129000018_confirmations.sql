-- Confirmations: signups whose address was confirmed by the link that was sent to it.

CREATE TABLE confirmations (
    signup_id    uuid        NOT NULL,
    email        text        NOT NULL,
    confirmed_at timestamptz NOT NULL,
    event_id     uuid        NOT NULL,
    CONSTRAINT confirmations_pkey PRIMARY KEY (signup_id),
    -- The signup itself may be stored later: in another database, both are replayed in any order.
    CONSTRAINT confirmations_event_id_fkey FOREIGN KEY (event_id) REFERENCES events (event_id) ON DELETE CASCADE
);
COMMENT ON TABLE confirmations IS 'What signup.confirmed events of the door tell: signups whose link was opened.';
COMMENT ON COLUMN confirmations.signup_id IS 'The event of the signup.';
COMMENT ON COLUMN confirmations.email IS 'The address that the link was sent to.';
COMMENT ON COLUMN confirmations.confirmed_at IS 'When the link was opened.';
COMMENT ON COLUMN confirmations.event_id IS 'The event that tells it.';
