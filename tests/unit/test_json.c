/* The strict reader and the printer. */
#include "hex.h"

#include <locale.h>

#include "base/json.h"

static cJSON *read_text(const char *text, size_t len) {
    cJSON *tree = NULL;
    tr_error err = {0};
    tr_status st = tr_json_parse(text, len, &tree, &err);
    if (st != TR_OK)
        print_error("refused: %.60s: %s at \"%s\"\n", text, err.what, err.where);
    assert_int_equal(st, TR_OK);
    assert_non_null(tree);
    return tree;
}

static void refused(const char *text, size_t len) {
    cJSON *tree = (cJSON *)&tree;
    tr_error err = {0};
    tr_status st = tr_json_parse(text, len, &tree, &err);
    if (st == TR_OK)
        print_error("accepted: %.60s\n", text);
    assert_int_equal(st, TR_E_MALFORMED);
    assert_null(tree);
    assert_int_equal(err.status, TR_E_MALFORMED);
    assert_non_null(strstr(err.what, " at byte "));
    assert_true(tr_utf8_valid(err.where, strlen(err.where)));
    assert_int_equal(tr_json_parse(text, len, &tree, NULL), TR_E_MALFORMED);
}

/* What is read, printed and read again is the same; a copy in memory of its exact size shows ASan each step
 * too far. */
static void accepted(const char *text, size_t len) {
    char *exact = malloc(len ? len : 1);
    tr_buf once = TR_BUF_INIT, twice = TR_BUF_INIT;
    assert_non_null(exact);
    memcpy(exact, text, len);
    cJSON *tree = read_text(exact, len);
    assert_int_equal(tr_json_print(tree, &once, NULL), TR_OK);
    cJSON *again = read_text(once.data, once.len);
    assert_int_equal(tr_json_print(again, &twice, NULL), TR_OK);
    assert_string_equal(once.data, twice.data);
    assert_true(tr_json_equal(tree, again));
    for (size_t cut = 0; cut < len; cut++) { /* each beginning of it: refused or read, never a crash */
        cJSON *part = NULL;
        char *head = malloc(cut ? cut : 1);
        assert_non_null(head);
        memcpy(head, text, cut);
        tr_status st = tr_json_parse(head, cut, &part, NULL);
        assert_true(st == TR_OK || st == TR_E_MALFORMED);
        cJSON_Delete(part);
        free(head);
    }
    cJSON_Delete(tree);
    cJSON_Delete(again);
    tr_buf_clear(&once);
    tr_buf_clear(&twice);
    free(exact);
}

static void test_suite(void **state) {
    (void)state;
    static char line[16384];
    static uint8_t text[8192];
    char *field[3];
    int count = 0;
    FILE *file = open_vectors("json-syntax.txt");
    while (next_vector(file, line, sizeof line, field, 3)) {
        size_t n = hex_bytes(field[2], text, sizeof text - 1);
        text[n] = '\0';
        if (strcmp(field[0], "accept") == 0)
            accepted((const char *)text, n);
        else
            refused((const char *)text, n);
        count++;
    }
    fclose(file);
    assert_true(count > 300);
}

/* Bytes that are no UTF-8: overlong, surrogates, beyond U+10FFFF, cut off, alone; UTF-16. */
static void test_bad_utf8(void **state) {
    (void)state;
    static const char *const bad[] = {
        "80",     "bf",       "c0af",     "c1bf",         "e080af",   "f08080af", "eda080",
        "edbfbf", "f4908080", "f5808080", "f88080808080", "fe",       "ff",       "c3",
        "e282",   "f09f98",   "c328",     "e28228",       "f09f9828", "e9",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[64];
        uint8_t bytes[16];
        const size_t n = hex_bytes(bad[i], bytes, sizeof bytes);
        static const struct {
            const char *before, *after;
        } places[] = {{"[\"", "\"]"}, {"{\"", "\":1}"}, {"", ""},
                      {"[1", "]"},    {"[\"\\", "\"]"}, {"[1e", "]"}};
        for (size_t k = 0; k < sizeof places / sizeof places[0]; k++) {
            size_t at = strlen(places[k].before);
            memcpy(text, places[k].before, at);
            memcpy(text + at, bytes, n);
            strcpy(text + at + n, places[k].after);
            refused(text, at + n + strlen(places[k].after));
        }
    }
    refused("[\0\"\0x\0\"\0]\0", 10);
    refused("\0[\0\"\0x\0\"\0]", 10);
    refused("\xff\xfe[\0]\0", 6);
    refused("\xef\xbb\xbf[]", 5);
}

