/* JSON Schema: the official suite (tests/data/json-schema-2020-12), then formats, patterns, errors and
 * hostile schemas. */
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "vault/jsonschema.h"

#define SUITE TRESOR_TEST_DATA "/json-schema-2020-12"
/* What stands in the files for U+0000, which the reader refuses: a group that has it counts as not passed. */
#define NUL_MARK "\xee\x80\x80"

/* ---- helpers ---- */

static cJSON *json(const char *text) {
    cJSON *tree = NULL;
    tr_error err = {0};
    if (tr_json_parse(text, strlen(text), &tree, &err) != TR_OK)
        fail_msg("%s: %s at %s", text, err.what, err.where);
    return tree;
}

static tr_status compile(const char *text, bool strict, tr_schema **out, tr_error *err) {
    const tr_schema_options options = {.assert_format = true, .strict_keywords = strict};
    cJSON *tree = json(text);
    tr_status st = tr_schema_compile(tree, "", &options, out, err);
    cJSON_Delete(tree);
    return st;
}

static tr_status verdict(const char *schema_text, const char *instance_text, tr_error *err) {
    tr_schema *schema = NULL;
    cJSON *instance = json(instance_text);
    tr_error fault = {0};
    if (compile(schema_text, false, &schema, &fault) != TR_OK)
        fail_msg("%s: %s at %s", schema_text, fault.what, fault.where);
    tr_status st = tr_schema_validate(schema, instance, err);
    tr_schema_free(schema);
    cJSON_Delete(instance);
    return st;
}

static void assert_valid(const char *schema, const char *instance) {
    tr_error err = {0};
    if (verdict(schema, instance, &err) != TR_OK)
        fail_msg("%s should take %s: %s at %s", schema, instance, err.what, err.where);
}

static void assert_invalid(const char *schema, const char *instance, const char *where, const char *what) {
    tr_error err = {0};
    if (verdict(schema, instance, &err) != TR_E_VALIDATION)
        fail_msg("%s should refuse %s", schema, instance);
    assert_int_equal(err.status, TR_E_VALIDATION);
    assert_string_equal(err.where, where);
    if (!strstr(err.what, what))
        fail_msg("\"%s\" should hold \"%s\"", err.what, what);
}

static void assert_refused(const char *schema_text, const char *where, const char *what) {
    tr_schema *schema = NULL;
    tr_error err = {0};
    if (compile(schema_text, true, &schema, &err) != TR_E_VALIDATION)
        fail_msg("%s should be refused", schema_text);
    assert_null(schema);
    if (strcmp(err.where, where) != 0 || !strstr(err.what, what))
        fail_msg("%s: \"%s\" at \"%s\", expected \"%s\" at \"%s\"", schema_text, err.what, err.where, what,
                 where);
}

/* ---- the official suite ---- */

/* What is not taken, and why. A test named here must not pass. */
static const struct {
    const char *file, *group;
} not_taken[] = {
    /* other documents */
    {"refRemote.json", NULL},
    {"ref.json", "remote ref, containing refs itself"},
    {"defs.json", "validate definition against metaschema"},
    {"dynamicRef.json", "strict-tree schema, guards against misspelled properties"},
    {"dynamicRef.json", "tests for implementation dynamic anchor and reference link"},
    {"dynamicRef.json", "$ref and $dynamicAnchor are independent of order - $defs first"},
    {"dynamicRef.json", "$ref and $dynamicAnchor are independent of order - $ref first"},
    {"dynamicRef.json", "$ref to $dynamicRef finds detached $dynamicAnchor"},
    /* other dialects */
    {"vocabulary.json", NULL},
    /* U+0000 in strings, which the JSON reader refuses */
    {"const.json", "nul characters in strings"},
    {"enum.json", "nul characters in strings"},
};

static bool is_taken(const char *file, const char *group) {
    for (size_t i = 0; i < sizeof not_taken / sizeof *not_taken; i++)
        if (strcmp(not_taken[i].file, file) == 0 &&
            (!not_taken[i].group || strcmp(not_taken[i].group, group) == 0))
            return false;
    return true;
}

