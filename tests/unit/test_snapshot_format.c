/* Snapshot files: what was written is read, by who has a key, in little memory. */
#include "snapshot_fixture.h"

#include "crypto/keywrap.h"

#define DOCUMENT TRESOR_TEST_DATA "/../../schema/snapshot-format.md"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define GROWTH_MAX_KIB 8192 /* it keeps what OpenSSL frees after each chunk */
#else
#define GROWTH_MAX_KIB 1024
#endif

/* ---- round trips and the vector ---- */

static void test_round_trips(void **state) {
    (void)state;
    for (int kind = 0; kind < TR_SNAPSHOT_KINDS; kind++) {
        tr_snapshot_head head = example_head((tr_snapshot_kind)kind), peeked, read, recovered;
        tr_snapshot_counts seen;
        tr_buf file;
        write_example(&head, &file);
        assert_int_equal(head.master, 1);
        assert_true(head.has_recovery);
        source from = {(uint8_t *)file.data, file.len};
        assert_int_equal(tr_snapshot_peek(give, &from, &peeked, NULL), TR_OK);
        same_heads(&peeked, &head);
        assert_int_equal(read_by(ring, NULL, file.data, file.len, &read, &seen, NULL), TR_OK);
        assert_int_equal(seen.pages, VAULT_PAGES + AUDIT_PAGES);
        assert_int_equal(seen.files, 1);
        same_heads(&read, &head);
        assert_int_equal(read_by(NULL, &recovery_key, file.data, file.len, &recovered, &seen, NULL), TR_OK);
        assert_int_equal(seen.pages, VAULT_PAGES + AUDIT_PAGES);
        same_heads(&recovered, &head);
        tr_buf_clear(&file);
    }
}

static void open_envelope(const tr_buf *file, tr_snapshot_envelope *envelope, tr_secret *key) {
    source from = {(uint8_t *)file->data, file->len};
    assert_int_equal(tr_snapshot_envelope_read(give, &from, envelope, NULL), TR_OK);
    assert_int_equal(tr_keyring_unwrap(ring, envelope->head.master,
                                       (tr_bytes){envelope->wrapped.data, envelope->wrapped.len}, key, NULL),
                     TR_OK);
}

/* No two snapshots share a key or a prefix, be they of the same moment. */
static void test_fresh_keys(void **state) {
    tr_snapshot_head head = example_head(TR_SNAPSHOT_FULL);
    tr_snapshot_envelope a = {0}, b = {0};
    tr_secret key_a = TR_SECRET_INIT, key_b = TR_SECRET_INIT;
    tr_buf one, other;
    (void)state;
    write_example(&head, &one);
    write_example(&head, &other);
    open_envelope(&one, &a, &key_a);
    open_envelope(&other, &b, &key_b);
    assert_int_equal(key_a.len, TR_STREAM_KEY_LEN);
    assert_memory_not_equal(key_a.data, key_b.data, TR_STREAM_KEY_LEN);
    assert_memory_not_equal(a.prefix, b.prefix, sizeof a.prefix);
    assert_memory_not_equal(a.sealed, b.sealed, sizeof a.sealed);
    tr_snapshot_envelope_clear(&a);
    tr_snapshot_envelope_clear(&b);
    tr_secret_clear(&key_a);
    tr_secret_clear(&key_b);
    tr_buf_clear(&one);
    tr_buf_clear(&other);
}

