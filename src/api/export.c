/* The package of a request, and exports: a ZIP that is made while it is sent (vault/package.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/requests.h"
#include "base/clock.h"
#include "vault/datakeys.h"
#include "vault/package.h"
#include "vault/restriction.h"

#define ZIP              "application/zip"
#define PASSPHRASE       "Package-Passphrase"
#define PASSPHRASE_LEAST 12
#define PASSPHRASE_MOST  128
/* How long a data subject can fetch the package of a closed request. */
#define FETCH_MS ((int64_t)90 * 24 * 3600 * 1000)

/* Everything that the stream needs: it outlives the call. */
typedef struct export {
    tr_vault *vault;
    tr_api *api;
    char client[TR_CLIENT_LEN + 1];
    tr_uuid principal, purpose;
    tr_role role;
    tr_access access;
    uint8_t digest[TR_SHA256_LEN]; /* of a service's rights, which must not change on the way */
    char passphrase[PASSPHRASE_MOST + 1];
    tr_package_options options;
}
export;

static void clear_export(void *context) {
    export *e = context;
    e->api->exports--;
    tr_access_clear(&e->access);
    tr_wipe(e, sizeof *e);
    free(e);
}

/* ---- may it still be had? ---- */

static tr_status load_rights(const export *e, tr_db *db, tr_access *access, uint8_t digest[TR_SHA256_LEN],
                             tr_error *err) {
    tr_status st = tr_access_load(db, &e->options.subject, &e->principal, &e->purpose, access, err);
    if (st != TR_OK)
        return st;
    tr_access_for_export(access);
    return tr_access_digest(access, digest, err);
}

static tr_status still_granted(const export *e, tr_db *db, tr_error *err) {
    uint8_t digest[TR_SHA256_LEN];
    tr_access access = {.own = false};
    tr_status st = tr_purpose_check(db, &e->purpose, err);
    if (st == TR_OK)
        st = load_rights(e, db, &access, digest, err);
    if (st == TR_OK && memcmp(digest, e->digest, sizeof digest) != 0)
        st = tr_fail(err, TR_E_NO_GRANT, NULL, "the grants have changed");
    tr_access_clear(&access);
    return st == TR_OK ? tr_restriction_check(db, &e->options.subject, err) : st;
}

/* Whose request it is, or whose it is to answer; how long. */
static tr_status check_request(const export *e, const tr_dsr *row, tr_error *err) {
    if (row->kind != TR_DSR_ACCESS && row->kind != TR_DSR_PORTABILITY)
        return tr_fail(err, TR_E_CONFLICT, NULL, "only requests for access and portability have a package");
    if (e->role == TR_OFFICER &&
        (row->closed_at || !row->has_assignee || !tr_uuid_equal(&row->assignee, &e->principal)))
        return tr_fail(err, TR_E_FORBIDDEN, NULL, "the request is not open and assigned to you");
    tr_status st = tr_dsr_check_state(row, TR_DSR_ARE_VERIFIED | TR_DSR_IS(TR_DSR_FULFILLED), err);
    if (st == TR_OK && row->closed_at && row->closed_at + FETCH_MS < tr_now_ms())
        st = tr_fail(err, TR_E_CONFLICT, NULL, "the request was closed more than 90 days ago");
    return st;
}

static tr_status check_row(void *context, const tr_dsr *row, tr_error *err) {
    return check_request(context, row, err);
}

static tr_status still(void *context, tr_db *db, tr_error *err) {
    export *e = context;
    tr_session session;
    tr_subject_row subject;
    tr_uuid warrant;
    tr_status st = tr_session_get(db, e->client, &session, err);
    tr_wipe(&session, sizeof session);
    if (st == TR_E_NOT_FOUND)
        return tr_fail(err, TR_E_TOKEN_INVALID, NULL, "the session has ended");
    if (st == TR_OK)
        st = tr_subject_get(db, &e->options.subject, &subject, err); /* not while it is being erased */
    if (st != TR_OK)
        return st;
    if (e->options.has_request)
        return tr_dsr_get(db, &e->options.request, check_row, e, err);
    if (e->role == TR_SERVICE)
        return still_granted(e, db, err);
    return e->role == TR_OFFICER
               ? tr_dsr_warrant(db, &e->options.subject, &e->principal, TR_DSR_KINDS_ALL, &warrant, err)
               : TR_OK;
}

static tr_status stream(void *context, tr_sink_fn write, void *sink, tr_error *err) {
    export *e = context;
    return tr_package_write(e->vault, &e->options, write, sink, err);
}

/* ---- what the request asks for ---- */

static tr_status take_passphrase(tr_call *call, export *e, tr_error *err) {
    bool twice = false;
    const char *text = call->request->header(call->request, PASSPHRASE, &twice);
    if (!text)
        return TR_OK;
    size_t n = strlen(text);
    bool good = !twice && n >= PASSPHRASE_LEAST && n <= PASSPHRASE_MOST;
    for (size_t i = 0; good && i < n; i++)
        good = text[i] > 0x20 && text[i] < 0x7f;
    if (!good)
        return tr_fail(err, TR_E_BAD_REQUEST, PASSPHRASE,
                       "must be given once, with %d to %d visible ASCII characters", PASSPHRASE_LEAST,
                       PASSPHRASE_MOST);
    memcpy(e->passphrase, text, n + 1);
    e->options.passphrase = e->passphrase;
    return TR_OK;
}

