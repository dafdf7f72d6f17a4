/* Record types: our keywords, the index, pointers and patches, threads. */
#include <pthread.h>

#include "test_rectype_fixture.h"

#include "base/clock.h"

static void assert_refused(const char *schema_text, const char *where, const char *what) {
    tr_rectype *type = NULL;
    tr_error err = {0};
    cJSON *schema = json(schema_text);
    if (tr_rectype_compile("person", 1, schema, &type, &err) != TR_E_VALIDATION)
        fail_msg("%s should be refused", schema_text);
    cJSON_Delete(schema);
    assert_null(type);
    if (strcmp(err.where, where) != 0 || !strstr(err.what, what))
        fail_msg("%s: \"%s\" at \"%s\", expected \"%s\" at \"%s\"", schema_text, err.what, err.where, what,
                 where);
}

/* ---- keywords ---- */

static void test_a_type_tells_about_itself(void **state) {
    tr_rectype *type = compile(person);
    bool ignore_case = false;
    (void)state;
    assert_string_equal(tr_rectype_name(type), "person");
    assert_int_equal(tr_rectype_version(type), 3);
    assert_int_equal(tr_rectype_history(type), 5);
    assert_string_equal(tr_rectype_retention(type), "P10Y");
    assert_int_equal(tr_rectype_index_count(type), 6);
    const char *const fields[] = {"/active",      "/email",  "/id/bioguide",
                                  "/id/govtrack", "/tags/*", "/terms/*/phone"};
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(tr_rectype_index_field(type, i), fields[i]);
    assert_null(tr_rectype_index_field(type, 6));
    assert_true(tr_rectype_is_indexed(type, "/email", &ignore_case));
    assert_true(ignore_case);
    assert_true(tr_rectype_is_indexed(type, "/id/bioguide", &ignore_case));
    assert_false(ignore_case);
    assert_false(tr_rectype_is_indexed(type, "/religion", NULL));
    assert_false(tr_rectype_is_indexed(type, "/terms/0/phone", NULL));
    tr_rectype_unref(type);
    type = compile("{\"type\":\"object\"}");
    assert_int_equal(tr_rectype_history(type), TR_RECTYPE_HISTORY_DEFAULT);
    assert_null(tr_rectype_retention(type));
    assert_int_equal(tr_rectype_index_count(type), 0);
    tr_rectype_unref(type);
    tr_rectype_unref(NULL);
}

static void test_validates(void **state) {
    tr_rectype *type = compile(person);
    tr_error err = {0};
    cJSON *good = json("{\"id\":{\"bioguide\":\"B1\"},\"email\":\"a@b.ch\"}");
    cJSON *bad = json("{\"id\":{\"bioguide\":\"B1\"},\"email\":\"SECRET\"}");
    (void)state;
    assert_int_equal(tr_rectype_validate(type, good, &err), TR_OK);
    assert_int_equal(tr_rectype_validate(type, bad, &err), TR_E_VALIDATION);
    assert_string_equal(err.where, "/email");
    assert_null(strstr(err.what, "SECRET"));
    cJSON_Delete(good);
    cJSON_Delete(bad);
    tr_rectype_unref(type);
}

