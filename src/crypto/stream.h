/* Authenticated encryption of streams of any length in little memory: the STREAM construction (Hoang,
 * Reyhanitabar, Rogaway, Vizar: Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance,
 * CRYPTO 2015) over AES-256-GCM (SP 800-38D).
 *
 * The plaintext is cut into chunks of 64 KiB; only the last may be shorter, and it is empty only when the
 * whole stream is. Each is sealed by itself and followed by its tag of 16 bytes, under the nonce
 *   prefix[7] | the chunk's number, 4 bytes, big endian, from 0 | 1 for the last chunk, else 0
 * and the caller's associated data. So a chunk opens only at its place in its stream: what is flipped, cut
 * off, repeated, left out, put elsewhere, added at the end or taken from another stream does not verify.
 *
 * A pair of key and prefix seals one stream: whoever calls this makes a fresh key for each.
 *
 * The reader hands out a chunk once that chunk is verified, before it has seen the rest. What is read is a
 * true beginning of what was written, and it is whole only when the end was reached: nothing may be relied on
 * before that.
 */
#ifndef TR_CRYPTO_STREAM_H
#define TR_CRYPTO_STREAM_H

#include "base/secret.h"
#include "crypto/hash.h"

#define TR_STREAM_KEY_LEN    32
#define TR_STREAM_PREFIX_LEN 7
#define TR_STREAM_CHUNK      ((size_t)64 * 1024)
#define TR_STREAM_TAG_LEN    16
#define TR_STREAM_AD_MAX     64 /* bytes of associated data: give a hash of more */

/* Takes all the bytes, or fails. */
typedef tr_status (*tr_stream_sink_fn)(void *context, tr_bytes bytes, tr_error *err);
/* Gives 1 to `room` bytes; *got is 0 only at the end, from then on always. */
typedef tr_status (*tr_stream_source_fn)(void *context, void *into, size_t room, size_t *got, tr_error *err);

typedef struct tr_stream_writer tr_stream_writer;
typedef struct tr_stream_reader tr_stream_reader;

/* Key, prefix and associated data are copied. The sink must live as long as the writer. */
tr_status tr_stream_writer_new(const tr_secret *key, const uint8_t prefix[TR_STREAM_PREFIX_LEN], tr_bytes ad,
                               tr_stream_sink_fn sink, void *context, tr_stream_writer **out, tr_error *err);
/* TR_E_TOO_LARGE above 2^32 chunks (256 TiB). What the sink answers is passed on. After a failure every later
 * call fails too: a stream with a hole is never ended as if it were good. */
tr_status tr_stream_write(tr_stream_writer *writer, tr_bytes bytes, tr_error *err);
/* Seal and write the last chunk. Only now the stream can be read to its end; nothing can be added. */
tr_status tr_stream_end(tr_stream_writer *writer, tr_error *err);
/* Wipes and frees; without tr_stream_end before, what was written stays a stream that is cut off. NULL is
 * fine. */
void tr_stream_writer_free(tr_stream_writer *writer);

/* As for the writer. Reads nothing yet. */
tr_status tr_stream_reader_new(const tr_secret *key, const uint8_t prefix[TR_STREAM_PREFIX_LEN], tr_bytes ad,
                               tr_stream_source_fn source, void *context, tr_stream_reader **out,
                               tr_error *err);
/* Up to `room` bytes of plaintext; *got is less than `room` only at the end of the stream, where the last
 * chunk has been verified and the source has nothing more. TR_E_CORRUPT: a chunk does not verify, the stream
 * is cut off, or something follows it. What the source answers is passed on. After a failure every later call
 * fails too. */
tr_status tr_stream_read(tr_stream_reader *reader, void *into, size_t room, size_t *got, tr_error *err);
/* Wipes and frees. NULL is fine. */
void tr_stream_reader_free(tr_stream_reader *reader);

#endif