static cJSON *load(const char *name) {
    char path[512], *text = calloc(1, 1 << 17);
    snprintf(path, sizeof path, "%s/%s", SUITE, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_non_null(text);
    size_t len = fread(text, 1, (1 << 17) - 1, file);
    assert_true(len > 0 && len < (1 << 17) - 1);
    fclose(file);
    for (char *at; (at = strstr(text, "\\u0000"));)
        memcpy(at, "\\ue000", 6);
    cJSON *tree = json(text);
    free(text);
    return tree;
}

typedef struct tally {
    int passed, all, wrong;
} tally;

static bool has_mark(const cJSON *group) {
    tr_buf text = TR_BUF_INIT;
    assert_int_equal(tr_json_print(group, &text, NULL), TR_OK);
    bool has = strstr(text.data, NUL_MARK) != NULL;
    tr_buf_clear(&text);
    return has;
}

static void run_group(const char *file, const cJSON *group, tally *t) {
    const tr_schema_options options = {0};
    const char *name = tr_json_string(group, "description");
    bool taken = is_taken(file, name);
    tr_schema *schema = NULL;
    tr_error err = {0};
    tr_status compiled =
        has_mark(group) ? TR_E_MALFORMED
                        : tr_schema_compile(tr_json_member(group, "schema"), "", &options, &schema, &err);
    int group_passed = 0;
    const cJSON *test;
    cJSON_ArrayForEach(test, tr_json_member(group, "tests")) {
        bool expected = tr_json_bool(test, "valid", false);
        tr_status st = schema ? tr_schema_validate(schema, tr_json_member(test, "data"), &err) : compiled;
        bool passed = schema && st == (expected ? TR_OK : TR_E_VALIDATION);
        t->all++;
        t->passed += passed;
        group_passed += passed;
        if (taken && !passed) {
            printf("  %s | %s | %s: %s at \"%s\"\n", file, name, tr_json_string(test, "description"),
                   err.what, err.where);
            t->wrong++;
        }
    }
    if (!taken && group_passed > 0) {
        printf("  %s | %s: listed as not taken, but it passes\n", file, name);
        t->wrong++;
    }
    tr_schema_free(schema);
}

static int is_suite_file(const struct dirent *entry) {
    size_t len = strlen(entry->d_name);
    return len > 5 && strcmp(entry->d_name + len - 5, ".json") == 0;
}

static void test_official_suite(void **state) {
    struct dirent **files = NULL;
    tally total = {0};
    (void)state;
    int count = scandir(SUITE, &files, is_suite_file, alphasort);
    assert_true(count >= 40);
    for (int i = 0; i < count; i++) {
        cJSON *suite = load(files[i]->d_name);
        tally t = {0};
        const cJSON *group;
        cJSON_ArrayForEach(group, suite) run_group(files[i]->d_name, group, &t);
        printf("  %-28s %4d of %4d\n", files[i]->d_name, t.passed, t.all);
        total = (tally){total.passed + t.passed, total.all + t.all, total.wrong + t.wrong};
        cJSON_Delete(suite);
        free(files[i]);
    }
    free(files);
    printf("JSON Schema 2020-12 suite: %d of %d passed (%.1f %%)\n", total.passed, total.all,
           100.0 * total.passed / total.all);
    assert_int_equal(total.wrong, 0);
}

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

/* The patterns that hang naive matchers end, within the bound and soon. */
static void test_pattern_effort_is_bounded(void **state) {
    static const char *const patterns[] = {"^(a+)+$",    "(a*)*b",          "^(a|a)*$",
                                           "(x+x+)+y",   "a*a*a*a*a*b",     "^(([a-z])+.)+[A-Z]([a-z])+$",
                                           "(a*)\\\\1b", "(?:(a*)\\\\1)*c", "(?=(a+))a*b"};
    char *instance = calloc(1, 70000);
    (void)state;
    assert_non_null(instance);
    for (size_t size = 40; size <= 65000; size = size * 40 + 1) {
        for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
            char schema[128];
            tr_error err = {0};
            instance[0] = '"';
            memset(instance + 1, patterns[i][1] == 'x' ? 'x' : 'a', size);
            strcpy(instance + 1 + size, "!\"");
            snprintf(schema, sizeof schema, "{\"pattern\":\"%s\"}", patterns[i]);
            int64_t begin = tr_monotonic_ms();
            assert_int_equal(verdict(schema, instance, &err), TR_E_VALIDATION);
            assert_true(tr_monotonic_ms() - begin < 5000);
        }
    }
    free(instance);
    tr_error err = {0};
    assert_int_equal(verdict("{\"items\":{\"pattern\":\"^(a+)+$\"}}",
                             "[\"ok\",\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"]", &err),
                     TR_E_VALIDATION);
    assert_string_equal(err.where, "/0"); /* the first one does not match */
    assert_int_equal(verdict("{\"items\":{\"pattern\":\"^(a+)+$\"}}",
                             "[\"aa\",\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"]", &err),
                     TR_E_VALIDATION);
    assert_string_equal(err.where, "/1");
    assert_non_null(strstr(err.what, "too much work"));
}

