/* The ZIP writer, CSV fields, schemas and languages of packages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/encode.h"
#include "vault/package_internal.h"

#define AT INT64_C(1767225600000) /* 2026-01-01 */

/* ---- a sink ---- */

struct sink {
    tr_buf got;
    size_t most; /* what it takes before it fails; 0: all */
    int writes, failures;
};

static tr_status take(void *context, const void *bytes, size_t n, tr_error *err) {
    struct sink *s = context;
    s->writes++;
    assert_int_equal(s->failures, 0); /* nothing may be written after a failure */
    if (s->most && s->got.len + n > s->most) {
        s->failures++;
        return tr_fail(err, TR_E_TIMEOUT, NULL, "full");
    }
    tr_buf_append(&s->got, bytes, n);
    return tr_buf_ok(&s->got, err);
}

static tr_status write_files(tr_zip *zip, const char *const *names, const tr_bytes *contents, size_t count,
                             tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; i < count && st == TR_OK; i++) {
        uint8_t sha256[TR_SHA256_LEN], expected[TR_SHA256_LEN];
        int64_t size = -1;
        st = tr_zip_begin(zip, names[i], err);
        size_t half = contents[i].len / 2;
        if (st == TR_OK && half)
            st = tr_zip_put(zip, contents[i].data, half, err);
        if (st == TR_OK)
            st = tr_zip_put(zip, (const char *)contents[i].data + half, contents[i].len - half, err);
        if (st == TR_OK)
            st = tr_zip_end(zip, &size, sha256, err);
        if (st != TR_OK)
            break;
        assert_int_equal(size, contents[i].len);
        assert_int_equal(tr_sha256(&contents[i], 1, expected, NULL), TR_OK);
        assert_memory_equal(sha256, expected, sizeof expected);
    }
    return st;
}

/* Two files: a short one, and one that does not compress. */
static tr_bytes noise(void) {
    static unsigned char bytes[300000];
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof bytes; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(x >> 24);
    }
    return (tr_bytes){bytes, sizeof bytes};
}

static const char *const names[] = {"records/a.json", "records/b.json"};

static void read_back(const tr_buf *zip, const char *passphrase, const tr_bytes *contents, size_t count) {
    struct archive *in = archive_read_new();
    struct archive_entry *entry;
    char *room = malloc(400000);
    assert_non_null(in);
    assert_non_null(room);
    assert_int_equal(archive_read_support_format_zip_seekable(in), ARCHIVE_OK);
    if (passphrase)
        assert_int_equal(archive_read_add_passphrase(in, passphrase), ARCHIVE_OK);
    assert_int_equal(archive_read_open_memory(in, zip->data, zip->len), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++) {
        size_t len = 0;
        la_ssize_t n;
        assert_int_equal(archive_read_next_header(in, &entry), ARCHIVE_OK);
        assert_string_equal(archive_entry_pathname(entry), names[i]);
        assert_int_equal(archive_entry_is_encrypted(entry), passphrase != NULL);
        assert_int_equal(archive_entry_mtime(entry), AT / 1000);
        while ((n = archive_read_data(in, room + len, 400000 - len)) > 0)
            len += (size_t)n;
        assert_int_equal(n, 0);
        assert_int_equal(len, contents[i].len);
        assert_memory_equal(room, contents[i].data, len);
    }
    assert_int_equal(archive_read_next_header(in, &entry), ARCHIVE_EOF);
    archive_read_free(in);
    free(room);
}

static void zip_is_whole(const char *passphrase) {
    struct sink s = {.most = 0};
    const tr_bytes contents[] = {{"{\"a\":1}", 7}, noise()};
    tr_zip *zip;
    assert_int_equal(tr_zip_open(take, &s, passphrase, AT, &zip, NULL), TR_OK);
    assert_int_equal(write_files(zip, names, contents, 2, NULL), TR_OK);
    assert_int_equal(tr_zip_close(zip, NULL), TR_OK);
    size_t len = s.got.len;
    tr_zip_free(zip);
    assert_int_equal(s.got.len, len); /* freeing writes nothing more */
    assert_true(s.writes > 10);       /* in pieces, as it went */
    read_back(&s.got, passphrase, contents, 2);
    tr_buf_clear(&s.got);
}

static void a_zip_reads_back(void **state) {
    (void)state;
    zip_is_whole(NULL);
}

static void an_encrypted_zip_reads_back(void **state) {
    (void)state;
    zip_is_whole("correct-horse-battery");
}

