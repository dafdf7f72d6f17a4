/* Officers are told of requests whose date comes near, or is past: notices like any other. */
#include <string.h>

#include "base/clock.h"
#include "base/json_write.h"
#include "vault/dsr.h"
#include "vault/outbox.h"
#include "vault/recipients.h"
#include "vault/vault_internal.h"

#define BATCH     50
#define BEFORE_MS (7 * INT64_C(86400000))

struct due {
    tr_dsr_due rows[BATCH];
    int count;
    tr_recipients officers; /* that have a contact */
};

static tr_status take_officer(void *context, const tr_uuid *id, tr_error *err) {
    return tr_recipients_add(context, id, err);
}

static tr_status take_row(void *context, const tr_dsr_due *row, tr_error *err) {
    struct due *d = context;
    (void)err;
    d->rows[d->count++] = *row;
    return TR_OK;
}

/* Without the row's request and subject: it is no notice to somebody who got data. */
static tr_status tell(tr_db *tx, const tr_recipients *officers, const tr_dsr_due *row, tr_error *err) {
    static const tr_uuid nobody;
    tr_buf doc = TR_BUF_INIT;
    tr_notice notice = {.kind = row->overdue ? "request-overdue" : "request-due", .created_at = tr_now_ms()};
    tr_jw_open(&doc, NULL, '{');
    tr_jw_uuid(&doc, "request", &row->id);
    tr_jw_text(&doc, "kind", tr_dsr_kind_name(row->kind));
    tr_jw_time(&doc, "due_at", row->due_at);
    tr_jw_close(&doc, '}');
    tr_status st = tr_buf_ok(&doc, err);
    notice.doc = doc.data;
    notice.next_at = notice.created_at;
    const tr_uuid *to = row->has_assignee ? &row->assignee : officers->ids;
    const size_t count = row->has_assignee ? 1 : officers->room;
    for (size_t i = 0; st == TR_OK && i < count; i++) {
        if (tr_uuid_equal(&to[i], &nobody))
            continue;
        notice.id = tr_uuid_new();
        notice.recipient = to[i];
        st = tr_notice_insert(tx, &notice, err);
    }
    tr_buf_clear(&doc);
    return st;
}

static tr_status tell_all(void *context, tr_db *tx, tr_error *err) {
    const struct due *d = context;
    tr_status st = TR_OK;
    for (int i = 0; st == TR_OK && i < d->count; i++) {
        st = tr_dsr_told(tx, &d->rows[i], err);
        if (st == TR_OK)
            st = tell(tx, &d->officers, &d->rows[i], err);
        else if (st == TR_E_NOT_FOUND) /* answered or put off meanwhile */
            st = TR_OK;
    }
    return st;
}

tr_status tr_outbox_tell_due(tr_vault *vault, bool *more, tr_error *err) {
    const int64_t now = tr_now_ms();
    struct due due = {.count = 0};
    tr_db *db = NULL;
    tr_status st = TR_OK;
    TR_TRY(tr_store_reader(vault->store, &db, err));
    TR_TRY(tr_contact_holders(db, TR_OFFICER, take_officer, &due.officers, err));
    TR_TRY(tr_dsr_untold(db, now, now + BEFORE_MS, due.officers.count > 0, BATCH, take_row, &due, err));
    if (due.count > 0)
        TR_TRY(tr_store_write(vault->store, tell_all, &due, err));
    *more = due.count == BATCH;
out:
    tr_recipients_clear(&due.officers);
    return st;
}
