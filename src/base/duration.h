/* ISO 8601 durations as RFC 3339 (appendix A) writes them: P10Y, P1Y6M, P2W, P30D, PT12H, P1DT1H30M. Whole
 * numbers only; units in order and without a gap (P1Y1D is none); weeks stand alone.
 */
#ifndef TR_BASE_DURATION_H
#define TR_BASE_DURATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tr_duration {
    int64_t months; /* years are twelve of them */
    int64_t days;   /* weeks are seven of them */
    int64_t seconds;
} tr_duration;

/* False when it is none. A number too large to matter counts as one that reaches beyond the year 9999. */
bool tr_duration_parse(const char *text, size_t len, tr_duration *out);
/* The time that lies this much after `ms`, by the calendar in UTC: the same day of the month so many months
 * on, or that month's last day when it has no such day; then the days, then the time. Beyond the year 9999:
 * its end (TR_TIME_MOST). */
int64_t tr_duration_add(int64_t ms, const tr_duration *duration);

#endif
