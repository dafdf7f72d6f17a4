/* Fulfilling a data subject's request: what each kind does, in one commit with the request's state, its
 * receipt and the audit entry. An erasure is begun here; its receipt comes at its end (vault/erasure.h). */
#include <string.h>

#include "api/requests.h"
#include "base/clock.h"
#include "base/log.h"
#include "vault/erasure.h"
#include "vault/receipt.h"
#include "vault/restriction.h"

#define ERASURE_WAIT_MS 20000

typedef struct fulfilment fulfilment;
struct fulfilment {
    tr_call *call;
    tr_dsr_case *c;
    int64_t now;
    int64_t version; /* as loaded: a job may run twice */
    tr_recipients recipients;
    tr_uuid *activities;
    size_t activity_count;
    tr_receipt_facts facts; /* counts: -1 where they do not apply */
};

static void clear_fulfilment(void *context) {
    fulfilment *f = context;
    tr_recipients_clear(&f->recipients);
}

/* ---- what each kind needs before the job, and does in it ---- */

static tr_status count_records(fulfilment *f, tr_error *err) {
    return tr_record_count(f->call->db, &f->c->row.subject, &f->facts.records, &f->facts.versions, err);
}

static tr_status load_recipients(fulfilment *f, tr_error *err) {
    return tr_recipients_load(f->call->vault, f->call->db, &f->c->row.subject, &f->recipients, err);
}

static tr_status take_activities(fulfilment *f, tr_error *err) {
    const cJSON *list = tr_json_member(f->c->doc, "activities"), *item;
    size_t room = (size_t)cJSON_GetArraySize(list);
    f->activities = tr_call_alloc(f->call, (room + 1) * sizeof *f->activities, NULL, err);
    if (!f->activities)
        return TR_E_NOMEM;
    f->activity_count = 0;
    cJSON_ArrayForEach(item, list) {
        const char *text = cJSON_GetStringValue(item);
        if (!text || !tr_uuid_parse(text, strlen(text), &f->activities[f->activity_count++]))
            return tr_fail(err, TR_E_CORRUPT, "vault.db", "a stored request is damaged");
    }
    return TR_OK;
}

/* The subject must still be there to be given its data. */
static tr_status disclose(fulfilment *f, tr_db *tx, tr_error *err) {
    tr_subject_row subject;
    return tr_subject_get(tx, &f->c->row.subject, &subject, err);
}

static tr_status tell_of_rectification(fulfilment *f, tr_db *tx, tr_error *err) {
    const tr_dsr *row = &f->c->row;
    tr_status st = disclose(f, tx, err);
    if (st == TR_OK)
        st = tr_recipients_renew(tx, &row->subject, &f->recipients, err);
    if (st == TR_OK)
        st = tr_notices_add(tx, &f->recipients, &row->subject, &row->id, "rectification", NULL,
                            &f->facts.recipients, err);
    return st;
}

static tr_status restrict_subject(fulfilment *f, tr_db *tx, tr_error *err) {
    const tr_dsr *row = &f->c->row;
    return tr_restriction_set(tx, &row->subject, true, &row->id, &f->recipients, f->now, NULL,
                              &f->facts.recipients, err);
}

static tr_status object(fulfilment *f, tr_db *tx, tr_error *err) {
    const tr_dsr *row = &f->c->row;
    tr_status st = disclose(f, tx, err);
    return st == TR_OK ? tr_objection_apply(tx, &row->subject, f->activities, f->activity_count, &row->id,
                                            f->now, &f->facts.grants, &f->facts.recipients, err)
                       : st;
}

static const struct {
    tr_status (*prepare)(fulfilment *f, tr_error *err); /* may be NULL */
    tr_status (*apply)(fulfilment *f, tr_db *tx, tr_error *err);
} kinds[TR_DSR_KIND_COUNT] = {
    [TR_DSR_ACCESS] = {count_records, disclose},
    [TR_DSR_PORTABILITY] = {count_records, disclose},
    [TR_DSR_RECTIFICATION] = {load_recipients, tell_of_rectification},
    [TR_DSR_RESTRICTION] = {load_recipients, restrict_subject},
    [TR_DSR_OBJECTION] = {take_activities, object},
    /* TR_DSR_ERASURE has a job of its own. */
};

/* ---- the job ---- */

static tr_status set_result(fulfilment *f, tr_error *err) {
    const struct {
        const char *name;
        int64_t count;
    } counts[] = {{"records", f->facts.records},
                  {"versions", f->facts.versions},
                  {"grants", f->facts.grants},
                  {"recipients", f->facts.recipients}};
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < sizeof counts / sizeof *counts; i++) {
        if (counts[i].count >= 0)
            st = tr_dsr_set_count(f->c, counts[i].name, counts[i].count, err);
    }
    return st;
}

static tr_status set_receipt(fulfilment *f, tr_error *err) {
    tr_buf *text = &f->c->receipt;
    tr_buf_reset(text);
    tr_status st = tr_receipt_make(f->call->vault, &f->facts, text, err);
    f->c->row.receipt = text->data;
    return st;
}

