/* The outbox: where principals get their notices, and which notices are to be sent. A part of store.h, which
 * includes it; the rows are in requests.h. */
#ifndef TR_STORE_OUTBOX_H
#define TR_STORE_OUTBOX_H

#include "store/store.h"

/* ---- contacts: at most one a principal ---- */
typedef struct tr_contact_row {
    tr_uuid principal;
    tr_bytes sealed; /* by the caller */
    int64_t updated_at;
} tr_contact_row;
typedef tr_status (*tr_contact_fn)(void *context, const tr_contact_row *row, tr_error *err);
/* TR_E_NOT_FOUND: no such principal. The notices that wait for a contact of it are due at once. */
tr_status tr_contact_put(tr_db *tx, const tr_contact_row *row, tr_error *err);
tr_status tr_contact_get(tr_db *db, const tr_uuid *principal, tr_contact_fn fn, void *context,
                         tr_error *err);                                         /* NOT_FOUND */
tr_status tr_contact_delete(tr_db *tx, const tr_uuid *principal, tr_error *err); /* NOT_FOUND */
/* Enabled principals of this role that have one. */
tr_status tr_contact_holders(tr_db *db, tr_role role, tr_uuid_fn fn, void *context, tr_error *err);

/* ---- sending ---- */
#define TR_NOTICE_NO_CONTACT "no-contact" /* tr_notice.problem */

typedef enum tr_notice_state {
    TR_NOTICE_ANY,
    TR_NOTICE_WAITING, /* to be tried (again) */
    TR_NOTICE_SENT,
    TR_NOTICE_DEAD /* given up */
} tr_notice_state;
tr_status tr_notice_get(tr_db *db, const tr_uuid *id, tr_notice_fn fn, void *context,
                        tr_error *err); /* NOT_FOUND */
tr_status tr_notice_by_state(tr_db *db, tr_notice_state state, const tr_uuid *after, int limit,
                             tr_notice_fn fn, void *context, tr_error *err);
/* Those whose time has come, the longest due first. */
tr_status tr_notice_due(tr_db *db, int64_t now, int limit, tr_notice_fn fn, void *context, tr_error *err);
/* What came of a try: writes attempts, next_at, sent_at and problem of one that waits; TR_E_NOT_FOUND when it
 * is gone, or waits no more. */
tr_status tr_notice_mark(tr_db *tx, const tr_notice *row, tr_error *err);
/* It waits for a contact until row->next_at; where one was put meanwhile, which woke the others, only until
 * `soon`. Else as tr_notice_mark. */
tr_status tr_notice_hold(tr_db *tx, const tr_notice *row, int64_t soon, tr_error *err);
/* The recipient does not answer: its others are not tried before `at` either. */
tr_status tr_notice_put_off(tr_db *tx, const tr_uuid *recipient, int64_t at, tr_error *err);
/* Due at once, as if never tried. TR_E_NOT_FOUND; TR_E_CONFLICT: it was sent. */
tr_status tr_notice_retry(tr_db *tx, const tr_uuid *id, int64_t now, tr_error *err);

typedef struct tr_notice_counts {
    int64_t waiting, dead;
    int64_t oldest; /* created_at of the oldest that waits, but not for a contact; 0: none */
} tr_notice_counts;
tr_status tr_notice_count(tr_db *db, tr_notice_counts *out, tr_error *err);

/* ---- requests that are due ---- */
typedef struct tr_dsr_due {
    tr_uuid id;
    tr_dsr_kind kind;
    int64_t due_at;
    bool has_assignee;
    tr_uuid assignee;
    bool overdue;
} tr_dsr_due;
typedef tr_status (*tr_dsr_due_fn)(void *context, const tr_dsr_due *row, tr_error *err);
/* Open requests due before `before`, or overdue now, of which nobody was told so; without `unassigned` only
 * those of somebody. */
tr_status tr_dsr_untold(tr_db *db, int64_t now, int64_t before, bool unassigned, int limit, tr_dsr_due_fn fn,
                        void *context, tr_error *err);
/* Somebody was told. Leaves the version as it is. TR_E_NOT_FOUND: it was told already, is closed or put off.
 */
tr_status tr_dsr_told(tr_db *tx, const tr_dsr_due *row, tr_error *err);

#endif
