/* One's own sessions, lanes and password. */
#include <stdio.h>
#include <string.h>

#include "api/page.h"
#include "api/resources.h"
#include "base/clock.h"
#include "crypto/password.h"
#include "vault/throttle.h"

tr_status tr_validate(tr_call *call, tr_error *err) {
    (void)err;
    tr_buf *out = &call->response->body;
    tr_call_json(call, 200);
    tr_jw_open(out, NULL, '{');
    tr_jw_bool(out, "success", true);
    tr_self_json(out, "data", call->who);
    tr_jw_close(out, '}');
    return TR_OK;
}

/* ---- ending sessions ---- */

static tr_status end_own(void *context, tr_db *tx, tr_error *err) {
    tr_call *call = context;
    return tr_session_delete(tx, call->client, err);
}

tr_status tr_sign_out(tr_call *call, tr_error *err) {
    (void)err;
    call->effect = end_own;
    call->effect_context = call;
    call->session_ends = true;
    tr_call_json(call, 200);
    tr_buf_puts(&call->response->body, "{\"success\":true}");
    return TR_OK;
}

static tr_status end_named(void *context, tr_db *tx, tr_error *err) {
    tr_call *call = context;
    return tr_session_delete(tx, call->params[0], err);
}

static void forget_named(tr_call *call) {
    tr_session_forget(call->vault, NULL, call->params[0]);
}

tr_status tr_session_end(tr_call *call, tr_error *err) {
    tr_session row;
    tr_status st = strlen(call->params[0]) == TR_CLIENT_LEN
                       ? tr_session_get(call->db, call->params[0], &row, err)
                       : TR_E_NOT_FOUND;
    if (st == TR_E_NOT_FOUND || (st == TR_OK && !tr_uuid_equal(&row.principal, &call->who->principal)))
        return tr_fail(err, TR_E_NOT_FOUND, NULL, "you have no such session");
    if (st != TR_OK)
        return st;
    call->session_ends = strcmp(row.client, call->client) == 0;
    call->effect = end_named;
    call->effect_context = call;
    call->after_commit = call->session_ends ? NULL : forget_named;
    call->response->status = 204;
    return TR_OK;
}

static tr_status session_json(void *context, const tr_session *row, tr_error *err) {
    tr_call *call = context;
    tr_buf *out = &call->response->body;
    tr_jw_open(out, NULL, '{');
    tr_jw_text(out, "client", row->client);
    tr_jw_time(out, "created_at", row->created_at);
    tr_jw_time(out, "used_at", row->used_at);
    tr_jw_time(out, "expires_at", tr_session_expires(call->config, row->created_at, row->used_at));
    tr_jw_bool(out, "lane", row->lane);
    tr_jw_bool(out, "current", strcmp(row->client, call->client) == 0);
    tr_jw_close(out, '}');
    return tr_buf_ok(out, err);
}

tr_status tr_sessions(tr_call *call, tr_error *err) {
    tr_page_open(call);
    tr_status st = tr_session_list(call->db, &call->who->principal, session_json, call, err);
    tr_page_close(call, NULL, 0);
    return st;
}

/* ---- lanes ---- */

#define LANES_MAX 32

struct lanes {
    tr_call *call;
    int64_t count;
    tr_session rows[LANES_MAX];
};

static tr_status insert_lanes(void *context, tr_db *tx, tr_error *err) {
    struct lanes *l = context;
    int64_t have = 0;
    tr_status st = tr_session_count(tx, &l->call->who->principal, &have, err);
    if (st == TR_OK && have + l->count > l->call->config->sessions_max)
        st = tr_fail(err, TR_E_CONFLICT, NULL, "more sessions than a principal may have; end some first");
    for (int64_t i = 0; st == TR_OK && i < l->count; i++)
        st = tr_session_insert(tx, &l->rows[i], err);
    return st;
}

