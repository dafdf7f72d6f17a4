#include "http/server.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "http/http_internal.h"

#define LISTEN_MAX 256
#define ROOM_EACH  32 /* connections that may wait, a thread */
#define ROOM_LEAST 64
#define ROOM_MOST  4096
/* A burst waits with the kernel until the lobby has accepted it: where there is no room, who comes is not
 * told, and tries again after 1, 3 and 7 s. (The kernel bounds it by net.core.somaxconn.) */
#define BACKLOG     "4096"
#define SPARE_FILES 128 /* the databases, the logs, what else the process opens */

/* ---- what CivetWeb asks for ---- */

static int on_log(const struct mg_connection *conn, const char *message) {
    struct mg_context *ctx = mg_get_context(conn);
    tr_http_server *server = ctx ? mg_get_user_data(ctx) : NULL;
    if (server) {
        pthread_mutex_lock(&server->mutex);
        if (server->starting && !server->start_fault[0])
            (void)snprintf(server->start_fault, sizeof server->start_fault, "%s", message);
        pthread_mutex_unlock(&server->mutex);
    }
    return 1; /* and nowhere else: a failed handshake is the peer's affair */
}

/* CivetWeb asks for the context when it starts, and when it would free it. */
static int on_tls_context(void **context, void *user_data) {
    const tr_http_server *server = user_data;
    *context = tr_tls_context(server->tls);
    return 1;
}

/* The lobby takes CivetWeb's listening socket; CivetWeb waits at the lobby's door instead. */
static void open_lobby(tr_http_server *server, const struct mg_context *ctx) {
    tr_error err = {0};
    int listener = tr_civet_swap_listener(ctx, -1);
    tr_status st = tr_lobby_open(listener, server->threads, server->room, server->tls != NULL,
                                 server->head_timeout_ms, &server->lobby, &err);
    int door = st == TR_OK ? tr_lobby_door(server->lobby) : -1;
    (void)tr_civet_swap_listener(ctx, door);
    if (door < 0) {
        (void)snprintf(server->start_fault, sizeof server->start_fault,
                       "no connection can be accepted: %.150s", st == TR_OK ? "no file is left" : err.what);
        tr_lobby_free(server->lobby);
        server->lobby = NULL;
    }
}

/* The addresses are bound, the threads not yet started. */
static void on_bound(const struct mg_context *ctx) {
    struct mg_server_port port;
    tr_http_server *server = mg_get_user_data(ctx);
    if (mg_get_server_ports(ctx, 1, &port) == 1)
        server->port = port.port;
    open_lobby(server, ctx);
}

/* ---- starting ---- */

static bool is_loopback(const char *host, size_t n) {
    static const char *const names[] = {"localhost", "[::1]"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == n && memcmp(names[i], host, n) == 0)
            return true;
    return n >= 4 && memcmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == n;
}

/* HOST:PORT into what CivetWeb calls a listening port. One address only: with several ready at once and an
 * old EAGAIN in errno its accept loop turns without accepting (pi-hole/FTL issue 2959). */
static tr_status listen_text(const tr_http_options *options, char out[LISTEN_MAX], tr_error *err) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]";
    const char *text = options->listen ? options->listen : "";
    const char *colon = strrchr(text, ':');
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    if (!colon || colon == text || digits == 0 || digits > 5 || colon[1 + digits] ||
        atoi(colon + 1) > 65535 || text[strspn(text, allowed)] ||
        (memchr(text, ':', (size_t)(colon - text)) && text[0] != '['))
        return tr_fail(err, TR_E_CONFIG, "listen", "not an address of the form HOST:PORT");
    if (!options->tls && !is_loopback(text, (size_t)(colon - text)))
        return tr_fail(err, TR_E_CONFIG, "listen", "plain HTTP is served on loopback only");
    int n = snprintf(out, LISTEN_MAX, "%s%s", text, options->tls ? "s" : "");
    if (n < 0 || n >= LISTEN_MAX)
        return tr_fail(err, TR_E_CONFIG, "listen", "the address is too long");
    return TR_OK;
}

