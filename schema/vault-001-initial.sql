-- vault.db: principals and their sessions, what requests answered, types, subjects, records, activities, grants.
--
-- Ids are UUIDv7 (16 bytes), so rows made one after the other lie side by side. Small rows that are found by their key live
-- in a table WITHOUT ROWID (one B-tree to descend); rows with a long payload live in a rowid table, because in a tree
-- WITHOUT ROWID the payload would sit in the inner pages and make it deep. Times are ms.

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The head of the audit log as of the newest commit: seq (8 bytes, big endian) and hash.
INSERT INTO meta (name, value) VALUES ('audit.anchor', zeroblob(40));

CREATE TABLE subjects (
    id            BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    created_by    BLOB NOT NULL CHECK (length(created_by) = 16),
    created_at    INTEGER NOT NULL,
    restricted_at INTEGER NOT NULL -- 0: not restricted
) STRICT, WITHOUT ROWID;

CREATE TABLE principals (
    id               BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    uid              TEXT NOT NULL COLLATE NOCASE UNIQUE,
    name             TEXT NOT NULL,
    role             INTEGER NOT NULL,
    subject          BLOB REFERENCES subjects (id) ON DELETE CASCADE,
    disabled         INTEGER NOT NULL,
    may_register     INTEGER NOT NULL,
    password_initial INTEGER NOT NULL,
    password         TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    version          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX principals_subject ON principals (subject) WHERE subject IS NOT NULL;
CREATE INDEX principals_enabled ON principals (role) WHERE disabled = 0;

-- Written at each request. No index holds a column that a request changes, except used_hour, which changes once an hour.
CREATE TABLE sessions (
    client      TEXT NOT NULL PRIMARY KEY,
    principal   BLOB NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
    current     BLOB NOT NULL,
    previous    BLOB, -- NULL: not used yet
    previous_at INTEGER NOT NULL,
    request     BLOB, -- NULL: the request had no Idempotency-Key
    created_at  INTEGER NOT NULL,
    used_at     INTEGER NOT NULL,
    used_hour   INTEGER NOT NULL, -- used_at / 3600000, by which idle sessions are found
    lane        INTEGER NOT NULL,
    origin      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_principal ON sessions (principal);
CREATE INDEX sessions_used ON sessions (used_hour);
CREATE INDEX sessions_created ON sessions (created_at);

CREATE TABLE outcomes (
    row        INTEGER PRIMARY KEY,
    principal  BLOB NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
    key        BLOB NOT NULL CHECK (length(key) = 32),
    request    BLOB NOT NULL CHECK (length(request) = 32),
    subject    BLOB REFERENCES subjects (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    sealed     BLOB NOT NULL,
    UNIQUE (principal, key)
) STRICT;
CREATE INDEX outcomes_subject ON outcomes (subject) WHERE subject IS NOT NULL;
CREATE INDEX outcomes_created ON outcomes (created_at);

CREATE TABLE import_batches (
    row        INTEGER PRIMARY KEY,
    principal  BLOB NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
    key        BLOB NOT NULL CHECK (length(key) = 32),
    number     INTEGER NOT NULL,
    input      BLOB NOT NULL CHECK (length(input) = 32),
    lines      INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    results    BLOB NOT NULL,
    UNIQUE (principal, key, number)
) STRICT;
CREATE INDEX import_batches_created ON import_batches (created_at);

CREATE TABLE types (
    row        INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    version    INTEGER NOT NULL,
    schema     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE records (
    row        INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    subject    BLOB NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    type       TEXT NOT NULL REFERENCES types (name),
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by BLOB NOT NULL CHECK (length(updated_by) = 16),
    sealed     BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX records_subject ON records (subject, id);
CREATE INDEX records_type ON records (type);

-- What a record was before: the stored version moves here when it is replaced.
CREATE TABLE record_versions (
    row        INTEGER PRIMARY KEY,
    record     INTEGER NOT NULL REFERENCES records (row) ON DELETE CASCADE,
    version    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by BLOB NOT NULL CHECK (length(updated_by) = 16),
    sealed     BLOB NOT NULL,
    UNIQUE (record, version)
) STRICT;

-- The blind index. A field's name is long and repeats; its number stands for type and field in the index.
CREATE TABLE index_fields (
    number  INTEGER PRIMARY KEY,
    type    TEXT NOT NULL REFERENCES types (name) ON DELETE CASCADE,
    pointer TEXT NOT NULL,
    UNIQUE (type, pointer)
) STRICT;

CREATE TABLE index_entries (
    field  INTEGER NOT NULL REFERENCES index_fields (number) ON DELETE CASCADE,
    mac    BLOB NOT NULL CHECK (length(mac) = 16),
    id     BLOB NOT NULL, -- the record's, so that a look-up reads its page of results in order
    record INTEGER NOT NULL REFERENCES records (row) ON DELETE CASCADE,
    PRIMARY KEY (field, mac, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_entries_record ON index_entries (record);

CREATE TABLE activities (
    id         BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    doc        TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL, -- 0: live
    version    INTEGER NOT NULL
) STRICT;

-- A grant outlives its grantee: the subject still sees what it had granted.
CREATE TABLE grants (
    id           BLOB NOT NULL CHECK (length(id) = 16),
    subject      BLOB NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    grantee      BLOB NOT NULL CHECK (length(grantee) = 16),
    activity     BLOB NOT NULL REFERENCES activities (id),
    types        TEXT NOT NULL,
    fields       TEXT NOT NULL,
    masked       INTEGER NOT NULL,
    actions      INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL, -- 0: does not
    withdrawn_at INTEGER NOT NULL, -- 0: live
    PRIMARY KEY (subject, id)
) STRICT, WITHOUT ROWID;
