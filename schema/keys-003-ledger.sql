-- The erasure ledger: who was erased, by which request. It lies beside the keys, whose newest copy alone is kept in a backup, so that
-- whoever restores older data learns whom to erase again.

CREATE TABLE erasure_ledger (
    seq     INTEGER PRIMARY KEY,
    subject BLOB NOT NULL UNIQUE CHECK (length(subject) = 16),
    request BLOB NOT NULL CHECK (length(request) = 16),
    at      INTEGER NOT NULL
) STRICT;

-- The `erasing` row says for which request, so that the cut-off erasure goes on as one.
ALTER TABLE erasing ADD COLUMN request BLOB CHECK (length(request) = 16);
