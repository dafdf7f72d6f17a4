/* One erasure's steps. Each job leaves a state from which the next call goes on, and none has its effect
 * twice. */
#include "vault/erasure_steps.h"

#include <string.h>

#include "base/clock.h"
#include "vault/audit.h"
#include "vault/dsr.h"
#include "vault/erasure.h"
#include "vault/holds.h"
#include "vault/receipt.h"
#include "vault/recipients.h"
#include "vault/snapshots.h"
#include "vault/vault_internal.h"

#define BATCH     250 /* rows a job: others' writes wait for some ms */
#define TRIES_MAX 8   /* when others change the same request */

/* ---- 1: begin ---- */

tr_status tr_erasure_file(tr_db *tx, const tr_uuid *subject, const tr_uuid *request, int64_t at,
                          tr_error *err) {
    const tr_dsr_kind kind = TR_DSR_ERASURE;
    tr_status st = TR_OK;
    TR_TRY(tr_hold_check(tx, subject, at, err));
    TR_TRY(tr_dsr_change_state(tx, request, subject, &kind, TR_DSR_ARE_VERIFIED, TR_DSR_FULFILLING, at, err));
    st = tr_erasure_begin(tx, subject, request, at, err);
out:
    return st;
}

/* ---- 2: the rows ---- */

struct batch {
    tr_uuid subject;
    bool left;
};

static tr_status batch_job(void *context, tr_db *tx, tr_error *err) {
    struct batch *batch = context;
    return tr_erasure_step(tx, &batch->subject, BATCH, &batch->left, err);
}

static tr_status delete_rows(tr_vault *vault, const tr_uuid *subject, tr_erasure_late_fn late, void *context,
                             bool *all, tr_error *err) {
    struct batch batch = {.subject = *subject, .left = true};
    tr_status st = TR_OK;
    while (st == TR_OK && batch.left && !late(context))
        st = tr_store_write(vault->store, batch_job, &batch, err);
    *all = !batch.left;
    return st;
}

/* ---- 2: the subject's requests: what they say of a person goes ---- */

struct request_list {
    tr_uuid ids[TR_DSR_OPEN_MAX];
    int count, seen;
    tr_uuid last;
};

static tr_status take_request(void *context, const tr_dsr *row, tr_error *err) {
    struct request_list *list = context;
    (void)err;
    list->seen++;
    list->last = row->id;
    if (row->sealed.len > 0 || (row->closed_at == 0 && row->state != TR_DSR_FULFILLING))
        list->ids[list->count++] = row->id;
    return TR_OK;
}

static tr_status update_job(void *context, tr_db *tx, tr_error *err) {
    const tr_dsr_case *c = context;
    return tr_dsr_update(tx, &c->row, err);
}

/* What is open otherwise than by the erasure itself has nothing left that could be answered. */
static tr_status empty_request(tr_vault *vault, tr_db *db, const tr_uuid *id, const tr_uuid *erasure,
                               tr_error *err) {
    tr_dsr_case c = {0};
    int64_t now = tr_now_ms();
    tr_status st = tr_dsr_load(vault, db, id, &c, err);
    if (st != TR_OK)
        return st;
    cJSON_Delete(c.texts);
    c.texts = NULL;
    bool open = c.row.closed_at == 0 && c.row.state != TR_DSR_FULFILLING;
    if (open)
        TR_TRY(tr_dsr_set_result_id(&c, "erased_by", erasure, err));
    TR_TRY(tr_dsr_seal(vault, db, &c, err));
    int64_t closed_at = open ? now : c.row.closed_at;
    tr_dsr_touch(&c, c.row.state, now);
    c.row.closed_at = closed_at;
    st = tr_store_write(vault->store, update_job, &c, err);
out:
    tr_dsr_clear(&c);
    return st;
}

