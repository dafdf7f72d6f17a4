#include "base/uuid.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* RFC 9562 section 6.2, method 2: within one millisecond the random part counts up by a random step. */
static struct {
    pthread_mutex_t mutex;
    uint64_t ms;
    uint64_t high; /* 12 bits, rand_a */
    uint64_t low;  /* 62 bits, rand_b */
} last = {.mutex = PTHREAD_MUTEX_INITIALIZER};

#define LOW_BITS 62
#define LOW_MASK ((UINT64_C(1) << LOW_BITS) - 1)

tr_uuid tr_uuid_new(void) {
    struct {
        uint64_t low;
        uint32_t step;
        uint16_t high;
    } fresh;
    if (RAND_bytes((unsigned char *)&fresh, sizeof fresh) != 1)
        abort();
    uint64_t now = (uint64_t)tr_now_ms();
    pthread_mutex_lock(&last.mutex);
    if (now > last.ms) {
        last.ms = now;
        last.high = fresh.high & 0x7ff; /* the top bit is left for counting up */
        last.low = fresh.low & LOW_MASK;
    } else {
        last.low += 1 + (uint64_t)fresh.step;
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

static bool dash_before(int byte) {
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void tr_uuid_format(const tr_uuid *id, char out[TR_UUID_TEXT]) {
    static const char hex[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        if (dash_before(i))
            *out++ = '-';
        *out++ = hex[id->bytes[i] >> 4];
        *out++ = hex[id->bytes[i] & 15];
    }
    *out = '\0';
}

static int nibble(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool tr_uuid_parse(const char *text, size_t len, tr_uuid *id) {
    if (len != 36)
        return false;
    for (int i = 0; i < 16; i++) {
        if (dash_before(i) && *text++ != '-')
            return false;
        int a = nibble(text[0]), b = a < 0 ? -1 : nibble(text[1]);
        if (b < 0)
            return false;
        id->bytes[i] = (uint8_t)(a << 4 | b);
        text += 2;
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
