/* The life of a request. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "base/clock.h"
#include "base/log.h"

#define TRIES_MAX 100 /* of an effect that somebody else's was always faster than */

/* ---- the steps after the token ---- */

static bool in_subject(const tr_route *route) {
    return strncmp(route->path, "/v1/subjects/{", 14) == 0;
}

/* The subject in the path is named in the audit entry whatever comes of the request. */
static void read_subject(tr_call *call) {
    if (in_subject(call->route) && tr_call_param_id(call, 0, &call->subject, NULL) == TR_OK) {
        call->has_subject = true;
        tr_call_concerns(call, &call->subject, NULL, NULL);
    }
}

/* So that a lost response can be recovered, whatever it said. */
static tr_status name_request(tr_call *call, tr_error *err) {
    uint8_t name[32];
    tr_status st = tr_read_idempotency_key(call, err);
    if (st == TR_OK && call->idempotency_key && tr_name_request(call, name, NULL) == TR_OK)
        tr_token_name_request(&call->ticket, name);
    return st;
}

/* In the order that the API's document promises. */
static tr_status check(tr_call *call, tr_status key_status, tr_error *err) {
    tr_status st = TR_OK;
    read_subject(call);
    TR_TRY(tr_authorise_role(call, err));
    TR_TRY(tr_rate_take(call->api->rate, &call->who->principal, call->config->rate_per_minute,
                        &call->retry_after_s, err));
    TR_TRY(tr_check_media(call, err));
    TR_TRY(tr_read_headers(call, err));
    if (key_status != TR_OK)
        TR_TRY(tr_read_idempotency_key(call, err));
    TR_TRY(tr_read_query(call, err));
    TR_TRY(tr_read_body(call, err));
    if (in_subject(call->route) && !call->has_subject &&
        tr_policy_rule(call->route->action, call->who->role) != TR_RULE_OWN)
        TR_TRY(tr_fail(err, TR_E_NOT_FOUND, NULL, "there is no such subject"));
    TR_TRY(tr_call_look(call, err));
    TR_TRY(tr_authorise_subject(call, err));
out:
    return st;
}

static void forget_try(tr_call *call) {
    tr_response_clear(call->response);
    tr_response_init(call->response);
    call->effect = NULL;
    call->after_commit = NULL;
    call->session_ends = call->own_entries = call->outcome_names_subject = call->replayed = false;
    call->event.detail = NULL;
    call->event.record_count = 0;
}

/* Run the handler and commit, anew while others are faster. */
static tr_status perform(tr_call *call, tr_error *err) {
    tr_status st = TR_OK;
    bool again = true;
    for (int i = 0; again && i < TRIES_MAX; i++) {
        forget_try(call);
        st = tr_call_look(call, err);
        if (st == TR_OK)
            st = tr_replay(call, err);
        if (st == TR_OK && (!call->replayed || (call->route->flags & TR_ROUTE_REREAD)))
            st = call->route->handler(call, err);
        if (call->replayed)
            call->event.detail = "a stored outcome was answered";
        st = tr_commit(call, st, &again, err);
    }
    return again ? tr_fail(err, TR_E_BUSY, NULL, "others change the same thing all the time") : st;
}

static void begin_entry(tr_call *call) {
    call->event = (tr_event){.at = tr_now_ms(),
                             .action = tr_action_name(call->route->action),
                             .who = call->who,
                             .request = &call->request->id,
                             .address = call->request->peer};
}

/* Everything after the token ends in a commit, refusals too: the token is used up, and the log says what was
 * tried. */
static tr_status authenticated(tr_call *call, tr_error *err) {
    bool again;
    begin_entry(call);
    tr_status key_status = name_request(call, NULL);
    tr_status st = call->unmatched ? call->unmatched : check(call, key_status, err);
    if (st == TR_OK) {
        st = perform(call, err);
    } else {
        tr_status refused = st;
        tr_error why = *err;
        st = tr_commit(call, refused, &again, err);
        if (st == refused)
            *err = why;
    }
    call->session_ends = call->session_ends && st == TR_OK;
    if (call->session_ends)
        tr_session_forget(call->vault, NULL, call->client);
    bool committed = call->ticket.persisted;
    if (st != TR_OK)
        tr_call_problem(call, err);
    /* A session that ended while the request ran has no next token. */
    if (st != TR_E_TOKEN_INVALID)
        tr_give_token(call, committed);
    tr_token_done(call->vault, &call->ticket, committed);
    return st;
}

/* ---- a request ---- */

static bool is_options(const tr_request *request) {
    return strcmp(request->method, "OPTIONS") == 0;
}

