/* The sealed stream: what was written is read, and nothing else is. */
#include "hex.h"

#include <openssl/err.h>

#include "crypto/gcm.h"
#include "crypto/stream.h"

#define TAG    TR_STREAM_TAG_LEN
#define CHUNK  TR_STREAM_CHUNK
#define SEALED (CHUNK + TAG)
#define MOST   (4 * CHUNK)

static const uint8_t prefix[] = {0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6};
static const tr_bytes ad = {"associated", 10};
static uint8_t plain[MOST];
static tr_secret key;

static int setup(void **state) {
    uint8_t bytes[32];
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * 7 + 3);
    return tr_secret_copy(&key, bytes, sizeof bytes, NULL) == TR_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    tr_secret_clear(&key);
    return 0;
}

/* ---- a sink and a source in memory ---- */

typedef struct sink {
    tr_buf bytes;
    size_t calls_left; /* then it fails; 0 from the start: never */
    bool limited;
} sink;

static tr_status take(void *context, tr_bytes bytes, tr_error *err) {
    sink *to = context;
    if (to->limited && to->calls_left-- == 0)
        return tr_fail(err, TR_E_DISK_FULL, NULL, "the disk is full");
    tr_buf_append(&to->bytes, bytes.data, bytes.len);
    return tr_buf_ok(&to->bytes, err);
}

typedef struct source {
    const uint8_t *at;
    size_t left;
    size_t most; /* bytes a call */
    bool fails;  /* instead of ending */
} source;

static tr_status give(void *context, void *into, size_t room, size_t *got, tr_error *err) {
    source *from = context;
    *got = from->left < room ? from->left : room;
    *got = *got < from->most ? *got : from->most;
    if (*got == 0 && from->fails)
        return tr_fail(err, TR_E_IO, NULL, "the disk is away");
    if (*got > 0)
        memcpy(into, from->at, *got);
    from->at += *got;
    from->left -= *got;
    return TR_OK;
}

static void seal_with(const tr_secret *with, const uint8_t *own_prefix, tr_bytes own_ad, const uint8_t *text,
                      size_t len, size_t step, tr_buf *out) {
    sink to = {0};
    tr_stream_writer *writer;
    assert_int_equal(tr_stream_writer_new(with, own_prefix, own_ad, take, &to, &writer, NULL), TR_OK);
    for (size_t at = 0; at < len; at += step) {
        const size_t n = len - at < step ? len - at : step;
        assert_int_equal(tr_stream_write(writer, (tr_bytes){text + at, n}, NULL), TR_OK);
    }
    assert_int_equal(tr_stream_end(writer, NULL), TR_OK);
    tr_stream_writer_free(writer);
    *out = to.bytes;
}

static void seal(size_t len, size_t step, tr_buf *out) {
    seal_with(&key, prefix, ad, plain, len, step, out);
}

/* Read it all in steps; *len is how much of it was handed out before the end or a failure. Whatever comes out
 * must be a beginning of what was written. */
static tr_status open_with(const tr_secret *with, const uint8_t *own_prefix, tr_bytes own_ad, source *from,
                           size_t step, size_t *len) {
    tr_stream_reader *reader;
    tr_error err = {0};
    size_t got = step;
    tr_status st = TR_OK;
    uint8_t *into = malloc(step);
    assert_non_null(into);
    *len = 0;
    assert_int_equal(tr_stream_reader_new(with, own_prefix, own_ad, give, from, &reader, NULL), TR_OK);
    while (st == TR_OK && got == step) {
        st = tr_stream_read(reader, into, step, &got, &err);
        assert_true(*len + got <= MOST);
        assert_memory_equal(into, plain + *len, got);
        *len += got;
    }
    if (st != TR_OK) {
        size_t again = 1;
        assert_int_equal(err.status, st);
        assert_int_equal(tr_stream_read(reader, into, step, &again, NULL), st);
        assert_int_equal(again, 0);
    } else {
        assert_int_equal(tr_stream_read(reader, into, step, &got, NULL), TR_OK);
        assert_int_equal(got, 0);
    }
    assert_int_equal(ERR_peek_error(), 0);
    tr_stream_reader_free(reader);
    free(into);
    return st;
}