static tr_status fulfil(void *context, tr_db *tx, tr_error *err) {
    fulfilment *f = context;
    tr_status st = TR_OK;
    f->c->row.version = f->version;
    TR_TRY(kinds[f->c->row.kind].apply(f, tx, err));
    TR_TRY(set_result(f, err));
    TR_TRY(set_receipt(f, err));
    tr_dsr_touch(f->c, TR_DSR_FULFILLED, f->now);
    TR_TRY(tr_dsr_print(f->c, err));
    st = tr_dsr_update(tx, &f->c->row, err);
out:
    return st == TR_E_NOT_FOUND ? tr_fail(err, TR_E_CONFLICT, NULL, "the subject is gone") : st;
}

static tr_status check_version(void *context, const tr_dsr *row, tr_error *err) {
    const fulfilment *f = context;
    return row->version == f->version
               ? TR_OK
               : tr_fail(err, TR_E_PRECONDITION, NULL, "the request has another version");
}

static tr_status begin_erasure(void *context, tr_db *tx, tr_error *err) {
    fulfilment *f = context;
    tr_status st = tr_dsr_get(tx, &f->c->row.id, check_version, f, err);
    if (st == TR_OK)
        st = tr_erasure_file(tx, &f->c->row.subject, &f->c->row.id, f->now, err);
    return st == TR_E_NOT_FOUND ? tr_fail(err, TR_E_CONFLICT, NULL, "the subject is gone") : st;
}

/* ---- the answer: the request as it is after the commit ---- */

static tr_status show(tr_call *call, const tr_uuid *id, tr_error *err) {
    tr_dsr_case c;
    tr_status st = tr_dsr_load(call->vault, call->db, id, &c, err);
    if (st != TR_OK)
        return st;
    tr_request_concerns(call, &c.row);
    tr_buf_reset(&call->response->body);
    st = tr_request_answer(call, c.row.state == TR_DSR_FULFILLING ? 202 : 200, &c, err);
    tr_dsr_clear(&c);
    return st;
}

static void show_committed(tr_call *call) {
    const fulfilment *f = call->effect_context;
    tr_error err = {0};
    if (show(call, &f->c->row.id, &err) != TR_OK) /* it is done all the same */
        tr_call_problem(call, &err);
}

static void finish_erasure(tr_call *call) {
    const fulfilment *f = call->effect_context;
    const tr_uuid *subject = &f->c->row.subject;
    bool done = false;
    tr_error err = {0};
    tr_erasure_filed(call->vault, subject);
    if (tr_erasure_finish(call->vault, subject, ERASURE_WAIT_MS, &done, &err) != TR_OK)
        tr_log(TR_LOG_WARN, "erasure.failed", TR_F_TEXT("status", tr_status_slug(err.status)),
               TR_F_TEXT("reason", err.what));
    show_committed(call);
}

/* ---- the handler ---- */

static void begin_facts(fulfilment *f) {
    const tr_dsr *row = &f->c->row;
    f->facts = TR_RECEIPT_FACTS_INIT;
    f->facts.request = row->id;
    f->facts.subject = row->subject;
    f->facts.kind = row->kind;
    f->facts.received_at = row->received_at;
    f->facts.verified_at = tr_dsr_step_time(f->c, "verification", "at");
    f->facts.extended_until = tr_dsr_step_time(f->c, "extension", "until");
    f->facts.fulfilled_at = f->now;
}

static tr_status prepare(tr_call *call, fulfilment *f, tr_error *err) {
    tr_status st = tr_request_load(call, &f->c, err);
    if (st == TR_OK)
        st = tr_dsr_check_state(&f->c->row, TR_DSR_ARE_VERIFIED, err);
    if (st != TR_OK)
        return st;
    tr_dsr_kind kind = f->c->row.kind;
    f->call = call;
    f->now = tr_now_ms();
    f->version = f->c->row.version;
    begin_facts(f);
    return kinds[kind].prepare ? kinds[kind].prepare(f, err) : TR_OK;
}

tr_status tr_requests_fulfil(tr_call *call, tr_error *err) {
    tr_uuid id;
    if (call->replayed) {
        tr_status st = tr_call_param_id(call, 0, &id, err);
        return st == TR_OK ? show(call, &id, err) : st;
    }
    fulfilment *f = tr_call_alloc(call, sizeof *f, clear_fulfilment, err);
    tr_status st = f ? prepare(call, f, err) : TR_E_NOMEM;
    if (st != TR_OK)
        return st;
    bool erasure = f->c->row.kind == TR_DSR_ERASURE;
    call->effect = erasure ? begin_erasure : fulfil;
    call->effect_context = f;
    call->after_commit = erasure ? finish_erasure : show_committed;
    tr_call_json(call,
                 erasure ? 202 : 200); /* without a body: it is read after the commit, also for replays */
    return TR_OK;
}
