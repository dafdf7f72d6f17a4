/* The answer: status line, header fields, body, through one fixed buffer, so that a small answer is one TLS
 * record. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "http/http_internal.h"

#define SINK_BYTES 16384 /* one TLS record */
/* A peer has the request's time to take the answer, and one second more for each of these that it took: never
 * more in hand than the request's time, so that who stops reading a large answer does not keep its thread. */
#define SLOWEST_BYTES_PER_SECOND 8192

typedef struct sink {
    const tr_wire *wire;
    tr_budget budget, budget_most;
    size_t len, most;
    bool failed;
    bool chunked; /* of a stream */
    char bytes[SINK_BYTES];
} sink;

static void flush(sink *s) {
    if (!s->failed && s->len && !tr_wire_write(s->wire, s->bytes, s->len, &s->budget))
        s->failed = true;
    s->budget += (int64_t)s->len * 1000000 / SLOWEST_BYTES_PER_SECOND;
    if (s->budget > s->budget_most)
        s->budget = s->budget_most;
    if (s->len > s->most)
        s->most = s->len;
    s->len = 0;
}

static void put(sink *s, const char *bytes, size_t n) {
    while (n > 0 && !s->failed) {
        size_t part = SINK_BYTES - s->len;
        if (part > n)
            part = n;
        memcpy(s->bytes + s->len, bytes, part);
        s->len += part;
        bytes += part;
        n -= part;
        if (s->len == SINK_BYTES)
            flush(s);
    }
}

static void put_field(sink *s, const char *name, const char *value) {
    put(s, name, strlen(name));
    put(s, ": ", 2);
    put(s, value, strlen(value));
    put(s, "\r\n", 2);
}

/* The file's bytes; a file that is shorter than said ends the connection. */
static void put_file(sink *s, int fd, int64_t len) {
    int64_t done = 0;
    while (done < len && !s->failed) {
        size_t room = SINK_BYTES - s->len;
        int64_t want = len - done < (int64_t)room ? len - done : (int64_t)room;
        ssize_t n = pread(fd, s->bytes + s->len, (size_t)want, (off_t)done);
        if (n > 0) {
            s->len += (size_t)n;
            done += n;
            if (s->len == SINK_BYTES)
                flush(s);
        } else if (n == 0 || errno != EINTR) {
            s->failed = true;
        }
    }
}

/* ---- a streamed body ---- */

static void put_chunk(sink *s, const char *bytes, size_t n) {
    char size[24];
    if (n == 0)
        return; /* it would end the body */
    (void)snprintf(size, sizeof size, "%zx\r\n", n);
    if (s->chunked)
        put(s, size, strlen(size));
    put(s, bytes, n);
    if (s->chunked)
        put(s, "\r\n", 2);
}

static tr_status write_streamed(void *context, const void *bytes, size_t n, tr_error *err) {
    sink *s = context;
    put_chunk(s, bytes, n);
    return s->failed ? tr_fail(err, TR_E_TIMEOUT, NULL, "the client is gone, or reads too slowly") : TR_OK;
}

static void put_stream(sink *s, tr_response *response) {
    tr_error err = {0};
    put_chunk(s, response->body.data, response->body.len);
    tr_status st = response->stream(response->stream_context, write_streamed, s, &err);
    if (st == TR_OK && s->chunked)
        put(s, "0\r\n\r\n", 5);
    if (st == TR_OK)
        return;
    tr_log(st == TR_E_TIMEOUT ? TR_LOG_INFO : TR_LOG_WARN, "response_cut",
           TR_F_TEXT("reason", tr_status_slug(st)), TR_F_TEXT("what", err.what));
    s->failed = true;
}

/* IMF-fixdate (RFC 9110, 5.6.7), whatever the locale. */
static void format_date(char out[32]) {
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const tr_date d = tr_date_of(tr_now_ms());
    memcpy(out, "Sun, 00 Jan 0000 00:00:00 GMT", 30);
    memcpy(out, days[d.weekday], 3);
    tr_digits(out + 5, 2, d.day);
    memcpy(out + 8, months[d.month - 1], 3);
    tr_digits(out + 12, 4, d.year);
    tr_digits(out + 17, 2, d.hour);
    tr_digits(out + 20, 2, d.minute);
    tr_digits(out + 23, 2, d.second);
}

static bool has(const tr_response *response, const char *name) {
    for (int i = 0; i < response->header_count; i++)
        if (tr_same_field(response->headers[i].name, name))
            return true;
    return false;
}

/* What OWASP's REST and secure-headers lists ask of every answer. A handler's own value takes the place of
 * one: a page has its style sheet, a public document may be kept. */
