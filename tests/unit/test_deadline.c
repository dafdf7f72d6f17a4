/* When requests are due. The expected dates were counted by hand from the law's words, not by the code. */
#include "hex.h"

#include <time.h>

#include "base/clock.h"
#include "vault/deadline.h"

static int64_t ms_of(const char *text) {
    int64_t ms = 0;
    if (!tr_time_parse(text, strlen(text), &ms))
        fail_msg("no time: %s", text);
    return ms;
}

static void zone(const char *name) {
    tr_error err = {0};
    if (tr_deadline_zone(name, &err) != TR_OK)
        fail_msg("%s: %s", name, err.what);
}

static void is_time(int64_t ms, const char *text, const char *of) {
    char out[TR_TIME_TEXT];
    tr_time_format(ms, out);
    if (strcmp(out, text) != 0)
        fail_msg("of %s: %s, not %s", of, out, text);
}

static void due(tr_deadline_rule rule, const char *received, const char *text) {
    is_time(tr_deadline_due(rule, ms_of(received)), text, received);
}

static void most(tr_deadline_rule rule, const char *received, int days, const char *text) {
    is_time(tr_deadline_most(rule, ms_of(received), days), text, received);
}

static void test_fadp_counts_thirty_days_from_the_day_after(void **state) {
    (void)state;
    zone("Europe/Zurich");
    due(TR_DEADLINE_FADP, "2026-06-01T08:00:00Z", "2026-07-01T21:59:59.999Z");
    due(TR_DEADLINE_FADP, "2026-11-25T08:00:00Z", "2026-12-25T22:59:59.999Z");
    due(TR_DEADLINE_FADP, "2027-01-31T08:00:00Z", "2027-03-02T22:59:59.999Z");
    due(TR_DEADLINE_FADP, "2028-01-31T08:00:00Z", "2028-03-01T22:59:59.999Z"); /* a leap year */
    due(TR_DEADLINE_FADP, "2026-12-15T08:00:00Z", "2027-01-14T22:59:59.999Z");
    due(TR_DEADLINE_FADP, "1969-12-02T22:59:59Z", "1970-01-01T22:59:59.999Z");
    due(TR_DEADLINE_FADP, "1969-11-11T22:59:59Z", "1969-12-11T22:59:59.999Z");
}

/* What came just before midnight in Zurich counts from the next day, what came just after from the day after
 * that. */
static void test_the_day_is_the_controllers(void **state) {
    (void)state;
    zone("Europe/Zurich");
    due(TR_DEADLINE_FADP, "2026-06-01T21:59:59.999Z", "2026-07-01T21:59:59.999Z");
    due(TR_DEADLINE_FADP, "2026-06-01T22:00:00Z", "2026-07-02T21:59:59.999Z");
    due(TR_DEADLINE_FADP, "2026-01-01T22:59:59.999Z", "2026-01-31T22:59:59.999Z");
    due(TR_DEADLINE_FADP, "2026-01-01T23:00:00Z", "2026-02-01T22:59:59.999Z");
    zone("Pacific/Kiritimati"); /* UTC+14 */
    due(TR_DEADLINE_FADP, "2026-06-01T09:59:59Z", "2026-07-01T09:59:59.999Z");
    due(TR_DEADLINE_FADP, "2026-06-01T10:00:00Z", "2026-07-02T09:59:59.999Z");
    zone("Pacific/Pago_Pago"); /* UTC-11 */
    due(TR_DEADLINE_FADP, "2026-06-01T10:59:59Z", "2026-07-01T10:59:59.999Z");
    due(TR_DEADLINE_FADP, "2026-06-01T11:00:00Z", "2026-07-02T10:59:59.999Z");
    zone("Asia/Kathmandu"); /* UTC+05:45 */
    due(TR_DEADLINE_FADP, "2026-06-01T18:14:59Z", "2026-07-01T18:14:59.999Z");
    due(TR_DEADLINE_FADP, "2026-06-01T18:15:00Z", "2026-07-02T18:14:59.999Z");
    zone("UTC");
    due(TR_DEADLINE_FADP, "2026-06-01T23:59:59.999Z", "2026-07-01T23:59:59.999Z");
    due(TR_DEADLINE_FADP, "2026-06-02T00:00:00Z", "2026-07-02T23:59:59.999Z");
}

