/* Failures as problem documents (RFC 9457), and as the clients of the /auth routes know them. */
#include <stdio.h>
#include <string.h>

#include "api/call.h"

static const struct {
    int status;
    const char *title;
} problems[TR_STATUS_COUNT] = {
    [TR_OK] = {200, "OK"},
    [TR_E_MALFORMED] = {400, "The body is not well-formed"},
    [TR_E_BAD_REQUEST] = {400, "The request is not valid"},
    [TR_E_VALIDATION] = {422, "The content is not valid"},
    [TR_E_NO_TOKEN] = {401, "Credentials are required"},
    [TR_E_TOKEN_INVALID] = {401, "The token is not valid"},
    [TR_E_TOKEN_SUPERSEDED] = {401, "The token was just used by another request"},
    [TR_E_TOKEN_REUSED] = {401, "A used token was presented again; the session is ended"},
    [TR_E_CREDENTIALS] = {401, "The uid or the password is wrong"},
    [TR_E_FORBIDDEN] = {403, "This is not allowed"},
    [TR_E_NO_GRANT] = {403, "No live grant allows this"},
    [TR_E_PURPOSE] = {403, "A live purpose must be named"},
    [TR_E_PASSWORD_INITIAL] = {403, "The one-time password must be changed first"},
    [TR_E_NOT_FOUND] = {404, "There is no such thing"},
    [TR_E_METHOD] = {405, "The method is not allowed here"},
    [TR_E_NOT_ACCEPTABLE] = {406, "No acceptable form of the answer"},
    [TR_E_CONFLICT] = {409, "The state does not allow this"},
    [TR_E_IN_PROGRESS] = {409, "The same request is still running"},
    [TR_E_RESTRICTED] = {409, "Processing of this subject's data is restricted"},
    [TR_E_HOLD] = {409, "A legal hold forbids it"},
    [TR_E_PRECONDITION] = {412, "The precondition does not hold"},
    [TR_E_TOO_LARGE] = {413, "The content is too large"},
    [TR_E_MEDIA_TYPE] = {415, "This media type is not taken here"},
    [TR_E_IDEMPOTENCY] = {422, "The Idempotency-Key belongs to another request"},
    [TR_E_RATE] = {429, "Too many requests"},
    [TR_E_HEADERS] = {431, "The headers are too large"},
    [TR_E_TIMEOUT] = {408, "The request took too long to arrive"},
    [TR_E_BUSY] = {503, "Too much is asked for at once"},
    [TR_E_DRAINING] = {503, "The vault is shutting down"},
    [TR_E_DISK_FULL] = {507, "The storage is full"},
    [TR_E_IO] = {503, "The storage failed"},
    [TR_E_CORRUPT] = {500, "Stored data is damaged"},
    [TR_E_WRONG_KEY] = {500, "A key does not fit"},
    [TR_E_CONFIG] = {500, "The configuration is wrong"},
    [TR_E_EXISTS] = {409, "It exists already"},
    [TR_E_LOCKED] = {503, "The data folder is in use"},
    [TR_E_HSM] = {503, "The hardware that keeps the keys failed"},
    [TR_E_SHARES] = {503, "The keyring is sealed"},
    [TR_E_NOMEM] = {503, "Out of memory"},
    [TR_E_INTERNAL] = {500, "Internal error"},
};

int tr_problem_status(tr_status status) {
    return (unsigned)status < TR_STATUS_COUNT ? problems[status].status : 500;
}

const char *tr_problem_title(tr_status status) {
    return (unsigned)status < TR_STATUS_COUNT ? problems[status].title : problems[TR_E_INTERNAL].title;
}

/* A place in the body begins with '/', or is "" (the whole body) where the fault is one of the body's. */
static bool names_body(const tr_error *err) {
    return err->where[0] == '/' ||
           (err->where[0] == '\0' && (err->status == TR_E_MALFORMED || err->status == TR_E_VALIDATION));
}

static void write_problem(const tr_call *call, const tr_error *err, int status, const char *detail,
                          tr_buf *out) {
    char id[TR_UUID_TEXT], text[80];
    tr_uuid_format(&call->request->id, id);
    tr_jw_open(out, NULL, '{');
    snprintf(text, sizeof text, "urn:tresor:problem:%s", tr_status_slug(err->status));
    tr_jw_text(out, "type", text);
    tr_jw_text(out, "title", tr_problem_title(err->status));
    tr_jw_number(out, "status", status);
    tr_jw_text(out, "detail", detail);
    snprintf(text, sizeof text, "urn:uuid:%s", id);
    tr_jw_text(out, "instance", text);
    if (names_body(err))
        tr_jw_text(out, "pointer", err->where);
    else if (err->where[0])
        tr_jw_text(out, "parameter", err->where);
    tr_jw_close(out, '}');
}

static void write_legacy(const char *detail, tr_buf *out) {
    tr_jw_open(out, NULL, '{');
    tr_jw_bool(out, "success", false);
    tr_jw_open(out, "errors", '[');
    tr_jw_text(out, NULL, detail);
    tr_jw_close(out, ']');
    tr_jw_close(out, '}');
}

void tr_call_problem(tr_call *call, const tr_error *err) {
    tr_response *response = call->response;
    bool legacy = strncmp(call->request->path, "/auth/", 6) == 0;
    int status = tr_problem_status(err->status);
    /* What the vault's own troubles say is for its log: a file's name helps no client. */
    const char *detail = status >= 500 || !err->what[0] ? tr_problem_title(err->status) : err->what;
    tr_error shown = *err;
    if (status >= 500)
        shown.where[0] = '\0';
    bool close = response->close;
    tr_response_clear(response);
    tr_response_init(response);
    response->close = close;
    response->status = status;
    if (status == 401)
        tr_response_header(response, "WWW-Authenticate", "Bearer");
    if (status == 429 || status == 503) {
        char wait[24];
        snprintf(wait, sizeof wait, "%lld", (long long)(call->retry_after_s > 0 ? call->retry_after_s : 1));
        tr_response_header(response, "Retry-After", wait);
    }
    if (legacy) {
        response->content_type = "application/json";
        write_legacy(detail, &response->body);
    } else {
        response->content_type = "application/problem+json";
        write_problem(call, &shown, status, detail, &response->body);
    }
}
