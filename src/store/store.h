/* The store: everything durable behind one interface. SQLCipher is the embedded engine (store/sqlcipher/);
 * another engine fits behind the same functions. No SQL is above this header, and no plaintext of a payload
 * below it.
 *
 * Three databases: vault (data), keys (wrapped data keys), audit (the append-only log). Reads use the calling
 * thread's own connection (tr_store_reader). Every write is a job that one writer thread runs inside a group:
 * jobs queued while the last group was flushed are run together, each within a savepoint, then keys, audit
 * and vault are committed in this order with synchronous=FULL, and only then do the callers return. So what a
 * caller was told is durable, and no answered write is missing from the audit log.
 *
 * Rows are borrowed during a callback; a callback that returns other than TR_OK ends the list with that
 * status. Texts are UTF-8 and NUL-terminated. Times are ms (base/clock.h). Lists are ordered by id and begin
 * after `after` (NULL: at the beginning); they give at most `limit` rows.
 */
#ifndef TR_STORE_STORE_H
#define TR_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/secret.h"
#include "base/uuid.h"
#include "crypto/hash.h"

typedef struct tr_store tr_store;
typedef struct tr_db tr_db; /* a reader's connections, or the writer's inside a job */

typedef struct tr_store_options {
    const char *data_dir;
    const tr_secret *vault_key, *keys_key, *audit_key; /* 32 raw bytes each */
    bool create;                                       /* make the databases (init); else they must exist */
    int group_max;                                     /* jobs a group at most; 0: 256 */
    int queue_max;                                     /* jobs waiting at most, then TR_E_BUSY; 0: 4096 */
    int fold_ms; /* how long the vault may be behind the log, by reads alone; 0: 1000 */
    bool locked; /* the caller holds tr_store_lock, and keeps it until after tr_store_close */
} tr_store_options;

/* Open (taking DIR/lock with flock: TR_E_LOCKED when another process has it), run outstanding migrations
 * (each in one transaction, the version in PRAGMA user_version), check that the audit log's head agrees with
 * the anchor in the vault. TR_E_WRONG_KEY: a key does not open its database (which one is in err->where);
 * TR_E_CORRUPT: a page does not verify; TR_E_CONFIG: written by a newer Tresor. A log longer than the anchor
 * is taken: the vault learns of groups that changed nothing in it up to fold_ms later, and what they did to
 * sessions is taken from the log's database. After a crash between the commits of a group that changed the
 * vault too, an entry {"action":"storage.recovered"} names the range whose effects may be missing. */
tr_status tr_store_open(const tr_store_options *options, tr_store **out, tr_error *err);
/* Ends the writer after the jobs already queued; checkpoints the WALs. No other call may be running. */
void tr_store_close(tr_store *store);

/* This thread's reading connections, opened at its first call and kept until it rests or ends or the store
 * closes. */
tr_status tr_store_reader(tr_store *store, tr_db **db, tr_error *err);
/* This thread reads nothing for a while: another one may have its connections, *db is no longer its own. */
void tr_store_rest(tr_store *store);
/* One consistent view over several reads of the vault. Must be ended, by tr_store_rest at the latest; do not
 * hold it while waiting for a write. */
tr_status tr_read_begin(tr_db *db, tr_error *err);
void tr_read_end(tr_db *db);
/* The edition of the vault's content: another number after each group that changed it (folded turns of tokens
 * are no change). Take it before reading; when it is the same in a job, and no job before it in the group has
 * changed anything, what was read still holds. It may be another one without a change. */
uint64_t tr_store_edition(tr_store *store);
bool tr_edition_stands(const tr_db *tx, uint64_t edition);

/* Run fn inside the next group and wait until it is durable. fn runs on the writer thread: it must be quick,
 * must not wait, and must only use `tx`. If fn fails, what it did is undone, the others are not touched, and
 * its status and error are the caller's. If the group cannot be committed, every job of it fails with the
 * same status (TR_E_DISK_FULL, TR_E_IO, TR_E_CORRUPT) and nothing of it remains in vault. fn may run more
 * than once (when a job of the group fails after it has written, this one or another): it must set its
 * results anew each time. */
