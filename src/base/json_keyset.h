/* A set of strings that it does not own; zero-initialise it. Shared by the json_*.c files only. */
#ifndef TR_BASE_JSON_KEYSET_H
#define TR_BASE_JSON_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct tr_json_keyset {
    const char **slots;
    size_t capacity; /* a power of two */
    size_t count;
    uint64_t key[2];
} tr_json_keyset;

/* *added is false when the name was there. The name must live as long as the set. */
tr_status tr_json_keyset_add(tr_json_keyset *set, const char *name, bool *added);
void tr_json_keyset_clear(tr_json_keyset *set);

#endif
