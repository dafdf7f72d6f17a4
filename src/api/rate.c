/* A token bucket for each principal: a minute's worth may come at once. In memory, of fixed size; principals
 * that fall on the same slot push each other out, which only gives them more.
 */
#include <pthread.h>
#include <stdlib.h>

#include "api/call.h"
#include "base/clock.h"

#define SLOTS 4096

struct tr_rate {
    pthread_mutex_t mutex;
    struct {
        tr_uuid principal;
        int64_t at;
        double left;
    } slots[SLOTS];
};

tr_status tr_rate_new(struct tr_rate **out, tr_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    pthread_mutex_init(&(*out)->mutex, NULL);
    return TR_OK;
}

void tr_rate_free(struct tr_rate *rate) {
    if (!rate)
        return;
    pthread_mutex_destroy(&rate->mutex);
    free(rate);
}

tr_status tr_rate_take(struct tr_rate *rate, const tr_uuid *principal, int64_t per_minute, int64_t *wait_s,
                       tr_error *err) {
    if (per_minute <= 0)
        return TR_OK;
    size_t i = ((size_t)principal->bytes[14] << 8 | principal->bytes[15]) % SLOTS;
    int64_t now = tr_monotonic_ms();
    double each_ms = 60000.0 / (double)per_minute;
    *wait_s = 0;
    pthread_mutex_lock(&rate->mutex);
    if (!tr_uuid_equal(&rate->slots[i].principal, principal)) {
        rate->slots[i].principal = *principal;
        rate->slots[i].left = (double)per_minute;
    } else {
        rate->slots[i].left += (double)(now - rate->slots[i].at) / each_ms;
        if (rate->slots[i].left > (double)per_minute)
            rate->slots[i].left = (double)per_minute;
    }
    rate->slots[i].at = now;
    if (rate->slots[i].left >= 1)
        rate->slots[i].left -= 1;
    else
        *wait_s = (int64_t)((1 - rate->slots[i].left) * each_ms / 1000) + 1;
    pthread_mutex_unlock(&rate->mutex);
    return *wait_s ? tr_fail(err, TR_E_RATE, NULL, "more requests than a minute allows") : TR_OK;
}
