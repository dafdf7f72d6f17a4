/* UUID version 7. */
#include "hex.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/uuid.h"

static void test_form(void **state) {
    (void)state;
    char text[TR_UUID_TEXT];
    tr_clock_set_for_test(INT64_C(0x017f22e279b0)); /* the time of RFC 9562 appendix A.6 */
    tr_uuid id = tr_uuid_new();
    tr_clock_set_for_test(0);
    tr_uuid_format(&id, text);
    assert_int_equal(strlen(text), 36);
    assert_memory_equal(text, "017f22e2-79b0-7", 15);
    assert_true(strchr("89ab", text[19]) != NULL);
}

static void test_text(void **state) {
    (void)state;
    const char *text = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"; /* RFC 9562 appendix A.6 */
    char again[TR_UUID_TEXT];
    tr_uuid id, upper;
    assert_true(tr_uuid_parse(text, 36, &id));
    assert_hex(id.bytes, 16, "017f22e279b07cc398c4dc0c0c07398f");
    tr_uuid_format(&id, again);
    assert_string_equal(again, text);
    assert_true(tr_uuid_parse("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", 36, &upper));
    assert_true(tr_uuid_equal(&id, &upper));
    upper.bytes[15] ^= 1;
    assert_false(tr_uuid_equal(&id, &upper));
    assert_true(tr_uuid_parse("00000000-0000-0000-0000-000000000000", 36, &upper));
    assert_true(tr_uuid_is_nil(&upper));
    assert_false(tr_uuid_is_nil(&id));
}

static void test_refuse(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "017f22e279b07cc398c4dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398ff",
        "{017f22e2-79b0-7cc3-98c4-dc0c0c0739}",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "017f22e2-79b0-7cc3-98c4+dc0c0c07398f",
        "017f22e27-9b0-7cc3-98c4-dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4- c0c0c07398f",
        "-17f22e2-79b0-7cc3-98c4-dc0c0c07398f",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tr_uuid id;
        assert_false(tr_uuid_parse(bad[i], strlen(bad[i]), &id));
    }
    /* Each wrong character at each place. */
    for (size_t i = 0; i < 36; i++) {
        char text[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
        tr_uuid id;
        for (const char *c = "gG/:@`~ \x80"; *c; c++) {
            text[i] = *c;
            assert_false(tr_uuid_parse(text, 36, &id));
        }
    }
}

static void test_order(void **state) {
    (void)state;
    tr_uuid last = tr_uuid_new();
    for (int i = 0; i < 20000; i++) {
        tr_uuid next = tr_uuid_new();
        assert_true(memcmp(last.bytes, next.bytes, 16) < 0);
        last = next;
    }
    /* Also when the clock stands still, and when it goes back an hour. */
    tr_clock_set_for_test(tr_now_ms() + 10);
    for (int i = 0; i < 20000; i++) {
        if (i == 10000)
            tr_clock_set_for_test(tr_now_ms() - 3600000);
        tr_uuid next = tr_uuid_new();
        assert_true(memcmp(last.bytes, next.bytes, 16) < 0);
        assert_int_equal(next.bytes[6] >> 4, 7);
        assert_int_equal(next.bytes[8] >> 6, 2);
        last = next;
    }
    tr_clock_set_for_test(0);
}

enum { THREADS = 4, EACH = 5000 };
static tr_uuid made[THREADS * EACH];

static void *make_many(void *place) {
    tr_uuid *out = place;
    for (int i = 0; i < EACH; i++)
        out[i] = tr_uuid_new();
    return NULL;
}

static int by_bytes(const void *a, const void *b) {
    return memcmp(a, b, 16);
}

static void test_threads(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_many, made + i * EACH), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    qsort(made, THREADS * EACH, sizeof made[0], by_bytes);
    for (int i = 1; i < THREADS * EACH; i++)
        assert_false(tr_uuid_equal(&made[i - 1], &made[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),  cmocka_unit_test(test_text),    cmocka_unit_test(test_refuse),
        cmocka_unit_test(test_order), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