typedef tr_status (*tr_job_fn)(void *context, tr_db *tx, tr_error *err);
tr_status tr_store_write(tr_store *store, tr_job_fn fn, void *context, tr_error *err);
/* Inside a job: run fn so that its failure undoes only what fn did (audit entries it appended too); the job
 * goes on. */
tr_status tr_nested(tr_db *tx, tr_job_fn fn, void *context, tr_error *err);

typedef struct tr_store_stats {
    uint64_t groups, jobs, failures; /* since start */
    uint64_t commit_us;              /* time spent in commits */
    uint64_t moment_stop_us;         /* the longest that a moment's beginning kept the writer */
    uint64_t audit_seq;              /* newest entry */
    int64_t vault_bytes, keys_bytes, audit_bytes;
    int queued;
    bool failed; /* the last group could not be committed */
} tr_store_stats;
void tr_store_get_stats(tr_store *store, tr_store_stats *out);
/* PRAGMA quick_check, cipher_integrity_check and foreign_key_check of all three; TR_E_CORRUPT names the first
 * fault. */
tr_status tr_store_check(tr_store *store, tr_error *err);

/* How much is in databases that no store has open, before whatever opening them completes. It reads an index
 * of each table from end to end. */
typedef struct tr_store_counts {
    int64_t subjects; /* without those that are being erased */
    int64_t records, principals, grants, audit_entries;
} tr_store_counts;
tr_status tr_store_count_offline(const char *data_dir, const tr_secret *vault_key, const tr_secret *audit_key,
                                 tr_store_counts *out, tr_error *err);

/* Empty the three WALs (TRUNCATE), so that no page from before a deletion stays in one. TR_E_BUSY: a reader
 * holds on to an old view; try again later. */
tr_status tr_store_checkpoint(tr_store *store, tr_error *err);

/* ---- small named values of the vault (32-byte secrets, counters) ---- */
tr_status tr_meta_get(tr_db *db, const char *name, tr_buf *value, tr_error *err); /* TR_E_NOT_FOUND */
tr_status tr_meta_put(tr_db *tx, const char *name, tr_bytes value, tr_error *err);

typedef tr_status (*tr_uuid_fn)(void *context, const tr_uuid *id, tr_error *err);

/* ---- principals ---- */
typedef enum tr_role { TR_SUBJECT, TR_SERVICE, TR_OFFICER, TR_OPERATOR, TR_AUDITOR, TR_ROLE_COUNT } tr_role;

typedef struct tr_principal {
    tr_uuid id;
    const char *uid;  /* unique without regard to ASCII case; as given */
    const char *name; /* for people; may be "" */
    tr_role role;
    bool has_subject;
    tr_uuid subject; /* of a principal with role subject */
    bool disabled;
    bool may_register;     /* a service that may register subjects */
    bool password_initial; /* still the one-time password */
    const char *password;  /* scrypt text, crypto/password.h */
    int64_t created_at, updated_at;
    int64_t version;
} tr_principal;

typedef tr_status (*tr_principal_fn)(void *context, const tr_principal *row, tr_error *err);
tr_status tr_principal_insert(tr_db *tx, const tr_principal *row,
                              tr_error *err); /* TR_E_CONFLICT: uid taken */
tr_status tr_principal_get(tr_db *db, const tr_uuid *id, tr_principal_fn fn, void *context,
                           tr_error *err); /* NOT_FOUND */
tr_status tr_principal_by_uid(tr_db *db, const char *uid, tr_principal_fn fn, void *context, tr_error *err);
/* Writes all members by id; row->version must be the stored version + 1, else TR_E_PRECONDITION. */
tr_status tr_principal_update(tr_db *tx, const tr_principal *row, tr_error *err);
tr_status tr_principal_delete(tr_db *tx, const tr_uuid *id,
                              tr_error *err); /* its sessions and outcomes too */
tr_status tr_principal_list(tr_db *db, const tr_uuid *after, int limit, tr_principal_fn fn, void *context,
                            tr_error *err);
