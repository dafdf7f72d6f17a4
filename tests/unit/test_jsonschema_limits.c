/* JSON Schema against hostile schemas and instances: everything ends, in bounded time and memory. */
#include <pthread.h>

#include "test_schema_fixture.h"

#include "base/clock.h"

/* Without a bound these would take years: the time only has to tell the two apart, under a sanitizer on a
 * busy machine too. */
#define BOUND_MS 120000

static void assert_bounded(const char *schema, const char *instance, const char *what) {
    tr_error err = {0};
    int64_t begin = tr_monotonic_ms();
    assert_int_equal(verdict(schema, instance, &err), TR_E_VALIDATION);
    assert_true(tr_monotonic_ms() - begin < BOUND_MS);
    if (!strstr(err.what, what))
        fail_msg("\"%s\" should hold \"%s\"", err.what, what);
}

/* ---- patterns ---- */

/* The patterns that hang naive matchers end within the bound, and soon. The text's end holds every letter
 * that a pattern may need, so that no pattern is done for lack of one. */
static void test_pattern_effort_is_bounded(void **state) {
    static const char *const patterns[] = {
        "^(a+)+$",
        "(a*)*b",
        "^(a|a)*$",
        "(a+a+)+y",
        "a*a*a*b",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        "(a*)\\\\1c",
        "(?:(a*)\\\\1)*c",
        "(?=(a+))a*b",
        "(?:a|a)*(?:a|a)*c",
        "^(?:a?){500}(?:a){500}$",
    };
    char *instance = calloc(1, 600000);
    int stopped = 0;
    (void)state;
    assert_non_null(instance);
    for (size_t size = 400; size <= 500000; size *= 35) {
        for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
            char schema[128];
            tr_error err = {0};
            instance[0] = '"';
            memset(instance + 1, 'a', size);
            strcpy(instance + 1 + size, "!bcyA1\"");
            snprintf(schema, sizeof schema, "{\"pattern\":\"%s\"}", patterns[i]);
            int64_t begin = tr_monotonic_ms();
            tr_status st = verdict(schema, instance, &err);
            assert_true(tr_monotonic_ms() - begin < 5000);
            assert_true(st == TR_OK || st == TR_E_VALIDATION);
            stopped += strstr(err.what, "too much work") != NULL;
        }
    }
    free(instance);
    assert_true(stopped >= 20);
}

/* The account is one for all texts of an instance. */
static void test_pattern_effort_adds_up(void **state) {
    static const char schema[] = "{\"items\":{\"pattern\":\"^(a+)+$|^x$\"}}";
    tr_error err = {0};
    (void)state;
    assert_int_equal(verdict(schema, "[\"x\",\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"]", &err),
                     TR_E_VALIDATION);
    assert_string_equal(err.where, "/1");
    assert_non_null(strstr(err.what, "too much work"));
    tr_buf text = TR_BUF_INIT;
    tr_buf_puts(&text, "{\"items\":{\"not\":{\"pattern\":\"^(a+)+$\"}}}");
    tr_buf data = TR_BUF_INIT;
    tr_buf_puts(&data, "[\"x\"");
    for (int i = 0; i < 1000; i++)
        tr_buf_puts(&data, ",\"aaaaaaaaaaaaaaa!\"");
    tr_buf_puts(&data, "]");
    assert_bounded(text.data, data.data, "too much work");
    tr_buf_clear(&text);
    tr_buf_clear(&data);
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

/* Each of many keywords would print the whole array. */
static void test_repeated_uniqueness_is_bounded(void **state) {
    tr_buf schema = TR_BUF_INIT, data = TR_BUF_INIT;
    (void)state;
    tr_buf_puts(&schema, "{\"allOf\":[{}");
    for (int i = 0; i < 300; i++)
        tr_buf_puts(&schema, ",{\"uniqueItems\":true}");
    tr_buf_puts(&schema, "]}");
    tr_buf_puts(&data, "[0");
    for (int i = 1; i < 50000; i++)
        tr_buf_printf(&data, ",%d", i);
    tr_buf_puts(&data, "]");
    assert_bounded(schema.data, data.data, "too much work");
    tr_buf_clear(&schema);
    tr_buf_clear(&data);
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
        cmocka_unit_test(test_pattern_effort_is_bounded),
        cmocka_unit_test(test_pattern_effort_adds_up),
        cmocka_unit_test(test_endless_references_are_refused),
        cmocka_unit_test(test_chains_are_bounded),
        cmocka_unit_test(test_deep_trees_do_not_overflow),
        cmocka_unit_test(test_exponential_schemas_are_bounded),
        cmocka_unit_test(test_large_arrays),
        cmocka_unit_test(test_repeated_uniqueness_is_bounded),
        cmocka_unit_test(test_many_required_members),
        cmocka_unit_test(test_one_schema_many_threads),
        cmocka_unit_test(test_random_schemas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