static tr_status open_stream(const void *bytes, size_t len, size_t *read) {
    source from = {bytes, len, SIZE_MAX, false};
    return open_with(&key, prefix, ad, &from, 10007, read);
}

static void refused(const void *bytes, size_t len) {
    size_t read;
    assert_int_equal(open_stream(bytes, len, &read), TR_E_CORRUPT);
}

/* ---- the tests ---- */

/* Made by another program (Python's `cryptography`) after the description in stream.h: key 00..1f, the
 * prefix, associated data and plaintext of this file. */
static void test_known_answers(void **state) {
    static const struct {
        size_t len;
        const char *whole, *hash;
    } vectors[] = {
        {0, "940970c58642319b854721bdfd54008f", NULL},
        {20, "746b5806a720cdf43827917f98d0de347471aa6157ac4646a17b4aee2d15034411d70e0d", NULL},
        {65536, NULL, "f234a5e415a0d4664f0047d144e789158cf957347edaff769c48c313697cf81b"},
        {65537, NULL, "8fadf4954bee48f95cdd97801b3a51098ab9a6b91a18f647fc9f6761d97cfeb9"},
        {131072, NULL, "9346ff1d255dbe860454025a927075e3afb616e2110ab84876a748c02bb93e61"},
        {200000, NULL, "9d720af4ac43d3ac5fd80a1437499129236dada8ad46efddf9c9ac4c3a1add9c"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        tr_buf sealed;
        uint8_t hash[TR_SHA256_LEN];
        seal(vectors[i].len, 4096, &sealed);
        if (vectors[i].whole)
            assert_hex(sealed.data, sealed.len, vectors[i].whole);
        assert_int_equal(tr_sha256(&(tr_bytes){sealed.data, sealed.len}, 1, hash, NULL), TR_OK);
        if (vectors[i].hash)
            assert_hex(hash, sizeof hash, vectors[i].hash);
        tr_buf_clear(&sealed);
    }
}

static void test_round_trips(void **state) {
    static const size_t lengths[] = {0,         1,         4096,          CHUNK - 1,    CHUNK,
                                     CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 3 * CHUNK - 1};
    static const size_t steps[] = {1000, CHUNK - 1, CHUNK, CHUNK + 1, MOST};
    (void)state;
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        const size_t len = lengths[l], chunks = len == 0 ? 1 : (len + CHUNK - 1) / CHUNK;
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
            tr_buf sealed;
            size_t read;
            seal(len, steps[s], &sealed);
            assert_int_equal(sealed.len, len + chunks * TAG);
            source from = {(uint8_t *)sealed.data, sealed.len, steps[s] * 7 / 3, false};
            assert_int_equal(open_with(&key, prefix, ad, &from, steps[s], &read), TR_OK);
            assert_int_equal(read, len);
            tr_buf_clear(&sealed);
        }
    }
}

static void test_sources_that_give_little(void **state) {
    tr_buf sealed;
    size_t read;
    (void)state;
    seal(CHUNK + 77, CHUNK, &sealed);
    source from = {(uint8_t *)sealed.data, sealed.len, 1, false};
    assert_int_equal(open_with(&key, prefix, ad, &from, 1, &read), TR_OK);
    assert_int_equal(read, CHUNK + 77);
    tr_buf_clear(&sealed);
}

static void test_flipped_bits(void **state) {
    tr_buf sealed;
    (void)state;
    seal(2 * CHUNK + 500, CHUNK, &sealed);
    for (size_t at = 0; at < sealed.len; at += 487) {
        sealed.data[at] ^= (char)(1 << at % 8);
        refused(sealed.data, sealed.len);
        sealed.data[at] ^= (char)(1 << at % 8);
    }
    tr_buf_clear(&sealed);
}

