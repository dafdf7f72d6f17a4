/* Legal holds: placed and lifted by officers; the subject sees its own. */
#include <string.h>

#include "api/page.h"
#include "api/resources.h"
#include "base/clock.h"
#include "vault/holds.h"

static void hold_json(tr_buf *out, const tr_hold *row, int64_t now) {
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "id", &row->id);
    tr_jw_uuid(out, "subject", &row->subject);
    tr_jw_text(out, "title", row->title);
    tr_jw_text(out, "legal_basis", row->legal_basis);
    tr_jw_bool(out, "standing", tr_hold_is_standing(row, now));
    tr_jw_uuid(out, "created_by", &row->created_by);
    tr_jw_time(out, "created_at", row->created_at);
    tr_jw_time(out, "expires_at", row->expires_at);
    tr_jw_uuid(out, "lifted_by", row->has_lifted_by ? &row->lifted_by : NULL);
    tr_jw_time(out, "lifted_at", row->lifted_at);
    tr_jw_close(out, '}');
}

/* ---- list ---- */

static tr_status list_row(void *context, const tr_hold *row, tr_error *err) {
    tr_page *p = context;
    tr_buf *out = &p->call->response->body;
    if (tr_page_full(p, &row->id))
        return TR_OK;
    hold_json(out, row, tr_now_ms());
    return tr_buf_ok(out, err);
}

static tr_status need_subject(tr_call *call, tr_error *err) {
    tr_subject_row row;
    tr_status st = tr_subject_get(call->db, &call->subject, &row, err);
    return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such subject") : st;
}

tr_status tr_holds_list(tr_call *call, tr_error *err) {
    tr_page p;
    tr_status st = need_subject(call, err);
    if (st == TR_OK)
        st = tr_page_begin(&p, call, err);
    return st == TR_OK ? tr_page_end(&p, tr_hold_list(call->db, &call->subject, p.after, tr_page_rows(&p),
                                                      list_row, &p, err))
                       : st;
}

/* ---- place ---- */

struct change {
    tr_hold row;
    tr_uuid by;
};

static tr_status place(void *context, tr_db *tx, tr_error *err) {
    struct change *c = context;
    tr_status st = tr_hold_place(tx, &c->row, err);
    return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such subject") : st;
}

static tr_status take_end(const cJSON *body, int64_t now, int64_t *at, tr_error *err) {
    const char *text = tr_json_string(body, "expires_at");
    *at = 0;
    if (text && (!tr_time_parse(text, strlen(text), at) || *at <= now))
        return tr_fail(err, TR_E_VALIDATION, "/expires_at", "must be a time to come");
    return TR_OK;
}

tr_status tr_holds_create(tr_call *call, tr_error *err) {
    struct change *c = tr_call_alloc(call, sizeof *c, NULL, err);
    tr_status st = c ? need_subject(call, err) : TR_E_NOMEM;
    if (st != TR_OK)
        return st;
    c->row = (tr_hold){.id = tr_uuid_new(),
                       .subject = call->subject,
                       .title = tr_json_string(call->body, "title"),
                       .legal_basis = tr_json_string(call->body, "legal_basis"),
                       .created_by = call->who->principal,
                       .created_at = tr_now_ms()};
    st = take_end(call->body, c->row.created_at, &c->row.expires_at, err);
    if (st != TR_OK)
        return st;
    tr_call_concerns(call, NULL, NULL, &c->row.id);
    call->effect = place;
    call->effect_context = c;
    tr_call_json(call, 201);
    tr_call_location(call, "/v1/subjects/", &call->subject, "/holds/", &c->row.id);
    hold_json(&call->response->body, &c->row, c->row.created_at);
    return TR_OK;
}

/* ---- lift ---- */

static tr_status no_hold(tr_error *err) {
    return tr_fail(err, TR_E_NOT_FOUND, NULL, "there is no such hold");
}

static tr_status keep(void *context, const tr_hold *row, tr_error *err) {
    struct change *c = context;
    (void)err;
    c->row = (tr_hold){.id = row->id, .subject = row->subject, .lifted_at = row->lifted_at};
    return TR_OK;
}

static tr_status lift(void *context, tr_db *tx, tr_error *err) {
    struct change *c = context;
    tr_status st = tr_hold_lift(tx, &c->row.subject, &c->row.id, &c->by, tr_now_ms(), err);
    return st == TR_E_NOT_FOUND ? no_hold(err) : st;
}

tr_status tr_holds_lift(tr_call *call, tr_error *err) {
    tr_uuid id;
    struct change *c = tr_call_alloc(call, sizeof *c, NULL, err);
    tr_status st = c ? tr_call_param_id(call, 1, &id, err) : TR_E_NOMEM;
    if (st == TR_OK)
        st = need_subject(call, err);
    if (st == TR_OK)
        st = tr_hold_get(call->db, &call->subject, &id, keep, c, err);
    if (st != TR_OK)
        return st == TR_E_NOT_FOUND ? no_hold(err) : st;
    tr_call_concerns(call, NULL, NULL, &id);
    if (!c->row.lifted_at) {
        c->by = call->who->principal;
        call->effect = lift;
        call->effect_context = c;
    }
    call->response->status = 204;
    return TR_OK;
}
