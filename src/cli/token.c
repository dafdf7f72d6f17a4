/* tresor token: sign in, look at the session, sign out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/json_write.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "cli/connection.h"
#include "cli/credentials.h"
#include "cli/exchange.h"
#include "cli/options.h"
#include "crypto/password.h"

static const char help[] =
    "Sign in, look at the session that `tresor call` works with, sign out.\n"
    "\n"
    "Usage: tresor token sign-in --credentials FILE [--uid UID] [OPTION...]\n"
    "       tresor token show [--headers] [--session FILE]\n"
    "       tresor token sign-out [OPTION...]\n"
    "\n"
    "sign-in prints who is signed in, as JSON. A one-time password is changed for a random one at once, "
    "which is written\n"
    "into FILE. show prints where the session belongs to and when it ends, as JSON.\n"
    "\n"
    "  --credentials FILE what `tresor init` printed, or one object with \"uid\" and \"password\"\n"
    "  --uid UID          which of the credentials in FILE\n"
    "  --headers          show: the session's token as header lines, for another client. It is good for one "
    "request,\n"
    "                     and that client has the next one: `tresor call` cannot go on with this "
    "session\n" TR_CONNECTION_HELP;

struct arguments {
    tr_connection_options connection;
    const char *credentials, *uid;
    bool headers;
};

/* ---- requests ---- */

/* What the server said went wrong: a problem document's detail (RFC 9457). */
static tr_status refused(const tr_exchange_answer *answer, const char *what, tr_error *err) {
    char wait[16] = "";
    cJSON *problem = NULL;
    const char *detail = NULL;
    if (answer->text.data && tr_json_parse(answer->text.data, answer->text.len, &problem, NULL) == TR_OK)
        detail = tr_json_string(problem, "detail");
    bool later = answer->response.status == 429 &&
                 tr_client_header(&answer->response, "Retry-After", wait, sizeof wait);
    tr_fail(err, TR_E_CREDENTIALS, NULL, "%s: %ld: %.120s%s%s%s", what, answer->response.status,
            detail ? detail : "no reason given", later ? "; try again in " : "", wait, later ? " s" : "");
    cJSON_Delete(problem);
    return err ? err->status : TR_E_CREDENTIALS;
}

static tr_status ask(tr_connection *c, const char *method, const char *path, const tr_buf *json,
                     tr_exchange_answer *answer, tr_error *err) {
    tr_cli_body body = {.text = json ? json->data : NULL, .fd = -1, .len = json ? (int64_t)json->len : 0};
    tr_exchange exchange = {.session = c->session,
                            .client = c->client,
                            .method = method,
                            .path = path,
                            .content_type = json ? "application/json" : NULL,
                            .body = json ? &body : NULL};
    tr_status st = json ? tr_buf_ok(json, err) : TR_OK;
    return st == TR_OK ? tr_exchange_run(&exchange, answer, err) : st;
}

/* ---- sign-in ---- */

static tr_status try_password(tr_connection *c, const char *uid, const char *password,
                              tr_exchange_answer *answer, tr_error *err) {
    tr_buf json = TR_BUF_INIT;
    tr_exchange_answer_clear(answer);
    tr_jw_open(&json, NULL, '{');
    tr_jw_text(&json, "uid", uid);
    tr_jw_text(&json, "password", password);
    tr_jw_close(&json, '}');
    tr_status st = ask(c, "POST", "/v1/auth/sign_in", &json, answer, err);
    tr_buf_clear(&json);
    return st;
}

/* The session is of this sign-in from now on. A call whose answer was lost is remembered only where it can be
 * repeated: by the same principal at the same server. */
static tr_status begin_session(tr_connection *c, const char *uid, const tr_client_response *response,
                               tr_error *err) {
    tr_cli_session *session = c->session;
    const char *old_uid = tr_cli_session_get(session, TR_SESSION_UID);
    const char *old_url = tr_cli_session_get(session, TR_SESSION_URL);
    tr_cli_pending pending;
    bool kept = false;
    tr_status st = TR_OK;
    bool same = old_uid && old_url && strcmp(old_uid, uid) == 0 && strcmp(old_url, c->url) == 0;
    if (same && tr_cli_session_pending(session, &pending)) {
        pending.open = false;
        TR_TRY(tr_cli_session_set_pending(session, &pending, err));
    } else {
        TR_TRY(tr_cli_session_set_pending(session, NULL, err));
    }
    TR_TRY(tr_cli_session_set(session, TR_SESSION_URL, c->url, err));
    TR_TRY(tr_cli_session_set(session, TR_SESSION_CA, c->ca, err));
    TR_TRY(tr_cli_session_set(session, TR_SESSION_UID, uid, err));
    TR_TRY(tr_cli_session_set(session, TR_SESSION_CLIENT, NULL, err));
    TR_TRY(tr_exchange_keep_token(session, response, &kept, err));
    if (!kept)
        st = tr_fail(err, TR_E_CREDENTIALS, NULL, "the server's answer to the sign-in has no token");
out:
    return st;
}

