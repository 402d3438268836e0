-- Dead letters are discarded and restored in bulk by operations as well: workers run them like replays.

-- What it does with the messages that it matches: sends them again, or discards or restores them. `replayed` counts
-- the messages or letters of either.
ALTER TABLE "NAMESPACE.replays" ADD COLUMN kind TEXT NOT NULL DEFAULT 'replay'
    CONSTRAINT replays_kind_known CHECK (kind IN ('replay', 'discard', 'restore'))
    CONSTRAINT replays_discard_has_why CHECK (kind <> 'discard' OR why IS NOT NULL);
