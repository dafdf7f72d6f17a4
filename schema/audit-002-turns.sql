-- audit.db: what the newest groups did, beside their entries and in the same commit: a ring of rows, written over when the vault has
-- taken them in. So a request that only reads costs one flush, this database's.

CREATE TABLE turns (
    slot    INTEGER PRIMARY KEY, -- number % the ring's size
    number  INTEGER NOT NULL,    -- of the group
    first   INTEGER NOT NULL,    -- its entries; first = last + 1: none
    last    INTEGER NOT NULL,
    effects INTEGER NOT NULL,    -- 1: it changed the vault too, in a commit after this one
    turns   BLOB NOT NULL        -- the sessions' new tokens, packed (src/store/sqlcipher/turns.c)
) STRICT;

-- Until now each group changed the vault.
INSERT INTO turns (slot, number, first, last, effects, turns) SELECT 0, 0, 1, coalesce(max(seq), 0), 1, x'' FROM entries;
