-- What a stream keeps of a message may be less than what its queue had. A letter has a second key, made of what both
-- have, so that it is known by its entry in the history all the same.

-- Made of what every engine keeps of a message in the history (docs/identity.md); none where the letter is about an
-- event of ours, did not die at the door, or is older than this column.
ALTER TABLE "NAMESPACE.dead_letters" ADD COLUMN entry_key BLOB;

-- What became of an entry of the history.
CREATE INDEX "NAMESPACE.dead_letters_entry_key_idx" ON "NAMESPACE.dead_letters" (entry_key)
    WHERE entry_key IS NOT NULL;