static tr_status public(tr_call *call, tr_error *err) {
    tr_status st = tr_check_media(call, err);
    if (st == TR_OK)
        st = tr_read_query(call, err);
    if (st == TR_OK)
        st = tr_read_body(call, err);
    return st == TR_OK ? call->route->handler(call, err) : st;
}

/* What no route takes. With credentials it uses up its token like any other request: a client need not tell
 * its own mistakes from the vault's to know which token is next. */
static tr_status unmatched(tr_call *call, tr_status status, tr_error *err) {
    static const tr_route none = {.action = TR_DO_NOTHING, .path = "", .method = ""};
    tr_error why = *err, ignored = {0};
    call->route = &none;
    tr_status st = tr_take_token(call, &ignored);
    if (st == TR_OK) {
        call->unmatched = status;
        *err = why;
        st = authenticated(call, err);
    } else {
        st = st == TR_E_NO_TOKEN ? status : st;
        *err = st == status ? why : ignored;
        tr_call_problem(call, err);
    }
    if (st == TR_E_METHOD)
        tr_allow_header(call->request->path, call->response);
    return st;
}

static tr_status serve(tr_call *call, tr_error *err) {
    tr_status st = tr_match_route(call, err);
    if (st == TR_E_METHOD && is_options(call->request)) {
        tr_allow_header(call->request->path, call->response);
        call->response->status = 204;
        return TR_OK;
    }
    if (st != TR_OK)
        return unmatched(call, st, err);
    if (tr_policy_is_public(call->route->action))
        st = public(call, err);
    else if ((st = tr_take_token(call, err)) == TR_OK)
        return authenticated(call, err);
    if (st != TR_OK)
        tr_call_problem(call, err);
    return st;
}

static void note(tr_call *call, int64_t start_us, const tr_error *err) {
    int status = call->response->status;
    call->api->answers[status >= 100 && status < 600 ? status / 100 : 0]++;
    tr_log(status >= 500 ? TR_LOG_ERROR : TR_LOG_DEBUG, "request",
           TR_F_TEXT("method", call->route ? call->route->method : NULL),
           TR_F_TEXT("route", call->route ? call->route->path : NULL), TR_F_NUM("status", status),
           TR_F_NUM("us", tr_monotonic_us() - start_us),
           TR_F_TEXT("reason", status >= 500 ? err->what : NULL),
           TR_F_TEXT("where", status >= 500 ? err->where : NULL));
}

void tr_api_handle(void *context, tr_request *request, tr_response *response) {
    tr_api *api = context;
    tr_error err = {0};
    int64_t start_us = tr_monotonic_us();
    tr_call room = {0}, *call = &room;
    call->api = api;
    call->vault = api->vault;
    call->config = tr_vault_config(api->vault);
    call->request = request;
    call->response = response;
    serve(call, &err);
    if (response->body.failed) {
        tr_fail(&err, TR_E_NOMEM, NULL, "out of memory");
        tr_call_problem(call, &err);
    }
    call->after_commit = NULL;
    tr_call_rest(call);
    note(call, start_us, &err);
    tr_call_free(call);
}

/* ---- the api ---- */

tr_status tr_api_new(tr_vault *vault, tr_api **out, tr_error *err) {
    tr_api *api = calloc(1, sizeof *api);
    *out = NULL;
    if (!api)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    api->vault = vault;
    api->started_ms = tr_now_ms();
    tr_status st = tr_rate_new(&api->rate, err);
    if (st == TR_OK)
        st = tr_compile_bodies(api, err);
    if (st != TR_OK) {
        tr_api_free(api);
        return st;
    }
    *out = api;
    return TR_OK;
}

void tr_api_free(tr_api *api) {
    if (!api)
        return;
    for (size_t i = 0; api->bodies && i < tr_routes_count; i++)
        tr_schema_free(api->bodies[i]);
    free(api->bodies);
    tr_rate_free(api->rate);
    free(api);
}

void tr_api_set_draining(tr_api *api) {
    api->draining = true;
}

tr_status tr_api_routes_json(tr_buf *out, tr_error *err) {
    tr_jw_open(out, NULL, '[');
    for (size_t i = 0; i < tr_routes_count; i++) {
        tr_jw_open(out, NULL, '{');
        tr_jw_text(out, "method", tr_routes[i].method);
        tr_jw_text(out, "path", tr_routes[i].path);
        tr_jw_text(out, "action", tr_action_name(tr_routes[i].action));
        tr_jw_close(out, '}');
    }
    tr_jw_close(out, ']');
    return tr_buf_ok(out, err);
}
