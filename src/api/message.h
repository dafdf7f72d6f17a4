/* A request and its response as the api layer sees them: no word of CivetWeb. The http layer fills one and
 * sends the other; unit tests do so too.
 */
#ifndef TR_API_MESSAGE_H
#define TR_API_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <strings.h>

#include "base/buf.h"
#include "base/sink.h"
#include "base/uuid.h"

#define TR_RESPONSE_HEADERS_MAX 24
#define TR_HEADER_VALUE_MAX     320

typedef struct tr_request tr_request;
struct tr_request {
    const char *method;     /* upper case, as sent; "GET", "HEAD", "POST", ... */
    const char *path;       /* raw: percent-encoded, without the query; begins with '/' */
    const char *query;      /* raw, without '?'; "" when there is none */
    const char *peer;       /* the peer's address as text, without port */
    tr_uuid id;             /* answered as X-Request-Id, and in the audit log */
    bool has_body;          /* a Content-Length above 0, or chunked */
    int64_t content_length; /* -1 when chunked or absent */
    /* The value of a header (name without regard to case), or NULL. A header sent twice: *twice is set (twice
     * may be NULL) and the first value is returned. */
    const char *(*header)(const tr_request *request, const char *name, bool *twice);
    /* Read up to n bytes of the body: > 0 bytes read, 0 at the end, -1 when the peer is gone or too slow, -2
     * when its chunked coding is broken. Waits at most request_timeout_ms in all. */
    long (*read)(tr_request *request, void *buf, size_t n);
    /* For a streamed body, when a part of it was worked off: the time for the rest begins anew. May be NULL.
     */
    void (*more_time)(tr_request *request);
    void *transport;
};

typedef struct tr_header {
    const char *name; /* static text */
    char value[TR_HEADER_VALUE_MAX];
} tr_header;

typedef struct tr_response {
    int status;
    const char *content_type; /* static text; NULL when there is no body */
    tr_header headers[TR_RESPONSE_HEADERS_MAX];
    int header_count;
    tr_buf body;
    int body_fd; /* >= 0: the body is this file's first body_fd_len bytes, after `body` (which may be empty);
                    closed by tr_response_clear */
    int64_t body_fd_len;
    /* Not NULL: the body, after `body`, is what this writes. It is called once the handler has returned, when
     * what the request changed is durable and nothing else of it is left in memory; not for HEAD. Its length
     * is not announced (RFC 9112, 7.1: chunked). When it fails the connection is ended in the middle, so that
     * the client sees that the body is cut. */
    tr_status (*stream)(void *context, tr_sink_fn write, void *sink, tr_error *err);
    void *stream_context;
    void (*stream_clear)(void *context); /* frees stream_context; may be NULL */
    bool close;                          /* end the connection after this response */
    bool proven; /* the peer has shown who it is: its address waits for a thread before strangers' */
} tr_response;

/* Are these the same field name (RFC 9110, 5.1)? Most differ in their first letter. */
static inline bool tr_same_field(const char *a, const char *b) {
    return ((*a ^ *b) & ~0x20) == 0 && strcasecmp(a, b) == 0;
}

/* No status, no header field, no body. What is in `headers` from header_count on means nothing. */
void tr_response_init(tr_response *response);
/* Set a header (replacing it). A value with CR, LF or NUL, or too long, or one header too many: not set,
 * false. */
bool tr_response_header(tr_response *response, const char *static_name, const char *value);
void tr_response_clear(tr_response *response);

/* What the http layer calls for each request that is HTTP at all. It always fills the response. Thread-safe.
 */
typedef void (*tr_handler)(void *context, tr_request *request, tr_response *response);

#endif
