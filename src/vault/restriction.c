#include "vault/restriction.h"

#include <limits.h>

#include "base/json_write.h"

tr_status tr_restriction_is(tr_db *db, const tr_uuid *subject, bool *restricted, tr_error *err) {
    tr_subject_row row;
    tr_status st = tr_subject_get(db, subject, &row, err);
    *restricted = st == TR_OK && row.restricted_at != 0;
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

tr_status tr_restriction_check(tr_db *db, const tr_uuid *subject, tr_error *err) {
    bool restricted;
    tr_status st = tr_restriction_is(db, subject, &restricted, err);
    return restricted ? tr_fail(err, TR_E_RESTRICTED, NULL, "only storing is allowed until it is lifted")
                      : st;
}

static tr_status count_notice(void *context, const tr_notice *row, tr_error *err) {
    (void)row;
    (void)err;
    ++*(int64_t *)context;
    return TR_OK;
}

static tr_status change(tr_db *tx, const tr_uuid *subject, bool restricted, const tr_uuid *request,
                        tr_recipients *recipients, int64_t at, int64_t *notices, tr_error *err) {
    tr_status st = tr_subject_restrict(tx, subject, restricted ? at : 0, err);
    if (st == TR_OK)
        st = tr_recipients_renew(tx, subject, recipients, err);
    return st == TR_OK ? tr_notices_add(tx, recipients, subject, request,
                                        restricted ? "restriction" : "restriction-lifted", NULL, notices, err)
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
        st = tr_notice_list(tx, request, NULL, INT_MAX, count_notice, &told, err);
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
