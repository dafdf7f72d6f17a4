/* Snapshots in memory, for the tests of their format. */
#ifndef TR_TEST_SNAPSHOT_FIXTURE_H
#define TR_TEST_SNAPSHOT_FIXTURE_H

#include "keyring_fixture.h"

#include "vault/snapshot_internal.h"

#define SEALED_CHUNK (TR_STREAM_CHUNK + TR_STREAM_TAG_LEN)

static tr_keyring *ring;
static tr_secret recovery_key;

static inline int make_ring(void **state) {
    uint8_t public_key[TR_HPKE_KEY_LEN];
    if (set_up(state) != 0 || remove_file(state) != 0)
        return -1;
    ring = create();
    return tr_hpke_keypair(&recovery_key, public_key, NULL) == TR_OK &&
                   tr_keyring_set_recovery(ring, public_key, NULL) == TR_OK
               ? 0
               : -1;
}

static inline int drop_ring(void **state) {
    tr_keyring_close(ring);
    tr_secret_clear(&recovery_key);
    return remove_file(state) == 0 ? tear_down(state) : -1;
}

/* ---- what is in the snapshots of these tests ---- */

#define VAULT_PAGES 60
#define AUDIT_PAGES 40
static const char small_file[] = "the content of a file";

static inline tr_snapshot_head example_head(tr_snapshot_kind kind) {
    tr_snapshot_head head = {
        .id = tr_uuid_new(),
        .kind = kind,
        .vault = tr_uuid_new(),
        .created_ms = INT64_C(1795569600123),
        .databases = {{"vault.db", 4096, VAULT_PAGES, 2}, {"audit.db", 1024, AUDIT_PAGES, 1}},
        .database_count = 2,
        .audit_seq = 4711};
    if (kind == TR_SNAPSHOT_INCREMENTAL || kind == TR_SNAPSHOT_KEY_CHANGES)
        head.base = tr_uuid_new();
    if (kind != TR_SNAPSHOT_KEYS && kind != TR_SNAPSHOT_KEY_CHANGES) {
        head.log = tr_uuid_new();
        head.log_number = 12;
    }
    if (kind == TR_SNAPSHOT_SEGMENT) {
        memset(head.log_previous, 0x5a, sizeof head.log_previous);
        head.log_keys_ms = INT64_C(1795569600000);
    }
    memset(head.audit_hash, 0xa5, sizeof head.audit_hash);
    return head;
}

/* The content of a page depends on where it is. */
static inline tr_bytes page_content(size_t database, uint32_t number, size_t size) {
    static uint8_t content[65536];
    for (size_t i = 0; i < size; i++)
        content[i] = (uint8_t)(database * 101 + number * 31 + i * 7 + i / 251);
    return (tr_bytes){content, size};
}

/* ---- a sink and a source in memory ---- */

static inline tr_status take(void *context, tr_bytes bytes, tr_error *err) {
    tr_buf *to = context;
    tr_buf_append(to, bytes.data, bytes.len);
    return tr_buf_ok(to, err);
}

typedef struct source {
    const uint8_t *at;
    size_t left;
} source;

static inline tr_status give(void *context, void *into, size_t room, size_t *got, tr_error *err) {
    source *from = context;
    (void)err;
    *got = from->left < room ? from->left : room;
    *got = *got < 30011 ? *got : 30011;
    if (*got > 0)
        memcpy(into, from->at, *got);
    from->at += *got;
    from->left -= *got;
    return TR_OK;
}

static inline void write_pages(tr_snapshot_writer *writer, const tr_snapshot_head *head) {
    for (size_t database = 0; database < head->database_count; database++) {
        const tr_snapshot_database *of = &head->databases[database];
        for (uint32_t number = 1; number <= of->pages; number++)
            assert_int_equal(tr_snapshot_writer_page(writer, database, number,
                                                     page_content(database, number, of->page_size), NULL),
                             TR_OK);
    }
}

