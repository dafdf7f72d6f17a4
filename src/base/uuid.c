#include "base/uuid.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"

#define READY 32

typedef struct fresh {
    uint64_t low;
    uint32_t step;
    uint16_t high;
} fresh;

/* RFC 9562 section 6.2, method 2: within one millisecond the random part counts up by a random step. */
static struct {
    pthread_mutex_t mutex;
    uint64_t ms;
    uint64_t high;      /* 12 bits, rand_a */
    uint64_t low;       /* 62 bits, rand_b */
    fresh ready[READY]; /* drawn at once: a call of the generator costs more than the bytes */
    int left;
} last = {.mutex = PTHREAD_MUTEX_INITIALIZER};

#define LOW_BITS 62
#define LOW_MASK ((UINT64_C(1) << LOW_BITS) - 1)

tr_uuid tr_uuid_new(void) {
    uint64_t now = (uint64_t)tr_now_ms();
    pthread_mutex_lock(&last.mutex);
    if (last.left == 0) {
        if (RAND_bytes((unsigned char *)last.ready, sizeof last.ready) != 1)
            abort();
        last.left = READY;
    }
    fresh drawn = last.ready[--last.left];
    if (now > last.ms) {
        last.ms = now;
        last.high = drawn.high & 0x7ff; /* the top bit is left for counting up */
        last.low = drawn.low & LOW_MASK;
    } else {
        last.low += 1 + (uint64_t)drawn.step;
        if (last.low > LOW_MASK) {
            last.low &= LOW_MASK;
            if (++last.high > 0xfff) {
                last.high = 0;
                last.ms++;
            }
        }
    }
    uint64_t ms = last.ms, high = last.high, low = last.low;
    pthread_mutex_unlock(&last.mutex);

    tr_uuid id;
    for (int i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    id.bytes[6] = (uint8_t)(0x70 | (high >> 8));
    id.bytes[7] = (uint8_t)high;
    low |= UINT64_C(2) << LOW_BITS;
    for (int i = 0; i < 8; i++)
        id.bytes[8 + i] = (uint8_t)(low >> (56 - 8 * i));
    return id;
}

/* The groups of 8-4-4-4-12 characters, in bytes. */
static const uint8_t groups[] = {4, 2, 2, 2, 6};

void tr_uuid_format(const tr_uuid *id, char out[TR_UUID_TEXT]) {
    const uint8_t *from = id->bytes;
    for (size_t i = 0; i < sizeof groups; i++) {
        if (i > 0)
            *out++ = '-';
        tr_hex_encode(from, groups[i], out);
        from += groups[i];
        out += 2 * groups[i];
    }
}

bool tr_uuid_parse(const char *text, size_t len, tr_uuid *id) {
    uint8_t *to = id->bytes;
    if (len != TR_UUID_TEXT - 1)
        return false;
    for (size_t i = 0; i < sizeof groups; i++) {
        if ((i > 0 && *text++ != '-') || !tr_hex_decode(text, 2 * (size_t)groups[i], to, groups[i]))
            return false;
        text += 2 * groups[i];
        to += groups[i];
    }
    return true;
}

bool tr_uuid_equal(const tr_uuid *a, const tr_uuid *b) {
    return memcmp(a->bytes, b->bytes, 16) == 0;
}

bool tr_uuid_is_nil(const tr_uuid *id) {
    static const tr_uuid nil;
    return tr_uuid_equal(id, &nil);
}
