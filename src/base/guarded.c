#include "base/guarded.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#ifdef __SANITIZE_ADDRESS__

#include <malloc.h>

tr_status tr_guarded_init(tr_error *err) {
    (void)err;
    return TR_OK;
}

size_t tr_guarded_locked(void) {
    return 0;
}

void *tr_guarded_alloc(size_t len) {
    return len && len <= TR_GUARDED_MAX ? malloc(len) : NULL;
}

size_t tr_guarded_size(const void *block) {
    return malloc_usable_size((void *)(uintptr_t)block);
}

size_t tr_guarded_roundup(size_t len) {
    return len;
}

void tr_guarded_free(void *block) {
    if (!block)
        return;
    explicit_bzero(block, tr_guarded_size(block));
    free(block);
}

#else

#define SLAB        ((size_t)64 * 1024)
#define SLABS       (TR_GUARDED_MAX / SLAB)
#define SMALL_SLABS (SLABS / 2) /* from here on come blocks larger than SMALL_MAX */
#define SMALL_MAX   1024        /* SQLCipher's keys, and OpenSSL's contexts with their key schedules */
#define LOCK_MOST   ((size_t)16 * 1024 * 1024)
#define LOCK_STEP   ((size_t)512 * 1024)
#define LOCK_SPARED ((size_t)1024 * 1024)
#define GROW        ((size_t)16) /* slabs that are made usable at a time */
#define BLOCK_MAX   ((size_t)32 * 1024)
#define LARGE_HEAD  64 /* before a block that is mapped for itself: its size; keeps the block aligned */
#define CLASSES     40
#define EMPTY_KEPT  2 /* slabs without a block in use that a class keeps */

/* Lists are of slab numbers plus one; 0 ends them. */
typedef struct slab {
    void *free;            /* blocks that were given back, each with the next one's address in it */
    uint32_t next, before; /* in its class's list of slabs with room, or in its zone's of free ones */
    uint16_t used;
    uint16_t fresh; /* blocks from this one on were never handed out */
    uint8_t class;
} slab;

/* The addresses from `next` to `end` have no slab yet; those up to `usable` may be written. */
typedef struct zone {
    uint32_t free, next, usable, end;
} zone;

typedef struct class {
    pthread_mutex_t mutex;
    uint32_t room; /* slabs with room */
    uint32_t empty;
} class;

/* The process's own, as malloc's. A class's mutex is taken before the zones'. */
static uint8_t *base;
static size_t locked;
static slab slabs[SLABS];
static class classes[CLASSES] = {[0 ... CLASSES - 1] = {.mutex = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP}};
static struct {
    pthread_mutex_t mutex;
    zone small, large;
} zones = {.mutex = PTHREAD_MUTEX_INITIALIZER,
           .small = {.end = SMALL_SLABS},
           .large = {.next = SMALL_SLABS, .usable = SMALL_SLABS, .end = SLABS}};

/* ---- sizes: multiples of 16 up to 128, then four steps to each power of two ---- */

static unsigned class_of(size_t len) {
    if (len <= 128)
        return (unsigned)((len + 15) / 16 - 1);
    const unsigned power = 63 - (unsigned)__builtin_clzl(len - 1); /* 2^power < len */
    return 8 + (power - 7) * 4 + (unsigned)((len - 1 - ((size_t)1 << power)) >> (power - 2));
}

static size_t size_of(unsigned index) {
    if (index < 8)
        return (index + 1) * 16;
    const unsigned power = 7 + (index - 8) / 4;
    return ((size_t)1 << power) + (((size_t)(index - 8) % 4 + 1) << (power - 2));
}

static unsigned capacity(unsigned index) {
    return (unsigned)(SLAB / size_of(index));
}

/* ---- the range ---- */

/* As much as may be locked, and LOCK_SPARED is left over for tr_secret's heap. Only what is touched takes
 * memory. */
static size_t lock_some(uint8_t *range) {
    for (size_t len = LOCK_MOST; len; len -= LOCK_STEP) {
        if (mlock2(range, len + LOCK_SPARED, MLOCK_ONFAULT) == 0)
            return munlock(range + len, LOCK_SPARED) == 0 ? len : 0;
    }
    return 0;
}

static void reserve(void) {
    void *range = mmap(NULL, TR_GUARDED_MAX, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED || madvise(range, TR_GUARDED_MAX, MADV_DONTDUMP) != 0)
        return;
    /* A huge page would make one small block cost 2 MiB. Not all kernels know of them. */
    (void)madvise(range, TR_GUARDED_MAX, MADV_NOHUGEPAGE);
    locked = lock_some(range);
    base = range;
}

tr_status tr_guarded_init(tr_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (pthread_once(&once, reserve) != 0 || !base)
        return tr_fail(err, TR_E_NOMEM, NULL, "the system gives no addresses for guarded memory");
    return TR_OK;
}

size_t tr_guarded_locked(void) {
    return locked;
}

/* ---- slabs ---- */

/* A slab that nothing uses, plus one; 0: no memory. */
static uint32_t take_slab(unsigned index) {
    zone *z = size_of(index) <= SMALL_MAX ? &zones.small : &zones.large;
    pthread_mutex_lock(&zones.mutex);
    uint32_t taken = z->free;
    if (taken) {
        z->free = slabs[taken - 1].next;
    } else if (z->next < z->end) {
        if (z->next == z->usable &&
            mprotect(base + z->usable * SLAB, GROW * SLAB, PROT_READ | PROT_WRITE) == 0)
            z->usable += GROW;
        if (z->next < z->usable)
            taken = ++z->next;
    }
    pthread_mutex_unlock(&zones.mutex);
    if (taken)
        slabs[taken - 1] = (slab){.class = (uint8_t)index};
    return taken;
}