static tr_status empty_requests(tr_vault *vault, tr_db *db, const tr_erasure *erasure, tr_error *err) {
    const tr_dsr_filter filter = {.subject = &erasure->subject};
    struct request_list list = {.seen = TR_DSR_OPEN_MAX};
    tr_status st = TR_OK;
    bool first = true;
    while (st == TR_OK && list.seen == TR_DSR_OPEN_MAX) {
        tr_uuid after = list.last;
        list = (struct request_list){0};
        st = tr_dsr_list(db, &filter, first ? NULL : &after, TR_DSR_OPEN_MAX, take_request, &list, err);
        first = false;
        for (int i = 0; st == TR_OK && i < list.count; i++) {
            st = TR_E_PRECONDITION;
            for (int t = 0; st == TR_E_PRECONDITION && t < TRIES_MAX; t++)
                st = empty_request(vault, db, &list.ids[i], &erasure->request, err);
        }
    }
    return st;
}

/* ---- 3: notices ---- */

struct told {
    tr_recipients *recipients;
    tr_uuid last;
    int seen;
};

static tr_status take_told(void *context, const tr_notice *row, tr_error *err) {
    struct told *told = context;
    told->seen++;
    told->last = row->id;
    return tr_recipients_add(told->recipients, &row->recipient, err);
}

static tr_status list_told(tr_db *tx, const tr_uuid *request, tr_recipients *out, tr_error *err) {
    struct told told = {.recipients = out, .seen = TR_DSR_NOTICES_MAX};
    tr_status st = TR_OK;
    for (bool first = true; st == TR_OK && told.seen == TR_DSR_NOTICES_MAX; first = false) {
        tr_uuid after = told.last;
        told.seen = 0;
        st = tr_notice_list(tx, request, first ? NULL : &after, TR_DSR_NOTICES_MAX, take_told, &told, err);
    }
    return st;
}

/* Inside a job: a notice for each that has none yet; *told: how many have one now. What the log has got since
 * they were loaded counts too: an answer that was under way when the erasure began. */
static tr_status notify_missing(tr_db *tx, const tr_erasure *erasure, tr_recipients *recipients,
                                int64_t *told, tr_error *err) {
    tr_recipients all = TR_RECIPIENTS_INIT, missing = TR_RECIPIENTS_INIT;
    tr_status st = TR_OK;
    TR_TRY(tr_recipients_renew(tx, &erasure->subject, recipients, err));
    TR_TRY(list_told(tx, &erasure->request, &all, err));
    for (size_t i = 0; i < recipients->room; i++) { /* free slots are nil, and are not added */
        size_t before = all.count;
        TR_TRY(tr_recipients_add(&all, &recipients->ids[i], err));
        if (all.count > before)
            TR_TRY(tr_recipients_add(&missing, &recipients->ids[i], err));
    }
    *told = (int64_t)all.count;
    if (missing.count > 0)
        st = tr_notices_add(tx, &missing, &erasure->subject, &erasure->request, "erasure", NULL, NULL, err);
out:
    tr_recipients_clear(&all);
    tr_recipients_clear(&missing);
    return st;
}

struct notices {
    const tr_erasure *erasure;
    tr_recipients recipients;
};

static tr_status notices_job(void *context, tr_db *tx, tr_error *err) {
    struct notices *n = context;
    int64_t told = 0;
    return notify_missing(tx, n->erasure, &n->recipients, &told, err);
}

static tr_status notify(tr_vault *vault, tr_db *db, const tr_erasure *erasure, tr_error *err) {
    struct notices n = {erasure, TR_RECIPIENTS_INIT};
    tr_status st = TR_E_PRECONDITION;
    for (int i = 0; st == TR_E_PRECONDITION && i < TRIES_MAX; i++) {
        st = tr_recipients_load(vault, db, &erasure->subject, &n.recipients, err);
        if (st == TR_OK && n.recipients.count > 0)
            st = tr_store_write(vault->store, notices_job, &n, err);
    }
    tr_recipients_clear(&n.recipients);
    return st;
}

