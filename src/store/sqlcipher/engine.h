/* What the files of store/sqlcipher/ share: connections, statements, the writer's group. Not for other
 * layers. */
#ifndef TR_STORE_ENGINE_H
#define TR_STORE_ENGINE_H

#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "store/store.h"

typedef enum tr_db_kind { TR_DB_VAULT, TR_DB_KEYS, TR_DB_AUDIT, TR_DB_COUNT } tr_db_kind;

#define TR_HASH_LEN     32
#define TR_STATEMENTS   128  /* a connection keeps; a power of two */
#define TR_READERS_MOST 32   /* that are open as a rule */
#define TR_BUSY_MS      5000 /* how long a connection waits for a lock of another process */

/* Where the databases are and what opens them. */
typedef struct tr_source {
    char dir[PATH_MAX - 32];
    tr_secret keys[TR_DB_COUNT];
} tr_source;

typedef struct tr_statement {
    const char *sql; /* the constant's address is its name */
    sqlite3_stmt *raw;
} tr_statement;

/* One connection to one database, used by one thread at a time. */
typedef struct tr_conn {
    sqlite3 *handle; /* NULL: not open */
    tr_db_kind kind;
    size_t cipher_bytes; /* at the end of each page: vector and MAC */
    bool damaged;        /* an error after which it is opened anew */
    bool begun;          /* writer: the group's transaction is open here */
    int savepoints;      /* writer: how many levels of the group have one here */
    int wal_frames;      /* writer: frames in the WAL after the newest commit */
    unsigned commits;    /* writer: that wrote to the WAL */
    int running;         /* statements between begin and end */
    int64_t changes;     /* writer: sqlite3_total_changes64 when the transaction began */
    tr_statement statements[TR_STATEMENTS];
} tr_conn;

typedef struct tr_group tr_group;
typedef struct tr_turns tr_turns;
typedef struct tr_tail tr_tail;
typedef struct tr_stamps tr_stamps;

struct tr_db {
    const tr_source *source;
    tr_group *group; /* the writer's; NULL: a reader's */
    tr_conn conns[TR_DB_COUNT];
    bool reading;           /* between tr_read_begin and tr_read_end */
    bool kept;              /* rests with its view of the vault, in which nobody reads meanwhile */
    uint64_t vault_commits; /* of the view: there were so many before it, or more */
    uint64_t rules_edition; /* while reading: that of the view, or the one before */
    tr_store *store;        /* a reader's */
    tr_db *next, *previous; /* in the store's list of readers */
    bool busy;              /* taken before the others, with a large page cache */
    tr_db *resting;         /* the next of those that no thread has */
};

/* ---- conn.c ---- */
typedef enum tr_access { TR_READ, TR_READ_MUCH, TR_WRITE, TR_CREATE } tr_access;

/* Copies of the folder's name and the keys (NULL: not to be opened). */
tr_status tr_source_set(tr_source *source, const char *dir, const tr_secret *const keys[TR_DB_COUNT],
                        tr_error *err);
void tr_source_clear(tr_source *source);
const char *tr_db_name(tr_db_kind kind); /* "vault.db" */
void tr_db_path(const tr_source *source, tr_db_kind kind, char out[PATH_MAX]);
tr_status tr_conn_open(const tr_source *source, tr_db_kind kind, tr_access access, tr_conn *conn,
                       tr_error *err);
void tr_conn_close(tr_conn *conn);
/* A raw key in SQLCipher's form: x'64 digits', TR_KEY_TEXT_LEN characters and NUL. The caller wipes it. */
#define TR_KEY_TEXT_LEN 67
tr_status tr_key_text(const tr_secret *key, tr_db_kind kind, char text[TR_KEY_TEXT_LEN + 1], tr_error *err);
/* Give a connection that was just opened its raw key: no key derivation from a password. */
tr_status tr_conn_key(tr_conn *conn, const tr_secret *key, tr_error *err);
/* Run SQL that gives no rows. */
tr_status tr_conn_exec(tr_conn *conn, const char *sql, tr_error *err);
/* The first column of the first row of a PRAGMA. */
tr_status tr_conn_pragma_int(tr_conn *conn, const char *sql, int64_t *value, tr_error *err);
/* What an SQLite result means for the caller; marks the connection damaged where that is so. */
tr_status tr_conn_fail(tr_conn *conn, int rc, tr_error *err);
/* TR_OK with the connection ready for a statement: open (reader), or inside the group's transaction (writer).
 */
