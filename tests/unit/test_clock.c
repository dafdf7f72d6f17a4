/* Times and their texts. */
#include "hex.h"

#include <time.h>

#include "base/clock.h"

static void reads(const char *text, const char *utc) {
    int64_t ms = 0;
    char out[TR_TIME_TEXT];
    if (!tr_time_parse(text, strlen(text), &ms))
        fail_msg("refused: %s", text);
    tr_time_format(ms, out);
    assert_string_equal(out, utc);
}

static void test_read(void **state) {
    (void)state;
    /* RFC 3339 section 5.8. */
    reads("1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50.520Z");
    reads("1996-12-19T16:39:57-08:00", "1996-12-20T00:39:57.000Z");
    reads("1990-12-31T23:59:60Z", "1991-01-01T00:00:00.000Z");
    reads("1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00.000Z");
    reads("1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:27.870Z");
    reads("2026-11-24t12:00:00z", "2026-11-24T12:00:00.000Z");
    reads("2026-11-24T12:00:00.123456789Z", "2026-11-24T12:00:00.123Z");
    reads("2026-11-24T12:00:00.999999Z", "2026-11-24T12:00:00.999Z");
    reads("2026-11-24T12:00:00.1-00:00", "2026-11-24T12:00:00.100Z");
    reads("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z");
    reads("2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000Z");
    reads("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z");
    reads("0987-06-05T04:03:02.001Z", "0987-06-05T04:03:02.001Z");
    reads("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z");
    reads("2026-01-01T00:00:00+23:59", "2025-12-31T00:01:00.000Z");
}

static void test_refuse(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "2026-11-24",
        "2026-11-24T12:00:00",
        "2026-11-24 12:00:00Z",
        "2026-11-24T12:00Z",
        "2026-11-24T12:00:00.Z",
        "2026-11-24T12:00:00,5Z",
        "2026-11-24T12:00:00Zx",
        "2026-11-24T12:00:00 Z",
        "2026-11-24T12:00:00+0100",
        "2026-11-24T12:00:00+01",
        "2026-11-24T12:00:00+24:00",
        "2026-11-24T12:00:00+01:60",
        "2026-11-24T24:00:00Z",
        "2026-11-24T12:60:00Z",
        "2026-11-24T12:00:61Z",
        "2026-11-24T12:00:60Z",
        "2026-11-24T23:59:60+01:00",
        "2026-00-24T12:00:00Z",
        "2026-13-24T12:00:00Z",
        "2026-11-00T12:00:00Z",
        "2026-11-31T12:00:00Z",
        "2026-02-29T12:00:00Z",
        "1900-02-29T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-1-24T12:00:00.0Z",
        "+2026-11-24T12:00:00Z",
        "-026-11-24T12:00:00Z",
        "2026-11-24T1\xd9\xa1:00:00Z",
        "0001-01-01T00:00:00+00:01", /* the year 0 in UTC */
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        "2026-11-24T12:00:00.0000000000000000000000000000000000000000000000000000000000Z",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ms = 0;
        if (tr_time_parse(bad[i], strlen(bad[i]), &ms))
            fail_msg("accepted: %s", bad[i]);
    }
    int64_t ms = 0;
    assert_false(tr_time_parse("2026-11-24T12:00:00Z", 19, &ms)); /* the length counts, not a NUL */
}

static void test_every_truncation(void **state) {
    (void)state;
    const char *text = "2026-11-24T12:00:00.123+01:00";
    for (size_t n = 0; n < strlen(text); n++) {
        char *exact = malloc(n ? n : 1); /* so that ASan sees a step too far */
        int64_t ms;
        assert_non_null(exact);
        memcpy(exact, text, n);
        assert_false(tr_time_parse(exact, n, &ms));
        free(exact);
    }
}

static void formats(int64_t ms, const char *text) {
    char out[TR_TIME_TEXT];
    tr_time_format(ms, out);
    assert_string_equal(out, text);
}

static void test_format(void **state) {
    (void)state;
    formats(0, "1970-01-01T00:00:00.000Z");
    formats(-1, "1969-12-31T23:59:59.999Z");
    formats(INT64_C(1790000000123), "2026-09-21T14:13:20.123Z");
    formats(INT64_MIN, "0001-01-01T00:00:00.000Z");
    formats(INT64_MAX, "9999-12-31T23:59:59.999Z");
    formats(INT64_C(253402300800000), "9999-12-31T23:59:59.999Z");
}

static void each_day_is_the_c_librarys(void **state) {
    (void)state;
    const int64_t day = 86400000;
    for (int64_t i = 0, ms; (ms = TR_TIME_LEAST + i * day + i * 7919 % day) <= TR_TIME_MOST; i++) {
        const tr_date d = tr_date_of(ms);
        const time_t t = (time_t)((ms - d.ms) / 1000);
        struct tm tm;
        assert_non_null(gmtime_r(&t, &tm));
        assert_true(d.year == tm.tm_year + 1900 && d.month == tm.tm_mon + 1 && d.day == tm.tm_mday &&
                    d.weekday == tm.tm_wday && d.hour == tm.tm_hour && d.minute == tm.tm_min &&
                    d.second == tm.tm_sec);
    }
}

static void test_round_trip(void **state) {
    (void)state;
    for (int64_t ms = INT64_C(-62135596800000); ms <= INT64_C(253402300799999);
         ms += INT64_C(7654321098765)) {
        char out[TR_TIME_TEXT];
        int64_t back = 0;
        tr_time_format(ms, out);
        assert_true(tr_time_parse(out, strlen(out), &back));
        assert_true(back == ms);
    }
}

static void test_clocks(void **state) {
    (void)state;
    tr_clock_set_for_test(42);
    assert_true(tr_now_ms() == 42);
    tr_clock_set_for_test(0);
    const int64_t now = (int64_t)time(NULL) * 1000;
    assert_true(tr_now_ms() >= now - 1000 && tr_now_ms() < now + 60000);
    int64_t last = tr_monotonic_us();
    for (int i = 0; i < 1000; i++) {
        int64_t next = tr_monotonic_us();
        assert_true(next >= last);
        last = next;
    }
    assert_true(tr_monotonic_ms() >= last / 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_refuse),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_format),
        cmocka_unit_test(each_day_is_the_c_librarys),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
