/* JSON Schema: formats, and patterns as those of ECMA-262. */
#include "test_schema_fixture.h"

/* ---- formats ---- */

typedef struct format_row {
    const char *format, *text;
    bool valid;
} format_row;

static const format_row format_rows[] = {
    {"date", "2024-02-29", true},
    {"date", "2023-02-29", false},
    {"date", "1900-02-29", false},
    {"date", "2000-02-29", true},
    {"date", "2024-13-01", false},
    {"date", "2024-00-01", false},
    {"date", "2024-04-31", false},
    {"date", "2024-4-01", false},
    {"date", "2024-04-01T", false},
    {"date", "", false},
    {"date-time", "1963-06-19T08:30:06.283185Z", true},
    {"date-time", "1963-06-19t08:30:06z", true},
    {"date-time", "1990-12-31T23:59:60Z", true},
    {"date-time", "1990-12-31T15:59:60.123-08:00", true},
    {"date-time", "1998-12-31T23:58:60Z", false},
    {"date-time", "1963-06-19 08:30:06Z", false},
    {"date-time", "1963-06-19T08:30:06", false},
    {"date-time", "1963-06-19T08:30:06.Z", false},
    {"date-time", "1963-06-38T08:30:06Z", false},
    {"date-time", "1990-02-31T15:59:59-24:00", false},
    {"date-time",
     "1963-06-1\u09ea"
     "T00:00:00Z",
     false},
    {"time", "08:30:06Z", true},
    {"time", "08:30:06+05:30", true},
    {"time", "23:59:60+00:00", true},
    {"time", "01:29:60+01:30", true},
    {"time", "23:29:60+01:30", false},
    {"time", "24:00:00Z", false},
    {"time", "08:30:06", false},
    {"time", "08:30:06Z+00:30", false},
    {"time", "08:30:06+0530", false},
    {"time", "08:30:06 PST", false},
    {"duration", "P4DT12H30M5S", true},
    {"duration", "P4Y", true},
    {"duration", "PT0S", true},
    {"duration", "P1Y2M3DT4H5M6S", true},
    {"duration", "P2W", true},
    {"duration", "P1Y2W", false},
    {"duration", "PT", false},
    {"duration", "P", false},
    {"duration", "P1YT", false},
    {"duration", "P1Y2D", false},
    {"duration", "PT1H5S", false},
    {"duration", "P1D2H", false},
    {"duration", "P2D1Y", false},
    {"duration", "P1", false},
    {"duration", "4DT12H30M5S", false},
    {"email", "joe.bloggs@example.com", true},
    {"email", "\"joe bloggs\"@example.com", true},
    {"email", "te~st@example.com", true},
    {"email", "joe@[127.0.0.1]", true},
    {"email", "joe@[IPv6:::1]", true},
    {"email", "joe@localhost", true},
    {"email", ".test@example.com", false},
    {"email", "te..st@example.com", false},
    {"email", "test.@example.com", false},
    {"email", "joe@[300.0.0.1]", false},
    {"email", "joe@-example.com", false},
    {"email", "joe", false},
    {"email", "joe@", false},
    {"email", "@example.com", false},
    {"email", "a@b@example.com", false},
    {"email", "joe bloggs@example.com", false},
    {"uuid", "2EB8AA08-aa98-11ea-b4aa-73b441d16380", true},
    {"uuid", "2eb8aa08-aa98-11ea-73b441d16380", false},
    {"uuid", "2eb8aa08aa9811eab4aa73b441d16380", false},
    {"uri", "http://foo.bar/?baz=qux#quux", true},
    {"uri", "http://user:pass@[2001:db8::7]:80/c?a=b", true},
    {"uri", "mailto:John.Doe@example.com", true},
    {"uri", "urn:oasis:names:specification:docbook:dtd:xml:4.1.2", true},
    {"uri", "tel:+1-816-555-1212", true},
    {"uri", "http://foo.bar/%E4", true},
    {"uri", "http://[v1.fe]/", true},
    {"uri", "//foo.bar/?baz=qux", false},
    {"uri", "/abc", false},
    {"uri", "abc", false},
    {"uri", "http:// shouldfail.com", false},
    {"uri", "http://foo.bar/%4", false},
    {"uri", "http://foo.bar/{x}", false},
    {"uri", "http://foo.bar:8o/", false},
    {"uri", "http://[::g]/", false},
    {"uri", "1http://foo.bar/", false},
    {"uri", ":// should fail", false},
    {"uri", "http://a\\\\b/", false},
    {"ipv4", "192.168.0.1", true},
    {"ipv4", "256.256.256.256", false},
    {"ipv4", "127.0.0", false},
    {"ipv4", "087.10.0.1", false},
    {"ipv4", "0x7f000001", false},
    {"ipv6", "::1", true},
    {"ipv6", "::ffff:192.168.0.1", true},
    {"ipv6", "12345::", false},
    {"ipv6", "::1%eth0", false},
    {"ipv6", "1:2:3:4:5:6:7", false},
    {"hostname", "www.example.com", true},
    {"hostname", "xn--4gbwdl.xn--wgbh1c", true},
    {"hostname", "1host", true},
    {"hostname", "-bad", false},
    {"hostname", "bad-.com", false},
    {"hostname", "a_b", false},
    {"hostname", "a..b", false},
    {"hostname", "a.", false},
    {"hostname", "", false},
    {"hostname", "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd.com", false},
    {"regex", "([abc])+\\\\s+$", true},
    {"regex", "^(abc]", false},
    {"regex", "a**", false},
    {"regex", "\\\\a", false},
};

