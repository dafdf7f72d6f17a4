/* A growable byte buffer. Zero-initialise it (TR_BUF_INIT); tr_buf_clear() wipes and frees it.
 *
 * An append that cannot get memory, or would pass TR_BUF_MAX bytes, sets `failed`, keeps what was there, and
 * makes all later appends do nothing: a caller may append freely and check tr_buf_ok() once. `data` is always
 * NUL-terminated once anything was appended (the NUL does not count in `len`).
 */
#ifndef TR_BASE_BUF_H
#define TR_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define TR_BUF_MAX ((size_t)256 * 1024 * 1024)

typedef struct tr_buf {
    char *data;
    size_t len;
    size_t cap;
    bool failed;
} tr_buf;

#define TR_BUF_INIT ((tr_buf){0})

void tr_buf_append(tr_buf *b, const void *bytes, size_t n);
void tr_buf_puts(tr_buf *b, const char *text);
void tr_buf_putc(tr_buf *b, char c);
void tr_buf_printf(tr_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Append `n` bytes as a JSON string, quotes included. The bytes must be UTF-8. */
void tr_buf_json_string(tr_buf *b, const char *text, size_t n);
/* Make room for n more bytes and return where they go, or NULL; add to b->len what was used. */
char *tr_buf_reserve(tr_buf *b, size_t n);
/* TR_OK, or TR_E_NOMEM if any append failed. */
tr_status tr_buf_ok(const tr_buf *b, tr_error *err);
/* Forget the content (wiping it) but keep the memory. */
void tr_buf_reset(tr_buf *b);
/* Wipe and free; the buffer is again as TR_BUF_INIT. */
void tr_buf_clear(tr_buf *b);
/* Hand the bytes to the caller (malloc'ed, NUL-terminated; free()); the buffer is again as TR_BUF_INIT. NULL
 * if failed. */
char *tr_buf_take(tr_buf *b);

#endif
