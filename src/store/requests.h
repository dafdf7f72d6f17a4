/* Requests of data subjects, restriction and holds, notices, erasures and their ledger. A part of store.h,
 * which includes it. */
#ifndef TR_STORE_REQUESTS_H
#define TR_STORE_REQUESTS_H

#include "store/store.h"

/* ---- requests of data subjects (schema/vault-002-requests.sql) ----
 * "dsr" here and in function names, since a tr_request is one of HTTP. */
typedef enum tr_dsr_kind {
    TR_DSR_ACCESS,
    TR_DSR_PORTABILITY,
    TR_DSR_RECTIFICATION,
    TR_DSR_RESTRICTION,
    TR_DSR_ERASURE,
    TR_DSR_OBJECTION,
    TR_DSR_KIND_COUNT
} tr_dsr_kind;
typedef enum tr_dsr_state {
    TR_DSR_RECEIVED,
    TR_DSR_VERIFIED,
    TR_DSR_EXTENDED,   /* verified, and its date put off */
    TR_DSR_FULFILLING, /* an erasure that is under way */
    TR_DSR_FULFILLED,
    TR_DSR_REFUSED,
    TR_DSR_STATE_COUNT
} tr_dsr_state;

typedef struct tr_dsr {
    tr_uuid id, subject; /* the subject may be gone */
    tr_dsr_kind kind;
    tr_dsr_state state;
    bool has_assignee;
    tr_uuid assignee;
    int64_t received_at, due_at;
    int64_t closed_at; /* 0: open */
    int64_t updated_at;
    const char *doc;     /* JSON without personal data */
    tr_bytes sealed;     /* texts with personal data, under the subject's data key; no data: none */
    const char *receipt; /* JSON, signed; NULL: none yet */
    int64_t version;
} tr_dsr;
typedef tr_status (*tr_dsr_fn)(void *context, const tr_dsr *row, tr_error *err);
tr_status tr_dsr_insert(tr_db *tx, const tr_dsr *row, tr_error *err);
tr_status tr_dsr_get(tr_db *db, const tr_uuid *id, tr_dsr_fn fn, void *context,
                     tr_error *err); /* NOT_FOUND */
/* All but id, subject, kind and received_at; row->version must be the stored version + 1, else
 * TR_E_PRECONDITION. */
tr_status tr_dsr_update(tr_db *tx, const tr_dsr *row, tr_error *err);
/* subject NULL: of all; assignee NULL: anybody's; due_before 0: whenever due. */
typedef struct tr_dsr_filter {
    const tr_uuid *subject;
    const tr_uuid *assignee;
    bool open, closed; /* only those not closed, or closed; neither: both */
    int64_t due_before;
} tr_dsr_filter;
tr_status tr_dsr_list(tr_db *db, const tr_dsr_filter *filter, const tr_uuid *after, int limit, tr_dsr_fn fn,
                      void *context, tr_error *err);
/* For /metrics: how many are open, and how many of them were due before now. */
tr_status tr_dsr_count(tr_db *db, int64_t now, int64_t *open, int64_t *overdue, tr_error *err);

/* ---- restriction and legal holds ---- */
tr_status tr_subject_restrict(tr_db *tx, const tr_uuid *id, int64_t at, tr_error *err); /* at 0: lift */

typedef struct tr_hold {
    tr_uuid id, subject;
    const char *title, *legal_basis; /* no personal data: what is retained and by which article */
    tr_uuid created_by;
    int64_t created_at;
    int64_t expires_at; /* 0: does not */
    bool has_lifted_by;
    tr_uuid lifted_by;
    int64_t lifted_at; /* 0: stands */
} tr_hold;
typedef tr_status (*tr_hold_fn)(void *context, const tr_hold *row, tr_error *err);
tr_status tr_hold_insert(tr_db *tx, const tr_hold *row, tr_error *err); /* TR_E_NOT_FOUND: no such subject */
tr_status tr_hold_get(tr_db *db, const tr_uuid *subject, const tr_uuid *id, tr_hold_fn fn, void *context,
                      tr_error *err);
