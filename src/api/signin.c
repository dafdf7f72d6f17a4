/* Sign-in. An unknown uid, a disabled principal and a wrong password cost the same and answer the same: what
 * is sealed of a principal is opened only once its password was right. */
#include <string.h>

#include "api/resources.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/password.h"
#include "vault/throttle.h"

struct sign_in {
    tr_call *call;
    tr_principal_copy principal;
    tr_caller who;
    tr_session session;
    tr_event event;
    char oldest[TR_CLIENT_LEN + 1]; /* a session that had to make room, or "" */
    int64_t oldest_at;
};

void tr_self_json(tr_buf *out, const char *name, const tr_caller *who) {
    tr_jw_open(out, name, '{');
    tr_jw_uuid(out, "id", &who->principal);
    tr_jw_text(out, "uid", who->uid);
    tr_jw_text(out, "email", who->uid);
    tr_jw_text(out, "provider", "uid");
    tr_jw_text(out, "name", who->name);
    tr_jw_text(out, "role", tr_role_name(who->role));
    tr_jw_uuid(out, "subject", who->has_subject ? &who->subject : NULL);
    tr_jw_bool(out, "may_register", who->may_register);
    tr_jw_bool(out, "password_initial", who->password_initial);
    tr_jw_close(out, '}');
}

/* ---- the session ---- */

static tr_status find_oldest(void *context, const tr_session *row, tr_error *err) {
    struct sign_in *s = context;
    (void)err;
    if (!s->oldest[0] || row->used_at < s->oldest_at) {
        memcpy(s->oldest, row->client, sizeof s->oldest);
        s->oldest_at = row->used_at;
    }
    return TR_OK;
}

/* Whoever signs in too often loses the session that was unused longest. */
static tr_status make_room(struct sign_in *s, tr_db *tx, tr_error *err) {
    int64_t count = 0;
    s->oldest[0] = '\0';
    tr_status st = tr_session_count(tx, &s->who.principal, &count, err);
    if (st != TR_OK || count < s->call->config->sessions_max)
        return st;
    st = tr_session_list(tx, &s->who.principal, find_oldest, s, err);
    return st == TR_OK && s->oldest[0] ? tr_session_delete(tx, s->oldest, err) : st;
}

static tr_status is_unchanged(void *context, const tr_principal *row, tr_error *err) {
    const struct sign_in *s = context;
    bool same = row->version == s->principal.row.version && !row->disabled;
    return same ? TR_OK : tr_fail(err, TR_E_CREDENTIALS, NULL, "the uid or the password is wrong");
}

/* The password was checked a moment ago: a change of the principal since then counts. */
static tr_status session_job(void *context, tr_db *tx, tr_error *err) {
    struct sign_in *s = context;
    tr_status st = tr_principal_get(tx, &s->who.principal, is_unchanged, s, err);
    if (st == TR_E_NOT_FOUND)
        st = tr_fail(err, TR_E_CREDENTIALS, NULL, "the uid or the password is wrong");
    if (st == TR_OK)
        st = make_room(s, tx, err);
    if (st == TR_OK)
        st = tr_session_insert(tx, &s->session, err);
    return st == TR_OK ? tr_event_append(tx, &s->event, err) : st;
}

static tr_status begin_session(struct sign_in *s, tr_error *err) {
    tr_call *call = s->call;
    char token[TR_TOKEN_LEN + 1];
    int64_t expires_at = 0;
    tr_status st = tr_session_prepare(call->vault, &s->who.principal, &s->session, token, &expires_at, err);
    if (st == TR_OK)
        st = tr_session_ref(s->session.client, s->who.session, err);
    if (st == TR_OK)
        st = tr_store_write(tr_vault_store(call->vault), session_job, s, err);
    if (st == TR_OK) {
        if (s->oldest[0])
            tr_session_forget(call->vault, NULL, s->oldest);
        tr_token_headers(call->response, token, s->session.client, expires_at, s->who.uid);
        tr_call_json(call, 200);
        tr_jw_open(&call->response->body, NULL, '{');
        tr_self_json(&call->response->body, "data", &s->who);
        tr_jw_close(&call->response->body, '}');
    }
    tr_wipe(token, sizeof token);
    return st;
}