/* The ids of a subject's principals, and of the enabled ones with a role. */
tr_status tr_principal_of_subject(tr_db *db, const tr_uuid *subject, tr_uuid_fn fn, void *context,
                                  tr_error *err);
tr_status tr_principal_enabled(tr_db *db, tr_role role, tr_uuid_fn fn, void *context, tr_error *err);
/* Another enabled principal with this role exists, besides `but`. */
tr_status tr_principal_another(tr_db *db, tr_role role, const tr_uuid *but, bool *exists, tr_error *err);

/* ---- sessions: one chain of single-use tokens each ---- */
#define TR_CLIENT_LEN 22 /* base64url of 128 random bits */
typedef struct tr_session {
    char client[TR_CLIENT_LEN + 1];
    tr_uuid principal;
    uint8_t current[32];  /* SHA-256 of the token that is accepted next */
    uint8_t previous[32]; /* of the token used last; zero before the first use */
    int64_t previous_at;  /* when it was used */
    uint8_t request[32];  /* SHA-256 naming that request (method, target, body, Idempotency-Key); zero: had no
                             key */
    int64_t created_at, used_at;
    bool lane;                      /* made by POST /v1/auth/lanes */
    char origin[TR_CLIENT_LEN + 1]; /* a lane's session it was made from, else "" */
    uint64_t seen; /* an edition (tr_store_edition) from before it was last there; 0: none. Not stored */
} tr_session;

typedef tr_status (*tr_session_fn)(void *context, const tr_session *row, tr_error *err);
tr_status tr_session_insert(tr_db *tx, const tr_session *row, tr_error *err);
/* TR_E_NOT_FOUND. row->seen is 0. */
tr_status tr_session_get(tr_db *db, const char *client, tr_session *row, tr_error *err);
/* Writes current, previous, previous_at, request, used_at, in the commit of the group's audit entries;
 * TR_E_NOT_FOUND when it was deleted meanwhile (which is not asked while the edition `seen` stands). */
tr_status tr_session_update(tr_db *tx, const tr_session *row, tr_error *err);
tr_status tr_session_delete(tr_db *tx, const char *client, tr_error *err); /* TR_E_NOT_FOUND */
/* All of a principal's but `keep` (may be NULL). */
tr_status tr_session_delete_all(tr_db *tx, const tr_uuid *principal, const char *keep, int64_t *count,
                                tr_error *err);
tr_status tr_session_list(tr_db *db, const tr_uuid *principal, tr_session_fn fn, void *context,
                          tr_error *err);
tr_status tr_session_count(tr_db *db, const tr_uuid *principal, int64_t *count, tr_error *err);
/* Delete up to `limit` of those idle since before, or made before, these times. */
tr_status tr_session_sweep(tr_db *tx, int64_t idle_before, int64_t created_before, int limit, int64_t *count,
                           tr_error *err);

/* ---- outcomes: what a request with an Idempotency-Key answered ---- */
typedef struct tr_outcome {
    tr_uuid principal;
    uint8_t key[32];     /* SHA-256 of the Idempotency-Key */
    uint8_t request[32]; /* SHA-256 of method, target, body */
    bool has_subject;
    tr_uuid subject; /* whose data key seals it; deleted with the subject */
    int64_t created_at;
    tr_bytes sealed; /* the response, sealed by the caller */
} tr_outcome;
typedef tr_status (*tr_outcome_fn)(void *context, const tr_outcome *row, tr_error *err);
tr_status tr_outcome_insert(tr_db *tx, const tr_outcome *row,
                            tr_error *err); /* TR_E_CONFLICT: there is one */
tr_status tr_outcome_get(tr_db *db, const tr_uuid *principal, const uint8_t key[32], tr_outcome_fn fn,
                         void *context, tr_error *err);
tr_status tr_outcome_sweep(tr_db *tx, int64_t created_before, int limit, int64_t *count, tr_error *err);

