/* Record types: our keywords, the index, views under a grant's fields and masks, patches. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "vault/rectype.h"

/* ---- helpers ---- */

static cJSON *json(const char *text) {
    cJSON *tree = NULL;
    tr_error err = {0};
    if (tr_json_parse(text, strlen(text), &tree, &err) != TR_OK)
        fail_msg("%s: %s at %s", text, err.what, err.where);
    return tree;
}

static tr_rectype *compile(const char *schema_text) {
    tr_rectype *type = NULL;
    tr_error err = {0};
    cJSON *schema = json(schema_text);
    if (tr_rectype_compile("person", 3, schema, &type, &err) != TR_OK)
        fail_msg("%s: %s at %s", schema_text, err.what, err.where);
    cJSON_Delete(schema);
    return type;
}

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

static void assert_json(const cJSON *tree, const char *expected) {
    tr_buf text = TR_BUF_INIT;
    assert_int_equal(tr_json_print(tree, &text, NULL), TR_OK);
    assert_string_equal(text.data, expected);
    tr_buf_clear(&text);
}

/* Fields: up to 4, ended by NULL; `all` in the first place stands for all. */
static const char all[] = "all";

static void assert_view(const tr_rectype *type, const char *data_text, bool masked, const char *const *fields,
                        const char *expected) {
    cJSON *data = json(data_text), *view = NULL;
    tr_error err = {0};
    size_t count = 0;
    bool whole = fields[0] == all;
    while (!whole && fields[count])
        count++;
    if (tr_rectype_view(type, data, whole ? NULL : fields, count, masked, &view, &err) != TR_OK)
        fail_msg("%s: %s", data_text, err.what);
    assert_json(data, data_text); /* untouched */
    cJSON_Delete(data);           /* and not aliased */
    assert_json(view, expected);
    cJSON_Delete(view);
}

#define ALL         ((const char *const[]){all})
#define FIELDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_masked(const char *schema, const char *data, const char *expected) {
    tr_rectype *type = compile(schema);
    assert_view(type, data, true, ALL, expected);
    assert_view(type, data, false, ALL, data);
    tr_rectype_unref(type);
}

/* ---- keywords ---- */

static const char person[] =
    "{\"type\":\"object\",\"x-retention\":\"P10Y\",\"x-history\":5,\"required\":[\"id\"],\"properties\":{"
    "\"id\":{\"type\":\"object\",\"properties\":{\"bioguide\":{\"type\":\"string\",\"x-index\":true},"
    "\"govtrack\":{\"type\":[\"integer\",\"null\"],\"x-index\":true}}},"
    "\"email\":{\"$ref\":\"#/$defs/email\"},"
    "\"active\":{\"type\":\"boolean\",\"x-index\":true},"
    "\"religion\":{\"type\":\"string\",\"x-sensitive\":\"religious-philosophical-political-union\",\"x-"
    "mask\":\"hide\"},"
    "\"terms\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"phone\":{\"type\":"
    "\"string\","
    "\"x-index\":true,\"x-mask\":\"last4\"}}}},"
    "\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"x-index\":\"ignore-case\"}}},"
    "\"$defs\":{\"email\":{\"type\":\"string\",\"format\":\"email\",\"x-index\":\"ignore-case\",\"x-mask\":"
    "\"domain\"}}}";

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
                   "/properties/a/x-sensitive", "category");
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

/* ---- views: fields ---- */

