#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DAY_MS 86400000

static _Atomic int64_t test_now; /* the process's own; 0 outside tests */

#ifdef TR_TEST_HOOKS
static int64_t test_offset; /* set once */

static void read_test_offset(void) {
    const char *text = getenv("TRESOR_TEST_CLOCK_OFFSET_MS");
    test_offset = text ? strtoll(text, NULL, 10) : 0;
}

static int64_t offset_ms(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_test_offset);
    return test_offset;
}
#else
static int64_t offset_ms(void) {
    return 0;
}
#endif

int64_t tr_now_ms(void) {
    int64_t fixed = atomic_load_explicit(&test_now, memory_order_relaxed);
    struct timespec now;
    if (fixed)
        return fixed;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + offset_ms();
}

void tr_clock_set_for_test(int64_t now_ms) {
    atomic_store(&test_now, now_ms);
}

int64_t tr_monotonic_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

tr_status tr_monotonic_cond(pthread_cond_t *cond, tr_error *err) {
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    bool ready = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                 pthread_cond_init(cond, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return ready ? TR_OK : tr_fail(err, TR_E_INTERNAL, NULL, "no condition to wait for");
}

int64_t tr_monotonic_ms(void) {
    return tr_monotonic_us() / 1000;
}

/* Not gmtime_r, which takes a lock, nor snprintf: each request writes some times. The days are counted from
 * 0000-03-01, so that a leap day is a year's last one, in eras of 400 years. */
tr_date tr_date_of(int64_t ms) {
    if (ms < TR_TIME_LEAST || ms > TR_TIME_MOST)
        ms = ms < TR_TIME_LEAST ? TR_TIME_LEAST : TR_TIME_MOST;
    const uint32_t from_march = 719468, era_days = 146097;
    uint64_t whole = (uint64_t)(ms + (int64_t)from_march * DAY_MS);
    uint32_t days = (uint32_t)(whole / DAY_MS), rest = (uint32_t)(whole % DAY_MS);
    uint32_t day = days % era_days;
    uint32_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    uint32_t month = (5 * day + 2) / 153; /* 0: March */
    day -= (153 * month + 2) / 5;
    year += days / era_days * 400 + (month >= 10);
    return (tr_date){.year = (int)year,
                     .month = (int)(month < 10 ? month + 3 : month - 9),
                     .day = (int)day + 1,
                     .weekday = (int)((days + 3) % 7),
                     .hour = (int)(rest / 3600000),
                     .minute = (int)(rest / 60000 % 60),
                     .second = (int)(rest / 1000 % 60),
                     .ms = (int)(rest % 1000)};
}

void tr_digits(char *out, int count, int value) {
    for (int i = count - 1; i >= 0; i--, value /= 10)
        out[i] = (char)('0' + value % 10);
}

void tr_time_format(int64_t ms, char out[TR_TIME_TEXT]) {
    const tr_date d = tr_date_of(ms);
    memcpy(out, "0000-00-00T00:00:00.000Z", TR_TIME_TEXT);
    tr_digits(out, 4, d.year);
    tr_digits(out + 5, 2, d.month);
    tr_digits(out + 8, 2, d.day);
    tr_digits(out + 11, 2, d.hour);
    tr_digits(out + 14, 2, d.minute);
    tr_digits(out + 17, 2, d.second);
    tr_digits(out + 20, 3, d.ms);
}

static bool digits(const char *text, int count, int *value) {
    *value = 0;
    for (int i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *value = *value * 10 + (text[i] - '0');
    }
    return true;
}

int tr_days_in_month(int year, int month) {
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* The offset at text[0..len): "Z" or "+hh:mm"; in minutes. */
static bool parse_offset(const char *text, size_t len, int *minutes) {
    int h, m;
    *minutes = 0;
    if (len == 1)
        return text[0] == 'Z' || text[0] == 'z';
    if (len != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':' || !digits(text + 1, 2, &h) ||
        !digits(text + 4, 2, &m) || h > 23 || m > 59)
        return false;
    *minutes = (h * 60 + m) * (text[0] == '-' ? -1 : 1);
    return true;
}

/* The fraction at text[0..len), if any: *used characters, *ms its milliseconds. */
static bool parse_fraction(const char *text, size_t len, size_t *used, int *ms) {
    int scale = 100;
    *used = 0;
    *ms = 0;
    if (len == 0 || text[0] != '.')
        return true;
    for (*used = 1; *used < len && text[*used] >= '0' && text[*used] <= '9'; (*used)++, scale /= 10)
        *ms += (text[*used] - '0') * scale;
    return *used > 1;
}

bool tr_time_parse(const char *text, size_t len, int64_t *ms) {
    int year, month, day, h, m, s, milli, offset;
    size_t used;
    if (len < 20 || len > 64 || !digits(text, 4, &year) || text[4] != '-' || !digits(text + 5, 2, &month) ||
        text[7] != '-' || !digits(text + 8, 2, &day) || (text[10] != 'T' && text[10] != 't') ||
        !digits(text + 11, 2, &h) || text[13] != ':' || !digits(text + 14, 2, &m) || text[16] != ':' ||
        !digits(text + 17, 2, &s))
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > tr_days_in_month(year, month) || h > 23 ||
        m > 59 || s > 60)
        return false;
    if (!parse_fraction(text + 19, len - 19, &used, &milli) ||
        !parse_offset(text + 19 + used, len - 19 - used, &offset))
        return false;
    /* A leap second is the last one of a UTC day's last minute. */
    int utc_minute = ((h * 60 + m - offset) % 1440 + 1440) % 1440;
    if (s == 60 && utc_minute != 1439)
        return false;
    struct tm tm = {
        .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = h, .tm_min = m, .tm_sec = s};
    *ms = ((int64_t)timegm(&tm) - (int64_t)offset * 60) * 1000 + milli;
    return *ms >= TR_TIME_LEAST && *ms <= TR_TIME_MOST;
}
