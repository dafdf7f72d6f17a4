-- audit.db: the append-only log. hash = SHA-256(0x01 | hash of seq - 1 | seq | at | subject or zeros | entry), see store.h.

CREATE TABLE entries (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    subject BLOB CHECK (length(subject) = 16),
    entry   TEXT NOT NULL,
    hash    BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
-- An index ends with the rowid, so this one is ordered by (subject, seq).
CREATE INDEX entries_subject ON entries (subject) WHERE subject IS NOT NULL;

-- Against mistakes; against a person with the key there is the chain.
CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
