/* Readers: a thread has connections of its own, opened when it first uses a database, until it rests. The
 * reader that rested last is the first to be taken again: what is in its page cache was needed a moment ago.
 * So as many are at work as threads really read at once, however many wait for clients and for flushes.
 */
#include <stdlib.h>

#include "store/sqlcipher/engine.h"

#define RESTING_MAX 16 /* kept open */

static const char sql_begin[] = "BEGIN";
static const char sql_commit[] = "COMMIT";

static void unlink_reader(tr_store *store, tr_db *db) {
    if (db->previous)
        db->previous->next = db->next;
    else
        store->readers = db->next;
    if (db->next)
        db->next->previous = db->previous;
}

/* At the end of a thread. */
static void thread_ends(void *value) {
    tr_db *db = value;
    tr_store *store = db->store;
    pthread_mutex_lock(&store->readers_mutex);
    unlink_reader(store, db);
    pthread_mutex_unlock(&store->readers_mutex);
    tr_db_close(db);
    free(db);
}

void tr_store_rest(tr_store *store) {
    tr_db *db = pthread_getspecific(store->reader_key);
    if (!db || pthread_setspecific(store->reader_key, NULL) != 0)
        return;
    tr_read_end(db);
    pthread_mutex_lock(&store->readers_mutex);
    bool keep = store->resting_count < RESTING_MAX;
    if (keep) {
        db->resting = store->resting;
        store->resting = db;
        store->resting_count++;
    }
    pthread_mutex_unlock(&store->readers_mutex);
    if (!keep)
        thread_ends(db);
}

static tr_db *take_resting(tr_store *store) {
    pthread_mutex_lock(&store->readers_mutex);
    tr_db *db = store->resting;
    if (db) {
        store->resting = db->resting;
        store->resting_count--;
    }
    pthread_mutex_unlock(&store->readers_mutex);
    return db;
}

tr_status tr_readers_open(tr_store *store, tr_error *err) {
    pthread_mutex_init(&store->readers_mutex, NULL);
    if (pthread_key_create(&store->reader_key, thread_ends) != 0) {
        pthread_mutex_destroy(&store->readers_mutex);
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
    store->resting_count = 0;
    pthread_mutex_destroy(&store->readers_mutex);
    store->readers_open = false;
}

tr_status tr_store_reader(tr_store *store, tr_db **out, tr_error *err) {
    tr_db *db = pthread_getspecific(store->reader_key);
    *out = db;
    if (db)
        return TR_OK;
    db = take_resting(store);
    bool rested = db != NULL;
    if (!db)
        db = calloc(1, sizeof *db);
    if (!db || pthread_setspecific(store->reader_key, db) != 0) {
        if (rested)
            thread_ends(db);
        else
            free(db);
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    *out = db;
    if (rested)
        return TR_OK;
    db->source = &store->source;
    db->store = store;
    pthread_mutex_lock(&store->readers_mutex);
    db->next = store->readers;
    if (db->next)
        db->next->previous = db;
    store->readers = db;
    pthread_mutex_unlock(&store->readers_mutex);
    return TR_OK;
}

tr_status tr_read_begin(tr_db *db, tr_error *err) {
    tr_query q;
    if (db->group) /* a job has one view in any case */
        return TR_OK;
    if (db->reading)
        return tr_fail(err, TR_E_INTERNAL, NULL, "tr_read_begin inside tr_read_begin");
    tr_status st = tr_query_begin(db, TR_DB_VAULT, sql_begin, &q, err);
    if (st == TR_OK)
        st = tr_query_run(&q, NULL, err);
    db->reading = st == TR_OK;
    return st;
}

void tr_read_end(tr_db *db) {
    tr_query q;
    if (!db->reading)
        return;
    tr_conn *conn = &db->conns[TR_DB_VAULT];
    db->reading = false;
    if (sqlite3_get_autocommit(conn->handle))
        return; /* an error ended it */
    if (tr_query_on(conn, sql_commit, &q, NULL) != TR_OK || tr_query_run(&q, NULL, NULL) != TR_OK)
        conn->damaged = true; /* closed before its next use, and the transaction with it */
}