static void test_views_show_only_the_fields(void **state) {
    static const char data[] =
        "{\"id\":{\"bioguide\":\"B1\",\"n\":12345678901234567890.10},\"a/"
        "b\":{\"~\":1},\"terms\":[{\"x\":1},{\"x\":2}],"
        "\"empty\":{},\"null\":null,\"deep\":{\"a\":{\"b\":{\"c\":1,\"d\":2},\"e\":3}}}";
    tr_rectype *type = compile("{\"type\":\"object\"}");
    (void)state;
    for (int masked = 0; masked < 2; masked++) {
        assert_view(type, data, masked, ALL, data);
        assert_view(type, data, masked, FIELDS(NULL), "{}");
        assert_view(type, data, masked, FIELDS("/id/n"), "{\"id\":{\"n\":12345678901234567890.10}}");
        assert_view(type, data, masked, FIELDS("/id", "/id/n"),
                    "{\"id\":{\"bioguide\":\"B1\",\"n\":12345678901234567890.10}}");
        assert_view(type, data, masked, FIELDS("/a~1b/~0"), "{\"a/b\":{\"~\":1}}");
        assert_view(type, data, masked, FIELDS("/terms"), "{\"terms\":[{\"x\":1},{\"x\":2}]}");
        assert_view(type, data, masked, FIELDS("/terms/0", "/terms/0/x", "/terms/*/x", "/terms/-"), "{}");
        assert_view(type, data, masked, FIELDS("/empty", "/null"), "{\"empty\":{},\"null\":null}");
        assert_view(type, data, masked, FIELDS("/deep/a/b/d", "/deep/a/e"),
                    "{\"deep\":{\"a\":{\"b\":{\"d\":2},\"e\":3}}}");
        /* what is not there leaves no trace of what is above it */
        assert_view(type, data, masked, FIELDS("/deep/a/x", "/none", "/null/x", "/empty/x", "/id/n/x"), "{}");
        /* what is no field names nothing */
        assert_view(type, data, masked, FIELDS("", "/", "id", "/id~2"), "{}");
    }
    tr_rectype_unref(type);
}

/* ---- views: masks ---- */

static void test_each_mask(void **state) {
    static const char *const rows[][3] = {
        {"hide", "\"secret\"", "null"},
        {"initial", "\"Anna\"", "\"A.\""},
        {"initial", "\"\xc3\x89milie\"", "\"\xc3\x89.\""},
        {"initial", "\"\xf0\x9f\x98\x80x\"", "\"\xf0\x9f\x98\x80.\""},
        {"initial", "\"\"", "null"},
        {"last4", "\"CH9300762011623852957\"",
         "\"\xe2\x80\xa6"
         "2957\""},
        {"last4", "\"12345\"",
         "\"\xe2\x80\xa6"
         "2345\""},
        {"last4", "\"1234\"", "\"\xe2\x80\xa6\""},
        {"last4", "\"\"", "\"\xe2\x80\xa6\""},
        {"last4", "\"a\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\"",
         "\"\xe2\x80\xa6\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\""},
        {"year", "\"1961-08-04\"", "\"1961\""},
        {"year", "\"1961-08-04T12:00:00Z\"", "\"1961\""},
        {"year", "\"1961-13-04\"", "null"},
        {"year", "\"1961\"", "null"},
        {"year", "\"1961-08-04 or so\"", "null"},
        {"year", "\"\"", "null"},
        {"domain", "\"ann@example.ch\"", "\"\xe2\x80\xa6@example.ch\""},
        {"domain", "\"\\\"a@b\\\"@example.ch\"", "\"\xe2\x80\xa6@example.ch\""},
        {"domain", "\"ann@\"", "null"},
        {"domain", "\"ann\"", "null"},
    };
    static const char *const others[] = {"12", "true", "null", "[\"a\"]", "{\"a\":\"b\"}"};
    char schema[160], data[160], expected[160];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(schema, sizeof schema, "{\"type\":\"object\",\"properties\":{\"v\":{\"x-mask\":\"%s\"}}}",
                 rows[i][0]);
        snprintf(data, sizeof data, "{\"v\":%s,\"w\":1.0}", rows[i][1]);
        snprintf(expected, sizeof expected, "{\"v\":%s,\"w\":1.0}", rows[i][2]);
        assert_masked(schema, data, expected);
        for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
            snprintf(data, sizeof data, "{\"v\":%s}", others[k]);
            assert_masked(schema, data, "{\"v\":null}");
        }
    }
}

