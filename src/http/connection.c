/* One connection's life: CivetWeb calls when it opens, for each request, for each head it refuses, and when
 * it closes. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>

#include "base/clock.h"
#include "http/http_internal.h"

/* While others wait, a connection gives up its thread after this many requests. */
#define TURN_REQUESTS 32

/* Who sends its next request within this time finds its thread awake: a processor that was put to rest takes
 * some 50 us to come back, a sixth of a lone client's read. One thread at a time stays awake, while no
 * request runs and nobody else wants the processor, and only for a client that was as quick the last time. */
#define AWAKE_US 150

static long read_body(tr_request *request, void *buf, size_t n) {
    tr_exchange *x = request->transport;
    return tr_body_read(&x->body, buf, n);
}

static void give_more_time(tr_request *request) {
    tr_exchange *x = request->transport;
    x->body.budget = x->server->request_timeout_ms * 1000;
}

static const char *find_header(const tr_request *request, const char *name, bool *twice) {
    const tr_exchange *x = request->transport;
    return tr_head_find(x->info, name, twice);
}

static void begin(tr_exchange *x, struct mg_connection *conn) {
    tr_http_server *server = mg_get_user_data(mg_get_context(conn));
    const struct mg_request_info *info = mg_get_request_info(conn);
    *x = (tr_exchange){.server = server,
                       .conn = conn,
                       .guest = mg_get_user_connection_data(conn),
                       .info = info,
                       .wire = {tr_civet_socket(conn), tr_civet_ssl(conn), server->abort_event},
                       .request = {.method = "",
                                   .path = "/",
                                   .query = "",
                                   .peer = info->remote_addr,
                                   .id = tr_uuid_new(),
                                   .content_length = -1,
                                   .header = find_header,
                                   .read = read_body,
                                   .more_time = give_more_time}};
    x->request.transport = x;
    x->body.done = true;
    atomic_fetch_add(&server->requests, 1);
    atomic_fetch_add(&server->active, 1);
    tr_lobby_mark(x->guest, TR_GUEST_BUSY);
}

static void end(tr_exchange *x) {
    atomic_fetch_sub(&x->server->active, 1);
}

static void refuse(tr_exchange *x, tr_status status, const char *detail) {
    tr_response response;
    tr_response_init(&response);
    x->keep = false;
    tr_problem(&response, &x->request.id, status, detail);
    tr_respond(x, &response);
    tr_response_clear(&response);
}

static void handle(tr_exchange *x) {
    __attribute__((uninitialized)) tr_response response; /* tr_response_init does what is needed */
    tr_response_init(&response);
    x->server->handler(x->server->context, &x->request, &response);
    x->keep = x->keep && tr_body_drainable(&x->body) && !atomic_load(&x->server->draining);
    if (response.proven)
        tr_lobby_prove(x->guest);
    tr_respond(x, &response);
    tr_response_clear(&response);
}

/* Has this connection had its turn, while others wait for a thread? */
static bool crowded(const tr_exchange *x) {
    return tr_lobby_evicted(x->guest) ||
           (tr_civet_served(x->conn) >= TURN_REQUESTS && tr_lobby_crowded(x->server->lobby));
}

/* As poll, but a signal is no end of waiting. */
static int poll_both(struct pollfd fds[2], int64_t ms) {
    int n = poll(fds, 2, (int)ms);
    return n < 0 && errno == EINTR ? 0 : n;
}

/* What poll says, or 0: nothing has come. */
static int stay_awake(tr_http_server *server, struct pollfd fds[2]) {
    int n = 0;
    if (atomic_load(&server->active) > 0 || atomic_exchange(&server->awake, true))
        return 0;
    int64_t until = tr_monotonic_us() + AWAKE_US;
    while (n == 0 && atomic_load(&server->active) == 0 && tr_monotonic_us() < until) {
        (void)sched_yield();
        n = poll_both(fds, 0);
    }
    atomic_store(&server->awake, false);
    return n;
}

/* Wait for the next request's first byte. False: none came. (When the thread is needed for others, the lobby
 * ends what can be read.) */
static bool await_next(const tr_exchange *x) {
    if (x->body.len > 0 || (x->wire.ssl && SSL_pending(x->wire.ssl) > 0))
        return true;
    struct pollfd fds[2] = {{.fd = x->wire.fd, .events = POLLIN},
                            {.fd = x->server->drain_event, .events = POLLIN}};
    int64_t began = tr_monotonic_us(), until = began + x->server->idle_timeout_ms * 1000;
    int n = tr_lobby_is_quick(x->guest) ? stay_awake(x->server, fds) : 0;
    for (int64_t left; n == 0 && (left = until - tr_monotonic_us()) > 0;)
        n = poll_both(fds, (left + 999) / 1000);
    tr_lobby_note_quick(x->guest, tr_monotonic_us() - began <= AWAKE_US);
    return n > 0 && fds[1].revents == 0;
}

/* What has come of the next request: CivetWeb, which would wait for it once more, finds it there. 0 at an end
 * too: CivetWeb meets that again. */
static size_t read_ready(tr_exchange *x) {
    tr_budget none = 0;
    long n = x->body.cap > 0 ? tr_wire_read(&x->wire, x->body.input, x->body.cap, &none) : 0;
    return n > 0 ? (size_t)n : 0;
}