/* ---- errors ---- */

static void test_errors_name_place_and_wish(void **state) {
    (void)state;
    assert_invalid("{\"type\":[\"string\",\"null\"]}", "7", "", "type: must be null or string");
    assert_invalid("{\"properties\":{\"a/b\":{\"items\":{\"maximum\":1.50}}}}", "{\"a/b\":[1,2]}", "/a~1b/1",
                   "maximum: must be at most 1.50");
    assert_invalid("{\"required\":[\"b\",\"a\"]}", "{\"b\":1}", "", "required: the member a is missing");
    assert_invalid("{\"additionalProperties\":false}", "{\"x\":1}", "/x",
                   "additionalProperties: nothing is allowed here");
    assert_invalid("{\"anyOf\":[{\"type\":\"null\"},{\"minimum\":3}]}", "1", "",
                   "anyOf: must match at least one of 2");
    assert_invalid("{\"oneOf\":[true,true]}", "1", "",
                   "oneOf: must match exactly one of 2 schemas, and matches more");
    assert_invalid("{\"enum\":[1,2]}", "3", "", "enum: must be one of the 2 values");
    assert_invalid("{\"multipleOf\":0.01}", "0.015", "", "multipleOf: must be a multiple of 0.01");
    assert_invalid("{\"uniqueItems\":true}", "[1,{\"a\":1,\"b\":2.0},{\"b\":2,\"a\":1e0}]", "",
                   "uniqueItems");
    assert_invalid("{\"propertyNames\":{\"maxLength\":1}}", "{\"ab\":1}", "/ab", "propertyNames");
    assert_invalid("{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"minLength\":2}}}", "\"\xc3\xa9\"", "",
                   "minLength: must have at least 2 characters");
    assert_invalid("{\"properties\":{\"a\":true},\"unevaluatedProperties\":false}", "{\"a\":1,\"b\":2}", "/b",
                   "unevaluatedProperties");
    assert_invalid("{\"dependentRequired\":{\"a\":[\"b\"]}}", "{\"a\":1}", "",
                   "dependentRequired: the member b is missing");
}

/* A text that is long, secret and wrong in every way must not show in any error. */
static void test_errors_never_quote_the_instance(void **state) {
    static const char *const schemas[] = {
        "{\"type\":\"number\"}",
        "{\"const\":1}",
        "{\"enum\":[\"a\"]}",
        "{\"maxLength\":2}",
        "{\"minLength\":99}",
        "{\"pattern\":\"^x$\"}",
        "{\"format\":\"email\"}",
        "{\"format\":\"regex\"}",
        "{\"not\":true}",
        "false",
        "{\"anyOf\":[false]}",
        "{\"oneOf\":[false]}",
        "{\"if\":true,\"then\":{\"const\":0}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        tr_error err = {0};
        assert_int_equal(verdict(schemas[i], "\"SECRET(\"", &err), TR_E_VALIDATION);
        assert_null(strstr(err.what, "SECRET"));
        assert_null(strstr(err.where, "SECRET"));
    }
}

