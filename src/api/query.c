/* The query: only the parameters that the route names, each once, decoded. */
#include <string.h>

#include "api/call.h"
#include "base/encode.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool tr_percent_decode(const char *text, size_t len, bool plus_is_space, char *out, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++, n++) {
        if (n == size - 1)
            return false;
        unsigned char c = (unsigned char)text[i];
        if (c == '%') {
            int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_digit(text[i + 2]);
            if (low < 0)
                return false;
            c = (unsigned char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c < 0x20 || c == 0x7f)
            return false;
        out[n] = (char)c;
    }
    out[n] = '\0';
    return tr_utf8_valid(out, n);
}

/* Is `name` one of the comma-separated `names`? */
static bool among(const char *names, const char *name) {
    size_t n = strlen(name);
    for (const char *p = names; p && *p;) {
        size_t len = strcspn(p, ",");
        if (len == n && strncmp(p, name, n) == 0)
            return true;
        p += len + (p[len] == ',');
    }
    return false;
}

/* A name that an error may repeat: it looks like a parameter's, not like a value. */
static bool plain_name(const char *name) {
    return *name && strlen(name) <= 40 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-") == strlen(name);
}

static tr_status take(tr_call *call, const char *text, size_t len, tr_error *err) {
    char name[TR_PARAM_TEXT];
    const char *equals = memchr(text, '=', len);
    size_t n = equals ? (size_t)(equals - text) : len;
    const char *value = equals ? equals + 1 : "";
    size_t value_len = equals ? len - n - 1 : 0;
    if (!tr_percent_decode(text, n, true, name, sizeof name))
        return tr_fail(err, TR_E_BAD_REQUEST, "query", "is not well-formed");
    bool known = among(call->route->query, name) ||
                 ((call->route->flags & TR_ROUTE_LIST) && among("limit,after", name));
    if (!known || strlen(name) >= sizeof call->query[0].name)
        return tr_fail(err, TR_E_BAD_REQUEST, plain_name(name) ? name : "query",
                       "is no query parameter of this resource");
    if (tr_call_query(call, name))
        return tr_fail(err, TR_E_BAD_REQUEST, name, "is given twice");
    if (call->query_count == TR_QUERY_MAX ||
        !tr_percent_decode(value, value_len, true, call->query[call->query_count].value, TR_PARAM_TEXT))
        return tr_fail(err, TR_E_BAD_REQUEST, name, "is too long or not well-formed");
    memcpy(call->query[call->query_count++].name, name, strlen(name) + 1);
    return TR_OK;
}

tr_status tr_read_query(tr_call *call, tr_error *err) {
    tr_status st = TR_OK;
    for (const char *p = call->request->query; st == TR_OK && *p;) {
        size_t n = strcspn(p, "&");
        if (n > 0)
            st = take(call, p, n, err);
        p += n + (p[n] == '&');
    }
    return st;
}
