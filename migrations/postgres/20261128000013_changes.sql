-- Dead letters are discarded and restored in bulk by operations as well: workers run them like replays.

ALTER TABLE replays
    ADD COLUMN kind text NOT NULL DEFAULT 'replay',
    ADD CONSTRAINT replays_kind_known CHECK (kind IN ('replay', 'discard', 'restore')),
    ADD CONSTRAINT replays_discard_has_why CHECK ((kind = 'discard') <= (why IS NOT NULL));
COMMENT ON TABLE replays IS 'Operations: what operators have started and workers run, such as replays.';
COMMENT ON COLUMN replays.kind IS 'What it does with the messages that it matches: sends them again, or discards or restores them.';
COMMENT ON COLUMN replays.replayed IS 'How many messages it has sent, or how many dead letters it has discarded or restored.';
