#include "vault/deadline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define DAY_S     86400
#define FADP_DAYS 30

static const char *const rules[] = {"fadp", "gdpr"};

bool tr_deadline_rule_parse(const char *text, tr_deadline_rule *rule) {
    for (int i = 0; i < (int)(sizeof rules / sizeof *rules); i++) {
        if (strcmp(text, rules[i]) == 0) {
            *rule = (tr_deadline_rule)i;
            return true;
        }
    }
    return false;
}

/* ---- the zone ---- */

/* Without its file, glibc takes any name for UTC in silence. */
static bool has_file(const char *name) {
    const char *folder = getenv("TZDIR");
    char path[300], magic[4];
    int n = snprintf(path, sizeof path, "%s/%s", folder && *folder ? folder : "/usr/share/zoneinfo", name);
    FILE *file = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
    if (!file)
        return false;
    bool good = fread(magic, 1, sizeof magic, file) == sizeof magic && memcmp(magic, "TZif", 4) == 0;
    (void)fclose(file);
    return good;
}

static bool is_name(const char *name) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-/";
    return *name && *name != '/' && strspn(name, letters) == strlen(name);
}

tr_status tr_deadline_zone(const char *name, tr_error *err) {
    bool utc = strcmp(name, "UTC") == 0; /* the one that needs no file */
    if (!is_name(name) || (!utc && !has_file(name)))
        return tr_fail(err, TR_E_CONFIG, "time_zone",
                       "names no time zone known here (IANA, as Europe/Zurich; package tzdata)");
    if (setenv("TZ", utc ? "UTC0" : name, 1) != 0)
        return tr_fail(err, TR_E_NOMEM, "time_zone", "out of memory");
    tzset();
    return TR_OK;
}

/* ---- days: counted from 1970-01-01, the same count for each zone's own dates ---- */

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

static int64_t day_number(struct tm date) {
    date.tm_hour = date.tm_min = date.tm_sec = 0;
    return floor_div(timegm(&date), DAY_S);
}

static int64_t local_day(int64_t seconds) {
    time_t time = (time_t)seconds;
    struct tm date = {0};
    return localtime_r(&time, &date) ? day_number(date) : floor_div(seconds, DAY_S);
}

/* The last millisecond of that day here. Days have 23 to 25 hours, and some zones skip midnight or a whole
 * day: so the first second of a later date is searched for. */
static int64_t day_end(int64_t day) {
    int64_t before = day * DAY_S - DAY_S, after = (day + 3) * DAY_S; /* no zone is two days from UTC */
    while (after - before > 1) {
        int64_t middle = before + (after - before) / 2;
        if (local_day(middle) > day)
            after = middle;
        else
            before = middle;
    }
    return after * 1000 - 1;
}

static struct tm date_of(int64_t day) {
    time_t time = (time_t)(day * DAY_S);
    struct tm date = {0};
    (void)gmtime_r(&time, &date);
    return date;
}

/* The same date `months` later, or that month's last day; then off the weekend. */
static int64_t months_later(int64_t day, int months) {
    struct tm date = date_of(day);
    int wanted = date.tm_mday;
    struct tm last = {.tm_year = date.tm_year, .tm_mon = date.tm_mon + months + 1, .tm_mday = 0};
    int64_t end = day_number(last);
    int days = date_of(end).tm_mday;
    int64_t then = wanted < days ? end - (days - wanted) : end;
    int weekday = date_of(then).tm_wday; /* 0: Sunday */
    return then + (weekday == 6 ? 2 : weekday == 0 ? 1 : 0);
}

/* ---- deadlines ---- */

/* The end of the day that comes `days` days after the day of this moment. */
static int64_t days_later(int64_t at, int days) {
    return day_end(local_day(floor_div(at, 1000)) + days);
}

int64_t tr_deadline_due(tr_deadline_rule rule, int64_t received_at) {
    if (rule == TR_DEADLINE_FADP)
        return days_later(received_at, FADP_DAYS);
    return day_end(months_later(local_day(floor_div(received_at, 1000)), 1));
}

int64_t tr_deadline_most(tr_deadline_rule rule, int64_t received_at, int extra_days) {
    if (rule == TR_DEADLINE_FADP)
        return days_later(received_at, FADP_DAYS + extra_days);
    return day_end(months_later(local_day(floor_div(received_at, 1000)), 3));
}