/* Each connection needs a file. Where there are not enough, fewer may wait. */
static tr_status have_files(int threads, int *room, tr_error *err) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return tr_fail_errno(err, NULL, "getrlimit");
    int least = threads + ROOM_LEAST + SPARE_FILES;
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < (rlim_t)least)
        return tr_fail(err, TR_E_CONFIG, "threads", "needs %d open files, but the process may have only %llu",
                       least, (unsigned long long)limit.rlim_max);
    *room = threads * ROOM_EACH < ROOM_LEAST  ? ROOM_LEAST
            : threads * ROOM_EACH > ROOM_MOST ? ROOM_MOST
                                              : threads * ROOM_EACH;
    rlim_t want = (rlim_t)threads + (rlim_t)*room + SPARE_FILES;
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < want) {
        want = limit.rlim_max;
        *room = (int)want - threads - SPARE_FILES;
    }
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= want)
        return TR_OK;
    limit.rlim_cur = want;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? TR_OK : tr_fail_errno(err, NULL, "setrlimit");
}

/* Many threads answer, each for some 100 us at a time. One that wakes must not push another aside in the
 * midst of that: what the other holds would wait with it (SCHED_BATCH, sched(7)). CivetWeb's threads inherit
 * it from the one that starts them; refused, they serve as well. */
void tr_http_take_turns(void) {
    const struct sched_param none = {0};
    (void)sched_setscheduler(0, SCHED_BATCH, &none);
}

static void init_library(void) {
    (void)mg_init_library(MG_FEATURES_DEFAULT);
}

static tr_status start_civet(tr_http_server *server, const tr_http_options *options, tr_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char listen[LISTEN_MAX], threads[16], queue[16], timeout[24], buffer[16], fault[128] = "";
    tr_status st = listen_text(options, listen, err);
    int queued = options->threads + TR_LOBBY_SHEDDERS; /* in CivetWeb's queue: only those let in */
    if (st == TR_OK)
        st = have_files(queued, &server->room, err);
    if (st != TR_OK)
        return st;
    (void)snprintf(threads, sizeof threads, "%d", queued);
    (void)snprintf(queue, sizeof queue, "%d", queued);
    (void)snprintf(timeout, sizeof timeout, "%lld", (long long)server->head_timeout_ms);
    (void)snprintf(buffer, sizeof buffer, "%d", TR_BUFFER_BYTES);
    /* The wait between requests is ours (connection.c): for CivetWeb each request has begun. */
    const char *const settings[] = {"listening_ports",
                                    listen,
                                    "num_threads",
                                    threads,
                                    "connection_queue",
                                    queue,
                                    "listen_backlog",
                                    BACKLOG,
                                    "request_timeout_ms",
                                    timeout,
                                    "keep_alive_timeout_ms",
                                    timeout,
                                    "enable_keep_alive",
                                    "yes",
                                    "tcp_nodelay",
                                    "1",
                                    "decode_url",
                                    "no",
                                    "max_request_size",
                                    buffer,
                                    NULL};
    const char *copy[sizeof settings / sizeof settings[0]];
    memcpy(copy, settings, sizeof settings);
    struct mg_callbacks callbacks = {.begin_request = tr_on_request,
                                     .http_error = tr_on_error,
                                     .init_connection = tr_on_open,
                                     .connection_close = tr_on_close,
                                     .log_message = on_log,
                                     .init_context = on_bound,
                                     .exit_context = tr_civet_close_queue,
                                     .external_ssl_ctx = options->tls ? on_tls_context : NULL};
    struct mg_init_data init = {.callbacks = &callbacks, .user_data = server, .configuration_options = copy};
    struct mg_error_data error = {.text = fault, .text_buffer_size = sizeof fault};
    pthread_once(&once, init_library);
    tr_http_take_turns();
    server->starting = true;
    server->civet = mg_start2(&init, &error);
    pthread_mutex_lock(&server->mutex);
    server->starting = false;
    pthread_mutex_unlock(&server->mutex);
    if (!server->civet || !server->lobby)
        return tr_fail(err, TR_E_CONFIG, "listen", "%s",
                       server->start_fault[0] ? server->start_fault : fault);
    if (server->start_fault[0]) /* it serves, but with fewer threads than asked for */
        tr_log(TR_LOG_WARN, "http_start", TR_F_TEXT("detail", server->start_fault));
    return TR_OK;
}

