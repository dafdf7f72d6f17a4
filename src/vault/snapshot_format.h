/* Snapshot files: how they lie, byte by byte, is schema/snapshot-format.md.
 *
 * A head that anybody can read, then one sealed stream (crypto/stream.h) of blocks: pages of databases, small
 * files, an end with the counts. Each file has a fresh key, wrapped in the head by the current master key
 * (RFC 5649) and, where a recovery key is set, encrypted to it too (HPKE, RFC 9180). The head carries its
 * SHA-256, which is the associated data of every chunk: head and body belong together or do not open.
 *
 * Writer and reader hold both sides to the same rules: pages come in ascending order of (database, number),
 * each at most once and within the database's size; a full snapshot and a copy of the keys have every page.
 * Memory: less than 1 MiB each, whatever the size. Not for several threads at once.
 *
 * What the reader hands out is true but not whole until tr_snapshot_read has returned TR_OK: read once
 * without a visitor to verify, or write to a scratch folder that gets its name at the end.
 */
#ifndef TR_VAULT_SNAPSHOT_FORMAT_H
#define TR_VAULT_SNAPSHOT_FORMAT_H

#include "base/uuid.h"
#include "crypto/keyring.h"
#include "crypto/stream.h"

#define TR_SNAPSHOT_FORMAT        1 /* version: what a reader does not know it refuses */
#define TR_SNAPSHOT_DATABASES_MAX 4
#define TR_SNAPSHOT_SEGMENT_MAX   INT64_C(9999999999)  /* the largest number of a segment */
#define TR_SNAPSHOT_NAME_MAX      63                   /* bytes of a database's or a file's name */
#define TR_SNAPSHOT_FILE_MAX      ((size_t)512 * 1024) /* bytes of a file's content */

typedef enum tr_snapshot_kind {
    TR_SNAPSHOT_FULL,        /* every page of its databases */
    TR_SNAPSHOT_INCREMENTAL, /* the pages that differ from `base` */
    TR_SNAPSHOT_KEYS,        /* every page of the databases with the keys, kept apart from the others */
    TR_SNAPSHOT_SEGMENT,     /* of a log: the pages that changed since the segment before it */
    TR_SNAPSHOT_KEY_CHANGES, /* the pages of the databases with the keys that changed since `base` */
    TR_SNAPSHOT_KINDS
} tr_snapshot_kind;

typedef struct tr_snapshot_database {
    char name[TR_SNAPSHOT_NAME_MAX + 1]; /* "vault.db": letters, digits, '.', '-', '_'; no '.' in front */
    uint32_t page_size;                  /* bytes: a power of two, 512 to 65536 */
    uint32_t pages;                      /* of the whole database at that moment; may be 0 */
    int64_t schema;                      /* its schema's version (PRAGMA user_version), not negative */
} tr_snapshot_database;

typedef struct tr_snapshot_head {
    tr_uuid id;
    tr_snapshot_kind kind;
    tr_uuid base;       /* incremental and key changes: the snapshot before it, else nil */
    tr_uuid vault;      /* the vault's own id; nil: it has none */
    int64_t created_ms; /* the moment whose content this is; years 0001 to 9999 */
    tr_snapshot_database databases[TR_SNAPSHOT_DATABASES_MAX]; /* names differ */
    size_t database_count;
    int64_t audit_seq; /* the audit log's head at that moment; 0: empty or not in here */
    uint8_t audit_hash[TR_SHA256_LEN];
    tr_uuid log;        /* segment: its log; full and incremental: the log that goes on from here, or nil */
    int64_t log_number; /* segment: its own, from 1; else the newest one's before this moment, 0: none */
    /* A segment's: SHA-256 of the file of the segment before it (zero: it is the first), and the moment of
     * the copy of the keys that it needs, or of a later one. */
    uint8_t log_previous[TR_SHA256_LEN];
    int64_t log_keys_ms;
    /* The rest is not for the caller to set: the writer and the reader fill it. */
    uint32_t master; /* the version of the master key that wraps this file's key: it must not be destroyed
                        before the file is */
    bool has_recovery;
    uint8_t recovery[32]; /* the public recovery key to which it is encrypted too */
} tr_snapshot_head;

