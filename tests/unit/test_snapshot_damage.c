/* Snapshot files: damage is found wherever it is, and a snapshot cut off by a full disk is none. */
#include "snapshot_fixture.h"

static unsigned seed = 20261125;

static size_t random_below(size_t n) {
    return ((size_t)rand_r(&seed) << 16 ^ (size_t)rand_r(&seed)) % n;
}

static void test_corruptions(void **state) {
    tr_snapshot_head head = example_head(TR_SNAPSHOT_FULL);
    tr_buf file;
    (void)state;
    write_example(&head, &file);
    for (int i = 0; i < 1000; i++) {
        const size_t at =
            i < 250 ? random_below(1200) : random_below(file.len); /* a part of them in the head */
        const char before = file.data[at];
        while (file.data[at] == before)
            file.data[at] = (char)random_below(256);
        if (read_all(file.data, file.len) == TR_OK)
            fail_msg("byte %zu was changed and nobody saw it", at);
        file.data[at] = before;
    }
    assert_int_equal(read_all(file.data, file.len), TR_OK);
    tr_buf_clear(&file);
}

/* Each byte of the head, and where chunks begin and end. */
static void test_corruptions_at_borders(void **state) {
    tr_snapshot_head head = example_head(TR_SNAPSHOT_FULL), peeked;
    tr_buf file;
    size_t body = 0;
    (void)state;
    write_example(&head, &file);
    body = body_of(&file);
    for (size_t at = 0; at < body; at++) {
        source from = {(uint8_t *)file.data, file.len};
        file.data[at] ^= 0x20;
        assert_int_not_equal(tr_snapshot_peek(give, &from, &peeked, NULL), TR_OK);
        assert_int_not_equal(read_all(file.data, file.len), TR_OK);
        file.data[at] ^= 0x20;
    }
    for (size_t border = body; border < file.len; border += SEALED_CHUNK) {
        for (size_t at = border - TR_STREAM_TAG_LEN; at < border + TR_STREAM_TAG_LEN && at < file.len; at++) {
            file.data[at] ^= 1;
            assert_int_not_equal(read_all(file.data, file.len), TR_OK);
            file.data[at] ^= 1;
        }
    }
    tr_buf_clear(&file);
}

static void test_truncations(void **state) {
    tr_snapshot_head head = example_head(TR_SNAPSHOT_FULL);
    tr_buf file;
    (void)state;
    write_example(&head, &file);
    const size_t body = body_of(&file);
    for (int i = 0; i < 200; i++)
        assert_int_equal(read_all(file.data, i < 50 ? random_below(body) : random_below(file.len)),
                         TR_E_CORRUPT);
    for (size_t border = body; border < file.len; border += SEALED_CHUNK)
        assert_int_equal(read_all(file.data, border), TR_E_CORRUPT);
    assert_int_equal(read_all(file.data, file.len - 1), TR_E_CORRUPT);
    tr_buf_putc(&file, '\0');
    assert_int_equal(read_all(file.data, file.len), TR_E_CORRUPT);
    tr_buf_clear(&file);
}

static void swap(uint8_t *a, uint8_t *b, size_t len) {
    for (size_t i = 0; i < len; i++) {
        const uint8_t between = a[i];
        a[i] = b[i];
        b[i] = between;
    }
}

static void test_reordered(void **state) {
    tr_snapshot_head head = example_head(TR_SNAPSHOT_FULL);
    tr_buf file;
    (void)state;
    write_example(&head, &file);
    uint8_t *body = (uint8_t *)file.data + body_of(&file);
    const size_t chunks = (size_t)((uint8_t *)file.data + file.len - body) / SEALED_CHUNK; /* whole ones */
    assert_true(chunks >= 4);
    for (size_t a = 0; a < chunks; a++) {
        for (size_t b = a + 1; b < chunks; b++) {
            swap(body + a * SEALED_CHUNK, body + b * SEALED_CHUNK, SEALED_CHUNK);
            assert_int_equal(read_all(file.data, file.len), TR_E_CORRUPT);
            swap(body + a * SEALED_CHUNK, body + b * SEALED_CHUNK, SEALED_CHUNK);
        }
    }
    assert_int_equal(read_all(file.data, file.len), TR_OK);
    tr_buf_clear(&file);
}