tr_status tr_db_conn(tr_db *db, tr_db_kind kind, tr_conn **conn, tr_error *err);
void tr_db_close(tr_db *db);

/* ---- query.c ---- */
typedef struct tr_query {
    tr_conn *conn;
    sqlite3_stmt *raw;
    bool kept; /* in the connection's table; else made for this use */
    int rc;    /* the first failure of a bind */
    bool bad;  /* a column did not have the form it must have */
} tr_query;

/* `sql` must be a constant: its address is the key under which the prepared statement is kept. On failure *q
 * needs no end. */
tr_status tr_query_begin(tr_db *db, tr_db_kind kind, const char *sql, tr_query *q, tr_error *err);
tr_status tr_query_on(tr_conn *conn, const char *sql, tr_query *q, tr_error *err);
/* As tr_query_begin, for a statement that writes: TR_E_INTERNAL on a reader's connection. */
tr_status tr_query_write(tr_db *tx, tr_db_kind kind, const char *sql, tr_query *q, tr_error *err);

/* What is bound must stay until the query ends. */
void tr_bind_int(tr_query *q, int at, int64_t value);
void tr_bind_text(tr_query *q, int at, const char *text);
void tr_bind_text_len(tr_query *q, int at, tr_bytes text);
void tr_bind_blob(tr_query *q, int at, const void *bytes, size_t len);
void tr_bind_uuid(tr_query *q, int at, const tr_uuid *id);  /* NULL: SQL NULL */
void tr_bind_after(tr_query *q, int at, const tr_uuid *id); /* NULL: before all ids */

tr_status tr_query_step(tr_query *q, bool *row, tr_error *err);
void tr_query_end(tr_query *q);
/* Run to the end and end it; *changed (may be NULL) counts the rows that were written. A UNIQUE or PRIMARY
 * KEY fault is TR_E_CONFLICT, a FOREIGN KEY one TR_E_NOT_FOUND. */
tr_status tr_query_run(tr_query *q, int64_t *changed, tr_error *err);
/* As tr_query_run for statements that must write one row; else `none` with this text. */
tr_status tr_query_run_one(tr_query *q, tr_status none, const char *what, tr_error *err);

int64_t tr_col_int(tr_query *q, int at);
const char *tr_col_text(tr_query *q, int at);
tr_bytes tr_col_blob(tr_query *q, int at);
tr_uuid tr_col_uuid(tr_query *q, int at);
bool tr_col_null(tr_query *q, int at);
void tr_col_fixed(tr_query *q, int at, void *out, size_t len); /* NULL gives zeros */
/* After the columns were taken: TR_E_CORRUPT when one had not the form it must have, TR_E_NOMEM. */
tr_status tr_cols_ok(tr_query *q, tr_error *err);

/* Take a row's columns and hand them on. */
typedef tr_status (*tr_row_fn)(tr_query *q, void *context, tr_error *err);
/* Each row; ends the query. */
tr_status tr_query_each(tr_query *q, tr_row_fn fn, void *context, tr_error *err);
/* The only row, or TR_E_NOT_FOUND with this text; ends the query. */
tr_status tr_query_one(tr_query *q, tr_row_fn fn, void *context, const char *what, tr_error *err);
/* The only column of the only row, an integer; ends the query. */
tr_status tr_query_int(tr_query *q, int64_t *value, tr_error *err);
/* Each row's only column, an id; ends the query. */
tr_status tr_query_ids(tr_query *q, tr_uuid_fn fn, void *context, tr_error *err);
/* Run a SELECT of one number, whose ?1 is the time, where it has one. */
tr_status tr_count(tr_db *db, tr_db_kind kind, const char *sql, const int64_t *now, int64_t *count,
                   tr_error *err);

/* Run a DELETE of rows from before ?1, at most ?2 of them. */
tr_status tr_sweep(tr_db *tx, const char *sql, int64_t before, int limit, int64_t *count, tr_error *err);

/* ---- migrate.c ---- */
struct tr_migration_text;
/* TR_E_CONFIG when the database is newer than this program. */
tr_status tr_migrate_check(tr_conn *conn, const struct tr_migration_text *list, size_t count, tr_error *err);
tr_status tr_migrate(tr_conn *conn, const struct tr_migration_text *list, size_t count, tr_error *err);

/* ---- audit.c, audit_verify.c ---- */
typedef struct tr_head {
    int64_t seq;
    uint8_t hash[TR_HASH_LEN];
} tr_head;