/* An import's batches, so that a repeated import goes on where it was. `number` counts from 0. */
typedef struct tr_import_batch {
    tr_uuid principal;
    uint8_t key[32];
    int64_t number;
    uint8_t input[32]; /* SHA-256 of the batch's input lines */
    int64_t lines;
    int64_t created_at;
    tr_bytes results; /* its result lines (no personal data) */
} tr_import_batch;
typedef tr_status (*tr_import_batch_fn)(void *context, const tr_import_batch *row, tr_error *err);
tr_status tr_import_batch_insert(tr_db *tx, const tr_import_batch *row, tr_error *err); /* TR_E_CONFLICT */
tr_status tr_import_batch_get(tr_db *db, const tr_uuid *principal, const uint8_t key[32], int64_t number,
                              tr_import_batch_fn fn, void *context, tr_error *err);
tr_status tr_import_batch_sweep(tr_db *tx, int64_t created_before, int limit, int64_t *count, tr_error *err);

/* ---- record types ---- */
typedef struct tr_type {
    const char *name;
    int64_t version;    /* 1, 2, ...: each PUT */
    const char *schema; /* JSON text */
    int64_t created_at, updated_at;
} tr_type;
typedef tr_status (*tr_type_fn)(void *context, const tr_type *row, tr_error *err);
/* Insert (version 1) or update (version = stored + 1, else TR_E_PRECONDITION). */
tr_status tr_type_put(tr_db *tx, const tr_type *row, tr_error *err);
tr_status tr_type_get(tr_db *db, const char *name, tr_type_fn fn, void *context, tr_error *err);
/* Which version is stored, without reading the schema. */
typedef struct tr_type_stamp {
    int64_t version, updated_at;
} tr_type_stamp;
tr_status tr_type_stamp_get(tr_db *db, const char *name, tr_type_stamp *stamp, tr_error *err);
tr_status tr_type_delete(tr_db *tx, const char *name,
                         tr_error *err); /* TR_E_CONFLICT while records have it */
tr_status tr_type_list(tr_db *db, const char *after, int limit, tr_type_fn fn, void *context, tr_error *err);
tr_status tr_type_in_use(tr_db *db, const char *name, bool *in_use, tr_error *err);

/* ---- subjects ---- */
typedef struct tr_subject_row {
    tr_uuid id;
    tr_uuid created_by;
    int64_t created_at;
    int64_t restricted_at; /* 0: not restricted */
} tr_subject_row;
tr_status tr_subject_insert(tr_db *tx, const tr_subject_row *row, tr_error *err);
tr_status tr_subject_get(tr_db *db, const tr_uuid *id, tr_subject_row *row, tr_error *err);
/* The ids of all, those that are being erased too. */
tr_status tr_subject_ids(tr_db *db, const tr_uuid *after, int limit, tr_uuid_fn fn, void *context,
                         tr_error *err);
/* The subject with its records, versions, index entries, grants, outcomes, and its principals with their
 * sessions; in the keys database its data key. */
tr_status tr_subject_delete(tr_db *tx, const tr_uuid *id, tr_error *err);

/* ---- records ---- */
typedef struct tr_record {
    tr_uuid id;
    tr_uuid subject;
    const char *type;
    int64_t version; /* 1, 2, ... */
    int64_t created_at, updated_at;
    tr_uuid updated_by;
    tr_bytes sealed; /* payload */
} tr_record;

typedef struct tr_index_entry { /* blind index: HMAC of type, field and value */
    const char *field;          /* JSON Pointer of the field in the payload */
    uint8_t mac[16];
} tr_index_entry;

typedef tr_status (*tr_record_fn)(void *context, const tr_record *row, tr_error *err);
/* TR_E_NOT_FOUND: no such subject or type; TR_E_CONFLICT: id taken. */
tr_status tr_record_insert(tr_db *tx, const tr_record *row, const tr_index_entry *index, size_t index_count,
                           tr_error *err);
tr_status tr_record_get(tr_db *db, const tr_uuid *subject, const tr_uuid *id, tr_record_fn fn, void *context,
                        tr_error *err);
/* row->version must be the stored version + 1, else TR_E_PRECONDITION. The stored version goes to the
 * history; of the history the newest `keep` are kept (0: none). The index entries are replaced. */
tr_status tr_record_update(tr_db *tx, const tr_record *row, int64_t keep, const tr_index_entry *index,
                           size_t index_count, tr_error *err);
