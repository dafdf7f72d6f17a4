/* JSON Schema: the official suite (tests/data/json-schema-2020-12), the words of errors, faults of schemas,
 * references. */
#include <dirent.h>

#include "test_schema_fixture.h"

#define SUITE TRESOR_TEST_DATA "/json-schema-2020-12"
/* What stands in the files for U+0000, which the reader refuses: a group that has it counts as not passed. */
#define NUL_MARK "\xee\x80\x80"

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

/* RFC 3986 section 5.4, as far as a schema can tell: the reference from one base leads to the schema of that
 * $id. */
static void test_references_resolve_as_rfc_3986_says(void **state) {
    static const char *const rows[][2] = {
        {"g:h", "g:h"},
        {"g", "http://a/b/c/g"},
        {"./g", "http://a/b/c/g"},
        {"g/", "http://a/b/c/g/"},
        {"/g", "http://a/g"},
        {"//g", "http://g"},
        {"?y", "http://a/b/c/d;p?y"},
        {"g?y", "http://a/b/c/g?y"},
        {";x", "http://a/b/c/;x"},
        {"g;x?y", "http://a/b/c/g;x?y"},
        {".", "http://a/b/c/"},
        {"./", "http://a/b/c/"},
        {"..", "http://a/b/"},
        {"../", "http://a/b/"},
        {"../g", "http://a/b/g"},
        {"../..", "http://a/"},
        {"../../g", "http://a/g"},
        {"../../../g", "http://a/g"},
        {"/./g", "http://a/g"},
        {"/../g", "http://a/g"},
        {"g.", "http://a/b/c/g."},
        {"..g", "http://a/b/c/..g"},
        {"./../g", "http://a/b/g"},
        {"./g/.", "http://a/b/c/g/"},
        {"g/./h", "http://a/b/c/g/h"},
        {"g/../h", "http://a/b/c/h"},
        {"g;x=1/../y", "http://a/b/c/y"},
        {"g?y/../x", "http://a/b/c/g?y/../x"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char schema[256];
        snprintf(
            schema, sizeof schema,
            "{\"$id\":\"http://a/b/c/d;p?q\",\"$ref\":\"%s\",\"$defs\":{\"t\":{\"$id\":\"%s\",\"const\":1}}}",
            rows[i][0], rows[i][1]);
        assert_valid(schema, "1");
        assert_invalid(schema, "2", "", "const");
    }
}

/* A place that no keyword knows, inside a resource of its own: its references start from that resource. */
static void test_a_pointer_into_a_resource_takes_its_base(void **state) {
    static const char schema[] =
        "{\"$ref\":\"#/$defs/a/x-place\",\"$defs\":{\"k\":{\"type\":\"null\"},\"a\":{\"$id\":\"http://h/a\","
        "\"x-place\":{\"$ref\":\"#/$defs/k\"},\"$defs\":{\"k\":{\"type\":\"string\"}}}}}";
    (void)state;
    assert_valid(schema, "\"x\"");
    assert_invalid(schema, "null", "", "type: must be string");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_official_suite),
        cmocka_unit_test(test_errors_name_place_and_wish),
        cmocka_unit_test(test_errors_never_quote_the_instance),
        cmocka_unit_test(test_numbers_are_exact),
        cmocka_unit_test(test_faults_of_schemas_are_named),
        cmocka_unit_test(test_compiles_at_a_pointer),
        cmocka_unit_test(test_references_resolve_as_rfc_3986_says),
        cmocka_unit_test(test_a_pointer_into_a_resource_takes_its_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
