/* Idempotency-Key: the outcome of a request is kept in the commit of its effect, and answered when it comes
 * again. */
#include <stdio.h>
#include <string.h>

#include "api/call.h"
#include "base/clock.h"
#include "base/encode.h"
#include "vault/outcomes.h"

static const char *const kept_headers[] = {"ETag", "Location"};
enum { KEPT = sizeof kept_headers / sizeof *kept_headers };

bool tr_keeps_outcome(const tr_call *call) {
    return call->idempotency_key && call->has_ticket &&
           !(call->route->flags & (TR_ROUTE_STREAM | TR_ROUTE_SAFE)) &&
           strcmp(call->route->method, "GET") != 0 && !call->replayed;
}

static void outcome_row(const tr_call *call, tr_outcome *row) {
    memset(row, 0, sizeof *row);
    row->principal = call->who->principal;
    memcpy(row->key, call->key_hash, 32);
    memcpy(row->request, call->request_hash, 32);
    row->has_subject = call->has_subject || call->outcome_names_subject;
    row->subject = call->has_subject ? call->subject : call->event_subject;
    row->created_at = tr_now_ms();
}

/* What a service was shown depends on its grants: an answer is given again only under the same ones. */
static tr_status rights_text(const tr_call *call, char text[2 * TR_SHA256_LEN + 1], tr_error *err) {
    uint8_t digest[TR_SHA256_LEN];
    tr_status st = tr_access_digest(&call->access, digest, err);
    if (st == TR_OK)
        tr_hex_encode(digest, sizeof digest, text);
    return st;
}

/* ---- keep ---- */

static const char *response_header(const tr_response *response, const char *name) {
    for (int i = 0; i < response->header_count; i++) {
        if (strcmp(response->headers[i].name, name) == 0)
            return response->headers[i].value;
    }
    return NULL;
}

static void clear_buf(void *buf) {
    tr_buf_clear(buf);
}

tr_status tr_seal_outcome(tr_call *call, tr_error *err) {
    tr_outcome row;
    char rights[2 * TR_SHA256_LEN + 1];
    tr_buf plain = TR_BUF_INIT;
    tr_buf *sealed = tr_call_alloc(call, sizeof *sealed, clear_buf, err);
    if (!sealed)
        return TR_E_NOMEM;
    outcome_row(call, &row);
    tr_status st = rights_text(call, rights, err);
    tr_jw_open(&plain, NULL, '{');
    tr_jw_number(&plain, "status", call->response->status);
    if (st == TR_OK)
        tr_jw_text(&plain, "rights", rights);
    for (int i = 0; i < KEPT; i++)
        tr_jw_text(&plain, kept_headers[i], response_header(call->response, kept_headers[i]));
    tr_jw_text(&plain, "body", call->response->content_type ? call->response->body.data : NULL);
    tr_jw_close(&plain, '}');
    if (st == TR_OK)
        st = tr_buf_ok(&plain, err);
    if (st == TR_OK)
        st = tr_outcome_seal(call->vault, call->db, &row, (tr_bytes){plain.data, plain.len}, sealed, err);
    call->sealed_outcome = (tr_bytes){sealed->data, sealed->len};
    tr_buf_clear(&plain);
    return st;
}

tr_status tr_keep_outcome(tr_call *call, tr_db *tx, tr_error *err) {
    tr_outcome row;
    outcome_row(call, &row);
    row.sealed = call->sealed_outcome;
    tr_status st = tr_outcome_insert(tx, &row, err);
    call->outcome_taken = st == TR_E_CONFLICT;
    return st;
}

/* ---- answer again ---- */

struct replay {
    tr_call *call;
    bool other; /* another request had this key */
};

static tr_status fill_response(tr_call *call, const cJSON *outcome, tr_error *err) {
    int64_t status = 0;
    const char *body = tr_json_string(outcome, "body");
    if (!tr_json_int(outcome, "status", &status))
        return tr_fail(err, TR_E_CORRUPT, "vault.db", "a stored outcome is damaged");
    call->response->status = (int)status;
    for (int i = 0; i < KEPT; i++) {
        const char *value = tr_json_string(outcome, kept_headers[i]);
        if (value)
            tr_response_header(call->response, kept_headers[i], value);
    }
    if (body) {
        call->response->content_type = "application/json";
        tr_buf_puts(&call->response->body, body);
    }
    tr_response_header(call->response, "Idempotency-Replayed", "true");
    return tr_buf_ok(&call->response->body, err);
}

static tr_status take_row(void *context, const tr_outcome *row, tr_error *err) {
    struct replay *r = context;
    char rights[2 * TR_SHA256_LEN + 1];
    tr_buf plain = TR_BUF_INIT;
    cJSON *outcome = NULL;
    if (!tr_equal_ct(row->request, r->call->request_hash, 32)) {
        r->other = true;
        return TR_OK;
    }
    tr_status st = tr_outcome_open(r->call->vault, r->call->db, row, &plain, err);
    if (st == TR_OK)
        st = tr_json_parse(plain.data, plain.len, &outcome, err);
    if (st == TR_OK)
        st = rights_text(r->call, rights, err);
    const char *then = tr_json_string(outcome, "rights");
    if (st == TR_OK && (!then || strcmp(then, rights) != 0))
        st = tr_fail(err, TR_E_NO_GRANT, NULL, "what was answered then is not granted any more");
    if (st == TR_OK)
        st = fill_response(r->call, outcome, err);
    if (row->has_subject) /* who is shown again what it says */
        tr_call_concerns(r->call, &row->subject, NULL, NULL);
    cJSON_Delete(outcome);
    tr_buf_clear(&plain);
    return st;
}

tr_status tr_replay(tr_call *call, tr_error *err) {
    struct replay r = {.call = call};
    if (!tr_keeps_outcome(call))
        return TR_OK;
    tr_status st = tr_outcome_get(call->db, &call->who->principal, call->key_hash, take_row, &r, err);
    if (st == TR_E_NOT_FOUND)
        return TR_OK;
    if (st == TR_OK && r.other)
        return tr_fail(err, TR_E_IDEMPOTENCY, "Idempotency-Key", "was used for another request");
    /* Tokens that were given out may have been used since: only whoever never saw them gets them. */
    if (st == TR_OK && call->route->action == TR_DO_AUTH_LANES && !call->ticket.recovered) {
        tr_response_clear(call->response);
        tr_response_init(call->response);
        return tr_fail(err, TR_E_CONFLICT, NULL, "the lanes of this Idempotency-Key were given out");
    }
    call->replayed = st == TR_OK;
    return st;
}
