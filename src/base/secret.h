/* Secret bytes: the one type that keys, passphrases and derived keys live in.
 *
 * Memory comes from OpenSSL's secure heap: locked (mlock), kept out of core dumps (MADV_DONTDUMP), between
 * guard pages, wiped when freed. tr_secret_init_heap() is called once by main before any other thread starts;
 * without it (or when mlock is refused) secrets still work and are still wiped, and tr_secret_heap_locked()
 * says false.
 */
#ifndef TR_BASE_SECRET_H
#define TR_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct tr_secret {
    uint8_t *data;
    size_t len;
} tr_secret;

#define TR_SECRET_INIT ((tr_secret){0})

/* Set up the locked heap of `bytes` (a power of two); make the process not dumpable (PR_SET_DUMPABLE,
 * RLIMIT_CORE 0); give OpenSSL guarded memory (base/guarded.h). Before anything else of OpenSSL. */
tr_status tr_secret_init_heap(size_t bytes, tr_error *err);
/* Is it locked, and a part of the guarded memory too? */
bool tr_secret_heap_locked(void);

/* Allocate `len` zero bytes. Wipes what was there. */
tr_status tr_secret_alloc(tr_secret *s, size_t len, tr_error *err);
tr_status tr_secret_copy(tr_secret *s, const void *bytes, size_t len, tr_error *err);
/* Fill with `len` bytes from the system's CSPRNG (RAND_priv_bytes, SP 800-90A). */
tr_status tr_secret_random(tr_secret *s, size_t len, tr_error *err);
/* Read a secret from a file (up to 64 KiB), without one trailing newline. The file must be regular or a FIFO;
 * TR_E_CONFIG names the file if it is missing, empty or too large. */
tr_status tr_secret_from_file(tr_secret *s, const char *path, tr_error *err);
/* Wipe and free; safe on TR_SECRET_INIT and twice. */
void tr_secret_clear(tr_secret *s);

/* Wipe ordinary memory so that the compiler keeps the wipe (OPENSSL_cleanse). */
void tr_wipe(void *bytes, size_t len);
/* Constant-time equality (CRYPTO_memcmp). */
bool tr_equal_ct(const void *a, const void *b, size_t len);

#endif
