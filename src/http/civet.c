/* CivetWeb compiled as a part of this file, so that the socket, the TLS object and the bytes already read can
 * be reached without a patch and without a copy of its structures. The version is pinned by cmake/deps.sh:
 * should a field be renamed, this file stops compiling.
 */
#define NO_SSL_DL
#define OPENSSL_API_3_0
#define NO_CGI
#define NO_FILES
#define NO_CACHING
#define USE_IPV6
#ifndef NDEBUG
#define NDEBUG
#endif
/* How long, in ms, CivetWeb's own waits may last before they look whether the server is to stop. */
#define SOCKET_TIMEOUT_QUANTUM (200)

/* It takes connections from the lobby: `ctx` is what its accepting function calls the context. */
#include <sys/socket.h>
struct mg_context;
int tr_on_accept(const struct mg_context *ctx, int fd, struct sockaddr *peer, socklen_t *len);
#define accept(fd, peer, len) tr_on_accept(ctx, fd, peer, len)

#include <../src/civetweb.c>

#include "http/civet.h"

#include "base/secret.h"

int tr_civet_socket(const struct mg_connection *conn) {
    return conn->client.sock;
}

SSL *tr_civet_ssl(const struct mg_connection *conn) {
    return conn->ssl;
}

struct mg_connection *tr_civet_writable(const struct mg_connection *conn) {
    return &conn->phys_ctx->worker_connections[conn - conn->phys_ctx->worker_connections];
}

void tr_civet_head(const struct mg_connection *conn, char **start, char **end) {
    *start = conn->buf;
    *end = conn->buf + conn->request_len;
}

void tr_civet_input(const struct mg_connection *conn, char **bytes, size_t *len, size_t *cap) {
    *bytes = conn->buf + conn->request_len;
    *len = (size_t)(conn->data_len - conn->request_len);
    *cap = (size_t)(conn->buf_size - conn->request_len);
}

void tr_civet_settle(struct mg_connection *conn, size_t input_len, bool keep) {
    conn->data_len = conn->request_len + (int)input_len;
    conn->is_chunked = 0;
    conn->content_len = 0;
    conn->consumed_content = 0;
    conn->protocol_type = PROTOCOL_TYPE_HTTP1; /* an Upgrade header is ignored (RFC 9110, 7.8) */
    conn->must_close = !keep;
}

bool tr_civet_head_overflows(const struct mg_connection *conn) {
    return conn->request_len <= 0 && conn->data_len == conn->buf_size;
}

void tr_civet_wipe(struct mg_connection *conn) {
    if (conn->buf)
        tr_wipe(conn->buf, (size_t)conn->buf_size);
}

int64_t tr_civet_age_ms(const struct mg_connection *conn) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)(now.tv_sec - conn->req_time.tv_sec) * 1000 +
           (now.tv_nsec - conn->req_time.tv_nsec) / 1000000;
}

int tr_civet_served(const struct mg_connection *conn) {
    return conn->handled_requests;
}

bool tr_civet_keep_alive(const struct mg_connection *conn) {
    return should_keep_alive(conn) != 0;
}

bool tr_civet_unanswered(const struct mg_connection *conn) {
    bool open = conn->client.is_ssl ? conn->ssl != NULL : true;
    return open && conn->request_len > 0 && conn->request_info.request_uri && !conn->request_info.local_uri &&
           conn->status_code == -1;
}

bool tr_civet_stopping(const struct mg_connection *conn) {
    return !STOP_FLAG_IS_ZERO(&conn->phys_ctx->stop_flag);
}

int tr_civet_swap_listener(const struct mg_context *ctx, int fd) {
    int listener = ctx->listening_sockets[0].sock;
    ctx->listening_sockets[0].sock = fd;
    return listener;
}

/* A worker that sees the stop flag takes one more connection from the queue and forgets it. */
void tr_civet_close_queue(const struct mg_context *ctx) {
    for (unsigned i = 0; i < ctx->cfg_worker_threads; i++) {
        const struct socket *taken = &ctx->worker_connections[i].client;
        if (taken->sock > 0 && taken->rsa.sa.sa_family != AF_UNSPEC)
            (void)close(taken->sock);
    }
    for (int i = ctx->sq_tail; i < ctx->sq_head; i++)
        (void)close(ctx->squeue[i % ctx->sq_size].sock);
}
