/* A path, and the method before it: "GET /v1/types/contact". Every method is tried on each path: a method is
 * refused exactly where Allow does not name it, no two rows of the table take one request, and parameters are
 * the path's own segments, decoded. */
#include <string.h>

#include "api/call.h"
#include "fuzz_must.h"

static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

static bool listed(const char *list, const char *method) {
    const size_t n = strlen(method);
    for (const char *p = list; *p; p += strcspn(p, ","), p += strspn(p, ", ")) {
        if (strncmp(p, method, n) == 0 && (p[n] == ',' || p[n] == '\0'))
            return true;
    }
    return false;
}

static size_t segments(const char *path) {
    size_t n = 0;
    for (; *path; path++)
        n += *path == '/';
    return n;
}

/* The pattern with its parameters filled in is the path. */
static void check_match(const tr_call *call, const char *path) {
    const char *pattern = call->route->path;
    int taken = 0;
    MUST(segments(pattern) == segments(path));
    while (*pattern) {
        if (*pattern != '{') {
            MUST(*pattern++ == *path++);
            continue;
        }
        const size_t n = strcspn(path, "/");
        char text[TR_PARAM_TEXT];
        MUST(n > 0 && taken < call->param_count);
        MUST(tr_percent_decode(path, n, false, text, sizeof text) && strcmp(text, call->params[taken]) == 0);
        taken++;
        path += n;
        pattern = strchr(pattern, '}') + 1;
    }
    MUST(*path == '\0' && taken == call->param_count);
}

static tr_status match(const char *method, const char *path, tr_call *call) {
    tr_request request = {.method = method, .path = path, .query = ""};
    tr_error err = {0};
    memset(call, 0, sizeof *call);
    call->request = &request;
    tr_status st = tr_match_route(call, &err);
    call->request = NULL;
    return st;
}

/* Segment by segment: a parameter is a whole one, and not empty. */
static bool fits(const char *pattern, const char *path) {
    for (;; pattern++, path++) {
        const size_t n = strcspn(path, "/"), m = strcspn(pattern, "/");
        if (*pattern == '{' ? n == 0 : n != m || memcmp(pattern, path, n) != 0)
            return false;
        pattern += m;
        path += n;
        if (*pattern != *path)
            return false;
        if (*path == '\0')
            return true;
    }
}

/* How many rows take it; a path that stands in the table is that row's alone. */
static int rows(const char *method, const char *path, bool literal) {
    int count = 0;
    for (size_t i = 0; i < tr_routes_count; i++) {
        const char *pattern = tr_routes[i].path;
        if (strcmp(tr_routes[i].method, strcmp(method, "HEAD") == 0 ? "GET" : method) == 0)
            count += literal ? strcmp(pattern, path) == 0 : fits(pattern, path);
    }
    return count;
}

static bool in_table(const char *path) {
    for (size_t i = 0; i < tr_routes_count; i++) {
        if (strcmp(tr_routes[i].path, path) == 0)
            return true;
    }
    return false;
}

static void try_path(const char *path) {
    static tr_call call;
    tr_response response;
    const bool literal = in_table(path);
    tr_response_init(&response);
    tr_allow_header(path, &response);
    MUST(response.header_count == 1 && strcmp(response.headers[0].name, "Allow") == 0);
    const char *allow = response.headers[0].value;
    MUST(listed(allow, "OPTIONS"));
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        tr_status st = match(methods[i], path, &call);
        const bool is_options = strcmp(methods[i], "OPTIONS") == 0;
        MUST(rows(methods[i], path, literal) <= 1);
        MUST(st == TR_OK || st == TR_E_NOT_FOUND || st == TR_E_METHOD);
        MUST(is_options || listed(allow, methods[i]) == (rows(methods[i], path, literal) == 1));
        MUST(st != TR_OK || (listed(allow, methods[i]) && !is_options));
        MUST(st != TR_E_METHOD || is_options || !listed(allow, methods[i]));
        MUST(st != TR_E_METHOD || is_options || strlen(allow) > strlen("OPTIONS"));
        if (st == TR_OK)
            check_match(&call, path);
    }
    tr_response_clear(&response);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static tr_call call;
    char text[2000];
    if (size >= sizeof text || memchr(data, 0, size))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *path = strchr(text, ' ');
    if (!path || path[1] != '/')
        return 0;
    *path++ = '\0';
    if (match(text, path, &call) == TR_OK)
        check_match(&call, path);
    try_path(path);
    return 0;
}