static void test_strings(void **state) {
    (void)state;
    static const struct {
        const char *text, *value;
    } cases[] = {
        {"\"\"", ""},
        {"\"\\u00e9\"", "\xc3\xa9"},
        {"\"\\u20AC\"", "\xe2\x82\xac"},
        {"\"\\ud834\\udd1e\"", "\xf0\x9d\x84\x9e"},
        {"\"\\uDBFF\\uDFFF\"", "\xf4\x8f\xbf\xbf"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u007f\\u0001\"", "\x7f\x01"},
        {"\"\xe2\x80\xa8\"", "\xe2\x80\xa8"},
        {"\"\\\\u0000\"", "\\u0000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *tree = read_text(cases[i].text, strlen(cases[i].text));
        assert_true(cJSON_IsString(tree));
        assert_string_equal(tree->valuestring, cases[i].value);
        cJSON_Delete(tree);
    }
    refused("\"a\0b\"", 5);
    refused("\"\\u0000\"", 8);
    refused("{\"\\u0000\":1}", 12);
}

/* The text of a number is what a client stored, and what it gets back. */
static void test_digits_come_back(void **state) {
    (void)state;
    static const char *const same[] = {
        "0",
        "-0",
        "-0.0",
        "1.0",
        "1.10",
        "1e5",
        "1E+05",
        "0.1",
        "123456789012345678901234567890.123456789012345678901234567890",
        "1e400",
        "-1e-400",
        "9007199254740993",
        "18446744073709551616",
        "1e999999999999999",
        "{\"b\":1,\"a\":2.50}",
        "[null,true,false,\"x\",{},[]]",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        tr_buf out = TR_BUF_INIT;
        cJSON *tree = read_text(same[i], strlen(same[i]));
        cJSON *copy = cJSON_Duplicate(tree, true);
        assert_int_equal(tr_json_print(copy, &out, NULL), TR_OK);
        assert_string_equal(out.data, same[i]);
        cJSON_Delete(tree);
        cJSON_Delete(copy);
        tr_buf_clear(&out);
    }
    cJSON *half = read_text("0.5", 3);
    assert_true(half->valuedouble == 0.5);
    cJSON_Delete(half);
}

static void test_number_limits(void **state) {
    (void)state;
    char text[1100];
    memset(text, '7', sizeof text);
    accepted(text, 1000);
    refused(text, 1001);
    refused("1e1000000000000000", 18);
    refused("1e-1000000000000000", 19);
}

static void nested(char *text, int depth) {
    memset(text, '[', (size_t)depth);
    memset(text + depth, ']', (size_t)depth);
    text[2 * depth] = '\0';
}

static void test_depth(void **state) {
    (void)state;
    static char text[400001];
    nested(text, TR_JSON_MAX_DEPTH);
    accepted(text, strlen(text));
    nested(text, TR_JSON_MAX_DEPTH + 1);
    refused(text, strlen(text));
    memset(text, '[', 200000);
    refused(text, 200000);
    for (size_t i = 0; i < 200000; i++)
        text[i] = "{\"a\":"[i % 5];
    refused(text, 200000);
}

static void test_node_limit(void **state) {
    (void)state;
    static char text[2 * TR_JSON_MAX_NODES + 8];
    size_t n = 0;
    text[n++] = '[';
    for (int i = 0; i < TR_JSON_MAX_NODES - 1; i++) {
        text[n++] = '1';
        text[n++] = ',';
    }
    text[n - 1] = ']';
    cJSON_Delete(read_text(text, n)); /* the array counts too */
    text[n - 1] = ',';
    text[n] = '1';
    text[n + 1] = ']';
    refused(text, n + 2);
}

static void test_duplicate_names(void **state) {
    (void)state;
    refused("{\"a\":1,\"a\":2}", 13);
    refused("{\"a\":1,\"\\u0061\":2}", 18);
    refused("[{\"x\":{\"a\":1,\"b\":1,\"a\":1}}]", 27);
    accepted("{\"a\":1,\"A\":2,\"\":3,\"a \":4}", 25);
    accepted("[{\"a\":1},{\"a\":1}]", 17);
    /* Beyond 16 members the names are in a set: the first, one in the middle and the last are found there. */
    const int repeated[] = {0, 15, 16, 17, 63, 64, 999};
    for (size_t k = 0; k < sizeof repeated / sizeof repeated[0]; k++) {
        tr_buf text = TR_BUF_INIT;
        for (int i = 0; i < 1000; i++)
            tr_buf_printf(&text, "%c\"name-%d\":0", i ? ',' : '{', i);
        cJSON *tree = NULL;
        tr_buf_putc(&text, '}');
        assert_int_equal(tr_json_parse(text.data, text.len, &tree, NULL), TR_OK);
        cJSON_Delete(tree);
        text.data[text.len - 1] = ',';
        tr_buf_printf(&text, "\"name-%d\":0}", repeated[k]);
        refused(text.data, text.len);
        tr_buf_clear(&text);
    }
}

static void error_is(const char *text, const char *where, const char *what) {
    cJSON *tree = NULL;
    tr_error err = {0};
    assert_int_equal(tr_json_parse(text, strlen(text), &tree, &err), TR_E_MALFORMED);
    assert_string_equal(err.where, where);
    assert_string_equal(err.what, what);
}

static void test_errors_say_where(void **state) {
    (void)state;
    error_is("", "", "the text ends, wanted a value at byte 0");
    error_is("{\"a\":{\"b\":[1,2,x]}}", "/a/b/2", "unexpected character, wanted a value at byte 15");
    error_is("{\"a/b\":{\"~\":01}}", "/a~1b/~0", "a number with a leading zero at byte 13");
    error_is("{\"a\":1,\"a\":2}", "/a", "a duplicate member name at byte 10");
    error_is("[\"\\ud800\"]", "/0", "a lone surrogate at byte 8");
    error_is("[1] x", "", "text after the value at byte 4");
    error_is("{\"a\" 1}", "/a", "unexpected character, wanted a colon at byte 5");
    error_is("[1 2]", "/0", "unexpected character, wanted a comma or a closing bracket at byte 3");
    error_is("{\"a\":1 \"b\":2}", "", "unexpected character, wanted a comma or a closing brace at byte 7");
    error_is("\"\t\"", "", "a control character in a string at byte 1");
}

/* A place deeper than tr_error.where holds is cut at a token. */
static void test_long_place(void **state) {
    (void)state;
    tr_buf text = TR_BUF_INIT;
    tr_error err = {0};
    cJSON *tree = NULL;
    for (int i = 0; i < 40; i++)
        tr_buf_puts(&text, "{\"twelve-bytes\":");
    assert_int_equal(tr_json_parse(text.data, text.len, &tree, &err), TR_E_MALFORMED);
    assert_true(strlen(err.where) < sizeof err.where);
    assert_true(strlen(err.where) % 13 == 0 && strlen(err.where) >= 130);
    tr_buf_clear(&text);
}

static void prints(tr_status (*print)(const cJSON *, tr_buf *, tr_error *), const char *text,
                   const char *expected) {
    tr_buf out = TR_BUF_INIT;
    cJSON *tree = read_text(text, strlen(text));
    assert_int_equal(print(tree, &out, NULL), TR_OK);
    assert_string_equal(out.data, expected);
    tr_buf_clear(&out);
    cJSON_Delete(tree);
}

static void test_sorted_and_canonical(void **state) {
    (void)state;
    const char *text = " { \"b\" : 1.0 , \"a\" : [ 10 , {\"z\":0.0,\"y\":-0}] , \"\" : \"\\u00e9\\n\" } ";
    prints(tr_json_print, text, "{\"b\":1.0,\"a\":[10,{\"z\":0.0,\"y\":-0}],\"\":\"\xc3\xa9\\n\"}");
    prints(tr_json_print_sorted, text, "{\"\":\"\xc3\xa9\\n\",\"a\":[10,{\"y\":-0,\"z\":0.0}],\"b\":1.0}");
    prints(tr_json_print_canonical, text, "{\"\":\"\xc3\xa9\\n\",\"a\":[1e1,{\"y\":0,\"z\":0}],\"b\":1e0}");
    prints(tr_json_print_sorted, "{\"\xc3\xa9\":1,\"z\":2,\"Z\":3}", "{\"Z\":3,\"z\":2,\"\xc3\xa9\":1}");
}

/* Trees that a program makes print too; what JSON cannot say becomes null. */
static void test_made_trees(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},
                 {1, "1"},
                 {-17, "-17"},
                 {0.1, "0.1"},
                 {1e21, "1e+21"},
                 {9007199254740991, "9007199254740991"},
                 {1.5, "1.5"},
                 {1e-7, "1e-07"},
                 {1.0 / 3, "0.3333333333333333"},
                 {1e308 * 10, "null"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tr_buf out = TR_BUF_INIT;
        cJSON *node = cJSON_CreateNumber(cases[i].value);
        assert_int_equal(tr_json_print(node, &out, NULL), TR_OK);
        assert_string_equal(out.data, cases[i].text);
        tr_buf_clear(&out);
        cJSON_Delete(node);
    }
    tr_buf out = TR_BUF_INIT;
    cJSON *raw = cJSON_CreateRaw("{}");
    assert_int_equal(tr_json_print(raw, &out, NULL), TR_E_INTERNAL);
    cJSON_Delete(raw);
    tr_buf_clear(&out);
}

static void test_memory_runs_out(void **state) {
    (void)state;
    tr_buf full = {.failed = true};
    cJSON *tree = read_text("[1]", 3);
    assert_int_equal(tr_json_print(tree, &full, NULL), TR_E_NOMEM);
    cJSON_Delete(tree);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suite),
        cmocka_unit_test(test_bad_utf8),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_digits_come_back),
        cmocka_unit_test(test_number_limits),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_node_limit),
        cmocka_unit_test(test_duplicate_names),
        cmocka_unit_test(test_errors_say_where),
        cmocka_unit_test(test_long_place),
        cmocka_unit_test(test_sorted_and_canonical),
        cmocka_unit_test(test_made_trees),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