static void test_numbers_are_exact(void **state) {
    (void)state;
    assert_valid("{\"const\":1}", "1.0");
    assert_valid("{\"enum\":[100]}", "1e2");
    assert_invalid("{\"const\":9007199254740993}", "9007199254740992", "", "const");
    assert_invalid("{\"maximum\":9007199254740992}", "9007199254740993", "", "maximum");
    assert_valid("{\"multipleOf\":0.0001}", "0.0075");
    assert_valid("{\"type\":\"integer\",\"multipleOf\":1e300}", "1e308");
    assert_invalid("{\"type\":\"integer\"}", "9007199254740992.5", "", "type");
    assert_valid("{\"type\":\"integer\",\"exclusiveMinimum\":1e400}", "1e401");
    assert_valid("{\"uniqueItems\":true}", "[9007199254740992,9007199254740993]");
    assert_valid("{\"maxLength\":1e99}", "\"a\"");
    assert_invalid("{\"minLength\":1e99}", "\"a\"", "", "minLength");
}

/* ---- compiling ---- */

static void test_faults_of_schemas_are_named(void **state) {
    (void)state;
    assert_refused("{\"properties\":{\"a\":{\"typo\":1}}}", "/properties/a/typo", "not a keyword");
    assert_refused("{\"type\":\"strin\"}", "/type", "type must be");
    assert_refused("{\"type\":[]}", "/type", "type must be");
    assert_refused("{\"type\":[\"null\",\"null\"]}", "/type", "type must be");
    assert_refused("{\"required\":[\"a\",\"a\"]}", "/required", "twice");
    assert_refused("{\"required\":\"a\"}", "/required", "array of strings");
    assert_refused("{\"maxLength\":-1}", "/maxLength", "non-negative");
    assert_refused("{\"maxLength\":1.5}", "/maxLength", "non-negative");
    assert_refused("{\"multipleOf\":0}", "/multipleOf", "greater than zero");
    assert_refused("{\"minimum\":\"1\"}", "/minimum", "number");
    assert_refused("{\"allOf\":[]}", "/allOf", "at least one");
    assert_refused("{\"allOf\":[1]}", "/allOf/0", "object or a boolean");
    assert_refused("{\"properties\":[]}", "/properties", "object of schemas");
    assert_refused("{\"properties\":{\"a~/\":1}}", "/properties/a~0~1", "object or a boolean");
    assert_refused("{\"then\":1}", "/then", "object or a boolean");
    assert_refused("{\"if\":true,\"else\":1}", "/else", "object or a boolean");
    assert_refused("{\"items\":[true]}", "/items", "object or a boolean");
    assert_refused("{\"enum\":1}", "/enum", "array");
    assert_refused("{\"uniqueItems\":1}", "/uniqueItems", "true or false");
    assert_refused("{\"title\":1}", "/title", "string");
    assert_refused("{\"$defs\":{\"a\":{\"deprecated\":1}}}", "/$defs/a/deprecated", "true or false");
    assert_refused("{\"dependentRequired\":{\"a\":[1]}}", "/dependentRequired/a", "array of strings");
    assert_refused("{\"dependentSchemas\":{\"a\":1}}", "/dependentSchemas/a", "object or a boolean");
    assert_refused("{\"minContains\":-1}", "/minContains", "non-negative");
    assert_refused("{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}", "/$schema", "2020-12");
    assert_refused("{\"$vocabulary\":{\"http://example.com/v\":true}}", "/$vocabulary", "vocabularies");
    assert_refused("{\"$ref\":\"#/$defs/none\"}", "/$ref", "not in this document");
    assert_refused("{\"$ref\":\"#none\"}", "/$ref", "not in this document");
    assert_refused("{\"items\":{\"$ref\":\"http://example.com/x\"}}", "/items/$ref", "other documents");
    assert_refused("{\"items\":{\"$dynamicRef\":\"other#x\"}}", "/items/$dynamicRef", "other documents");
    assert_refused("{\"$ref\":\"#/required\",\"required\":[]}", "/required", "object or a boolean");
    assert_refused("{\"$ref\":1}", "/$ref", "string");
    assert_refused("{\"$id\":\"a#b\"}", "/$id", "fragment");
    assert_refused("{\"$defs\":{\"a\":{\"$id\":\"x\"},\"b\":{\"$id\":\"x\"}}}", "/$defs/b/$id",
                   "another part");
    assert_refused("{\"$anchor\":\"1\"}", "/$anchor", "letter");
    assert_refused("{\"$defs\":{\"a\":{\"$anchor\":\"x\"},\"b\":{\"$anchor\":\"x\"}}}", "/$defs/b/$anchor",
                   "another place");
    assert_refused("1", "", "object or a boolean");
    tr_schema *schema = NULL;
    assert_int_equal(
        compile("{\"x-anything\":1,\"$comment\":\"c\",\"examples\":[1],\"default\":2}", true, &schema, NULL),
        TR_OK);
    tr_schema_free(schema);
}

