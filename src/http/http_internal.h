/* What the files of this layer share. */
#ifndef TR_HTTP_INTERNAL_H
#define TR_HTTP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "http/civet.h"
#include "http/lobby.h"
#include "http/server.h"
#include "http/wire.h"

#define TR_BUFFER_BYTES   32768 /* of a connection: the head, then the window on the body */
#define TR_HEAD_MAX_BYTES 24576
#define TR_HEAD_MAX_MS    10000
#define TR_DRAIN_MAX      ((size_t)64 * 1024)

typedef struct tr_tls tr_tls;

struct tr_http_server {
    struct mg_context *civet;
    tr_tls *tls; /* NULL: plain */
    tr_lobby *lobby;
    int threads, room; /* room: for connections that wait for one */
    tr_handler handler;
    void *context;
    int64_t request_timeout_ms, idle_timeout_ms;
    int64_t head_timeout_ms; /* a handshake, and a head, have no more than this of the request's time */
    int port;
    int drain_event; /* eventfd: idle connections end */
    int abort_event; /* eventfd: all connections end */
    atomic_bool draining;
    atomic_ullong connections, requests, responses_4xx, responses_5xx;
    atomic_int active;
    atomic_bool awake; /* a thread waits for its client without sleeping */

    pthread_mutex_t mutex;  /* guards what follows */
    pthread_cond_t changed; /* stopped */
    bool stopping;          /* `stopper` runs mg_stop */
    bool stopped;           /* ... and it has returned */
    pthread_t stopper;
    bool starting;
    char start_fault[200]; /* what CivetWeb said while starting */
};

/* ---- the head ---- */

/* How the body is delimited (RFC 9112, 6.3). */
typedef struct tr_framing {
    bool chunked;
    int64_t length; /* -1 when chunked or absent */
    bool expects_continue;
    bool says_close; /* any Connection header has "close" */
} tr_framing;

/* Judge the head CivetWeb let through by the bytes it was parsed from. Values lose their trailing white
 * space. NULL: it is good; else what is wrong, and *status. */
const char *tr_head_check(const struct mg_connection *conn, tr_framing *framing, tr_status *status);
/* CivetWeb refused the head, but only because it does not know the method: method and target are good. */
bool tr_head_unknown_method(const struct mg_connection *conn);
const char *tr_head_find(const struct mg_request_info *info, const char *name, bool *twice);

/* ---- the body ---- */

typedef enum tr_chunk_state {
    TR_CHUNK_SIZE,
    TR_CHUNK_DATA,
    TR_CHUNK_DATA_END,
    TR_CHUNK_TRAILER
} tr_chunk_state;

typedef struct tr_body {
    const tr_wire *wire;
    char *input; /* CivetWeb's buffer behind the head: what came with it, then our window */
    size_t pos, len, cap;
    tr_budget budget;
    bool chunked, done, broken, gone;
    int64_t left; /* of the body, or of the chunk */
    tr_chunk_state chunk;
    bool continue_owed; /* the peer waits for "100 Continue" */
} tr_body;

void tr_body_init(tr_body *body, const tr_wire *wire, const struct mg_connection *conn,
                  const tr_framing *framing, tr_budget budget);
/* As tr_request.read. */
long tr_body_read(tr_body *body, void *buf, size_t n);
/* Can the unread rest be read past cheaply? (For a chunked one only trying tells.) */
bool tr_body_drainable(const tr_body *body);
/* Read past it. False: the connection cannot be used again. */
bool tr_body_drain(tr_body *body);
/* Move what follows the body to the front of CivetWeb's rest; its length. */
size_t tr_body_leftover(tr_body *body);

/* ---- the answer ---- */

typedef struct tr_exchange {
    tr_http_server *server;
    struct mg_connection *conn;
    tr_guest *guest;
    const struct mg_request_info *info;
    tr_wire wire;
    tr_request request;
    tr_body body;
    bool keep;
    bool sent; /* the answer went out whole */
} tr_exchange;

/* Send the answer. x->keep says whether the connection goes on, and is set to false where the response or a
 * failed write ends it. */
void tr_respond(tr_exchange *x, tr_response *response);
/* Make it a problem document (RFC 9457). */
void tr_problem(tr_response *response, const tr_uuid *id, tr_status status, const char *detail);

/* Before CivetWeb starts: its threads do not push each other aside (server.c). */
void tr_http_take_turns(void);

/* ---- one connection's life, as CivetWeb tells it (connection.c) ---- */
int tr_on_request(struct mg_connection *conn);
int tr_on_error(struct mg_connection *conn, int status, const char *message);
int tr_on_open(const struct mg_connection *conn, void **data);
/* In accept's place. */
int tr_on_accept(const struct mg_context *ctx, int fd, struct sockaddr *peer, socklen_t *len);
void tr_on_close(const struct mg_connection *conn);

/* ---- TLS (tls.c) ---- */
tr_status tr_tls_new(const char *cert_file, const char *key_file, tr_tls **out, tr_error *err);
tr_status tr_tls_reload(tr_tls *tls, tr_error *err);
SSL_CTX *tr_tls_context(const tr_tls *tls);
void tr_tls_free(tr_tls *tls);

#endif
