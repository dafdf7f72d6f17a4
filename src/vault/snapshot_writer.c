#include <stdlib.h>
#include <string.h>

#include "vault/snapshot_internal.h"

struct tr_snapshot_writer {
    tr_snapshot_head head;
    tr_stream_writer *stream;
    tr_snapshot_cursor cursor;
    tr_snapshot_counts counts;
};

/* The key under the current master key and, where there is one, to the recovery key. */
static tr_status wrap_key(tr_keyring *ring, const tr_secret *key, tr_snapshot_envelope *envelope,
                          tr_error *err) {
    tr_snapshot_head *head = &envelope->head;
    tr_buf bound = TR_BUF_INIT, sealed = TR_BUF_INIT;
    tr_status st = TR_OK;
    TR_TRY(tr_keyring_wrap(ring, key, &envelope->wrapped, &head->master, err));
    tr_keyring_get_recovery(ring, head->recovery, &head->has_recovery);
    if (!head->has_recovery) {
        memset(head->recovery, 0, sizeof head->recovery);
        goto out;
    }
    TR_TRY(tr_snapshot_bound(head, &bound, err));
    TR_TRY(tr_hpke_seal(head->recovery, (tr_bytes){TR_SNAPSHOT_INFO, sizeof TR_SNAPSHOT_INFO - 1},
                        (tr_bytes){bound.data, bound.len}, (tr_bytes){key->data, key->len}, &sealed, err));
    if (sealed.len != sizeof envelope->sealed)
        TR_TRY(tr_fail(err, TR_E_INTERNAL, NULL, "an encrypted key has another length"));
    memcpy(envelope->sealed, sealed.data, sealed.len);
out:
    tr_buf_clear(&bound);
    tr_buf_clear(&sealed);
    return st;
}

tr_status tr_snapshot_writer_open(tr_keyring *ring, tr_snapshot_head *head, tr_stream_sink_fn sink,
                                  void *context, tr_snapshot_writer **out, tr_error *err) {
    tr_snapshot_envelope envelope = {.head = *head};
    tr_secret key = TR_SECRET_INIT;
    tr_buf front = TR_BUF_INIT;
    tr_snapshot_writer *writer = calloc(1, sizeof *writer);
    const char *fault = tr_snapshot_head_fault(head);
    tr_status st = TR_OK;
    *out = NULL;
    if (!writer)
        TR_TRY(tr_fail(err, TR_E_NOMEM, NULL, "no memory for a snapshot"));
    if (fault)
        TR_TRY(tr_fail(err, TR_E_INTERNAL, NULL, "a snapshot's head: %s", fault));
    TR_TRY(tr_secret_random(&key, TR_STREAM_KEY_LEN, err));
    TR_TRY(tr_random(envelope.prefix, sizeof envelope.prefix, err));
    TR_TRY(wrap_key(ring, &key, &envelope, err));
    TR_TRY(tr_snapshot_envelope_print(&envelope, &front, err));
    TR_TRY(tr_stream_writer_new(&key, envelope.prefix, (tr_bytes){envelope.sum, sizeof envelope.sum}, sink,
                                context, &writer->stream, err));
    TR_TRY(sink(context, (tr_bytes){front.data, front.len}, err));
    writer->head = *head = envelope.head;
    *out = writer;
    writer = NULL;
out:
    tr_snapshot_writer_free(writer);
    tr_secret_clear(&key);
    tr_buf_clear(&front);
    tr_snapshot_envelope_clear(&envelope);
    return st;
}

tr_status tr_snapshot_writer_page(tr_snapshot_writer *writer, size_t database, uint32_t number,
                                  tr_bytes content, tr_error *err) {
    uint8_t front[1 + TR_SNAPSHOT_PAGE_HEAD] = {TR_SNAPSHOT_PAGE, (uint8_t)database};
    tr_snapshot_cursor cursor = writer->cursor;
    tr_status st = TR_OK;
    if (!tr_snapshot_cursor_step(&cursor, &writer->head, database, number) ||
        content.len != writer->head.databases[database].page_size)
        return tr_fail(err, TR_E_INTERNAL, NULL, "page %u of database %zu cannot come here in a snapshot",
                       (unsigned)number, database);
    tr_snapshot_put(front + 2, 4, number);
    TR_TRY(tr_stream_write(writer->stream, (tr_bytes){front, sizeof front}, err));
    TR_TRY(tr_stream_write(writer->stream, content, err));
    writer->cursor = cursor;
    writer->counts.pages++;
out:
    return st;
}

tr_status tr_snapshot_writer_file(tr_snapshot_writer *writer, const char *name, tr_bytes content,
                                  tr_error *err) {
    uint8_t front[2] = {TR_SNAPSHOT_FILE}, length[4];
    const size_t name_len = strlen(name);
    tr_status st = TR_OK;
    if (!tr_snapshot_name_good(name, name_len) || content.len > TR_SNAPSHOT_FILE_MAX)
        return tr_fail(err, TR_E_INTERNAL, NULL, "a file of this name or size cannot be in a snapshot");
    front[1] = (uint8_t)name_len;
    tr_snapshot_put(length, sizeof length, content.len);
    TR_TRY(tr_stream_write(writer->stream, (tr_bytes){front, sizeof front}, err));
    TR_TRY(tr_stream_write(writer->stream, (tr_bytes){name, name_len}, err));
    TR_TRY(tr_stream_write(writer->stream, (tr_bytes){length, sizeof length}, err));
    TR_TRY(tr_stream_write(writer->stream, content, err));
    writer->counts.files++;
out:
    return st;
}

tr_status tr_snapshot_writer_close(tr_snapshot_writer *writer, tr_snapshot_counts *counts, tr_error *err) {
    uint8_t end[1 + TR_SNAPSHOT_END_LEN] = {TR_SNAPSHOT_END};
    tr_status st = TR_OK;
    if (!tr_snapshot_cursor_done(&writer->cursor, &writer->head))
        return tr_fail(err, TR_E_INTERNAL, NULL, "a snapshot lacks pages of its databases");
    tr_snapshot_put(end + 1, 8, writer->counts.pages);
    tr_snapshot_put(end + 9, 4, writer->counts.files);
    TR_TRY(tr_stream_write(writer->stream, (tr_bytes){end, sizeof end}, err));
    TR_TRY(tr_stream_end(writer->stream, err));
    if (counts)
        *counts = writer->counts;
out:
    return st;
}

void tr_snapshot_writer_free(tr_snapshot_writer *writer) {
    if (writer)
        tr_stream_writer_free(writer->stream);
    free(writer);
}
