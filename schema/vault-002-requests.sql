-- vault.db: requests of data subjects, legal holds, notices to recipients, erasures that are under way.

-- 0: not being erased. From then on the subject is there for nobody; its rows go in bounded batches.
ALTER TABLE subjects ADD COLUMN erasing_at INTEGER NOT NULL DEFAULT 0;

-- A request outlives its subject, so that it can be shown years later: what names a person is in `sealed`, under the subject's
-- data key, and goes with it.
CREATE TABLE requests (
    id          BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    subject     BLOB NOT NULL CHECK (length(subject) = 16),
    kind        INTEGER NOT NULL,
    state       INTEGER NOT NULL,
    assignee    BLOB CHECK (length(assignee) = 16), -- an officer
    received_at INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    closed_at   INTEGER NOT NULL, -- 0: open
    updated_at  INTEGER NOT NULL,
    doc         TEXT NOT NULL, -- JSON without personal data
    sealed      BLOB,
    receipt     TEXT, -- JSON, signed
    version     INTEGER NOT NULL
) STRICT;
CREATE INDEX requests_subject ON requests (subject, id);
CREATE INDEX requests_open ON requests (due_at) WHERE closed_at = 0;

CREATE TABLE holds (
    id          BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    subject     BLOB NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    title       TEXT NOT NULL,
    legal_basis TEXT NOT NULL,
    created_by  BLOB NOT NULL CHECK (length(created_by) = 16),
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL, -- 0: does not
    lifted_by   BLOB CHECK (length(lifted_by) = 16),
    lifted_at   INTEGER NOT NULL -- 0: stands
) STRICT;
CREATE INDEX holds_subject ON holds (subject, id);

-- The outbox: written in the commit of its cause, sent afterwards. No personal data but the subject's id.
CREATE TABLE notices (
    id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    recipient  BLOB NOT NULL CHECK (length(recipient) = 16), -- a principal
    subject    BLOB CHECK (length(subject) = 16),
    request    BLOB CHECK (length(request) = 16),
    kind       TEXT NOT NULL, -- 'rectification', 'restriction', 'restriction-lifted', 'erasure', 'objection', ...
    doc        TEXT NOT NULL, -- JSON: what the recipient needs to know
    created_at INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    next_at    INTEGER NOT NULL, -- when it is to be tried; 0: not any more
    sent_at    INTEGER NOT NULL  -- 0: not yet
) STRICT;
CREATE INDEX notices_request ON notices (request, id);
CREATE INDEX notices_next ON notices (next_at) WHERE next_at <> 0;

CREATE TABLE erasures (
    subject    BLOB NOT NULL PRIMARY KEY CHECK (length(subject) = 16),
    request    BLOB NOT NULL CHECK (length(request) = 16),
    started_at INTEGER NOT NULL,
    phase      INTEGER NOT NULL, -- 0: rows are being deleted, 1: files are being cleaned
    records    INTEGER NOT NULL, -- deleted so far
    versions   INTEGER NOT NULL
) STRICT;

-- What is due: by type and age.
DROP INDEX records_type;
CREATE INDEX records_type ON records (type, created_at);

-- An activity may have an end that is known beforehand, and name types whose records are not kept beyond it.
ALTER TABLE activities ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0; -- 0: not known
ALTER TABLE activities ADD COLUMN retains INTEGER NOT NULL DEFAULT 0; -- 1: its document names record types
CREATE INDEX activities_expiring ON activities (expires_at) WHERE expires_at <> 0 AND ended_at = 0;
CREATE INDEX activities_retaining ON activities (id) WHERE retains <> 0;
