#include "vault/snapshot_keep.h"

#include <time.h>

#define DAY_MS 86400000

static int64_t day_of(int64_t ms) {
    return ms >= 0 ? ms / DAY_MS : (ms - DAY_MS + 1) / DAY_MS;
}

/* 1970 began on a Thursday. */
static int64_t week_of(int64_t ms) {
    int64_t day = day_of(ms) + 3;
    return day >= 0 ? day / 7 : (day - 6) / 7;
}

static int64_t month_of(int64_t ms) {
    time_t seconds = (time_t)(day_of(ms) * (DAY_MS / 1000));
    struct tm parts = {0};
    (void)gmtime_r(&seconds, &parts);
    return (int64_t)parts.tm_year * 12 + parts.tm_mon;
}

static void keep_newest_of(const int64_t *created_ms, size_t count, int64_t (*period_of)(int64_t),
                           int64_t most, bool *kept) {
    int64_t newer = 0;
    for (size_t i = count; i > 0 && most > 0; i--) {
        int64_t period = period_of(created_ms[i - 1]);
        if (i < count && period == newer)
            continue;
        kept[i - 1] = true;
        newer = period;
        most--;
    }
}

void tr_snapshots_choose(const int64_t *created_ms, size_t count, const tr_keep *rule, bool *kept) {
    for (size_t i = 0; i < count; i++)
        kept[i] = i + 1 == count || (int64_t)(count - i) <= rule->last;
    keep_newest_of(created_ms, count, day_of, rule->daily, kept);
    keep_newest_of(created_ms, count, week_of, rule->weekly, kept);
    keep_newest_of(created_ms, count, month_of, rule->monthly, kept);
}