static void test_faults_of_types_are_named(void **state) {
    (void)state;
    assert_refused("{}", "/type", "\"type\": \"object\"");
    assert_refused("true", "/type", "\"type\": \"object\"");
    assert_refused("{\"type\":[\"object\",\"null\"]}", "/type", "\"type\": \"object\"");
    assert_refused("{\"type\":\"object\",\"propertys\":{}}", "/propertys", "not a keyword");
    assert_refused("{\"type\":\"object\",\"properties\":{\"a\":{\"x-maks\":\"hide\"}}}",
                   "/properties/a/x-maks", "not a keyword");
    assert_refused("{\"type\":\"object\",\"properties\":{\"a\":{\"format\":\"emial\"}}}",
                   "/properties/a/format", "not known");
    assert_refused("{\"type\":\"object\",\"x-retention\":\"10 years\"}", "/x-retention", "duration");
    assert_refused("{\"type\":\"object\",\"properties\":{\"a\":{\"x-retention\":\"P1Y\"}}}",
                   "/properties/a/x-retention", "root");
    assert_refused("{\"type\":\"object\",\"x-history\":1001}", "/x-history", "0 to 1000");
    assert_refused("{\"type\":\"object\",\"x-history\":-1}", "/x-history", "0 to 1000");
    assert_refused("{\"type\":\"object\",\"x-history\":\"3\"}", "/x-history", "0 to 1000");
    assert_refused("{\"type\":\"object\",\"x-history\":1e30}", "/x-history", "0 to 1000");
    assert_refused("{\"type\":\"object\",\"$defs\":{\"a\":{\"x-history\":1}}}", "/$defs/a/x-history", "root");
    assert_refused("{\"type\":\"object\",\"properties\":{\"a\":{\"x-sensitive\":\"secret\"}}}",
                   "/properties/a/x-sensitive", "one of religious");
    assert_refused("{\"type\":\"object\",\"properties\":{\"a\":{\"x-mask\":\"\"}}}", "/properties/a/x-mask",
                   "x-mask must be");
    assert_refused("{\"type\":\"object\",\"properties\":{\"a\":{\"x-mask\":true}}}", "/properties/a/x-mask",
                   "x-mask must be");
    assert_refused("{\"type\":\"object\",\"x-mask\":\"hide\"}", "/x-mask", "root");
    assert_refused("{\"type\":\"object\",\"propertyNames\":{\"x-mask\":\"hide\"}}", "/propertyNames",
                   "names of members");
    assert_refused("{\"type\":\"object\",\"properties\":{\"a\":{\"contentSchema\":{\"properties\":{\"b\":{"
                   "\"x-mask\":\"hide\"}}}}}}",
                   "/properties/a/contentSchema", "what a string contains");
}

static void test_faults_of_indexes_are_named(void **state) {
    static const char reached[] = "must be reached from the root";
    (void)state;
#define TYPE(text) "{\"type\":\"object\"," text "}"
    assert_refused(TYPE("\"properties\":{\"a\":{\"type\":\"string\",\"x-index\":false}}"),
                   "/properties/a/x-index", "must be true");
    assert_refused(TYPE("\"properties\":{\"a\":{\"type\":\"string\",\"x-index\":\"yes\"}}"),
                   "/properties/a/x-index", "must be true");
    assert_refused(TYPE("\"properties\":{\"a\":{\"type\":\"object\",\"x-index\":true}}"),
                   "/properties/a/x-index", "beside a type");
    assert_refused(TYPE("\"properties\":{\"a\":{\"type\":[\"string\",\"array\"],\"x-index\":true}}"),
                   "/properties/a/x-index", "beside a type");
    assert_refused(TYPE("\"properties\":{\"a\":{\"x-index\":true}}"), "/properties/a/x-index",
                   "beside a type");
    assert_refused(TYPE("\"properties\":{\"a\":{\"type\":\"null\",\"x-index\":true}}"),
                   "/properties/a/x-index", "beside a type");
    assert_refused(TYPE("\"properties\":{\"a\":{\"type\":\"integer\",\"x-index\":\"ignore-case\"}}"),
                   "/properties/a/x-index", "for strings");
    assert_refused(TYPE("\"x-index\":true"), "/x-index", "beside a type");
    assert_refused(TYPE("\"additionalProperties\":{\"type\":\"string\",\"x-index\":true}"),
                   "/additionalProperties/x-index", reached);
    assert_refused(TYPE("\"patternProperties\":{\"a\":{\"type\":\"string\",\"x-index\":true}}"),
                   "/patternProperties/a/x-index", reached);
    assert_refused(TYPE("\"allOf\":[{\"properties\":{\"a\":{\"type\":\"string\",\"x-index\":true}}}]"),
                   "/allOf/0/properties/a/x-index", reached);
    assert_refused(TYPE("\"properties\":{\"a\":{\"prefixItems\":[{\"type\":\"string\",\"x-index\":true}]}}"),
                   "/properties/a/prefixItems/0/x-index", reached);
    assert_refused(TYPE("\"properties\":{\"a\":{\"prefixItems\":[true],\"items\":{\"type\":\"string\",\"x-"
                        "index\":true}}}"),
                   "/properties/a/items/x-index", reached);
    assert_refused(TYPE("\"$defs\":{\"a\":{\"type\":\"string\",\"x-index\":true}}"), "/$defs/a/x-index",
                   reached);
    assert_refused(TYPE("\"properties\":{\"*\":{\"type\":\"string\",\"x-index\":true}}"),
                   "/properties/*/x-index", "called \"*\"");
    assert_refused(
        TYPE("\"properties\":{\"a\":{\"type\":\"string\",\"x-index\":true},\"child\":{\"$ref\":\"#\"}}"),
        "/x-index", "contains itself");
    assert_refused(
        TYPE("\"properties\":{\"a\":{\"$ref\":\"#/$defs/"
             "n\"}},\"$defs\":{\"n\":{\"properties\":{\"next\":{\"items\":{\"$ref\":\"#/$defs/n\"}},"
             "\"v\":{\"type\":\"string\",\"x-index\":true}}}}"),
        "/$defs/n/x-index", "contains itself");
    assert_refused(
        TYPE("\"properties\":{\"a\":{\"$ref\":\"#/$defs/"
             "s\",\"x-index\":\"ignore-case\"}},\"$defs\":{\"s\":{\"type\":\"string\",\"x-index\":true}}"),
        "/$defs/s/x-index", "differently");
    tr_buf text = TR_BUF_INIT;
    tr_buf_puts(
        &text,
        "{\"type\":\"object\",\"$defs\":{\"s\":{\"type\":\"string\",\"x-index\":true}},\"properties\":{");
    for (int i = 0; i < 65; i++)
        tr_buf_printf(&text, "%s\"p%d\":{\"$ref\":\"#/$defs/s\"}", i ? "," : "", i);
    tr_buf_puts(&text, "}}");
    assert_refused(text.data, "/$defs/s/x-index", "at most 64");
    tr_buf_clear(&text);
}

