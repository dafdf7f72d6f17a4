#include "vault/throttle.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "vault/principals.h"
#include "vault/vault_internal.h"

#define ENTRIES        8192 /* a power of two */
#define PROBES         8
#define ADDRESS_FACTOR 20
#define DELAY_FIRST_MS 1000
#define DELAY_MOST_MS  (15 * 60 * 1000)
#define FORGET_MS      (60 * 60 * 1000)

typedef struct entry {
    uint8_t key[16]; /* of the hash of who is counted; no uid is kept */
    int64_t failures;
    int64_t last;
} entry;

struct tr_throttle {
    pthread_mutex_t mutex;
    int64_t free_tries;
    uint8_t salt[16];
    entry entries[ENTRIES];
};

tr_status tr_throttle_new(int64_t free_tries, tr_throttle **out, tr_error *err) {
    tr_throttle *t = calloc(1, sizeof *t);
    *out = NULL;
    if (!t)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    tr_status st = tr_random(t->salt, sizeof t->salt, err);
    if (st != TR_OK) {
        free(t);
        return st;
    }
    t->free_tries = free_tries;
    pthread_mutex_init(&t->mutex, NULL);
    *out = t;
    return TR_OK;
}

void tr_throttle_free(tr_throttle *throttle) {
    if (!throttle)
        return;
    pthread_mutex_destroy(&throttle->mutex);
    free(throttle);
}

/* uid "" counts the address alone. */
static tr_status key_of(const tr_throttle *t, const char *uid, const char *address, uint8_t key[32],
                        tr_error *err) {
    char folded[TR_UID_MAX + 1];
    size_t n = 0;
    for (; uid[n] && n < sizeof folded - 1; n++)
        folded[n] = (char)tolower((unsigned char)uid[n]);
    folded[n] = '\0';
    const tr_bytes parts[3] = {{t->salt, sizeof t->salt}, {folded, n + 1}, {address, strlen(address)}};
    return tr_sha256(parts, 3, key, err);
}

/* The entry of this key, or the one to reuse for it: an empty one or the oldest of those it may take. */
static entry *find(tr_throttle *t, const uint8_t key[32], int64_t now) {
    size_t start;
    memcpy(&start, key + 16, sizeof start);
    entry *oldest = NULL;
    for (size_t i = 0; i < PROBES; i++) {
        entry *e = &t->entries[(start + i) % ENTRIES];
        if (memcmp(e->key, key, sizeof e->key) == 0) {
            if (now - e->last > FORGET_MS)
                e->failures = 0;
            return e;
        }
        if (!oldest || e->last < oldest->last)
            oldest = e;
    }
    memcpy(oldest->key, key, sizeof oldest->key);
    oldest->failures = 0;
    oldest->last = 0;
    return oldest;
}

static int64_t delay_after(int64_t failures, int64_t free_tries) {
    int64_t beyond = failures - free_tries;
    if (beyond < 0)
        return 0;
    return beyond >= 10 ? DELAY_MOST_MS : DELAY_FIRST_MS << beyond;
}

tr_status tr_throttle_try(tr_vault *vault, const char *uid, const char *address, int64_t *wait_s,
                          tr_error *err) {
    tr_throttle *t = vault->throttle;
    uint8_t pair[32], alone[32];
    *wait_s = 0;
    tr_status st = key_of(t, uid, address, pair, err);
    if (st == TR_OK)
        st = key_of(t, "", address, alone, err);
    if (st != TR_OK)
        return st;
    int64_t now = tr_monotonic_ms() + FORGET_MS; /* never 0, which is an unused entry */
    pthread_mutex_lock(&t->mutex);
    entry *one = find(t, pair, now), *all = find(t, alone, now);
    int64_t until = one->last + delay_after(one->failures, t->free_tries);
    int64_t until_all = all->last + delay_after(all->failures, t->free_tries * ADDRESS_FACTOR);
    until = until > until_all ? until : until_all;
    if (one->last + all->last > 0 && until > now) {
        *wait_s = (until - now + 999) / 1000;
    } else {
        one->failures++;
        all->failures++;
        one->last = all->last = now;
    }
    pthread_mutex_unlock(&t->mutex);
    return *wait_s ? tr_fail(err, TR_E_RATE, NULL, "too many failed sign-ins; wait before the next") : TR_OK;
}

void tr_throttle_success(tr_vault *vault, const char *uid, const char *address) {
    tr_throttle *t = vault->throttle;
    uint8_t pair[32], alone[32];
    if (key_of(t, uid, address, pair, NULL) != TR_OK || key_of(t, "", address, alone, NULL) != TR_OK)
        return;
    int64_t now = tr_monotonic_ms() + FORGET_MS;
    pthread_mutex_lock(&t->mutex);
    entry *one = find(t, pair, now), *all = find(t, alone, now);
    one->failures = 0;
    if (all->failures > 0)
        all->failures--; /* one good uid does not buy tries for others */
    pthread_mutex_unlock(&t->mutex);
}
