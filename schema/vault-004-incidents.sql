-- vault.db: incidents (personal-data breaches), what they rest on, and who is told of them.

-- What may name a person is in `sealed`, under the vault's own key "incident", bound to id and version. A rule opens one without it.
CREATE TABLE incidents (
    id          BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind        INTEGER NOT NULL,
    risk        INTEGER NOT NULL,
    cause       TEXT, -- the audit log's action that opened it; NULL: an officer did
    opened_by   BLOB CHECK (length(opened_by) = 16),
    aware_at    INTEGER NOT NULL,
    due_at      INTEGER NOT NULL, -- when the authority is to be told
    notified_at INTEGER NOT NULL, -- 0: it is not
    closed_at   INTEGER NOT NULL, -- 0: open
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    evidence    INTEGER NOT NULL, -- how many events there were; the first and newest of them are in incident_evidence
    evidence_at INTEGER NOT NULL, -- of the newest one; 0: none
    sealed      BLOB,
    version     INTEGER NOT NULL
) STRICT;
CREATE INDEX incidents_open ON incidents (due_at) WHERE closed_at = 0;
CREATE INDEX incidents_cause ON incidents (cause, evidence_at) WHERE closed_at = 0 AND cause IS NOT NULL;

-- References into the audit log.
CREATE TABLE incident_evidence (
    incident  BLOB NOT NULL REFERENCES incidents (id),
    number    INTEGER NOT NULL, -- 1, 2, ...
    seq       INTEGER NOT NULL, -- the audit entry's
    at        INTEGER NOT NULL,
    principal BLOB CHECK (length(principal) = 16),
    request   BLOB CHECK (length(request) = 16),
    session   TEXT, -- names it without being of use to sign in
    address   TEXT,
    detail    TEXT,
    PRIMARY KEY (incident, number)
) STRICT, WITHOUT ROWID;

-- Telling data subjects: one row a text and the people it goes to. Worked off in batches; each moves `after` in the commit of its
-- notices.
CREATE TABLE incident_mailings (
    id          BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    incident    BLOB NOT NULL REFERENCES incidents (id),
    digest      BLOB NOT NULL CHECK (length(digest) = 32), -- of the text
    doc         TEXT NOT NULL, -- the notices' own
    scope       TEXT, -- which subjects: those that these accesses touched; NULL: those in `subjects`
    subjects    BLOB, -- ids one after the other, ascending
    upto        INTEGER NOT NULL, -- the newest audit entry that counts
    after       BLOB CHECK (length(after) = 16), -- the last subject that was worked off
    created_by  BLOB NOT NULL CHECK (length(created_by) = 16),
    created_at  INTEGER NOT NULL,
    done_at     INTEGER NOT NULL, -- 0: under way
    told        INTEGER NOT NULL,
    before      INTEGER NOT NULL, -- had been told this text of this incident already
    unreachable INTEGER NOT NULL  -- nobody can sign in for them
) STRICT;
CREATE INDEX incident_mailings_incident ON incident_mailings (incident, id);
CREATE INDEX incident_mailings_waiting ON incident_mailings (id) WHERE done_at = 0;

-- Who has been told which text: nobody is told it twice.
CREATE TABLE incident_told (
    incident BLOB NOT NULL REFERENCES incidents (id),
    digest   BLOB NOT NULL CHECK (length(digest) = 32),
    subject  BLOB NOT NULL CHECK (length(subject) = 16),
    PRIMARY KEY (incident, digest, subject)
) STRICT, WITHOUT ROWID;
