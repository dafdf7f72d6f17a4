/* What handlers use: memory, parameters, cursors, entity tags. */
#include "api/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "crypto/hash.h"

/* ---- memory ---- */

struct tr_block {
    struct tr_block *next;
    void (*clear)(void *);
    size_t size;
    _Alignas(16) unsigned char data[];
};

void *tr_call_alloc(tr_call *call, size_t size, void (*clear)(void *), tr_error *err) {
    struct tr_block *b = calloc(1, sizeof *b + size);
    if (!b) {
        tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        return NULL;
    }
    b->clear = clear;
    b->size = size;
    b->next = call->blocks;
    call->blocks = b;
    return b->data;
}

void tr_call_free(tr_call *call) {
    for (struct tr_block *b = call->blocks, *next; b; b = next) {
        next = b->next;
        if (b->clear)
            b->clear(b->data);
        tr_wipe(b->data, b->size);
        free(b);
    }
    call->blocks = NULL;
    tr_access_clear(&call->access);
    cJSON_Delete(call->body);
    call->body = NULL;
    tr_buf_clear(&call->raw);
    tr_wipe(call->token, sizeof call->token);
    tr_wipe(&call->ticket, sizeof call->ticket);
}

/* ---- reading ---- */

/* Only what is about one subject gets one view: other handlers ask a backup's store, or write, meanwhile. The
 * edition stays the first look's: it is what was authorised that must still hold, when the handler runs anew.
 */
tr_status tr_call_look(tr_call *call, tr_error *err) {
    if (call->db)
        return TR_OK;
    if (call->edition == 0)
        call->edition = tr_store_edition(tr_vault_store(call->vault));
    tr_status st = tr_store_reader(tr_vault_store(call->vault), &call->db, err);
    if (st == TR_OK && call->has_subject)
        st = tr_read_begin(call->db, err);
    return st;
}

/* Others read while this one waits; what is to follow the commit reads too. */
void tr_call_rest(tr_call *call) {
    if (call->db && call->after_commit) {
        tr_read_end(call->db);
        return;
    }
    tr_store_rest(tr_vault_store(call->vault));
    call->db = NULL;
}

/* ---- parameters ---- */

tr_status tr_call_param_id(const tr_call *call, int n, tr_uuid *id, tr_error *err) {
    if (n < call->param_count && tr_uuid_parse(call->params[n], strlen(call->params[n]), id))
        return TR_OK;
    return tr_fail(err, TR_E_NOT_FOUND, NULL, "there is nothing of this id");
}

const char *tr_call_query(const tr_call *call, const char *name) {
    for (int i = 0; i < call->query_count; i++) {
        if (strcmp(call->query[i].name, name) == 0)
            return call->query[i].value;
    }
    return NULL;
}

tr_status tr_call_flag(const tr_call *call, const char *name, bool *given, bool *value, tr_error *err) {
    const char *text = tr_call_query(call, name);
    if (given)
        *given = text != NULL;
    *value = text && strcmp(text, "true") == 0;
    return !text || *value || strcmp(text, "false") == 0
               ? TR_OK
               : tr_fail(err, TR_E_BAD_REQUEST, name, "must be true or false");
}

tr_status tr_call_cursor(const char *text, const char *where, void *bytes, size_t len, tr_error *err) {
    uint8_t room[TR_CURSOR_MAX];
    size_t n = sizeof room;
    if (!tr_base64url_decode(text, strlen(text), room, &n) || n != len)
        return tr_fail(err, TR_E_BAD_REQUEST, where, "is no cursor of this list");
    memcpy(bytes, room, len);
    return TR_OK;
}

void tr_call_next(tr_buf *out, const void *bytes, size_t len) {
    char text[TR_BASE64URL_LEN(TR_CURSOR_MAX) + 1];
    if (bytes && len <= TR_CURSOR_MAX)
        tr_base64url_encode(bytes, len, text);
    tr_jw_text(out, "next", bytes ? text : NULL);
}

static tr_status page_limit(const tr_call *call, int *limit, tr_error *err) {
    const char *text = tr_call_query(call, "limit");
    *limit = TR_LIST_DEFAULT;
    if (!text)
        return TR_OK;
    char *end = NULL;
    long value = strtol(text, &end, 10);
    if (!*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 4 || *end || value < 1 ||
        value > TR_LIST_MAX)
        return tr_fail(err, TR_E_BAD_REQUEST, "limit", "must be a number from 1 to %d", TR_LIST_MAX);
    *limit = (int)value;
    return TR_OK;
}

