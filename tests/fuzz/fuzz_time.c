/* Times (RFC 3339) and durations (ISO 8601): a time, a newline, a duration. What is taken is one that can be
 * written, and is read as the same again; a duration added never leads back, nor beyond the last year. */
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "fuzz_must.h"

static bool read_time(const char *text, size_t len, int64_t *ms) {
    char out[TR_TIME_TEXT];
    int64_t again = 0;
    if (!tr_time_parse(text, len, ms))
        return false;
    MUST(*ms >= TR_TIME_LEAST && *ms <= TR_TIME_MOST);
    tr_time_format(*ms, out);
    MUST(strlen(out) == TR_TIME_TEXT - 1 && tr_time_parse(out, strlen(out), &again) && again == *ms);
    return true;
}

/* A duration in its longest form is the same one. */
static void read_again(const tr_duration *duration) {
    char text[128];
    tr_duration again;
    (void)snprintf(text, sizeof text, "P0Y%lldM%lldDT0H0M%lldS", (long long)duration->months,
                   (long long)duration->days, (long long)duration->seconds);
    MUST(tr_duration_parse(text, strlen(text), &again));
    const int64_t much = 90000000000;
    if (duration->months < much && duration->days < much && duration->seconds < much)
        MUST(again.months == duration->months && again.days == duration->days &&
             again.seconds == duration->seconds);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data, *newline = size ? memchr(text, '\n', size) : NULL;
    const size_t head = newline ? (size_t)(newline - text) : size;
    int64_t ms = 0;
    tr_duration duration;
    if (!read_time(text, head, &ms))
        ms = 0;
    if (!newline || !tr_duration_parse(newline + 1, size - head - 1, &duration))
        return 0;
    read_again(&duration);
    const int64_t end = tr_duration_add(ms, &duration);
    MUST(end >= ms && end <= TR_TIME_MOST);
    const tr_duration none = {0};
    MUST(tr_duration_add(ms, &none) == ms);
    return 0;
}
