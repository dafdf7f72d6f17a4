/* Which snapshots are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "vault/snapshot_keep.h"

#define MOST 400

/* `times` are RFC 3339, oldest first; `want` has a '+' for each that is kept. */
static void check(const char *const *times, const tr_keep *rule, const char *want) {
    int64_t at[MOST] = {0};
    bool kept[MOST];
    char got[MOST + 1] = "";
    size_t count = strlen(want);
    for (size_t i = 0; i < count; i++)
        assert_true(tr_time_parse(times[i], strlen(times[i]), &at[i]));
    tr_snapshots_choose(at, count, rule, kept);
    for (size_t i = 0; i < count; i++)
        got[i] = kept[i] ? '+' : '-';
    got[count] = '\0';
    assert_string_equal(got, want);
}

static const char *const times[] = {"2025-11-30T12:00:00Z", "2025-12-31T23:59:59Z",
                                    "2026-01-01T00:00:00Z", "2026-01-04T10:00:00Z", /* a Sunday */
                                    "2026-01-05T10:00:00Z", "2026-01-06T08:00:00Z",
                                    "2026-01-06T20:00:00Z", "2026-01-07T01:00:00Z"};

static void the_newest(void **state) {
    (void)state;
    check(times, &(tr_keep){.last = 1}, "-------+");
    check(times, &(tr_keep){.last = 3}, "-----+++");
    check(times, &(tr_keep){.last = 99}, "++++++++");
    check(times, &(tr_keep){0}, "-------+");
}

static void of_each_period(void **state) {
    (void)state;
    check(times, &(tr_keep){.daily = 2}, "------++");
    check(times, &(tr_keep){.daily = 4}, "---++-++");
    check(times, &(tr_keep){.weekly = 2}, "---+---+");
    check(times, &(tr_keep){.weekly = 3}, "+--+---+");
    check(times, &(tr_keep){.monthly = 2}, "-+-----+");
    check(times, &(tr_keep){.monthly = 12}, "++-----+");
    check(times, &(tr_keep){.last = 2, .daily = 1, .weekly = 2, .monthly = 2}, "-+-+--++");
}

static void none(void **state) {
    (void)state;
    check(times, &(tr_keep){.last = 5, .daily = 5, .weekly = 5, .monthly = 5}, "");
}

/* A year of daily ones: however it is cut off each day, what remains is what the rule says of the whole. */
static void day_by_day(void **state) {
    const tr_keep rule = {.last = 3, .daily = 7, .weekly = 5, .monthly = 12};
    int64_t at[MOST];
    bool kept[MOST];
    size_t count = 0, left = 0;
    (void)state;
    for (int day = 0; day < 365; day++) {
        at[count++] = (int64_t)1767225600000 + (int64_t)day * 86400000 + 7200000;
        tr_snapshots_choose(at, count, &rule, kept);
        left = 0;
        for (size_t i = 0; i < count; i++) {
            if (kept[i])
                at[left++] = at[i];
        }
        count = left;
    }
    assert_int_equal(count, 7 + 3 + 11); /* the days; older weeks; older months */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_newest), cmocka_unit_test(of_each_period),
                                       cmocka_unit_test(none), cmocka_unit_test(day_by_day)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