/* In 2026 clocks went forward in Zurich on 29 March at 01:00 UTC, back on 25 October at 01:00 UTC. */
static void test_days_of_23_and_25_hours(void **state) {
    (void)state;
    zone("Europe/Zurich");
    due(TR_DEADLINE_FADP, "2026-02-27T12:00:00Z", "2026-03-29T21:59:59.999Z"); /* ends on the short day */
    due(TR_DEADLINE_FADP, "2026-02-26T12:00:00Z", "2026-03-28T22:59:59.999Z"); /* the day before */
    due(TR_DEADLINE_FADP, "2026-03-29T00:30:00Z", "2026-04-28T21:59:59.999Z"); /* came on it */
    due(TR_DEADLINE_FADP, "2026-09-25T12:00:00Z", "2026-10-25T22:59:59.999Z"); /* ends on the long day */
    due(TR_DEADLINE_FADP, "2026-10-24T22:30:00Z", "2026-11-24T22:59:59.999Z"); /* its first hour */
    due(TR_DEADLINE_FADP, "2026-10-25T22:59:59Z", "2026-11-24T22:59:59.999Z"); /* its last one */
    due(TR_DEADLINE_FADP, "2026-10-25T23:00:00Z", "2026-11-25T22:59:59.999Z");
    /* Midnight did not exist in Beirut on 29 March 2026: that day began at 01:00. */
    zone("Asia/Beirut");
    due(TR_DEADLINE_FADP, "2026-02-26T12:00:00Z", "2026-03-28T21:59:59.999Z");
    due(TR_DEADLINE_FADP, "2026-02-27T12:00:00Z", "2026-03-29T20:59:59.999Z");
}

static void test_gdpr_is_the_same_date_of_the_next_month(void **state) {
    (void)state;
    zone("Europe/Zurich");
    due(TR_DEADLINE_GDPR, "2026-06-02T08:00:00Z", "2026-07-02T21:59:59.999Z"); /* a Thursday */
    due(TR_DEADLINE_GDPR, "2026-11-25T08:00:00Z", "2026-12-25T22:59:59.999Z");
    due(TR_DEADLINE_GDPR, "2026-12-08T08:00:00Z", "2027-01-08T22:59:59.999Z"); /* into the next year */
    due(TR_DEADLINE_GDPR, "2026-07-31T08:00:00Z",
        "2026-08-31T21:59:59.999Z"); /* both have a 31st; a Monday */
}

static void test_gdpr_where_the_month_has_no_such_date(void **state) {
    (void)state;
    zone("UTC");
    due(TR_DEADLINE_GDPR, "2028-01-31T08:00:00Z", "2028-02-29T23:59:59.999Z"); /* leap year; a Tuesday */
    due(TR_DEADLINE_GDPR, "2028-01-30T08:00:00Z", "2028-02-29T23:59:59.999Z");
    due(TR_DEADLINE_GDPR, "2028-01-29T08:00:00Z", "2028-02-29T23:59:59.999Z");
    due(TR_DEADLINE_GDPR, "2028-01-28T08:00:00Z", "2028-02-28T23:59:59.999Z");
    due(TR_DEADLINE_GDPR, "2029-01-31T08:00:00Z", "2029-02-28T23:59:59.999Z"); /* a Wednesday */
    due(TR_DEADLINE_GDPR, "2026-08-31T08:00:00Z", "2026-09-30T23:59:59.999Z"); /* a Wednesday */
    due(TR_DEADLINE_GDPR, "2100-01-31T08:00:00Z",
        "2100-03-01T23:59:59.999Z"); /* no leap year; 28th a Sunday */
}

static void test_gdpr_does_not_end_on_a_weekend(void **state) {
    (void)state;
    zone("UTC");
    due(TR_DEADLINE_GDPR, "2026-06-03T08:00:00Z", "2026-07-03T23:59:59.999Z"); /* a Friday */
    due(TR_DEADLINE_GDPR, "2026-06-04T08:00:00Z", "2026-07-06T23:59:59.999Z"); /* Saturday: Monday */
    due(TR_DEADLINE_GDPR, "2026-06-05T08:00:00Z", "2026-07-06T23:59:59.999Z"); /* Sunday: Monday */
    due(TR_DEADLINE_GDPR, "2026-06-06T08:00:00Z", "2026-07-06T23:59:59.999Z"); /* Monday */
    due(TR_DEADLINE_GDPR, "2026-01-31T08:00:00Z", "2026-03-02T23:59:59.999Z"); /* 28 February: a Saturday */
    due(TR_DEADLINE_GDPR, "2026-04-30T08:00:00Z", "2026-06-01T23:59:59.999Z"); /* 30 May: a Saturday */
    zone("Europe/Zurich"); /* a Saturday there already, when it is a Friday in UTC */
    due(TR_DEADLINE_GDPR, "2026-06-03T22:30:00Z", "2026-07-06T21:59:59.999Z");
    zone("America/Anchorage");
    due(TR_DEADLINE_GDPR, "2026-06-04T07:30:00Z", "2026-07-04T07:59:59.999Z"); /* still 3 June there */
}