/* Each level refers twice to the next: 2^30 ways, few nodes. */
static void test_many_ways_to_an_index_are_bounded(void **state) {
    tr_buf text = TR_BUF_INIT;
    int64_t begin = tr_monotonic_ms();
    (void)state;
    tr_buf_puts(&text, "{\"type\":\"object\",\"$ref\":\"#/$defs/d0\",\"$defs\":{");
    for (int i = 0; i < 30; i++)
        tr_buf_printf(
            &text,
            "\"d%d\":{\"properties\":{\"a\":{\"$ref\":\"#/$defs/d%d\"},\"b\":{\"$ref\":\"#/$defs/d%d\"}}},",
            i, i + 1, i + 1);
    tr_buf_puts(&text, "\"d30\":{\"type\":\"string\",\"x-index\":true}}}");
    assert_refused(text.data, "/$defs/d30/x-index", "at most 64");
    assert_true(tr_monotonic_ms() - begin < 2000);
    tr_buf_clear(&text);
}

/* ---- index values ---- */

static tr_status append_value(void *context, const char *field, const void *value, size_t len,
                              tr_error *err) {
    tr_buf *out = context;
    (void)err;
    tr_buf_printf(out, "%s=%.*s;", field, (int)len, (const char *)value);
    return TR_OK;
}

static tr_status fail_at_once(void *context, const char *field, const void *value, size_t len,
                              tr_error *err) {
    (void)field;
    (void)value;
    (void)len;
    ++*(int *)context;
    return tr_fail(err, TR_E_IO, NULL, "stop");
}

static void test_index_values(void **state) {
    tr_rectype *type = compile(person);
    tr_buf out = TR_BUF_INIT;
    cJSON *data =
        json("{\"id\":{\"bioguide\":\"B1\",\"govtrack\":4.0e2},\"email\":\"Ann@Example.CH\",\"active\":false,"
             "\"terms\":[{\"phone\":\"1\"},{},{\"phone\":\"2\"},{\"phone\":\"1\"}],\"tags\":[\"A\",\"a\","
             "\"\xc3\x89\"],"
             "\"other\":\"x\"}");
    (void)state;
    assert_int_equal(tr_rectype_index_values(type, data, append_value, &out, NULL), TR_OK);
    assert_string_equal(out.data, "/active=bfalse;/email=sann@example.ch;/id/bioguide=sB1;/id/govtrack=n4e2;"
                                  "/tags/*=sa;/tags/*=s\xc3\x89;/terms/*/phone=s1;/terms/*/phone=s2;");
    int calls = 0;
    tr_error err = {0};
    assert_int_equal(tr_rectype_index_values(type, data, fail_at_once, &calls, &err), TR_E_IO);
    assert_int_equal(calls, 1);
    cJSON_Delete(data);
    /* what is not there, or of another kind, gives none */
    tr_buf_reset(&out);
    data = json("{\"id\":{\"govtrack\":null},\"terms\":{\"*\":{\"phone\":\"1\"}},\"tags\":[[\"a\"]]}");
    assert_int_equal(tr_rectype_index_values(type, data, append_value, &out, NULL), TR_OK);
    assert_int_equal(out.len, 0);
    cJSON_Delete(data);
    tr_buf_clear(&out);
    tr_rectype_unref(type);
}

