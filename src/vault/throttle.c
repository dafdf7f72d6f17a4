#include "vault/throttle.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "vault/principals.h"
#include "vault/vault_internal.h"

#define ENTRIES        8192 /* a power of two */
#define PROBES         8
#define DELAY_FIRST_MS 1000
#define FORGET_MS      (60 * 60 * 1000)
#define STORM_MINUTES  10

typedef struct entry {
    uint8_t key[16]; /* of the hash of who is counted; no uid is kept */
    int64_t failures;
    int64_t last;
    uint16_t minutes[STORM_MINUTES]; /* failed sign-ins in each of the last minutes, in a ring */
    int64_t minute;                  /* the newest of them */
    int64_t stormed;                 /* when a storm was told; 0: never */
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

/* One network counts as one address: an IPv6 customer has a /64 to choose from. */
static void network_of(const char *address, char out[INET6_ADDRSTRLEN]) {
    struct in6_addr v6;
    if (inet_pton(AF_INET6, address, &v6) == 1 && !IN6_IS_ADDR_V4MAPPED(&v6)) {
        memset(v6.s6_addr + 8, 0, 8);
        if (inet_ntop(AF_INET6, &v6, out, INET6_ADDRSTRLEN))
            return;
    }
    (void)snprintf(out, INET6_ADDRSTRLEN, "%s", address);
}

enum { PAIR, NETWORK, NAME, COUNTERS };

/* How many tries each counter gives free, as a multiple of the setting, and the longest delay it makes. A uid
 * that is tried from everywhere is slowed down only a little: more would shut its owner out. */
static const struct {
    bool uid, network;
    int64_t factor, most_ms;
} counters[COUNTERS] = {
    [PAIR] = {true, true, 1, 15 * 60 * 1000},
    [NETWORK] = {false, true, 20, 15 * 60 * 1000},
    [NAME] = {true, false, 20, 30 * 1000},
};

static tr_status keys_of(const tr_throttle *t, const char *uid, const char *address,
                         uint8_t keys[COUNTERS][32], tr_error *err) {
    char folded[TR_UID_MAX + 1], network[INET6_ADDRSTRLEN];
    size_t n = 0;
    for (; n < sizeof folded - 1 && uid[n]; n++)
        folded[n] = (char)tolower((unsigned char)uid[n]);
    folded[n] = '\0';
    network_of(address, network);
    tr_status st = TR_OK;
    for (int i = 0; st == TR_OK && i < COUNTERS; i++) {
        const char *name = counters[i].uid ? folded : "", *net = counters[i].network ? network : "";
        const tr_bytes parts[3] = {{t->salt, sizeof t->salt}, {name, strlen(name) + 1}, {net, strlen(net)}};
        st = tr_sha256(parts, 3, keys[i], err);
    }
    return st;
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
    memset(oldest->minutes, 0, sizeof oldest->minutes);
    oldest->minute = oldest->stormed = 0;
    return oldest;
}

static int64_t delay_after(const entry *e, int kind, int64_t free_tries) {
    int64_t beyond = e->failures - free_tries * counters[kind].factor;
    if (beyond < 0)
        return 0;
    int64_t delay = beyond >= 10 ? counters[kind].most_ms : DELAY_FIRST_MS << beyond;
    return delay < counters[kind].most_ms ? delay : counters[kind].most_ms;
}

tr_status tr_throttle_try(tr_vault *vault, const char *uid, const char *address, int64_t *wait_s,
                          tr_error *err) {
    tr_throttle *t = vault->throttle;
    uint8_t keys[COUNTERS][32];
    int64_t wait_ms = 0;
    *wait_s = 0;
    tr_status st = keys_of(t, uid, address, keys, err);
    if (st != TR_OK)
        return st;
    int64_t now = tr_monotonic_ms() + FORGET_MS; /* never 0, which is an unused entry */
    pthread_mutex_lock(&t->mutex);
    for (int i = 0; i < COUNTERS; i++) {
        const entry *e = find(t, keys[i], now);
        int64_t left = e->last ? e->last + delay_after(e, i, t->free_tries) - now : 0;
        wait_ms = left > wait_ms ? left : wait_ms;
    }
    for (int i = 0; i < COUNTERS && wait_ms == 0; i++) {
        entry *e = find(t, keys[i], now);
        e->failures++;
        e->last = now;
    }
    pthread_mutex_unlock(&t->mutex);
    *wait_s = (wait_ms + 999) / 1000;
    return wait_ms ? tr_fail(err, TR_E_RATE, NULL, "too many failed sign-ins; wait before the next") : TR_OK;
}

/* ---- storms ---- */

static bool is_storm(entry *e, int64_t now, int64_t most) {
    int64_t minute = now / 60000, sum = 0;
    if (minute - e->minute > STORM_MINUTES)
        e->minute = minute - STORM_MINUTES;
    while (e->minute < minute)
        e->minutes[++e->minute % STORM_MINUTES] = 0;
    uint16_t *here = &e->minutes[minute % STORM_MINUTES];
    *here += *here < UINT16_MAX;
    for (int i = 0; i < STORM_MINUTES; i++)
        sum += e->minutes[i];
    if (sum < most || (e->stormed && now - e->stormed < STORM_MINUTES * 60000))
        return false;
    e->stormed = now;
    return true;
}

void tr_throttle_failed(tr_vault *vault, const char *uid, const char *address, int *storm) {
    tr_throttle *t = vault->throttle;
    int64_t most = vault->config->sign_in_storm, now = tr_monotonic_ms() + FORGET_MS;
    uint8_t keys[COUNTERS][32];
    *storm = 0;
    if (most == 0 || keys_of(t, uid, address, keys, NULL) != TR_OK)
        return;
    pthread_mutex_lock(&t->mutex);
    if (is_storm(find(t, keys[NETWORK], now), now, most))
        *storm |= TR_STORM_NETWORK;
    if (is_storm(find(t, keys[NAME], now), now, most))
        *storm |= TR_STORM_NAME;
    pthread_mutex_unlock(&t->mutex);
}

void tr_throttle_success(tr_vault *vault, const char *uid, const char *address) {
    tr_throttle *t = vault->throttle;
    uint8_t keys[COUNTERS][32];
    if (keys_of(t, uid, address, keys, NULL) != TR_OK)
        return;
    int64_t now = tr_monotonic_ms() + FORGET_MS;
    pthread_mutex_lock(&t->mutex);
    for (int i = 0; i < COUNTERS; i++) {
        entry *e = find(t, keys[i], now);
        /* One good uid does not buy its network tries for others. */
        e->failures = i == NETWORK ? (e->failures > 0 ? e->failures - 1 : 0) : 0;
    }
    pthread_mutex_unlock(&t->mutex);
}
