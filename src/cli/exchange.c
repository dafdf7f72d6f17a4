#include "cli/exchange.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/json.h"
#include "base/secret.h"
#include "base/uuid.h"
#include "cli/options.h"
#include "crypto/hash.h"

#define TEXT_MAX      ((size_t)256 * 1024)
#define RECOVERY_MS   30000      /* the server's token_recovery_ms unless set otherwise */
#define RETRY_MS      25000      /* tries end before that */
#define KEY_LIFE_MS   86400000LL /* the server's idempotency_s unless set otherwise */
#define KEY_MAX       256
#define OWN_HEADERS   6
#define VALUE_MAX     1100
#define SIGN_IN_AGAIN "sign in again: tresor token sign-in --credentials FILE"

/* One request through all its tries. */
struct run {
    const tr_exchange *x;
    tr_exchange_answer *answer;
    bool with_token; /* the session has one and it goes with the request */
    char key[KEY_MAX];
    char request[2 * TR_SHA256_LEN + 1];
    int64_t at;        /* when it was sent first, or when its answer was lost */
    bool keep_pending; /* the file's pending call is another one, and stays */
    bool sent;         /* a try may have reached the server and was not answered */
    bool kept;         /* the next token is saved */
    bool shown;        /* a part of the answer was handed on */
    bool sink_failed;
};

/* Signing in takes no token: sending one there would only use it up. */
static bool is_sign_in(const char *path) {
    return strncmp(path, "/auth/sign_in", 13) == 0 || strncmp(path, "/v1/auth/sign_in", 16) == 0;
}

static const char *token_of(const tr_exchange *x) {
    return is_sign_in(x->path) ? NULL : tr_cli_session_get(x->session, TR_SESSION_TOKEN);
}

static bool is_safe(const char *method) {
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "OPTIONS") == 0;
}

/* ---- which request it is ---- */

/* Each text with its length before it, so that no two requests run together to the same bytes. */
static tr_status hash_text(tr_hash *hash, const char *text, tr_error *err) {
    uint64_t len = text ? strlen(text) + 1 : 0;
    tr_status st = tr_hash_update(hash, &len, sizeof len, err);
    return st == TR_OK && text ? tr_hash_update(hash, text, (size_t)len, err) : st;
}

static tr_status hash_body(tr_hash *hash, const tr_cli_body *body, tr_error *err) {
    char chunk[16384];
    tr_status st = TR_OK;
    for (int64_t offset = 0; st == TR_OK && body && offset < body->len;) {
        long n = tr_cli_body_read(body, offset, chunk, sizeof chunk);
        if (n <= 0)
            st = tr_fail(err, TR_E_IO, "the request's body", "cannot be read, or grew shorter");
        else
            st = tr_hash_update(hash, chunk, (size_t)n, err);
        offset += n;
    }
    tr_wipe(chunk, sizeof chunk);
    return st;
}

static tr_status name_request(const tr_exchange *x, char out[2 * TR_SHA256_LEN + 1], tr_error *err) {
    const char *const texts[] = {x->method, x->path, x->content_type, x->purpose, x->key};
    uint8_t digest[TR_SHA256_LEN];
    tr_hash *hash = NULL;
    tr_status st = tr_hash_new(&hash, err);
    for (size_t i = 0; st == TR_OK && i < sizeof texts / sizeof *texts; i++)
        st = hash_text(hash, texts[i], err);
    for (size_t i = 0; st == TR_OK && i < x->header_count; i++)
        st = hash_text(hash, x->headers[i], err);
    if (st == TR_OK)
        st = hash_text(hash, NULL, err);
    if (st == TR_OK)
        st = hash_body(hash, x->body, err);
    if (st == TR_OK)
        st = tr_hash_final(hash, digest, err);
    if (st == TR_OK)
        tr_hex_encode(digest, sizeof digest, out);
    tr_hash_free(hash);
    return st;
}

static void new_key(char key[KEY_MAX]) {
    tr_uuid id = tr_uuid_new();
    tr_uuid_format(&id, key);
}

/* ---- the pending call in the session file ---- */

static tr_status save_pending(struct run *run, bool open, tr_error *err) {
    const tr_exchange *x = run->x;
    tr_cli_pending pending = {open, run->key, run->request, x->method, x->path, x->purpose, run->at};
    tr_status st = tr_cli_session_set_pending(x->session, &pending, err);
    return st == TR_OK ? tr_cli_session_save(x->session, err) : st;
}

static tr_status mark_pending(struct run *run, tr_error *err) {
    return run->with_token && !run->keep_pending ? save_pending(run, true, err) : TR_OK;
}

static tr_status clear_pending(struct run *run, tr_error *err) {
    if (!run->with_token)
        return TR_OK;
    tr_status st = tr_cli_session_set_pending(run->x->session, NULL, err);
    return st == TR_OK ? tr_cli_session_save(run->x->session, err) : st;
}