/* Fewest and most: no database, empty ones, the largest file and page, nothing in the audit log. */
static void test_extremes(void **state) {
    tr_snapshot_head head = {.id = tr_uuid_new(), .kind = TR_SNAPSHOT_KEYS, .created_ms = 1}, read;
    tr_snapshot_counts counts;
    tr_snapshot_writer *writer;
    tr_snapshot_reader *reader;
    tr_buf file = TR_BUF_INIT;
    uint8_t *large = calloc(1, TR_SNAPSHOT_FILE_MAX + 1);
    (void)state;
    assert_non_null(large);
    for (int count = 0; count <= TR_SNAPSHOT_DATABASES_MAX; count++) {
        head.database_count = (size_t)count;
        for (int i = 0; i < count; i++) {
            head.databases[i] = (tr_snapshot_database){
                .page_size = i % 2 ? 65536 : 512, .pages = i == 3 ? 3 : 0, .schema = INT64_MAX};
            memset(head.databases[i].name, 'a' + i, TR_SNAPSHOT_NAME_MAX);
        }
        tr_buf_reset(&file);
        assert_int_equal(tr_snapshot_writer_open(ring, &head, take, &file, &writer, NULL), TR_OK);
        write_pages(writer, &head);
        assert_int_equal(tr_snapshot_writer_file(writer, "f", (tr_bytes){large, TR_SNAPSHOT_FILE_MAX}, NULL),
                         TR_OK);
        assert_int_equal(tr_snapshot_writer_file(writer, "g", (tr_bytes){NULL, 0}, NULL), TR_OK);
        assert_int_equal(
            tr_snapshot_writer_file(writer, "h", (tr_bytes){large, TR_SNAPSHOT_FILE_MAX + 1}, NULL),
            TR_E_INTERNAL);
        assert_int_equal(tr_snapshot_writer_close(writer, NULL, NULL), TR_OK);
        tr_snapshot_writer_free(writer);
        source from = {(uint8_t *)file.data, file.len};
        assert_int_equal(tr_snapshot_reader_open(ring, give, &from, &read, &reader, NULL), TR_OK);
        assert_int_equal(tr_snapshot_read(reader, NULL, &counts, NULL), TR_OK);
        assert_int_equal(counts.files, 2);
        assert_int_equal(counts.pages, count == 4 ? 3 : 0);
        same_heads(&read, &head);
        tr_snapshot_reader_free(reader);
    }
    free(large);
    tr_buf_clear(&file);
}

/* The hexadecimal lines that follow `name` in the document's vector. */
static void document_bytes(const char *name, tr_buf *out) {
    char line[256];
    bool inside = false, found = false;
    FILE *file = fopen(DOCUMENT, "r");
    assert_non_null(file);
    *out = TR_BUF_INIT;
    while (fgets(line, sizeof line, file)) {
        uint8_t bytes[sizeof line / 2];
        line[strcspn(line, "\n")] = '\0';
        inside = strcmp(line, "```vector") == 0 || (inside && strcmp(line, "```") != 0);
        if (line[0] != ' ')
            found = inside && strcmp(line, name) == 0;
        else if (inside && found)
            tr_buf_append(out, bytes, hex_bytes(line + 2, bytes, sizeof bytes));
    }
    fclose(file);
    assert_true(out->len > 0);
}

static void document_secret(const char *name, tr_secret *out) {
    tr_buf bytes;
    document_bytes(name, &bytes);
    assert_int_equal(tr_secret_copy(out, bytes.data, bytes.len, NULL), TR_OK);
    tr_buf_clear(&bytes);
}

static tr_status see_vector_page(void *context, size_t database, uint32_t number, tr_bytes content,
                                 tr_error *err) {
    (void)context;
    (void)err;
    assert_int_equal(database, 0);
    assert_int_equal(content.len, 512);
    for (size_t i = 0; i < content.len; i++)
        assert_int_equal(((const uint8_t *)content.data)[i], number == 1 ? i % 256 : 0x5a);
    return TR_OK;
}

static tr_status see_vector_file(void *context, const char *name, tr_bytes content, tr_error *err) {
    (void)context;
    (void)err;
    assert_string_equal(name, "note.txt");
    assert_int_equal(content.len, 13);
    assert_memory_equal(content.data, "a small file\n", 13);
    return TR_OK;
}