static void test_masks_hold_wherever_they_stand(void **state) {
    /* each hides S */
    static const char *const schemas[] = {
        "\"properties\":{\"v\":M}",
        "\"patternProperties\":{\"^v$\":M}",
        "\"additionalProperties\":M",
        "\"unevaluatedProperties\":M",
        "\"properties\":{\"v\":{\"$ref\":\"#/$defs/m\"}}",
        "\"$ref\":\"#/$defs/o\"",
        "\"allOf\":[true,{\"properties\":{\"v\":M}}]",
        "\"anyOf\":[true,{\"properties\":{\"v\":M,\"w\":{\"const\":1}}}]",
        "\"oneOf\":[true,{\"not\":{},\"properties\":{\"v\":M}}]",
        "\"if\":{\"required\":[\"none\"]},\"then\":{\"properties\":{\"v\":M}}",
        "\"if\":{},\"else\":{\"properties\":{\"v\":M}}",
        "\"if\":{\"properties\":{\"v\":M}}",
        "\"not\":{\"required\":[\"none\"],\"properties\":{\"v\":M}}",
        "\"dependentSchemas\":{\"none\":{\"properties\":{\"v\":M}}}",
        "\"properties\":{\"v\":{\"allOf\":[{\"anyOf\":[{},{\"$ref\":\"#/$defs/m\"}]}]}}",
        "\"$dynamicRef\":\"#dyn\"",
        /* two masks that differ */
        "\"properties\":{\"v\":{\"x-mask\":\"initial\",\"allOf\":[{\"x-mask\":\"last4\"}]}}",
        /* a pattern that cannot be judged within its effort */
        "\"patternProperties\":{\"^(v+)+$\":M}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        tr_buf schema = TR_BUF_INIT;
        tr_buf_puts(&schema,
                    "{\"type\":\"object\",\"$defs\":{\"m\":{\"x-mask\":\"hide\"},\"o\":{\"properties\":{"
                    "\"v\":{\"x-mask\":\"hide\"}}},"
                    "\"d\":{\"$dynamicAnchor\":\"dyn\",\"properties\":{\"v\":{\"x-mask\":\"hide\"}}}},");
        for (const char *p = schemas[i]; *p; p++) {
            if (*p == 'M')
                tr_buf_puts(&schema, "{\"x-mask\":\"hide\"}");
            else
                tr_buf_putc(&schema, *p);
        }
        tr_buf_putc(&schema, '}');
        assert_masked(schema.data, "{\"v\":\"secret\"}", "{\"v\":null}");
        tr_buf_clear(&schema);
    }
    assert_masked("{\"type\":\"object\",\"patternProperties\":{\"^(v+)+$\":{\"x-mask\":\"hide\"}}}",
                  "{\"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv!\":\"s\"}",
                  "{\"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv!\":null}");
}

static void test_masks_leave_the_rest(void **state) {
    (void)state;
    /* named and patterned members are not additional */
    assert_masked("{\"type\":\"object\",\"properties\":{\"a\":true},\"patternProperties\":{\"^b\":true},"
                  "\"additionalProperties\":{\"x-mask\":\"hide\"}}",
                  "{\"a\":1,\"b1\":2,\"c\":3}", "{\"a\":1,\"b1\":2,\"c\":null}");
    assert_masked("{\"type\":\"object\",\"properties\":{\"l\":{\"prefixItems\":[{\"x-mask\":\"hide\"},true],"
                  "\"items\":{\"x-mask\":\"initial\"}}}}",
                  "{\"l\":[\"aa\",\"bb\",\"cc\",\"dd\"]}", "{\"l\":[null,\"bb\",\"c.\",\"d.\"]}");
    assert_masked("{\"type\":\"object\",\"properties\":{\"l\":{\"contains\":{\"x-mask\":\"hide\"}},\"m\":{"
                  "\"unevaluatedItems\":{\"x-mask\":\"hide\"}}}}",
                  "{\"l\":[\"a\"],\"m\":[\"b\"],\"n\":[\"c\"]}", "{\"l\":[null],\"m\":[null],\"n\":[\"c\"]}");
    /* a type that contains itself */
    assert_masked(
        "{\"type\":\"object\",\"properties\":{\"name\":{\"x-mask\":\"initial\"},\"children\":{\"items\":{\"$"
        "ref\":\"#\"}}}}",
        "{\"name\":\"Ann\",\"children\":[{\"name\":\"Bob\",\"age\":1.50,\"children\":[{\"name\":\"Cid\"}]}]}",
        "{\"name\":\"A.\",\"children\":[{\"name\":\"B.\",\"age\":1.50,\"children\":[{\"name\":\"C.\"}]}]}");
    /* a mask on an object hides all of it */
    assert_masked("{\"type\":\"object\",\"properties\":{\"o\":{\"type\":\"object\",\"x-mask\":\"last4\"}}}",
                  "{\"o\":{\"a\":\"12345\"}}", "{\"o\":null}");
}

