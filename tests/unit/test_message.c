#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "api/message.h"

static void starts_empty(void **state) {
    (void)state;
    tr_response r;
    memset(&r, 0x5a, sizeof r);
    tr_response_init(&r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.header_count, 0);
    assert_int_equal(r.body_fd, -1);
    assert_int_equal(r.body_fd_len, 0);
    assert_null(r.content_type);
    assert_null(r.body.data);
    assert_false(r.close);
}

static void sets_and_replaces(void **state) {
    (void)state;
    tr_response r;
    tr_response_init(&r);
    assert_true(tr_response_header(&r, "ETag", "\"1\""));
    assert_true(tr_response_header(&r, "uid", "a"));
    assert_true(tr_response_header(&r, "etag", "\"2\""));
    assert_int_equal(r.header_count, 2);
    assert_string_equal(r.headers[0].value, "\"2\"");
    assert_true(tr_response_header(&r, "uid", ""));
    assert_string_equal(r.headers[1].value, "");
    tr_response_clear(&r);
}

static void refuses_what_would_break_the_head(void **state) {
    (void)state;
    static const char *const bad[] = {"a\r\nSet-Cookie: x", "a\nb", "a\rb", "\x01", "\x7f"};
    char longest[TR_HEADER_VALUE_MAX + 1];
    tr_response r;
    tr_response_init(&r);
    assert_true(tr_response_header(&r, "uid", "kept"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tr_response_header(&r, "uid", bad[i]));
    memset(longest, 'x', sizeof longest - 1);
    longest[TR_HEADER_VALUE_MAX] = '\0';
    assert_false(tr_response_header(&r, "uid", longest));
    assert_string_equal(r.headers[0].value, "kept");
    longest[TR_HEADER_VALUE_MAX - 1] = '\0';
    assert_true(tr_response_header(&r, "uid", longest));
    assert_true(tr_response_header(&r, "name", "Z\xc3\xbcrich\tx"));
    tr_response_clear(&r);
}

static void has_room_for_the_maximum_only(void **state) {
    (void)state;
    static char names[TR_RESPONSE_HEADERS_MAX + 1][16];
    tr_response r;
    tr_response_init(&r);
    for (int i = 0; i < TR_RESPONSE_HEADERS_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "h%d", i);
        assert_true(tr_response_header(&r, names[i], "v"));
    }
    assert_false(tr_response_header(&r, "one-more", "v"));
    assert_true(tr_response_header(&r, "h3", "replaced"));
    assert_int_equal(r.header_count, TR_RESPONSE_HEADERS_MAX);
    tr_response_clear(&r);
}

static void clearing_closes_wipes_and_may_be_repeated(void **state) {
    (void)state;
    tr_response r;
    tr_response_init(&r);
    int fd = open("/dev/null", O_RDONLY);
    assert_true(fd >= 0);
    r.body_fd = fd;
    r.status = 200;
    r.close = true;
    tr_buf_puts(&r.body, "content");
    assert_true(tr_response_header(&r, "access-token", "secret"));
    tr_response_clear(&r);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(r.body_fd, -1);
    assert_int_equal(r.status, 0);
    assert_false(r.close);
    assert_null(r.body.data);
    assert_string_equal(r.headers[0].value, "");
    tr_response_clear(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_empty),
        cmocka_unit_test(sets_and_replaces),
        cmocka_unit_test(refuses_what_would_break_the_head),
        cmocka_unit_test(has_room_for_the_maximum_only),
        cmocka_unit_test(clearing_closes_wipes_and_may_be_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