tr_status tr_audit_hash(const uint8_t before[TR_HASH_LEN], const tr_audit_row *row, uint8_t out[TR_HASH_LEN],
                        tr_error *err);
/* Write the row and make it the head. */
tr_status tr_audit_store(tr_db *tx, const tr_audit_row *row, tr_head *head, tr_error *err);
tr_status tr_audit_last(tr_db *db, tr_head *head, tr_error *err);
tr_status tr_audit_hash_at(tr_db *db, int64_t seq, uint8_t hash[TR_HASH_LEN], tr_error *err);
tr_status tr_anchor_get(tr_db *db, tr_head *anchor, tr_error *err);
tr_status tr_anchor_put(tr_db *tx, const tr_head *head, tr_error *err);
/* Walk the chain behind `from` (good itself); *verdict begins as zeros. */
tr_status tr_audit_walk(tr_db *db, const tr_head *from, const tr_head *anchor, tr_audit_verdict *verdict,
                        tr_error *err);

/* ---- audit_index.c: which entries are about whom ---- */
tr_status tr_tail_new(tr_tail **out, tr_error *err);
void tr_tail_free(tr_tail *tail);
/* In the group's commit, which adds so many entries: some of the older ones' places into the table. */
tr_status tr_tail_store(tr_db *tx, size_t added, tr_error *err);
/* After it: each entry of the group that is about a subject, then the rest. */
void tr_tail_add(tr_tail *tail, const tr_uuid *subject, int64_t seq);
void tr_tail_committed(tr_tail *tail);
/* Read what the table does not have yet. */
tr_status tr_tail_load(tr_db *tx, tr_error *err);
/* The numbers of a subject's entries beyond `after`, at most `limit`; the caller frees *seqs, whatever comes
 * back. */
tr_status tr_audit_places(tr_db *db, const tr_uuid *subject, int64_t after, bool down, int limit,
                          int64_t **seqs, size_t *count, tr_error *err);

/* ---- sessions.c, turns.c: the turns of tokens, durable in audit.db, folded into the sessions' rows later
 * ---- */
/* What a turn changes, into the session's row; TR_E_NOT_FOUND when it has ended. */
tr_status tr_session_fold(tr_db *tx, const tr_session *row, tr_error *err);

typedef struct tr_turn {
    bool found;
    tr_session session; /* only what a turn changes */
} tr_turn;

typedef struct tr_lost { /* entries whose effects in the vault are missing; last 0: none */
    int64_t first, last;
} tr_lost;

/* fold_ms 0: 1000. */
tr_status tr_turns_new(int fold_ms, tr_turns **out, tr_error *err);
void tr_turns_free(tr_turns *turns);
/* In a job: the session's turn, durable with the group. */
tr_status tr_turns_add(tr_db *tx, const tr_session *row, tr_error *err);
/* A session's turn that may not be in its row yet. A reader asks before it reads the row: afterwards it might
 * be folded into a newer row than the one that was read. */
void tr_turns_look(tr_db *db, const char *client, tr_turn *turn);
void tr_turn_apply(const tr_turn *turn, tr_session *row);
/* In a job: what waits, into the rows, without forgetting it. */
tr_status tr_turns_write_rows(tr_db *tx, tr_error *err);
/* Is it time to fold? */
bool tr_turns_due(const tr_turns *turns, int64_t now_us);
int64_t tr_turns_due_us(const tr_turns *turns); /* when it will be, by tr_monotonic_us; 0: nothing waits */
bool tr_turns_waiting(const tr_turns *turns);   /* does the ring tell of turns that are not folded? */
int64_t tr_turns_number(const tr_turns *turns); /* of the ring's newest row */
/* In the group's commit: its rows in the ring; *number becomes the newest one's. */
tr_status tr_turns_store(tr_db *tx, int64_t first, int64_t last, bool effects, int64_t *number,
                         tr_error *err);
/* In the group's commit: all turns into the sessions' rows; the ring's up to this number are done. */
tr_status tr_turns_fold(tr_db *tx, int64_t number, tr_error *err);
/* After it. `behind`: the anchor is not the log's head. */
void tr_turns_committed(tr_group *group, int64_t number, bool folded, bool behind);
/* Read the ring: what is not folded waits to be. */
tr_status tr_turns_load(tr_db *tx, int64_t anchor, tr_lost *lost, tr_error *err);

/* ---- records.c, record_index.c ---- */
typedef struct tr_record_sink {
    tr_record_fn fn;
    void *context;
} tr_record_sink;

