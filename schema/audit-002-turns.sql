-- audit.db: what the newest groups did, beside their entries and in the same commit: a ring of rows, written over when the vault has
-- taken them in. So a request that only reads costs one flush, this database's.

CREATE TABLE turns (
    slot    INTEGER PRIMARY KEY, -- number % the ring's size
    number  INTEGER NOT NULL,    -- counts up
    first   INTEGER NOT NULL,    -- the group's entries; first = last + 1: none
    last    INTEGER NOT NULL,
    effects INTEGER NOT NULL,    -- 1: it changed the vault too, in a commit after this one
    count   INTEGER NOT NULL,    -- of the turns that follow; the rest is zeros
    turns   BLOB NOT NULL        -- the sessions' new tokens, packed (src/store/sqlcipher/turns.c)
) STRICT;

-- Until now each group changed the vault.
INSERT INTO turns (slot, number, first, last, effects, count, turns)
    SELECT 0, 0, 1, coalesce(max(seq), 0), 1, 0, x'' FROM entries;

-- Which entries are about whom: filled in the subjects' order, many at once (src/store/sqlcipher/audit_index.c), up to the entry `done`.
CREATE TABLE entries_of (
    subject BLOB NOT NULL CHECK (length(subject) = 16),
    seq     INTEGER NOT NULL,
    PRIMARY KEY (subject, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE indexed (
    done INTEGER NOT NULL
) STRICT;
INSERT INTO entries_of (subject, seq) SELECT subject, seq FROM entries WHERE subject IS NOT NULL ORDER BY subject, seq;
INSERT INTO indexed (done) SELECT coalesce(max(seq), 0) FROM entries;
DROP INDEX entries_subject;
