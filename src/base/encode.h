/* Text forms of bytes (RFC 4648 base64, base64url without padding, hex) and UTF-8 (RFC 3629). */
#ifndef TR_BASE_ENCODE_H
#define TR_BASE_ENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define TR_BASE64URL_LEN(n) (((n)*4 + 2) / 3) /* characters for n bytes, without NUL */

/* Write TR_BASE64URL_LEN(n) characters and a NUL. */
void tr_base64url_encode(const void *bytes, size_t n, char *out);
/* Decode strictly (no padding, no white space, unused bits zero). *n is the room in `out` and becomes the
 * length. */
bool tr_base64url_decode(const char *text, size_t len, void *out, size_t *n);
/* Standard base64 with padding, appended to `out`; decode accepts either alphabet, padding whole or none. */
void tr_base64_append(tr_buf *out, const void *bytes, size_t n);
bool tr_base64_decode_any(const char *text, size_t len, tr_buf *out);
/* 2n lower-case characters and NUL. */
void tr_hex_encode(const void *bytes, size_t n, char *out);
bool tr_hex_decode(const char *text, size_t len, void *out, size_t n);

/* The length of the well-formed UTF-8 sequence (RFC 3629) at text[0..left), left > 0; 0 when there is none.
 */
size_t tr_utf8_sequence(const char *text, size_t left);
/* Is it well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF)? */
bool tr_utf8_valid(const char *text, size_t len);
/* The number of code points of well-formed UTF-8. */
size_t tr_utf8_count(const char *text, size_t len);

#endif
