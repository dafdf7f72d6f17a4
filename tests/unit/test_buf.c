/* Buffers, and the errors of status.h. */
#include "hex.h"

#include <errno.h>

static void test_append(void **state) {
    (void)state;
    tr_buf b = TR_BUF_INIT;
    tr_buf_append(&b, NULL, 0);
    assert_string_equal(b.data, "");
    tr_buf_puts(&b, "a");
    tr_buf_putc(&b, 'b');
    tr_buf_append(&b, "c\0d", 3);
    tr_buf_printf(&b, "%d-%s", 7, "x");
    assert_int_equal(b.len, 8);
    assert_memory_equal(b.data, "abc\0d7-x", 9);
    assert_int_equal(tr_buf_ok(&b, NULL), TR_OK);
    tr_buf_clear(&b);
    assert_null(b.data);
    tr_buf_clear(&b);
}

static void test_growth(void **state) {
    (void)state;
    tr_buf b = TR_BUF_INIT;
    for (int i = 0; i < 100000; i++)
        tr_buf_putc(&b, (char)('a' + i % 26));
    assert_int_equal(b.len, 100000);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(b.data[i], 'a' + i % 26);
    assert_int_equal(b.data[b.len], '\0');
    const size_t cap = b.cap;
    tr_buf_reset(&b);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.cap, cap);
    assert_string_equal(b.data, "");
    for (int i = 0; i < 100000; i++)
        assert_int_equal(b.data[i], 0); /* wiped */
    tr_buf_clear(&b);
}

static void test_reserve(void **state) {
    (void)state;
    tr_buf b = TR_BUF_INIT;
    char *room = tr_buf_reserve(&b, 1000);
    assert_non_null(room);
    assert_true(b.cap > 1000);
    memset(room, 'r', 1000);
    b.len += 1000;
    assert_non_null(tr_buf_reserve(&b, 100000)); /* moved, and still ended by a NUL */
    assert_int_equal(b.len, 1000);
    assert_int_equal(b.data[1000], '\0');
    assert_int_equal(b.data[999], 'r');
    tr_buf_clear(&b);
}

static void test_failure_sticks(void **state) {
    (void)state;
    tr_buf b = TR_BUF_INIT;
    tr_error err = {0};
    tr_buf_puts(&b, "kept");
    assert_null(tr_buf_reserve(&b, TR_BUF_MAX));
    assert_null(tr_buf_reserve(&b, SIZE_MAX));
    tr_buf_puts(&b, "lost");
    tr_buf_printf(&b, "%s", "lost");
    assert_string_equal(b.data, "kept");
    assert_int_equal(tr_buf_ok(&b, &err), TR_E_NOMEM);
    assert_int_equal(err.status, TR_E_NOMEM);
    tr_buf_reset(&b);
    tr_buf_puts(&b, "again");
    assert_int_equal(tr_buf_ok(&b, NULL), TR_OK);
    assert_string_equal(b.data, "again");
    b.failed = true;
    assert_null(tr_buf_take(&b));
    assert_null(b.data);
}

static void test_take(void **state) {
    (void)state;
    tr_buf b = TR_BUF_INIT;
    char *text = tr_buf_take(&b);
    assert_string_equal(text, "");
    free(text);
    tr_buf_puts(&b, "mine");
    text = tr_buf_take(&b);
    assert_string_equal(text, "mine");
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    free(text);
}

static void test_json_string(void **state) {
    (void)state;
    tr_buf b = TR_BUF_INIT;
    const char text[] = "a\"\\/\b\f\n\r\t\x01\x1f\x7f\0Z\xc3\xbcrich";
    tr_buf_json_string(&b, text, sizeof text - 1);
    assert_string_equal(b.data, "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\\u0000Z\xc3\xbcrich\"");
    tr_buf_reset(&b);
    tr_buf_json_string(&b, "", 0);
    assert_string_equal(b.data, "\"\"");
    tr_buf_clear(&b);
}

/* ---- status.h ---- */

static void test_slugs(void **state) {
    (void)state;
    assert_string_equal(tr_status_slug(TR_OK), "ok");
    assert_string_equal(tr_status_slug(TR_E_MALFORMED), "malformed-body");
    assert_string_equal(tr_status_slug(TR_E_INTERNAL), "internal-error");
    assert_string_equal(tr_status_slug(TR_STATUS_COUNT), "internal-error");
    assert_string_equal(tr_status_slug((tr_status)-1), "internal-error");
    for (int a = 0; a < TR_STATUS_COUNT; a++) {
        assert_non_null(tr_status_slug((tr_status)a));
        for (int b = 0; b < a; b++)
            assert_string_not_equal(tr_status_slug((tr_status)a), tr_status_slug((tr_status)b));
    }
}

static void test_fail(void **state) {
    (void)state;
    tr_error err = {0};
    assert_int_equal(tr_fail(NULL, TR_E_BUSY, "x", "y"), TR_E_BUSY);
    assert_int_equal(tr_fail(&err, TR_E_NOT_FOUND, NULL, "no %s of %d", "record", 7), TR_E_NOT_FOUND);
    assert_int_equal(err.status, TR_E_NOT_FOUND);
    assert_string_equal(err.what, "no record of 7");
    assert_string_equal(err.where, "");
    assert_int_equal(tr_fail(&err, TR_E_CONFLICT, "/a", "is: %s", err.what),
                     TR_E_CONFLICT); /* out of itself */
    assert_string_equal(err.what, "is: no record of 7");
    (void)tr_fail(&err, TR_E_IO, err.where, "%s", err.what);
    assert_string_equal(err.where, "/a");
}

/* What is too long is cut, but not inside a code point: errors go out as JSON. */
static void test_fail_cuts_at_code_points(void **state) {
    (void)state;
    for (int lead = 0; lead < 4; lead++) {
        tr_error err = {0};
        tr_buf text = TR_BUF_INIT;
        for (int i = 0; i < lead; i++)
            tr_buf_putc(&text, '-');
        for (int i = 0; i < 100; i++)
            tr_buf_puts(&text, "\xf0\x9f\x94\x90");
        (void)tr_fail(&err, TR_E_VALIDATION, text.data, "%s", text.data);
        assert_true(strlen(err.what) >= sizeof err.what - 4 && strlen(err.what) < sizeof err.what);
        assert_true(strlen(err.where) >= sizeof err.where - 4 && strlen(err.where) < sizeof err.where);
        assert_true(tr_utf8_valid(err.what, strlen(err.what)));
        assert_true(tr_utf8_valid(err.where, strlen(err.where)));
        tr_buf_clear(&text);
    }
}

static void test_fail_errno(void **state) {
    (void)state;
    static const struct {
        int code;
        tr_status status;
    } cases[] = {{ENOSPC, TR_E_DISK_FULL},
                 {EDQUOT, TR_E_DISK_FULL},
                 {ENOMEM, TR_E_NOMEM},
                 {EIO, TR_E_IO},
                 {EACCES, TR_E_IO}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tr_error err = {0};
        errno = cases[i].code;
        assert_int_equal(tr_fail_errno(&err, "vault.db", "cannot write"), cases[i].status);
        assert_string_equal(err.where, "vault.db");
        assert_memory_equal(err.what, "cannot write: ", 14);
        assert_true(strlen(err.what) > 14);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_failure_sticks),
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_json_string),
        cmocka_unit_test(test_slugs),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_fail_cuts_at_code_points),
        cmocka_unit_test(test_fail_errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