static void test_lookup_gives_the_same_bytes(void **state) {
    tr_rectype *type = compile(person);
    tr_buf bytes = TR_BUF_INIT;
    tr_error err = {0};
    static const char *const rows[][3] = {
        {"/email", "\"ANN@example.ch\"", "sann@example.ch"},
        {"/id/bioguide", "\"b1\"", "sb1"},
        {"/id/govtrack", "400", "n4e2"},
        {"/id/govtrack", "0.4E3", "n4e2"},
        {"/id/govtrack", "\"400\"", "s400"},
        {"/active", "false", "bfalse"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cJSON *value = json(rows[i][1]);
        assert_int_equal(tr_rectype_lookup_value(type, rows[i][0], value, &bytes, &err), TR_OK);
        assert_string_equal(bytes.data, rows[i][2]);
        cJSON_Delete(value);
    }
    cJSON *value = json("\"x\""), *object = json("{}"), *null = json("null");
    assert_int_equal(tr_rectype_lookup_value(type, "/religion", value, &bytes, &err), TR_E_VALIDATION);
    assert_string_equal(err.where, "/field");
    assert_int_equal(tr_rectype_lookup_value(type, "/email", object, &bytes, &err), TR_E_VALIDATION);
    assert_string_equal(err.where, "/value");
    assert_int_equal(tr_rectype_lookup_value(type, "/email", null, &bytes, &err), TR_E_VALIDATION);
    cJSON_Delete(value);
    cJSON_Delete(object);
    cJSON_Delete(null);
    tr_buf_clear(&bytes);
    tr_rectype_unref(type);
}

static void test_too_many_index_values_are_refused(void **state) {
    tr_rectype *type = compile(person);
    tr_buf text = TR_BUF_INIT, out = TR_BUF_INIT;
    tr_error err = {0};
    (void)state;
    for (int count = 256; count <= 257; count++) {
        tr_buf_reset(&text);
        tr_buf_puts(&text, "{\"tags\":[\"t0\"");
        for (int i = 0; i < count; i++)
            tr_buf_printf(&text, ",\"t%d\"", i);
        tr_buf_puts(&text, "]}");
        cJSON *data = json(text.data);
        tr_buf_reset(&out);
        assert_int_equal(tr_rectype_index_values(type, data, append_value, &out, &err),
                         count == 256 ? TR_OK : TR_E_VALIDATION);
        assert_true((out.len > 0) == (count == 256));
        cJSON_Delete(data);
    }
    assert_string_equal(err.where, "/tags");
    tr_buf_clear(&text);
    tr_buf_clear(&out);
    tr_rectype_unref(type);
}

static void test_same_index(void **state) {
    static const char a[] = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"x-index\":"
                            "true},\"b\":{\"type\":\"string\"}}}";
    static const char same[] = "{\"type\":\"object\",\"properties\":{\"c\":true,\"a\":{\"type\":\"string\","
                               "\"maxLength\":3,\"x-index\":true}}}";
    static const char more[] = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"x-index\":"
                               "true},\"b\":{\"type\":\"string\",\"x-index\":true}}}";
    static const char folded[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"x-index\":\"ignore-case\"}}}";
    tr_rectype *types[] = {compile(a), compile(same), compile(more), compile(folded)};
    (void)state;
    assert_true(tr_rectype_same_index(types[0], types[1]));
    assert_false(tr_rectype_same_index(types[0], types[2]));
    assert_false(tr_rectype_same_index(types[0], types[3]));
    for (size_t i = 0; i < 4; i++)
        tr_rectype_unref(types[i]);
}

/* ---- pointers and patches ---- */

static void test_pointers(void **state) {
    static const char *const good[] = {"/a", "/a/b", "/", "/a~0b~1c", "/0", "/\xc3\xa9", "/a*", "/**"};
    static const char *const bad[] = {"", "a", "/a~", "/a~2", "/a\n", "/\xff", "/a/*", "/*", "/*/b", "/\x7f"};
    char text[300] = "/";
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(tr_rectype_pointer_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(tr_rectype_pointer_valid(bad[i]));
    memset(text + 1, 'a', TR_RECTYPE_POINTER_MAX - 1);
    assert_true(tr_rectype_pointer_valid(text));
    strcat(text, "a");
    assert_false(tr_rectype_pointer_valid(text));

    static const char *const fields[] = {"/id", "/terms", "", "/a/b"};
    assert_true(tr_rectype_pointer_covers(fields, 4, "/id"));
    assert_true(tr_rectype_pointer_covers(fields, 4, "/id/bioguide"));
    assert_true(tr_rectype_pointer_covers(fields, 4, "/terms/*/phone"));
    assert_false(tr_rectype_pointer_covers(fields, 4, "/idx"));
    assert_false(tr_rectype_pointer_covers(fields, 4, "/a"));
    assert_false(tr_rectype_pointer_covers(fields, 4, "/email"));
    assert_false(tr_rectype_pointer_covers(fields, 0, "/id"));
    assert_true(tr_rectype_pointer_covers(NULL, 0, "/id"));
}

static void assert_patch(const char *const *fields, size_t count, const char *patch_text, bool expected) {
    cJSON *patch = json(patch_text);
    if (tr_rectype_patch_within(fields, count, patch) != expected)
        fail_msg("%s", patch_text);
    cJSON_Delete(patch);
}

static void test_patches_stay_within_fields(void **state) {
    static const char *const fields[] = {"/a/b", "/c", "/d~1e"};
    (void)state;
    assert_patch(fields, 3, "{}", true);
    assert_patch(fields, 3, "{\"a\":{\"b\":1}}", true);
    assert_patch(fields, 3, "{\"a\":{\"b\":{\"x\":1}},\"c\":null,\"d/e\":[1]}", true);
    assert_patch(fields, 3, "{\"a\":null}", false);
    assert_patch(fields, 3, "{\"a\":1}", false);
    assert_patch(fields, 3, "{\"a\":{}}", false);
    assert_patch(fields, 3, "{\"a\":[{\"b\":1}]}", false);
    assert_patch(fields, 3, "{\"a\":{\"b\":1,\"x\":2}}", false);
    assert_patch(fields, 3, "{\"c\":1,\"x\":2}", false);
    assert_patch(fields, 3, "{\"d\":{\"e\":1}}", false);
    assert_patch(fields, 3, "[1]", false);
    assert_patch(fields, 3, "null", false);
    assert_patch(fields, 0, "{}", true);
    assert_patch(fields, 0, "{\"c\":1}", false);
    assert_patch(NULL, 0, "{\"x\":1}", true);

    cJSON *patch = json("{\"a\":{\"b\":1}}");
    static const struct {
        const char *data;
        bool expected;
    } rows[] = {{"{}", true},
                {"{\"a\":{\"x\":1}}", true},
                {"{\"a\":\"text\"}", false},
                {"{\"a\":null}", false},
                {"{\"a\":[1]}", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cJSON *data = json(rows[i].data);
        assert_true(tr_rectype_patch_within_data(fields, 3, patch, data) == rows[i].expected);
        cJSON_Delete(data);
    }
    cJSON_Delete(patch);
}

/* ---- threads ---- */

static void *hold_and_use(void *context) {
    tr_rectype *type = context;
    cJSON *data = json("{\"id\":{\"bioguide\":\"B1\"},\"email\":\"ann@example.ch\"}");
    intptr_t wrong = 0;
    for (int i = 0; i < 1000; i++) {
        tr_rectype *mine = tr_rectype_ref(type);
        cJSON *view = NULL;
        wrong += tr_rectype_validate(mine, data, NULL) != TR_OK;
        wrong += tr_rectype_view(mine, data, NULL, 0, true, &view, NULL) != TR_OK;
        cJSON_Delete(view);
        tr_rectype_unref(mine);
    }
    cJSON_Delete(data);
    tr_rectype_unref(type); /* the reference that was handed over */
    return (void *)wrong;
}

static void test_many_threads_hold_one_type(void **state) {
    pthread_t threads[4];
    tr_rectype *type = compile(person);
    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_use, tr_rectype_ref(type)), 0);
    tr_rectype_unref(type);
    for (size_t i = 0; i < 4; i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_type_tells_about_itself),
        cmocka_unit_test(test_validates),
        cmocka_unit_test(test_faults_of_types_are_named),
        cmocka_unit_test(test_faults_of_indexes_are_named),
        cmocka_unit_test(test_many_ways_to_an_index_are_bounded),
        cmocka_unit_test(test_index_values),
        cmocka_unit_test(test_lookup_gives_the_same_bytes),
        cmocka_unit_test(test_too_many_index_values_are_refused),
        cmocka_unit_test(test_same_index),
        cmocka_unit_test(test_pointers),
        cmocka_unit_test(test_patches_stay_within_fields),
        cmocka_unit_test(test_many_threads_hold_one_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
