/* The reader of snapshots. The first byte says what the rest is:
 *   0  a file, as it lies
 *   1  the blocks of a snapshot, sealed under a head that fits: what somebody with the key could write
 *   2  the JSON of a head, whose checksum matches
 *   3  changes to a file that is good: place (2 bytes), what its byte is xored with (1 byte)
 * Besides not crashing: what is taken has one form only, and a file that was changed is not taken.
 *
 * Run: fuzz_snapshot tests/fuzz/corpus/snapshot
 */
#include <stdlib.h>
#include <string.h>

#include "vault/snapshot_internal.h"

#define MUST(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

#define BLOCKS_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static tr_secret private_key, key;
static tr_snapshot_envelope envelopes[TR_SNAPSHOT_KINDS];

/* ---- sinks and sources ---- */

static tr_status take(void *context, tr_bytes bytes, tr_error *err) {
    tr_buf_append(context, bytes.data, bytes.len);
    return tr_buf_ok(context, err);
}

static tr_status give(void *context, void *into, size_t room, size_t *got, tr_error *err) {
    tr_bytes *from = context;
    (void)err;
    *got = from->len < room ? from->len : room;
    if (*got > 0)
        memcpy(into, from->data, *got);
    from->data = (const uint8_t *)from->data + *got;
    from->len -= *got;
    return TR_OK;
}

/* Writes each block again. */
static tr_status see_page(void *context, size_t database, uint32_t number, tr_bytes content, tr_error *err) {
    uint8_t front[6] = {TR_SNAPSHOT_PAGE, (uint8_t)database};
    tr_snapshot_put(front + 2, 4, number);
    tr_buf_append(context, front, sizeof front);
    return take(context, content, err);
}

static tr_status see_file(void *context, const char *name, tr_bytes content, tr_error *err) {
    uint8_t length[4];
    tr_buf_putc(context, TR_SNAPSHOT_FILE);
    tr_buf_putc(context, (char)strlen(name));
    tr_buf_puts(context, name);
    tr_snapshot_put(length, sizeof length, content.len);
    tr_buf_append(context, length, sizeof length);
    return take(context, content, err);
}

/* ---- set-up: a head of each kind, with a key that is known ---- */

static void make_envelope(tr_snapshot_kind kind) {
    tr_snapshot_envelope *envelope = &envelopes[kind];
    tr_buf bound = TR_BUF_INIT, sealed = TR_BUF_INIT, out = TR_BUF_INIT;
    tr_snapshot_head *head = &envelope->head;
    *head = (tr_snapshot_head){
        .id = {{1}},
        .kind = kind,
        .base = {{kind == TR_SNAPSHOT_INCREMENTAL || kind == TR_SNAPSHOT_KEY_CHANGES ? 2 : 0}},
        .created_ms = 1,
        .log = {{kind == TR_SNAPSHOT_SEGMENT ? 3 : 0}},
        .log_number = kind == TR_SNAPSHOT_SEGMENT,
        .log_keys_ms = kind == TR_SNAPSHOT_SEGMENT,
        .databases = {{"a.db", 512, 3, 1}, {"b.db", 512, 1, 1}},
        .database_count = 2,
        .master = 1,
        .has_recovery = true};
    MUST(tr_hpke_public(&private_key, head->recovery, NULL) == TR_OK);
    MUST(tr_snapshot_bound(head, &bound, NULL) == TR_OK);
    MUST(tr_hpke_seal(head->recovery, (tr_bytes){TR_SNAPSHOT_INFO, sizeof TR_SNAPSHOT_INFO - 1},
                      (tr_bytes){bound.data, bound.len}, (tr_bytes){key.data, key.len}, &sealed,
                      NULL) == TR_OK);
    MUST(sealed.len == sizeof envelope->sealed);
    memcpy(envelope->sealed, sealed.data, sealed.len);
    tr_buf_puts(&envelope->wrapped, "forty bytes that no master key has wrapp");
    MUST(tr_snapshot_envelope_print(envelope, &out, NULL) == TR_OK);
    tr_buf_clear(&bound);
    tr_buf_clear(&sealed);
    tr_buf_clear(&out);
}

static void set_up(void) {
    uint8_t bytes[32];
    if (key.len > 0)
        return;
    memset(bytes, 7, sizeof bytes);
    MUST(tr_secret_copy(&key, bytes, sizeof bytes, NULL) == TR_OK);
    MUST(tr_secret_copy(&private_key, bytes, sizeof bytes, NULL) == TR_OK);
    for (int kind = 0; kind < TR_SNAPSHOT_KINDS; kind++)
        make_envelope((tr_snapshot_kind)kind);
}

