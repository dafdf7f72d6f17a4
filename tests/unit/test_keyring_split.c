/* The split provider: k of n people open the keyring, fewer do not; their shares' texts. */
#include "keyring_fixture.h"

#include <ctype.h>

#include "crypto/keyring_share.h"

#define N 5
#define K 3

static tr_secret shares[N];

static void clear(tr_secret *list, int count) {
    for (int i = 0; i < count; i++)
        tr_secret_clear(&list[i]);
}

static tr_keyring *create_split(int n, int k, tr_secret *texts) {
    tr_keyring *ring = NULL;
    tr_error err = {0};
    tr_keyring_spec spec = {.provider = "split", .shares = n, .threshold = k, .share_texts = texts};
    assert_int_equal(tr_keyring_create(path, &spec, 1, &ring, &err), TR_OK);
    return ring;
}

/* A ring with a named key, and its shares. */
static int set_up_ring(void **state) {
    tr_secret key = TR_SECRET_INIT;
    if (remove_file(state) != 0)
        return -1;
    tr_keyring *ring = create_split(N, K, shares);
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", true, &key, NULL), TR_OK);
    tr_secret_clear(&key);
    tr_keyring_close(ring);
    return 0;
}

static int tear_down_ring(void **state) {
    clear(shares, N);
    return remove_file(state);
}

/* The secret that these of the shares give. */
static tr_status combine(unsigned chosen, tr_secret *secret, tr_error *err) {
    tr_secret texts[N];
    size_t count = 0;
    for (int i = N; i-- > 0;) {
        if (chosen >> i & 1)
            texts[count++] = shares[i];
    }
    return tr_keyring_combine(path, texts, count, secret, err);
}

/* ---- opening ---- */

static void test_every_set_of_shares(void **state) {
    (void)state;
    for (unsigned chosen = 0; chosen < 1U << N; chosen++) {
        tr_secret secret = TR_SECRET_INIT;
        tr_error err = {0};
        bool enough = __builtin_popcount(chosen) >= K;
        assert_int_equal(combine(chosen, &secret, &err), enough ? TR_OK : TR_E_CONFIG);
        if (enough) {
            tr_keyring *ring = NULL;
            assert_int_equal(tr_keyring_open_file(path, &secret, &ring, NULL), TR_OK);
            assert_string_equal(tr_keyring_provider_name(ring), "split");
            tr_keyring_close(ring);
        } else {
            assert_null(secret.data);
            assert_non_null(strstr(err.what, "needs 3 shares"));
        }
        tr_secret_clear(&secret);
    }
}

static void test_ring_stays_the_same(void **state) {
    (void)state;
    tr_secret secret = TR_SECRET_INIT, one = TR_SECRET_INIT, other = TR_SECRET_INIT;
    tr_keyring *ring = NULL;
    uint32_t version = 0;
    assert_int_equal(combine(0x07, &secret, NULL), TR_OK);
    assert_int_equal(tr_keyring_open_file(path, &secret, &ring, NULL), TR_OK);
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", false, &one, NULL), TR_OK);
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_OK); /* needs no share, changes none */
    tr_keyring_close(ring);
    assert_int_equal(combine(0x1a, &secret, NULL), TR_OK);
    assert_int_equal(tr_keyring_open_file(path, &secret, &ring, NULL), TR_OK);
    assert_int_equal(tr_keyring_current(ring), 2);
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", false, &other, NULL), TR_OK);
    assert_memory_equal(one.data, other.data, 32);
    tr_keyring_close(ring);
    tr_secret_clear(&secret);
    tr_secret_clear(&one);
    tr_secret_clear(&other);
}

static void test_wrong_secret(void **state) {
    (void)state;
    tr_secret secret = TR_SECRET_INIT;
    refused(NULL, TR_E_CONFIG);
    refused(&secret, TR_E_CONFIG);
    refused(&passphrase, TR_E_WRONG_KEY);
    assert_int_equal(combine(0x07, &secret, NULL), TR_OK);
    for (size_t i = 0; i < secret.len; i++) {
        secret.data[i] ^= 0x10;
        refused(&secret, TR_E_WRONG_KEY);
        secret.data[i] ^= 0x10;
    }
    refused(&shares[0], TR_E_WRONG_KEY);
    tr_secret_clear(&secret);
}