/* ---- the next token ---- */

tr_status tr_exchange_keep_token(tr_cli_session *session, const tr_client_response *response, bool *kept,
                                 tr_error *err) {
    static const char *const members[] = {TR_SESSION_CLIENT, TR_SESSION_UID, TR_SESSION_EXPIRY,
                                          TR_SESSION_TOKEN};
    const char *own = tr_cli_session_get(session, TR_SESSION_CLIENT);
    char value[VALUE_MAX];
    tr_status st = TR_OK;
    *kept = false;
    if (!tr_client_header(response, TR_SESSION_TOKEN, value, sizeof value) ||
        !tr_client_header(response, TR_SESSION_CLIENT, value, sizeof value) ||
        (own && strcmp(own, value) != 0))
        return TR_OK;
    for (size_t i = 0; st == TR_OK && i < sizeof members / sizeof *members; i++) {
        if (tr_client_header(response, members[i], value, sizeof value))
            st = tr_cli_session_set(session, members[i], value, err);
    }
    tr_wipe(value, sizeof value);
    if (st == TR_OK)
        st = tr_cli_session_save(session, err);
    *kept = st == TR_OK;
    return st;
}

static tr_status on_head(void *context, const tr_client_response *response, tr_error *err) {
    struct run *run = context;
    tr_status st = TR_OK;
    if (run->with_token) {
        char value[VALUE_MAX];
        /* With the token goes the pending call: its answer is here. One write for both. */
        if (tr_client_header(response, TR_SESSION_TOKEN, value, sizeof value))
            st = tr_cli_session_set_pending(run->x->session, NULL, err);
        tr_wipe(value, sizeof value);
        if (st == TR_OK)
            st = tr_exchange_keep_token(run->x->session, response, &run->kept, err);
    }
    if (st == TR_OK && response->status / 100 == 2 && run->x->sink.head) {
        run->shown = true;
        st = run->x->sink.head(run->x->sink.context, response, err);
        run->sink_failed = st != TR_OK;
    }
    return st;
}

static tr_status on_body(void *context, const tr_client_response *response, const char *bytes, size_t n,
                         tr_error *err) {
    struct run *run = context;
    if (response->status / 100 == 2 && run->x->sink.body) {
        run->shown = true;
        tr_status st = run->x->sink.body(run->x->sink.context, response, bytes, n, err);
        run->sink_failed = st != TR_OK;
        return st;
    }
    tr_buf_append(&run->answer->text, bytes, n);
    if (run->answer->text.failed || run->answer->text.len > TEXT_MAX)
        return tr_fail(err, TR_E_TOO_LARGE, NULL, "the answer has more than %zu bytes", TEXT_MAX);
    return TR_OK;
}

/* ---- one try ---- */

static void add(tr_buf *room, const char **lines, size_t *count, const char *name, const char *value) {
    if (!value)
        return;
    tr_buf_puts(room, name);
    tr_buf_puts(room, ": ");
    tr_buf_puts(room, value);
    lines[(*count)++] = room->data;
}