/* ---- the password ---- */

static tr_status refuse(struct sign_in *s, tr_error *err) {
    tr_error ignored;
    s->call->api->sign_in_failures++;
    s->event.outcome = TR_E_CREDENTIALS;
    tr_status st = tr_event_write(tr_vault_store(s->call->vault), &s->event, &ignored);
    if (st != TR_OK) {
        *err = ignored;
        return st;
    }
    return tr_fail(err, TR_E_CREDENTIALS, NULL, "the uid or the password is wrong");
}

/* ---- storms: not one guess but very many ---- */

static void append_storm(struct sign_in *s, const char *uid, bool of_uid) {
    tr_vault *vault = s->call->vault;
    tr_error err = {0};
    tr_event event = s->event;
    event.action = "security.sign_in_storm";
    event.outcome = TR_E_CREDENTIALS;
    event.detail =
        of_uid ? "very many sign-ins of one uid failed" : "very many sign-ins from one address failed";
    event.address = of_uid ? NULL : event.address;
    event.who = NULL;
    if (of_uid && tr_store_reader(tr_vault_store(vault), &s->call->db, NULL) == TR_OK &&
        tr_principal_find(vault, s->call->db, uid, &s->principal, NULL) == TR_OK) {
        tr_caller_of(&s->principal, &s->who);
        event.who = &s->who;
    }
    if (tr_event_write(tr_vault_store(vault), &event, &err) != TR_OK)
        tr_log(TR_LOG_ERROR, "storm_not_logged", TR_F_TEXT("reason", tr_status_slug(err.status)));
}

static void count_failure(struct sign_in *s, const char *uid) {
    int storm = 0;
    tr_throttle_failed(s->call->vault, uid, s->call->request->peer, &storm);
    if (storm & TR_STORM_NETWORK)
        append_storm(s, uid, false);
    if (storm & TR_STORM_NAME)
        append_storm(s, uid, true);
}

static tr_status check(struct sign_in *s, const char *uid, const char *password, bool *match, tr_error *err) {
    tr_status st = tr_store_reader(tr_vault_store(s->call->vault), &s->call->db, err);
    if (st != TR_OK)
        return st;
    st = tr_principal_find(s->call->vault, s->call->db, uid, &s->principal, err);
    bool known = st == TR_OK;
    if (!known && st != TR_E_NOT_FOUND)
        return st;
    if (known) {
        tr_caller_of(&s->principal, &s->who);
        s->event.who = &s->who;
    }
    const char *stored = known && !s->principal.row.disabled ? s->principal.row.password : NULL;
    st = tr_password_check(stored, password, strlen(password), match, err);
    if (st != TR_OK || !*match)
        return st;
    st = tr_principal_open(s->call->vault, s->call->db, &s->principal, err);
    tr_caller_of(&s->principal, &s->who);
    *match = st != TR_E_NOT_FOUND; /* erased a moment ago */
    return *match ? st : TR_OK;
}

static void clear_sign_in(void *sign_in) {
    tr_wipe(sign_in, sizeof(struct sign_in));
}

tr_status tr_sign_in(tr_call *call, tr_error *err) {
    bool match = false;
    const char *uid = tr_json_string(call->body, "uid");
    const char *password = tr_json_string(call->body, "password");
    struct sign_in *s = tr_call_alloc(call, sizeof *s, clear_sign_in, err);
    if (!s)
        return TR_E_NOMEM;
    if (!uid)
        uid = tr_json_string(call->body, "email");
    s->call = call;
    s->event = (tr_event){.at = tr_now_ms(),
                          .action = tr_action_name(TR_DO_AUTH_SIGN_IN),
                          .request = &call->request->id,
                          .address = call->request->peer};
    tr_status st = tr_throttle_try(call->vault, uid, call->request->peer, &call->retry_after_s, err);
    if (st == TR_OK)
        st = check(s, uid, password, &match, err);
    if (st == TR_OK && !match)
        st = refuse(s, err);
    if (st == TR_OK)
        st = begin_session(s, err);
    if (st == TR_OK)
        tr_throttle_success(call->vault, uid, call->request->peer);
    else if (st == TR_E_RATE || st == TR_E_CREDENTIALS)
        count_failure(s, uid);
    return st;
}
