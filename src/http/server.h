/* The HTTP server: the only code that knows CivetWeb. HTTP/1.1 over TLS 1.2 and 1.3 (or plain, on loopback
 * only).
 *
 * It parses, limits, hands each request to one handler and sends the response. It adds to every response:
 * X-Request-Id, Date, the fields of the table in respond.c (no caching, nothing sniffed, framed or referred
 * to; a handler's own value takes the place of one), Content-Length (also for HEAD, whose body is not sent; a
 * streamed body is chunked instead). What CivetWeb itself would answer (bad request line, header too large,
 * time-out) goes out as a problem document (RFC 9457) too. A request whose body the handler did not read to
 * the end: up to 64 KiB are drained, else the connection is closed.
 */
#ifndef TR_HTTP_SERVER_H
#define TR_HTTP_SERVER_H

#include "api/message.h"
#include "base/status.h"
#include "http/lobby.h"

typedef struct tr_http_server tr_http_server;

typedef struct tr_http_options {
    const char *listen; /* HOST:PORT; port 0: any free one */
    bool tls;
    const char *cert_file;      /* PEM chain */
    const char *key_file;       /* PEM key */
    int threads;                /* connections served at once */
    int64_t request_timeout_ms; /* from the first byte of a request to the last of its body */
    int64_t idle_timeout_ms;    /* keep-alive */
    tr_handler handler;
    void *context;
} tr_http_options;

/* Listen and serve. TR_E_CONFIG names what is wrong (address in use, unreadable or mismatched certificate).
 */
tr_status tr_http_start(const tr_http_options *options, tr_http_server **out, tr_error *err);
/* The port really listened on. */
int tr_http_port(const tr_http_server *server);
/* Take the certificate and key files anew for connections from now on; on failure the old ones stay. */
tr_status tr_http_reload_tls(tr_http_server *server, tr_error *err);
/* Stop accepting, answer what is running with Connection: close, wait up to timeout_ms for it. Returns how
 * many requests were still running when it gave up. */
int tr_http_drain(tr_http_server *server, int64_t timeout_ms);
void tr_http_stop(tr_http_server *server);

/* Make a self-signed certificate (ECDSA P-256, 397 days, SAN: localhost, 127.0.0.1, ::1 and this host's name)
 * and its key, 0600, where neither file exists. TR_E_CONFIG when only one of them does. */
tr_status tr_tls_self_signed(const char *cert_file, const char *key_file, bool *made, tr_error *err);
/* Do certificate and key load and fit together; *expires_ms is the leaf's end. */
tr_status tr_tls_check(const char *cert_file, const char *key_file, int64_t *expires_ms, tr_error *err);

/* Counters for /metrics. */
typedef struct tr_http_stats {
    uint64_t connections, requests, responses_4xx, responses_5xx;
    int active;
    tr_lobby_stats lobby;
} tr_http_stats;
void tr_http_get_stats(const tr_http_server *server, tr_http_stats *out);

#endif