static void test_formats(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof format_rows / sizeof *format_rows; i++) {
        const format_row *row = &format_rows[i];
        char schema[64], instance[256] = "\"", *to = instance + 1;
        snprintf(schema, sizeof schema, "{\"format\":\"%s\"}", row->format);
        for (const char *from = row->text; *from; from++) {
            if (*from == '"')
                *to++ = '\\';
            *to++ = *from;
        }
        *to = '"';
        if (row->valid)
            assert_valid(schema, instance);
        else
            assert_invalid(schema, instance, "", row->format);
        assert_valid(schema, "12");
    }
}

static void test_format_is_a_note_unless_asserted(void **state) {
    const tr_schema_options options = {.strict_keywords = true};
    tr_schema *schema = NULL;
    cJSON *tree = json("{\"format\":\"no-such-format\"}"), *instance = json("\"x\"");
    (void)state;
    assert_int_equal(tr_schema_compile(tree, "", &options, &schema, NULL), TR_OK);
    assert_int_equal(tr_schema_validate(schema, instance, NULL), TR_OK);
    tr_schema_free(schema);
    cJSON_Delete(tree);
    cJSON_Delete(instance);
    assert_refused("{\"format\":\"no-such-format\"}", "/format", "not known");
    assert_valid("{\"format\":\"idn-email\"}", "\"x\"");
}

/* ---- patterns ---- */

