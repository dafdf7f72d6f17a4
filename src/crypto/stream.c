#include "crypto/stream.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/gcm.h"

#define SEALED_CHUNK (TR_STREAM_CHUNK + TR_STREAM_TAG_LEN)

/* What both ends share: how the next chunk is to be sealed or opened. */
typedef struct sealer {
    tr_secret key;
    uint8_t nonce[TR_GCM_NONCE_LEN]; /* its prefix is set once, the rest for each chunk */
    uint8_t ad[TR_STREAM_AD_MAX];
    size_t ad_len;
    uint64_t number; /* of the next chunk */
    tr_status failed;
    bool ended;
} sealer;

struct tr_stream_writer {
    sealer sealer;
    tr_stream_sink_fn sink;
    void *context;
    size_t used;
    uint8_t chunk[SEALED_CHUNK];
};

struct tr_stream_reader {
    sealer sealer;
    tr_stream_source_fn source;
    void *context;
    size_t at, used; /* plaintext of the chunk that is open */
    bool ahead;      /* `next` is the first byte of the next chunk */
    uint8_t next;
    uint8_t chunk[SEALED_CHUNK + 1]; /* one byte more tells whether something follows */
};

static tr_status set_up(sealer *s, const tr_secret *key, const uint8_t prefix[TR_STREAM_PREFIX_LEN],
                        tr_bytes ad, tr_error *err) {
    if (key->len != TR_STREAM_KEY_LEN)
        return tr_fail(err, TR_E_INTERNAL, NULL, "a key of %zu bytes instead of 32", key->len);
    if (ad.len > sizeof s->ad)
        return tr_fail(err, TR_E_INTERNAL, NULL, "too much associated data for a stream");
    memcpy(s->nonce, prefix, TR_STREAM_PREFIX_LEN);
    if (ad.len)
        memcpy(s->ad, ad.data, ad.len);
    s->ad_len = ad.len;
    return tr_secret_copy(&s->key, key->data, key->len, err);
}

/* The nonce of the next chunk. */
static tr_status advance(sealer *s, bool last, tr_error *err) {
    if (s->number > UINT32_MAX)
        return tr_fail(err, TR_E_TOO_LARGE, NULL, "a sealed stream holds at most 2^32 chunks");
    for (int byte = 0; byte < 4; byte++)
        s->nonce[TR_STREAM_PREFIX_LEN + byte] = (uint8_t)(s->number >> (24 - 8 * byte));
    s->nonce[TR_GCM_NONCE_LEN - 1] = last ? 1 : 0;
    s->number++;
    return TR_OK;
}

/* A failure stays: what follows it must not look whole. */
static tr_status usable(const sealer *s, tr_error *err) {
    return s->failed == TR_OK ? TR_OK : tr_fail(err, s->failed, NULL, "the sealed stream has failed before");
}

/* ---- writing ---- */

tr_status tr_stream_writer_new(const tr_secret *key, const uint8_t prefix[TR_STREAM_PREFIX_LEN], tr_bytes ad,
                               tr_stream_sink_fn sink, void *context, tr_stream_writer **out, tr_error *err) {
    tr_stream_writer *writer = calloc(1, sizeof *writer);
    *out = NULL;
    if (!writer)
        return tr_fail(err, TR_E_NOMEM, NULL, "no memory for a sealed stream");
    tr_status st = set_up(&writer->sealer, key, prefix, ad, err);
    if (st != TR_OK) {
        tr_stream_writer_free(writer);
        return st;
    }
    writer->sink = sink;
    writer->context = context;
    *out = writer;
    return TR_OK;
}

/* Seal what has been gathered, where it lies, and pass it on. */
static tr_status flush(tr_stream_writer *writer, bool last, tr_error *err) {
    sealer *s = &writer->sealer;
    const tr_bytes ad = {s->ad, s->ad_len};
    tr_status st = TR_OK;
    TR_TRY(advance(s, last, err));
    TR_TRY(tr_gcm_encrypt(s->key.data, s->nonce, &ad, 1, (tr_bytes){writer->chunk, writer->used},
                          writer->chunk, err));
    TR_TRY(writer->sink(writer->context, (tr_bytes){writer->chunk, writer->used + TR_STREAM_TAG_LEN}, err));
    writer->used = 0;
out:
    s->failed = st;
    return st;
}

tr_status tr_stream_write(tr_stream_writer *writer, tr_bytes bytes, tr_error *err) {
    const uint8_t *from = bytes.data;
    size_t left = bytes.len;
    tr_status st = usable(&writer->sealer, err);
    if (st == TR_OK && writer->sealer.ended)
        st = tr_fail(err, TR_E_INTERNAL, NULL, "a sealed stream was written to after its end");
    /* A full chunk waits for what follows: it may be the last. */
    while (st == TR_OK && left > 0) {
        if (writer->used == TR_STREAM_CHUNK)
            st = flush(writer, false, err);
        if (st != TR_OK)
            break;
        const size_t room = TR_STREAM_CHUNK - writer->used;
        const size_t n = left < room ? left : room;
        memcpy(writer->chunk + writer->used, from, n);
        writer->used += n;
        from += n;
        left -= n;
    }
    return st;
}