/* Columns: id, subject, type, version, created_at, updated_at, updated_by, sealed. */
tr_status tr_record_emit(tr_query *q, void *sink, tr_error *err);
/* The index entries of the record with this row number. */
tr_status tr_index_insert(tr_db *tx, int64_t record, const tr_uuid *id, const char *type,
                          const tr_index_entry *index, size_t count, tr_error *err);
tr_status tr_index_delete(tr_db *tx, int64_t record, tr_error *err);

/* ---- recover.c ---- */
/* Load the log's head, compare it with the anchor, and complete what was cut off between two commits: a group
 * of its own. */
tr_status tr_group_reconcile(tr_group *group, tr_error *err);
/* Note that the subject's key is destroyed by this group; forgotten when the next one uses keys.db. */
tr_status tr_erasing_add(tr_db *tx, const tr_uuid *subject, const tr_uuid *request, tr_error *err);
/* keys.c; request NULL: not by an erasure. */
tr_status tr_key_destroy(tr_db *tx, const tr_uuid *subject, const tr_uuid *request, tr_error *err);
tr_status tr_subject_delete_rows(tr_db *tx, const tr_uuid *id,
                                 tr_error *err); /* subjects.c: in the vault only */
/* subjects.c: TR_E_NOT_FOUND when it is not there, or is being erased: for rows that refer to it. */
tr_status tr_subject_alive(tr_db *db, const tr_uuid *id, tr_error *err);

/* ---- group.c ---- */
struct tr_group {
    tr_db tx;
    int level;       /* 1: a job, 2 and more: nested */
    bool lost;       /* SQLite undid the whole transaction, or it has to be undone */
    bool bold;       /* no savepoints: a level that fails after it wrote undoes everything */
    bool wants_care; /* that has happened */
    unsigned writes; /* statements that write, so far */
    bool reconciling;
    tr_head head;
    int64_t anchor;                 /* the newest entry that the vault knows */
    _Atomic uint64_t edition;       /* above 0 */
    _Atomic uint64_t rules_edition; /* of activities and types; above 0 */
    _Atomic uint64_t vault_commits; /* also those that changed no content; counted before anybody is told */
    bool rules_touched;             /* by a job of this group */
    tr_turns *turns;
    tr_tail *tail;
    tr_buf turned;  /* the group's turns, packed */
    tr_buf entries; /* audit entries of the group: rows of `pending` point into it */
    struct tr_pending *pending;
    size_t pending_count, pending_room;
};

tr_status tr_group_open(tr_group *group, const tr_source *source, bool create, int fold_ms, tr_error *err);
void tr_group_close(tr_group *group);
/* After a failed commit or a damaged page: undo, and open the connections anew. */
tr_status tr_group_reopen(tr_group *group, tr_error *err);
/* Run fn at a level of its own. When group->lost is set afterwards, everything the group did is to be undone;
 * with group->wants_care it is nobody's fault, but has to be run again without group->bold. */
tr_status tr_group_run(tr_group *group, tr_job_fn fn, void *context, tr_error *err);
/* `fold`: whether it is time or not. */
tr_status tr_group_commit(tr_group *group, bool fold, tr_error *err);
void tr_group_abort(tr_group *group);
/* For tr_db_conn: begin the group's transaction. */
tr_status tr_group_enter(tr_group *group, tr_conn *conn, tr_error *err);
/* Before the first statement that writes: the savepoints of the present level. */
tr_status tr_group_mark(tr_group *group, tr_conn *conn, tr_error *err);

/* ---- checkpoint.c: a thread that copies the WALs back while the writer goes on ---- */
typedef struct tr_checkpointer tr_checkpointer;

tr_status tr_checkpointer_start(tr_store *store, tr_checkpointer **out, tr_error *err);
void tr_checkpointer_stop(tr_checkpointer *c);
/* After a group: ask for a checkpoint of a long WAL, or begin it anew when one is done. Quick. */
void tr_checkpointer_after_group(tr_checkpointer *c, tr_group *group);
/* In any thread: copy back what there is, beside the writer, so that little is left for the next call. */
void tr_checkpointer_copy(tr_checkpointer *c);
/* In the writer's: all three, with TRUNCATE. TR_E_BUSY when a reader holds on to an old view. */
tr_status tr_checkpoint_truncate(tr_checkpointer *c, tr_group *group, tr_error *err);
/* While held, no page is copied back, so that the files can be read as they are. */
void tr_checkpointer_hold(tr_checkpointer *c);
void tr_checkpointer_release(tr_checkpointer *c);

