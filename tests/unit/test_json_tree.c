/* JSON trees: numbers as numbers, equality, pointers, members, merge patch. */
#include "hex.h"

#include "base/clock.h"
#include "base/json.h"

static cJSON *read_text(const char *text) {
    cJSON *tree = NULL;
    assert_int_equal(tr_json_parse(text, strlen(text), &tree, NULL), TR_OK);
    return tree;
}

/* ---- numbers ---- */

static void order_is(const char *a_text, const char *b_text, int order) {
    cJSON *a = read_text(a_text), *b = read_text(b_text);
    tr_buf x = TR_BUF_INIT, y = TR_BUF_INIT;
    if (tr_json_number_compare(a, b) != order)
        print_error("%s against %s\n", a_text, b_text);
    assert_int_equal(tr_json_number_compare(a, b), order);
    assert_int_equal(tr_json_number_compare(b, a), -order);
    /* Equality and the canonical form say the same. */
    assert_int_equal(tr_json_equal(a, b), order == 0);
    assert_int_equal(tr_json_print_canonical(a, &x, NULL), TR_OK);
    assert_int_equal(tr_json_print_canonical(b, &y, NULL), TR_OK);
    assert_int_equal(strcmp(x.data, y.data) == 0, order == 0);
    tr_buf_clear(&x);
    tr_buf_clear(&y);
    cJSON_Delete(a);
    cJSON_Delete(b);
}

static void test_order(void **state) {
    (void)state;
    order_is("0", "-0", 0);
    order_is("0e5", "-0.00", 0);
    order_is("1", "1.0", 0);
    order_is("100", "1e2", 0);
    order_is("0.001", "1E-3", 0);
    order_is("-1.50", "-15e-1", 0);
    order_is("1", "2", -1);
    order_is("-1", "-2", 1);
    order_is("-1", "1", -1);
    order_is("0", "1e-999999999999999", -1);
    order_is("0", "-1e-999999999999999", 1);
    order_is("12", "123", -1);
    order_is("9007199254740992", "9007199254740993", -1); /* one double */
    order_is("-9007199254740992", "-9007199254740993", 1);
    order_is("0.1", "0.1000000000000000055511151231257827", -1); /* one double */
    order_is("1e400", "2e400", -1);                              /* both infinite as doubles */
    order_is("-1e400", "-2e400", 1);
    order_is("1e400", "1e401", -1);
    order_is("10e399", "1e400", 0);
    order_is("1e-400", "2e-400", -1); /* both zero as doubles */
    order_is("-1e-400", "1e-400", -1);
    order_is("123456789012345678901234567890", "123456789012345678901234567891", -1);
    order_is("99999999999999999999", "1e20", -1);
}

static void test_order_with_made_numbers(void **state) {
    (void)state;
    cJSON *made = cJSON_CreateNumber(0.1), *read = read_text("0.10"),
          *near = read_text("0.1000000000000000055511151231257827");
    assert_int_equal(tr_json_number_compare(made, read), 0);
    assert_int_equal(tr_json_number_compare(made, near), -1);
    cJSON_Delete(made);
    cJSON_Delete(read);
    cJSON_Delete(near);
}

static void test_integers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool integer, fits;
        int64_t value;
    } cases[] = {
        {"0", true, true, 0},
        {"-0", true, true, 0},
        {"1.0", true, true, 1},
        {"1e3", true, true, 1000},
        {"10e-1", true, true, 1},
        {"-1.50e1", true, true, -15},
        {"1.5", false, false, 0},
        {"1e-1", false, false, 0},
        {"9223372036854775807", true, true, INT64_MAX},
        {"9223372036854775808", true, false, 0},
        {"-9223372036854775808", true, true, INT64_MIN},
        {"-9223372036854775809", true, false, 0},
        {"9223372036854775807.5", false, false, 0},
        {"1e18", true, true, INT64_C(1000000000000000000)},
        {"1e19", true, false, 0},
        {"1e999999999999999", true, false, 0},
        {"0e999999999999999", true, true, 0},
        {"1e-999999999999999", false, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *number = read_text(cases[i].text);
        bool fits = false;
        int64_t value = 0;
        assert_int_equal(tr_json_is_integer(number, &fits, &value), cases[i].integer);
        assert_int_equal(tr_json_is_integer(number, NULL, NULL), cases[i].integer);
        if (cases[i].integer)
            assert_int_equal(fits, cases[i].fits);
        assert_true(value == cases[i].value);
        cJSON_Delete(number);
    }
    cJSON *text = read_text("\"1\"");
    assert_false(tr_json_is_integer(text, NULL, NULL));
    cJSON_Delete(text);
}

