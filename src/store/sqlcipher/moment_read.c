/* All pages of a moment, in order. What takes time is to verify and decipher each page, and whoever takes the
 * pages has work with them too: so threads read ahead, each by connections of its own, whose views are of the
 * same moment. They take turns at batches of pages; a batch's place in the ring is free again when the one
 * that lay there before was handed on. */
#include <stdlib.h>
#include <string.h>

#include "store/sqlcipher/moment.h"

#define RING        16
#define BATCH_BYTES ((size_t)256 * 1024)
#define BATCH_PAGES 64 /* of them at most */

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
    uint64_t begun, done;   /* batches that a reader has taken up; that were handed on */
    bool stop;
    batch ring[RING];
} reading;

typedef struct reader {
    pthread_t thread;
    reading *reading;
    size_t number;
} reader;

static void read_batch(reading *r, size_t by, uint64_t number, batch *b) {
    const uint32_t pages = r->moment->info.databases[r->database].pages;
    const uint64_t first = number * r->step + 1;
    const size_t size = r->moment->info.databases[r->database].page_size;
    b->status = TR_OK;
    b->err = (tr_error){0};
    for (b->count = 0; b->count < r->step && first + b->count <= pages; b->count++) {
        b->status = tr_moment_page(r->moment, by, r->database, (uint32_t)first + b->count,
                                   b->room + b->count * size, &b->pages[b->count], &b->err);
        if (b->status != TR_OK)
            break;
    }
}

static uint64_t batches_of(const reading *r) {
    return ((uint64_t)r->moment->info.databases[r->database].pages + r->step - 1) / r->step;
}

static void *read_ahead(void *context) {
    const reader *own = context;
    reading *r = own->reading;
    const uint64_t all = batches_of(r);
    pthread_mutex_lock(&r->mutex);
    while (!r->stop && r->begun < all) {
        if (r->begun == r->done + RING) {
            pthread_cond_wait(&r->changed, &r->mutex);
            continue;
        }
        const uint64_t number = r->begun++;
        batch *b = &r->ring[number % RING];
        pthread_mutex_unlock(&r->mutex);
        read_batch(r, own->number, number, b);
        pthread_mutex_lock(&r->mutex);
        b->ready = true;
        pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->mutex);
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
    r->stop = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->mutex);
    return st;
}

static tr_status read_database(reading *r, tr_page_fn fn, void *context, tr_error *err) {
    reader readers[TR_MOMENT_READERS];
    size_t started = 0;
    tr_status st = TR_OK;
    r->begun = r->done = 0;
    r->stop = false;
    for (size_t i = 0; i < RING; i++)
        r->ring[i].ready = false;
    for (; started < r->moment->readers; started++) {
        readers[started] = (reader){.reading = r, .number = started};
        if (pthread_create(&readers[started].thread, NULL, read_ahead, &readers[started]) != 0)
            break; /* fewer do as well */
    }
    st = started > 0 ? take_batches(r, fn, context, err)
                     : tr_fail(err, TR_E_NOMEM, NULL, "cannot start a thread");
    for (size_t i = 0; i < started; i++)
        pthread_join(readers[i].thread, NULL);
    return st;
}

tr_status tr_moment_read(tr_moment *m, tr_page_fn fn, void *context, tr_error *err) {
    reading *r = calloc(1, sizeof *r);
    uint8_t *rooms = malloc(RING * BATCH_BYTES);
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
        tr_wipe(rooms, RING * BATCH_BYTES);
    }
    free(rooms);
    free(r);
    return st;
}
