/* Any bytes on one connection to the HTTP server itself, CivetWeb and all. The first byte says after how many
 * the rest is sent by itself. Beside the server a second reading of the same bytes, as plain as RFC 9112 can
 * be read: whatever request the handler is given must be the next one there, with these fields and this body,
 * so that no two parties see different requests in the same bytes (request smuggling). The server may refuse
 * what this reading takes, never the other way round. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz_must.h"
#include "http/server.h"

#define INPUT_MAX  8000
#define FIELDS_MAX 64

int LLVMFuzzerInitialize(int *argc, char ***argv);

typedef struct span {
    const char *at;
    size_t len;
} span;

typedef struct reading {
    span method, path, query;
    span names[FIELDS_MAX], values[FIELDS_MAX];
    int count;
    bool chunked;
    long length;
    const char *body;
} reading;

static tr_http_server *server;
static struct {
    const char *at, *end; /* the next request */
    bool over;            /* there is none that can be told */
} input;

static bool is(span s, const char *text) {
    return s.len == strlen(text) && strncasecmp(s.at, text, s.len) == 0;
}

/* ---- the second reading ---- */

static bool next_line(const char **at, const char *end, span *line) {
    const char *lf = memchr(*at, '\n', (size_t)(end - *at));
    if (!lf || lf == *at || lf[-1] != '\r')
        return false;
    *line = (span){*at, (size_t)(lf - 1 - *at)};
    *at = lf + 1;
    return !memchr(line->at, '\r', line->len) && !memchr(line->at, '\0', line->len);
}

static bool request_line(span line, reading *r) {
    static const size_t tail = sizeof " HTTP/1.1" - 1;
    const char *space = memchr(line.at, ' ', line.len);
    if (!space || line.len < (size_t)(space - line.at) + 1 + tail)
        return false;
    r->method = (span){line.at, (size_t)(space - line.at)};
    span target = {space + 1, line.len - r->method.len - 1 - tail};
    const char *version = target.at + target.len;
    if (target.len == 0 || *target.at != '/' || memchr(target.at, ' ', target.len) ||
        strncmp(version, " HTTP/1.", tail - 1) != 0 || (version[tail - 1] != '0' && version[tail - 1] != '1'))
        return false;
    const char *mark = memchr(target.at, '?', target.len);
    r->path = (span){target.at, mark ? (size_t)(mark - target.at) : target.len};
    r->query = mark ? (span){mark + 1, target.len - r->path.len - 1} : (span){"", 0};
    return true;
}

static bool field_line(span line, reading *r) {
    const char *colon = memchr(line.at, ':', line.len);
    if (!colon || colon == line.at || r->count == FIELDS_MAX || strchr(" \t", *line.at) ||
        strchr(" \t", colon[-1]))
        return false;
    span value = {colon + 1, line.len - (size_t)(colon + 1 - line.at)};
    for (; value.len && strchr(" \t", *value.at); value.at++)
        value.len--;
    while (value.len && strchr(" \t", value.at[value.len - 1]))
        value.len--;
    r->names[r->count] = (span){line.at, (size_t)(colon - line.at)};
    r->values[r->count++] = value;
    return true;
}

static int find(const reading *r, const char *name, span *value) {
    int count = 0;
    for (int i = 0; i < r->count; i++) {
        if (is(r->names[i], name) && count++ == 0)
            *value = r->values[i];
    }
    return count;
}

static bool framing(reading *r) {
    span value = {"", 0};
    int count = find(r, "Transfer-Encoding", &value);
    if (count > 1 || (count == 1 && !is(value, "chunked")))
        return false;
    r->chunked = count == 1;
    count = find(r, "Content-Length", &value);
    if (count > 1 || (count == 1 && (r->chunked || value.len == 0 || value.len > 18)))
        return false;
    for (size_t i = 0; count && i < value.len; i++) {
        if (value.at[i] < '0' || value.at[i] > '9')
            return false;
        r->length = r->length * 10 + (value.at[i] - '0');
    }
    return true;
}

static bool read_head(const char *at, const char *end, reading *r) {
    span line;
    *r = (reading){0};
    while (at < end && (*at == '\r' || *at == '\n'))
        at++;
    if (!next_line(&at, end, &line) || !request_line(line, r))
        return false;
    while (next_line(&at, end, &line)) {
        if (line.len == 0) {
            r->body = at;
            return framing(r);
        }
        if (!field_line(line, r))
            return false;
    }
    return false;
}