/* The weight of a language range, in thousandths (RFC 9110, 12.4.2). */
static int weight(const char *range, size_t len) {
    const char *q = memmem(range, len, "q=", 2);
    char text[8] = "";
    if (!q)
        return 1000;
    size_t n = len - (size_t)(q + 2 - range);
    memcpy(text, q + 2, n < sizeof text - 1 ? n : sizeof text - 1);
    return text[0] == '1' ? 1000 : text[0] == '0' && text[1] == '.' ? (int)(strtod(text, NULL) * 1000) : 0;
}

/* The best of ours that an Accept-Language wants; English when it wants none. */
static tr_language best_language(const char *accept) {
    tr_language best = TR_LANG_EN, language;
    int most = 0;
    for (const char *p = accept ? accept : ""; *p; p += *p == ',') {
        p += strspn(p, " \t");
        size_t len = strcspn(p, ","), tag = strcspn(p, ",; \t");
        int w = weight(p, len);
        if (w > most && tr_language_parse(p, tag, &language)) {
            most = w;
            best = language;
        }
        p += len;
    }
    return best;
}

static tr_status take_language(tr_call *call, export *e, tr_error *err) {
    const char *asked = tr_call_query(call, "language");
    e->options.language = best_language(call->request->header(call->request, "Accept-Language", NULL));
    if (asked && (strlen(asked) != 2 || !tr_language_parse(asked, 2, &e->options.language)))
        return tr_fail(err, TR_E_BAD_REQUEST, "language", "must be en, de, fr or it");
    return TR_OK;
}

/* Each holds a thread for as long as its reader takes: the others are for everybody else. */
static int most_exports(const tr_config *config) {
    return (int)(config->threads / 4);
}

static tr_status prepare(tr_call *call, const tr_uuid *subject, const char *kind, export **out,
                         tr_error *err) {
    tr_secret key = TR_SECRET_INIT;
    export *e = calloc(1, sizeof *e);
    *out = e;
    if (!e)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    e->api = call->api;
    e->vault = call->vault;
    e->principal = call->who->principal;
    e->role = call->who->role;
    e->purpose = call->purpose;
    memcpy(e->client, call->client, sizeof e->client);
    e->options = (tr_package_options){
        .subject = *subject, .kind = kind, .access = &e->access, .still = still, .still_context = e};
    if (++e->api->exports > most_exports(call->config))
        return tr_fail(err, TR_E_BUSY, NULL, "too many packages are being sent at once");
    tr_status st = tr_accept_weight(call, ZIP)
                       ? TR_OK
                       : tr_fail(err, TR_E_NOT_ACCEPTABLE, "Accept", "the answer is " ZIP);
    if (st == TR_OK)
        st = take_language(call, e, err);
    if (st == TR_OK)
        st = take_passphrase(call, e, err);
    if (st == TR_OK)
        st = tr_datakey_get(call->vault, call->db, subject, &key, err);
    tr_secret_clear(&key);
    return st == TR_E_NOT_FOUND ? tr_fail(err, st, NULL, "there is no such subject") : st;
}

/* The answer, or, when something failed, nothing. */
static tr_status answer(tr_call *call, export *e, tr_status st) {
    tr_response *r = call->response;
    char at[TR_TIME_TEXT], name[64];
    if (st != TR_OK) {
        if (e)
            clear_export(e);
        return st;
    }
    tr_time_format(tr_now_ms(), at);
    snprintf(name, sizeof name, "attachment; filename=\"tresor-%s-%.10s.zip\"", e->options.kind, at);
    r->status = 200;
    r->content_type = ZIP;
    r->stream = stream;
    r->stream_context = e;
    r->stream_clear = clear_export;
    (void)tr_response_header(r, "Content-Disposition", name);
    (void)tr_response_header(r, "Vary", "Accept-Language");
    return TR_OK;
}

/* ---- the resources ---- */

tr_status tr_export_subject(tr_call *call, tr_error *err) {
    export *e;
    tr_status st = prepare(call, &call->subject, "export", &e, err);
    if (st == TR_OK && e->role == TR_SERVICE)
        st = load_rights(e, call->db, &e->access, e->digest, err);
    else if (st == TR_OK)
        e->access.own = true;
    return answer(call, e, st);
}

tr_status tr_export_request(tr_call *call, tr_error *err) {
    tr_dsr_case *c;
    export *e = NULL;
    tr_status st = tr_request_load(call, &c, err);
    if (st == TR_OK)
        st = prepare(call, &c->row.subject, tr_dsr_kind_name(c->row.kind), &e, err);
    if (st == TR_OK)
        st = check_request(e, &c->row, err);
    if (st != TR_OK)
        return answer(call, e, st);
    e->access.own = true;
    e->options.has_request = true;
    e->options.request = c->row.id;
    return answer(call, e, st);
}
