#include "store/sqlcipher/memory.h"

#include <pthread.h>
#include <sqlite3.h>

#include "base/guarded.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int result = SQLITE_ERROR; /* of `install`, then only read */

static void *alloc(int len) {
    return len > 0 ? tr_guarded_alloc((size_t)len) : NULL;
}

static void *resize(void *block, int len) {
    return tr_guarded_realloc(block, len > 0 ? (size_t)len : 0);
}

static int size(void *block) {
    return block ? (int)tr_guarded_size(block) : 0;
}

/* SQLite rounds each length up and then asks for the size, by which it counts; they have to agree. */
static int round_up(int len) {
    return len > 0 ? (int)tr_guarded_roundup((size_t)len) : 0;
}

static int start(void *context) {
    (void)context;
    return SQLITE_OK;
}

static void stop(void *context) {
    (void)context;
}

/* SQLCipher puts its own functions before these; they do nothing while cipher_memory_security is off. */
static void install(void) {
    static const sqlite3_mem_methods methods = {.xMalloc = alloc,
                                                .xFree = tr_guarded_free,
                                                .xRealloc = resize,
                                                .xSize = size,
                                                .xRoundup = round_up,
                                                .xInit = start,
                                                .xShutdown = stop};
    if (tr_guarded_init(NULL) == TR_OK)
        result = sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

tr_status tr_sqlite_memory(tr_error *err) {
    if (pthread_once(&once, install) != 0 || result != SQLITE_OK)
        return tr_fail(err, TR_E_INTERNAL, NULL, "SQLite does not take the memory it is given");
    return TR_OK;
}
