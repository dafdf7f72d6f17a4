/* Base64, hexadecimal, UTF-8. */
#include "hex.h"

static void test_base64url(void **state) {
    (void)state;
    /* RFC 4648 section 10, without padding, and the two characters that differ. */
    static const char *const cases[][2] = {
        {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xfe", "-__-"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[16], bytes[16];
        const size_t len = strlen(cases[i][0]);
        size_t n = sizeof bytes;
        tr_base64url_encode(cases[i][0], len, text);
        assert_string_equal(text, cases[i][1]);
        assert_int_equal(strlen(text), TR_BASE64URL_LEN(len));
        assert_true(tr_base64url_decode(text, strlen(text), bytes, &n));
        assert_int_equal(n, len);
        assert_memory_equal(bytes, cases[i][0], len);
        n = len; /* exactly the room that is needed */
        assert_true(tr_base64url_decode(text, strlen(text), bytes, &n));
        if (len > 0) {
            n = len - 1;
            assert_false(tr_base64url_decode(text, strlen(text), bytes, &n));
        }
    }
}

static void test_base64url_refuses(void **state) {
    (void)state;
    static const char *const bad[] = {"A",     "AAAAA",     "Zg==", "Zm8=", "Zm9v\n", " Zg",
                                      "Zm+v",  "Zm/v",      "Zh",   "Zm9", /* unused bits that are not zero */
                                      "Zm9v.", "\xc3\xa9Zg"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char bytes[16];
        size_t n = sizeof bytes;
        assert_false(tr_base64url_decode(bad[i], strlen(bad[i]), bytes, &n));
    }
    char bytes[16];
    size_t n = sizeof bytes;
    assert_false(tr_base64url_decode("Zg\0Z", 4, bytes, &n));
}

static void test_base64(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xfb\xff\xfe", "+//+"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tr_buf text = TR_BUF_INIT, back = TR_BUF_INIT;
        tr_buf_puts(&text, ">");
        tr_base64_append(&text, cases[i][0], strlen(cases[i][0]));
        assert_string_equal(text.data + 1, cases[i][1]);
        assert_int_equal(text.len, 1 + strlen(cases[i][1]));
        assert_true(tr_base64_decode_any(text.data + 1, text.len - 1, &back));
        assert_string_equal(back.data, cases[i][0]);
        assert_int_equal(back.len, strlen(cases[i][0]));
        tr_buf_clear(&text);
        tr_buf_clear(&back);
    }
}

static void test_base64_either_alphabet(void **state) {
    (void)state;
    static const char *const good[] = {"+//+", "-__-", "+_/-"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        tr_buf back = TR_BUF_INIT;
        assert_true(tr_base64_decode_any(good[i], 4, &back));
        assert_string_equal(back.data, "\xfb\xff\xfe");
        tr_buf_clear(&back);
    }
    static const char *const bad[] = {
        "=", "==", "====", "A===", "Zg=", "Zm9v=", "Zm9v==", "Zg=Zg", "Zm 9v", "Zm9v\n", "Zh==", "A"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tr_buf back = TR_BUF_INIT;
        tr_buf_puts(&back, "kept");
        assert_false(tr_base64_decode_any(bad[i], strlen(bad[i]), &back));
        assert_string_equal(back.data, "kept");
        assert_int_equal(back.len, 4);
        tr_buf_clear(&back);
    }
}

static void test_hex(void **state) {
    (void)state;
    uint8_t bytes[4];
    char text[9];
    assert_true(tr_hex_decode("00fFaB7e", 8, bytes, 4));
    tr_hex_encode(bytes, 4, text);
    assert_string_equal(text, "00ffab7e");
    assert_true(tr_hex_decode("", 0, bytes, 0));
    assert_false(tr_hex_decode("00f", 3, bytes, 1));
    assert_false(tr_hex_decode("00ff", 4, bytes, 1));
    assert_false(tr_hex_decode("0g", 2, bytes, 1));
    assert_false(tr_hex_decode("-1", 2, bytes, 1));
    assert_false(tr_hex_decode("@0", 2, bytes, 1));
    assert_false(tr_hex_decode("`0", 2, bytes, 1));
    assert_false(tr_hex_decode("0\0", 2, bytes, 1));
}

/* Every sequence of one to three bytes, and of four at the borders, against the definition in RFC 3629:
 * well-formed is what the encoder would make of a code point. */
static size_t encode_point(uint32_t point, uint8_t *out) {
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    size_t n = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, point >>= 6)
        out[i] = (uint8_t)(0x80 | (point & 0x3f));
    out[0] = (uint8_t)((0xf00 >> n) | point);
    return n;
}

static void test_utf8_all_points(void **state) {
    (void)state;
    for (uint32_t point = 0; point <= 0x120000; point++) {
        char text[5] = "";
        const size_t n = encode_point(point, (uint8_t *)text);
        const bool good = point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff);
        assert_int_equal(tr_utf8_sequence(text, n), good ? n : 0);
        assert_int_equal(tr_utf8_valid(text, n), good);
        if (n > 1)
            assert_int_equal(tr_utf8_sequence(text, n - 1), 0);
    }
}

static void test_utf8_two_and_three_bytes(void **state) {
    (void)state;
    size_t two = 0, three = 0;
    for (uint32_t v = 0x800000; v < 0x1000000; v++) {
        const char text[3] = {(char)(v >> 16), (char)(v >> 8), (char)v};
        const size_t n = tr_utf8_sequence(text, 3);
        two += n == 2 && (v & 0xff) == 0;
        three += n == 3;
    }
    assert_int_equal(two, 0x800 - 0x80);
    assert_int_equal(three, 0x10000 - 0x800 - 0x800);
}

static void test_utf8_text(void **state) {
    (void)state;
    assert_true(tr_utf8_valid("", 0));
    assert_true(tr_utf8_valid("a\0b", 3));
    assert_true(tr_utf8_valid("Z\xc3\xbcrich \xf0\x9f\x94\x90", 12));
    assert_false(tr_utf8_valid("Z\xfcrich", 6));
    assert_false(tr_utf8_valid("\xc0\x80", 2));
    assert_int_equal(tr_utf8_count("", 0), 0);
    assert_int_equal(tr_utf8_count("Z\xc3\xbcrich \xf0\x9f\x94\x90", 12), 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64url),
        cmocka_unit_test(test_base64url_refuses),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_base64_either_alphabet),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_utf8_all_points),
        cmocka_unit_test(test_utf8_two_and_three_bytes),
        cmocka_unit_test(test_utf8_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
