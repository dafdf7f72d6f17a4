#include "vault/jsonschema_arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE  4096
#define FIRST_SLOTS 64

struct tr_arena_block {
    tr_arena_block *next;
    size_t used;
    size_t size;
    alignas(max_align_t) unsigned char bytes[];
};

void *tr_arena_alloc(tr_arena *arena, size_t size) {
    const size_t unit = alignof(max_align_t);
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + unit - 1) / unit * unit;
    tr_arena_block *block = arena->blocks;
    if (!block || block->size - block->used < size) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        block = calloc(1, sizeof *block + room);
        if (!block)
            return NULL;
        block->size = room;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *memory = block->bytes + block->used;
    block->used += size;
    return memory;
}

void *tr_arena_array(tr_arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count ? count : 1, size, &bytes))
        return NULL;
    return tr_arena_alloc(arena, bytes);
}

char *tr_arena_copy(tr_arena *arena, const char *text, size_t len) {
    char *copy = tr_arena_alloc(arena, len + 1);
    if (copy)
        memcpy(copy, text, len);
    return copy;
}

void tr_arena_clear(tr_arena *arena) {
    while (arena->blocks) {
        tr_arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}

/* ---- map ---- */

/* FNV-1a. Whoever writes a schema could make names collide; a schema has so few that it does not matter. */
static uint64_t hash(const void *key, size_t len) {
    const unsigned char *p = key;
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h ^ (h >> 32);
}

static tr_map_slot *slot_of(tr_map_slot *slots, size_t capacity, const void *key, size_t len) {
    size_t i = hash(key, len) & (capacity - 1);
    while (slots[i].key && (slots[i].len != len || memcmp(slots[i].key, key, len) != 0))
        i = (i + 1) & (capacity - 1);
    return &slots[i];
}

static int grow(tr_map *map) {
    size_t capacity = map->capacity ? map->capacity * 2 : FIRST_SLOTS;
    tr_map_slot *slots = calloc(capacity, sizeof *slots);
    if (!slots)
        return -1;
    for (size_t i = 0; i < map->capacity; i++) {
        const tr_map_slot *old = &map->slots[i];
        if (old->key)
            *slot_of(slots, capacity, old->key, old->len) = *old;
    }
    free(map->slots);
    map->slots = slots;
    map->capacity = capacity;
    return 0;
}

void *tr_map_get(const tr_map *map, const void *key, size_t len) {
    return map->capacity ? slot_of(map->slots, map->capacity, key, len)->value : NULL;
}

int tr_map_put(tr_map *map, const void *key, size_t len, void *value) {
    if (map->count * 2 >= map->capacity && grow(map) != 0)
        return -1;
    tr_map_slot *slot = slot_of(map->slots, map->capacity, key, len);
    if (slot->key)
        return 0;
    *slot = (tr_map_slot){key, len, value};
    map->count++;
    return 1;
}

void tr_map_clear(tr_map *map) {
    free(map->slots);
    *map = (tr_map){0};
}
