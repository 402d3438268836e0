-- Confirmations: signups whose address was confirmed by the link that was sent to it.

-- What signup.confirmed events of the door tell: signups whose link was opened.
CREATE TABLE "NAMESPACE.confirmations" (
    -- The event of the signup.
    signup_id BLOB NOT NULL,
    -- The address that the link was sent to.
    email TEXT NOT NULL,
    -- When the link was opened.
    confirmed_at TEXT NOT NULL,
    -- The event that tells it.
    event_id BLOB NOT NULL,
    CONSTRAINT confirmations_pkey PRIMARY KEY (signup_id),
    -- The signup itself may be stored later: in another database, both are replayed in any order.
    CONSTRAINT confirmations_event_id_fkey FOREIGN KEY (event_id)
        REFERENCES "NAMESPACE.events" (event_id) ON DELETE CASCADE
) STRICT;