/* The answer is out: make the connection ready for the next request, or let it end. */
static void settle(tr_exchange *x, bool peer_goes_on) {
    bool keep = x->keep && tr_body_drain(&x->body);
    size_t leftover = keep ? tr_body_leftover(&x->body) : 0;
    if (keep) {
        tr_lobby_mark(x->guest, TR_GUEST_IDLE);
        keep = await_next(x);
    } else if (x->sent && (peer_goes_on || !x->body.done)) {
        tr_wire_linger(&x->wire);
    }
    if (keep)
        tr_lobby_mark(x->guest, TR_GUEST_HEAD);
    if (keep && leftover == 0)
        leftover = read_ready(x);
    tr_civet_settle(x->conn, leftover, keep);
}

int tr_on_request(struct mg_connection *conn) {
    tr_exchange x;
    tr_framing framing;
    tr_status status;
    begin(&x, conn);
    const char *fault = tr_head_check(conn, &framing, &status);
    bool peer_goes_on = fault || (!framing.says_close && tr_civet_keep_alive(conn));
    if (tr_lobby_shed(x.guest)) {
        /* Others wait to be told the same: a peer that has nothing more to send is not waited for. */
        x.body.done = !fault && !framing.chunked && framing.length <= 0;
        peer_goes_on = fault != NULL;
        refuse(&x, TR_E_BUSY, "all threads are at work");
    } else if (fault) {
        refuse(&x, status, fault);
    } else {
        x.request.method = x.info->request_method;
        x.request.path = x.info->request_uri;
        x.request.query = x.info->query_string ? x.info->query_string : "";
        x.request.content_length = framing.length;
        x.request.has_body = framing.chunked || framing.length > 0;
        x.keep = peer_goes_on && !tr_civet_stopping(conn) && !crowded(&x);
        int64_t left_ms = x.server->request_timeout_ms - tr_civet_age_ms(conn);
        tr_body_init(&x.body, &x.wire, conn, &framing, left_ms > 0 ? left_ms * 1000 : 0);
        handle(&x);
    }
    end(&x);
    settle(&x, peer_goes_on);
    return 200; /* CivetWeb only wants to know that it was handled */
}

/* Path and query of a target that CivetWeb has not split. */
static void split_target(tr_exchange *x) {
    char *start, *head_end;
    tr_civet_head(x->conn, &start, &head_end);
    char *target = start + (x->info->request_uri - start);
    char *mark = strchr(target, '?');
    if (mark)
        *mark++ = '\0';
    x->request.method = x->info->request_method;
    x->request.path = target;
    x->request.query = mark ? mark : "";
}

int tr_on_error(struct mg_connection *conn, int status, const char *message) {
    (void)message;
    tr_exchange x;
    begin(&x, conn);
    bool parsed = x.info->request_method != NULL;
    if (!parsed && tr_civet_head_overflows(conn))
        refuse(&x, TR_E_HEADERS, "the request line and the header fields are too large");
    else if (!parsed && tr_civet_stopping(conn))
        refuse(&x, TR_E_DRAINING, "no new requests are taken");
    else if (!parsed && tr_lobby_evicted(x.guest))
        refuse(&x, TR_E_BUSY, "the header fields came too slowly while others waited");
    else if (!parsed && tr_civet_age_ms(conn) >= x.server->head_timeout_ms)
        refuse(&x, TR_E_TIMEOUT, "the header fields did not arrive in time");
    else if (status == 400 && tr_head_unknown_method(conn)) {
        /* The API says which methods a path has. Neither header fields nor a body are looked at. */
        split_target(&x);
        handle(&x);
    } else
        refuse(&x, TR_E_BAD_REQUEST, "the request is not HTTP/1.1 as RFC 9112 has it");
    end(&x);
    if (x.sent)
        tr_wire_linger(&x.wire);
    return 0; /* answered; CivetWeb ends the connection */
}

int tr_on_accept(const struct mg_context *ctx, int fd, struct sockaddr *peer, socklen_t *len) {
    const tr_http_server *server = mg_get_user_data(ctx);
    return server ? tr_lobby_take(server->lobby, peer, len) : accept(fd, peer, len); /* tests/tools/floor.c */
}

int tr_on_open(const struct mg_connection *conn, void **data) {
    tr_http_server *server = mg_get_user_data(mg_get_context(conn));
    *data = tr_lobby_find(server->lobby, tr_civet_socket(conn));
    atomic_fetch_add(&server->connections, 1);
    return 0;
}

void tr_on_close(const struct mg_connection *closing) {
    struct mg_connection *conn = tr_civet_writable(closing);
    if (tr_civet_unanswered(conn)) {
        tr_exchange x;
        begin(&x, conn);
        refuse(&x, TR_E_BAD_REQUEST, "the request's target must be a path");
        end(&x);
        if (x.sent)
            tr_wire_linger(&x.wire);
    }
    tr_civet_wipe(conn);
    tr_http_server *server = mg_get_user_data(mg_get_context(conn));
    tr_lobby_leave(server->lobby, tr_civet_socket(conn));
}