static void test_peek(void **state) {
    tr_keyring_need need;
    assert_int_equal(tr_keyring_peek(path, &need, NULL), TR_OK);
    assert_string_equal(need.provider, "split");
    assert_int_equal(need.shares, N);
    assert_int_equal(need.threshold, K);
    assert_int_equal(remove_file(state), 0);
    assert_int_equal(tr_keyring_peek(path, &need, NULL), TR_E_CONFIG);
    tr_keyring_close(create());
    assert_int_equal(tr_keyring_peek(path, &need, NULL), TR_OK);
    assert_string_equal(need.provider, "file");
    assert_int_equal(need.shares, 0);
    store("{}", 2);
    assert_int_equal(tr_keyring_peek(path, &need, NULL), TR_E_CORRUPT);
}

static void test_file_holds_no_share(void **state) {
    (void)state;
    char text[8192];
    size_t n = load(text, sizeof text);
    tr_secret secret = TR_SECRET_INIT;
    char base64[TR_BASE64URL_LEN(32) + 1], hex[65];
    assert_int_equal(combine(0x07, &secret, NULL), TR_OK);
    for (int i = -1; i < N; i++) {
        tr_share share = {0};
        if (i >= 0)
            assert_int_equal(tr_share_parse(&shares[i], &share, NULL), TR_OK);
        const tr_secret *value = i < 0 ? &secret : &share.value;
        tr_base64url_encode(value->data, 32, base64);
        tr_hex_encode(value->data, 32, hex);
        assert_null(memmem(text, n, value->data, 32));
        assert_null(memmem(text, n, base64, 40));
        assert_null(memmem(text, n, hex, 64));
        tr_secret_clear(&share.value);
    }
    tr_secret_clear(&secret);
}

/* ---- making ---- */

static void test_sizes(void **state) {
    static const int sizes[][2] = {{2, 2}, {3, 2}, {16, 2}, {16, 16}};
    tr_secret texts[16] = {0};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int n = sizes[i][0], k = sizes[i][1];
        tr_secret secret = TR_SECRET_INIT;
        tr_keyring *ring = NULL;
        assert_int_equal(remove_file(state), 0);
        tr_keyring_close(create_split(n, k, texts));
        assert_int_equal(tr_keyring_combine(path, texts + n - k, (size_t)k, &secret, NULL), TR_OK);
        assert_int_equal(tr_keyring_open_file(path, &secret, &ring, NULL), TR_OK);
        tr_keyring_close(ring);
        assert_int_equal(tr_keyring_combine(path, texts, (size_t)n + 1, &secret, NULL), TR_E_CONFIG);
        tr_secret_clear(&secret);
        clear(texts, n);
    }
}

