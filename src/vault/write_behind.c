#include "vault/write_behind.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK ((size_t)512 * 1024)
#define RING  4

struct tr_write_behind {
    int fd;
    const char *where;
    uint8_t *ring; /* RING blocks, mapped for themselves */
    size_t used;   /* of the block that is being filled */
    bool threaded;
    pthread_t thread;
    /* under the mutex */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t filled, done; /* blocks */
    bool stop;
    int failed; /* errno */
};

/* Past the page cache; a file system that cannot do that refuses. Blocks lie where such writes may, and have
 * a size that they may have. */
static void begin_direct(int fd) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, flags | O_DIRECT);
}

/* False: it was not. */
static bool end_direct(int fd) {
    const int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_DIRECT) && fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

/* 0, or an errno. */
static int write_all(int fd, const uint8_t *at, size_t left) {
    while (left > 0) {
        ssize_t n = write(fd, at, left);
        if (n < 0 && errno == EINTR)
            continue;
        /* What is left of a write that was cut short, or a file system that takes the flag and no more. */
        if (n < 0 && errno == EINVAL && end_direct(fd))
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        at += n;
        left -= (size_t)n;
    }
    return 0;
}

static void *write_blocks(void *context) {
    tr_write_behind *w = context;
    pthread_mutex_lock(&w->mutex);
    while (!w->failed && !(w->stop && w->done == w->filled)) {
        if (w->done == w->filled) {
            pthread_cond_wait(&w->changed, &w->mutex);
            continue;
        }
        const uint8_t *block = w->ring + w->done % RING * BLOCK;
        pthread_mutex_unlock(&w->mutex);
        const int failed = write_all(w->fd, block, BLOCK);
        pthread_mutex_lock(&w->mutex);
        w->failed = failed;
        w->done++;
        pthread_cond_signal(&w->changed);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

tr_status tr_write_behind_new(int fd, const char *where, tr_write_behind **out, tr_error *err) {
    tr_write_behind *w = calloc(1, sizeof *w);
    *out = NULL;
    if (!w)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    void *ring = mmap(NULL, RING * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED) {
        free(w);
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    begin_direct(fd);
    w->fd = fd;
    w->where = where;
    w->ring = ring;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->changed, NULL);
    *out = w;
    return TR_OK;
}

static tr_status fail(const tr_write_behind *w, int failed, tr_error *err) {
    errno = failed;
    return tr_fail_errno(err, w->where, "cannot write to the backup folder");
}

/* The block that is being filled is full; wait until there is room for the next. */
static tr_status pass_on(tr_write_behind *w, tr_error *err) {
    if (!w->threaded && pthread_create(&w->thread, NULL, write_blocks, w) != 0)
        return tr_fail(err, TR_E_NOMEM, NULL, "cannot start a thread");
    w->threaded = true;
    pthread_mutex_lock(&w->mutex);
    w->filled++;
    pthread_cond_signal(&w->changed);
    while (!w->failed && w->filled - w->done == RING)
        pthread_cond_wait(&w->changed, &w->mutex);
    const int failed = w->failed;
    pthread_mutex_unlock(&w->mutex);
    w->used = 0;
    return failed ? fail(w, failed, err) : TR_OK;
}

tr_status tr_write_behind_put(tr_write_behind *w, tr_bytes bytes, tr_error *err) {
    const uint8_t *from = bytes.data;
    tr_status st = TR_OK;
    for (size_t left = bytes.len; left > 0 && st == TR_OK;) {
        const size_t room = BLOCK - w->used, n = left < room ? left : room;
        memcpy(w->ring + w->filled % RING * BLOCK + w->used, from, n);
        w->used += n;
        from += n;
        left -= n;
        if (w->used == BLOCK)
            st = pass_on(w, err);
    }
    return st;
}

/* The thread, if there is one, has written what was passed on to it, or has failed. */
static int join(tr_write_behind *w) {
    if (w->threaded) {
        pthread_mutex_lock(&w->mutex);
        w->stop = true;
        pthread_cond_signal(&w->changed);
        pthread_mutex_unlock(&w->mutex);
        pthread_join(w->thread, NULL);
        w->threaded = false;
    }
    return w->failed;
}

tr_status tr_write_behind_end(tr_write_behind *w, tr_error *err) {
    int failed = join(w);
    (void)end_direct(w->fd); /* the last bytes are no block */
    if (!failed)
        failed = write_all(w->fd, w->ring + w->filled % RING * BLOCK, w->used);
    w->used = 0;
    w->failed = failed;
    return failed ? fail(w, failed, err) : TR_OK;
}

void tr_write_behind_free(tr_write_behind *w) {
    if (!w)
        return;
    (void)join(w);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mutex);
    (void)munmap(w->ring, RING * BLOCK);
    free(w);
}
