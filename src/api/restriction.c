/* Restriction of processing, by the subject itself, or by an officer within such a request of that subject.
 */
#include "vault/restriction.h"
#include "api/resources.h"
#include "base/clock.h"

struct change {
    tr_uuid subject, request;
    bool restricted, has_request;
    int64_t at;
    tr_recipients recipients;
};

static void clear_change(void *change) {
    tr_recipients_clear(&((struct change *)change)->recipients);
}

static tr_status apply(void *context, tr_db *tx, tr_error *err) {
    struct change *c = context;
    bool changed = false;
    tr_status st = tr_restriction_set(tx, &c->subject, c->restricted, c->has_request ? &c->request : NULL,
                                      &c->recipients, c->at, &changed, NULL, err);
    return st == TR_OK && !changed ? tr_fail(err, TR_E_PRECONDITION, NULL, "somebody was faster") : st;
}

/* *since: since when it is restricted, 0: it is not. */
static tr_status state(tr_call *call, int64_t *since, tr_error *err) {
    tr_subject_row row = {0};
    tr_status st = tr_subject_get(call->db, &call->subject, &row, err);
    *since = row.restricted_at;
    return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such subject") : st;
}

static tr_status prepare(tr_call *call, bool restricted, int64_t *at, tr_error *err) {
    struct change *c = tr_call_alloc(call, sizeof *c, clear_change, err);
    if (!c)
        return TR_E_NOMEM;
    c->subject = call->subject;
    c->restricted = restricted;
    c->has_request = call->has_warrant;
    c->request = call->warrant;
    c->at = *at = tr_now_ms();
    call->effect = apply;
    call->effect_context = c;
    return tr_recipients_load(call->vault, call->db, &call->subject, &c->recipients, err);
}

tr_status tr_restriction_post(tr_call *call, tr_error *err) {
    tr_buf *out = &call->response->body;
    int64_t since;
    tr_status st = state(call, &since, err);
    if (st == TR_OK && !since)
        st = prepare(call, true, &since, err);
    if (st != TR_OK)
        return st;
    tr_call_json(call, 200);
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "subject", &call->subject);
    tr_jw_bool(out, "restricted", true);
    tr_jw_time(out, "restricted_at", since);
    tr_jw_close(out, '}');
    return tr_buf_ok(out, err);
}

tr_status tr_restriction_delete(tr_call *call, tr_error *err) {
    int64_t since;
    tr_status st = state(call, &since, err);
    if (st == TR_OK && since)
        st = prepare(call, false, &since, err);
    call->response->status = 204;
    return st;
}
