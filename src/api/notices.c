/* The outbox as officers and operators see it: which notices wait, were sent, or were given up. */
#include <string.h>

#include "api/page.h"
#include "api/resources.h"
#include "base/clock.h"

static const char *const states[] = {
    [TR_NOTICE_WAITING] = "waiting", [TR_NOTICE_SENT] = "sent", [TR_NOTICE_DEAD] = "dead"};

static tr_notice_state state_of(const tr_notice *row) {
    return row->sent_at ? TR_NOTICE_SENT : row->next_at ? TR_NOTICE_WAITING : TR_NOTICE_DEAD;
}

static void notice_json(tr_buf *out, const tr_notice *row) {
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "id", &row->id);
    tr_jw_text(out, "state", states[state_of(row)]);
    tr_jw_text(out, "kind", row->kind);
    tr_jw_uuid(out, "recipient", &row->recipient);
    tr_jw_uuid(out, "subject", row->has_subject ? &row->subject : NULL);
    tr_jw_uuid(out, "request", row->has_request ? &row->request : NULL);
    tr_jw_time(out, "created_at", row->created_at);
    tr_jw_number(out, "attempts", row->attempts);
    tr_jw_time(out, "next_at", row->next_at);
    tr_jw_time(out, "sent_at", row->sent_at);
    tr_jw_text(out, "problem", row->problem && row->problem[0] ? row->problem : NULL);
    tr_jw_close(out, '}');
}

static tr_status list_row(void *context, const tr_notice *row, tr_error *err) {
    tr_page *p = context;
    if (tr_page_full(p, &row->id))
        return TR_OK;
    notice_json(&p->call->response->body, row);
    return tr_buf_ok(&p->call->response->body, err);
}

tr_status tr_notices_list(tr_call *call, tr_error *err) {
    const char *text = tr_call_query(call, "state");
    tr_notice_state state = TR_NOTICE_ANY;
    tr_page p;
    for (int i = TR_NOTICE_WAITING; text && i <= TR_NOTICE_DEAD; i++) {
        if (strcmp(text, states[i]) == 0)
            state = (tr_notice_state)i;
    }
    if (text && state == TR_NOTICE_ANY)
        return tr_fail(err, TR_E_BAD_REQUEST, "state", "must be waiting, sent or dead");
    tr_status st = tr_page_begin(&p, call, err);
    return st == TR_OK ? tr_page_end(&p, tr_notice_by_state(call->db, state, p.after, tr_page_rows(&p),
                                                            list_row, &p, err))
                       : st;
}

struct retry {
    tr_uuid id;
    int64_t at;
    tr_buf *out;
    bool sent;
};

static tr_status no_notice(tr_error *err) {
    return tr_fail(err, TR_E_NOT_FOUND, NULL, "there is no such notice");
}

/* As it will be. */
static tr_status show(void *context, const tr_notice *row, tr_error *err) {
    struct retry *r = context;
    tr_notice after = *row;
    r->sent = row->sent_at != 0;
    after.attempts = 0;
    after.next_at = r->at;
    after.problem = "";
    notice_json(r->out, &after);
    return tr_buf_ok(r->out, err);
}

static tr_status retry(void *context, tr_db *tx, tr_error *err) {
    const struct retry *r = context;
    tr_status st = tr_notice_retry(tx, &r->id, r->at, err);
    return st == TR_E_NOT_FOUND ? no_notice(err) : st;
}

tr_status tr_notices_retry(tr_call *call, tr_error *err) {
    struct retry *r = tr_call_alloc(call, sizeof *r, NULL, err);
    tr_status st = r ? tr_call_param_id(call, 0, &r->id, err) : TR_E_NOMEM;
    if (st != TR_OK)
        return st;
    r->at = tr_now_ms();
    r->out = &call->response->body;
    tr_call_json(call, 200);
    st = tr_notice_get(call->db, &r->id, show, r, err);
    if (st != TR_OK)
        return st == TR_E_NOT_FOUND ? no_notice(err) : st;
    if (r->sent)
        return tr_fail(err, TR_E_CONFLICT, NULL, "the notice was sent");
    tr_call_concerns(call, NULL, NULL, &r->id);
    call->effect = retry;
    call->effect_context = r;
    return TR_OK;
}
