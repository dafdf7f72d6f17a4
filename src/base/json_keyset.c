/* The set of an object's member names, for finding duplicates.
 *
 * A request chooses the names, so the hash is SipHash-2-4 under a random key: nobody can choose names that
 * collide.
 */
#include "base/json_keyset.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_SLOTS 64

static uint64_t rotate(uint64_t x, int bits) {
    return (x << bits) | (x >> (64 - bits));
}

static void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static uint64_t siphash(const uint64_t key[2], const char *bytes, size_t n) {
    uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                     key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t word = 0;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, bytes + i, 8);
        v[3] ^= word;
        sip_round(v);
        sip_round(v);
        v[0] ^= word;
    }
    word = 0;
    memcpy(&word, bytes + i, n - i);
    word |= (uint64_t)n << 56;
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int round = 0; round < 4; round++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The slot that holds `name`, or the free one where it belongs. */
static const char **slot_of(const tr_json_keyset *set, const char **slots, size_t capacity,
                            const char *name) {
    size_t i = siphash(set->key, name, strlen(name)) & (capacity - 1);
    while (slots[i] != NULL && strcmp(slots[i], name) != 0)
        i = (i + 1) & (capacity - 1);
    return &slots[i];
}

static bool grow(tr_json_keyset *set) {
    size_t capacity = set->capacity == 0 ? FIRST_SLOTS : set->capacity * 2;
    const char **slots = calloc(capacity, sizeof *slots);
    if (slots == NULL)
        return false;
    if (set->capacity == 0 && getrandom(set->key, sizeof set->key, 0) != (ssize_t)sizeof set->key) {
        free(slots);
        return false;
    }
    for (size_t i = 0; i < set->capacity; i++)
        if (set->slots[i] != NULL)
            *slot_of(set, slots, capacity, set->slots[i]) = set->slots[i];
    free(set->slots);
    set->slots = slots;
    set->capacity = capacity;
    return true;
}

tr_status tr_json_keyset_add(tr_json_keyset *set, const char *name, bool *added) {
    if (set->count * 2 >= set->capacity && !grow(set))
        return TR_E_NOMEM;
    const char **slot = slot_of(set, set->slots, set->capacity, name);
    *added = *slot == NULL;
    if (*added) {
        *slot = name;
        set->count++;
    }
    return TR_OK;
}

void tr_json_keyset_clear(tr_json_keyset *set) {
    free(set->slots);
    *set = (tr_json_keyset){0};
}
