/* SQLite's and SQLCipher's memory: raw keys, what is made of them, and decrypted pages. */
#ifndef TR_STORE_SQLCIPHER_MEMORY_H
#define TR_STORE_SQLCIPHER_MEMORY_H

#include "base/status.h"

/* Make SQLite use guarded memory (base/guarded.h). Once a process, before any connection; by any thread, any
 * number of times. */
tr_status tr_sqlite_memory(tr_error *err);

#endif
