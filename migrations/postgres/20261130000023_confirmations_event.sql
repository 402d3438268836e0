-- An event that is deleted, as of an address that is taken, looks for its confirmation.

CREATE INDEX confirmations_event_id_idx ON confirmations (event_id);
