-- keys.db: data keys, each wrapped (RFC 5649) by a version of the master key.

CREATE TABLE subject_keys (
    subject BLOB NOT NULL PRIMARY KEY CHECK (length(subject) = 16),
    master  INTEGER NOT NULL,
    wrapped BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE named_keys (
    name    TEXT NOT NULL PRIMARY KEY,
    master  INTEGER NOT NULL,
    wrapped BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Subjects whose key was destroyed by the newest commit here. The vault commits after this database: after a crash between
-- the two, the deletion of these subjects is completed.
CREATE TABLE erasing (
    subject BLOB NOT NULL PRIMARY KEY CHECK (length(subject) = 16)
) STRICT, WITHOUT ROWID;