static void test_multiples(void **state) {
    (void)state;
    static const struct {
        const char *number, *divisor;
        bool yes;
    } cases[] = {
        {"10", "2", true},
        {"10", "3", false},
        {"-9", "3", true},
        {"9", "-3", true},
        {"0", "7", true},
        {"0", "1e-999999999999999", true},
        {"4.35", "0.01", true}, /* not so with doubles */
        {"0.0075", "0.0001", true},
        {"0.00751", "0.0001", false},
        {"19.99", "0.01", true},
        {"1.1", "0.1", true},
        {"35", "1.5", false},
        {"4.5", "1.5", true},
        {"1", "1e-5", true},
        {"1e308", "0.123456789", false},
        {"1e308", "0.5", true},
        {"1e308", "1e309", false},
        {"5", "10", false},
        {"1e999999999999999", "7", false},
        {"1e999999999999999", "8", true},
        {"7e999999999999999", "7e-999999999999999", true},
        {"12345678901234567890123456789012345678901234567891", "9", false},
        {"12345678901234567890123456789012345678901234567891", "0.7", false},
        {"111111111111111111111111111111111111111111111111111", "3", true},
        {"1000000000000000000", "1", true},
        {"18446744073709551616", "65536", true},
        {"18446744073709551617", "65536", false},
        {"0.1e1", "1", true},
        {"9007199254740993", "2", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *number = read_text(cases[i].number), *divisor = read_text(cases[i].divisor);
        bool yes = !cases[i].yes;
        assert_int_equal(tr_json_is_multiple(number, divisor, &yes, NULL), TR_OK);
        if (yes != cases[i].yes)
            print_error("%s of %s\n", cases[i].number, cases[i].divisor);
        assert_int_equal(yes, cases[i].yes);
        cJSON_Delete(number);
        cJSON_Delete(divisor);
    }
    cJSON *one = read_text("1"), *zero = read_text("0.0");
    bool yes = false;
    assert_int_equal(tr_json_is_multiple(one, zero, &yes, NULL), TR_E_INTERNAL);
    cJSON_Delete(one);
    cJSON_Delete(zero);
}

/* ---- equality ---- */

static void test_equality(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {"{\"a\":1,\"b\":[1,2]}", "{\"b\":[1.0,2e0],\"a\":1}", true},
        {"[1,2]", "[2,1]", false},
        {"[1]", "[1,1]", false},
        {"{}", "[]", false},
        {"{\"a\":1}", "{\"a\":1,\"b\":1}", false},
        {"{\"a\":1}", "{\"A\":1}", false},
        {"{\"a\":null}", "{}", false},
        {"\"1\"", "1", false},
        {"true", "false", false},
        {"null", "null", true},
        {"\"\\u00e9\"", "\"\xc3\xa9\"", true},
        {"\"e\\u0301\"", "\"\xc3\xa9\"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *a = read_text(cases[i].a), *b = read_text(cases[i].b);
        tr_buf x = TR_BUF_INIT, y = TR_BUF_INIT;
        assert_int_equal(tr_json_equal(a, b), cases[i].equal);
        assert_int_equal(tr_json_equal(b, a), cases[i].equal);
        assert_int_equal(tr_json_print_canonical(a, &x, NULL), TR_OK);
        assert_int_equal(tr_json_print_canonical(b, &y, NULL), TR_OK);
        assert_int_equal(strcmp(x.data, y.data) == 0, cases[i].equal);
        tr_buf_clear(&x);
        tr_buf_clear(&y);
        cJSON_Delete(a);
        cJSON_Delete(b);
    }
}

/* ---- pointers and members ---- */

/* RFC 6901 section 5. */
static void test_pointers(void **state) {
    (void)state;
    cJSON *root =
        read_text("{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,\"g|h\":4,\"i\\\\j\":5,"
                  "\"k\\\"l\":6,\" \":7,\"m~n\":8}");
    static const char *const members[] = {"/",     "/a~1b", "/c%d", "/e^f", "/g|h",
                                          "/i\\j", "/k\"l", "/ ",   "/m~0n"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const cJSON *node = tr_json_pointer(root, members[i]);
        assert_non_null(node);
        assert_true(node->valuedouble == (double)i);
    }
    assert_ptr_equal(tr_json_pointer(root, ""), root);
    assert_string_equal(tr_json_pointer(root, "/foo/1")->valuestring, "baz");
    static const char *const nothing[] = {
        "foo",     "/foo/2", "/foo/-", "/foo/01", "/foo/", "/foo/1/x", "/foo/99999999999",
        "/foo/+1", "/nope",  "/m~n",   "/m~2n",   "/m~",   "//"};
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++)
        assert_null(tr_json_pointer(root, nothing[i]));
    cJSON_Delete(root);
}

static void test_pointer_push(void **state) {
    (void)state;
    tr_buf pointer = TR_BUF_INIT;
    char name[200];
    tr_json_pointer_push(&pointer, "a/b~c");
    tr_json_pointer_push(&pointer, "");
    assert_string_equal(pointer.data, "/a~1b~0c/");
    tr_buf_reset(&pointer);
    memset(name, 'x', sizeof name);
    memcpy(name + 99, "\xc3\xa9", 2); /* lies across the cut */
    name[199] = '\0';
    tr_json_pointer_push(&pointer, name);
    assert_int_equal(pointer.len, 100);
    assert_true(tr_utf8_valid(pointer.data, pointer.len));
    tr_buf_clear(&pointer);
    assert_string_equal(tr_json_pointer_clip(&pointer), "");
}

