/* The request's head. CivetWeb parses leniently: it takes bare LF for a line's end, stops quietly at a folded
 * line or at the 65th field, reads "Content-Length: 5abc" as 5, and looks at the first of two fields with one
 * name only. Each of these lets two parties see different requests in the same bytes (request smuggling; RFC
 * 9112, 11.2). So the head is walked again here, over the same bytes: CivetWeb cuts it in place, which turns
 * the delimiters into NULs and leaves the rest as it came (NUL itself and other control characters it refuses
 * before).
 */
#include <string.h>
#include <strings.h>

#include "http/http_internal.h"

#define METHOD_MAX        32
#define LENGTH_DIGITS_MAX 18

/* tchar of RFC 9110, 5.6.2 */
static bool is_token(const char *text) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    const char *c = text;
    for (; *c; c++) {
        bool alnum = (*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z');
        if (!alnum && !strchr(others, *c))
            return false;
    }
    return c > text;
}

/* One "name: value" at `at`. Returns where the next line begins, or NULL. */
static char *field_end(char *start, const char *at, const struct mg_header *field) {
    if (field->name != at || !is_token(field->name))
        return NULL;
    const char *gap = field->name + strlen(field->name) + 1; /* behind the colon; a NUL in it was "name :" */
    while (gap < field->value && (*gap == ' ' || *gap == '\t'))
        gap++;
    if (gap != field->value)
        return NULL;
    char *value = start + (field->value - start);
    char *end = value + strlen(value);
    if (end[1] != '\0') /* a bare LF: CR and LF are both NUL now */
        return NULL;
    char *next = end + 2;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = '\0';
    return next;
}

/* "METHOD target HTTP/1.x": single spaces, CR LF. Returns where the fields begin, or NULL. */
static const char *request_line_end(const char *start, const struct mg_request_info *info) {
    const char *at = start;
    while (at < info->request_method && (*at == '\r' || *at == '\n'))
        at++;
    if (at != info->request_method || !is_token(at) || strlen(at) > METHOD_MAX)
        return NULL;
    at += strlen(at) + 1;
    if (at != info->request_uri || *at != '/')
        return NULL;
    at += strlen(at) + 1;
    if (info->query_string) {
        if (at != info->query_string)
            return NULL;
        at += strlen(at) + 1;
    }
    at += strlen("HTTP/");
    if (at != info->http_version || strlen(at) != 3)
        return NULL;
    return at[4] == '\0' ? at + 5 : NULL;
}

static bool well_formed(const struct mg_connection *conn, const struct mg_request_info *info) {
    char *start, *end;
    tr_civet_head(conn, &start, &end);
    const char *at = request_line_end(start, info);
    if (!at || info->num_headers < 0)
        return false;
    if (info->num_headers == 0)
        return at + 2 == end;
    for (int i = 0; i < info->num_headers; i++) {
        at = field_end(start, at, &info->http_headers[i]);
        if (!at || at > end)
            return false;
    }
    return at + 2 == end && at[0] == '\r' && at[1] == '\0';
}

static size_t head_size(const struct mg_connection *conn) {
    char *start, *end;
    tr_civet_head(conn, &start, &end);
    return (size_t)(end - start);
}

static bool has_item(const char *list, const char *item) {
    size_t n = strlen(item);
    while (*list) {
        list += strspn(list, " \t,");
        size_t len = strcspn(list, ",");
        size_t trimmed = len;
        while (trimmed && (list[trimmed - 1] == ' ' || list[trimmed - 1] == '\t'))
            trimmed--;
        if (trimmed == n && strncasecmp(list, item, n) == 0)
            return true;
        list += len;
    }
    return false;
}

static bool read_length(const char *text, int64_t *length) {
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > LENGTH_DIGITS_MAX || text[n] != '\0')
        return false;
    *length = 0;
    for (; *text; text++)
        *length = *length * 10 + (*text - '0');
    return true;
}

/* Letters, digits and the rest of RFC 3986's authority without user information. */
static bool host_valid(const char *host) {
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+;=:[]%";
    return host[strspn(host, allowed)] == '\0';
}

static const char *check_framing(const struct mg_request_info *info, bool http_1_0, tr_framing *framing) {
    bool twice;
    const char *coding = tr_head_find(info, "Transfer-Encoding", &twice);
    if (coding && (twice || http_1_0 || strcasecmp(coding, "chunked") != 0))
        return "Transfer-Encoding is not \"chunked\", once, in HTTP/1.1";
    framing->chunked = coding != NULL;
    const char *length = tr_head_find(info, "Content-Length", &twice);
    if (length && (twice || coding || !read_length(length, &framing->length)))
        return "Content-Length is not one decimal number, or is beside Transfer-Encoding";
    return NULL;
}

const char *tr_head_check(const struct mg_connection *conn, tr_framing *framing, tr_status *status) {
    const struct mg_request_info *info = mg_get_request_info(conn);
    *framing = (tr_framing){.length = -1};
    *status = TR_E_BAD_REQUEST;
    if (!well_formed(conn, info)) {
        if (info->num_headers < MG_MAX_HEADERS)
            return "the request line or a header field is malformed";
        *status = TR_E_HEADERS;
        return "there are too many header fields";
    }
    if (head_size(conn) > TR_HEAD_MAX_BYTES) {
        *status = TR_E_HEADERS;
        return "the request line and the header fields are too large";
    }
    bool twice, http_1_0 = strcmp(info->http_version, "1.0") == 0;
    const char *host = tr_head_find(info, "Host", &twice);
    if (twice || (!host && !http_1_0) || (host && !host_valid(host)))
        return "there must be one valid Host header";
    const char *fault = check_framing(info, http_1_0, framing);
    if (fault)
        return fault;
    const char *expect = tr_head_find(info, "Expect", &twice);
    if (expect && (twice || strcasecmp(expect, "100-continue") != 0))
        return "the only expectation known is 100-continue";
    framing->expects_continue = expect && !http_1_0;
    for (int i = 0; i < info->num_headers; i++)
        if (tr_same_field(info->http_headers[i].name, "Connection") &&
            has_item(info->http_headers[i].value, "close"))
            framing->says_close = true;
    return NULL;
}

bool tr_head_unknown_method(const struct mg_connection *conn) {
    const struct mg_request_info *info = mg_get_request_info(conn);
    char *start, *end;
    if (!info->request_method || !info->request_uri || !info->http_version || info->num_headers != 0)
        return false;
    tr_civet_head(conn, &start, &end);
    const char *version = info->http_version;
    if (version < start + strlen("HTTP/") || version + 3 > end ||
        memcmp(version - strlen("HTTP/"), "HTTP/", strlen("HTTP/")) != 0)
        return false;
    return is_token(info->request_method) && strlen(info->request_method) <= METHOD_MAX &&
           info->request_uri[0] == '/' && (strcmp(version, "1.1") == 0 || strcmp(version, "1.0") == 0);
}

const char *tr_head_find(const struct mg_request_info *info, const char *name, bool *twice) {
    const char *found = NULL;
    if (twice)
        *twice = false;
    for (int i = 0; i < info->num_headers; i++) {
        if (!tr_same_field(info->http_headers[i].name, name))
            continue;
        if (!found)
            found = info->http_headers[i].value;
        else if (twice)
            *twice = true;
    }
    return found;
}