/* Whatever the place where the sink fails: its own status comes back, and nothing more is written. */
static void a_sink_that_fails_ends_it(void **state) {
    const tr_bytes contents[] = {{"{\"a\":1}", 7}, noise()};
    (void)state;
    for (size_t most = 1; most < 320000; most += 17000) {
        struct sink s = {.most = most};
        tr_error err = {0};
        tr_zip *zip;
        assert_int_equal(tr_zip_open(take, &s, NULL, AT, &zip, NULL), TR_OK);
        tr_status st = write_files(zip, names, contents, 2, &err);
        if (st == TR_OK)
            st = tr_zip_close(zip, &err);
        tr_zip_free(zip);
        assert_int_equal(st, s.failures ? TR_E_TIMEOUT : TR_OK);
        assert_int_equal(s.failures, most < s.got.len || st != TR_OK);
        if (st != TR_OK)
            assert_string_equal(err.what, "full");
        tr_buf_clear(&s.got);
    }
}

static void a_zip_that_is_left_has_no_end(void **state) {
    struct sink s = {.most = 0};
    tr_zip *zip;
    (void)state;
    assert_int_equal(tr_zip_open(take, &s, NULL, AT, &zip, NULL), TR_OK);
    assert_int_equal(tr_zip_begin(zip, "a", NULL), TR_OK);
    assert_int_equal(tr_zip_put(zip, noise().data, noise().len, NULL), TR_OK);
    size_t len = s.got.len;
    tr_zip_free(zip);
    assert_int_equal(s.got.len, len);
    assert_null(memmem(s.got.data, s.got.len, "PK\5\6", 4));
    tr_buf_clear(&s.got);
}

/* ---- CSV ---- */

static void assert_csv(const char *text, const char *expected) {
    tr_buf out = TR_BUF_INIT;
    tr_csv_text(&out, true, text);
    assert_string_equal(out.data ? out.data : "", expected);
    tr_buf_clear(&out);
}

