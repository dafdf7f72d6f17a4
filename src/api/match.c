/* Which route is it? */
#include <string.h>

#include "api/call.h"

/* Does the path fit the pattern? With `call`, its parameters are kept, still encoded: their place and length.
 */
typedef struct span {
    const char *text;
    size_t len;
} span;

static bool fits(const char *pattern, const char *path, span *params, int *count) {
    *count = 0;
    while (*pattern && *path) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        size_t n = strcspn(path, "/");
        if (n == 0 || *count == TR_PARAMS_MAX)
            return false;
        params[(*count)++] = (span){path, n};
        path += n;
        pattern = strchr(pattern, '}') + 1;
    }
    return *pattern == '\0' && *path == '\0';
}

/* Patterns have more than these characters, and no parameter in them. Most paths differ behind "/v1/": */
#define TELLING 4

/* A path that stands in the table as it is belongs to that route alone: /v1/keys/rotate is no
 * /v1/keys/{version}. (Somebody who sends the braces has named nothing.) */
static bool is_literal(const char *path) {
    for (size_t i = 0; i < tr_routes_count; i++) {
        if (strcmp(tr_routes[i].path, path) == 0 && !strchr(path, '{'))
            return true;
    }
    return false;
}

static bool takes(const tr_route *route, const char *path, bool literal, span *params, int *count) {
    *count = 0;
    return literal ? strcmp(route->path, path) == 0 : fits(route->path, path, params, count);
}

static bool same_method(const tr_request *request, const tr_route *route) {
    return strcmp(route->method, request->method) == 0 ||
           (strcmp(request->method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

static tr_status keep_params(tr_call *call, const span *params, int count, tr_error *err) {
    for (int i = 0; i < count; i++) {
        if (!tr_percent_decode(params[i].text, params[i].len, false, call->params[i], sizeof call->params[i]))
            return tr_fail(err, TR_E_NOT_FOUND, NULL, "there is nothing of this name");
    }
    call->param_count = count;
    return TR_OK;
}

/* One pass over the table, for each request: a route without parameters that fits has the path for itself, as
 * is_literal says. */
tr_status tr_match_route(tr_call *call, tr_error *err) {
    span params[TR_PARAMS_MAX], fitting[TR_PARAMS_MAX];
    const tr_route *found = NULL;
    const char *path = call->request->path;
    const char telling = path[strnlen(path, TELLING)];
    int count = 0, n;
    bool known = false, literal = false;
    for (size_t i = 0; i < tr_routes_count; i++) {
        if (tr_routes[i].path[TELLING] != telling || !fits(tr_routes[i].path, path, fitting, &n) ||
            (literal && n > 0))
            continue;
        if (n == 0 && !literal)
            found = NULL;
        known = true;
        literal = n == 0;
        if (!found && same_method(call->request, &tr_routes[i])) {
            found = &tr_routes[i];
            count = n;
            memcpy(params, fitting, (size_t)n * sizeof *params);
        }
    }
    if (!found)
        return known ? tr_fail(err, TR_E_METHOD, NULL,
                               "this resource has no such method; Allow names those it has")
                     : tr_fail(err, TR_E_NOT_FOUND, NULL, "there is no such resource");
    call->route = found;
    call->head = strcmp(call->request->method, "HEAD") == 0;
    return keep_params(call, params, count, err);
}

void tr_allow_header(const char *path, tr_response *response) {
    char text[80] = "";
    span params[TR_PARAMS_MAX];
    int count;
    bool literal = is_literal(path);
    for (size_t i = 0; i < tr_routes_count; i++) {
        if (!takes(&tr_routes[i], path, literal, params, &count))
            continue;
        const char *method = tr_routes[i].method;
        strncat(text, method, sizeof text - strlen(text) - 1);
        strncat(text, strcmp(method, "GET") == 0 ? ", HEAD, " : ", ", sizeof text - strlen(text) - 1);
    }
    strncat(text, "OPTIONS", sizeof text - strlen(text) - 1);
    tr_response_header(response, "Allow", text);
}
