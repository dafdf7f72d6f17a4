/* Readers: a thread has connections of its own, opened when it first uses a database, until it rests.
 *
 * Reading takes a processor and waits for little, so more readers at once than processors need only means
 * more page caches with the same pages in them. So there are a few, and whoever comes when all are taken
 * waits for one that rests. One for each processor is a busy one: it has a large page cache (conn.c), and is
 * taken before the others. Somebody may hold on to one, such as a package on its way to a slow client: who
 * has waited in vain opens one more, and when enough rest that is closed again.
 *
 * To begin and end a view takes locks of the file, one reader at a time. So a reader rests with its view, and
 * whoever takes it goes on with it if nothing was committed since. A view that rests must not keep the WAL
 * from being copied back: checkpoint.c drops them.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/sqlcipher/engine.h"

#define WAIT_MS 20
#define EACH    4 /* for a processor: one may wait for the disk, and others for the processor */

static const char sql_begin[] = "BEGIN";
static const char sql_commit[] = "COMMIT";

/* With the mutex. */
static void unlink_reader(tr_store *store, tr_db *db) {
    if (db->previous)
        db->previous->next = db->next;
    else
        store->readers = db->next;
    if (db->next)
        db->next->previous = db->previous;
    store->reader_count--;
    store->busy_count -= db->busy;
}

static void link_reader(tr_store *store, tr_db *db) {
    db->source = &store->source;
    db->store = store;
    db->next = store->readers;
    if (db->next)
        db->next->previous = db;
    store->readers = db;
    store->reader_count++;
    db->busy = store->busy_count < store->readers_usual / EACH;
    store->busy_count += db->busy;
}

/* At the end of a thread. */
static void thread_ends(void *value) {
    tr_db *db = value;
    tr_store *store = db->store;
    pthread_mutex_lock(&store->readers_mutex);
    unlink_reader(store, db);
    pthread_cond_signal(&store->readers_wake);
    pthread_mutex_unlock(&store->readers_mutex);
    tr_db_close(db);
    free(db);
}

/* ---- resting ---- */

/* With the mutex. The busy ones come first, and of them the one that rested last: what is in its caches was
 * needed a moment ago. */
static void push(tr_store *store, tr_db *db) {
    tr_db **place = &store->resting;
    while (*place && (*place)->busy && !db->busy)
        place = &(*place)->resting;
    db->resting = *place;
    *place = db;
    store->resting_count++;
}

static tr_db *pop_last(tr_store *store) {
    tr_db **place = &store->resting;
    while (*place && (*place)->resting)
        place = &(*place)->resting;
    tr_db *db = *place;
    *place = NULL;
    store->resting_count--;
    return db;
}

static tr_db *pop(tr_store *store) {
    tr_db *db = store->resting;
    if (db) {
        store->resting = db->resting;
        store->resting_count--;
    }
    return db;
}

/* Whoever takes the reader next may find the vault as it is now: then it need not begin a view. A view that
 * was kept before and not asked for stays. */
static void keep_view(tr_db *db) {
    const tr_conn *conn = &db->conns[TR_DB_VAULT];
    if (!db->reading)
        return;
    db->kept = !conn->damaged && conn->running == 0 && !sqlite3_get_autocommit(conn->handle);
    if (db->kept)
        db->reading = false;
    else
        tr_read_end(db);
}

void tr_readers_drop_views(tr_store *store, bool keep_none) {
    pthread_mutex_lock(&store->readers_mutex);
    store->no_views |= keep_none;
    for (tr_db *db = store->resting; db; db = db->resting)
        tr_view_drop(db);
    pthread_mutex_unlock(&store->readers_mutex);
}

void tr_readers_keep_views(tr_store *store) {
    pthread_mutex_lock(&store->readers_mutex);
    store->no_views = false;
    pthread_mutex_unlock(&store->readers_mutex);
}

void tr_store_rest(tr_store *store) {
    tr_db *db = pthread_getspecific(store->reader_key);
    tr_db *spare = NULL;
    if (!db || pthread_setspecific(store->reader_key, NULL) != 0)
        return;
    keep_view(db);
    pthread_mutex_lock(&store->readers_mutex);
    if (store->no_views)
        tr_view_drop(db);
    if (store->resting_count >= store->readers_usual / 2 && store->reader_count > store->readers_usual) {
        push(store, db);
        spare = pop_last(store);
        unlink_reader(store, spare);
    } else {
        push(store, db);
    }
    pthread_cond_signal(&store->readers_wake);
    pthread_mutex_unlock(&store->readers_mutex);
    if (spare) {
        tr_db_close(spare);
        free(spare);
    }
}

