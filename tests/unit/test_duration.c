/* Durations: what is one, and where the calendar leads. */
#include "hex.h"

#include "base/clock.h"
#include "base/duration.h"

static void adds(const char *from, const char *duration, const char *to) {
    int64_t ms = 0;
    tr_duration d;
    char out[TR_TIME_TEXT];
    assert_true(tr_time_parse(from, strlen(from), &ms));
    if (!tr_duration_parse(duration, strlen(duration), &d))
        fail_msg("refused: %s", duration);
    tr_time_format(tr_duration_add(ms, &d), out);
    assert_string_equal(out, to);
}

static void test_units(void **state) {
    (void)state;
    adds("2026-11-24T12:34:56.789Z", "P1Y", "2027-11-24T12:34:56.789Z");
    adds("2026-11-24T12:34:56.789Z", "P10Y", "2036-11-24T12:34:56.789Z");
    adds("2026-11-24T12:34:56.789Z", "P2M", "2027-01-24T12:34:56.789Z");
    adds("2026-11-24T12:34:56.789Z", "P18M", "2028-05-24T12:34:56.789Z");
    adds("2026-11-24T12:34:56.789Z", "P30D", "2026-12-24T12:34:56.789Z");
    adds("2026-11-24T12:34:56.789Z", "P2W", "2026-12-08T12:34:56.789Z");
    adds("2026-11-24T12:34:56.789Z", "PT36H", "2026-11-26T00:34:56.789Z");
    adds("2026-11-24T12:34:56.789Z", "PT90M", "2026-11-24T14:04:56.789Z");
    adds("2026-11-24T12:34:56.789Z", "PT61S", "2026-11-24T12:35:57.789Z");
    adds("2026-11-24T12:34:56.789Z", "P1Y2M3DT4H5M6S", "2028-01-27T16:40:02.789Z");
    adds("2026-11-24T12:34:56.789Z", "P0D", "2026-11-24T12:34:56.789Z");
    adds("2026-11-24T12:34:56.789Z", "P0000000000000000000000001D", "2026-11-25T12:34:56.789Z");
}

static void test_month_ends(void **state) {
    (void)state;
    adds("2026-01-31T08:00:00Z", "P1M", "2026-02-28T08:00:00.000Z");
    adds("2024-01-31T08:00:00Z", "P1M", "2024-02-29T08:00:00.000Z");
    adds("2024-02-29T08:00:00Z", "P1Y", "2025-02-28T08:00:00.000Z");
    adds("2024-02-29T08:00:00Z", "P4Y", "2028-02-29T08:00:00.000Z");
    adds("1896-02-29T08:00:00Z", "P4Y", "1900-02-28T08:00:00.000Z"); /* no leap year */
    adds("2026-03-31T08:00:00Z", "P1M", "2026-04-30T08:00:00.000Z");
    adds("2026-12-31T23:59:59.999Z", "P2M", "2027-02-28T23:59:59.999Z");
    /* The month comes first, then its days. */
    adds("2026-01-31T08:00:00Z", "P1M1D", "2026-03-01T08:00:00.000Z");
    adds("2026-02-27T08:00:00Z", "P2D", "2026-03-01T08:00:00.000Z");
    adds("1969-12-31T23:59:59.001Z", "P1M", "1970-01-31T23:59:59.001Z"); /* before 1970 */
    adds("1969-12-31T23:59:59.001Z", "PT1S", "1970-01-01T00:00:00.001Z");
}

/* What lies beyond the calendar is as late as it gets, and nothing overflows. */
static void test_beyond(void **state) {
    (void)state;
    static const char *const far[] = {"P8000Y",
                                      "P999999999999999999999999Y",
                                      "P96000M",
                                      "P99999999999W",
                                      "P99999999999999999999D",
                                      "PT999999999999999999H",
                                      "PT99999999999999999999S"};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++)
        adds("2026-11-24T12:00:00Z", far[i], "9999-12-31T23:59:59.999Z");
    adds("9999-12-31T23:59:59.999Z", "P0D", "9999-12-31T23:59:59.999Z");
    adds("9999-12-31T23:59:59.999Z", "PT1S", "9999-12-31T23:59:59.999Z");
    adds("2026-11-24T12:00:00Z", "P7973Y", "9999-11-24T12:00:00.000Z");
}

static void test_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"",      "P",     "1Y",   "p1Y",   "P1",    "PT",    "P1DT",
                                        "P1Y1D", "P1M1Y", "P1S",  "PT1D",  "P1W1D", "P1Y1W", "P1.5Y",
                                        "P-1Y",  "-P1Y",  "+P1Y", " P1Y",  "P1Y ",  "P1Yx",  "PT1H1S",
                                        "P1YT",  "PY",    "P1y",  "P1Y1Y", "10Y",   "P1DT1"};
    tr_duration d;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (tr_duration_parse(wrong[i], strlen(wrong[i]), &d))
            fail_msg("taken: %s", wrong[i]);
    }
    assert_false(tr_duration_parse("P1Y\0", 4, &d));
    assert_false(tr_duration_parse("P1Y", 2, &d)); /* reads no further than told */
}

static void test_days_in_month(void **state) {
    (void)state;
    assert_int_equal(tr_days_in_month(2023, 2), 28);
    assert_int_equal(tr_days_in_month(2024, 2), 29);
    assert_int_equal(tr_days_in_month(2100, 2), 28);
    assert_int_equal(tr_days_in_month(2000, 2), 29);
    assert_int_equal(tr_days_in_month(2026, 12), 31);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_units), cmocka_unit_test(test_month_ends),
                                       cmocka_unit_test(test_beyond), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_days_in_month)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