static void test_cut_off_and_prolonged(void **state) {
    tr_buf sealed;
    size_t read;
    (void)state;
    for (size_t len = CHUNK; len <= 2 * CHUNK + 100; len += CHUNK + 100) {
        seal(len, CHUNK, &sealed);
        for (size_t cut = 0; cut < sealed.len; cut += 1 + cut / 50)
            refused(sealed.data, cut);
        /* At the borders of chunks and of tags. */
        for (size_t border = 0; border < sealed.len; border += SEALED) {
            refused(sealed.data, border);
            refused(sealed.data, border + TAG < sealed.len ? border + TAG : border);
            refused(sealed.data, border + 1 < sealed.len ? border + 1 : border);
        }
        refused(sealed.data, sealed.len - 1);
        tr_buf_putc(&sealed, 'x');
        refused(sealed.data, sealed.len);
        tr_buf_clear(&sealed);
    }
    /* A whole stream after another one: the first is not handed out as whole. */
    seal(100, CHUNK, &sealed);
    const size_t one = sealed.len;
    tr_buf_reserve(&sealed, one);
    tr_buf_append(&sealed, sealed.data, one);
    refused(sealed.data, sealed.len);
    assert_int_equal(open_stream(sealed.data, one, &read), TR_OK);
    tr_buf_clear(&sealed);
}

static void swap(uint8_t *a, uint8_t *b) {
    static uint8_t between[SEALED];
    memcpy(between, a, SEALED);
    memcpy(a, b, SEALED);
    memcpy(b, between, SEALED);
}

/* Chunks in another order, repeated or left out. */
static void test_reordered(void **state) {
    tr_buf sealed, other = TR_BUF_INIT;
    (void)state;
    seal(4 * CHUNK, CHUNK, &sealed);
    uint8_t *bytes = (uint8_t *)sealed.data;
    for (size_t a = 0; a < 4; a++) {
        for (size_t b = a + 1; b < 4; b++) {
            swap(bytes + a * SEALED, bytes + b * SEALED);
            refused(bytes, sealed.len);
            swap(bytes + a * SEALED, bytes + b * SEALED);
        }
        tr_buf_reset(&other); /* left out */
        tr_buf_append(&other, bytes, a * SEALED);
        tr_buf_append(&other, bytes + (a + 1) * SEALED, (3 - a) * SEALED);
        refused(other.data, other.len);
        tr_buf_reset(&other); /* repeated */
        tr_buf_append(&other, bytes, (a + 1) * SEALED);
        tr_buf_append(&other, bytes + a * SEALED, (4 - a) * SEALED);
        refused(other.data, other.len);
    }
    tr_buf_clear(&sealed);
    tr_buf_clear(&other);
}

/* A chunk of another stream at its own place: of another key, another prefix, other associated data. */
static void test_spliced(void **state) {
    static const uint8_t other_prefix[] = {0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa7};
    const tr_bytes other_ad = {"associateD", 10};
    uint8_t key_bytes[32] = {1};
    tr_secret other_key = TR_SECRET_INIT;
    (void)state;
    assert_int_equal(tr_secret_copy(&other_key, key_bytes, sizeof key_bytes, NULL), TR_OK);
    for (int what = 0; what < 3; what++) {
        tr_buf sealed, other;
        size_t read;
        seal(3 * CHUNK, CHUNK, &sealed);
        seal_with(what == 0 ? &other_key : &key, what == 1 ? other_prefix : prefix, what == 2 ? other_ad : ad,
                  plain, 3 * CHUNK, CHUNK, &other);
        assert_int_equal(other.len, sealed.len);
        refused(other.data, other.len);
        for (size_t chunk = 0; chunk < 3; chunk++) {
            swap((uint8_t *)sealed.data + chunk * SEALED, (uint8_t *)other.data + chunk * SEALED);
            assert_int_equal(open_stream(sealed.data, sealed.len, &read), TR_E_CORRUPT);
            assert_int_equal(read, chunk * CHUNK); /* what comes before it is handed out, it is not */
            swap((uint8_t *)sealed.data + chunk * SEALED, (uint8_t *)other.data + chunk * SEALED);
        }
        tr_buf_clear(&sealed);
        tr_buf_clear(&other);
    }
    tr_secret_clear(&other_key);
}

/* A stream whose chunks verify one by one, but whose last is empty, though it is not the only one. */
static void test_one_form_only(void **state) {
    const uint8_t nonce[TR_GCM_NONCE_LEN] = {0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0, 0, 0, 1, 1};
    uint8_t last[TAG];
    tr_buf sealed, joined = TR_BUF_INIT;
    size_t read;
    (void)state;
    seal(CHUNK + 1, CHUNK, &sealed);
    assert_int_equal(tr_gcm_encrypt(key.data, nonce, &ad, 1, (tr_bytes){plain, 0}, last, NULL), TR_OK);
    tr_buf_append(&joined, sealed.data, SEALED);
    tr_buf_append(&joined, last, TAG);
    assert_int_equal(open_stream(joined.data, joined.len, &read), TR_E_CORRUPT);
    assert_int_equal(read, CHUNK);
    tr_buf_clear(&joined);
    tr_buf_clear(&sealed);
}

