/* floor: what the machine gives without Tresor, for tests/bench to compare with. The same libraries, built by
 * the same preset.
 *
 *   floor serve DIR THREADS BYTES
 *       CivetWeb answers each request with the same BYTES bytes, head included, on a free port of the
 *       loopback interface, with the server's TLS settings and a certificate that it makes in DIR. Prints
 *       {"port":N}; SIGTERM ends it.
 *   floor commit FILE SECONDS ROWS ENTRY [RECORD]
 *       SQLCipher with a raw key, in a new FILE: durable commits, one after the other, of ROWS times what a
 *       request writes: a session's row and an audit entry of ENTRY bytes; with RECORD, also a new record
 *       with a payload of so many bytes. Prints one JSON object.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <sqlite3.h>

#include "base/clock.h"
#include "base/secret.h"
#include "http/http_internal.h"

/* OpenSSL's generators, two a thread, are in it: a thread that finds no room breaks each connection it gets.
 */
#define HEAP_BYTES   (1024 * 1024)
#define SESSIONS     256
#define BLOB_MAX     65536
#define COMMITS_MAX  2000000
#define CACHE_PRAGMA "PRAGMA cache_size = -16384"

static int fail(const char *what, const char *why) {
    fprintf(stderr, "floor: %s: %s\n", what, why);
    return 1;
}

/* ---- serve ---- */

static struct {
    char *bytes;
    size_t len;
} answer;

static bool make_answer(size_t len) {
    static const char head[] =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: "
        "keep-alive\r\n\r\n";
    char text[sizeof head + 16];
    size_t digits = 0, head_len = 0;
    for (size_t i = 0; i < 2; i++) { /* the length of the length counts too */
        head_len = sizeof head - 1 - 3 + digits;
        digits = (size_t)snprintf(text, sizeof text, "%zu", len > head_len ? len - head_len : 0);
    }
    head_len = sizeof head - 1 - 3 + digits;
    if (len <= head_len || !(answer.bytes = malloc(len)))
        return false;
    memset(answer.bytes, 'x', len);
    int n = snprintf(text, sizeof text, head, len - head_len);
    memcpy(answer.bytes, text, (size_t)n);
    answer.len = len;
    return true;
}

static int on_request(struct mg_connection *conn) {
    return mg_write(conn, answer.bytes, answer.len) == (int)answer.len ? 200 : 500;
}

static tr_tls *tls;

static int on_tls_context(void **context, void *none) {
    (void)none;
    *context = tr_tls_context(tls);
    return 1;
}

static int serve(const char *dir, const char *threads, size_t len) {
    char cert[512], key[512], buffer[16];
    bool made;
    tr_error err = {0};
    sigset_t ends;
    int sig;
    (void)snprintf(cert, sizeof cert, "%s/tls.pem", dir);
    (void)snprintf(key, sizeof key, "%s/tls.key", dir);
    (void)snprintf(buffer, sizeof buffer, "%d", TR_BUFFER_BYTES);
    if (!make_answer(len))
        return fail("serve", "an answer needs more bytes for its head");
    if (tr_secret_init_heap(HEAP_BYTES, &err) != TR_OK ||
        tr_tls_self_signed(cert, key, &made, &err) != TR_OK || tr_tls_new(cert, key, &tls, &err) != TR_OK)
        return fail("serve", err.what);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    /* As src/http/server.c has them. */
    const char *settings[] = {"listening_ports",
                              "127.0.0.1:0s",
                              "num_threads",
                              threads,
                              "connection_queue",
                              "256",
                              "listen_backlog",
                              "4096",
                              "request_timeout_ms",
                              "10000",
                              "keep_alive_timeout_ms",
                              "10000",
                              "enable_keep_alive",
                              "yes",
                              "tcp_nodelay",
                              "1",
                              "decode_url",
                              "no",
                              "max_request_size",
                              buffer,
                              NULL};
    struct mg_callbacks callbacks = {.begin_request = on_request, .external_ssl_ctx = on_tls_context};
    mg_init_library(MG_FEATURES_DEFAULT);
    tr_http_take_turns();
    struct mg_context *civet = mg_start(&callbacks, NULL, settings);
    struct mg_server_port port;
    if (!civet || mg_get_server_ports(civet, 1, &port) != 1)
        return fail("serve", "CivetWeb does not start");
    printf("{\"port\":%d}\n", port.port);
    fflush(stdout);
    while (sigwait(&ends, &sig) != 0) {
    }
    mg_stop(civet);
    tr_tls_free(tls);
    free(answer.bytes);
    return 0;
}

/* ---- commit ---- */

/* The shape of schema/: its tables of sessions, audit entries and records, without what points elsewhere. */
static const char schema[] =
    "CREATE TABLE sessions (client TEXT NOT NULL PRIMARY KEY, principal BLOB NOT NULL, current BLOB NOT "
    "NULL,"
    " previous BLOB, previous_at INTEGER NOT NULL, used_at INTEGER NOT NULL, origin TEXT NOT NULL) STRICT,"
    " WITHOUT ROWID;"
    "CREATE TABLE entries (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, subject BLOB, entry TEXT NOT NULL,"
    " hash BLOB NOT NULL) STRICT;"
    "CREATE TABLE records (row INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, subject BLOB NOT NULL,"
    " created_at INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT;";

static const char *const sql[] = {
    "BEGIN IMMEDIATE",
    ("UPDATE sessions SET previous = current, current = randomblob(32), previous_at = ?2, used_at = ?2"
     " WHERE client = printf('%022d', ?1)"),
    "INSERT INTO entries (at, subject, entry, hash) VALUES (?1, ?2, ?3, randomblob(32))",
    "INSERT INTO records (id, subject, created_at, sealed) VALUES (?1, ?2, ?3, ?4)",
    "COMMIT",
};
enum { BEGIN, SESSION, ENTRY, RECORD, COMMIT, STATEMENTS };

