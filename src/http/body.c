/* The body, read from the connection itself: CivetWeb's mg_read waits for all of the bytes asked for with a
 * time-out per call, reads chunk extensions and trailers without an end, and takes "1\r2\r\n" for a chunk's
 * size.
 */
#include <string.h>

#include "http/http_internal.h"

#define LINE_MAX_BYTES    1024 /* a chunk's size with its extensions (RFC 9112, 7.1.1) */
#define TRAILER_MAX_BYTES 8192 /* all trailer fields */
#define SIZE_DIGITS_MAX   15
#define DRAIN_US          ((tr_budget)2000000)

void tr_body_init(tr_body *body, const tr_wire *wire, const struct mg_connection *conn,
                  const tr_framing *framing, tr_budget budget) {
    *body = (tr_body){.wire = wire,
                      .budget = budget,
                      .chunked = framing->chunked,
                      .left = framing->length > 0 ? framing->length : 0,
                      .done = !framing->chunked && framing->length <= 0};
    tr_civet_input(conn, &body->input, &body->len, &body->cap);
    /* A peer that has begun to send does not wait (RFC 9110, 10.1.1). */
    body->continue_owed = framing->expects_continue && !body->done && body->len == 0;
}

/* Fill the empty window. */
static bool refill(tr_body *body) {
    long n = tr_wire_read(body->wire, body->input, body->cap, &body->budget);
    body->pos = 0;
    body->len = n > 0 ? (size_t)n : 0;
    body->gone = n <= 0;
    return n > 0;
}

static int next_byte(tr_body *body) {
    if (body->pos == body->len && !refill(body))
        return -1;
    return (unsigned char)body->input[body->pos++];
}

/* Bytes of the body proper: from the window first, then past it. */
static long take(tr_body *body, char *buf, size_t n) {
    if ((int64_t)n > body->left)
        n = (size_t)body->left;
    size_t ready = body->len - body->pos;
    long got;
    if (ready) {
        got = (long)(ready < n ? ready : n);
        memcpy(buf, body->input + body->pos, (size_t)got);
        body->pos += (size_t)got;
    } else {
        got = tr_wire_read(body->wire, buf, n, &body->budget);
        if (got <= 0) {
            body->gone = true;
            return -1;
        }
    }
    body->left -= got;
    return got;
}

/* A line up to CR LF, without them, into line[LINE_MAX_BYTES]; its length, or -1. */
static long read_line(tr_body *body, char *line) {
    for (long n = 0; n < LINE_MAX_BYTES; n++) {
        int c = next_byte(body);
        if (c == '\r')
            return next_byte(body) == '\n' ? n : -1;
        if (c < 0 || (c < 0x20 && c != '\t') || c == 0x7f)
            return -1;
        line[n] = (char)c;
    }
    return -1;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* chunk-size [ chunk-ext ] CRLF; extensions are read past. */
static bool read_size(tr_body *body) {
    char line[LINE_MAX_BYTES];
    long n = read_line(body, line), i = 0;
    body->left = 0;
    for (; i < n && hex_digit(line[i]) >= 0; i++) {
        if (i == SIZE_DIGITS_MAX)
            return false;
        body->left = body->left * 16 + hex_digit(line[i]);
    }
    if (i == 0)
        return false;
    while (i < n && (line[i] == ' ' || line[i] == '\t'))
        i++;
    if (i < n ? line[i] != ';' : line[n - 1] == ' ' || line[n - 1] == '\t')
        return false;
    body->chunk = body->left ? TR_CHUNK_DATA : TR_CHUNK_TRAILER;
    return true;
}

/* Trailer fields are read past: nothing here has a use for one. */
static bool read_trailer(tr_body *body) {
    char line[LINE_MAX_BYTES];
    for (long total = 0, n; total < TRAILER_MAX_BYTES; total += n + 2) {
        n = read_line(body, line);
        if (n == 0) {
            body->done = true;
            return true;
        }
        if (n < 0 || !memchr(line, ':', (size_t)n) || line[0] == ':' || line[0] == ' ' || line[0] == '\t')
            return false;
    }
    return false;
}

static long read_chunked(tr_body *body, char *buf, size_t n) {
    while (!body->done) {
        bool good = true;
        switch (body->chunk) {
        case TR_CHUNK_SIZE: good = read_size(body); break;
        case TR_CHUNK_TRAILER: good = read_trailer(body); break;
        case TR_CHUNK_DATA_END:
            good = next_byte(body) == '\r' && next_byte(body) == '\n';
            body->chunk = TR_CHUNK_SIZE;
            break;
        case TR_CHUNK_DATA: {
            long got = take(body, buf, n);
            if (body->left == 0)
                body->chunk = TR_CHUNK_DATA_END;
            return got;
        }
        }
        if (!good) {
            body->broken = !body->gone;
            return body->broken ? -2 : -1;
        }
    }
    return 0;
}

static bool send_continue(tr_body *body) {
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    body->continue_owed = false;
    return tr_wire_write(body->wire, interim, sizeof interim - 1, &body->budget);
}

long tr_body_read(tr_body *body, void *buf, size_t n) {
    if (body->broken)
        return -2;
    if (body->gone || (body->continue_owed && !send_continue(body))) {
        body->gone = true;
        return -1;
    }
    if (body->done || n == 0)
        return 0;
    if (body->chunked)
        return read_chunked(body, buf, n);
    long got = take(body, buf, n);
    body->done = body->left == 0;
    return got;
}

bool tr_body_drainable(const tr_body *body) {
    if (body->done)
        return true;
    /* Whoever was never told to continue may or may not send the body: nobody can know where the next request
     * is. */
    return !body->broken && !body->gone && !body->continue_owed &&
           (body->chunked || body->left <= (int64_t)TR_DRAIN_MAX);
}

bool tr_body_drain(tr_body *body) {
    char waste[4096];
    size_t total = 0;
    if (body->budget > DRAIN_US)
        body->budget = DRAIN_US;
    while (tr_body_drainable(body) && !body->done && total <= TR_DRAIN_MAX) {
        long n = tr_body_read(body, waste, sizeof waste);
        total += n > 0 ? (size_t)n : 0;
    }
    return body->done;
}

size_t tr_body_leftover(tr_body *body) {
    size_t n = body->len - body->pos;
    memmove(body->input, body->input + body->pos, n);
    body->pos = 0;
    body->len = n;
    return n;
}