tr_status tr_hold_lift(tr_db *tx, const tr_uuid *subject, const tr_uuid *id, const tr_uuid *by, int64_t at,
                       tr_error *err);
tr_status tr_hold_list(tr_db *db, const tr_uuid *subject, const tr_uuid *after, int limit, tr_hold_fn fn,
                       void *context, tr_error *err);
/* The first that stands now (neither lifted nor expired): TR_OK after fn was called, TR_E_NOT_FOUND: none. */
tr_status tr_hold_standing(tr_db *db, const tr_uuid *subject, int64_t now, tr_hold_fn fn, void *context,
                           tr_error *err);

/* ---- notices: the outbox ---- */
typedef struct tr_notice {
    tr_uuid id;
    tr_uuid recipient; /* a principal */
    bool has_subject, has_request;
    tr_uuid subject, request;
    const char *kind; /* "rectification", ... */
    const char *doc;  /* JSON */
    int64_t created_at;
    int64_t attempts;
    int64_t next_at;     /* 0: not to be tried any more */
    int64_t sent_at;     /* 0: not yet */
    const char *problem; /* why it could not be sent the last time; "": none; a new one has none */
} tr_notice;
typedef tr_status (*tr_notice_fn)(void *context, const tr_notice *row, tr_error *err);
tr_status tr_notice_insert(tr_db *tx, const tr_notice *row, tr_error *err);
tr_status tr_notice_list(tr_db *db, const tr_uuid *request, const tr_uuid *after, int limit, tr_notice_fn fn,
                         void *context, tr_error *err);

/* ---- erasure ----
 * Begun in one job, completed by others: the first destroys the data key, enters the subject in the ledger
 * (both in keys.db, which is committed first), marks the subject as being erased and deletes its grants,
 * outcomes and principals with their sessions. The subject is there for nobody from then on. */
typedef struct tr_erasure {
    tr_uuid subject, request;
    int64_t started_at;
    int phase; /* 0: rows are being deleted, 1: files are being cleaned */
    int64_t records, versions;
} tr_erasure;
typedef tr_status (*tr_erasure_fn)(void *context, const tr_erasure *row, tr_error *err);
/* TR_E_NOT_FOUND: no such subject, or it is being erased already. */
tr_status tr_erasure_begin(tr_db *tx, const tr_uuid *subject, const tr_uuid *request, int64_t at,
                           tr_error *err);
tr_status tr_erasure_get(tr_db *db, const tr_uuid *subject, tr_erasure *row, tr_error *err); /* NOT_FOUND */
/* The vault's half of one that keys.db knows already, where the vault is older than it (a cut-off, a restored
 * snapshot). TR_E_NOT_FOUND when it needs none. */
tr_status tr_erasure_begin_again(tr_db *tx, const tr_uuid *subject, const tr_uuid *request, tr_error *err);
/* Delete up to `limit` records (with versions and index entries), counting them in the row; *left says
 * whether there are more. When none is left the subject's row goes, and the phase is 1. */
tr_status tr_erasure_step(tr_db *tx, const tr_uuid *subject, int limit, bool *left, tr_error *err);
tr_status tr_erasure_end(tr_db *tx, const tr_uuid *subject, tr_error *err); /* the row in `erasures` goes */
tr_status tr_erasure_list(tr_db *db, const tr_uuid *after, int limit, tr_erasure_fn fn, void *context,
                          tr_error *err);
/* The ledger (keys.db). Entries after seq `after`, in order. */
typedef tr_status (*tr_ledger_fn)(void *context, int64_t seq, const tr_uuid *subject, const tr_uuid *request,
                                  int64_t at, tr_error *err);
tr_status tr_ledger_list(tr_db *db, int64_t after, int limit, tr_ledger_fn fn, void *context, tr_error *err);

#endif
