/* What a grant shows of a record: fields and masks. */
#include "test_rectype_fixture.h"

#include "base/clock.h"

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
        snprintf(schema, sizeof schema,
                 "{\"type\":\"object\",\"properties\":{\"v\":{\"x-mask\":\"%s\"},\"w\":true}}", rows[i][0]);
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

/* The reference leads at first to an anchor without a mask, and through the scope to one with a mask. */
static void test_masks_hold_behind_dynamic_references(void **state) {
    (void)state;
    assert_masked("{\"type\":\"object\",\"$ref\":\"list\",\"$defs\":{"
                  "\"own\":{\"$dynamicAnchor\":\"item\",\"properties\":{\"v\":{\"x-mask\":\"hide\"}}},"
                  "\"list\":{\"$id\":\"list\",\"properties\":{\"l\":{\"items\":{\"$dynamicRef\":\"#item\"}}},"
                  "\"$defs\":{\"item\":{\"$dynamicAnchor\":\"item\",\"properties\":{\"w\":true}}}}}}",
                  "{\"l\":[{\"v\":\"secret\",\"w\":1}]}", "{\"l\":[{\"v\":null,\"w\":1}]}");
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
                  "\"unevaluatedItems\":{\"x-mask\":\"hide\"}},\"n\":{\"items\":true}}}",
                  "{\"l\":[\"a\"],\"m\":[\"b\"],\"n\":[\"c\"]}", "{\"l\":[null],\"m\":[null],\"n\":[\"c\"]}");
    /* a type that contains itself */
    assert_masked(
        "{\"type\":\"object\",\"properties\":{\"name\":{\"x-mask\":\"initial\"},\"age\":true,\"children\":{"
        "\"items\":{\"$"
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
                "4567\",\"n\":null}]}");
    assert_view(type, data, true, FIELDS("/email", "/terms"),
                "{\"email\":\"\xe2\x80\xa6@example.ch\",\"terms\":[{\"phone\":\"\xe2\x80\xa6"
                "4567\",\"n\":null}]}");
    assert_view(type, data, false, FIELDS("/religion", "/id"),
                "{\"id\":{\"bioguide\":\"B1\"},\"religion\":\"none\"}");
    tr_rectype_unref(type);
}