static void test_patterns_are_those_of_ecma(void **state) {
    /* pattern (as JSON), matches, does not match */
    static const char *const rows[][3] = {
        {"^\\\\d+$", "\"123\"", "\"\xd9\xa1\xd9\xa2\""}, /* Arabic digits are not \d */
        {"^\\\\D$", "\"\xd9\xa1\"", "\"1\""},
        {"^\\\\w+$", "\"az_09\"", "\"\xc3\xa9\""},
        {"^a$", "\"a\"", "\"a\\n\""}, /* $ is the end only */
        {"^.$", "\"\xc3\xa9\"", "\"\\u2028\""},
        {"^\\\\s$", "\"\\ufeff\"", "\"x\""},
        {"^\\\\s$", "\"\\u00a0\"", "\"\\u0085\""},
        {"^\\\\S$", "\"x\"", "\"\\u2003\""},
        {"^[\\\\S]$", "\"x\"", "\"\\u2003\""},
        {"^[^\\\\s]$", "\"x\"", "\"\\u2003\""},
        {"^[\\\\s\\\\S]$", "\"\\n\"", "\"ab\""},
        {"^[^]$", "\"\\n\"", "\"\""},
        {"^(?:[]|a)$", "\"a\"", "\"]\""},
        {"^[[:alpha:]]$", "\"a]\"", "\"b\""}, /* no POSIX classes */
        {"^\\\\p{Lu}\\\\p{Lowercase_Letter}+$", "\"\xc3\x89t\xc3\xa9\"", "\"\xc3\xa9t\xc3\xa9\""},
        {"^\\\\p{Script=Greek}+$", "\"\xce\xb1\"", "\"a\""},
        {"^\\\\p{gc=Nd}\\\\P{Letter}$", "\"1-\"", "\"1a\""},
        {"^\\\\p{Assigned}$", "\"a\"", "\"\\u0378\""},
        {"^[\\\\p{L}\\\\-' ]+$", "\"O'Neil-\xc3\x9f\"", "\"a1\""},
        {"^\\\\u{1F600}\\\\uD83D\\\\uDE00$", "\"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\"", "\"x\""},
        {"^\\\\x41\\\\cA\\\\t$", "\"A\\u0001\\t\"", "\"A\""},
        {"^(a)?\\\\1b$", "\"b\"", "\"ab\""}, /* an unset group is empty */
        {"^(?<n>a|b)\\\\k<n>$", "\"bb\"", "\"ab\""},
        {"^a{,2}$", "\"a{,2}\"", "\"aa\""}, /* no quantifier in ECMA-262 */
        {"^a{2}]}$", "\"aa]}\"", "\"a]}\""},
        {"^(?=a).(?!c)b?(?<=b)$", "\"ab\"", "\"ac\""},
        {"^[\\\\w.-]+@[a-z-]+\\\\.ch$", "\"a.b-c@d-e.ch\"", "\"a b@c.ch\""},
        {"^[a\\\\-\\\\]\\\\b]$", "\"]\"", "\"b\""},
        {"\\\\bcat\\\\b", "\"a cat!\"", "\"concat\""},
        {"^a b#c$", "\"a b#c\"", "\"abc\""},
        {"^\\\\/\\\\@\\\\_?$", "\"/@_\"", "\"@\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char schema[256];
        snprintf(schema, sizeof schema, "{\"pattern\":\"%s\"}", rows[i][0]);
        if (strstr(rows[i][0], "\\\\_")) /* a letter-like escape is refused */
            continue;
        assert_valid(schema, rows[i][1]);
        assert_invalid(schema, rows[i][2], "", "pattern: must match the pattern");
    }
}

static void test_patterns_beyond_ecma_are_refused(void **state) {
    static const char *const rows[] = {
        "(*UTF)a",     "a*+",
        "(?i)a",       "(?>a)",
        "(?|a|b)",     "(?#x)",
        "(?R)",        "\\\\Aa",
        "a\\\\z",      "\\\\Qa",
        "\\\\K",       "\\\\h",
        "\\\\N",       "\\\\_",
        "\\\\1(",      "(a",
        "a)",          "[a",
        "[z-a]",       "*a",
        "a|*",         "(?:+)",
        "^*",          "(?=a)*",
        "\\\\",        "\\\\u{110000}",
        "\\\\ud800",   "\\\\x4",
        "\\\\01",      "\\\\c1",
        "\\\\p{Nope}", "\\\\pL",
        "\\\\p{^Lu}",  "\\\\p{gc=Greek}",
        "(?<1a>b)",    "(?<a>b)(?<a>c)",
        "\\\\k<a>",    "a{2,1}",
        "a{99999}",    "(?<=a+)b",
        "\\\\2(a)",    "(?P<a>b)",
        "(?C1)a",      "(?&a)",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char schema[256];
        snprintf(schema, sizeof schema, "{\"pattern\":\"%s\"}", rows[i]);
        assert_refused(schema, "/pattern", "the pattern cannot be used");
    }
    char text[1200] = "{\"patternProperties\":{\"";
    memset(text + strlen(text), 'a', 1001);
    strcat(text, "\":true}}");
    tr_schema *schema = NULL;
    tr_error err = {0};
    assert_int_equal(compile(text, true, &schema, &err), TR_E_VALIDATION);
    assert_non_null(strstr(err.what, "longer than 1000"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_format_is_a_note_unless_asserted),
        cmocka_unit_test(test_patterns_are_those_of_ecma),
        cmocka_unit_test(test_patterns_beyond_ecma_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
