-- One letter for messages that are equal in everything, with how often they came; and what of a letter was mended
-- beside its body.

ALTER TABLE dead_letters
    ADD COLUMN copies bigint NOT NULL DEFAULT 1,
    ADD CONSTRAINT dead_letters_copies_range CHECK (copies >= 1);
COMMENT ON COLUMN dead_letters.dead_letter_id IS 'Made from what tells two messages apart (docs/identity.md), so that keeping one twice keeps one.';
COMMENT ON COLUMN dead_letters.copies IS 'How often the message came at least: what may have been counted already is not counted again.';

ALTER TABLE dead_letter_edits ADD COLUMN envelope json;
COMMENT ON TABLE dead_letter_edits IS 'Every change of a dead letter.';
COMMENT ON COLUMN dead_letter_edits.envelope IS 'Routing key, properties and headers that were replaced; none where only the body was.';