/* A record may be older than its type's schema: what that does not name (any more) may have had a mask. */
static void test_masked_views_hide_what_no_subschema_describes(void **state) {
    static const char *const rows[][3] = {
        /* a member that is not named, of the record and of an object in it */
        {"\"properties\":{\"v\":M,\"o\":{\"properties\":{\"a\":true}}}",
         "{\"o\":{\"a\":1,\"b\":\"s\"},\"x\":\"s\",\"y\":{\"z\":\"s\"},\"w\":[\"s\"]}",
         "{\"o\":{\"a\":1,\"b\":null},\"x\":null,\"y\":null,\"w\":null}"},
        /* what is named without saying what is in it shows that it is there */
        {"\"properties\":{\"v\":M,\"o\":true,\"l\":{}}", "{\"o\":{\"a\":\"s\"},\"l\":[\"s\",{\"a\":\"s\"}]}",
         "{\"o\":{\"a\":null},\"l\":[null,null]}"},
        /* items behind the described ones */
        {"\"properties\":{\"v\":M,\"l\":{\"prefixItems\":[true]}}", "{\"l\":[1,2,3]}",
         "{\"l\":[1,null,null]}"},
        /* a mask anywhere is enough, and a branch that may describe it too */
        {"\"properties\":{\"o\":{\"properties\":{\"v\":M}}}", "{\"o\":{},\"x\":1}", "{\"o\":{},\"x\":null}"},
        {"\"properties\":{\"v\":M},\"anyOf\":[{\"properties\":{\"x\":true}},{}]", "{\"x\":1,\"y\":2}",
         "{\"x\":1,\"y\":null}"},
        /* these describe every member or item */
        {"\"properties\":{\"v\":M},\"additionalProperties\":{\"type\":\"integer\"}", "{\"x\":1}",
         "{\"x\":1}"},
        {"\"properties\":{\"v\":M},\"unevaluatedProperties\":true", "{\"x\":1}", "{\"x\":1}"},
        {"\"properties\":{\"v\":M},\"patternProperties\":{\"^x\":true}", "{\"x1\":1,\"y\":1}",
         "{\"x1\":1,\"y\":null}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tr_buf schema = TR_BUF_INIT;
        tr_buf_puts(&schema, "{\"type\":\"object\",");
        for (const char *p = rows[i][0]; *p; p++) {
            if (*p == 'M')
                tr_buf_puts(&schema, "{\"x-mask\":\"last4\"}");
            else
                tr_buf_putc(&schema, *p);
        }
        tr_buf_putc(&schema, '}');
        assert_masked(schema.data, rows[i][1], rows[i][2]);
        tr_buf_clear(&schema);
    }
    /* fields do not bring it back */
    tr_rectype *type = compile("{\"type\":\"object\",\"properties\":{\"v\":{\"x-mask\":\"last4\"}}}");
    assert_view(type, "{\"old\":\"s\",\"v\":\"12345\"}", true, FIELDS("/old"), "{\"old\":null}");
    assert_view(type, "{\"old\":\"s\",\"v\":\"12345\"}", false, FIELDS("/old"), "{\"old\":\"s\"}");
    tr_rectype_unref(type);
    /* a type without a mask hides nothing */
    assert_masked("{\"type\":\"object\",\"properties\":{\"v\":true}}", "{\"x\":{\"y\":[1]}}",
                  "{\"x\":{\"y\":[1]}}");
}

/* The mask would show some of what stands beside the member that is granted. */
static void test_a_masked_parent_shows_nothing_for_a_member_below(void **state) {
    tr_rectype *type = compile("{\"type\":\"object\",\"properties\":{\"a\":{\"x-mask\":\"initial\"},\"o\":{"
                               "\"properties\":{\"a\":{\"x-mask\":\"last4\"},\"n\":true}},\"n\":true}}");
    static const char text[] = "{\"a\":\"Zebra\",\"o\":{\"a\":\"12345\",\"n\":1},\"n\":\"x\"}";
    static const char object[] = "{\"a\":{\"b\":\"Zebra\"},\"o\":{\"a\":{\"b\":1}}}";
    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *data = i ? object : text;
        assert_view(type, data, true, FIELDS("/a/b"), "{}");
        assert_view(type, data, true, FIELDS("/a/b", "/o/a/b"), "{}");
        assert_view(type, data, true, FIELDS("/a/b/c"), "{}");
    }
    assert_view(type, text, true, FIELDS("/a/b", "/n", "/o/n"), "{\"o\":{\"n\":1},\"n\":\"x\"}");
    assert_view(type, text, true, FIELDS("/a"), "{\"a\":\"Z.\"}");
    assert_view(type, text, true, FIELDS("/a", "/a/b"), "{\"a\":\"Z.\"}");
    assert_view(type, text, false, FIELDS("/a/b"), "{}");
    assert_view(type, object, false, FIELDS("/a/b"), "{\"a\":{\"b\":\"Zebra\"}}");
    tr_rectype_unref(type);
    type = compile(person);
    assert_view(type, "{\"id\":{},\"religion\":\"none\"}", true, FIELDS("/religion/x"), "{}");
    tr_rectype_unref(type);
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
        tr_buf_puts(
            &schema,
            "{\"type\":\"object\",\"properties\":{\"o\":{\"$ref\":\"#/$defs/"
            "w\",\"properties\":{\"w\":true}},\"p\":{\"items\":{\"$ref\":\"#/$defs/w\"}}},\"$defs\":{\"w\":");
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
        cmocka_unit_test(test_views_show_only_the_fields),
        cmocka_unit_test(test_each_mask),
        cmocka_unit_test(test_masks_hold_wherever_they_stand),
        cmocka_unit_test(test_masks_hold_behind_dynamic_references),
        cmocka_unit_test(test_masks_leave_the_rest),
        cmocka_unit_test(test_masks_and_fields_together),
        cmocka_unit_test(test_masked_views_hide_what_no_subschema_describes),
        cmocka_unit_test(test_a_masked_parent_shows_nothing_for_a_member_below),
        cmocka_unit_test(test_masking_work_is_bounded),
        cmocka_unit_test(test_deep_records_are_bounded),
        cmocka_unit_test(test_random_wraps_never_lose_a_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