/* A sink that fails at any of its calls: nothing ends as if it were good. */
static void test_failing_sinks(void **state) {
    (void)state;
    for (size_t calls = 0; calls < 3; calls++) {
        sink to = {.limited = true, .calls_left = calls};
        tr_stream_writer *writer;
        tr_error err = {0};
        size_t read;
        assert_int_equal(tr_stream_writer_new(&key, prefix, ad, take, &to, &writer, NULL), TR_OK);
        tr_status st = tr_stream_write(writer, (tr_bytes){plain, 2 * CHUNK + 1}, &err);
        if (st == TR_OK)
            st = tr_stream_end(writer, &err);
        assert_int_equal(st, TR_E_DISK_FULL);
        assert_string_equal(err.what, "the disk is full");
        to.limited = false;
        assert_int_equal(tr_stream_write(writer, (tr_bytes){plain, 1}, NULL), TR_E_DISK_FULL);
        assert_int_equal(tr_stream_end(writer, NULL), TR_E_DISK_FULL);
        tr_stream_writer_free(writer);
        assert_int_equal(to.bytes.len, calls * SEALED);
        assert_int_equal(open_stream(to.bytes.data, to.bytes.len, &read), TR_E_CORRUPT);
        tr_buf_clear(&to.bytes);
    }
}

static void test_failing_sources(void **state) {
    tr_buf sealed;
    size_t read;
    (void)state;
    seal(2 * CHUNK, CHUNK, &sealed);
    for (size_t left = 0; left <= sealed.len; left += SEALED / 2) {
        source from = {(uint8_t *)sealed.data, left, SIZE_MAX, true};
        assert_int_equal(open_with(&key, prefix, ad, &from, 10007, &read), TR_E_IO);
    }
    tr_buf_clear(&sealed);
}

static void test_misuse(void **state) {
    uint8_t long_ad[TR_STREAM_AD_MAX + 1] = {0};
    sink to = {0};
    source from = {plain, 0, SIZE_MAX, false};
    tr_secret short_key = TR_SECRET_INIT;
    tr_stream_writer *writer;
    tr_stream_reader *reader;
    const tr_bytes too_long = {long_ad, sizeof long_ad};
    (void)state;
    assert_int_equal(tr_secret_copy(&short_key, plain, 16, NULL), TR_OK);
    assert_int_equal(tr_stream_writer_new(&short_key, prefix, ad, take, &to, &writer, NULL), TR_E_INTERNAL);
    assert_null(writer);
    assert_int_equal(tr_stream_reader_new(&short_key, prefix, ad, give, &from, &reader, NULL), TR_E_INTERNAL);
    assert_null(reader);
    assert_int_equal(tr_stream_writer_new(&key, prefix, too_long, take, &to, &writer, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_stream_reader_new(&key, prefix, too_long, give, &from, &reader, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_stream_writer_new(&key, prefix, ad, take, &to, &writer, NULL), TR_OK);
    assert_int_equal(tr_stream_end(writer, NULL), TR_OK);
    assert_int_equal(tr_stream_end(writer, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_stream_write(writer, (tr_bytes){plain, 1}, NULL), TR_E_INTERNAL);
    assert_int_equal(to.bytes.len, TAG);
    tr_stream_writer_free(writer);
    tr_stream_writer_free(NULL);
    tr_stream_reader_free(NULL);
    tr_buf_clear(&to.bytes);
    tr_secret_clear(&short_key);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_sources_that_give_little),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_cut_off_and_prolonged),
        cmocka_unit_test(test_reordered),
        cmocka_unit_test(test_spliced),
        cmocka_unit_test(test_one_form_only),
        cmocka_unit_test(test_failing_sinks),
        cmocka_unit_test(test_failing_sources),
        cmocka_unit_test(test_misuse),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