/* A one-time password is known to whoever made it: choose another. */
static tr_status change_password(tr_connection *c, tr_credentials *credentials, const char *path,
                                 tr_error *err) {
    char fresh[32];
    tr_buf json = TR_BUF_INIT;
    tr_exchange_answer answer = TR_EXCHANGE_ANSWER_INIT;
    tr_status st = tr_password_generate(fresh, err);
    if (st != TR_OK)
        return st;
    tr_jw_open(&json, NULL, '{');
    tr_jw_text(&json, "current_password", tr_credentials_password(credentials));
    tr_jw_text(&json, "password", fresh);
    tr_jw_close(&json, '}');
    TR_TRY(tr_credentials_propose(credentials, fresh, err));
    TR_TRY(ask(c, "PUT", "/v1/auth/password", &json, &answer, err));
    if (answer.response.status / 100 != 2) {
        st = refused(&answer, "the one-time password could not be changed", err);
        goto out;
    }
    TR_TRY(tr_credentials_settle(credentials, err));
    fprintf(stderr, "tresor: the one-time password was changed; the new one is in %s\n", path);
out:
    tr_wipe(fresh, sizeof fresh);
    tr_buf_clear(&json);
    tr_exchange_answer_clear(&answer);
    return st;
}

static tr_status print_principal(const cJSON *data, tr_error *err) {
    tr_buf out = TR_BUF_INIT;
    tr_status st = tr_json_print(data, &out, err);
    return tr_cli_write_line(&out, st, err);
}

static tr_status sign_in_with(tr_connection *c, tr_credentials *credentials, const char *path,
                              tr_error *err) {
    const char *uid = tr_credentials_uid(credentials), *other = tr_credentials_new_password(credentials);
    tr_exchange_answer answer = TR_EXCHANGE_ANSWER_INIT;
    cJSON *tree = NULL;
    tr_status st = try_password(c, uid, tr_credentials_password(credentials), &answer, err);
    if (st == TR_OK && answer.response.status == 401 && other) {
        st = try_password(c, uid, other, &answer, err);
        if (st == TR_OK && answer.response.status == 200)
            st = tr_credentials_settle(credentials, err);
    }
    if (st != TR_OK)
        goto out;
    if (answer.response.status != 200) {
        st = refused(&answer, "the sign-in was refused", err);
        goto out;
    }
    TR_TRY(begin_session(c, uid, &answer.response, err));
    TR_TRY(tr_json_parse(answer.text.data, answer.text.len, &tree, err));
    cJSON *data = cJSON_GetObjectItemCaseSensitive(tree, "data");
    if (!cJSON_IsObject(data)) {
        st = tr_fail(err, TR_E_CREDENTIALS, NULL, "the server's answer to the sign-in names nobody");
        goto out;
    }
    if (tr_json_bool(data, "password_initial", false)) {
        TR_TRY(change_password(c, credentials, path, err));
        if (!cJSON_ReplaceItemInObjectCaseSensitive(data, "password_initial", cJSON_CreateFalse())) {
            st = tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
            goto out;
        }
    }
    st = print_principal(data, err);
out:
    cJSON_Delete(tree);
    tr_exchange_answer_clear(&answer);
    return st;
}

static tr_status sign_in(const struct arguments *a, tr_error *err) {
    tr_connection connection;
    tr_credentials *credentials = NULL;
    memset(&connection, 0, sizeof connection);
    if (!a->credentials)
        return tr_fail(err, TR_E_CONFIG, "--credentials", "is missing");
    tr_status st = tr_connection_open(&a->connection, true, &connection, err);
    if (st == TR_OK)
        st = tr_credentials_open(a->credentials, a->uid, &credentials, err);
    if (st == TR_OK)
        st = sign_in_with(&connection, credentials, a->credentials, err);
    tr_credentials_close(credentials);
    tr_connection_close(&connection);
    return st;
}

/* ---- show ---- */