static void csv_fields(void **state) {
    static const char *const cases[][2] = {{"", ""},
                                           {"a", "a"},
                                           {"a,b", "\"a,b\""},
                                           {"a\"b", "\"a\"\"b\""},
                                           {"a\r\nb", "\"a\r\nb\""},
                                           {"=1", "\"'=1\""},
                                           {"+1", "\"'+1\""},
                                           {"-1", "\"'-1\""},
                                           {"@x", "\"'@x\""},
                                           {"\t=1", "\"'\t=1\""},
                                           {"\r=1", "\"'\r=1\""},
                                           {"\n=1", "\"'\n=1\""},
                                           {"\xef\xbc\x9d"
                                            "1",
                                            "\"'\xef\xbc\x9d"
                                            "1\""},
                                           {"a=1", "a=1"},
                                           {" =1", " =1"},
                                           {"=\"a\"", "\"'=\"\"a\"\"\""}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_csv(cases[i][0], cases[i][1]);
    assert_csv(NULL, "");
}

static void csv_values(void **state) {
    cJSON *row = NULL;
    tr_buf out = TR_BUF_INIT;
    const cJSON *value;
    bool first = true;
    (void)state;
    const char text[] = "[-1.50,true,null,\"-1\",[1,2],{\"a\":\"=x\"}]";
    assert_int_equal(tr_json_parse(text, sizeof text - 1, &row, NULL), TR_OK);
    cJSON_ArrayForEach(value, row) {
        assert_int_equal(tr_csv_value(&out, first, value, NULL), TR_OK);
        first = false;
    }
    assert_int_equal(tr_csv_value(&out, false, NULL, NULL), TR_OK);
    tr_csv_end(&out);
    assert_string_equal(out.data, "-1.50,true,,\"'-1\",\"[1,2]\",\"{\"\"a\"\":\"\"=x\"\"}\",\r\n");
    tr_buf_clear(&out);
    cJSON_Delete(row);
}

/* ---- schemas ---- */

static cJSON *schema(const char *text) {
    cJSON *tree = NULL;
    assert_int_equal(tr_json_parse(text, strlen(text), &tree, NULL), TR_OK);
    return tree;
}

static void which_types_are_flat(void **state) {
    static const struct {
        const char *text;
        bool flat;
    } cases[] = {
        {"{\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":[\"number\",\"null\"]}}}", true},
        {"{\"properties\":{\"a\":{\"type\":\"array\"}}}", false},
        {"{\"properties\":{\"a\":{\"type\":[\"string\",\"object\"]}}}", false},
        {"{\"properties\":{\"a\":true}}", false},
        {"{\"properties\":{\"a\":{\"$ref\":\"#/$defs/x\"}}}", false},
        {"{\"properties\":{}}", false},
        {"{\"type\":\"object\"}", false},
        {"{\"properties\":{\"a\":{\"type\":\"string\"}},\"patternProperties\":{\"x\":true}}", false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cJSON *tree = schema(cases[i].text);
        assert_int_equal(tr_schema_is_flat(tree), cases[i].flat);
        cJSON_Delete(tree);
    }
}

static void what_is_sensitive(void **state) {
    cJSON *tree =
        schema("{\"properties\":{\"a\":{\"x-sensitive\":\"health\"},\"b\":{\"items\":{\"x-sensitive\":"
               "\"genetic\"}},\"c\":{\"anyOf\":[{\"x-sensitive\":\"health\"}]}}}");
    cJSON *list = cJSON_CreateArray();
    tr_buf text = TR_BUF_INIT;
    (void)state;
    assert_true(tr_schema_sensitive(tree, list));
    assert_int_equal(tr_json_print(list, &text, NULL), TR_OK);
    assert_string_equal(text.data, "[\"health\",\"genetic\"]");
    tr_buf_clear(&text);
    cJSON_Delete(list);
    cJSON_Delete(tree);
}

static void the_context_of_a_type(void **state) {
    cJSON *tree = schema(
        "{\"x-schema-org\":\"Person\",\"properties\":{\"given \\\"n\\\"\":{\"x-schema-org\":\"givenName\"},"
        "\"at\":{\"x-schema-org\":\"address\",\"items\":{\"properties\":{\"c\":{\"x-schema-org\":\"city\"}}}}"
        ","
        "\"other\":{\"properties\":{\"c\":{\"x-schema-org\":\"city\"}}}}}");
    tr_buf out = TR_BUF_INIT;
    (void)state;
    tr_buf_putc(&out, '{');
    assert_true(tr_schema_context(tree, "person", &out));
    tr_buf_putc(&out, '}');
    assert_string_equal(
        out.data, "{\"person\":{\"@id\":\"schema:Person\",\"@context\":{\"given \\\"n\\\"\":{\"@id\":"
                  "\"schema:givenName\"},\"at\":{\"@id\":\"schema:address\",\"@context\":{\"c\":{\"@id\":"
                  "\"schema:city\"}}}}}}");
    tr_buf_clear(&out);
    cJSON_Delete(tree);
    tree = schema("{\"properties\":{\"a\":{\"type\":\"string\"}}}");
    assert_false(tr_schema_context(tree, "plain", &out));
    assert_int_equal(out.len, 0);
    cJSON_Delete(tree);
}

/* ---- languages ---- */

static void languages(void **state) {
    tr_language l = TR_LANG_COUNT;
    (void)state;
    assert_true(tr_language_parse("de", 2, &l) && l == TR_LANG_DE);
    assert_true(tr_language_parse("FR-ch", 5, &l) && l == TR_LANG_FR);
    assert_true(tr_language_parse("it", 2, &l) && l == TR_LANG_IT);
    assert_true(tr_language_parse("en-GB", 5, &l) && l == TR_LANG_EN);
    assert_false(tr_language_parse("deu", 3, &l));
    assert_false(tr_language_parse("rm", 2, &l));
    assert_false(tr_language_parse("d", 1, &l));
    assert_false(tr_language_parse("", 0, &l));
}

static void every_text_is_there_in_every_language(void **state) {
    (void)state;
    for (int t = 0; t < TR_TEXT_COUNT; t++) {
        for (int l = 0; l < TR_LANG_COUNT; l++) {
            const char *text = tr_text_in((tr_language)l, (tr_text)t);
            assert_non_null(text);
            assert_true(text[0] != '\0' && tr_utf8_valid(text, strlen(text)));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zip_reads_back),
        cmocka_unit_test(an_encrypted_zip_reads_back),
        cmocka_unit_test(a_sink_that_fails_ends_it),
        cmocka_unit_test(a_zip_that_is_left_has_no_end),
        cmocka_unit_test(csv_fields),
        cmocka_unit_test(csv_values),
        cmocka_unit_test(which_types_are_flat),
        cmocka_unit_test(what_is_sensitive),
        cmocka_unit_test(the_context_of_a_type),
        cmocka_unit_test(languages),
        cmocka_unit_test(every_text_is_there_in_every_language),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