static const struct promised {
    const char *name, *value;
    bool tls; /* means nothing on a plain connection (RFC 6797, 7.2) */
} promised[] = {
    {"Cache-Control", "no-store", false},
    {"X-Content-Type-Options", "nosniff", false},
    {"Strict-Transport-Security", "max-age=63072000; includeSubDomains", true},
    {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'", false},
    {"X-Frame-Options", "DENY", false},
    {"Referrer-Policy", "no-referrer", false},
    {"Permissions-Policy",
     "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(), "
     "geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), "
     "picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), usb=(), web-share=(), "
     "xr-spatial-tracking=()",
     false},
    {"Cross-Origin-Opener-Policy", "same-origin", false},
    {"Cross-Origin-Embedder-Policy", "require-corp", false},
    {"Cross-Origin-Resource-Policy", "same-origin", false},
    {"X-Permitted-Cross-Domain-Policies", "none", false},
};

static void put_promised(sink *s, const tr_exchange *x, const tr_response *response) {
    for (size_t i = 0; i < sizeof promised / sizeof promised[0]; i++)
        if ((!promised[i].tls || x->server->tls) && !has(response, promised[i].name))
            put_field(s, promised[i].name, promised[i].value);
}

static void put_head(sink *s, const tr_exchange *x, const tr_response *response, bool no_content) {
    char text[64], id[TR_UUID_TEXT], date[32];
    const char *reason = mg_get_response_code_text(x->conn, response->status);
    (void)snprintf(text, sizeof text, "HTTP/1.1 %d ", response->status);
    put(s, text, strlen(text));
    put(s, reason, strlen(reason));
    put(s, "\r\n", 2);
    tr_uuid_format(&x->request.id, id);
    put_field(s, "X-Request-Id", id);
    format_date(date);
    put_field(s, "Date", date);
    put_promised(s, x, response);
    for (int i = 0; i < response->header_count; i++)
        put_field(s, response->headers[i].name, response->headers[i].value);
    if (response->content_type && !no_content)
        put_field(s, "Content-Type", response->content_type);
    if (response->stream && !no_content) {
        if (s->chunked)
            put_field(s, "Transfer-Encoding", "chunked");
    } else if (!no_content) {
        (void)snprintf(text, sizeof text, "%lld",
                       (long long)response->body.len +
                           (long long)(response->body_fd >= 0 ? response->body_fd_len : 0));
        put_field(s, "Content-Length", text);
    }
    put_field(s, "Connection", x->keep ? "keep-alive" : "close");
    put(s, "\r\n", 2);
}

static void count(tr_http_server *server, int status) {
    if (status >= 500)
        atomic_fetch_add(&server->responses_5xx, 1);
    else if (status >= 400)
        atomic_fetch_add(&server->responses_4xx, 1);
}

void tr_respond(tr_exchange *x, tr_response *response) {
    if (response->body.failed)
        tr_problem(response, &x->request.id, TR_E_NOMEM, "there was no memory for the answer");
    else if (response->status < 200 || response->status > 599)
        tr_problem(response, &x->request.id, TR_E_INTERNAL, "the request was not answered");
    count(x->server, response->status); /* before anyone can have seen the answer */
    /* A client of HTTP/1.0 knows no chunks: there the end of the connection is the body's. */
    bool chunked = response->stream && x->info->http_version && strcmp(x->info->http_version, "1.0") != 0;
    if (response->close || (response->stream && !chunked))
        x->keep = false;
    bool no_content = response->status == 204 || response->status == 304;
    bool head_only = no_content || strcmp(x->request.method, "HEAD") == 0;
    int64_t file_len = response->body_fd >= 0 ? response->body_fd_len : 0;
    __attribute__((uninitialized)) sink s; /* the compiler's zeros in 16 KiB are a cost of each answer */
    s.wire = &x->wire;
    s.budget = s.budget_most = x->server->request_timeout_ms * 1000;
    s.len = s.most = 0;
    s.failed = false;
    s.chunked = chunked;
    put_head(&s, x, response, no_content);
    if (!head_only && response->stream) {
        put_stream(&s, response);
    } else if (!head_only) {
        put(&s, response->body.data, response->body.len);
        put_file(&s, response->body_fd, file_len);
    }
    flush(&s);
    tr_wipe(s.bytes, s.most);
    x->sent = !s.failed;
    if (s.failed)
        x->keep = false;
}

static const struct {
    tr_status status;
    int code;
    const char *title;
} problems[] = {
    {TR_E_INTERNAL, 500, "Internal error"},
    {TR_E_BAD_REQUEST, 400, "The request is not valid"},
    {TR_E_TIMEOUT, 408, "The request took too long to arrive"},
    {TR_E_HEADERS, 431, "The headers are too large"},
    {TR_E_BUSY, 503, "Too much is asked for at once"},
    {TR_E_DRAINING, 503, "The vault is shutting down"},
    {TR_E_NOMEM, 503, "Out of memory"},
};

void tr_problem(tr_response *response, const tr_uuid *id, tr_status status, const char *detail) {
    size_t p = 0;
    for (size_t i = 0; i < sizeof problems / sizeof problems[0]; i++)
        if (problems[i].status == status)
            p = i;
    char text[TR_UUID_TEXT];
    tr_uuid_format(id, text);
    tr_response_clear(response);
    response->status = problems[p].code;
    response->content_type = "application/problem+json";
    if (response->status == 503)
        (void)tr_response_header(response, "Retry-After", "1");
    tr_buf_printf(&response->body,
                  "{\"type\":\"urn:tresor:problem:%s\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\","
                  "\"instance\":\"urn:uuid:%s\"}",
                  tr_status_slug(problems[p].status), problems[p].title, problems[p].code, detail, text);
    if (response->body.failed) /* a status says enough */
        tr_buf_clear(&response->body);
}