static void check_vector_head(const tr_snapshot_head *head) {
    char id[TR_UUID_TEXT];
    tr_uuid_format(&head->id, id);
    assert_string_equal(id, "019ab87a-0000-7000-8000-000000000001");
    tr_uuid_format(&head->vault, id);
    assert_string_equal(id, "019ab87a-0000-7000-8000-000000000002");
    assert_int_equal(head->kind, TR_SNAPSHOT_FULL);
    assert_int_equal(head->created_ms, INT64_C(1795569600000));
    assert_int_equal(head->database_count, 1);
    assert_string_equal(head->databases[0].name, "vault.db");
    assert_int_equal(head->databases[0].page_size, 512);
    assert_int_equal(head->databases[0].pages, 2);
    assert_int_equal(head->databases[0].schema, 2);
    assert_int_equal(head->audit_seq, 42);
    assert_hex(head->audit_hash, TR_SHA256_LEN,
               "b81f37a043a6f767e7c94d105f4bd31282f3ecc20680bb9d09bd93461cf4c863");
    assert_int_equal(head->master, 3);
}

/* The document's file was made by another program: it opens, by either key. */
static void test_vector(void **state) {
    tr_buf file;
    tr_secret master = TR_SECRET_INIT, private_key = TR_SECRET_INIT, key = TR_SECRET_INIT,
              own = TR_SECRET_INIT;
    tr_snapshot_envelope envelope = {0};
    tr_snapshot_head head;
    tr_snapshot_reader *reader;
    tr_snapshot_counts counts;
    const tr_snapshot_visitor visitor = {see_vector_page, see_vector_file, NULL};
    (void)state;
    document_bytes("snapshot", &file);
    document_secret("master-key-3", &master);
    document_secret("recovery-private-key", &private_key);
    document_secret("file-key", &key);
    source from = {(uint8_t *)file.data, file.len};
    assert_int_equal(tr_snapshot_envelope_read(give, &from, &envelope, NULL), TR_OK);
    check_vector_head(&envelope.head);
    assert_int_equal(
        tr_keyunwrap(&master, (tr_bytes){envelope.wrapped.data, envelope.wrapped.len}, &own, NULL), TR_OK);
    assert_int_equal(own.len, key.len);
    assert_memory_equal(own.data, key.data, key.len);
    from = (source){(uint8_t *)file.data, file.len};
    assert_int_equal(tr_snapshot_reader_open_recovery(&private_key, give, &from, &head, &reader, NULL),
                     TR_OK);
    check_vector_head(&head);
    assert_int_equal(tr_snapshot_read(reader, &visitor, &counts, NULL), TR_OK);
    assert_int_equal(counts.pages, 2);
    assert_int_equal(counts.files, 1);
    tr_snapshot_reader_free(reader);
    tr_snapshot_envelope_clear(&envelope);
    tr_buf_clear(&file);
    tr_secret_clear(&master);
    tr_secret_clear(&private_key);
    tr_secret_clear(&key);
    tr_secret_clear(&own);
}

/* ---- memory ---- */

static tr_status to_file(void *context, tr_bytes bytes, tr_error *err) {
    return fwrite(bytes.data, 1, bytes.len, context) == bytes.len ? TR_OK
                                                                  : tr_fail_errno(err, NULL, "writing");
}

static tr_status from_file(void *context, void *into, size_t room, size_t *got, tr_error *err) {
    *got = fread(into, 1, room, context);
    return ferror(context) ? tr_fail_errno(err, NULL, "reading") : TR_OK;
}

