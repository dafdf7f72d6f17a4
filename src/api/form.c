/* A form (application/x-www-form-urlencoded) as a JSON object of strings: what jQuery's clients send to sign
 * in. */
#include <string.h>
#include <strings.h>

#include "api/call.h"

#define NAME_MAX_LEN  64
#define VALUE_MAX_LEN 4096

bool tr_is_form(const tr_call *call) {
    static const char form[] = "application/x-www-form-urlencoded";
    const char *type = call->request->header(call->request, "Content-Type", NULL);
    return (call->route->flags & TR_ROUTE_FORM) && type && strncasecmp(type, form, sizeof form - 1) == 0 &&
           (type[sizeof form - 1] == '\0' || strchr("; \t", type[sizeof form - 1]));
}

static tr_status add_member(cJSON *object, const char *text, size_t len, tr_error *err) {
    char name[NAME_MAX_LEN + 1], value[VALUE_MAX_LEN + 1];
    const char *equals = memchr(text, '=', len);
    size_t n = equals ? (size_t)(equals - text) : len;
    tr_status st = TR_OK;
    if (!equals || !tr_percent_decode(text, n, true, name, sizeof name) ||
        !tr_percent_decode(equals + 1, len - n - 1, true, value, sizeof value))
        st = tr_fail(err, TR_E_MALFORMED, NULL, "the form is not well-formed");
    else if (tr_json_member(object, name))
        st = tr_fail(err, TR_E_MALFORMED, NULL, "the form has a member twice");
    else if (!cJSON_AddStringToObject(object, name, value))
        st = tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    tr_wipe(value, sizeof value);
    return st;
}

tr_status tr_read_form(const char *text, size_t len, cJSON **out, tr_error *err) {
    tr_status st = TR_OK;
    *out = cJSON_CreateObject();
    if (!*out)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    for (size_t i = 0; st == TR_OK && i < len;) {
        const char *end = memchr(text + i, '&', len - i);
        size_t n = end ? (size_t)(end - (text + i)) : len - i;
        if (n > 0)
            st = add_member(*out, text + i, n, err);
        i += n + 1;
    }
    return st;
}