/* ---- taking one ---- */

/* With the mutex: none rests, and as many as usual are open. */
static bool all_taken(const tr_store *store) {
    return !store->resting && store->reader_count >= store->readers_usual;
}

/* With the mutex: until it is not so, or it took too long. */
static void wait_for_one(tr_store *store) {
    const int64_t until = tr_monotonic_ms() + WAIT_MS;
    const struct timespec at = {.tv_sec = until / 1000, .tv_nsec = (long)(until % 1000) * 1000000};
    int rc = 0;
    while (all_taken(store) && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&store->readers_wake, &store->readers_mutex, &at);
}

static tr_db *take(tr_store *store) {
    pthread_mutex_lock(&store->readers_mutex);
    if (all_taken(store))
        wait_for_one(store);
    tr_db *db = pop(store);
    if (!db && (db = calloc(1, sizeof *db)))
        link_reader(store, db);
    pthread_mutex_unlock(&store->readers_mutex);
    return db;
}

tr_status tr_store_reader(tr_store *store, tr_db **out, tr_error *err) {
    tr_db *db = pthread_getspecific(store->reader_key);
    *out = db;
    if (db)
        return TR_OK;
    db = take(store);
    if (!db || pthread_setspecific(store->reader_key, db) != 0) {
        if (db)
            thread_ends(db);
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    *out = db;
    return TR_OK;
}

/* ---- the store's ---- */

static int usual(void) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 2                        ? 2 * EACH
           : processors > TR_READERS_MOST / EACH ? TR_READERS_MOST
                                                 : (int)processors * EACH;
}

tr_status tr_readers_open(tr_store *store, tr_error *err) {
    tr_status st = tr_monotonic_cond(&store->readers_wake, err);
    if (st != TR_OK)
        return st;
    pthread_mutex_init(&store->readers_mutex, NULL);
    store->readers_usual = usual();
    if (pthread_key_create(&store->reader_key, thread_ends) != 0) {
        pthread_mutex_destroy(&store->readers_mutex);
        pthread_cond_destroy(&store->readers_wake);
        return tr_fail(err, TR_E_NOMEM, NULL, "no room for a thread's value");
    }
    store->readers_open = true;
    return TR_OK;
}

void tr_readers_close(tr_store *store) {
    if (!store->readers_open)
        return;
    pthread_key_delete(store->reader_key);
    for (tr_db *db = store->readers, *next; db; db = next) {
        next = db->next;
        tr_db_close(db);
        free(db);
    }
    store->readers = store->resting = NULL;
    store->reader_count = store->resting_count = store->busy_count = 0;
    pthread_mutex_destroy(&store->readers_mutex);
    pthread_cond_destroy(&store->readers_wake);
    store->readers_open = false;
}

/* ---- views ---- */

/* Is what it rested with the newest there is? */
static bool is_new(const tr_db *db) {
    return db->kept && db->vault_commits == db->store->group.vault_commits;
}

tr_status tr_read_begin(tr_db *db, tr_error *err) {
    tr_query q;
    if (db->group) /* a job has one view in any case */
        return TR_OK;
    if (db->reading)
        return tr_fail(err, TR_E_INTERNAL, NULL, "tr_read_begin inside tr_read_begin");
    /* Before what they are the editions of. */
    db->rules_edition = db->store->group.rules_edition;
    if (is_new(db)) {
        db->kept = false;
        db->reading = true;
        return TR_OK;
    }
    uint64_t commits = db->store->group.vault_commits;
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_begin, &q, err);
    if (st == TR_OK)
        st = tr_query_run(&q, NULL, err);
    db->reading = st == TR_OK;
    db->vault_commits = commits;
    return st;
}

static void end(tr_db *db) {
    tr_query q;
    tr_conn *conn = &db->conns[TR_DB_VAULT];
    if (sqlite3_get_autocommit(conn->handle))
        return; /* an error ended it */
    if (tr_query_on(conn, sql_commit, &q, NULL) != TR_OK || tr_query_run(&q, NULL, NULL) != TR_OK)
        conn->damaged = true; /* closed before its next use, and the transaction with it */
}

void tr_read_end(tr_db *db) {
    if (db->reading)
        end(db);
    db->reading = false;
}

void tr_view_drop(tr_db *db) {
    if (db->kept)
        end(db);
    db->kept = false;
}
