/* A ZIP archive that is written while it is sent (libarchive): nothing of it is kept but the list of its
 * files. Not for other layers.
 *
 * One file at a time: begin, put, end. After a failure only tr_zip_free may follow; the archive is cut then,
 * and no program takes it for a whole one, since its directory comes last.
 */
#ifndef TR_VAULT_PACKAGE_ZIP_H
#define TR_VAULT_PACKAGE_ZIP_H

#include <stdint.h>

#include "base/buf.h"
#include "base/sink.h"
#include "crypto/hash.h"

typedef struct tr_zip tr_zip;

/* `passphrase` NULL: not encrypted; else WinZip's AES-256 (AE-2). `at` (ms) is each file's date. */
tr_status tr_zip_open(tr_sink_fn write, void *sink, const char *passphrase, int64_t at, tr_zip **out,
                      tr_error *err);
/* `name`: with "/" between folders, ASCII. No file may stay empty: libarchive (3.6) encrypts such a one
 * wrongly. */
tr_status tr_zip_begin(tr_zip *zip, const char *name, tr_error *err);
tr_status tr_zip_put(tr_zip *zip, const void *bytes, size_t n, tr_error *err);
/* Size and SHA-256 of the file as it was put. */
tr_status tr_zip_end(tr_zip *zip, int64_t *size, uint8_t sha256[TR_SHA256_LEN], tr_error *err);
/* Write the archive's end. */
tr_status tr_zip_close(tr_zip *zip, tr_error *err);
void tr_zip_free(tr_zip *zip); /* NULL is fine */

#endif
