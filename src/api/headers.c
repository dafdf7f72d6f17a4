/* Request headers: what is acceptable, which media type, preconditions, purpose, Idempotency-Key. */
#include <string.h>
#include <strings.h>

#include "api/call.h"

#define IDEMPOTENCY_KEY_MAX 255
#define HEADER_LIST_MAX     1000

static tr_status one_header(const tr_call *call, const char *name, const char **value, tr_error *err) {
    bool twice = false;
    *value = call->request->header(call->request, name, &twice);
    return twice ? tr_fail(err, TR_E_BAD_REQUEST, name, "is given twice") : TR_OK;
}

tr_status tr_read_idempotency_key(tr_call *call, tr_error *err) {
    const char *key = NULL;
    tr_status st = one_header(call, "Idempotency-Key", &key, err);
    if (st != TR_OK || !key)
        return st;
    size_t n = strlen(key);
    bool good = n >= 1 && n <= IDEMPOTENCY_KEY_MAX;
    for (size_t i = 0; good && i < n; i++)
        good = key[i] > 0x20 && key[i] < 0x7f;
    if (!good)
        return tr_fail(err, TR_E_BAD_REQUEST, "Idempotency-Key", "must have 1 to %d visible ASCII characters",
                       IDEMPOTENCY_KEY_MAX);
    call->idempotency_key = key;
    const tr_bytes part = {key, n};
    return tr_sha256(&part, 1, call->key_hash, err);
}

/* "*", or entity tags with commas between (RFC 9110 section 13.1.1). */
static bool is_etag_list(const char *p) {
    if (strcmp(p, "*") == 0)
        return true;
    for (;; p++) {
        p += strspn(p, " \t");
        p += strncmp(p, "W/", 2) == 0 ? 2 : 0;
        const char *end = *p == '"' ? strchr(p + 1, '"') : NULL;
        if (!end)
            return false;
        p = end + 1 + strspn(end + 1, " \t");
        if (*p != ',')
            return *p == '\0';
    }
}

static tr_status read_etags(const tr_call *call, const char *name, const char **value, tr_error *err) {
    tr_status st = one_header(call, name, value, err);
    if (st == TR_OK && *value && (strlen(*value) > HEADER_LIST_MAX || !is_etag_list(*value)))
        st = tr_fail(err, TR_E_BAD_REQUEST, name, "must be * or a list of entity tags, of at most %d bytes",
                     HEADER_LIST_MAX);
    return st;
}

tr_status tr_read_headers(tr_call *call, tr_error *err) {
    const char *purpose = NULL;
    tr_status st = read_etags(call, "If-Match", &call->if_match, err);
    if (st == TR_OK)
        st = read_etags(call, "If-None-Match", &call->if_none_match, err);
    if (st == TR_OK)
        st = one_header(call, "Access-Purpose", &purpose, err);
    if (st == TR_OK && purpose)
        call->has_purpose = tr_uuid_parse(purpose, strlen(purpose), &call->purpose);
    if (call->has_purpose)
        call->event.purpose = &call->purpose;
    return st;
}

/* ---- media types (RFC 9110 sections 8.3 and 12.5.1) ---- */

/* Does the value begin with this media type, whatever parameters follow? */
static bool is_type(const char *value, const char *type) {
    size_t n = strlen(type);
    value += strspn(value, " \t");
    return strncasecmp(value, type, n) == 0 && (value[n] == '\0' || strchr("; \t,", value[n]));
}

/* A charset parameter may only say UTF-8. */
static bool charset_fits(const char *value) {
    const char *charset = strcasestr(value, "charset=");
    if (!charset)
        return true;
    charset += strlen("charset=");
    charset += *charset == '"';
    return strncasecmp(charset, "utf-8", 5) == 0 && (charset[5] == '\0' || strchr("\"; \t", charset[5]));
}

/* The weight of a range of an Accept header, up to its comma, in thousandths: its q, 1000 without one. */
static int range_weight(const char *range) {
    char text[128];
    size_t n = strcspn(range, ",");
    n = n < sizeof text ? n : sizeof text - 1;
    memcpy(text, range, n);
    text[n] = '\0';
    const char *q = text;
    do
        q = strcasestr(q + 1, "q=");
    while (q && !strchr("; \t", q[-1]));
    if (!q || q[2] != '0')
        return 1000;
    int weight = 0, scale = 100;
    for (const char *p = q + 3 + (q[3] == '.'); *p >= '0' && *p <= '9'; p++, scale /= 10)
        weight += (*p - '0') * scale;
    return weight;
}

/* The range that names the type most closely says. */
static int weight_in(const char *accept, const char *type) {
    char family[32];
    int weight = 0, closest = 0;
    size_t n = strcspn(type, "/");
    memcpy(family, type, n);
    memcpy(family + n, "/*", 3);
    for (const char *p = accept; *p; p += strcspn(p, ","), p += *p == ',') {
        int close = is_type(p, type) ? 3 : is_type(p, family) ? 2 : is_type(p, "*/*") ? 1 : 0;
        if (close == 0 || close < closest)
            continue;
        int w = range_weight(p);
        weight = close > closest || w > weight ? w : weight;
        closest = close;
    }
    return weight;
}

int tr_accept_weight(const tr_call *call, const char *type) {
    bool twice =
        false; /* several Accept headers are one list: the first is looked at, and more are no fault */
    const char *accept = call->request->header(call->request, "Accept", &twice);
    return !accept || !*accept || twice ? 1000 : weight_in(accept, type);
}

static tr_status check_accept(const tr_call *call, tr_error *err) {
    const char *type = call->route->body == TR_BODY_NDJSON ? "application/x-ndjson" : "application/json";
    if ((call->route->flags & TR_ROUTE_MEDIA) || tr_accept_weight(call, type) ||
        tr_accept_weight(call, "application/problem+json"))
        return TR_OK;
    return tr_fail(err, TR_E_NOT_ACCEPTABLE, "Accept", "the answer is %s", type);
}

tr_status tr_check_media(tr_call *call, tr_error *err) {
    static const char *const types[] = {[TR_BODY_JSON] = "application/json",
                                        [TR_BODY_PATCH] = "application/merge-patch+json",
                                        [TR_BODY_NDJSON] = "application/x-ndjson"};
    const char *type = NULL;
    tr_body_kind kind = call->route->body;
    tr_status st = check_accept(call, err);
    if (st == TR_OK)
        st = one_header(call, "Content-Type", &type, err);
    if (st != TR_OK)
        return st;
    if (kind == TR_BODY_NONE)
        return call->request->has_body
                   ? tr_fail(err, TR_E_BAD_REQUEST, "Content-Length", "this request takes no body")
                   : TR_OK;
    if ((call->route->flags & TR_ROUTE_BODY_OPTIONAL) && !call->request->has_body)
        return TR_OK;
    if (!type)
        type = "";
    bool known_type = is_type(type, types[kind]) || tr_is_form(call) ||
                      (kind == TR_BODY_PATCH && is_type(type, types[TR_BODY_JSON]));
    bool taken = known_type && charset_fits(type);
    if (!taken)
        return tr_fail(err, TR_E_MEDIA_TYPE, "Content-Type", "must be %s", types[kind]);
    const char *encoding = call->request->header(call->request, "Content-Encoding", NULL);
    if (encoding && strcasecmp(encoding, "identity") != 0)
        return tr_fail(err, TR_E_MEDIA_TYPE, "Content-Encoding", "a compressed body is not taken");
    return TR_OK;
}