static tr_status make_lane(struct lanes *l, tr_session *row, tr_error *err) {
    tr_buf *out = &l->call->response->body;
    char token[TR_TOKEN_LEN + 1], expiry[24];
    int64_t expires_at = 0;
    tr_status st = tr_session_prepare(l->call->vault, &l->call->who->principal, row, token, &expires_at, err);
    if (st == TR_OK) {
        const tr_session *own = &l->call->ticket.next;
        row->lane = true;
        row->created_at = own->created_at; /* no lane outlives the sign-in that it comes from */
        expires_at = tr_session_expires(l->call->config, row->created_at, row->used_at);
        memcpy(row->origin, own->lane ? own->origin : own->client, sizeof row->origin);
        snprintf(expiry, sizeof expiry, "%lld", (long long)(expires_at / 1000));
        tr_jw_open(out, NULL, '{');
        tr_jw_text(out, "access-token", token);
        tr_jw_text(out, "token-type", "Bearer");
        tr_jw_text(out, "client", row->client);
        tr_jw_text(out, "expiry", expiry);
        tr_jw_text(out, "uid", l->call->who->uid);
        tr_jw_close(out, '}');
    }
    tr_wipe(token, sizeof token);
    return st;
}

tr_status tr_lanes(tr_call *call, tr_error *err) {
    tr_buf *out = &call->response->body;
    struct lanes *l = tr_call_alloc(call, sizeof *l, NULL, err);
    tr_status st = l ? TR_OK : TR_E_NOMEM;
    if (st != TR_OK || !tr_json_int(call->body, "count", &l->count) || l->count < 1 || l->count > LANES_MAX)
        return st != TR_OK ? st : tr_fail(err, TR_E_VALIDATION, "/count", "must be from 1 to %d", LANES_MAX);
    l->call = call;
    tr_call_json(call, 201);
    tr_jw_open(out, NULL, '{');
    tr_jw_open(out, "lanes", '[');
    for (int64_t i = 0; st == TR_OK && i < l->count; i++)
        st = make_lane(l, &l->rows[i], err);
    tr_jw_close(out, ']');
    tr_jw_close(out, '}');
    call->effect = insert_lanes;
    call->effect_context = l;
    return st;
}

/* ---- password ---- */

struct change {
    tr_principal_copy principal;
    const char *client;
};

static tr_status change_job(void *context, tr_db *tx, tr_error *err) {
    struct change *c = context;
    int64_t ended = 0;
    tr_status st = tr_principal_update(tx, &c->principal.row, err);
    return st == TR_OK ? tr_session_delete_all(tx, &c->principal.row.id, c->client, &ended, err) : st;
}

static void forget_own(tr_call *call) {
    tr_session_forget(call->vault, &call->who->principal, NULL);
}

static void clear_change(void *change) {
    tr_wipe(change, sizeof(struct change));
}

tr_status tr_password_change(tr_call *call, tr_error *err) {
    const char *current = tr_json_string(call->body, "current_password");
    const char *password = tr_json_string(call->body, "password");
    bool match = false;
    char one_time[32];
    tr_status st = TR_OK;
    struct change *c = tr_call_alloc(call, sizeof *c, clear_change, err);
    if (!c)
        return TR_E_NOMEM;
    c->client = call->client;
    TR_TRY(tr_throttle_try(call->vault, call->who->uid, call->request->peer, &call->retry_after_s, err));
    TR_TRY(tr_principal_get(call->db, &call->who->principal, tr_principal_keep, &c->principal, err));
    TR_TRY(tr_password_check(c->principal.row.password, current, strlen(current), &match, err));
    if (!match)
        TR_TRY(tr_fail(err, TR_E_VALIDATION, "/current_password", "is not the present password"));
    tr_throttle_success(call->vault, call->who->uid, call->request->peer);
    if (strcmp(current, password) == 0)
        TR_TRY(tr_fail(err, TR_E_VALIDATION, "/password", "must differ from the present password"));
    TR_TRY(tr_principal_set_password(&c->principal, password, one_time, err));
    c->principal.row.version++;
    c->principal.row.updated_at = tr_now_ms();
    call->effect = change_job;
    call->effect_context = c;
    call->after_commit = forget_own;
    call->response->status = 204;
out:
    return st;
}