static tr_status init_events(tr_http_server *server, tr_error *err) {
    server->drain_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->abort_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->drain_event < 0 || server->abort_event < 0)
        return tr_fail_errno(err, NULL, "eventfd");
    return TR_OK;
}

tr_status tr_http_start(const tr_http_options *options, tr_http_server **out, tr_error *err) {
    tr_status st = TR_OK;
    *out = NULL;
    if (!options->handler || options->threads < 1 || options->request_timeout_ms < 1 ||
        options->idle_timeout_ms < 1)
        return tr_fail(err, TR_E_CONFIG, NULL, "the server needs a handler, a thread and time-outs above 0");
    tr_http_server *server = calloc(1, sizeof *server);
    if (!server)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    server->drain_event = server->abort_event = -1;
    server->mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    server->changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    server->handler = options->handler;
    server->context = options->context;
    server->request_timeout_ms = options->request_timeout_ms;
    server->head_timeout_ms =
        options->request_timeout_ms < TR_HEAD_MAX_MS ? options->request_timeout_ms : TR_HEAD_MAX_MS;
    server->threads = options->threads;
    server->idle_timeout_ms = options->idle_timeout_ms;
    TR_TRY(init_events(server, err));
    if (options->tls)
        TR_TRY(tr_tls_new(options->cert_file, options->key_file, &server->tls, err));
    TR_TRY(start_civet(server, options, err));
    *out = server;
    server = NULL;
out:
    tr_http_stop(server);
    return st;
}

int tr_http_port(const tr_http_server *server) {
    return server->port;
}

tr_status tr_http_reload_tls(tr_http_server *server, tr_error *err) {
    return server->tls ? tr_tls_reload(server->tls, err) : TR_OK;
}

/* ---- stopping ---- */

static void raise_event(int event) {
    uint64_t one = 1;
    if (event >= 0 && write(event, &one, sizeof one) != (ssize_t)sizeof one)
        tr_log(TR_LOG_ERROR, "http_event_failed", TR_F_NUM("errno", errno));
}

static void *run_stop(void *argument) {
    tr_http_server *server = argument;
    mg_stop(server->civet);
    pthread_mutex_lock(&server->mutex);
    server->stopped = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

/* From now on CivetWeb accepts nothing, and its threads end as their requests do. */
static bool begin_stop(tr_http_server *server) {
    atomic_store(&server->draining, true);
    raise_event(server->drain_event);
    tr_lobby_shut(server->lobby);
    if (!server->stopping && server->civet)
        server->stopping = pthread_create(&server->stopper, NULL, run_stop, server) == 0;
    return server->stopping;
}

int tr_http_drain(tr_http_server *server, int64_t timeout_ms) {
    struct timespec until;
    bool stopping = begin_stop(server);
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(timeout_ms / 1000);
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&server->mutex);
    while (stopping && !server->stopped)
        if (pthread_cond_clockwait(&server->changed, &server->mutex, CLOCK_MONOTONIC, &until) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&server->mutex);
    return atomic_load(&server->active);
}

void tr_http_stop(tr_http_server *server) {
    if (!server)
        return;
    raise_event(server->abort_event);
    if (begin_stop(server))
        (void)pthread_join(server->stopper, NULL);
    else
        mg_stop(server->civet);
    tr_lobby_free(server->lobby);
    tr_tls_free(server->tls);
    if (server->drain_event >= 0)
        (void)close(server->drain_event);
    if (server->abort_event >= 0)
        (void)close(server->abort_event);
    (void)pthread_cond_destroy(&server->changed);
    (void)pthread_mutex_destroy(&server->mutex);
    free(server);
}

void tr_http_get_stats(const tr_http_server *server, tr_http_stats *out) {
    out->connections = atomic_load(&server->connections);
    out->requests = atomic_load(&server->requests);
    out->responses_4xx = atomic_load(&server->responses_4xx);
    out->responses_5xx = atomic_load(&server->responses_5xx);
    out->active = atomic_load(&server->active);
    tr_lobby_get_stats(server->lobby, &out->lobby);
}
