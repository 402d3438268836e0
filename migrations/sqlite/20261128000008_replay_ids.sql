-- Whether receivers know what a replay sends by other ids.

-- Whether receivers get it under another webhook-id than before.
ALTER TABLE "NAMESPACE.replays" ADD COLUMN new_ids INTEGER NOT NULL DEFAULT 0
    CONSTRAINT replays_new_ids_range CHECK (new_ids IN (0, 1));