static void write_state(tr_buf *out, const tr_cli_session *session) {
    const char *expiry = tr_cli_session_get(session, TR_SESSION_EXPIRY);
    tr_cli_pending pending;
    bool lost = tr_cli_session_pending(session, &pending);
    tr_jw_open(out, NULL, '{');
    tr_jw_text(out, "url", tr_cli_session_get(session, TR_SESSION_URL));
    tr_jw_text(out, "ca", tr_cli_session_get(session, TR_SESSION_CA));
    tr_jw_text(out, "uid", tr_cli_session_get(session, TR_SESSION_UID));
    tr_jw_text(out, "client", tr_cli_session_get(session, TR_SESSION_CLIENT));
    tr_jw_bool(out, "signed_in", tr_cli_session_get(session, TR_SESSION_TOKEN) != NULL);
    tr_jw_time(out, "expires_at", expiry ? strtoll(expiry, NULL, 10) * 1000 : 0);
    tr_jw_text(out, "pending", lost ? pending.method : NULL);
    tr_jw_text(out, "pending_path", lost ? pending.path : NULL);
    tr_jw_close(out, '}');
    tr_buf_putc(out, '\n');
}

static tr_status write_headers(tr_buf *out, const tr_cli_session *session, tr_error *err) {
    static const char *const members[] = {TR_SESSION_TOKEN, TR_SESSION_CLIENT, TR_SESSION_UID};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const char *value = tr_cli_session_get(session, members[i]);
        if (!value)
            return tr_fail(err, TR_E_NO_TOKEN, NULL,
                           "there is no live session: tresor token sign-in --credentials FILE");
        tr_buf_printf(out, "%s: %s\n", members[i], value);
    }
    return TR_OK;
}

static tr_status show(const struct arguments *a, tr_error *err) {
    char path[PATH_MAX];
    tr_cli_session *session = NULL;
    tr_buf out = TR_BUF_INIT;
    tr_status st = tr_cli_session_path(a->connection.session, path, sizeof path, err);
    if (st == TR_OK)
        st = tr_cli_session_open(path, &session, err);
    if (st == TR_OK && a->headers)
        st = write_headers(&out, session, err);
    else if (st == TR_OK)
        write_state(&out, session);
    if (st == TR_OK)
        st = tr_buf_ok(&out, err);
    if (st == TR_OK)
        st = tr_cli_write(out.data, out.len, err);
    tr_buf_clear(&out);
    tr_cli_session_close(session);
    return st;
}

/* ---- sign-out ---- */

static tr_status sign_out(const struct arguments *a, tr_error *err) {
    tr_connection connection;
    tr_exchange_answer answer = TR_EXCHANGE_ANSWER_INIT;
    tr_status st = tr_connection_open(&a->connection, false, &connection, err);
    if (st != TR_OK)
        return st;
    if (tr_cli_session_get(connection.session, TR_SESSION_TOKEN)) {
        /* The session's own pending call matters no more; left open it would be asked for first. */
        TR_TRY(tr_cli_session_set_pending(connection.session, NULL, err));
        TR_TRY(ask(&connection, "DELETE", "/v1/auth/sign_out", NULL, &answer, err));
        if (answer.response.status == 401)
            fputs("tresor: the session had ended already\n", stderr);
        else if (answer.response.status / 100 != 2)
            TR_TRY(refused(&answer, "the sign-out was refused", err));
    }
    st = tr_cli_session_remove(connection.session, err);
out:
    tr_exchange_answer_clear(&answer);
    tr_connection_close(&connection);
    return st;
}

/* ---- all ---- */

static const struct {
    const char *name;
    tr_status (*run)(const struct arguments *a, tr_error *err);
} actions[] = {{"sign-in", sign_in}, {"show", show}, {"sign-out", sign_out}};

static int run(int argc, char **argv) {
    struct arguments a = {0};
    const tr_option options[] = {
        TR_CONNECTION_OPTIONS(&a.connection),
        {.name = "--credentials", .value = &a.credentials},
        {.name = "--uid", .value = &a.uid},
        {.name = "--headers", .set = &a.headers},
    };
    tr_command_line line = {.options = options,
                            .option_count = sizeof options / sizeof *options,
                            .word_count = 1,
                            .usage = "tresor token sign-in|show|sign-out [OPTION...]"};
    tr_error err = {0};
    if (tr_options_read(argc, argv, &line, NULL, &err) != TR_OK)
        return tr_cli_report(&err);
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(actions[i].name, line.words[0]) == 0)
            return actions[i].run(&a, &err) == TR_OK ? TR_EXIT_OK : tr_cli_report(&err);
    }
    return tr_cli_usage("token: usage: %s", line.usage);
}

const tr_cli_command tr_cli_token = {
    .name = "token",
    .meaning = "sign in, show the session, sign out",
    .help = help,
    .run = run,
};