static tr_status try_once(struct run *run, bool *sent, tr_error *err) {
    const tr_exchange *x = run->x;
    const char *lines[OWN_HEADERS + TR_OPTION_LIST_MAX];
    tr_buf own[OWN_HEADERS] = {0};
    size_t count = 0;
    tr_status st = TR_OK;
    const char *token = token_of(x);
    run->with_token = token != NULL;
    if (token) {
        add(&own[0], lines, &count, "access-token", token);
        add(&own[1], lines, &count, "client", tr_cli_session_get(x->session, TR_SESSION_CLIENT));
        add(&own[2], lines, &count, "uid", tr_cli_session_get(x->session, TR_SESSION_UID));
    }
    add(&own[3], lines, &count, "Idempotency-Key", run->key);
    add(&own[4], lines, &count, "Content-Type", x->content_type);
    add(&own[5], lines, &count, "Access-Purpose", x->purpose);
    for (size_t i = 0; i < x->header_count && i < TR_OPTION_LIST_MAX; i++)
        lines[count++] = x->headers[i];
    for (size_t i = 0; i < OWN_HEADERS; i++) {
        if (own[i].failed)
            st = tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    tr_client_request request = {x->method, x->path, lines, count, x->body};
    tr_client_handler handler = {on_head, on_body, run};
    tr_buf_reset(&run->answer->text);
    run->kept = false;
    if (st == TR_OK)
        st = tr_client_send(x->client, &request, &run->answer->response, &handler, sent, err);
    for (size_t i = 0; i < OWN_HEADERS; i++)
        tr_buf_clear(&own[i]);
    return st;
}

/* ---- the tries ---- */

static bool problem_is(const tr_buf *text, const char *slug) {
    cJSON *problem = NULL;
    if (!text->data || tr_json_parse(text->data, text->len, &problem, NULL) != TR_OK)
        return false;
    const char *type = tr_json_string(problem, "type");
    const char *colon = type ? strrchr(type, ':') : NULL;
    bool same = colon && strcmp(colon + 1, slug) == 0;
    cJSON_Delete(problem);
    return same;
}

/* An answer that says nothing of what became of an earlier try. */
static bool is_no_answer(const struct run *run) {
    long status = run->answer->response.status;
    return (status == 409 && problem_is(&run->answer->text, "request-in-progress")) ||
           (status == 503 && run->sent);
}

static tr_status cut_off(struct run *run, tr_error *err) {
    tr_error other = {0};
    if (run->with_token && save_pending(run, false, &other) != TR_OK)
        return tr_fail(err, other.status, other.where, "%s", other.what);
    return tr_fail(err, TR_E_TIMEOUT, NULL, "the answer broke off in its middle: repeat the call%s",
                   run->with_token ? "; it keeps its Idempotency-Key" : "");
}

static tr_status give_up(struct run *run, tr_error *err) {
    char why[sizeof err->what];
    snprintf(why, sizeof why, "%.80s", err->what);
    if (!run->with_token)
        return tr_fail(err, TR_E_TIMEOUT, NULL, "%s", why);
    return tr_fail(err, TR_E_TIMEOUT, NULL,
                   "no answer came (%s): repeat this very call at once; %d s after it began, " SIGN_IN_AGAIN,
                   why, RECOVERY_MS / 1000);
}

/* A try failed. TR_OK: go on trying. */
static tr_status after_failure(struct run *run, tr_status st, bool sent, tr_error *err) {
    tr_error other = {0};
    if (run->sink_failed)
        return st;
    if (run->shown)
        return cut_off(run, err);
    if (sent && !run->sent) {
        run->sent = true;
        run->at = tr_now_ms();
    }
    if (run->sent)
        return st == TR_E_TIMEOUT ? TR_OK : st;
    if (clear_pending(run, &other) != TR_OK) /* it never left: nothing is pending */
        return tr_fail(err, other.status, other.where, "%s", other.what);
    return st;
}

static void pause_ms(int64_t ms) {
    struct timespec left = {ms / 1000, (ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0) {
    }
}

static tr_status run_tries(struct run *run, tr_error *err) {
    int64_t delay = 100;
    int64_t until = 0; /* of the monotonic clock */
    for (;;) {
        bool sent = false;
        tr_status st = mark_pending(run, err);
        if (st != TR_OK)
            return st;
        st = try_once(run, &sent, err);
        if (st == TR_OK && !is_no_answer(run))
            return TR_OK;
        tr_status stop = st == TR_OK ? TR_OK : after_failure(run, st, sent, err);
        if (stop != TR_OK)
            return stop;
        run->answer->recovered = true;
        if (until == 0) {
            int64_t left = run->at + RETRY_MS - tr_now_ms();
            until = tr_monotonic_ms() + (left < RETRY_MS ? left : RETRY_MS);
        }
        if (tr_monotonic_ms() + delay > until) /* an answer that says to wait is an answer in the end */
            return st == TR_OK ? TR_OK : give_up(run, err);
        pause_ms(delay);
        delay = delay < 1000 ? delay * 2 : 2000;
    }
}

/* ---- what an answer means for the session ---- */

static tr_status end_session(struct run *run, bool keep_pending, tr_error *err) {
    tr_cli_session *session = run->x->session;
    tr_cli_pending pending;
    tr_status st = tr_cli_session_set(session, TR_SESSION_TOKEN, NULL, err);
    run->with_token = false;
    if (st == TR_OK && keep_pending && tr_cli_session_pending(session, &pending)) {
        pending.open = false;
        st = tr_cli_session_set_pending(session, &pending, err);
    } else if (st == TR_OK) {
        st = tr_cli_session_set_pending(session, NULL, err);
    }
    return st == TR_OK ? tr_cli_session_save(session, err) : st;
}

static tr_status conclude(struct run *run, tr_error *err) {
    tr_exchange_answer *answer = run->answer;
    long status = answer->response.status;
    if (status == 401 && !run->with_token && !is_sign_in(run->x->path))
        snprintf(answer->advice, sizeof answer->advice,
                 "there is no live session: tresor token sign-in --credentials FILE");
    if (!run->with_token || run->kept || is_no_answer(run))
        return TR_OK;
    if (status == 401) {
        bool lost = run->sent || run->keep_pending;
        snprintf(answer->advice, sizeof answer->advice, "%s" SIGN_IN_AGAIN "%s",
                 lost ? "the answer to an earlier call was lost, and the session's token with it; "
                      : "the session has ended, or its token was used elsewhere; ",
                 lost ? ". Then repeat that call: it keeps its Idempotency-Key and does not happen twice"
                      : "");
        return end_session(run, lost, err);
    }
    if (status / 100 == 2 && strcmp(run->x->method, "DELETE") == 0) /* it took the session with it */
        return end_session(run, false, err);
    return run->keep_pending ? TR_OK : clear_pending(run, err);
}

/* ---- an earlier call whose answer was not seen ---- */

static tr_status settle_with(const struct run *run, const tr_cli_pending *prior, tr_error *err) {
    bool again = is_safe(prior->method);
    /* A safe request is sent again as it was. Of another only the body's hash is known: so ask what the token
     * is worth. */
    tr_exchange x = {.session = run->x->session,
                     .client = run->x->client,
                     .method = again ? prior->method : "GET",
                     .path = again ? prior->path : "/v1/auth/validate_token",
                     .purpose = again ? prior->purpose : NULL};
    tr_exchange_answer answer = TR_EXCHANGE_ANSWER_INIT;
    struct run probe = {
        .x = &x, .answer = &answer, .with_token = true, .at = prior->at, .sent = again, .keep_pending = true};
    char method[16], path[4096], purpose[64];
    tr_status st = TR_OK;
    /* The texts must outlive the pending call that they are read from. */
    if ((size_t)snprintf(method, sizeof method, "%s", x.method) >= sizeof method ||
        (size_t)snprintf(path, sizeof path, "%s", x.path) >= sizeof path ||
        (size_t)snprintf(purpose, sizeof purpose, "%s", x.purpose ? x.purpose : "") >= sizeof purpose) {
        st = tr_fail(err, TR_E_CONFIG, "session", "its pending call is too long; " SIGN_IN_AGAIN);
        goto out;
    }
    x.method = method;
    x.path = path;
    x.purpose = x.purpose ? purpose : NULL;
    if (again)
        snprintf(probe.key, sizeof probe.key, "%s", prior->key);
    else
        new_key(probe.key);
    TR_TRY(run_tries(&probe, err));
    TR_TRY(conclude(&probe, err));
    if (!tr_cli_session_get(x.session, TR_SESSION_TOKEN))
        st = tr_fail(err, TR_E_NO_TOKEN, NULL, "%s", answer.advice);
out:
    tr_exchange_answer_clear(&answer);
    return st;
}

/* Decide on the key, and bring an open earlier call to its end first. */
static tr_status settle(struct run *run, tr_error *err) {
    const tr_exchange *x = run->x;
    tr_cli_pending prior;
    run->at = tr_now_ms();
    if (x->key)
        snprintf(run->key, sizeof run->key, "%s", x->key);
    else
        new_key(run->key);
    if (!run->with_token || !tr_cli_session_pending(x->session, &prior))
        return TR_OK;
    int64_t age = run->at - prior.at;
    bool same = strcmp(prior.request, run->request) == 0 && strlen(prior.key) < sizeof run->key;
    if (same && age < KEY_LIFE_MS) {
        snprintf(run->key, sizeof run->key, "%s", prior.key);
        run->sent = prior.open;
        run->answer->recovered = prior.open;
        if (prior.open)
            run->at = prior.at;
        return TR_OK;
    }
    if (!prior.open)
        return TR_OK;
    if (!is_safe(prior.method) && age >= 0 && age < RECOVERY_MS)
        return tr_fail(err, TR_E_IN_PROGRESS, NULL,
                       "the answer to %s %.80s was not seen: repeat that very call to get it, or wait %lld s "
                       "and call again",
                       prior.method, prior.path, (long long)(RECOVERY_MS - age) / 1000 + 1);
    return settle_with(run, &prior, err);
}

/* ---- all ---- */

tr_status tr_exchange_run(const tr_exchange *exchange, tr_exchange_answer *answer, tr_error *err) {
    struct run run = {.x = exchange, .answer = answer, .with_token = token_of(exchange) != NULL};
    tr_status st = name_request(exchange, run.request, err);
    if (st == TR_OK)
        st = settle(&run, err);
    if (st == TR_OK)
        st = run_tries(&run, err);
    if (st == TR_OK)
        st = conclude(&run, err);
    if (st == TR_OK && answer->response.status / 100 != 2) {
        const tr_client_handler *sink = &exchange->sink;
        if (sink->head)
            st = sink->head(sink->context, &answer->response, err);
        if (st == TR_OK && sink->body && answer->text.len > 0)
            st = sink->body(sink->context, &answer->response, answer->text.data, answer->text.len, err);
    }
    return st;
}

void tr_exchange_answer_clear(tr_exchange_answer *answer) {
    tr_client_response_clear(&answer->response);
    tr_buf_clear(&answer->text);
    *answer = TR_EXCHANGE_ANSWER_INIT;
}
