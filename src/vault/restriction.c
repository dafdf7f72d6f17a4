#include "vault/restriction.h"

#include <limits.h>
#include <string.h>

#include "base/json_write.h"

#define NOTICE_RESTRICTED "restriction"
#define NOTICE_LIFTED     "restriction-lifted"

tr_status tr_restriction_is(tr_db *db, const tr_uuid *subject, bool *restricted, tr_error *err) {
    tr_subject_row row;
    tr_status st = tr_subject_get(db, subject, &row, err);
    *restricted = st == TR_OK && row.restricted_at != 0;
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

tr_status tr_restriction_judge(const tr_subject_row *row, tr_error *err) {
    return row->restricted_at != 0
               ? tr_fail(err, TR_E_RESTRICTED, NULL, "only storing is allowed until it is lifted")
               : TR_OK;
}

tr_status tr_restriction_check(tr_db *db, const tr_uuid *subject, tr_error *err) {
    tr_subject_row row;
    tr_status st = tr_subject_get(db, subject, &row, err);
    if (st == TR_E_NOT_FOUND)
        return TR_OK;
    return st == TR_OK ? tr_restriction_judge(&row, err) : st;
}

struct told {
    const char *kind;
    tr_recipients recipients;
};

static tr_status take_told(void *context, const tr_notice *row, tr_error *err) {
    struct told *told = context;
    return strcmp(row->kind, told->kind) == 0 ? tr_recipients_add(&told->recipients, &row->recipient, err)
                                              : TR_OK;
}

/* It may have been restricted, lifted and restricted again: who was told twice counts once. */
static tr_status count_told(tr_db *tx, const tr_uuid *request, bool restricted, int64_t *count,
                            tr_error *err) {
    struct told told = {.kind = restricted ? NOTICE_RESTRICTED : NOTICE_LIFTED};
    tr_status st = tr_notice_list(tx, request, NULL, INT_MAX, take_told, &told, err);
    *count = (int64_t)told.recipients.count;
    tr_recipients_clear(&told.recipients);
    return st;
}

static tr_status change(tr_db *tx, const tr_uuid *subject, bool restricted, const tr_uuid *request,
                        tr_recipients *recipients, int64_t at, int64_t *notices, tr_error *err) {
    tr_status st = tr_subject_restrict(tx, subject, restricted ? at : 0, err);
    if (st == TR_OK)
        st = tr_recipients_renew(tx, subject, recipients, err);
    return st == TR_OK ? tr_notices_add(tx, recipients, subject, request,
                                        restricted ? NOTICE_RESTRICTED : NOTICE_LIFTED, NULL, notices, err)
                       : st;
}

tr_status tr_restriction_set(tr_db *tx, const tr_uuid *subject, bool restricted, const tr_uuid *request,
                             tr_recipients *recipients, int64_t at, bool *changed, int64_t *notices,
                             tr_error *err) {
    tr_subject_row row = {0};
    int64_t told = 0;
    tr_status st = tr_subject_get(tx, subject, &row, err);
    bool changes = (row.restricted_at != 0) != restricted;
    if (st == TR_OK && changes)
        st = change(tx, subject, restricted, request, recipients, at, &told, err);
    else if (st == TR_OK && request)
        st = count_told(tx, request, restricted, &told, err);
    if (changed)
        *changed = changes;
    if (notices)
        *notices = told;
    return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such subject") : st;
}

/* ---- objection ---- */

struct withdrawal {
    tr_recipients grantees;
    int64_t grants;
};

static tr_status take(void *context, const tr_uuid *grantee, tr_error *err) {
    struct withdrawal *w = context;
    w->grants++;
    return tr_recipients_add(&w->grantees, grantee, err);
}

tr_status tr_objection_apply(tr_db *tx, const tr_uuid *subject, const tr_uuid *activities, size_t count,
                             const tr_uuid *request, int64_t at, int64_t *withdrawn, int64_t *notices,
                             tr_error *err) {
    struct withdrawal w = {0};
    tr_buf doc = TR_BUF_INIT;
    tr_status st = TR_OK;
    tr_jw_open(&doc, NULL, '{');
    tr_jw_open(&doc, "activities", '[');
    for (size_t i = 0; i < count; i++)
        tr_jw_uuid(&doc, NULL, &activities[i]);
    tr_jw_close(&doc, ']');
    tr_jw_close(&doc, '}');
    TR_TRY(tr_buf_ok(&doc, err));
    for (size_t i = 0; i < count; i++)
        TR_TRY(tr_grant_withdraw_all(tx, subject, &activities[i], at, take, &w, err));
    TR_TRY(tr_notices_add(tx, &w.grantees, subject, request, "objection", doc.data, notices, err));
    if (withdrawn)
        *withdrawn = w.grants;
out:
    tr_recipients_clear(&w.grantees);
    tr_buf_clear(&doc);
    return st;
}