static void test_masks_and_fields_together(void **state) {
    tr_rectype *type = compile(person);
    static const char data[] = "{\"id\":{\"bioguide\":\"B1\"},\"email\":\"ann@example.ch\",\"religion\":"
                               "\"none\",\"terms\":[{\"phone\":\"0791234567\",\"n\":1}]}";
    (void)state;
    assert_view(type, data, true, ALL,
                "{\"id\":{\"bioguide\":\"B1\"},\"email\":\"\xe2\x80\xa6@example.ch\",\"religion\":null,"
                "\"terms\":[{\"phone\":\"\xe2\x80\xa6"
                "4567\",\"n\":1}]}");
    assert_view(type, data, true, FIELDS("/email", "/terms"),
                "{\"email\":\"\xe2\x80\xa6@example.ch\",\"terms\":[{\"phone\":\"\xe2\x80\xa6"
                "4567\",\"n\":1}]}");
    assert_view(type, data, false, FIELDS("/religion", "/id"),
                "{\"id\":{\"bioguide\":\"B1\"},\"religion\":\"none\"}");
    assert_view(type, data, true, FIELDS("/religion/x"), "{\"religion\":null}");
    tr_rectype_unref(type);
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

/* ---- hostile types and records ---- */

static void test_masking_work_is_bounded(void **state) {
    tr_buf schema = TR_BUF_INIT, data = TR_BUF_INIT;
    tr_error err = {0};
    cJSON *view = NULL;
    (void)state;
    tr_buf_puts(&schema, "{\"type\":\"object\",\"additionalProperties\":{\"allOf\":[");
    for (int i = 0; i < 3000; i++)
        tr_buf_printf(&schema, "%s{\"properties\":{\"v\":{\"x-mask\":\"hide\"}}}", i ? "," : "");
    tr_buf_puts(&schema, "]}}");
    tr_buf_putc(&data, '{');
    for (int i = 0; i < 5000; i++)
        tr_buf_printf(&data, "%s\"m%d\":{\"v\":\"SECRET\"}", i ? "," : "", i);
    tr_buf_puts(&data, "}");
    tr_rectype *type = compile(schema.data);
    cJSON *tree = json(data.data);
    int64_t begin = tr_monotonic_ms();
    assert_int_equal(tr_rectype_view(type, tree, NULL, 0, true, &view, &err), TR_E_VALIDATION);
    assert_null(view);
    assert_true(tr_monotonic_ms() - begin < 5000);
    cJSON_Delete(tree);
    tr_rectype_unref(type);
    tr_buf_clear(&schema);
    tr_buf_clear(&data);
}

static void test_deep_records_are_bounded(void **state) {
    tr_rectype *type = compile("{\"type\":\"object\",\"additionalProperties\":{\"$ref\":\"#\"},"
                               "\"properties\":{\"v\":{\"x-mask\":\"hide\"}}}");
    cJSON *deep = cJSON_CreateObject(), *view = NULL;
    tr_error err = {0};
    (void)state;
    for (int i = 0; i < 3000; i++) {
        cJSON *outer = cJSON_CreateObject();
        cJSON_AddItemToObject(outer, "a", deep);
        deep = outer;
    }
    assert_int_equal(tr_rectype_view(type, deep, NULL, 0, true, &view, &err), TR_E_VALIDATION);
    assert_null(view);
    cJSON_Delete(deep);
    tr_rectype_unref(type);
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

/* ---- no mask is ever lost ---- */

static uint32_t next_random(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* A schema that wraps a mask for the member "v", some levels down, in applicators chosen at random. */
static void wrap(tr_buf *out, uint32_t *seed, int depth) {
    static const char *const wraps[][2] = {
        {"{\"allOf\":[{},", "]}"},
        {"{\"anyOf\":[", ",true]}"},
        {"{\"oneOf\":[false,", "]}"},
        {"{\"if\":false,\"then\":", "}"},
        {"{\"if\":true,\"else\":", "}"},
        {"{\"dependentSchemas\":{\"zz\":", "}}"},
        {"{\"not\":{\"not\":", "}}"},
        {"{\"properties\":{\"v\":true},\"allOf\":[", "]}"},
        {"{\"additionalProperties\":true,\"patternProperties\":{\"^zz\":true},\"anyOf\":[", "]}"},
    };
    if (depth == 0) {
        tr_buf_puts(out, "{\"properties\":{\"v\":{\"x-mask\":\"hide\"}}}");
        return;
    }
    size_t i = next_random(seed) % (sizeof wraps / sizeof *wraps);
    tr_buf_puts(out, wraps[i][0]);
    wrap(out, seed, depth - 1);
    tr_buf_puts(out, wraps[i][1]);
}

static void test_random_wraps_never_lose_a_mask(void **state) {
    uint32_t seed = 7;
    int64_t begin = tr_monotonic_ms();
    cJSON *data = json("{\"o\":{\"v\":\"SECRET\",\"w\":1},\"p\":[{\"v\":\"SECRET\"}]}");
    (void)state;
    for (int round = 0; round < 2000 && tr_monotonic_ms() - begin < 1000; round++) {
        tr_buf schema = TR_BUF_INIT, text = TR_BUF_INIT;
        cJSON *view = NULL;
        tr_buf_puts(&schema, "{\"type\":\"object\",\"properties\":{\"o\":{\"$ref\":\"#/$defs/"
                             "w\"},\"p\":{\"items\":{\"$ref\":\"#/$defs/w\"}}},\"$defs\":{\"w\":");
        wrap(&schema, &seed, 1 + (int)(next_random(&seed) % 6));
        tr_buf_puts(&schema, "}}");
        tr_rectype *type = compile(schema.data);
        assert_int_equal(tr_rectype_view(type, data, NULL, 0, true, &view, NULL), TR_OK);
        assert_int_equal(tr_json_print(view, &text, NULL), TR_OK);
        if (strstr(text.data, "SECRET"))
            fail_msg("%s shows %s", schema.data, text.data);
        assert_non_null(strstr(text.data, "\"w\":1"));
        cJSON_Delete(view);
        tr_rectype_unref(type);
        tr_buf_clear(&schema);
        tr_buf_clear(&text);
    }
    cJSON_Delete(data);
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
        cmocka_unit_test(test_views_show_only_the_fields),
        cmocka_unit_test(test_each_mask),
        cmocka_unit_test(test_masks_hold_wherever_they_stand),
        cmocka_unit_test(test_masks_leave_the_rest),
        cmocka_unit_test(test_masks_and_fields_together),
        cmocka_unit_test(test_pointers),
        cmocka_unit_test(test_patches_stay_within_fields),
        cmocka_unit_test(test_masking_work_is_bounded),
        cmocka_unit_test(test_deep_records_are_bounded),
        cmocka_unit_test(test_many_threads_hold_one_type),
        cmocka_unit_test(test_random_wraps_never_lose_a_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
