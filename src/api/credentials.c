/* Credentials in, the next token out. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/call.h"
#include "base/encode.h"
#include "base/log.h"

#define BEARER_MAX 2048

typedef struct credentials {
    char token[TR_TOKEN_LEN + 1];
    char client[TR_CLIENT_LEN + 1];
    char uid[TR_UID_MAX + 1];
} credentials;

static tr_status no_token(tr_error *err) {
    return tr_fail(err, TR_E_NO_TOKEN, NULL, "send access-token, client and uid, or sign in first");
}

static tr_status invalid(tr_error *err) {
    return tr_fail(err, TR_E_TOKEN_INVALID, NULL, "the token is not valid");
}

/* What is longer than any of ours cannot be valid. */
static bool put(char *out, size_t size, const char *text) {
    size_t n = text ? strlen(text) : size;
    if (n >= size)
        return false;
    memcpy(out, text, n + 1);
    return true;
}

static bool put_all(credentials *c, const char *token, const char *client, const char *uid) {
    return put(c->token, sizeof c->token, token) && put(c->client, sizeof c->client, client) &&
           put(c->uid, sizeof c->uid, uid);
}

/* Authorization: Bearer <base64 of {"access-token","client","uid"}> */
static tr_status from_bearer(const char *value, credentials *c, tr_error *err) {
    tr_buf text = TR_BUF_INIT;
    cJSON *json = NULL;
    tr_status st = TR_OK;
    if (strncasecmp(value, "Bearer ", 7) != 0)
        return no_token(err);
    value += 7 + strspn(value + 7, " ");
    size_t n = strlen(value);
    bool good = n <= BEARER_MAX && tr_base64_decode_any(value, n, &text) &&
                tr_json_parse(text.data, text.len, &json, NULL) == TR_OK &&
                put_all(c, tr_json_string(json, "access-token"), tr_json_string(json, "client"),
                        tr_json_string(json, "uid"));
    if (!good)
        st = invalid(err);
    cJSON_Delete(json);
    tr_buf_clear(&text);
    return st;
}

static tr_status read_credentials(const tr_call *call, credentials *c, tr_error *err) {
    const tr_request *r = call->request;
    bool twice[3] = {false};
    const char *token = r->header(r, "access-token", &twice[0]);
    const char *client = r->header(r, "client", &twice[1]);
    const char *uid = r->header(r, "uid", &twice[2]);
    const char *bearer = r->header(r, "Authorization", NULL);
    if (token && client && uid && !twice[0] && !twice[1] && !twice[2])
        return put_all(c, token, client, uid) ? TR_OK : invalid(err);
    if (token && (twice[0] || twice[1] || twice[2]))
        return invalid(err);
    return bearer ? from_bearer(bearer, c, err) : no_token(err);
}

static void note_reuse(tr_call *call, const credentials *c) {
    tr_error err = {0};
    call->api->tokens_reused++;
    tr_log(TR_LOG_WARN, "token_reused", TR_F_TEXT("address", call->request->peer));
    if (tr_session_revoke(call->vault, c->client, &call->request->id, call->request->peer, &err) != TR_OK)
        tr_log(TR_LOG_ERROR, "session_not_ended", TR_F_TEXT("reason", tr_status_slug(err.status)));
}

/* A used token within the time for recovery: is it the same request again? */
static tr_status recover(tr_call *call, const credentials *c, tr_error *err) {
    uint8_t name[32];
    tr_status st = tr_name_request(call, name, NULL);
    if (st != TR_OK)
        return tr_fail(err, TR_E_TOKEN_SUPERSEDED, "access-token",
                       "the token was just used by another request");
    return tr_token_recover(call->vault, c->client, c->token, name, &call->ticket, err);
}

tr_status tr_take_token(tr_call *call, tr_error *err) {
    credentials c = {0};
    tr_status st = read_credentials(call, &c, err);
    if (st != TR_OK)
        goto out;
    bool has_key = call->request->header(call->request, "Idempotency-Key", NULL) != NULL &&
                   tr_read_idempotency_key(call, NULL) == TR_OK;
    st = tr_token_accept(call->vault, c.client, c.uid, c.token, has_key, &call->ticket, err);
    if (st == TR_E_PRECONDITION)
        st = recover(call, &c, err);
    if (st == TR_E_TOKEN_REUSED)
        note_reuse(call, &c);
    if (st != TR_OK)
        goto out;
    call->has_ticket = true;
    call->who = &call->ticket.caller;
    memcpy(call->client, c.client, sizeof call->client);
    memcpy(call->token, c.token, sizeof call->token);
out:
    tr_wipe(&c, sizeof c);
    return st;
}

void tr_token_headers(tr_response *response, const char *token, const char *client, int64_t expires_at,
                      const char *uid) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)(expires_at / 1000));
    tr_response_header(response, "access-token", token);
    tr_response_header(response, "token-type", "Bearer");
    tr_response_header(response, "client", client);
    tr_response_header(response, "expiry", text);
    tr_response_header(response, "uid", uid);
    response->proven = true;
}

/* When the commit failed the token was not used up, and stays the next one; but for a recovered request it is
 * one that was used before, good for nothing but to ask once more. */
void tr_give_token(tr_call *call, bool committed) {
    bool ended = call->session_ends && committed;
    bool only_again = call->ticket.recovered && !committed;
    if (!ended && !only_again)
        tr_token_headers(call->response, committed ? call->ticket.token : call->token, call->client,
                         call->ticket.expires_at, call->who->uid);
}
