/* All pages of a moment, in order. What takes time is to verify and decipher each page, and whoever takes the
 * pages has work with them too: so threads read ahead, each by a connection of its own, whose view is of the
 * same moment. Of the batches of pages each has every second, or third, or fourth; a batch's place in the
 * ring is free again when the one that lay there before was handed on. */
#include <stdlib.h>
#include <string.h>

#include "base/guarded.h"
#include "store/sqlcipher/moment.h"

#define RING        16
#define BATCH_BYTES ((size_t)256 * 1024)
#define BATCH_PAGES 64 /* of them at most */

/* One statement for all that a reader reads: what the others read is passed over without being looked at. */
static const char sql_share[] =
    "SELECT pgno, data FROM sqlite_dbpage WHERE (pgno - 1) / ?1 % ?2 = ?3 AND pgno <= ?4";

typedef struct batch {
    bool ready;
    uint32_t count;
    tr_db_page pages[BATCH_PAGES];
    tr_status status; /* of the page behind these */
    tr_error err;
    uint8_t *room; /* BATCH_BYTES */
} batch;

typedef struct reading {
    tr_moment *moment;
    size_t database;
    uint32_t step; /* pages of a batch */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* what follows, and `ready` of the batches */
    uint64_t done;          /* batches that were handed on */
    bool stop;
    batch ring[RING];
} reading;

typedef struct reader {
    pthread_t thread;
    reading *reading;
    size_t number;
} reader;

static uint64_t batches_of(const reading *r) {
    return ((uint64_t)r->moment->info.databases[r->database].pages + r->step - 1) / r->step;
}

/* The next rows of the statement. */
static tr_status read_batch(const reading *r, tr_query *q, uint64_t number, batch *b, tr_error *err) {
    const tr_moment_database *about = &r->moment->info.databases[r->database];
    const uint64_t first = number * r->step + 1;
    bool row = false;
    tr_status st = TR_OK;
    for (b->count = 0; st == TR_OK && b->count < r->step && first + b->count <= about->pages;) {
        TR_TRY(tr_query_step(q, &row, err));
        const int64_t page = row ? tr_col_int(q, 0) : 0;
        const tr_bytes content = row ? tr_col_blob(q, 1) : (tr_bytes){NULL, 0};
        if (row)
            TR_TRY(tr_cols_ok(q, err));
        if (page != (int64_t)(first + b->count))
            TR_TRY(tr_fail(err, TR_E_CORRUPT, about->name, "%s ends too early", about->name));
        st = tr_moment_take(r->moment, r->database, (uint32_t)page, content,
                            b->room + (size_t)b->count * about->page_size, &b->pages[b->count], err);
        b->count += st == TR_OK;
    }
out:
    return st;
}

/* False: it is not wanted any more. */
static bool wait_for_room(reading *r, uint64_t number) {
    pthread_mutex_lock(&r->mutex);
    while (!r->stop && number >= r->done + RING)
        pthread_cond_wait(&r->changed, &r->mutex);
    const bool go_on = !r->stop;
    pthread_mutex_unlock(&r->mutex);
    return go_on;
}

static void *read_ahead(void *context) {
    const reader *own = context;
    reading *r = own->reading;
    const size_t readers = r->moment->readers;
    const uint64_t all = batches_of(r);
    tr_error err = {0};
    tr_query q;
    tr_status st = tr_query_on(&r->moment->conns[own->number][r->database], sql_share, &q, &err);
    const bool open = st == TR_OK;
    if (open) {
        tr_bind_int(&q, 1, r->step);
        tr_bind_int(&q, 2, (int64_t)readers);
        tr_bind_int(&q, 3, (int64_t)own->number);
        tr_bind_int(&q, 4, r->moment->info.databases[r->database].pages);
    }
    for (uint64_t number = own->number; number < all && wait_for_room(r, number); number += readers) {
        batch *b = &r->ring[number % RING];
        b->count = 0;
        if (st == TR_OK)
            st = read_batch(r, &q, number, b, &err);
        b->status = st;
        b->err = err;
        pthread_mutex_lock(&r->mutex);
        b->ready = true;
        pthread_cond_broadcast(&r->changed);
        pthread_mutex_unlock(&r->mutex);
    }
    if (open)
        tr_query_end(&q);
    return NULL;
}

static tr_status hand_on(batch *b, tr_page_fn fn, void *context, tr_error *err) {
    tr_status st = TR_OK;
    for (uint32_t i = 0; i < b->count && st == TR_OK; i++)
        st = fn(context, &b->pages[i], err);
    if (st == TR_OK && b->status != TR_OK) {
        st = b->status;
        if (err)
            *err = b->err;
    }
    return st;
}

static tr_status take_batches(reading *r, tr_page_fn fn, void *context, tr_error *err) {
    const uint64_t all = batches_of(r);
    tr_status st = TR_OK;
    pthread_mutex_lock(&r->mutex);
    while (r->done < all && st == TR_OK) {
        batch *b = &r->ring[r->done % RING];
        if (!b->ready) {
            pthread_cond_wait(&r->changed, &r->mutex);
            continue;
        }
        pthread_mutex_unlock(&r->mutex);
        st = hand_on(b, fn, context, err);
        pthread_mutex_lock(&r->mutex);
        b->ready = false;
        r->done++;
        pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->mutex);
    return st;
}

static void stop_readers(reading *r, reader *readers, size_t count) {
    pthread_mutex_lock(&r->mutex);
    r->stop = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
    for (size_t i = 0; i < count; i++)
        pthread_join(readers[i].thread, NULL);
}

static tr_status read_database(reading *r, tr_page_fn fn, void *context, tr_error *err) {
    reader readers[TR_MOMENT_READERS];
    size_t started = 0;
    tr_status st = TR_OK;
    r->done = 0;
    r->stop = false;
    for (size_t i = 0; i < RING; i++)
        r->ring[i].ready = false;
    for (; started < r->moment->readers && st == TR_OK; started += st == TR_OK) {
        readers[started] = (reader){.reading = r, .number = started};
        if (pthread_create(&readers[started].thread, NULL, read_ahead, &readers[started]) != 0)
            st = tr_fail(err, TR_E_NOMEM, NULL, "cannot start a thread");
    }
    if (st == TR_OK)
        st = take_batches(r, fn, context, err);
    stop_readers(r, readers, started);
    return st;
}

tr_status tr_moment_read(tr_moment *m, tr_page_fn fn, void *context, tr_error *err) {
    reading *r = calloc(1, sizeof *r);
    uint8_t *rooms = tr_guarded_alloc(RING * BATCH_BYTES); /* mapped for itself: given back whole */
    tr_status st = r && rooms ? TR_OK : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (st == TR_OK) {
        r->moment = m;
        pthread_mutex_init(&r->mutex, NULL);
        pthread_cond_init(&r->changed, NULL);
        for (size_t i = 0; i < RING; i++)
            r->ring[i].room = rooms + i * BATCH_BYTES;
    }
    for (size_t i = 0; i < m->info.count && st == TR_OK; i++) {
        const size_t fit = BATCH_BYTES / m->info.databases[i].page_size;
        r->database = i;
        r->step = fit < BATCH_PAGES ? (uint32_t)fit : BATCH_PAGES;
        st = read_database(r, fn, context, err);
    }
    if (r && rooms) {
        pthread_cond_destroy(&r->changed);
        pthread_mutex_destroy(&r->mutex);
    }
    tr_guarded_free(rooms);
    free(r);
    return st;
}
