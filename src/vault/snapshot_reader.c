#include <stdlib.h>
#include <string.h>

#include "vault/snapshot_internal.h"

struct tr_snapshot_reader {
    tr_snapshot_head head;
    tr_stream_reader *stream;
    tr_snapshot_cursor cursor;
    tr_snapshot_counts counts;
    uint8_t type; /* of the block that comes next: its first byte was read ahead */
    bool done;    /* or failed: there is one reading */
    uint8_t *content;
    size_t room;
};

/* ---- opening ---- */

tr_status tr_snapshot_peek(tr_stream_source_fn source, void *context, tr_snapshot_head *head, tr_error *err) {
    tr_snapshot_envelope envelope = {0};
    tr_status st = tr_snapshot_envelope_read(source, context, &envelope, err);
    if (st == TR_OK)
        *head = envelope.head;
    tr_snapshot_envelope_clear(&envelope);
    return st;
}

/* Whoever opens it has the ring or the private key. */
static tr_status unwrap_by_ring(tr_keyring *ring, const tr_snapshot_envelope *envelope, tr_secret *key,
                                tr_error *err) {
    const uint32_t master = envelope->head.master;
    tr_status st =
        tr_keyring_unwrap(ring, master, (tr_bytes){envelope->wrapped.data, envelope->wrapped.len}, key, err);
    if (st == TR_E_NOT_FOUND)
        return tr_fail(err, TR_E_WRONG_KEY, NULL,
                       "the snapshot needs master key version %u, which this keyring does not have",
                       (unsigned)master);
    if (st == TR_E_CORRUPT)
        return tr_fail(err, TR_E_WRONG_KEY, NULL,
                       "master key version %u of this keyring does not open the snapshot: it is another "
                       "vault's",
                       (unsigned)master);
    return st;
}

static tr_status unwrap_by_recovery(const tr_secret *private_key, const tr_snapshot_envelope *envelope,
                                    tr_secret *key, tr_error *err) {
    const tr_snapshot_head *head = &envelope->head;
    uint8_t public_key[TR_HPKE_KEY_LEN];
    tr_buf bound = TR_BUF_INIT;
    tr_status st = TR_OK;
    TR_TRY(tr_hpke_public(private_key, public_key, err));
    if (!head->has_recovery || memcmp(public_key, head->recovery, sizeof public_key) != 0)
        TR_TRY(tr_fail(err, TR_E_WRONG_KEY, NULL, "the snapshot is not encrypted to this recovery key"));
    TR_TRY(tr_snapshot_bound(head, &bound, err));
    st = tr_hpke_open(private_key, (tr_bytes){TR_SNAPSHOT_INFO, sizeof TR_SNAPSHOT_INFO - 1},
                      (tr_bytes){bound.data, bound.len},
                      (tr_bytes){envelope->sealed, sizeof envelope->sealed}, key, err);
    if (st == TR_E_WRONG_KEY || st == TR_E_CORRUPT)
        st = tr_fail(err, TR_E_CORRUPT, NULL, "the snapshot's key does not verify");
out:
    tr_buf_clear(&bound);
    return st;
}

/* The first byte of the next block, which also verifies its chunk. */
static tr_status read_type(tr_snapshot_reader *reader, tr_error *err) {
    size_t got;
    tr_status st = tr_stream_read(reader->stream, &reader->type, 1, &got, err);
    if (st == TR_OK && got == 0)
        st = tr_fail(err, TR_E_CORRUPT, NULL, "the snapshot has no end");
    return st;
}

static tr_status open_stream(const tr_snapshot_envelope *envelope, const tr_secret *key,
                             tr_stream_source_fn source, void *context, tr_snapshot_reader **out,
                             tr_error *err) {
    tr_snapshot_reader *reader = calloc(1, sizeof *reader);
    tr_status st = TR_OK;
    if (!reader)
        TR_TRY(tr_fail(err, TR_E_NOMEM, NULL, "no memory for a snapshot"));
    if (key->len != TR_STREAM_KEY_LEN)
        TR_TRY(tr_fail(err, TR_E_CORRUPT, NULL, "the snapshot's key has another length"));
    reader->head = envelope->head;
    TR_TRY(tr_stream_reader_new(key, envelope->prefix, (tr_bytes){envelope->sum, sizeof envelope->sum},
                                source, context, &reader->stream, err));
    TR_TRY(read_type(reader, err));
    *out = reader;
    reader = NULL;
out:
    tr_snapshot_reader_free(reader);
    return st;
}

/* By the ring, or where there is none by the private key. */
static tr_status open_by(tr_keyring *ring, const tr_secret *private_key, tr_stream_source_fn source,
                         void *context, tr_snapshot_head *head, tr_snapshot_reader **out, tr_error *err) {
    tr_snapshot_envelope envelope = {0};
    tr_secret key = TR_SECRET_INIT;
    tr_status st = TR_OK;
    *out = NULL;
    TR_TRY(tr_snapshot_envelope_read(source, context, &envelope, err));
    TR_TRY(ring ? unwrap_by_ring(ring, &envelope, &key, err)
                : unwrap_by_recovery(private_key, &envelope, &key, err));
    TR_TRY(open_stream(&envelope, &key, source, context, out, err));
    *head = envelope.head;
out:
    tr_secret_clear(&key);
    tr_snapshot_envelope_clear(&envelope);
    return st;
}

