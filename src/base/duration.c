#include "base/duration.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"

#define NUMBER_MOST INT64_C(99999999999) /* even in seconds a multiple of the years that there are */

struct unit {
    char letter;
    int64_t months, days, seconds; /* what one of it is */
};

static const struct unit week_units[] = {{'W', 0, 7, 0}, {0}};
static const struct unit date_units[] = {{'Y', 12, 0, 0}, {'M', 1, 0, 0}, {'D', 0, 1, 0}, {0}};
static const struct unit time_units[] = {{'H', 0, 0, 3600}, {'M', 0, 0, 60}, {'S', 0, 0, 1}, {0}};

struct text {
    const char *at, *end;
};

/* Digits: how many, and their number, which stays below what would overflow. */
static int take_number(struct text *t, int64_t *value) {
    int digits = 0;
    *value = 0;
    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++, digits++)
        *value = *value > NUMBER_MOST ? *value : *value * 10 + (*t->at - '0');
    return digits;
}

/* Numbers with these units, which follow one another without a gap; how many. The text behind them is left
 * for whoever reads on. */
static int take_units(struct text *t, const struct unit *units, tr_duration *out) {
    const struct unit *next = NULL;
    int count = 0;
    for (;;) {
        const char *begin = t->at;
        int64_t value;
        int digits = take_number(t, &value);
        const struct unit *unit = next ? next : units;
        while (digits && t->at < t->end && !next && unit->letter && unit->letter != *t->at)
            unit++;
        if (!digits || t->at == t->end || !unit->letter || unit->letter != *t->at) {
            t->at = begin;
            return count;
        }
        t->at++;
        out->months += value * unit->months;
        out->days += value * unit->days;
        out->seconds += value * unit->seconds;
        next = unit + 1;
        count++;
    }
}

bool tr_duration_parse(const char *text, size_t len, tr_duration *out) {
    struct text t = {text, text + len};
    *out = (tr_duration){0};
    if (len == 0 || *t.at++ != 'P')
        return false;
    if (take_units(&t, week_units, out) == 1)
        return t.at == t.end;
    int parts = take_units(&t, date_units, out);
    if (t.at < t.end && *t.at == 'T') {
        t.at++;
        int times = take_units(&t, time_units, out);
        if (times == 0)
            return false;
        parts += times;
    }
    return parts > 0 && t.at == t.end;
}

int64_t tr_duration_add(int64_t ms, const tr_duration *duration) {
    int64_t seconds = ms / 1000, rest = ms % 1000;
    struct tm tm;
    if (rest < 0) {
        rest += 1000;
        seconds--;
    }
    time_t at = (time_t)seconds;
    (void)gmtime_r(&at, &tm);
    int64_t month = (tm.tm_year + INT64_C(1900)) * 12 + tm.tm_mon + duration->months;
    if (month / 12 > 9999)
        return TR_TIME_MOST;
    tm.tm_year = (int)(month / 12) - 1900;
    tm.tm_mon = (int)(month % 12);
    int last = tr_days_in_month((int)(month / 12), tm.tm_mon + 1);
    tm.tm_mday = tm.tm_mday < last ? tm.tm_mday : last;
    int64_t end = (int64_t)timegm(&tm) + duration->days * 86400 + duration->seconds;
    return end > TR_TIME_MOST / 1000 ? TR_TIME_MOST : end * 1000 + rest;
}