/* version 0: whatever it is. With its history and index entries. */
tr_status tr_record_delete(tr_db *tx, const tr_uuid *subject, const tr_uuid *id, int64_t version,
                           tr_error *err);
/* type NULL: all types. */
tr_status tr_record_list(tr_db *db, const tr_uuid *subject, const char *type, const tr_uuid *after, int limit,
                         tr_record_fn fn, void *context, tr_error *err);
/* The history, newest first, without the stored version. */
tr_status tr_record_versions(tr_db *db, const tr_uuid *id, int limit, tr_record_fn fn, void *context,
                             tr_error *err);
/* How many records a subject has, and how many older versions of them. */
tr_status tr_record_count(tr_db *db, const tr_uuid *subject, int64_t *records, int64_t *versions,
                          tr_error *err);
/* Records whose field has this mac, by record id. `sealed` is empty here. */
tr_status tr_index_find(tr_db *db, const char *type, const char *field, const uint8_t mac[16],
                        const tr_uuid *after, int limit, tr_record_fn fn, void *context, tr_error *err);

/* ---- records by age: for retention ---- */
typedef struct tr_age_mark { /* a place in the order by age; zero: the beginning */
    int64_t created_at, number;
} tr_age_mark;
typedef struct tr_aged_record {
    tr_uuid id, subject;
    tr_age_mark mark;
    int64_t weight; /* rows that its deletion costs: its versions', a long payload counted as several */
} tr_aged_record;
typedef tr_status (*tr_aged_record_fn)(void *context, const tr_aged_record *row, tr_error *err);
/* Records of a type behind `after`, the oldest first. */
tr_status tr_record_by_age(tr_db *db, const char *type, const tr_age_mark *after, int limit,
                           tr_aged_record_fn fn, void *context, tr_error *err);
/* What a subject has of each type. */
typedef struct tr_record_ages {
    const char *type;
    int64_t count, oldest, newest; /* created_at */
} tr_record_ages;
typedef tr_status (*tr_record_ages_fn)(void *context, const tr_record_ages *row, tr_error *err);
tr_status tr_record_ages_list(tr_db *db, const tr_uuid *subject, tr_record_ages_fn fn, void *context,
                              tr_error *err);
/* How many of a type a subject has that were created no later than `until`. */
tr_status tr_record_count_until(tr_db *db, const tr_uuid *subject, const char *type, int64_t until,
                                int64_t *count, tr_error *err);

/* ---- activities (purposes) ---- */
typedef struct tr_activity {
    tr_uuid id;
    const char *doc; /* JSON text */
    int64_t created_at, updated_at;
    int64_t ended_at; /* 0: live */
    int64_t version;
    int64_t expires_at; /* its end, known beforehand; 0: it has none */
    bool retains;       /* it says how long records of some types are kept */
} tr_activity;
typedef tr_status (*tr_activity_fn)(void *context, const tr_activity *row, tr_error *err);
tr_status tr_activity_insert(tr_db *tx, const tr_activity *row, tr_error *err);
tr_status tr_activity_update(tr_db *tx, const tr_activity *row, tr_error *err); /* version as for records */
tr_status tr_activity_get(tr_db *db, const tr_uuid *id, tr_activity_fn fn, void *context, tr_error *err);
/* Of *ends only ended_at and expires_at are set. */
tr_status tr_activity_ends(tr_db *db, const tr_uuid *id, tr_activity *ends, tr_error *err);
tr_status tr_activity_list(tr_db *db, const tr_uuid *after, int limit, tr_activity_fn fn, void *context,
                           tr_error *err);
/* Those that retain. */
tr_status tr_activity_retaining(tr_db *db, const tr_uuid *after, int limit, tr_activity_fn fn, void *context,
                                tr_error *err);
/* Those that have expired and are not yet marked as ended, the oldest first. */
tr_status tr_activity_expired(tr_db *db, int64_t now, int limit, tr_activity_fn fn, void *context,
                              tr_error *err);
/* A number that is greater after each change to any activity. */
tr_status tr_activity_stamp(tr_db *db, int64_t *stamp, tr_error *err);