/* A whole snapshot with every page and one file. */
static inline void write_example(tr_snapshot_head *head, tr_buf *out) {
    tr_snapshot_writer *writer;
    tr_snapshot_counts counts;
    *out = TR_BUF_INIT;
    assert_int_equal(tr_snapshot_writer_open(ring, head, take, out, &writer, NULL), TR_OK);
    assert_int_equal(tr_snapshot_writer_file(writer, "notes-1.txt", text_bytes(small_file), NULL), TR_OK);
    write_pages(writer, head);
    assert_int_equal(tr_snapshot_writer_close(writer, &counts, NULL), TR_OK);
    assert_int_equal(counts.pages, VAULT_PAGES + AUDIT_PAGES);
    assert_int_equal(counts.files, 1);
    tr_snapshot_writer_free(writer);
}

/* ---- reading ---- */

static inline tr_status see_page(void *context, size_t database, uint32_t number, tr_bytes content,
                                 tr_error *err) {
    const tr_bytes expected = page_content(database, number, content.len);
    (void)err;
    assert_memory_equal(content.data, expected.data, content.len);
    ((tr_snapshot_counts *)context)->pages++;
    return TR_OK;
}

static inline tr_status see_file(void *context, const char *name, tr_bytes content, tr_error *err) {
    (void)err;
    assert_string_equal(name, "notes-1.txt");
    assert_int_equal(content.len, sizeof small_file - 1);
    assert_memory_equal(content.data, small_file, content.len);
    ((tr_snapshot_counts *)context)->files++;
    return TR_OK;
}

/* By the ring, or by a private key. Whatever is handed out must be what was written. */
static inline tr_status read_by(tr_keyring *by, const tr_secret *private_key, const void *bytes, size_t len,
                                tr_snapshot_head *head, tr_snapshot_counts *seen, tr_error *err) {
    source from = {bytes, len};
    tr_snapshot_reader *reader;
    tr_snapshot_counts counts = {0};
    *seen = (tr_snapshot_counts){0};
    const tr_snapshot_visitor visitor = {see_page, see_file, seen};
    tr_status st = by ? tr_snapshot_reader_open(by, give, &from, head, &reader, err)
                      : tr_snapshot_reader_open_recovery(private_key, give, &from, head, &reader, err);
    if (st != TR_OK) {
        assert_null(reader);
        return st;
    }
    st = tr_snapshot_read(reader, &visitor, &counts, err);
    if (st == TR_OK)
        assert_memory_equal(&counts, seen, sizeof counts);
    assert_int_equal(tr_snapshot_read(reader, NULL, NULL, NULL), TR_E_INTERNAL);
    tr_snapshot_reader_free(reader);
    return st;
}

static inline tr_status read_all(const void *bytes, size_t len) {
    tr_snapshot_head head;
    tr_snapshot_counts seen;
    tr_error err = {0};
    tr_status st = read_by(ring, NULL, bytes, len, &head, &seen, &err);
    if (st != TR_OK) {
        assert_int_equal(err.status, st);
        assert_string_not_equal(err.what, "");
    }
    return st;
}

static inline void same_heads(const tr_snapshot_head *a, const tr_snapshot_head *b) {
    assert_true(tr_uuid_equal(&a->id, &b->id) && tr_uuid_equal(&a->base, &b->base) &&
                tr_uuid_equal(&a->vault, &b->vault));
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->created_ms, b->created_ms);
    assert_int_equal(a->database_count, b->database_count);
    for (size_t i = 0; i < a->database_count; i++) {
        assert_string_equal(a->databases[i].name, b->databases[i].name);
        assert_int_equal(a->databases[i].page_size, b->databases[i].page_size);
        assert_int_equal(a->databases[i].pages, b->databases[i].pages);
        assert_int_equal(a->databases[i].schema, b->databases[i].schema);
    }
    assert_true(tr_uuid_equal(&a->log, &b->log));
    assert_int_equal(a->log_number, b->log_number);
    assert_int_equal(a->log_keys_ms, b->log_keys_ms);
    assert_memory_equal(a->log_previous, b->log_previous, TR_SHA256_LEN);
    assert_int_equal(a->audit_seq, b->audit_seq);
    assert_memory_equal(a->audit_hash, b->audit_hash, TR_SHA256_LEN);
    assert_int_equal(a->master, b->master);
    assert_int_equal(a->has_recovery, b->has_recovery);
    assert_memory_equal(a->recovery, b->recovery, sizeof a->recovery);
}

/* Where the sealed stream begins. */
static inline size_t body_of(const tr_buf *file) {
    return 53 + (size_t)tr_snapshot_get((uint8_t *)file->data + 10, 4);
}

#endif