static void test_compiles_at_a_pointer(void **state) {
    const tr_schema_options options = {0};
    tr_schema *schema = NULL;
    tr_error err = {0};
    (void)state;
    cJSON *tree =
        json("{\"openapi\":\"3.1.0\",\"components\":{\"schemas\":{\"A\":{\"properties\":{\"b\":{\"$ref\":"
             "\"#/components/schemas/B\"}}},\"B\":{\"type\":\"integer\"},\"C\":{\"$ref\":\"#/nowhere\"}}}}");
    assert_int_equal(tr_schema_compile(tree, "/components/schemas/A", &options, &schema, &err), TR_OK);
    cJSON *good = json("{\"b\":1}"), *bad = json("{\"b\":\"1\"}");
    assert_int_equal(tr_schema_compile(tree, "/components/schemas/D", &options, &schema, &err),
                     TR_E_VALIDATION);
    tr_schema *other = NULL;
    assert_int_equal(tr_schema_compile(tree, "/components/schemas/C", &options, &other, &err),
                     TR_E_VALIDATION);
    assert_string_equal(err.where, "/components/schemas/C/$ref");
    cJSON_Delete(tree); /* the schema does not need it any more */
    assert_int_equal(tr_schema_validate(schema, good, &err), TR_OK);
    assert_int_equal(tr_schema_validate(schema, bad, &err), TR_E_VALIDATION);
    assert_string_equal(err.where, "/b");
    cJSON_Delete(good);
    cJSON_Delete(bad);
    tr_schema_free(schema);
}

/* ---- hostile schemas and instances ---- */

static void test_endless_references_are_refused(void **state) {
    (void)state;
    assert_refused("{\"$ref\":\"#\"}", "", "without end");
    assert_refused("{\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/"
                   "b\"}]},\"b\":{\"anyOf\":[true,{\"$ref\":\"#/$defs/a\"}]}}}",
                   "/$defs/b/anyOf/1", "without end");
    assert_refused("{\"if\":{\"$ref\":\"#\"}}", "/if", "without end");
    assert_refused("{\"not\":{\"$ref\":\"#\"}}", "/not", "without end");
    assert_refused("{\"dependentSchemas\":{\"a\":{\"$ref\":\"#\"}}}", "/dependentSchemas/a", "without end");
    /* Recursion that goes down into the value is what it is for. */
    assert_valid("{\"properties\":{\"child\":{\"$ref\":\"#\"}},\"additionalProperties\":false}",
                 "{\"child\":{\"child\":{}}}");
    /* Where a $dynamicRef leads is not known beforehand: bounded while validating. */
    assert_invalid("{\"$dynamicAnchor\":\"a\",\"$dynamicRef\":\"#a\"}", "1", "", "nested too deep");
    assert_invalid("{\"not\":{\"$dynamicAnchor\":\"a\",\"not\":{\"$dynamicRef\":\"#a\"}}}", "1", "",
                   "nested too deep");
}

