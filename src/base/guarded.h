/* Memory for libraries that keep keys: OpenSSL's contexts and TLS keys, SQLCipher's keys and its decrypted
 * pages.
 *
 * All of it is kept out of core dumps (MADV_DONTDUMP) and wiped when it is freed. Small blocks, in which keys
 * and key schedules are, come first from a part that is locked (mlock) as far as RLIMIT_MEMLOCK allows, so
 * that they are not written to a swap partition; larger ones, the pages, are not locked.
 *
 * One range of addresses, TR_GUARDED_MAX bytes, is cut into slabs of blocks of one size; what is larger than
 * the largest block is mapped for itself. Which slab a block belongs to, and so its size, follows from its
 * address: nothing lies between the blocks that an overrun could change. Under AddressSanitizer memory is
 * malloc's, wiped still, so that the sanitizer sees what the libraries do with it.
 *
 * Our own keys live in tr_secret, not here.
 */
#ifndef TR_BASE_GUARDED_H
#define TR_BASE_GUARDED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

#define TR_GUARDED_MAX                                                                                       \
    ((size_t)8 * 1024 * 1024 * 1024) /* of addresses: enough for 4096 threads' connections */

/* Reserve the range; once a process, whoever calls first. TR_E_NOMEM when the system refuses. */
tr_status tr_guarded_init(tr_error *err);
/* How much of it is locked, in bytes; 0 when mlock was refused. */
size_t tr_guarded_locked(void);

/* As malloc, realloc and free, by any thread; `len` 0 gives NULL. What realloc moved away from is wiped too.
 * NULL when there is no memory, or before tr_guarded_init. */
void *tr_guarded_alloc(size_t len);
void *tr_guarded_realloc(void *block, size_t len);
void tr_guarded_free(void *block);
/* What fits into a block, and into one that would be given for `len`. */
size_t tr_guarded_size(const void *block);
size_t tr_guarded_roundup(size_t len);

/* Make OpenSSL use it. TR_E_INTERNAL when OpenSSL has memory already: call it before anything else of
 * OpenSSL. */
tr_status tr_guarded_openssl(tr_error *err);

#endif
