-- An event that is deleted, as of an address that is taken, looks for its confirmation.

CREATE INDEX "NAMESPACE.confirmations_event_id_idx" ON "NAMESPACE.confirmations" (event_id);