/* Two snapshots of the same vault, alike in every size: heads, keys and chunks of one in the other. */
static void test_spliced(void **state) {
    tr_snapshot_head first = example_head(TR_SNAPSHOT_FULL), second = first;
    tr_buf one, other;
    (void)state;
    second.id = tr_uuid_new();
    write_example(&first, &one);
    write_example(&second, &other);
    assert_int_equal(one.len, other.len);
    uint8_t *a = (uint8_t *)one.data, *b = (uint8_t *)other.data;
    const size_t body = body_of(&one);
    for (size_t from = body; from < one.len; from += SEALED_CHUNK) {
        const size_t len = one.len - from < SEALED_CHUNK ? one.len - from : SEALED_CHUNK;
        swap(a + from, b + from, len);
        assert_int_equal(read_all(a, one.len), TR_E_CORRUPT);
        assert_int_equal(read_all(b, one.len), TR_E_CORRUPT);
        swap(a + from, b + from, len);
    }
    swap(a, b, body); /* the whole head, its key and its checksum */
    assert_int_equal(read_all(a, one.len), TR_E_CORRUPT);
    assert_int_equal(read_all(b, one.len), TR_E_CORRUPT);
    swap(a, b, body);
    assert_int_equal(read_all(a, one.len), TR_OK);
    tr_buf_clear(&one);
    tr_buf_clear(&other);
}

typedef struct small_disk {
    tr_buf bytes;
    size_t calls_left;
} small_disk;

static tr_status take_some(void *context, tr_bytes bytes, tr_error *err) {
    small_disk *disk = context;
    if (disk->calls_left == 0)
        return tr_fail(err, TR_E_DISK_FULL, NULL, "the disk is full");
    disk->calls_left--;
    return take(&disk->bytes, bytes, err);
}

static tr_status write_until_full(small_disk *disk) {
    tr_snapshot_head head = example_head(TR_SNAPSHOT_FULL);
    tr_snapshot_writer *writer;
    tr_status st = tr_snapshot_writer_open(ring, &head, take_some, disk, &writer, NULL);
    for (size_t d = 0; st == TR_OK && d < 2; d++) {
        for (uint32_t n = 1; st == TR_OK && n <= head.databases[d].pages; n++)
            st = tr_snapshot_writer_page(writer, d, n, page_content(d, n, head.databases[d].page_size), NULL);
    }
    if (st == TR_OK)
        st = tr_snapshot_writer_close(writer, NULL, NULL);
    else if (writer)
        assert_int_not_equal(tr_snapshot_writer_close(writer, NULL, NULL), TR_OK);
    tr_snapshot_writer_free(writer);
    return st;
}

/* A disk that is full after any number of writes leaves what no reader takes. */
static void test_full_disks(void **state) {
    tr_status st = TR_E_DISK_FULL;
    size_t calls;
    (void)state;
    for (calls = 0; st != TR_OK; calls++) {
        small_disk disk = {.calls_left = calls};
        st = write_until_full(&disk);
        assert_int_equal(st, calls < 6 ? TR_E_DISK_FULL : TR_OK); /* the head and five chunks */
        assert_int_equal(read_all(disk.bytes.data, disk.bytes.len), st == TR_OK ? TR_OK : TR_E_CORRUPT);
        tr_buf_clear(&disk.bytes);
    }
    assert_int_equal(calls, 7);
}

static tr_status stop_at_third(void *context, size_t database, uint32_t number, tr_bytes content,
                               tr_error *err) {
    (void)database;
    (void)content;
    ++*(int *)context;
    return number == 3 ? tr_fail(err, TR_E_IO, NULL, "cannot write") : TR_OK;
}

static void test_failing_visitor(void **state) {
    tr_snapshot_head head = example_head(TR_SNAPSHOT_FULL);
    tr_snapshot_reader *reader;
    tr_buf file;
    int calls = 0;
    const tr_snapshot_visitor visitor = {stop_at_third, NULL, &calls};
    (void)state;
    write_example(&head, &file);
    source from = {(uint8_t *)file.data, file.len};
    assert_int_equal(tr_snapshot_reader_open(ring, give, &from, &head, &reader, NULL), TR_OK);
    assert_int_equal(tr_snapshot_read(reader, &visitor, NULL, NULL), TR_E_IO);
    assert_int_equal(calls, 3);
    tr_snapshot_reader_free(reader);
    tr_snapshot_reader_free(NULL);
    tr_buf_clear(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corruptions),     cmocka_unit_test(test_corruptions_at_borders),
        cmocka_unit_test(test_truncations),     cmocka_unit_test(test_reordered),
        cmocka_unit_test(test_spliced),         cmocka_unit_test(test_full_disks),
        cmocka_unit_test(test_failing_visitor),
    };
    return cmocka_run_group_tests(tests, make_ring, drop_ring);
}