tr_status tr_snapshot_reader_open(tr_keyring *ring, tr_stream_source_fn source, void *context,
                                  tr_snapshot_head *head, tr_snapshot_reader **out, tr_error *err) {
    return open_by(ring, NULL, source, context, head, out, err);
}

tr_status tr_snapshot_reader_open_recovery(const tr_secret *private_key, tr_stream_source_fn source,
                                           void *context, tr_snapshot_head *head, tr_snapshot_reader **out,
                                           tr_error *err) {
    return open_by(NULL, private_key, source, context, head, out, err);
}

/* ---- blocks ---- */

static tr_status broken(tr_error *err) {
    return tr_fail(err, TR_E_CORRUPT, NULL, "the snapshot holds a block that cannot be");
}

static tr_status read_exactly(tr_snapshot_reader *reader, void *into, size_t len, tr_error *err) {
    size_t got;
    tr_status st = tr_stream_read(reader->stream, into, len, &got, err);
    return st == TR_OK && got < len ? broken(err) : st;
}

/* `len` bytes into reader->content, which grows to what one page or file needs. */
static tr_status read_content(tr_snapshot_reader *reader, size_t len, tr_error *err) {
    if (len > reader->room) {
        uint8_t *larger = malloc(len);
        if (!larger)
            return tr_fail(err, TR_E_NOMEM, NULL, "no memory for a snapshot");
        if (reader->content)
            tr_wipe(reader->content, reader->room);
        free(reader->content);
        reader->content = larger;
        reader->room = len;
    }
    return read_exactly(reader, reader->content, len, err);
}

static tr_status read_page(tr_snapshot_reader *reader, const tr_snapshot_visitor *visitor, tr_error *err) {
    uint8_t front[TR_SNAPSHOT_PAGE_HEAD];
    tr_status st = TR_OK;
    TR_TRY(read_exactly(reader, front, sizeof front, err));
    const size_t database = front[0];
    const uint32_t number = (uint32_t)tr_snapshot_get(front + 1, 4);
    if (!tr_snapshot_cursor_step(&reader->cursor, &reader->head, database, number))
        TR_TRY(broken(err));
    const size_t size = reader->head.databases[database].page_size;
    TR_TRY(read_content(reader, size, err));
    reader->counts.pages++;
    if (visitor && visitor->page)
        st = visitor->page(visitor->context, database, number, (tr_bytes){reader->content, size}, err);
out:
    return st;
}

static tr_status read_file(tr_snapshot_reader *reader, const tr_snapshot_visitor *visitor, tr_error *err) {
    char name[TR_SNAPSHOT_NAME_MAX + 1] = {0};
    uint8_t name_len, length[4];
    tr_status st = TR_OK;
    TR_TRY(read_exactly(reader, &name_len, 1, err));
    if (name_len > TR_SNAPSHOT_NAME_MAX)
        TR_TRY(broken(err));
    TR_TRY(read_exactly(reader, name, name_len, err));
    TR_TRY(read_exactly(reader, length, sizeof length, err));
    const size_t size = (size_t)tr_snapshot_get(length, sizeof length);
    if (!tr_snapshot_name_good(name, name_len) || size > TR_SNAPSHOT_FILE_MAX)
        TR_TRY(broken(err));
    TR_TRY(read_content(reader, size, err));
    reader->counts.files++;
    if (visitor && visitor->file)
        st = visitor->file(visitor->context, name, (tr_bytes){reader->content, size}, err);
out:
    return st;
}

/* The counts, every page that must be there, and nothing after it. */
static tr_status read_end(tr_snapshot_reader *reader, tr_error *err) {
    uint8_t counts[TR_SNAPSHOT_END_LEN], more;
    size_t got;
    tr_status st = TR_OK;
    TR_TRY(read_exactly(reader, counts, sizeof counts, err));
    TR_TRY(tr_stream_read(reader->stream, &more, 1, &got, err));
    if (got > 0 || tr_snapshot_get(counts, 8) != reader->counts.pages ||
        tr_snapshot_get(counts + 8, 4) != reader->counts.files ||
        !tr_snapshot_cursor_done(&reader->cursor, &reader->head))
        st = broken(err);
out:
    return st;
}

tr_status tr_snapshot_read(tr_snapshot_reader *reader, const tr_snapshot_visitor *visitor,
                           tr_snapshot_counts *counts, tr_error *err) {
    tr_status st = TR_OK;
    if (reader->done)
        return tr_fail(err, TR_E_INTERNAL, NULL, "a snapshot was read twice by one reader");
    reader->done = true;
    while (st == TR_OK && reader->type != TR_SNAPSHOT_END) {
        st = reader->type == TR_SNAPSHOT_PAGE   ? read_page(reader, visitor, err)
             : reader->type == TR_SNAPSHOT_FILE ? read_file(reader, visitor, err)
                                                : broken(err);
        if (st == TR_OK)
            st = read_type(reader, err);
    }
    if (st == TR_OK)
        st = read_end(reader, err);
    if (st == TR_OK && counts)
        *counts = reader->counts;
    return st;
}

void tr_snapshot_reader_free(tr_snapshot_reader *reader) {
    if (!reader)
        return;
    tr_stream_reader_free(reader->stream);
    if (reader->content)
        tr_wipe(reader->content, reader->room);
    free(reader->content);
    tr_wipe(reader, sizeof *reader);
    free(reader);
}
