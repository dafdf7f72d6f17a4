/* Resolving a reference against a base: RFC 3986 section 5.2. Nothing is fetched; URIs are only compared. */
#include <string.h>

#include "vault/jsonschema_internal.h"

typedef struct span {
    const char *at;
    size_t len;
    bool present;
} span;

typedef struct uri_parts {
    span scheme, authority, path, query, fragment;
} uri_parts;

static span span_of(const char *at, size_t len) {
    return (span){at, len, true};
}

static size_t scheme_length(const char *text) {
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    return text[n] == ':' ? n : 0;
}

/* RFC 3986 appendix B, without its regular expression. */
static uri_parts split(const char *text) {
    uri_parts p = {0};
    size_t n = scheme_length(text);
    if (n > 0) {
        p.scheme = span_of(text, n);
        text += n + 1;
    }
    if (strncmp(text, "//", 2) == 0) {
        p.authority = span_of(text + 2, strcspn(text + 2, "/?#"));
        text += 2 + p.authority.len;
    }
    p.path = span_of(text, strcspn(text, "?#"));
    text += p.path.len;
    if (*text == '?') {
        p.query = span_of(text + 1, strcspn(text + 1, "#"));
        text += 1 + p.query.len;
    }
    if (*text == '#')
        p.fragment = span_of(text + 1, strlen(text + 1));
    return p;
}

/* RFC 3986 section 5.2.4 on one path, segment by segment. */
static void put_path_without_dots(tr_buf *out, const char *path, size_t len) {
    const size_t start = out->len;
    size_t i = 0;
    while (i < len) {
        size_t lead = path[i] == '/' ? 1 : 0;
        size_t n = lead;
        while (i + n < len && path[i + n] != '/')
            n++;
        const char *name = path + i + lead;
        size_t name_len = n - lead;
        bool last = i + n == len;
        bool one = name_len == 1 && name[0] == '.';
        bool two = name_len == 2 && name[0] == '.' && name[1] == '.';
        if (two && out->data) {
            while (out->len > start && out->data[out->len - 1] != '/')
                out->len--;
            if (out->len > start)
                out->len--;
        }
        if (!one && !two)
            tr_buf_append(out, path + i, n);
        else if (last)
            tr_buf_putc(out, '/');
        i += n;
    }
}

static void put_merged_path(tr_buf *out, const uri_parts *base, const span *path, tr_buf *room) {
    if (path->len > 0 && path->at[0] == '/') {
        put_path_without_dots(out, path->at, path->len);
        return;
    }
    if (base->authority.present && base->path.len == 0) {
        tr_buf_putc(room, '/');
    } else {
        size_t keep = base->path.len;
        while (keep > 0 && base->path.at[keep - 1] != '/')
            keep--;
        tr_buf_append(room, base->path.at, keep);
    }
    tr_buf_append(room, path->at, path->len);
    if (room->data)
        put_path_without_dots(out, room->data, room->len);
}

/* RFC 3986 section 5.2.2 and 5.3, without the fragment. */
static void put_target(tr_buf *out, const uri_parts *base, const uri_parts *r, tr_buf *room) {
    const span *scheme = r->scheme.present ? &r->scheme : &base->scheme;
    bool own_authority = r->scheme.present || r->authority.present;
    const span *authority = own_authority ? &r->authority : &base->authority;
    bool empty = !own_authority && r->path.len == 0;
    const span *query = empty && !r->query.present ? &base->query : &r->query;
    tr_buf_append(out, scheme->at, scheme->len);
    tr_buf_putc(out, ':');
    if (authority->present) {
        tr_buf_puts(out, "//");
        tr_buf_append(out, authority->at, authority->len);
    }
    if (empty)
        tr_buf_append(out, base->path.at, base->path.len);
    else if (own_authority)
        put_path_without_dots(out, r->path.at, r->path.len);
    else
        put_merged_path(out, base, &r->path, room);
    if (query->present) {
        tr_buf_putc(out, '?');
        tr_buf_append(out, query->at, query->len);
    }
}

static int hex_value(char c) {
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static char *decoded(tr_arena *arena, const span *fragment) {
    char *text = tr_arena_copy(arena, fragment->present ? fragment->at : "", fragment->len);
    char *to = text;
    for (const char *from = text; from && *from; from++) {
        int high = *from == '%' ? hex_value(from[1]) : -1;
        int low = high >= 0 ? hex_value(from[2]) : -1;
        if (low >= 0 && (high | low)) {
            *to++ = (char)(high * 16 + low);
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    if (to)
        *to = '\0';
    return text;
}

tr_status tr_js_uri_resolve(tr_arena *arena, const char *base, const char *reference, const char **uri,
                            const char **fragment, tr_error *err) {
    uri_parts b = split(base), r = split(reference);
    tr_buf text = TR_BUF_INIT, room = TR_BUF_INIT;
    put_target(&text, &b, &r, &room);
    tr_status st = tr_buf_ok(&text, err);
    if (st == TR_OK)
        st = tr_buf_ok(&room, err);
    if (st == TR_OK) {
        *uri = tr_arena_copy(arena, text.data, text.len);
        *fragment = decoded(arena, &r.fragment);
        if (!*uri || !*fragment)
            st = tr_js_no_memory(err);
    }
    tr_buf_clear(&text);
    tr_buf_clear(&room);
    return st;
}