tr_status tr_erasure_prepare(tr_vault *vault, const tr_uuid *subject, tr_erasure_late_fn late, void *context,
                             bool *ready, tr_error *err) {
    tr_erasure row;
    tr_db *db = NULL;
    bool all = false;
    tr_status st = TR_OK;
    *ready = false;
    TR_TRY(tr_store_reader(vault->store, &db, err));
    TR_TRY(tr_erasure_get(db, subject, &row, err));
    TR_TRY(delete_rows(vault, subject, late, context, &all, err));
    if (!all)
        goto out;
    TR_TRY(empty_requests(vault, db, &row, err));
    TR_TRY(notify(vault, db, &row, err));
    *ready = true;
out:
    return st;
}

/* ---- 4: the files ---- */

tr_status tr_erasure_clean(tr_vault *vault, tr_error *err) {
    tr_status st = tr_store_checkpoint(vault->store, err);
    return st == TR_OK ? tr_snapshots_renew_keys(vault, err) : st;
}

/* ---- 5: the end ---- */

struct completion {
    tr_vault *vault;
    tr_erasure erasure;
    tr_dsr_case request;
    tr_recipients recipients;
    int64_t version; /* of the request as it is stored */
    bool lost;       /* the vault has no such request */
    bool by_ledger;  /* and nothing but the ledger says that there was one */
};

/* ---- 5: a request that is not in the vault ---- */

#define LOOK_BACK 200 /* entries about the subject, the newest first */

struct asker {
    char request[TR_UUID_TEXT];
    tr_uuid principal;
    bool found;
};

static tr_status look_for_asker(void *context, const tr_audit_row *row, tr_error *err) {
    struct asker *a = context;
    cJSON *entry = NULL;
    tr_status st = tr_json_parse(row->entry.data, row->entry.len, &entry, err);
    const char *action = tr_json_string(entry, "action"), *outcome = tr_json_string(entry, "outcome"),
               *purpose = tr_json_string(entry, "purpose"), *by = tr_json_string(entry, "principal");
    if (st == TR_OK && action && outcome && purpose && by && strcmp(action, "subject.delete") == 0 &&
        strcmp(outcome, "ok") == 0 && strcmp(purpose, a->request) == 0)
        a->found = tr_uuid_parse(by, strlen(by), &a->principal);
    cJSON_Delete(entry);
    return st == TR_OK && a->found ? TR_STOP : st;
}

/* A subject that asks for it itself does so in the commit that begins the erasure, so its request may be lost
 * with the vault's half of that: then the log says who it was. A restored vault may lack an older request,
 * and the log of it. Then only the ledger tells: that it was asked for and verified, not when or by whom. */
static tr_status make_lost_request(struct completion *c, tr_db *db, tr_error *err) {
    const tr_erasure *e = &c->erasure;
    struct asker asker = {.found = false};
    tr_dsr_case *r = &c->request;
    tr_status st = TR_OK;
    c->lost = true;
    tr_uuid_format(&e->request, asker.request);
    st = tr_audit_list(db, &e->subject, 0, true, LOOK_BACK, look_for_asker, &asker, err);
    if (st != TR_OK && st != TR_STOP)
        return st;
    TR_TRY(tr_dsr_new(c->vault, &e->subject, TR_DSR_ERASURE, &asker.principal, e->started_at, e->started_at,
                      r, err));
    r->row.id = e->request;
    if (asker.found)
        TR_TRY(tr_dsr_set_verified(r, e->started_at, &asker.principal, "own-session", err));
    else
        cJSON_DeleteItemFromObjectCaseSensitive(r->doc, "filed_by");
    c->by_ledger = !asker.found;
out:
    return st;
}