tr_status tr_call_page(const tr_call *call, int *limit, tr_uuid *room, const tr_uuid **after, tr_error *err) {
    const char *text = tr_call_query(call, "after");
    tr_status st = page_limit(call, limit, err);
    *after = NULL;
    if (st == TR_OK && text && room) {
        st = tr_call_cursor(text, "after", room->bytes, sizeof room->bytes, err);
        *after = room;
    }
    return st;
}

/* ---- entity tags (RFC 9110 section 13) ---- */

void tr_call_etag(tr_call *call, int64_t version) {
    char text[32];
    snprintf(text, sizeof text, "\"%lld\"", (long long)version);
    tr_response_header(call->response, "ETag", text);
}

/* Is `etag` in the list, or the list "*"? A weak tag is the same only where `weak` comparison will do. */
static bool listed(const char *list, const char *etag, bool weak) {
    size_t n = strlen(etag);
    for (const char *p = list; *p;) {
        p += strspn(p, " \t,");
        if (*p == '*')
            return true;
        bool is_weak = strncmp(p, "W/", 2) == 0;
        if (is_weak)
            p += 2;
        if (strncmp(p, etag, n) == 0 && (p[n] == '\0' || strchr(" \t,", p[n])) && (weak || !is_weak))
            return true;
        p += strcspn(p, ",");
    }
    return false;
}

tr_status tr_call_if_match(const tr_call *call, int64_t version, tr_error *err) {
    char etag[32];
    if (!call->if_match)
        return TR_OK;
    snprintf(etag, sizeof etag, "\"%lld\"", (long long)version);
    if (listed(call->if_match, etag, false))
        return TR_OK;
    return tr_fail(err, TR_E_PRECONDITION, "If-Match", "the resource has another version");
}

bool tr_call_not_modified(tr_call *call, int64_t version) {
    char etag[32];
    if (!call->if_none_match)
        return false;
    snprintf(etag, sizeof etag, "\"%lld\"", (long long)version);
    if (!listed(call->if_none_match, etag, true))
        return false;
    tr_buf_clear(&call->response->body);
    call->response->status = 304;
    call->response->content_type = NULL;
    tr_call_etag(call, version);
    return true;
}

/* ---- answers ---- */

void tr_call_json(tr_call *call, int status) {
    call->response->status = status;
    call->response->content_type = "application/json";
}

void tr_call_location(tr_call *call, const char *prefix, const tr_uuid *a, const char *middle,
                      const tr_uuid *b) {
    char one[TR_UUID_TEXT], two[TR_UUID_TEXT] = "", text[200];
    tr_uuid_format(a, one);
    if (b)
        tr_uuid_format(b, two);
    snprintf(text, sizeof text, "%s%s%s%s", prefix, one, b ? middle : "", two);
    tr_response_header(call->response, "Location", text);
}

void tr_call_concerns(tr_call *call, const tr_uuid *subject, const char *type, const tr_uuid *record) {
    if (subject) {
        call->event_subject = *subject;
        call->event.subject = &call->event_subject;
    }
    if (type) {
        snprintf(call->event_type, sizeof call->event_type, "%s", type);
        call->event.type = call->event_type;
    }
    if (record && call->event.record_count < TR_LIST_MAX) {
        call->event_records[call->event.record_count++] = *record;
        call->event.records = call->event_records;
    }
}

tr_status tr_call_allow_style(tr_call *call, const char *style, tr_error *err) {
    const tr_bytes sheet = {style, strlen(style)};
    uint8_t hash[TR_SHA256_LEN];
    tr_buf policy = TR_BUF_INIT;
    tr_status st = tr_sha256(&sheet, 1, hash, err);
    if (st == TR_OK) {
        tr_buf_puts(&policy, "default-src 'none'; style-src 'sha256-");
        tr_base64_append(&policy, hash, sizeof hash);
        tr_buf_puts(&policy, "'; frame-ancestors 'none'");
        st = tr_buf_ok(&policy, err);
    }
    if (st == TR_OK)
        tr_response_header(call->response, "Content-Security-Policy", policy.data);
    tr_buf_clear(&policy);
    return st;
}