typedef struct tr_snapshot_counts {
    uint64_t pages;
    uint32_t files;
} tr_snapshot_counts;

const char *tr_snapshot_kind_name(tr_snapshot_kind kind); /* "full", ... */
/* Has a snapshot of this kind only some of the pages? */
bool tr_snapshot_is_partial(tr_snapshot_kind kind);

/* ---- writing ---- */

typedef struct tr_snapshot_writer tr_snapshot_writer;

/* Make the file's key, wrap it and write the head; head->master, has_recovery and recovery are filled in.
 * TR_E_INTERNAL names what is wrong with the head. The sink must live as long as the writer. */
tr_status tr_snapshot_writer_open(tr_keyring *ring, tr_snapshot_head *head, tr_stream_sink_fn sink,
                                  void *context, tr_snapshot_writer **out, tr_error *err);
/* `database` is the place in head->databases, `number` counts from 1, `content` has page_size bytes.
 * TR_E_INTERNAL: against the rules above. What the sink answers is passed on; after a failure every later
 * call fails too. */
tr_status tr_snapshot_writer_page(tr_snapshot_writer *writer, size_t database, uint32_t number,
                                  tr_bytes content, tr_error *err);
/* The content is at most TR_SNAPSHOT_FILE_MAX bytes. Files and pages may come in any order; a name comes
 * once: that is the caller's to see to. */
tr_status tr_snapshot_writer_file(tr_snapshot_writer *writer, const char *name, tr_bytes content,
                                  tr_error *err);
/* Write the end: only now the file is one that can be read. TR_E_INTERNAL when a page is missing. Flushing
 * to disk is the caller's. */
tr_status tr_snapshot_writer_close(tr_snapshot_writer *writer, tr_snapshot_counts *counts, tr_error *err);
/* After close, or instead of it: then what was written is refused by every reader. NULL is fine. */
void tr_snapshot_writer_free(tr_snapshot_writer *writer);

/* ---- reading ---- */

/* What a snapshot's head says of itself, without any key: for listings. Its checksum has been seen to match,
 * which tells accidents, not forgeries. Reads no further than the head. TR_E_CORRUPT: damaged, or no
 * snapshot; TR_E_CONFIG: of a newer version of the format. */
tr_status tr_snapshot_peek(tr_stream_source_fn source, void *context, tr_snapshot_head *head, tr_error *err);

typedef struct tr_snapshot_reader tr_snapshot_reader;

/* Read the head, unwrap the key and verify the first chunk, and so the head. The source must live as long as
 * the reader. TR_E_CORRUPT and TR_E_CONFIG as of tr_snapshot_peek; TR_E_WRONG_KEY: the keyring has no such
 * master key, or not this one (another vault's); TR_E_HSM as of the keyring. */
tr_status tr_snapshot_reader_open(tr_keyring *ring, tr_stream_source_fn source, void *context,
                                  tr_snapshot_head *head, tr_snapshot_reader **out, tr_error *err);
/* The same with the private recovery key. TR_E_WRONG_KEY: it is encrypted to another one, or to none. Who
 * opens it so must know where the file comes from: whoever has the public key can make one (hpke.h). */
tr_status tr_snapshot_reader_open_recovery(const tr_secret *private_key, tr_stream_source_fn source,
                                           void *context, tr_snapshot_head *head, tr_snapshot_reader **out,
                                           tr_error *err);

/* Called in the order of the file; a failure ends the reading and is passed on. What is NULL is passed over.
 * The bytes are the reader's and good until the call returns. */
typedef struct tr_snapshot_visitor {
    tr_status (*page)(void *context, size_t database, uint32_t number, tr_bytes content, tr_error *err);
    tr_status (*file)(void *context, const char *name, tr_bytes content, tr_error *err);
    void *context;
} tr_snapshot_visitor;

/* Read and verify all of it, once; `visitor` NULL: only verify. TR_OK: the end was reached, its counts match
 * and nothing follows. TR_E_CORRUPT else. `counts` may be NULL. */
tr_status tr_snapshot_read(tr_snapshot_reader *reader, const tr_snapshot_visitor *visitor,
                           tr_snapshot_counts *counts, tr_error *err);
void tr_snapshot_reader_free(tr_snapshot_reader *reader);

#endif
