/* A file that is written once, from its beginning: in whole blocks, by a thread of its own, and on its way to
 * the disk while it grows. A write that ends within a page of the file makes the next one wait until the disk
 * has that page, and writes it twice; so blocks are cut at multiples of their size, whatever comes in.
 */
#ifndef TR_VAULT_WRITE_BEHIND_H
#define TR_VAULT_WRITE_BEHIND_H

#include "crypto/hash.h"

/* Used by one thread at a time. */
typedef struct tr_write_behind tr_write_behind;

/* `fd` is an empty file, the caller's, and must stay open until the end or tr_write_behind_free. What names
 * it in errors, `where`, must live as long. Takes 2 MiB at most, and no thread before there is a whole block.
 */
tr_status tr_write_behind_new(int fd, const char *where, tr_write_behind **out, tr_error *err);
/* Copied. A failure to write shows at a later call, at the latest at the end. */
tr_status tr_write_behind_put(tr_write_behind *w, tr_bytes bytes, tr_error *err);
/* All of it is written, though not flushed; nothing may follow. */
tr_status tr_write_behind_end(tr_write_behind *w, tr_error *err);
/* Without an end before, what is in the file is a beginning. NULL is fine. */
void tr_write_behind_free(tr_write_behind *w);

#endif