static void test_refused_specs(void **state) {
    static const int sizes[][2] = {{0, 0}, {1, 1}, {3, 1}, {3, 4}, {17, 3}, {17, 17}, {3, -1}, {-3, 2}};
    tr_secret texts[17] = {0};
    tr_keyring *ring = NULL;
    tr_keyring_spec spec = {.provider = "split", .share_texts = texts};
    assert_int_equal(remove_file(state), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        spec.shares = sizes[i][0];
        spec.threshold = sizes[i][1];
        assert_int_equal(tr_keyring_create(path, &spec, 1, &ring, NULL), TR_E_CONFIG);
        assert_null(ring);
        assert_null(texts[0].data);
    }
    spec = (tr_keyring_spec){.provider = "split", .shares = 3, .threshold = 2};
    assert_int_equal(tr_keyring_create(path, &spec, 1, &ring, NULL), TR_E_CONFIG);
    spec = (tr_keyring_spec){.provider = "paper"};
    assert_int_equal(tr_keyring_create(path, &spec, 1, &ring, NULL), TR_E_CONFIG);
    spec = (tr_keyring_spec){.provider = NULL};
    assert_int_equal(tr_keyring_create(path, &spec, 1, &ring, NULL), TR_E_CONFIG);
    spec = (tr_keyring_spec){.provider = "file"};
    assert_int_equal(tr_keyring_create(path, &spec, 1, &ring, NULL), TR_E_CONFIG);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_failed_creation_gives_no_shares(void **state) {
    tr_secret texts[3] = {0};
    tr_keyring *ring = NULL;
    char before[8192], after[8192];
    tr_keyring_spec spec = {.provider = "split", .shares = 3, .threshold = 2, .share_texts = texts};
    size_t n = load(before, sizeof before);
    assert_int_equal(tr_keyring_create(path, &spec, 1, &ring, NULL), TR_E_EXISTS);
    assert_int_equal(load(after, sizeof after), n);
    assert_memory_equal(before, after, n);
    assert_int_equal(remove_file(state), 0);
    break_saves(true);
    assert_int_equal(tr_keyring_create(path, &spec, 1, &ring, NULL), TR_E_IO);
    break_saves(false);
    assert_null(ring);
    for (int i = 0; i < 3; i++)
        assert_null(texts[i].data);
    assert_int_equal(access(path, F_OK), -1);
}

/* ---- shares' texts ---- */

static void test_text(void **state) {
    (void)state;
    for (int i = 0; i < N; i++) {
        char head[24];
        int number = 0;
        (void)snprintf(head, sizeof head, "S%02dK%02d-", i + 1, K);
        assert_int_equal(shares[i].len, TR_SHARE_TEXT_LEN);
        assert_memory_equal(shares[i].data, head, 7);
        for (size_t c = 6; c < shares[i].len; c++) {
            if ((c - 6) % 5 == 0)
                assert_int_equal(shares[i].data[c], '-');
            else
                assert_non_null(memchr("0123456789ABCDEFGHJKMNPQRSTVWXYZ", shares[i].data[c], 32));
        }
        assert_int_equal(tr_keyring_check_share(path, &shares[i], &number, NULL), TR_OK);
        assert_int_equal(number, i + 1);
    }
}

/* Small letters, other spaces, look-alikes. */
static void test_text_as_people_type(void **state) {
    (void)state;
    for (int i = 0; i < N; i++) {
        tr_secret typed = TR_SECRET_INIT;
        char text[512];
        size_t n = 0;
        int number = 0;
        text[n++] = ' ';
        for (size_t c = 0; c < shares[i].len; c++) {
            char seen = (char)shares[i].data[c];
            if (seen == '-') {
                n += (size_t)snprintf(text + n, 4, "%s", c % 3 == 0 ? "\r\n\t" : c % 3 == 1 ? " " : "");
                continue;
            }
            if (seen == '0')
                seen = c % 2 ? 'O' : 'o';
            else if (seen == '1')
                seen = "IiLl"[c % 4];
            text[n++] = (char)(c % 2 ? seen : tolower(seen));
        }
        text[n++] = '\n';
        assert_int_equal(tr_secret_copy(&typed, text, n, NULL), TR_OK);
        assert_int_equal(tr_keyring_check_share(path, &typed, &number, NULL), TR_OK);
        assert_int_equal(number, i + 1);
        tr_secret_clear(&typed);
    }
}

static void refuse_share(const tr_secret *text, const char *because) {
    int number = 0;
    tr_error err = {0};
    assert_int_equal(tr_keyring_check_share(path, text, &number, &err), TR_E_CONFIG);
    assert_int_equal(number, 0);
    if (because)
        assert_non_null(strstr(err.what, because));
}

static void test_every_mistyped_character(void **state) {
    (void)state;
    tr_secret typed = TR_SECRET_INIT;
    assert_int_equal(tr_secret_copy(&typed, shares[1].data, shares[1].len, NULL), TR_OK);
    for (size_t c = 0; c < typed.len; c++) {
        uint8_t right = typed.data[c];
        if (right == '-')
            continue;
        for (unsigned other = 0; other < 256; other++) {
            static const uint8_t same[] = "0Oo1IiLl";
            bool alike = right == '0'   ? memchr(same, (int)other, 3) != NULL
                         : right == '1' ? memchr(same + 3, (int)other, 5) != NULL
                                        : (other & ~0x20U) == right && isalpha(right);
            if (other == right || alike)
                continue;
            typed.data[c] = (uint8_t)other;
            refuse_share(&typed, NULL);
        }
        typed.data[c] = right;
        if (c > 0 && c + 1 < typed.len && typed.data[c + 1] != '-' && typed.data[c + 1] != right) {
            typed.data[c] = typed.data[c + 1]; /* two that changed places */
            typed.data[c + 1] = right;
            refuse_share(&typed, NULL);
            typed.data[c + 1] = typed.data[c];
            typed.data[c] = right;
        }
    }
    tr_secret_clear(&typed);
}

static void test_cut_and_longer_texts(void **state) {
    (void)state;
    tr_secret typed = TR_SECRET_INIT;
    char text[4096];
    memset(text, ' ', sizeof text);
    memcpy(text, shares[2].data, shares[2].len);
    for (size_t n = 0; n < shares[2].len; n++) {
        assert_int_equal(tr_secret_copy(&typed, text, n, NULL), TR_OK);
        refuse_share(&typed, "not a whole share");
    }
    assert_int_equal(tr_secret_copy(&typed, text, sizeof text, NULL), TR_OK);
    refuse_share(&typed, "not a whole share");
    text[shares[2].len] = 'A';
    assert_int_equal(tr_secret_copy(&typed, text, shares[2].len + 1, NULL), TR_OK);
    refuse_share(&typed, "not a whole share");
    refuse_share(&passphrase, "not a whole share");
    tr_secret_clear(&typed);
}

static void test_refusals_are_named(void **state) {
    tr_secret old[N], texts[N], secret = TR_SECRET_INIT;
    tr_error err = {0};
    shares[1].data[10] ^= 1; /* two letters of the alphabet, or one that is none */
    refuse_share(&shares[1], "share 2 is mistyped");
    shares[1].data[10] ^= 1;

    memcpy(texts, shares, sizeof texts);
    texts[1] = shares[3];
    texts[3] = shares[3];
    assert_int_equal(tr_keyring_combine(path, texts, 4, &secret, &err), TR_E_CONFIG);
    assert_non_null(strstr(err.what, "share 4 was given twice"));
    assert_int_equal(tr_keyring_combine(path, texts + 3, 1, &secret, &err), TR_E_CONFIG);
    assert_non_null(strstr(err.what, "needs 3 shares, and here are 1"));
    assert_int_equal(tr_keyring_combine(path, NULL, 0, &secret, &err), TR_E_CONFIG);

    memcpy(old, shares, sizeof old);
    memset(shares, 0, sizeof shares);
    assert_int_equal(set_up_ring(state), 0);
    refuse_share(&old[4], "share 5 belongs to another keyring");
    memcpy(texts, shares, sizeof texts);
    texts[2] = old[2];
    assert_int_equal(tr_keyring_combine(path, texts, 3, &secret, &err), TR_E_CONFIG);
    assert_non_null(strstr(err.what, "share 3 belongs to another keyring"));
    assert_null(secret.data);
    clear(old, N);
}

/* Somebody who knows the format makes shares up; one such would give a wrong secret, and blame nobody. */
static void test_made_up_shares(void **state) {
    (void)state;
    tr_secret text = TR_SECRET_INIT;
    static const int numbers[][2] = {{2, K}, {N + 1, K}, {16, K}, {2, K - 1}, {2, K + 1}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        tr_share share = {0};
        assert_int_equal(tr_share_parse(&shares[1], &share, NULL), TR_OK);
        share.number = numbers[i][0];
        share.threshold = numbers[i][1];
        share.value.data[31] ^= i == 0;
        assert_int_equal(tr_share_print(&share, &text, NULL), TR_OK);
        refuse_share(&text, "was never given out");
        tr_secret_clear(&share.value);
    }
    tr_secret_clear(&text);
}

static void test_shares_of_no_split_ring(void **state) {
    tr_secret secret = TR_SECRET_INIT;
    assert_int_equal(remove_file(state), 0);
    refuse_share(&shares[0], NULL);
    assert_int_equal(tr_keyring_combine(path, shares, K, &secret, NULL), TR_E_CONFIG);
    tr_keyring_close(create());
    refuse_share(&shares[0], "not split");
    assert_int_equal(tr_keyring_combine(path, shares, K, &secret, NULL), TR_E_CONFIG);
}

/* ---- damage ---- */

static void everything_refuses(tr_status expected) {
    tr_keyring_need need;
    tr_secret secret = TR_SECRET_INIT;
    tr_error err = {0};
    int number = 0;
    assert_int_equal(tr_keyring_peek(path, &need, NULL), expected);
    assert_int_equal(tr_keyring_check_share(path, &shares[0], &number, NULL), expected);
    assert_int_equal(tr_keyring_combine(path, shares, K, &secret, &err), expected);
    assert_string_equal(err.where, path);
    refused(&passphrase, expected);
}

static void test_every_changed_byte_is_damage(void **state) {
    (void)state;
    static const unsigned char changes[] = {1, 16, 32, 128, 255};
    char text[8192];
    size_t n = load(text, sizeof text);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < sizeof changes; k++) {
            text[i] ^= (char)changes[k];
            store(text, n);
            everything_refuses(TR_E_CORRUPT);
            text[i] ^= (char)changes[k];
        }
        store(text, i);
        everything_refuses(TR_E_CORRUPT);
    }
}

