-- One letter for messages that are equal in everything, with how often they came; and what of a letter was mended
-- beside its body.

-- How often the message came at least: what may have been counted already is not counted again.
ALTER TABLE "NAMESPACE.dead_letters" ADD COLUMN copies INTEGER NOT NULL DEFAULT 1
    CONSTRAINT dead_letters_copies_range CHECK (copies >= 1);

-- Routing key, properties and headers that were replaced; none where only the body was.
ALTER TABLE "NAMESPACE.dead_letter_edits" ADD COLUMN envelope TEXT
    CONSTRAINT dead_letter_edits_envelope_is_json CHECK (json_valid(envelope));
