/* Memory that is given back all at once, and a map from bytes to pointers in it. Shared by the jsonschema_*.c
 * files and the record types. */
#ifndef TR_VAULT_JSONSCHEMA_ARENA_H
#define TR_VAULT_JSONSCHEMA_ARENA_H

#include <stddef.h>
#include <stdint.h>

typedef struct tr_arena_block tr_arena_block;

/* Zero-initialise it. */
typedef struct tr_arena {
    tr_arena_block *blocks;
} tr_arena;

/* Zeroed memory, aligned for any object; NULL when there is none. */
void *tr_arena_alloc(tr_arena *arena, size_t size);
void *tr_arena_array(tr_arena *arena, size_t count, size_t size); /* count 0 is taken as 1 */
char *tr_arena_copy(tr_arena *arena, const char *text, size_t len);
void tr_arena_clear(tr_arena *arena);

typedef struct tr_map_slot {
    const void *key;
    size_t len;
    void *value;
} tr_map_slot;

/* Zero-initialise it. Keys and values belong to the caller. */
typedef struct tr_map {
    tr_map_slot *slots;
    size_t capacity; /* a power of two */
    size_t count;
} tr_map;

void *tr_map_get(const tr_map *map, const void *key, size_t len);
/* 1 when put, 0 when the key was there (it keeps its value), -1 without memory. */
int tr_map_put(tr_map *map, const void *key, size_t len, void *value);
void tr_map_clear(tr_map *map);

#endif