static void test_tampering(void **state) {
    static const struct {
        const char *patch;
        bool seen; /* without the shares */
    } cases[] = {
        {"{\"kdf\":null}", true},
        {"{\"kdf\":{\"name\":\"scrypt\"}}", true},
        {"{\"kdf\":{\"id\":\"00\"}}", true},
        {"{\"kdf\":{\"id\":\"000000000000000000\"}}", true},
        {"{\"kdf\":{\"threshold\":1}}", true},
        {"{\"kdf\":{\"threshold\":6}}", true},
        {"{\"kdf\":{\"threshold\":4294967298}}", true},
        {"{\"kdf\":{\"marks\":[]}}", true},
        {"{\"kdf\":{\"marks\":[\"00\",\"00\",\"00\"]}}", true},
        {"{\"kdf\":{\"marks\":[1,2,3]}}", true},
        {"{\"kdf\":{\"marks\":{}}}", true},
        {"{\"kdf\":{\"threshold\":2}}", false},
        {"{\"keys\":{\"vault.db\":null}}", false},
        {"{\"more\":1}", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tr_secret secret = TR_SECRET_INIT;
        clear(shares, N);
        assert_int_equal(set_up_ring(state), 0);
        assert_int_equal(combine(0x0b, &secret, NULL), TR_OK);
        patch_file(cases[i].patch);
        if (cases[i].seen)
            everything_refuses(TR_E_CORRUPT);
        refused(&secret, TR_E_CORRUPT);
        tr_secret_clear(&secret);
    }
}

#define SPLIT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_ring, tear_down_ring)

int main(void) {
    const struct CMUnitTest tests[] = {
        SPLIT_TEST(test_every_set_of_shares),
        SPLIT_TEST(test_ring_stays_the_same),
        SPLIT_TEST(test_wrong_secret),
        SPLIT_TEST(test_peek),
        SPLIT_TEST(test_file_holds_no_share),
        SPLIT_TEST(test_sizes),
        SPLIT_TEST(test_refused_specs),
        SPLIT_TEST(test_failed_creation_gives_no_shares),
        SPLIT_TEST(test_text),
        SPLIT_TEST(test_text_as_people_type),
        SPLIT_TEST(test_every_mistyped_character),
        SPLIT_TEST(test_cut_and_longer_texts),
        SPLIT_TEST(test_refusals_are_named),
        SPLIT_TEST(test_made_up_shares),
        SPLIT_TEST(test_shares_of_no_split_ring),
        SPLIT_TEST(test_every_changed_byte_is_damage),
        SPLIT_TEST(test_tampering),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