static tr_status load_request(struct completion *c, tr_db *db, tr_error *err) {
    tr_status st = tr_dsr_load(c->vault, db, &c->erasure.request, &c->request, err);
    if (st == TR_E_NOT_FOUND)
        st = make_lost_request(c, db, err);
    if (st != TR_OK)
        return st;
    cJSON_Delete(c->request.texts);
    c->request.texts = NULL;
    return TR_OK;
}

static tr_status make_receipt(struct completion *c, int64_t recipients, int64_t now, tr_error *err) {
    tr_dsr_case *r = &c->request;
    tr_receipt_facts facts = TR_RECEIPT_FACTS_INIT;
    facts.request = c->erasure.request;
    facts.subject = c->erasure.subject;
    facts.kind = TR_DSR_ERASURE;
    facts.received_at = c->by_ledger ? 0 : r->row.received_at;
    facts.verified_at = tr_dsr_step_time(r, "verification", "at");
    facts.extended_until = tr_dsr_step_time(r, "extension", "until");
    facts.fulfilled_at = now;
    facts.records = c->erasure.records;
    facts.versions = c->erasure.versions;
    facts.recipients = recipients;
    tr_buf_reset(&r->receipt);
    return tr_receipt_make(c->vault, &facts, &r->receipt, err);
}

/* The row as it is to be stored. May run more than once. */
static tr_status fill_request(struct completion *c, tr_db *tx, int64_t recipients, tr_error *err) {
    tr_dsr_case *r = &c->request;
    int64_t now = tr_now_ms(), version = c->version + !c->lost;
    tr_status st = TR_OK;
    TR_TRY(make_receipt(c, recipients, now, err));
    TR_TRY(tr_dsr_set_count(r, "records", c->erasure.records, err));
    TR_TRY(tr_dsr_set_count(r, "versions", c->erasure.versions, err));
    TR_TRY(tr_dsr_set_count(r, "recipients", recipients, err));
    TR_TRY(tr_dsr_seal(c->vault, tx, r, err));
    r->row.receipt = r->receipt.data;
    tr_dsr_touch(r, TR_DSR_FULFILLED, now);
    r->row.version = version;
out:
    return st;
}

static tr_status complete_job(void *context, tr_db *tx, tr_error *err) {
    struct completion *c = context;
    int64_t told = 0;
    tr_event event = {.action = "subject.erased",
                      .subject = &c->erasure.subject,
                      .purpose = &c->erasure.request,
                      .outcome = TR_OK};
    tr_status st = TR_OK;
    TR_TRY(tr_erasure_end(tx, &c->erasure.subject, err));
    TR_TRY(notify_missing(tx, &c->erasure, &c->recipients, &told, err));
    TR_TRY(fill_request(c, tx, told, err));
    TR_TRY(c->lost ? tr_dsr_insert(tx, &c->request.row, err) : tr_dsr_update(tx, &c->request.row, err));
    event.at = c->request.row.closed_at;
    st = tr_event_append(tx, &event, err);
out:
    return st;
}

static tr_status complete(tr_vault *vault, tr_db *db, const tr_uuid *subject, tr_error *err) {
    struct completion c = {.vault = vault};
    tr_status st = TR_OK;
    TR_TRY(tr_erasure_get(db, subject, &c.erasure, err));
    TR_TRY(load_request(&c, db, err));
    c.version = c.request.row.version;
    TR_TRY(tr_recipients_load(vault, db, subject, &c.recipients, err));
    st = tr_store_write(vault->store, complete_job, &c, err);
out:
    tr_dsr_clear(&c.request);
    tr_recipients_clear(&c.recipients);
    return st;
}

tr_status tr_erasure_complete(tr_vault *vault, const tr_uuid *subject, tr_error *err) {
    tr_db *db = NULL;
    tr_status st = tr_store_reader(vault->store, &db, err);
    if (st == TR_OK)
        st = TR_E_PRECONDITION;
    for (int i = 0; st == TR_E_PRECONDITION && i < TRIES_MAX; i++)
        st = complete(vault, db, subject, err);
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}