/* ---- grants ---- */
enum { TR_ACT_READ = 1, TR_ACT_WRITE = 2, TR_ACT_EXPORT = 4 };
typedef struct tr_grant {
    tr_uuid id;
    tr_uuid subject;
    tr_uuid grantee; /* a principal with role service */
    tr_uuid activity;
    const char *types;  /* JSON array of type names */
    const char *fields; /* JSON array of JSON Pointers, or "" for all */
    bool masked;
    int actions; /* TR_ACT_* */
    int64_t created_at;
    int64_t expires_at;   /* 0: does not */
    int64_t withdrawn_at; /* 0: live */
} tr_grant;
typedef tr_status (*tr_grant_fn)(void *context, const tr_grant *row, tr_error *err);
tr_status tr_grant_insert(tr_db *tx, const tr_grant *row,
                          tr_error *err); /* TR_E_NOT_FOUND: subject, grantee, activity */
tr_status tr_grant_get(tr_db *db, const tr_uuid *subject, const tr_uuid *id, tr_grant_fn fn, void *context,
                       tr_error *err);
tr_status tr_grant_withdraw(tr_db *tx, const tr_uuid *subject, const tr_uuid *id, int64_t at, tr_error *err);
/* All of this subject's for this activity that are neither withdrawn nor expired at `at`; fn gets the grantee
 * of each, and only reads. */
tr_status tr_grant_withdraw_all(tr_db *tx, const tr_uuid *subject, const tr_uuid *activity, int64_t at,
                                tr_uuid_fn fn, void *context, tr_error *err);
tr_status tr_grant_list(tr_db *db, const tr_uuid *subject, const tr_uuid *after, int limit, tr_grant_fn fn,
                        void *context, tr_error *err);
/* Those of this subject for this grantee that are neither withdrawn nor expired and whose activity is live.
 */
tr_status tr_grant_live(tr_db *db, const tr_uuid *subject, const tr_uuid *grantee, int64_t now,
                        tr_grant_fn fn, void *context, tr_error *err);

/* ---- keys.db: wrapped data keys ---- */
typedef tr_status (*tr_key_fn)(void *context, uint32_t master, tr_bytes wrapped, tr_error *err);
tr_status tr_key_insert(tr_db *tx, const tr_uuid *subject, uint32_t master, tr_bytes wrapped, tr_error *err);
tr_status tr_key_get(tr_db *db, const tr_uuid *subject, tr_key_fn fn, void *context, tr_error *err);
/* Keys of the vault itself by name ("index", "outcome", "token", "incident", "sign"). */
tr_status tr_named_key_insert(tr_db *tx, const char *name, uint32_t master, tr_bytes wrapped, tr_error *err);
tr_status tr_named_key_get(tr_db *db, const char *name, tr_key_fn fn, void *context, tr_error *err);

/* Data keys that a version of the master key other than `current` wraps, by subject: for wrapping them again.
 * One pass goes through the whole table, however few are left: go on behind the last subject. */
typedef tr_status (*tr_key_row_fn)(void *context, const tr_uuid *subject, uint32_t master, tr_bytes wrapped,
                                   tr_error *err);
tr_status tr_key_list_stale(tr_db *db, uint32_t current, const tr_uuid *after, int limit, tr_key_row_fn fn,
                            void *context, tr_error *err);
/* TR_E_NOT_FOUND when the row is gone or was wrapped again meanwhile. */
tr_status tr_key_rewrap(tr_db *tx, const tr_uuid *subject, uint32_t old_master, uint32_t master,
                        tr_bytes wrapped, tr_error *err);
typedef tr_status (*tr_named_key_fn)(void *context, const char *name, uint32_t master, tr_bytes wrapped,
                                     tr_error *err);
tr_status tr_named_key_list(tr_db *db, tr_named_key_fn fn, void *context, tr_error *err);
tr_status tr_named_key_rewrap(tr_db *tx, const char *name, uint32_t old_master, uint32_t master,
                              tr_bytes wrapped, tr_error *err);
/* How many keys, of subjects and named ones together, each version wraps; versions that wrap none are left
 * out. */
