/* Snapshot files: what the writer refuses to write, the reader refuses to read, though it opens. */
#include "snapshot_fixture.h"

/* ---- the writer ---- */

static void test_writer_refuses(void **state) {
    tr_snapshot_head head = example_head(TR_SNAPSHOT_FULL);
    tr_snapshot_writer *writer;
    tr_buf file = TR_BUF_INIT;
    const tr_bytes page = page_content(0, 1, 4096), other = {page.data, 1024};
    (void)state;
    assert_int_equal(tr_snapshot_writer_open(ring, &head, take, &file, &writer, NULL), TR_OK);
    assert_int_equal(tr_snapshot_writer_page(writer, 0, 2, page, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_snapshot_writer_page(writer, 1, 1, other, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_snapshot_writer_page(writer, 0, 1, other, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_snapshot_writer_page(writer, 256, 1, page, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_snapshot_writer_page(writer, 0, 1, page, NULL), TR_OK);
    assert_int_equal(tr_snapshot_writer_page(writer, 0, 1, page, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_snapshot_writer_file(writer, "../x", page, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_snapshot_writer_close(writer, NULL, NULL), TR_E_INTERNAL); /* pages are missing */
    tr_snapshot_writer_free(writer);
    tr_snapshot_writer_free(NULL);
    assert_int_equal(read_all(file.data, file.len), TR_E_CORRUPT);
    tr_buf_clear(&file);
}

static void test_writer_refuses_places_in_a_log(void **state) {
    (void)state;
    for (int what = 0; what < 10; what++) {
        tr_snapshot_head head = example_head(what < 7 ? TR_SNAPSHOT_SEGMENT : TR_SNAPSHOT_FULL);
        tr_snapshot_writer *writer;
        tr_buf file = TR_BUF_INIT;
        switch (what) {
        case 0: head.log = (tr_uuid){0}; break;
        case 1: head.log_number = 0; break;
        case 2: head.log_number = TR_SNAPSHOT_SEGMENT_MAX + 1; break;
        case 3: head.log_number = 1; break; /* and names one before it */
        case 4: memset(head.log_previous, 0, sizeof head.log_previous); break;
        case 5: head.log_keys_ms = 0; break;
        case 6: head.base = tr_uuid_new(); break;
        case 7: head.log_number = -1; break;
        case 8: head.log = (tr_uuid){0}; break; /* and is behind a segment of none */
        default: head.log_keys_ms = 1; break;
        }
        if (tr_snapshot_writer_open(ring, &head, take, &file, &writer, NULL) != TR_E_INTERNAL)
            fail_msg("head %d was taken", what);
        assert_null(writer);
    }
}

static void test_writer_refuses_heads(void **state) {
    (void)state;
    for (int what = 0; what < 10; what++) {
        tr_snapshot_head head = example_head(what == 9 ? TR_SNAPSHOT_INCREMENTAL : TR_SNAPSHOT_FULL);
        tr_snapshot_writer *writer;
        tr_buf file = TR_BUF_INIT;
        tr_error err = {0};
        switch (what) {
        case 0: head.kind = TR_SNAPSHOT_KINDS; break;
        case 1: head.id = (tr_uuid){0}; break;
        case 2: head.base = tr_uuid_new(); break;
        case 3: head.created_ms = 0; break;
        case 4: head.created_ms = INT64_MAX; break;
        case 5: head.database_count = TR_SNAPSHOT_DATABASES_MAX + 1; break;
        case 6: memset(head.databases[1].name, 'x', sizeof head.databases[1].name); break;
        case 7: head.databases[0].page_size = 4000; break;
        case 8: head.audit_seq = -1; break;
        default: head.base = (tr_uuid){0}; break;
        }
        if (tr_snapshot_writer_open(ring, &head, take, &file, &writer, &err) != TR_E_INTERNAL)
            fail_msg("head %d was taken", what);
        assert_null(writer);
        assert_string_not_equal(err.what, "");
        assert_int_equal(file.len, 0);
    }
}

/* ---- what a writer with the key could have done wrong ---- */

static void put_page(tr_buf *out, unsigned database, uint32_t number, size_t size) {
    uint8_t front[6] = {TR_SNAPSHOT_PAGE, (uint8_t)database};
    tr_snapshot_put(front + 2, 4, number);
    tr_buf_append(out, front, sizeof front);
    tr_buf_append(out, page_content(database, number, size).data, size);
}

static void put_file(tr_buf *out, const char *name, size_t name_len, uint32_t claimed, size_t len) {
    uint8_t length[4];
    tr_buf_putc(out, TR_SNAPSHOT_FILE);
    tr_buf_putc(out, (char)name_len);
    tr_buf_append(out, name, name_len);
    tr_snapshot_put(length, 4, claimed);
    tr_buf_append(out, length, sizeof length);
    for (size_t i = 0; i < len; i++)
        tr_buf_putc(out, 'x');
}

static void put_end(tr_buf *out, uint64_t pages, uint32_t files) {
    uint8_t end[13] = {TR_SNAPSHOT_END};
    tr_snapshot_put(end + 1, 8, pages);
    tr_snapshot_put(end + 9, 4, files);
    tr_buf_append(out, end, sizeof end);
}

/* Seal these blocks under the head as its true writer does. */
static void seal_blocks(const tr_snapshot_head *head, const tr_buf *blocks, tr_buf *out) {
    tr_snapshot_envelope envelope = {.head = *head};
    tr_secret key = TR_SECRET_INIT;
    tr_stream_writer *writer;
    *out = TR_BUF_INIT;
    assert_int_equal(tr_secret_random(&key, TR_STREAM_KEY_LEN, NULL), TR_OK);
    assert_int_equal(tr_keyring_wrap(ring, &key, &envelope.wrapped, &envelope.head.master, NULL), TR_OK);
    assert_int_equal(tr_snapshot_envelope_print(&envelope, out, NULL), TR_OK);
    assert_int_equal(tr_stream_writer_new(&key, envelope.prefix,
                                          (tr_bytes){envelope.sum, sizeof envelope.sum}, take, out, &writer,
                                          NULL),
                     TR_OK);
    assert_int_equal(tr_stream_write(writer, (tr_bytes){blocks->data, blocks->len}, NULL), TR_OK);
    assert_int_equal(tr_stream_end(writer, NULL), TR_OK);
    tr_stream_writer_free(writer);
    tr_snapshot_envelope_clear(&envelope);
    tr_secret_clear(&key);
}

static tr_status read_blocks(tr_snapshot_kind kind, const tr_buf *blocks) {
    tr_snapshot_head head = example_head(kind), read;
    tr_snapshot_reader *reader;
    tr_buf file;
    head.databases[0] = (tr_snapshot_database){"vault.db", 512, 3, 2};
    head.databases[1] = (tr_snapshot_database){"audit.db", 512, 1, 1};
    seal_blocks(&head, blocks, &file);
    source from = {(uint8_t *)file.data, file.len};
    tr_status st = tr_snapshot_reader_open(ring, give, &from, &read, &reader, NULL);
    if (st == TR_OK)
        st = tr_snapshot_read(reader, NULL, NULL, NULL);
    tr_snapshot_reader_free(reader);
    tr_buf_clear(&file);
    return st;
}

#define PAGE(database, number) put_page(&blocks, database, number, 512)
#define GIVES(kind, status)                                                                                  \
    do {                                                                                                     \
        assert_int_equal(read_blocks(kind, &blocks), status);                                                \
        tr_buf_reset(&blocks);                                                                               \
    } while (0)

/* Database 0 has three pages, database 1 has one. */
static void test_pages_in_order(void **state) {
    static const struct {
        tr_snapshot_kind kind;
        tr_status status;
        const char *pages; /* "database number", blank between */
    } cases[] = {
        {TR_SNAPSHOT_FULL, TR_OK, "01 02 03 11"},
        {TR_SNAPSHOT_KEYS, TR_OK, "01 02 03 11"},
        {TR_SNAPSHOT_FULL, TR_E_CORRUPT, ""},
        {TR_SNAPSHOT_FULL, TR_E_CORRUPT, "01 02 03"},
        {TR_SNAPSHOT_KEYS, TR_E_CORRUPT, "01 02 03"},
        {TR_SNAPSHOT_FULL, TR_E_CORRUPT, "01 03 11"},
        {TR_SNAPSHOT_FULL, TR_E_CORRUPT, "02 03 11"},
        {TR_SNAPSHOT_FULL, TR_E_CORRUPT, "01 01 02 03 11"},
        {TR_SNAPSHOT_FULL, TR_E_CORRUPT, "11 01 02 03"},
        {TR_SNAPSHOT_FULL, TR_E_CORRUPT, "01 02 03 04 11"},
        {TR_SNAPSHOT_FULL, TR_E_CORRUPT, "01 02 03 11 12"},
        {TR_SNAPSHOT_FULL, TR_E_CORRUPT, "00 01 02 03 11"},
        {TR_SNAPSHOT_FULL, TR_E_CORRUPT, "01 02 03 11 21"},
        {TR_SNAPSHOT_INCREMENTAL, TR_OK, ""},
        {TR_SNAPSHOT_INCREMENTAL, TR_OK, "02 11"},
        {TR_SNAPSHOT_INCREMENTAL, TR_OK, "01 02 03 11"},
        {TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT, "02 02"},
        {TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT, "02 01"},
        {TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT, "11 03"},
        {TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT, "00"},
        {TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT, "04"},
        {TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT, "21"},
    };
    tr_buf blocks = TR_BUF_INIT;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t count = 0;
        for (const char *at = cases[i].pages; *at; at += at[2] ? 3 : 2, count++)
            PAGE((unsigned)(at[0] - '0'), (uint32_t)(at[1] - '0'));
        put_end(&blocks, count, 0);
        if (read_blocks(cases[i].kind, &blocks) != cases[i].status)
            fail_msg("pages \"%s\" in a snapshot of kind %s", cases[i].pages,
                     tr_snapshot_kind_name(cases[i].kind));
        tr_buf_reset(&blocks);
    }
    tr_buf_clear(&blocks);
}

static void test_blocks_that_cannot_be(void **state) {
    tr_buf blocks = TR_BUF_INIT;
    (void)state;
    GIVES(TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT); /* nothing at all */
    PAGE(0, 1);
    GIVES(TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT); /* no end */
    PAGE(0, 1);
    put_end(&blocks, 2, 0);
    GIVES(TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT);
    PAGE(0, 1);
    put_end(&blocks, 1, 1);
    GIVES(TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT);
    put_end(&blocks, 0, 0);
    tr_buf_putc(&blocks, '\0'); /* something after the end */
    GIVES(TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT);
    put_end(&blocks, 0, 0);
    put_end(&blocks, 0, 0);
    GIVES(TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT);
    put_end(&blocks, 0, 0);
    blocks.len--; /* cut within a block */
    GIVES(TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT);
    put_page(&blocks, 0, 1, 511);
    GIVES(TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT);
    tr_buf_putc(&blocks, 0x03); /* unknown */
    put_end(&blocks, 0, 0);
    GIVES(TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT);
    tr_buf_clear(&blocks);
}

static void test_files_that_cannot_be(void **state) {
    static const struct {
        const char *name;
        size_t len;
        tr_status status;
    } names[] = {
        {"keyring", 7, TR_OK},        {"keyring.recovery", 16, TR_OK}, {"", 0, TR_E_CORRUPT},
        {".hidden", 7, TR_E_CORRUPT}, {"..", 2, TR_E_CORRUPT},         {"../keyring", 10, TR_E_CORRUPT},
        {"/etc/x", 6, TR_E_CORRUPT},  {"a/b", 3, TR_E_CORRUPT},        {"a\0b", 3, TR_E_CORRUPT},
        {"a b", 3, TR_E_CORRUPT},     {"a\n", 2, TR_E_CORRUPT},        {"\xc3\xa9", 2, TR_E_CORRUPT},
    };
    char name[255];
    tr_buf blocks = TR_BUF_INIT;
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        put_file(&blocks, names[i].name, names[i].len, 5, 5);
        put_end(&blocks, 0, 1);
        if (read_blocks(TR_SNAPSHOT_INCREMENTAL, &blocks) != names[i].status)
            fail_msg("a file \"%s\"", names[i].name);
        tr_buf_reset(&blocks);
    }
    memset(name, 'n', sizeof name);
    put_file(&blocks, name, 63, 0, 0);
    put_end(&blocks, 0, 1);
    GIVES(TR_SNAPSHOT_INCREMENTAL, TR_OK);
    for (size_t len = 64; len <= sizeof name; len += 191) {
        put_file(&blocks, name, len, 0, 0);
        put_end(&blocks, 0, 1);
        GIVES(TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT);
    }
    put_file(&blocks, "large", 5, TR_SNAPSHOT_FILE_MAX + 1, TR_SNAPSHOT_FILE_MAX + 1);
    put_end(&blocks, 0, 1);
    GIVES(TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT);
    put_file(&blocks, "claims", 6, UINT32_MAX, 10);
    GIVES(TR_SNAPSHOT_INCREMENTAL, TR_E_CORRUPT);
    tr_buf_clear(&blocks);
}

/* ---- heads with a checksum that matches ---- */

/* In the head's JSON `from` becomes `to`, and the head is what it would be with that JSON. */
static tr_status peek_changed(const char *from, const char *to) {
    tr_snapshot_head head = example_head(TR_SNAPSHOT_FULL), peeked;
    tr_buf file, json = TR_BUF_INIT, changed = TR_BUF_INIT;
    uint8_t fixed[14] = TR_SNAPSHOT_MAGIC, sum[TR_SHA256_LEN];
    write_example(&head, &file);
    const size_t len = (size_t)tr_snapshot_get((uint8_t *)file.data + 10, 4);
    tr_buf_append(&json, file.data + 14, len);
    const char *at = strstr(json.data, from);
    if (!at)
        fail_msg("%s is not in the head", from);
    tr_snapshot_put(fixed + 8, 2, 1);
    tr_snapshot_put(fixed + 10, 4, len - strlen(from) + strlen(to));
    tr_buf_append(&changed, fixed, sizeof fixed);
    tr_buf_append(&changed, json.data, (size_t)(at - json.data));
    tr_buf_puts(&changed, to);
    tr_buf_puts(&changed, at + strlen(from));
    tr_buf_append(&changed, file.data + 14 + len, 7);
    assert_int_equal(tr_sha256(&(tr_bytes){changed.data, changed.len}, 1, sum, NULL), TR_OK);
    tr_buf_append(&changed, sum, sizeof sum);
    source in = {(uint8_t *)changed.data, changed.len};
    tr_status st = tr_snapshot_peek(give, &in, &peeked, NULL);
    /* Whatever it now says, the body is not this head's. */
    tr_buf_append(&changed, file.data + 53 + len, file.len - 53 - len);
    if (strcmp(from, to) != 0)
        assert_int_equal(read_all(changed.data, changed.len), TR_E_CORRUPT);
    tr_buf_clear(&file);
    tr_buf_clear(&json);
    tr_buf_clear(&changed);
    return st;
}

static void test_heads_that_cannot_be(void **state) {
    static const struct {
        const char *from, *to;
        tr_status status;
    } cases[] = {
        {"{", "{", TR_OK},
        {"\"seq\":4711", "\"seq\":4712", TR_OK}, /* a lie, but with a form: opening finds it */
        {"\"pages\":60", "\"pages\":61", TR_OK},
        {"\"kind\":\"full\"", "\"kind\":\"keys\"", TR_E_CORRUPT},
        {"\"kind\":\"full\"", "\"kind\":\"segment\"", TR_E_CORRUPT},
        {"\"kind\":\"full\"", "\"kind\":\"key-changes\"", TR_E_CORRUPT},
        {"\"after\":12", "\"after\":0", TR_OK},
        {"\"after\":12", "\"after\":-1", TR_E_CORRUPT},
        {"\"after\":12", "\"after\":10000000000", TR_E_CORRUPT},
        {"\"after\":12", "\"number\":12", TR_E_CORRUPT},
        {"\"kind\":\"full\"", "\"kind\":\"whole\"", TR_E_CORRUPT},
        {"\"kind\":\"full\"", "\"kind\":\"incremental\"", TR_E_CORRUPT},
        {"\"kind\":\"full\"", "\"kind\":\"full\",\"more\":1", TR_E_CORRUPT},
        {"\"kind\":\"full\"", "\"kind\":\"full\",\"kind\":\"full\"", TR_E_CORRUPT},
        {"\"kind\":\"full\"", "\"kind\": \"full\"", TR_E_CORRUPT},
        {"\"kind\":\"full\"", "\"kind\":\"f\\u0075ll\"", TR_E_CORRUPT},
        {"\"kind\":\"full\",", "", TR_E_CORRUPT},
        {"\"seq\":4711", "\"seq\":0", TR_E_CORRUPT},
        {"\"seq\":4711", "\"seq\":-1", TR_E_CORRUPT},
        {"\"seq\":4711", "\"seq\":4711.0", TR_E_CORRUPT},
        {"\"seq\":4711", "\"seq\":99999999999999999999", TR_E_CORRUPT},
        {"\"hash\":\"a5", "\"hash\":\"A5", TR_E_CORRUPT},
        {"\"hash\":\"a5", "\"hash\":\"", TR_E_CORRUPT},
        {"\"pages\":60", "\"pages\":4294967296", TR_E_CORRUPT},
        {"\"page_size\":4096", "\"page_size\":4095", TR_E_CORRUPT},
        {"\"page_size\":4096", "\"page_size\":256", TR_E_CORRUPT},
        {"\"page_size\":4096", "\"page_size\":131072", TR_E_CORRUPT},
        {"\"page_size\":4096", "\"page_size\":0", TR_E_CORRUPT},
        {"\"schema\":2", "\"schema\":-2", TR_E_CORRUPT},
        {"\"name\":\"audit.db\"", "\"name\":\"vault.db\"", TR_E_CORRUPT},
        {"\"name\":\"audit.db\"", "\"name\":\"../audit\"", TR_E_CORRUPT},
        {"\"name\":\"audit.db\"", "\"name\":\"\"", TR_E_CORRUPT},
        {"\"name\":\"audit.db\"",
         "\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"", TR_E_CORRUPT},
        {"[{", "[0,{", TR_E_CORRUPT},
        {"[{", "[{},{},{},{", TR_E_CORRUPT},
        {"\"databases\":[", "\"databases\":1,\"d\":[", TR_E_CORRUPT},
        {"\"master\":{", "\"master\":null,\"m\":{", TR_E_CORRUPT},
        {"\"recovery\":{", "\"recovery\":null,\"r\":{", TR_E_CORRUPT},
        {"\"public\":\"", "\"public\":\"AAAA", TR_E_CORRUPT},
        {"\"version\":", "\"version\":-", TR_E_CORRUPT},
        {"\"created\":\"2026", "\"created\":\"1926", TR_E_CORRUPT},
        {".123Z", "Z", TR_E_CORRUPT},
        {"\"vault\"", "\"Vault\"", TR_E_CORRUPT},
        {"{", "[{", TR_E_CORRUPT},
        {"{", "", TR_E_CORRUPT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const tr_status st = peek_changed(cases[i].from, cases[i].to);
        if (st != cases[i].status)
            fail_msg("%s to %s: %s", cases[i].from, cases[i].to, tr_status_slug(st));
    }
}

/* Gives what there is, then zeros without end. */
static tr_status give_endlessly(void *context, void *into, size_t room, size_t *got, tr_error *err) {
    source *from = context;
    if (from->left > 0)
        return give(context, into, room, got, err);
    memset(into, 0, room);
    *got = room;
    from->at += room;
    return TR_OK;
}

static void test_other_files(void **state) {
    tr_snapshot_head head;
    uint8_t newer[14] = TR_SNAPSHOT_MAGIC;
    (void)state;
    source text = {(const uint8_t *)"SQLite format 3 and some more", 30};
    assert_int_equal(tr_snapshot_peek(give, &text, &head, NULL), TR_E_CORRUPT);
    source nothing = {newer, 0};
    assert_int_equal(tr_snapshot_peek(give, &nothing, &head, NULL), TR_E_CORRUPT);
    newer[9] = 2;
    source next = {newer, sizeof newer};
    assert_int_equal(tr_snapshot_peek(give, &next, &head, NULL), TR_E_CONFIG);
    newer[9] = 1;
    memset(newer + 10, 0xff, 4);
    source huge = {newer, sizeof newer};
    assert_int_equal(tr_snapshot_peek(give_endlessly, &huge, &head, NULL), TR_E_CORRUPT);
    assert_ptr_equal(huge.at, newer + sizeof newer); /* and nothing was read for it */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writer_refuses),       cmocka_unit_test(test_writer_refuses_heads),
        cmocka_unit_test(test_pages_in_order),       cmocka_unit_test(test_blocks_that_cannot_be),
        cmocka_unit_test(test_files_that_cannot_be), cmocka_unit_test(test_heads_that_cannot_be),
        cmocka_unit_test(test_other_files),          cmocka_unit_test(test_writer_refuses_places_in_a_log),
    };
    return cmocka_run_group_tests(tests, make_ring, drop_ring);
}
