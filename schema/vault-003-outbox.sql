-- vault.db: how notices are sent.

-- Where a principal gets its notices, sealed: a person's address under its data key, with which it goes.
CREATE TABLE contacts (
    principal  BLOB NOT NULL PRIMARY KEY REFERENCES principals (id) ON DELETE CASCADE,
    sealed     BLOB NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- What kept it from being sent the last time, such as 'no-contact'; '': nothing.
ALTER TABLE notices ADD COLUMN problem TEXT NOT NULL DEFAULT '';
CREATE INDEX notices_waiting ON notices (id) WHERE next_at <> 0;
CREATE INDEX notices_dead ON notices (id) WHERE next_at = 0 AND sent_at = 0;
CREATE INDEX notices_recipient ON notices (recipient) WHERE next_at <> 0;

-- Officers are told once that a date comes near, and once that it is past: the dates they were told of.
ALTER TABLE requests ADD COLUMN told_due INTEGER NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN told_overdue INTEGER NOT NULL DEFAULT 0;