static void seal(tr_snapshot_kind kind, tr_bytes blocks, tr_buf *out) {
    tr_snapshot_envelope *envelope = &envelopes[kind];
    tr_stream_writer *writer;
    MUST(tr_snapshot_envelope_print(envelope, out, NULL) == TR_OK);
    MUST(tr_stream_writer_new(&key, envelope->prefix, (tr_bytes){envelope->sum, sizeof envelope->sum}, take,
                              out, &writer, NULL) == TR_OK);
    MUST(tr_stream_write(writer, blocks, NULL) == TR_OK);
    MUST(tr_stream_end(writer, NULL) == TR_OK);
    tr_stream_writer_free(writer);
}

/* The blocks that were handed out, with their end when all is well. */
static tr_status read_file(tr_bytes file, tr_buf *blocks) {
    tr_snapshot_head head;
    tr_snapshot_reader *reader;
    tr_snapshot_counts counts;
    const tr_snapshot_visitor visitor = {see_page, see_file, blocks};
    uint8_t end[13] = {TR_SNAPSHOT_END};
    tr_status st = tr_snapshot_reader_open_recovery(&private_key, give, &file, &head, &reader, NULL);
    if (st == TR_OK)
        st = tr_snapshot_read(reader, &visitor, &counts, NULL);
    if (st == TR_OK) {
        tr_snapshot_put(end + 1, 8, counts.pages);
        tr_snapshot_put(end + 9, 4, counts.files);
        tr_buf_append(blocks, end, sizeof end);
    }
    tr_snapshot_reader_free(reader);
    return st;
}

/* ---- the four kinds of input ---- */

static void try_file(tr_bytes file) {
    tr_snapshot_head head;
    tr_buf blocks = TR_BUF_INIT;
    tr_bytes again = file;
    (void)tr_snapshot_peek(give, &again, &head, NULL);
    (void)read_file(file, &blocks);
    tr_buf_clear(&blocks);
}

static void try_blocks(tr_bytes blocks) {
    tr_buf file = TR_BUF_INIT, seen = TR_BUF_INIT;
    if (blocks.len == 0 || blocks.len > BLOCKS_MAX)
        return;
    const tr_snapshot_kind kind = *(const uint8_t *)blocks.data % TR_SNAPSHOT_KINDS;
    blocks = (tr_bytes){(const uint8_t *)blocks.data + 1, blocks.len - 1};
    seal(kind, blocks, &file);
    if (read_file((tr_bytes){file.data, file.len}, &seen) == TR_OK)
        MUST(seen.len == blocks.len && memcmp(seen.data, blocks.data, seen.len) == 0);
    tr_buf_clear(&file);
    tr_buf_clear(&seen);
}

static void try_head(tr_bytes json) {
    uint8_t fixed[14] = TR_SNAPSHOT_MAGIC, prefix[TR_STREAM_PREFIX_LEN] = {0}, sum[TR_SHA256_LEN];
    tr_snapshot_head head;
    tr_buf file = TR_BUF_INIT;
    tr_snapshot_put(fixed + 8, 2, TR_SNAPSHOT_FORMAT);
    tr_snapshot_put(fixed + 10, 4, json.len);
    tr_buf_append(&file, fixed, sizeof fixed);
    tr_buf_append(&file, json.data, json.len);
    tr_buf_append(&file, prefix, sizeof prefix);
    MUST(tr_sha256(&(tr_bytes){file.data, file.len}, 1, sum, NULL) == TR_OK);
    tr_buf_append(&file, sum, sizeof sum);
    tr_bytes from = {file.data, file.len};
    if (tr_snapshot_peek(give, &from, &head, NULL) == TR_OK)
        MUST(!tr_snapshot_head_fault(&head));
    tr_buf_clear(&file);
}

static void try_changes(const uint8_t *data, size_t size) {
    static const uint8_t no_blocks[13] = {TR_SNAPSHOT_END};
    tr_buf file = TR_BUF_INIT, before = TR_BUF_INIT, seen = TR_BUF_INIT;
    seal(TR_SNAPSHOT_INCREMENTAL, (tr_bytes){no_blocks, sizeof no_blocks}, &file);
    tr_buf_append(&before, file.data, file.len);
    for (; size >= 3; data += 3, size -= 3)
        file.data[tr_snapshot_get(data, 2) % file.len] ^= (char)data[2];
    const bool same = memcmp(file.data, before.data, file.len) == 0;
    MUST((read_file((tr_bytes){file.data, file.len}, &seen) == TR_OK) == same);
    tr_buf_clear(&file);
    tr_buf_clear(&before);
    tr_buf_clear(&seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    set_up();
    if (size == 0)
        return 0;
    const tr_bytes rest = {data + 1, size - 1};
    switch (data[0] % 4) {
    case 0: try_file(rest); break;
    case 1: try_blocks(rest); break;
    case 2: try_head(rest); break;
    default: try_changes(data + 1, size - 1); break;
    }
    return 0;
}