typedef tr_status (*tr_key_count_fn)(void *context, uint32_t master, int64_t count, tr_error *err);
tr_status tr_key_count(tr_db *db, tr_key_count_fn fn, void *context, tr_error *err);
/* Does this version wrap any key? At once, at any size: for jobs. */
tr_status tr_key_in_use(tr_db *db, uint32_t master, bool *in_use, tr_error *err);

/* ---- audit.db ----
 * hash[n] = SHA-256(0x01 | hash[n-1] | seq (8 bytes) | at (8 bytes) | subject (16 bytes, zero if none) |
 * entry); hash[0] is 32 zero bytes; integers are big endian. seq counts 1, 2, 3, ... without a gap. */
typedef struct tr_audit_row {
    int64_t seq;
    int64_t at;
    bool has_subject;
    tr_uuid subject;
    tr_bytes entry; /* JSON text */
    uint8_t hash[32];
} tr_audit_row;
typedef tr_status (*tr_audit_fn)(void *context, const tr_audit_row *row, tr_error *err);
/* Inside a job: appended when the group commits, in the order of the calls. `subject` may be NULL. Dropped if
 * the job fails. */
tr_status tr_audit_append(tr_db *tx, int64_t at, const tr_uuid *subject, tr_bytes entry, tr_error *err);
/* Inside a job: the seq that the next entry gets, should the job not fail. */
int64_t tr_audit_next(const tr_db *tx);
/* Entries after seq `after` (0: from the first), or with `newest_first` before it (0: from the newest);
 * subject NULL: all. */
tr_status tr_audit_list(tr_db *db, const tr_uuid *subject, int64_t after, bool newest_first, int limit,
                        tr_audit_fn fn, void *context, tr_error *err);
/* Inside a job: the entries about this subject that jobs before it in the same group have appended. They have
 * no seq and no hash yet. */
tr_status tr_audit_list_waiting(tr_db *tx, const tr_uuid *subject, tr_audit_fn fn, void *context,
                                tr_error *err);

typedef struct tr_audit_verdict {
    bool ok;
    int64_t entries;  /* read and found good */
    int64_t bad_seq;  /* the first bad or missing entry, when not ok */
    char reason[160]; /* "entry 17 was altered", "entry 17 is missing", "the log ends at 16, the vault knows
                         20", ... */
    uint8_t head[32];
} tr_audit_verdict;
/* Walk the whole chain and compare with the vault's anchor. TR_OK when it could be read at all; see
 * verdict->ok. */
tr_status tr_audit_verify(tr_db *db, tr_audit_verdict *verdict, tr_error *err);

/* For `tresor audit verify`: open read-only beside a running server, without the lock, without the keys
 * database. */
tr_status tr_store_verify_offline(const char *data_dir, const tr_secret *vault_key,
                                  const tr_secret *audit_key, tr_audit_verdict *verdict, tr_error *err);

/* ---- a database's key ---- */

/* The lock that tr_store_open takes by itself, for work before it or without it. TR_E_LOCKED when another
 * process has it. */
tr_status tr_store_lock(const char *data_dir, int *lock, tr_error *err);
void tr_store_unlock(int lock); /* -1: nothing */

/* Does the key open "vault.db", "keys.db" or "audit.db"? Reads only. TR_E_WRONG_KEY, or the first page is
 * damaged. */
tr_status tr_store_try_key(const char *data_dir, const char *database, const tr_secret *key, tr_error *err);

/* Write the database anew under another key. The caller holds tr_store_lock and no store is open. When it
 * returns, or is cut off at any point, the database is whole under one key or the other; which one,
 * tr_store_try_key says. TR_E_WRONG_KEY: the old key does not open it; TR_E_CORRUPT; TR_E_BUSY: somebody
 * reads it; TR_E_DISK_FULL: it needs as much room again. */
tr_status tr_store_rekey(const char *data_dir, const char *database, const tr_secret *old_key,
                         const tr_secret *new_key, tr_error *err);

/* ---- requests, holds, notices, erasures; incidents; the outbox; a moment's pages, for snapshots ---- */
#include "store/incidents.h"
#include "store/moment.h"
#include "store/requests.h"

#include "store/outbox.h"

#endif
