/* Time: milliseconds since 1970-01-01T00:00:00Z as int64_t ("ms"), and RFC 3339 texts in UTC. */
#ifndef TR_BASE_CLOCK_H
#define TR_BASE_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define TR_TIME_TEXT 25 /* "2026-11-24T12:00:00.000Z" and NUL */
/* What RFC 3339 can write: 0001-01-01T00:00:00.000Z to 9999-12-31T23:59:59.999Z. */
#define TR_TIME_LEAST INT64_C(-62135596800000)
#define TR_TIME_MOST  INT64_C(253402300799999)

/* Wall-clock time in ms. Tests may move it: TRESOR_TEST_CLOCK_OFFSET_MS (read once, only in builds with
 * TR_TEST_HOOKS) or tr_clock_set_for_test(). */
int64_t tr_now_ms(void);
void tr_clock_set_for_test(int64_t now_ms); /* 0: back to the real clock */
/* A clock that never goes back, in ms, for durations and time-outs only. */
int64_t tr_monotonic_ms(void);
int64_t tr_monotonic_us(void);
/* A condition whose waits end by that clock. */
tr_status tr_monotonic_cond(pthread_cond_t *cond, tr_error *err);

/* A moment in UTC, by the Gregorian calendar; beyond the years 0001 to 9999, the nearest. */
typedef struct tr_date {
    int year, month, day; /* from 1 */
    int weekday;          /* 0: Sunday */
    int hour, minute, second, ms;
} tr_date;

tr_date tr_date_of(int64_t ms);
/* Write value's last `count` decimal digits, no NUL. */
void tr_digits(char *out, int count, int value);
/* Write `ms` as RFC 3339 UTC with milliseconds into out[TR_TIME_TEXT]; beyond the years 0001 to 9999, the
 * nearest. */
void tr_time_format(int64_t ms, char out[TR_TIME_TEXT]);
/* Read an RFC 3339 date-time (any offset; fraction up to ns is cut to ms; years 0001 to 9999; a leap second
 * is taken as the next second). Returns false when it is not one. */
bool tr_time_parse(const char *text, size_t len, int64_t *ms);
int tr_days_in_month(int year, int month); /* 1 to 12, Gregorian */

#endif