/* ---- changes.c: which pages the groups changed; the writer's, but for new and free ---- */
typedef struct tr_changes tr_changes;

tr_status tr_changes_new(const tr_source *source, tr_changes **out, tr_error *err);
void tr_changes_free(tr_changes *c);
/* After a commit, before any WAL is begun anew. */
void tr_changes_after_group(tr_changes *c, const tr_group *group);
/* The connections were opened anew: nothing is certain. */
void tr_changes_lose(tr_changes *c, const tr_group *group);
/* In a job. It may run twice: what was taken stays taken. */
void tr_changes_take(tr_changes *c, const tr_group *group, int databases, tr_changed *into);

/* ---- writer.c ---- */
typedef struct tr_writer tr_writer;

tr_status tr_writer_start(tr_checkpointer *checkpointer, tr_changes *changes, tr_group *group, int group_max,
                          int queue_max, tr_writer **out, tr_error *err);
/* After the jobs that are queued. */
void tr_writer_stop(tr_writer *writer);
tr_status tr_writer_submit(tr_writer *writer, tr_job_fn fn, void *context, tr_error *err);
tr_status tr_writer_checkpoint(tr_writer *writer, tr_error *err);
void tr_writer_stats(tr_writer *writer, tr_store_stats *out);

/* ---- stamps.c: facts about rules, until the rules change ---- */
typedef struct tr_stamp {
    enum { TR_STAMP_ACTIVITY, TR_STAMP_TYPE } kind;
    tr_bytes key;
    int64_t values[2];
    uint64_t edition; /* of the values; for stamps.c */
} tr_stamp;

tr_status tr_stamps_new(tr_stamps **out, tr_error *err);
void tr_stamps_free(tr_stamps *stamps);
/* The two integers that `sql` gives for the key (?1: a text of a type, a blob of an activity) into
 * stamp->values; TR_E_NOT_FOUND with `none`. */
tr_status tr_stamp_get(tr_db *db, tr_stamp *stamp, const char *sql, const char *none, tr_error *err);

/* ---- readers.c ---- */
tr_status tr_readers_open(tr_store *store, tr_error *err);
void tr_readers_close(tr_store *store); /* those of live threads too */
/* Readers that rest keep their views, until the next commit makes them useless: a WAL that is copied back is
 * first rid of them. With `keep_none` until tr_readers_keep_views, nobody keeps one. */
void tr_readers_drop_views(tr_store *store, bool keep_none);
void tr_readers_keep_views(tr_store *store);
/* End a view that a reader rests with. */
void tr_view_drop(tr_db *db);

/* ---- wal.c ---- */
/* TR_E_CORRUPT when the database's write-ahead log, which nobody has open, was damaged where SQLite would
 * take it for cut off. */
tr_status tr_wal_check(const tr_source *source, tr_db_kind kind, tr_error *err);

/* ---- rekey.c ---- */
tr_status tr_db_kind_of(const char *database, tr_db_kind *kind, tr_error *err); /* of "vault.db" */
/* Open the file by itself, as it will be opened, and read every page of it (cipher_integrity_check,
 * integrity_check). TR_E_CORRUPT says `fault`. */
tr_status tr_file_check(const char *path, tr_db_kind kind, const tr_secret *key, const char *fault,
                        tr_error *err);
/* fsync of what the path names; `flags` as of open(2). */
tr_status tr_file_flush(const char *path, int flags, tr_error *err);
/* Remove what a tr_store_rekey that was cut off left. The caller holds the lock. */
void tr_rekey_sweep(const tr_source *source);

/* ---- store.c ---- */
struct tr_store {
    tr_source source;
    int lock_fd;
    bool readers_open;
    pthread_key_t reader_key;
    pthread_mutex_t readers_mutex;
    tr_db *readers;
    tr_stamps *stamps;
    tr_db *resting; /* of them, those that no thread has */
    int reader_count, resting_count, busy_count, readers_usual;
    bool no_views;               /* is kept by who rests */
    pthread_cond_t readers_wake; /* one rests, or is gone */
    tr_group group;              /* the writer's, but for open and close */
    tr_checkpointer *checkpointer;
    tr_changes *changes;
    tr_writer *writer;
    atomic_llong moment_stop_us; /* the longest that a moment's beginning kept the writer */
};

#endif