static long peak_kib(void) {
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

static void pass_through(FILE *file, uint32_t pages) {
    tr_snapshot_head head = example_head(TR_SNAPSHOT_FULL);
    tr_snapshot_writer *writer;
    tr_snapshot_reader *reader;
    tr_snapshot_counts counts;
    head.databases[0] = (tr_snapshot_database){"vault.db", 65536, pages, 2};
    head.database_count = 1;
    rewind(file);
    assert_int_equal(tr_snapshot_writer_open(ring, &head, to_file, file, &writer, NULL), TR_OK);
    write_pages(writer, &head);
    assert_int_equal(tr_snapshot_writer_close(writer, NULL, NULL), TR_OK);
    tr_snapshot_writer_free(writer);
    assert_int_equal(fflush(file), 0);
    rewind(file);
    assert_int_equal(tr_snapshot_reader_open(ring, from_file, file, &head, &reader, NULL), TR_OK);
    assert_int_equal(tr_snapshot_read(reader, NULL, &counts, NULL), TR_OK);
    assert_int_equal(counts.pages, pages);
    tr_snapshot_reader_free(reader);
}

/* 64 MiB go through writer and reader; after a first, small one, memory does not grow with the size. */
static void test_memory(void **state) {
    FILE *file = tmpfile();
    (void)state;
    assert_non_null(file);
    pass_through(file, 4);
    const long before = peak_kib();
    pass_through(file, 1024);
    assert_true(peak_kib() - before < GROWTH_MAX_KIB);
    fclose(file);
}

/* ---- who may open it ---- */

static void test_keys(void **state) {
    tr_snapshot_head head = example_head(TR_SNAPSHOT_FULL), read;
    tr_snapshot_counts seen;
    tr_secret stranger = TR_SECRET_INIT;
    uint8_t public_key[TR_HPKE_KEY_LEN];
    uint32_t version;
    tr_buf file;
    tr_error err = {0};
    (void)state;
    write_example(&head, &file);
    assert_int_equal(tr_hpke_keypair(&stranger, public_key, NULL), TR_OK);
    assert_int_equal(read_by(NULL, &stranger, file.data, file.len, &read, &seen, NULL), TR_E_WRONG_KEY);
    tr_secret_clear(&stranger);

    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_OK);
    assert_int_equal(read_all(file.data, file.len), TR_OK);
    assert_int_equal(tr_keyring_retire(ring, head.master, NULL), TR_OK);
    assert_int_equal(read_by(ring, NULL, file.data, file.len, &read, &seen, &err), TR_E_WRONG_KEY);
    assert_non_null(strstr(err.what, "version 1"));
    assert_int_equal(read_by(NULL, &recovery_key, file.data, file.len, &read, &seen, NULL), TR_OK);
    tr_buf_clear(&file);
}

/* Another vault's keyring that has the version, too. And a ring without a recovery key. */
static void test_other_ring(void **state) {
    static char other_path[sizeof path + 8];
    tr_snapshot_head head = example_head(TR_SNAPSHOT_FULL), read;
    tr_snapshot_counts seen;
    tr_keyring *other;
    tr_buf file;
    tr_error err = {0};
    (void)state;
    (void)snprintf(other_path, sizeof other_path, "%s.other", path);
    assert_int_equal(tr_keyring_create_file_ln(other_path, &passphrase, LN, &other, NULL), TR_OK);
    tr_keyring *own = ring;
    ring = other;
    write_example(&head, &file);
    ring = own;
    assert_false(head.has_recovery);
    assert_int_equal(read_by(other, NULL, file.data, file.len, &read, &seen, NULL), TR_OK);
    assert_int_equal(read_by(NULL, &recovery_key, file.data, file.len, &read, &seen, NULL), TR_E_WRONG_KEY);
    tr_buf_clear(&file);

    write_example(&head, &file);
    while (tr_keyring_current(other) < head.master) {
        uint32_t version;
        assert_int_equal(tr_keyring_rotate(other, &version, NULL), TR_OK);
    }
    assert_int_equal(read_by(other, NULL, file.data, file.len, &read, &seen, &err), TR_E_WRONG_KEY);
    assert_non_null(strstr(err.what, "another vault's"));
    tr_buf_clear(&file);
    tr_keyring_close(other);
    assert_int_equal(unlink(other_path), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_fresh_keys),
        cmocka_unit_test(test_extremes),    cmocka_unit_test(test_vector),
        cmocka_unit_test(test_memory),      cmocka_unit_test(test_keys),
        cmocka_unit_test(test_other_ring),
    };
    return cmocka_run_group_tests(tests, make_ring, drop_ring);
}