static void test_extension(void **state) {
    (void)state;
    zone("Europe/Zurich");
    most(TR_DEADLINE_FADP, "2026-06-01T08:00:00Z", 60, "2026-08-30T21:59:59.999Z");
    most(TR_DEADLINE_FADP, "2026-06-01T08:00:00Z", 1, "2026-07-02T21:59:59.999Z");
    most(TR_DEADLINE_FADP, "2026-09-01T08:00:00Z", 60, "2026-11-30T22:59:59.999Z"); /* over the change */
    most(TR_DEADLINE_GDPR, "2026-06-02T08:00:00Z", 1, "2026-09-02T21:59:59.999Z");  /* a Wednesday */
    most(TR_DEADLINE_GDPR, "2026-06-05T08:00:00Z", 1, "2026-09-07T21:59:59.999Z");  /* a Saturday: Monday */
    most(TR_DEADLINE_GDPR, "2028-11-30T08:00:00Z", 1, "2029-02-28T22:59:59.999Z");
    most(TR_DEADLINE_GDPR, "2027-11-30T08:00:00Z", 1, "2028-02-29T22:59:59.999Z");
}

/* Whatever the moment and the zone: due later than received, on the last millisecond of a day of that zone,
 * and never earlier for what came later. */
static void test_every_hour_of_some_years(void **state) {
    static const char *const zones[] = {"Europe/Zurich", "America/St_Johns",    "Australia/Lord_Howe",
                                        "Asia/Beirut",   "Africa/Casablanca",   "America/Santiago",
                                        "Asia/Kolkata",  "America/Los_Angeles", "Antarctica/Troll"};
    (void)state;
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
        zone(zones[i]);
        int64_t before[2] = {0, 0};
        for (int64_t at = ms_of("2025-01-01T00:00:00Z"); at < ms_of("2027-01-01T00:00:00Z");
             at += 3 * 3600000) {
            for (int rule = 0; rule < 2; rule++) {
                int64_t when = tr_deadline_due((tr_deadline_rule)rule, at);
                time_t last = (time_t)(when / 1000), next = last + 1;
                struct tm a, b;
                assert_true(when > at + INT64_C(27) * 86400000 && when < at + INT64_C(35) * 86400000);
                assert_true(when >= before[rule]);
                assert_true(localtime_r(&last, &a) && localtime_r(&next, &b));
                assert_int_not_equal(a.tm_mday, b.tm_mday);
                if (rule == TR_DEADLINE_GDPR)
                    assert_true(a.tm_wday >= 1 && a.tm_wday <= 5);
                before[rule] = when;
            }
        }
    }
}

static void test_names(void **state) {
    static const char *const bad[] = {
        "",       "Europe/Nowhere", "../zoneinfo/UTC", "/etc/localtime", "CET-1CEST",
        "Europe", ":UTC",           "Europe/Zurich ",  "zone.tab"};
    tr_deadline_rule rule = TR_DEADLINE_GDPR;
    tr_error err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (tr_deadline_zone(bad[i], &err) != TR_E_CONFIG)
            fail_msg("taken: %s", bad[i]);
        assert_string_equal(err.where, "time_zone");
    }
    assert_true(tr_deadline_rule_parse("fadp", &rule) && rule == TR_DEADLINE_FADP);
    assert_true(tr_deadline_rule_parse("gdpr", &rule) && rule == TR_DEADLINE_GDPR);
    assert_false(tr_deadline_rule_parse("GDPR", &rule));
    assert_false(tr_deadline_rule_parse("", &rule));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fadp_counts_thirty_days_from_the_day_after),
        cmocka_unit_test(test_the_day_is_the_controllers),
        cmocka_unit_test(test_days_of_23_and_25_hours),
        cmocka_unit_test(test_gdpr_is_the_same_date_of_the_next_month),
        cmocka_unit_test(test_gdpr_where_the_month_has_no_such_date),
        cmocka_unit_test(test_gdpr_does_not_end_on_a_weekend),
        cmocka_unit_test(test_extension),
        cmocka_unit_test(test_every_hour_of_some_years),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