static void test_chains_are_bounded(void **state) {
    tr_buf text = TR_BUF_INIT;
    tr_schema *schema = NULL;
    tr_error err = {0};
    (void)state;
    tr_buf_puts(&text, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{");
    for (int i = 0; i < 3000; i++)
        tr_buf_printf(&text, "\"d%d\":{\"$ref\":\"#/$defs/d%d\"},", i, i + 1);
    tr_buf_puts(&text, "\"d3000\":true}}");
    assert_int_equal(compile(text.data, true, &schema, &err), TR_E_VALIDATION);
    assert_non_null(strstr(err.what, "too many subschemas apply"));
    tr_buf_reset(&text);
    tr_buf_puts(&text, "{\"$defs\":{");
    for (int i = 0; i < 10001; i++)
        tr_buf_printf(&text, "%s\"d%d\":true", i ? "," : "", i);
    tr_buf_puts(&text, "}}");
    assert_int_equal(compile(text.data, true, &schema, &err), TR_E_VALIDATION);
    assert_non_null(strstr(err.what, "10000 subschemas"));
    tr_buf_reset(&text);
    tr_buf_puts(&text, "{\"allOf\":[");
    for (int i = 0; i < 400; i++)
        tr_buf_printf(&text, "%s{\"pattern\":\"(?:[ab]c){500}\"}", i ? "," : "");
    tr_buf_puts(&text, "]}");
    assert_int_equal(compile(text.data, true, &schema, &err), TR_E_VALIDATION);
    assert_non_null(strstr(err.what, "too large together"));
    tr_buf_clear(&text);
}

/* A tree that no reader made: nested deeper than the reader takes. */
static void test_deep_trees_do_not_overflow(void **state) {
    const tr_schema_options options = {0};
    tr_schema *schema = NULL;
    tr_error err = {0};
    cJSON *deep = cJSON_CreateObject();
    (void)state;
    for (int i = 0; i < 5000; i++) {
        cJSON *outer = cJSON_CreateObject();
        cJSON_AddItemToObject(outer, "not", deep);
        deep = outer;
    }
    assert_int_equal(tr_schema_compile(deep, "", &options, &schema, &err), TR_E_VALIDATION);
    assert_non_null(strstr(err.what, "nested too deep"));
    cJSON *root = json("{\"properties\":{\"not\":{\"$ref\":\"#\"}}}");
    assert_int_equal(tr_schema_compile(root, "", &options, &schema, &err), TR_OK);
    assert_int_equal(tr_schema_validate(schema, deep, &err), TR_E_VALIDATION);
    assert_non_null(strstr(err.what, "nested too deep"));
    assert_true(strlen(err.where) > 0 && strlen(err.where) < sizeof err.where);
    tr_schema_free(schema);
    cJSON_Delete(root);
    cJSON_Delete(deep);
}

static void assert_bounded(const char *schema, const char *instance, const char *what) {
    tr_error err = {0};
    int64_t begin = tr_monotonic_ms();
    assert_int_equal(verdict(schema, instance, &err), TR_E_VALIDATION);
    assert_true(tr_monotonic_ms() - begin < 10000);
    if (!strstr(err.what, what))
        fail_msg("\"%s\" should hold \"%s\"", err.what, what);
}

static void test_exponential_schemas_are_bounded(void **state) {
    tr_buf text = TR_BUF_INIT;
    (void)state;
    tr_buf_puts(&text, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{");
    for (int i = 0; i < 50; i++)
        tr_buf_printf(&text, "\"d%d\":{\"allOf\":[{\"$ref\":\"#/$defs/d%d\"},{\"$ref\":\"#/$defs/d%d\"}]},",
                      i, i + 1, i + 1);
    tr_buf_puts(&text, "\"d50\":true}}");
    assert_bounded(text.data, "1", "too much work");
    tr_buf_clear(&text);
}

static void test_large_arrays(void **state) {
    tr_buf text = TR_BUF_INIT;
    (void)state;
    tr_buf_putc(&text, '[');
    for (int i = 0; i < 100000; i++)
        tr_buf_printf(&text, "%s%d", i ? "," : "", i);
    tr_buf_puts(&text, "]");
    int64_t begin = tr_monotonic_ms();
    assert_valid("{\"uniqueItems\":true,\"items\":{\"type\":\"integer\",\"minimum\":0}}", text.data);
    assert_true(tr_monotonic_ms() - begin < 20000);
    text.data[text.len - 1] = ',';
    tr_buf_puts(&text, "77]");
    assert_bounded("{\"uniqueItems\":true}", text.data, "no two items");
    /* each of 64 schemas keeps its own account of 100,000 items */
    tr_buf schema = TR_BUF_INIT;
    tr_buf_puts(&schema, "{\"unevaluatedItems\":false,\"anyOf\":[");
    for (int i = 0; i < 200; i++)
        tr_buf_printf(&schema, "%s{\"contains\":{\"const\":%d}}", i ? "," : "", i);
    tr_buf_puts(&schema, "]}");
    assert_bounded(schema.data, text.data, "too much work");
    tr_buf_clear(&schema);
    tr_buf_clear(&text);
}

static void test_many_required_members(void **state) {
    tr_buf schema = TR_BUF_INIT, instance = TR_BUF_INIT;
    (void)state;
    tr_buf_puts(&schema, "{\"required\":[");
    tr_buf_putc(&instance, '{');
    for (int i = 0; i < 20000; i++) {
        tr_buf_printf(&schema, "%s\"m%d\"", i ? "," : "", i);
        tr_buf_printf(&instance, "%s\"m%d\":1", i ? "," : "", i);
    }
    tr_buf_puts(&schema, "]}");
    tr_buf_puts(&instance, "}");
    assert_valid(schema.data, instance.data);
    tr_buf_clear(&schema);
    tr_buf_clear(&instance);
}

/* ---- threads ---- */

static void *validate_often(void *context) {
    const tr_schema *schema = context;
    cJSON *good = json("{\"a\":[\"x1\",\"x2\"],\"b\":{\"a\":[]}}"), *bad = json("{\"a\":[\"x1\",\"y\"]}");
    intptr_t wrong = 0;
    for (int i = 0; i < 2000; i++) {
        tr_error err = {0};
        wrong += tr_schema_validate(schema, good, &err) != TR_OK;
        wrong += tr_schema_validate(schema, bad, &err) != TR_E_VALIDATION || strcmp(err.where, "/a/1") != 0;
    }
    cJSON_Delete(good);
    cJSON_Delete(bad);
    return (void *)wrong;
}

static void test_one_schema_many_threads(void **state) {
    pthread_t threads[4];
    tr_schema *schema = NULL;
    (void)state;
    assert_int_equal(
        compile("{\"properties\":{\"a\":{\"items\":{\"pattern\":\"^x\\\\d$\"}},\"b\":{\"$ref\":\"#\"}},"
                "\"unevaluatedProperties\":false}",
                true, &schema, NULL),
        TR_OK);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, validate_often, schema), 0);
    for (size_t i = 0; i < 4; i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    tr_schema_free(schema);
}

/* ---- random schemas ---- */

static uint32_t next_random(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* JSON made of keywords in no sensible way: the compiler and the walk must only not fall over. */
static void put_random(tr_buf *out, uint32_t *seed, int depth) {
    static const char *const words[] = {"type",
                                        "items",
                                        "properties",
                                        "$ref",
                                        "allOf",
                                        "not",
                                        "if",
                                        "then",
                                        "pattern",
                                        "$id",
                                        "$anchor",
                                        "$dynamicRef",
                                        "$dynamicAnchor",
                                        "enum",
                                        "const",
                                        "required",
                                        "prefixItems",
                                        "unevaluatedItems",
                                        "unevaluatedProperties",
                                        "contains",
                                        "minContains",
                                        "$defs",
                                        "patternProperties",
                                        "additionalProperties",
                                        "uniqueItems",
                                        "anyOf",
                                        "oneOf"};
    static const char *const scalars[] = {"true",       "false",      "null",          "1",     "-0.5",
                                          "\"string\"", "\"#\"",      "\"#/$defs/a\"", "\"a\"", "\"#a\"",
                                          "\"^a*$\"",   "\"object\"", "1e5",           "{}",    "[]"};
    uint32_t kind = next_random(seed) % 5;
    if (depth == 0 || kind == 0) {
        tr_buf_puts(out, scalars[next_random(seed) % (sizeof scalars / sizeof *scalars)]);
    } else if (kind == 1) {
        tr_buf_putc(out, '[');
        for (uint32_t i = 0, n = next_random(seed) % 4; i < n; i++) {
            tr_buf_puts(out, i ? "," : "");
            put_random(out, seed, depth - 1);
        }
        tr_buf_putc(out, ']');
    } else {
        uint32_t first = next_random(seed), n = next_random(seed) % 5;
        tr_buf_putc(out, '{');
        for (uint32_t i = 0; i < n; i++) {
            tr_buf_printf(out, "%s\"%s\":", i ? "," : "",
                          words[(first + i * 4) % (sizeof words / sizeof *words)]);
            put_random(out, seed, depth - 1);
        }
        tr_buf_putc(out, '}');
    }
}

static void test_random_schemas(void **state) {
    uint32_t seed = 20201231;
    int compiled = 0;
    int64_t begin = tr_monotonic_ms();
    (void)state;
    for (int round = 0; round < 20000 && tr_monotonic_ms() - begin < 1000; round++) {
        tr_buf text = TR_BUF_INIT, data = TR_BUF_INIT;
        tr_schema *schema = NULL;
        put_random(&text, &seed, 5);
        put_random(&data, &seed, 4);
        tr_error err = {0};
        tr_status st = compile(text.data, round % 2, &schema, &err);
        assert_true(st == TR_OK || st == TR_E_VALIDATION);
        if (st == TR_OK) {
            cJSON *instance = json(data.data);
            st = tr_schema_validate(schema, instance, &err);
            assert_true(st == TR_OK || st == TR_E_VALIDATION);
            cJSON_Delete(instance);
            compiled++;
        }
        tr_schema_free(schema);
        tr_buf_clear(&text);
        tr_buf_clear(&data);
    }
    assert_true(compiled > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_official_suite),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_format_is_a_note_unless_asserted),
        cmocka_unit_test(test_patterns_are_those_of_ecma),
        cmocka_unit_test(test_patterns_beyond_ecma_are_refused),
        cmocka_unit_test(test_pattern_effort_is_bounded),
        cmocka_unit_test(test_errors_name_place_and_wish),
        cmocka_unit_test(test_errors_never_quote_the_instance),
        cmocka_unit_test(test_numbers_are_exact),
        cmocka_unit_test(test_faults_of_schemas_are_named),
        cmocka_unit_test(test_compiles_at_a_pointer),
        cmocka_unit_test(test_endless_references_are_refused),
        cmocka_unit_test(test_chains_are_bounded),
        cmocka_unit_test(test_deep_trees_do_not_overflow),
        cmocka_unit_test(test_exponential_schemas_are_bounded),
        cmocka_unit_test(test_large_arrays),
        cmocka_unit_test(test_many_required_members),
        cmocka_unit_test(test_one_schema_many_threads),
        cmocka_unit_test(test_random_schemas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