typedef struct raw {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
    int rows, entry, record;
    int64_t next;
    char payload[BLOB_MAX];
} raw;

static bool open_raw(raw *r, const char *file) {
    static const char key[] = "x'000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'";
    bool good = sqlite3_open(file, &r->db) == SQLITE_OK &&
                sqlite3_key_v2(r->db, "main", key, sizeof key - 1) == SQLITE_OK &&
                sqlite3_exec(r->db,
                             "PRAGMA cipher_hmac_algorithm = HMAC_SHA256; " CACHE_PRAGMA
                             "; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
                             NULL, NULL, NULL) == SQLITE_OK &&
                sqlite3_exec(r->db, schema, NULL, NULL, NULL) == SQLITE_OK;
    for (int i = 0; i < STATEMENTS && good; i++)
        good = sqlite3_prepare_v2(r->db, sql[i], -1, &r->statements[i], NULL) == SQLITE_OK;
    char fill[400];
    (void)snprintf(fill, sizeof fill,
                   "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
                   " INSERT INTO sessions SELECT printf('%%022d', i), randomblob(16), randomblob(32),"
                   " randomblob(32), 0, 0, '127.0.0.1' FROM n",
                   SESSIONS - 1);
    return good && sqlite3_exec(r->db, fill, NULL, NULL, NULL) == SQLITE_OK;
}

static bool run(raw *r, int which) {
    bool done = sqlite3_step(r->statements[which]) == SQLITE_DONE;
    return sqlite3_reset(r->statements[which]) == SQLITE_OK && done;
}

static bool write_row(raw *r) {
    sqlite3_stmt **s = r->statements;
    uint8_t subject[16] = {0}, id[16] = {0};
    int64_t now = tr_now_ms(), n = r->next++;
    for (int i = 0; i < 8; i++) /* ids grow, as UUIDv7 do; subjects come in no order */
        id[i] = (uint8_t)((uint64_t)n >> (56 - 8 * i));
    memcpy(subject, &(uint64_t){(uint64_t)n * 0x9e3779b97f4a7c15u}, 8);
    sqlite3_bind_int64(s[SESSION], 1, n % SESSIONS);
    sqlite3_bind_int64(s[SESSION], 2, now);
    sqlite3_bind_int64(s[ENTRY], 1, now);
    sqlite3_bind_blob(s[ENTRY], 2, subject, sizeof subject, SQLITE_TRANSIENT);
    sqlite3_bind_text(s[ENTRY], 3, r->payload, r->entry, SQLITE_STATIC);
    if (!run(r, SESSION) || !run(r, ENTRY))
        return false;
    if (!r->record)
        return true;
    sqlite3_bind_blob(s[RECORD], 1, id, sizeof id, SQLITE_TRANSIENT);
    sqlite3_bind_blob(s[RECORD], 2, subject, sizeof subject, SQLITE_TRANSIENT);
    sqlite3_bind_int64(s[RECORD], 3, now);
    sqlite3_bind_blob(s[RECORD], 4, r->payload, r->record, SQLITE_STATIC);
    return run(r, RECORD);
}

static int ascending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static int commit(raw *r, const char *file, double seconds) {
    float *samples = malloc(COMMITS_MAX * sizeof *samples);
    size_t count = 0;
    memset(r->payload, 'x', sizeof r->payload);
    if (!samples || !open_raw(r, file))
        return fail("commit", r->db ? sqlite3_errmsg(r->db) : "out of memory");
    int64_t start = tr_monotonic_us(), before = start;
    while (count < COMMITS_MAX && (double)(before - start) < seconds * 1e6) {
        bool good = run(r, BEGIN);
        for (int i = 0; i < r->rows && good; i++)
            good = write_row(r);
        if (!good || !run(r, COMMIT))
            return fail("commit", sqlite3_errmsg(r->db));
        int64_t now = tr_monotonic_us();
        samples[count++] = (float)(now - before);
        before = now;
    }
    double took = (double)(before - start) / 1e6;
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    qsort(samples, count, sizeof *samples, ascending);
    double rows = (double)count * r->rows;
    printf("{\"commits\":%zu,\"rows\":%.0f,\"seconds\":%.3f,\"per_second\":%.0f,\"p50_us\":%.0f,\"p99_us\":%"
           ".0f,"
           "\"cpu_us\":%.1f}\n",
           count, rows, took, rows / took, (double)samples[count / 2], (double)samples[count * 99 / 100],
           ((double)cpu.tv_sec * 1e6 + (double)cpu.tv_nsec / 1e3) / rows);
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(r->statements[i]);
    sqlite3_close(r->db);
    free(samples);
    return 0;
}

static int size_of(const char *text) {
    long n = strtol(text, NULL, 10);
    return n < 1 || n > BLOB_MAX ? 0 : (int)n;
}

int main(int argc, char **argv) {
    umask(077);
    if (argc == 5 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2], argv[3], (size_t)size_of(argv[4]));
    if ((argc == 6 || argc == 7) && strcmp(argv[1], "commit") == 0) {
        static raw r;
        r.rows = size_of(argv[4]);
        r.entry = size_of(argv[5]);
        r.record = argc == 7 ? size_of(argv[6]) : 0;
        if (r.rows && r.entry)
            return commit(&r, argv[2], strtod(argv[3], NULL));
    }
    fputs("usage: floor serve DIR THREADS BYTES | floor commit FILE SECONDS ROWS ENTRY [RECORD]\n", stderr);
    return 2;
}
