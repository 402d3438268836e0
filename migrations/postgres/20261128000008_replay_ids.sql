-- Whether receivers know what a replay sends by other ids.

ALTER TABLE replays ADD COLUMN new_ids boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN replays.new_ids IS 'Whether receivers get it under another webhook-id than before.';
