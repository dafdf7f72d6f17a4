/* Checkpoints: pages go from a WAL back into the database while the writer goes on appending (mode PASSIVE,
 * on connections of this thread). When one is done, the writer has only the few newest frames left to copy
 * before it may begin the WAL anew (mode RESTART): so no group waits for a thousand pages to be written.
 */
#include <stdlib.h>
#include <time.h>

#include "store/sqlcipher/engine.h"

#define LONG_WAL         1000 /* frames (4 MB) after which a WAL is copied back */
#define RESTART_BUSY_MS  20   /* how long a group may wait for readers of the old WAL */
#define TRUNCATE_BUSY_MS 20   /* the same for TRUNCATE: whoever wants it tries again */

typedef enum { IDLE, WANTED, DONE } phase;

struct tr_checkpointer {
    tr_store *store;
    pthread_t thread;
    pthread_mutex_t mutex; /* phases, stopping */
    pthread_cond_t wake;
    phase phases[TR_DB_COUNT];
    bool stopping;
    int next[TR_DB_COUNT];   /* the writer's: ask when the WAL has so many frames */
    pthread_mutex_t copying; /* held while pages are copied back */
    tr_conn conns[TR_DB_COUNT];
};

/* ---- the thread ---- */

static int wanted(const tr_checkpointer *c) {
    for (int i = 0; i < TR_DB_COUNT; i++) {
        if (c->phases[i] == WANTED)
            return i;
    }
    return -1;
}

/* With `copying` held. Whatever comes of it, the writer tries RESTART or TRUNCATE next, which copies what is
 * left. */
static void copy_back(tr_checkpointer *c, tr_db_kind kind) {
    tr_conn *conn = &c->conns[kind];
    if (!conn->handle && tr_conn_open(&c->store->source, kind, TR_WRITE, conn, NULL) != TR_OK)
        return;
    if (kind == TR_DB_VAULT)
        tr_readers_drop_views(c->store, false);
    if (sqlite3_wal_checkpoint_v2(conn->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) != SQLITE_OK)
        tr_conn_close(conn);
}

static void *run(void *context) {
    tr_checkpointer *c = context;
    pthread_mutex_lock(&c->mutex);
    for (;;) {
        int kind = wanted(c);
        if (c->stopping)
            break;
        if (kind < 0) {
            pthread_cond_wait(&c->wake, &c->mutex);
            continue;
        }
        pthread_mutex_unlock(&c->mutex);
        pthread_mutex_lock(&c->copying);
        copy_back(c, (tr_db_kind)kind);
        pthread_mutex_unlock(&c->copying);
        pthread_mutex_lock(&c->mutex);
        c->phases[kind] = DONE;
    }
    pthread_mutex_unlock(&c->mutex);
    return NULL;
}

tr_status tr_checkpointer_start(tr_store *store, tr_checkpointer **out, tr_error *err) {
    tr_checkpointer *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    c->store = store;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_mutex_init(&c->copying, NULL);
    pthread_cond_init(&c->wake, NULL);
    for (int i = 0; i < TR_DB_COUNT; i++)
        c->next[i] = LONG_WAL;
    if (pthread_create(&c->thread, NULL, run, c) != 0) {
        free(c);
        return tr_fail(err, TR_E_NOMEM, NULL, "cannot start a thread");
    }
    *out = c;
    return TR_OK;
}

void tr_checkpointer_stop(tr_checkpointer *c) {
    if (!c)
        return;
    pthread_mutex_lock(&c->mutex);
    c->stopping = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->mutex);
    pthread_join(c->thread, NULL);
    for (int i = 0; i < TR_DB_COUNT; i++)
        tr_conn_close(&c->conns[i]);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->copying);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

void tr_checkpointer_hold(tr_checkpointer *c) {
    pthread_mutex_lock(&c->copying);
}

void tr_checkpointer_release(tr_checkpointer *c) {
    pthread_mutex_unlock(&c->copying);
}

void tr_checkpointer_copy(tr_checkpointer *c) {
    if (pthread_mutex_trylock(&c->copying) != 0)
        return;
    for (int i = 0; i < TR_DB_COUNT; i++)
        copy_back(c, (tr_db_kind)i);
    pthread_mutex_unlock(&c->copying);
}

/* ---- called by the writer ---- */

static int checkpoint(tr_checkpointer *c, tr_conn *conn, int mode, int busy_ms) {
    if (conn->kind == TR_DB_VAULT)
        tr_readers_drop_views(c->store, true);
    sqlite3_busy_timeout(conn->handle, busy_ms);
    int rc = sqlite3_wal_checkpoint_v2(conn->handle, NULL, mode, NULL, NULL);
    sqlite3_busy_timeout(conn->handle, TR_BUSY_MS);
    if (conn->kind == TR_DB_VAULT)
        tr_readers_keep_views(c->store);
    return rc;
}

static void begin_anew(tr_checkpointer *c, tr_conn *conn) {
    if (pthread_mutex_trylock(&c->copying) != 0)
        return; /* another database's WAL is copied, or a check reads the files; after the next group */
    int rc = checkpoint(c, conn, SQLITE_CHECKPOINT_RESTART, RESTART_BUSY_MS);
    pthread_mutex_unlock(&c->copying);
    c->next[conn->kind] = rc == SQLITE_OK ? LONG_WAL : conn->wal_frames + LONG_WAL;
    if (rc == SQLITE_OK)
        conn->wal_frames = 0;
    pthread_mutex_lock(&c->mutex);
    c->phases[conn->kind] = IDLE;
    pthread_mutex_unlock(&c->mutex);
}

void tr_checkpointer_after_group(tr_checkpointer *c, tr_group *group) {
    for (int i = 0; i < TR_DB_COUNT; i++) {
        tr_conn *conn = &group->tx.conns[i];
        if (!conn->handle || conn->wal_frames < c->next[i])
            continue;
        pthread_mutex_lock(&c->mutex);
        phase now = c->phases[i];
        if (now == IDLE) {
            c->phases[i] = WANTED;
            pthread_cond_signal(&c->wake);
        }
        pthread_mutex_unlock(&c->mutex);
        if (now == DONE)
            begin_anew(c, conn);
    }
}

static bool lock_for(pthread_mutex_t *mutex, int ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return pthread_mutex_timedlock(mutex, &until) == 0;
}

tr_status tr_checkpoint_truncate(tr_checkpointer *c, tr_group *group, tr_error *err) {
    tr_status st = TR_OK;
    if (!lock_for(&c->copying, TRUNCATE_BUSY_MS))
        return tr_fail(err, TR_E_BUSY, NULL, "the databases are being checked");
    for (int i = 0; i < TR_DB_COUNT && st == TR_OK; i++) {
        tr_conn *conn = &group->tx.conns[i];
        int rc = checkpoint(c, conn, SQLITE_CHECKPOINT_TRUNCATE, TRUNCATE_BUSY_MS);
        if ((rc & 0xff) == SQLITE_BUSY)
            st = tr_fail(err, TR_E_BUSY, tr_db_name(conn->kind), "a reader holds on to an old view of %s",
                         tr_db_name(conn->kind));
        else if (rc != SQLITE_OK)
            st = tr_conn_fail(conn, rc, err);
        else
            conn->wal_frames = 0;
    }
    pthread_mutex_unlock(&c->copying);
    return st;
}
