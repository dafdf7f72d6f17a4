/* A server with a small handler for the tests of the http layer. */
#ifndef TR_TEST_HTTP_SERVER_H
#define TR_TEST_HTTP_SERVER_H

#include "http_client.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/server.h"

#define BIG_BYTES ((size_t)3 * 1000 * 1000)

typedef struct fixture {
    char folder[64], cert[96], key[96];
    tr_http_server *server;
    int port;
    bool tls;
    /* for /block */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int blocked;
    bool release;
    atomic_long last_read; /* the last result of read() in /echo */
} fixture;

static inline void handle_info(tr_request *q, tr_response *r) {
    bool twice = false;
    const char *value = q->header(q, "x-tEST", &twice);
    char id[TR_UUID_TEXT];
    tr_uuid_format(&q->id, id);
    tr_buf_printf(&r->body, "%s|%s|%s|%s|%d|%lld|%s|%d|%s", q->method, q->path, q->query, q->peer,
                  q->has_body, (long long)q->content_length, value ? value : "-", twice, id);
}

static inline void handle_echo(fixture *f, tr_request *q, tr_response *r) {
    char part[5000];
    long n;
    while ((n = q->read(q, part, sizeof part)) > 0)
        tr_buf_append(&r->body, part, (size_t)n);
    atomic_store(&f->last_read, n);
    if (n < 0) {
        tr_buf_reset(&r->body);
        r->status = n == -2 ? 400 : 408;
        r->close = true;
    }
}

static inline void handle_block(fixture *f) {
    pthread_mutex_lock(&f->mutex);
    f->blocked++;
    pthread_cond_broadcast(&f->changed);
    while (!f->release)
        pthread_cond_wait(&f->changed, &f->mutex);
    f->blocked--;
    pthread_mutex_unlock(&f->mutex);
}

static inline void handle_big(tr_response *r) {
    for (size_t i = 0; i < BIG_BYTES / 10; i++)
        tr_buf_append(&r->body, "0123456789", 10);
}

static inline void handle_file(const fixture *f, tr_response *r) {
    tr_buf_puts(&r->body, "before:");
    r->body_fd = open(f->cert, O_RDONLY);
    r->body_fd_len = 27;
}

/* How many streams' contexts were given back. */
static atomic_int streams_cleared;

static inline void clear_stream(void *context) {
    free(context);
    atomic_fetch_add(&streams_cleared, 1);
}

/* Pieces of growing size, 0123...; "/stream/cut" fails in the middle, "/stream/none" writes nothing. */
static inline tr_status write_stream(void *context, tr_sink_fn write, void *sink, tr_error *err) {
    const char *path = context;
    char digits[40000] = {0};
    size_t done = 0, total = strcmp(path, "/stream/none") == 0 ? 0 : BIG_BYTES;
    tr_status st = write(sink, digits, 0, err); /* nothing: no end either */
    for (size_t piece = 1; st == TR_OK && done < total; piece = piece * 7 % 39989) {
        size_t n = piece < total - done ? piece : total - done;
        for (size_t i = 0; i < n; i++)
            digits[i] = (char)('0' + (done + i) % 10);
        st = write(sink, digits, n, err);
        done += n;
        if (strcmp(path, "/stream/cut") == 0 && done > BIG_BYTES / 2)
            return tr_fail(err, TR_E_CORRUPT, NULL, "cut for the test");
    }
    return st;
}

static inline void handle_stream(const tr_request *q, tr_response *r) {
    r->stream = write_stream;
    r->stream_context = strdup(q->path);
    r->stream_clear = clear_stream;
}

static inline void test_handler(void *context, tr_request *q, tr_response *r) {
    fixture *f = context;
    r->status = 200;
    r->content_type = "text/plain";
    if (strcmp(q->path, "/echo") == 0)
        handle_echo(f, q, r);
    else if (strcmp(q->path, "/block") == 0)
        handle_block(f);
    else if (strcmp(q->path, "/big") == 0)
        handle_big(r);
    else if (strcmp(q->path, "/file") == 0)
        handle_file(f, r);
    else if (strncmp(q->path, "/stream", 7) == 0)
        handle_stream(q, r);
    else if (strcmp(q->path, "/proven") == 0)
        r->proven = true;
    else if (strcmp(q->path, "/none") == 0)
        r->status = 204;
    else if (strcmp(q->path, "/same") == 0)
        r->status = 304;
    else if (strcmp(q->path, "/early") == 0)
        r->status = 413;
    else if (strcmp(q->path, "/close") == 0)
        r->close = true;
    else if (strcmp(q->path, "/nothing") == 0)
        r->status = 0;
    else if (strcmp(q->path, "/own") == 0) {
        (void)tr_response_header(r, "cache-control", "max-age=60");
        (void)tr_response_header(r, "Content-Security-Policy", "default-src 'self'");
    } else
        handle_info(q, r);
}

static inline void start_with(fixture *f, bool tls, tr_http_options more) {
    tr_error err = {0};
    f->tls = tls;
    more.listen = more.listen ? more.listen : "127.0.0.1:0";
    more.tls = tls;
    more.cert_file = f->cert;
    more.key_file = f->key;
    more.threads = more.threads ? more.threads : 8;
    more.request_timeout_ms = more.request_timeout_ms ? more.request_timeout_ms : 10000;
    more.idle_timeout_ms = more.idle_timeout_ms ? more.idle_timeout_ms : 10000;
    more.handler = test_handler;
    more.context = f;
    if (tr_http_start(&more, &f->server, &err) != TR_OK)
        fail_msg("start: %s %s", err.where, err.what);
    f->port = tr_http_port(f->server);
    assert_true(f->port > 0);
}

static inline int fixture_new(void **state) {
    bool made = false;
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tr_log_set_fd(2);
    f->mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    f->changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    (void)snprintf(f->folder, sizeof f->folder, "/tmp/tresor-http-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    (void)snprintf(f->cert, sizeof f->cert, "%s/tls.pem", f->folder);
    (void)snprintf(f->key, sizeof f->key, "%s/tls.key", f->folder);
    assert_int_equal(tr_tls_self_signed(f->cert, f->key, &made, NULL), TR_OK);
    assert_true(made);
    *state = f;
    return 0;
}

static inline void release_blocked(fixture *f) {
    pthread_mutex_lock(&f->mutex);
    f->release = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->mutex);
}

static inline void await_blocked(fixture *f, int n) {
    pthread_mutex_lock(&f->mutex);
    while (f->blocked < n)
        pthread_cond_wait(&f->changed, &f->mutex);
    pthread_mutex_unlock(&f->mutex);
}

static inline int fixture_free(void **state) {
    fixture *f = *state;
    struct dirent *entry;
    char path[512];
    release_blocked(f);
    tr_http_stop(f->server);
    DIR *dir = opendir(f->folder);
    while (dir && (entry = readdir(dir)) != NULL) {
        (void)snprintf(path, sizeof path, "%s/%s", f->folder, entry->d_name);
        (void)unlink(path);
    }
    if (dir)
        closedir(dir);
    (void)rmdir(f->folder);
    free(f);
    return 0;
}

static inline client connect_client(const fixture *f) {
    return f->tls ? client_tls(f->port) : client_plain(f->port);
}

/* CPU time of this process, in ms. */
static inline int64_t cpu_ms(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
           (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

#endif