/* The next part of a chunked body; false: it is broken or cut off. An empty part is its end. */
static bool next_chunk(const char **at, const char *end, span *chunk) {
    span line;
    size_t size = 0, i = 0;
    if (!next_line(at, end, &line))
        return false;
    for (; i < line.len && strchr("0123456789abcdefABCDEF", line.at[i]); i++) {
        const char c = line.at[i];
        size = size * 16 + (size_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        if (size > INPUT_MAX)
            return false;
    }
    while (i > 0 && i < line.len && strchr(" \t", line.at[i]))
        i++;
    if (i == 0 || (i < line.len && line.at[i] != ';') || (size > 0 && size + 2 > (size_t)(end - *at)))
        return false;
    *chunk = (span){*at, size};
    *at += size;
    if (size > 0 && ((*at)[0] != '\r' || (*at)[1] != '\n'))
        return false;
    if (size > 0) {
        *at += 2;
        return true;
    }
    while (next_line(at, end, &line)) {
        if (line.len == 0)
            return true;
    }
    return false;
}

/* The body of a reading; its end, NULL when it is broken or cut off. *len of it are whole whatever comes. */
static const char *read_body(const reading *r, char *out, size_t *len) {
    const char *at = r->body;
    span chunk = {at, 0};
    *len = 0;
    if (!r->chunked) {
        size_t left = (size_t)(input.end - at);
        *len = (size_t)r->length < left ? (size_t)r->length : left;
        memcpy(out, at, *len);
        return *len == (size_t)r->length ? at + *len : NULL;
    }
    while (next_chunk(&at, input.end, &chunk)) {
        if (chunk.len == 0)
            return at;
        memcpy(out + *len, chunk.at, chunk.len);
        *len += chunk.len;
    }
    return NULL;
}

/* ---- what the server makes of it ---- */

static bool equal(span s, const char *text) {
    return strlen(text) == s.len && memcmp(text, s.at, s.len) == 0;
}

static void check_head(const tr_request *request, const reading *r) {
    MUST(equal(r->method, request->method) && equal(r->path, request->path) &&
         equal(r->query, request->query));
    for (int i = 0; i < r->count; i++) {
        char name[INPUT_MAX];
        span first = {"", 0};
        bool twice = false;
        (void)snprintf(name, sizeof name, "%.*s", (int)r->names[i].len, r->names[i].at);
        const char *value = request->header(request, name, &twice);
        const int count = find(r, name, &first);
        MUST(value && equal(first, value) && twice == (count > 1));
    }
    MUST(request->has_body == (r->chunked || r->length > 0));
    MUST(request->content_length == -1 || request->content_length == r->length);
}

/* A method that CivetWeb does not know: neither fields nor body are looked at, and the connection ends. */
static bool unknown_method(const tr_request *request, const reading *r) {
    char name[INPUT_MAX];
    if (r->count == 0 || request->has_body)
        return false;
    (void)snprintf(name, sizeof name, "%.*s", (int)r->names[0].len, r->names[0].at);
    return !request->header(request, name, NULL);
}

/* What is read of the body is what is there; to the end only when it has one. */
static void check_body(tr_request *request, const char *body, size_t len, bool whole) {
    char part[97];
    size_t seen = 0;
    long n;
    while ((n = request->read(request, part, sizeof part)) > 0) {
        MUST(seen + (size_t)n <= len || !whole);
        if (seen + (size_t)n <= len)
            MUST(memcmp(part, body + seen, (size_t)n) == 0);
        seen += (size_t)n;
    }
    MUST(n != 0 || (whole && seen == len));
}

static void handle(void *context, tr_request *request, tr_response *response) {
    static reading r;
    static char body[INPUT_MAX];
    size_t len = 0;
    (void)context;
    response->status = 200;
    response->content_type = "text/plain";
    tr_buf_puts(&response->body, "taken\n");
    MUST(!input.over);
    if (!read_head(input.at, input.end, &r)) {
        /* Only what ended before its fields did, under a method that CivetWeb does not know. */
        MUST(!request->has_body && !request->header(request, "Host", NULL));
        input.over = true;
        return;
    }
    if (unknown_method(request, &r)) {
        MUST(equal(r.method, request->method) && equal(r.path, request->path));
        input.over = true;
        return;
    }
    check_head(request, &r);
    const char *next = read_body(&r, body, &len);
    if (r.path.at[r.path.len - 1] != 'n') /* else the server reads past it */
        check_body(request, body, len, next != NULL);
    input.over = next == NULL;
    input.at = next;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static const tr_http_options options = {.listen = "127.0.0.1:0",
                                            .threads = 1,
                                            .request_timeout_ms = 5000,
                                            .idle_timeout_ms = 5000,
                                            .handler = handle};
    tr_error err = {0};
    (void)argc, (void)argv;
    MUST(tr_http_start(&options, &server, &err) == TR_OK);
    return 0;
}

static void send_all(int fd, const char *bytes, size_t n) {
    while (n > 0) {
        ssize_t done = send(fd, bytes, n, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return; /* refused already */
        bytes += done;
        n -= (size_t)done;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > INPUT_MAX)
        return 0;
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)tr_http_port(server)),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct linger at_once = {1, 0}; /* else the ports run out */
    const int on = 1;
    const char *bytes = (const char *)data + 1;
    const size_t n = size - 1, first = data[0] < n ? data[0] : n;
    char answer[4096], begin[10] = "";
    size_t got = 0;
    input.at = bytes;
    input.end = bytes + n;
    input.over = false;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        MUST(errno == EINTR || errno == EADDRNOTAVAIL); /* the alarm; so many a second that no port is left */
        (void)close(fd);
        return 0;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    send_all(fd, bytes, first);
    send_all(fd, bytes + first, n - first);
    (void)shutdown(fd, SHUT_WR);
    /* libFuzzer's alarm interrupts: who went on then would change the input under the server. */
    for (ssize_t part; (part = recv(fd, answer, sizeof answer, 0)) > 0 || (part < 0 && errno == EINTR);) {
        if (part < 0)
            continue;
        if (got == 0)
            (void)snprintf(begin, sizeof begin, "%.*s", (int)part, answer);
        got += (size_t)part;
    }
    MUST(got == 0 || strncmp(begin, "HTTP/1.1 ", strlen(begin)) == 0);
    (void)close(fd);
    return 0;
}