/* Its blocks have been wiped; the memory goes back to the system, the addresses stay (a locked page, too). */
static void give_slab(uint32_t given) {
    zone *z = given <= SMALL_SLABS ? &zones.small : &zones.large;
    (void)madvise(base + (given - 1) * SLAB, SLAB, MADV_DONTNEED);
    pthread_mutex_lock(&zones.mutex);
    slabs[given - 1].next = z->free;
    z->free = given;
    pthread_mutex_unlock(&zones.mutex);
}

static void link_slab(class *c, uint32_t s) {
    slabs[s - 1].next = c->room;
    slabs[s - 1].before = 0;
    if (c->room)
        slabs[c->room - 1].before = s;
    c->room = s;
}

static void unlink_slab(class *c, uint32_t s) {
    const slab *one = &slabs[s - 1];
    if (one->before)
        slabs[one->before - 1].next = one->next;
    else
        c->room = one->next;
    if (one->next)
        slabs[one->next - 1].before = one->before;
}

/* ---- blocks ---- */

static void *take_block(unsigned index) {
    class *c = &classes[index];
    uint8_t *block = NULL;
    pthread_mutex_lock(&c->mutex);
    if (!c->room) {
        const uint32_t fresh = take_slab(index);
        if (fresh) {
            link_slab(c, fresh);
            c->empty++;
        }
    }
    if (c->room) {
        slab *s = &slabs[c->room - 1];
        block = s->free;
        if (block)
            memcpy(&s->free, block, sizeof s->free);
        else
            block = base + (c->room - 1) * SLAB + s->fresh++ * size_of(index);
        if (s->used++ == 0)
            c->empty--;
        if (s->used == capacity(index))
            unlink_slab(c, c->room);
    }
    pthread_mutex_unlock(&c->mutex);
    return block;
}

static void give_block(void *block, uint32_t number) {
    slab *s = &slabs[number - 1];
    class *c = &classes[s->class];
    bool whole = false;
    pthread_mutex_lock(&c->mutex);
    memcpy(block, &s->free, sizeof s->free);
    s->free = block;
    if (s->used-- == capacity(s->class))
        link_slab(c, number);
    if (s->used == 0) {
        whole = c->empty == EMPTY_KEPT;
        if (whole)
            unlink_slab(c, number);
        else
            c->empty++;
    }
    pthread_mutex_unlock(&c->mutex);
    if (whole)
        give_slab(number);
}

static bool in_range(const void *block) {
    return (uintptr_t)block - (uintptr_t)base < TR_GUARDED_MAX;
}

static uint32_t slab_of(const void *block) {
    return (uint32_t)(((uintptr_t)block - (uintptr_t)base) / SLAB) + 1;
}

static void *take_large(size_t len) {
    if (len > TR_GUARDED_MAX)
        return NULL;
    const size_t whole = len + LARGE_HEAD;
    uint8_t *map = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    if (madvise(map, whole, MADV_DONTDUMP) != 0) {
        (void)munmap(map, whole);
        return NULL;
    }
    memcpy(map, &len, sizeof len);
    return map + LARGE_HEAD;
}

void *tr_guarded_alloc(size_t len) {
    if (!base || len == 0)
        return NULL;
    return len <= BLOCK_MAX ? take_block(class_of(len)) : take_large(len);
}

size_t tr_guarded_size(const void *block) {
    size_t len;
    if (in_range(block))
        return size_of(slabs[slab_of(block) - 1].class);
    memcpy(&len, (const uint8_t *)block - LARGE_HEAD, sizeof len);
    return len;
}

size_t tr_guarded_roundup(size_t len) {
    return len == 0 || len > BLOCK_MAX ? len : size_of(class_of(len));
}

void tr_guarded_free(void *block) {
    if (!block)
        return;
    const size_t len = tr_guarded_size(block);
    if (in_range(block)) {
        explicit_bzero(block, len);
        give_block(block, slab_of(block));
    } else {
        (void)munmap((uint8_t *)block - LARGE_HEAD,
                     len + LARGE_HEAD); /* the kernel hands out zeroed pages only */
    }
}

#endif

void *tr_guarded_realloc(void *block, size_t len) {
    if (len == 0) {
        tr_guarded_free(block);
        return NULL;
    }
    const size_t had = block ? tr_guarded_size(block) : 0;
    if (block && tr_guarded_roundup(len) == had)
        return block;
    void *moved = tr_guarded_alloc(len);
    if (moved && block) {
        memcpy(moved, block, had < len ? had : len);
        tr_guarded_free(block);
    }
    return moved;
}

/* ---- OpenSSL ---- */

static void *openssl_alloc(size_t len, const char *file, int line) {
    (void)file;
    (void)line;
    return tr_guarded_alloc(len);
}

static void *openssl_realloc(void *block, size_t len, const char *file, int line) {
    (void)file;
    (void)line;
    return tr_guarded_realloc(block, len);
}

static void openssl_free(void *block, const char *file, int line) {
    (void)file;
    (void)line;
    tr_guarded_free(block);
}

tr_status tr_guarded_openssl(tr_error *err) {
    tr_status st = tr_guarded_init(err);
    if (st == TR_OK && CRYPTO_set_mem_functions(openssl_alloc, openssl_realloc, openssl_free) != 1)
        st = tr_fail(err, TR_E_INTERNAL, NULL, "OpenSSL has memory of its own already");
    return st;
}