tr_status tr_stream_end(tr_stream_writer *writer, tr_error *err) {
    tr_status st = usable(&writer->sealer, err);
    if (st == TR_OK && writer->sealer.ended)
        return tr_fail(err, TR_E_INTERNAL, NULL, "a sealed stream was ended twice");
    if (st == TR_OK)
        st = flush(writer, true, err);
    writer->sealer.ended = st == TR_OK;
    return st;
}

void tr_stream_writer_free(tr_stream_writer *writer) {
    if (!writer)
        return;
    tr_secret_clear(&writer->sealer.key);
    tr_wipe(writer, sizeof *writer);
    free(writer);
}

/* ---- reading ---- */

tr_status tr_stream_reader_new(const tr_secret *key, const uint8_t prefix[TR_STREAM_PREFIX_LEN], tr_bytes ad,
                               tr_stream_source_fn source, void *context, tr_stream_reader **out,
                               tr_error *err) {
    tr_stream_reader *reader = calloc(1, sizeof *reader);
    *out = NULL;
    if (!reader)
        return tr_fail(err, TR_E_NOMEM, NULL, "no memory for a sealed stream");
    tr_status st = set_up(&reader->sealer, key, prefix, ad, err);
    if (st != TR_OK) {
        tr_stream_reader_free(reader);
        return st;
    }
    reader->source = source;
    reader->context = context;
    *out = reader;
    return TR_OK;
}

/* The next sealed chunk, and one byte more where there is one. */
static tr_status fetch(tr_stream_reader *reader, size_t *len, tr_error *err) {
    size_t n = 0, got = 1;
    if (reader->ahead)
        reader->chunk[n++] = reader->next;
    while (n < sizeof reader->chunk && got > 0) {
        const size_t room = sizeof reader->chunk - n;
        tr_status st = reader->source(reader->context, reader->chunk + n, room, &got, err);
        if (st == TR_OK && got > room)
            st = tr_fail(err, TR_E_INTERNAL, NULL, "a source gave more than there is room for");
        if (st != TR_OK)
            return st;
        n += got;
    }
    *len = n;
    return TR_OK;
}

/* Read and verify the next chunk. It is the last one if, and only if, nothing follows: so a stream that was
 * cut or prolonged is opened under another nonce than it was sealed with. */
static tr_status open_next(tr_stream_reader *reader, tr_error *err) {
    sealer *s = &reader->sealer;
    const tr_bytes ad = {s->ad, s->ad_len};
    size_t len;
    tr_status st = TR_OK;
    reader->at = reader->used = 0;
    TR_TRY(fetch(reader, &len, err));
    reader->ahead = len > SEALED_CHUNK;
    if (reader->ahead) {
        len = SEALED_CHUNK;
        reader->next = reader->chunk[SEALED_CHUNK];
    }
    /* The writer makes an empty last chunk only of an empty stream: there is one form of each stream. */
    if (len < TR_STREAM_TAG_LEN || (len == TR_STREAM_TAG_LEN && s->number > 0))
        TR_TRY(tr_fail(err, TR_E_CORRUPT, NULL, "the sealed stream is cut off"));
    if (advance(s, !reader->ahead, NULL) != TR_OK)
        TR_TRY(tr_fail(err, TR_E_CORRUPT, NULL, "the sealed stream is longer than one can be"));
    st = tr_gcm_decrypt(s->key.data, s->nonce, &ad, 1, (tr_bytes){reader->chunk, len}, reader->chunk, err);
    if (st != TR_OK)
        tr_wipe(reader->chunk, sizeof reader->chunk); /* what did not verify must not be seen */
    if (st == TR_E_CORRUPT)
        TR_TRY(tr_fail(err, st, NULL, "chunk %llu of the sealed stream does not verify",
                       (unsigned long long)(s->number - 1)));
    TR_TRY(st);
    reader->used = len - TR_STREAM_TAG_LEN;
    s->ended = !reader->ahead;
out:
    s->failed = st;
    return st;
}

tr_status tr_stream_read(tr_stream_reader *reader, void *into, size_t room, size_t *got, tr_error *err) {
    uint8_t *to = into;
    tr_status st = usable(&reader->sealer, err);
    *got = 0;
    while (st == TR_OK && *got < room) {
        if (reader->at == reader->used) {
            if (reader->sealer.ended)
                break;
            st = open_next(reader, err);
            continue;
        }
        const size_t here = reader->used - reader->at, wanted = room - *got;
        const size_t n = here < wanted ? here : wanted;
        memcpy(to + *got, reader->chunk + reader->at, n);
        reader->at += n;
        *got += n;
    }
    return st;
}

void tr_stream_reader_free(tr_stream_reader *reader) {
    if (!reader)
        return;
    tr_secret_clear(&reader->sealer.key);
    tr_wipe(reader, sizeof *reader);
    free(reader);
}