static void test_members(void **state) {
    (void)state;
    cJSON *object =
        read_text("{\"text\":\"x\",\"yes\":true,\"no\":false,\"seven\":7.0,\"half\":0.5,\"null\":null}");
    int64_t value = 0;
    assert_string_equal(tr_json_string(object, "text"), "x");
    assert_null(tr_json_string(object, "Text"));
    assert_null(tr_json_string(object, "yes"));
    assert_true(tr_json_bool(object, "yes", false));
    assert_false(tr_json_bool(object, "no", true));
    assert_true(tr_json_bool(object, "text", true));
    assert_true(tr_json_int(object, "seven", &value));
    assert_true(value == 7);
    assert_false(tr_json_int(object, "half", &value));
    assert_false(tr_json_int(object, "text", &value));
    assert_true(cJSON_IsNull(tr_json_member(object, "null")));
    assert_null(tr_json_member(object, "absent"));
    assert_null(tr_json_member(NULL, "x"));
    assert_null(tr_json_member(tr_json_member(object, "text"), "x"));
    cJSON_Delete(object);
}

/* ---- merge patch ---- */

static void merges(const char *target_text, const char *patch_text, const char *expected) {
    cJSON *target = target_text ? read_text(target_text) : NULL, *patch = read_text(patch_text);
    tr_buf out = TR_BUF_INIT;
    assert_int_equal(tr_json_merge_patch(&target, patch, NULL), TR_OK);
    cJSON_Delete(patch); /* the result has nothing of it */
    assert_int_equal(tr_json_print(target, &out, NULL), TR_OK);
    assert_string_equal(out.data, expected);
    tr_buf_clear(&out);
    cJSON_Delete(target);
}

/* RFC 7396 section 3 and appendix A, whole. */
static void test_merge_patch(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
        {"{\"title\":\"Goodbye!\",\"author\":{\"givenName\":\"John\",\"familyName\":\"Doe\"},"
         "\"tags\":[\"example\",\"sample\"],\"content\":\"This will be unchanged\"}",
         "{\"title\":\"Hello!\",\"phoneNumber\":\"+01-123-456-7890\",\"author\":{\"familyName\":null},"
         "\"tags\":[\"example\"]}",
         "{\"title\":\"Hello!\",\"author\":{\"givenName\":\"John\"},\"tags\":[\"example\"],"
         "\"content\":\"This will be unchanged\",\"phoneNumber\":\"+01-123-456-7890\"}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", "{\"c\":1.50,\"a\":null,\"d\":{\"x\":1e2}}",
         "{\"b\":2,\"c\":1.50,\"d\":{\"x\":1e2}}"},
        {"{\"a\":1}", "{\"A\":null,\"\":0}", "{\"a\":1,\"\":0}"},
        {"{\"a\":{\"b\":1}}", "{}", "{\"a\":{\"b\":1}}"},
        {NULL, "{\"a\":{\"b\":null,\"c\":1}}", "{\"a\":{\"c\":1}}"},
        {NULL, "7", "7"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        merges(cases[i][0], cases[i][1], cases[i][2]);
}

/* Two objects of 90,000 members that differ in every second name: one by one this takes minutes. */
static void test_merge_is_not_quadratic(void **state) {
    (void)state;
    enum { COUNT = 90000 };
    tr_buf target_text = TR_BUF_INIT, patch_text = TR_BUF_INIT;
    for (int i = 0; i < COUNT; i++) {
        tr_buf_printf(&target_text, "%c\"k%d\":1", i ? ',' : '{', i);
        tr_buf_printf(&patch_text, "%c\"k%d\":%s", i ? ',' : '{', 2 * i, i % 3 ? "2" : "null");
    }
    tr_buf_putc(&target_text, '}');
    tr_buf_putc(&patch_text, '}');
    cJSON *target = read_text(target_text.data), *patch = read_text(patch_text.data);
    const int64_t start = tr_monotonic_ms();
    assert_int_equal(tr_json_merge_patch(&target, patch, NULL), TR_OK);
    assert_true(tr_monotonic_ms() - start < 5000);
    /* Kept: the odd ones and, of the even ones, two in three; new: two in three of the patch's other half. */
    assert_int_equal(cJSON_GetArraySize(target), COUNT / 2 + COUNT / 2 * 2 / 3 + COUNT / 2 * 2 / 3);
    assert_null(tr_json_member(target, "k0"));
    assert_true(tr_json_member(target, "k1")->valuedouble == 1);
    assert_true(tr_json_member(target, "k2")->valuedouble == 2);
    cJSON_Delete(target);
    cJSON_Delete(patch);
    tr_buf_clear(&target_text);
    tr_buf_clear(&patch_text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),        cmocka_unit_test(test_order_with_made_numbers),
        cmocka_unit_test(test_integers),     cmocka_unit_test(test_multiples),
        cmocka_unit_test(test_equality),     cmocka_unit_test(test_pointers),
        cmocka_unit_test(test_pointer_push), cmocka_unit_test(test_members),
        cmocka_unit_test(test_merge_patch),  cmocka_unit_test(test_merge_is_not_quadratic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
