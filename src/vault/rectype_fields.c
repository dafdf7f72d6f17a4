/* A grant's fields: JSON Pointers (RFC 6901) through object members. */
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "vault/rectype_internal.h"

bool tr_rectype_pointer_valid(const char *pointer) {
    size_t len = strlen(pointer);
    if (pointer[0] != '/' || len > TR_RECTYPE_POINTER_MAX || !tr_utf8_valid(pointer, len))
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)pointer[i];
        if (c < 0x20 || c == 0x7f)
            return false;
        if (c == '~' && pointer[i + 1] != '0' && pointer[i + 1] != '1')
            return false;
        if (c == '/' && pointer[i + 1] == '*' && (pointer[i + 2] == '/' || pointer[i + 2] == '\0'))
            return false;
    }
    return true;
}

const char *tr_pointer_descend(const char *pointer, const char *key) {
    if (*pointer++ != '/')
        return NULL;
    for (; *pointer && *pointer != '/'; pointer++, key++) {
        char c = *pointer;
        if (c == '~')
            c = *++pointer == '1' ? '/' : '~';
        if (c != *key)
            return NULL;
    }
    return *key == '\0' ? pointer : NULL;
}

size_t tr_pointers_descend(const char *const *pointers, size_t count, const char *key, const char **out,
                           bool *whole) {
    size_t n = 0;
    *whole = false;
    for (size_t i = 0; i < count; i++) {
        const char *rest = tr_pointer_descend(pointers[i], key);
        if (rest && *rest)
            out[n++] = rest;
        else if (rest)
            *whole = true;
    }
    return n;
}

/* Escapes have one form each, so texts can be compared token by token as they are. */
bool tr_rectype_pointer_covers(const char *const *fields, size_t count, const char *pointer) {
    if (!fields)
        return true;
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(fields[i]);
        if (tr_rectype_pointer_valid(fields[i]) && strncmp(fields[i], pointer, len) == 0 &&
            (pointer[len] == '\0' || pointer[len] == '/'))
            return true;
    }
    return false;
}

/* ---- patches ---- */

/* `strict`: data (NULL when nothing is there) is looked at too. */
static bool within(const char *const *pointers, size_t count, const cJSON *patch, bool strict,
                   const cJSON *data) {
    const cJSON *change;
    bool all = true;
    const char **below = malloc((count ? count : 1) * sizeof *below);
    if (!below)
        return false;
    cJSON_ArrayForEach(change, patch) {
        bool whole;
        size_t n = tr_pointers_descend(pointers, count, change->string, below, &whole);
        if (whole)
            continue;
        const cJSON *there = strict ? tr_json_member(data, change->string) : NULL;
        /* {} above a field would make an object and touch no field. */
        all = n > 0 && cJSON_IsObject(change) && change->child && (!there || cJSON_IsObject(there)) &&
              within(below, n, change, strict, there);
        if (!all)
            break;
    }
    free(below);
    return all;
}

static bool patch_within(const char *const *fields, size_t count, const cJSON *patch, bool strict,
                         const cJSON *data) {
    if (!fields)
        return true;
    if (!cJSON_IsObject(patch) || (strict && !cJSON_IsObject(data)))
        return false;
    const char **valid = malloc((count ? count : 1) * sizeof *valid);
    size_t n = 0;
    if (!valid)
        return false;
    for (size_t i = 0; i < count; i++)
        if (tr_rectype_pointer_valid(fields[i]))
            valid[n++] = fields[i];
    bool all = within(valid, n, patch, strict, data);
    free(valid);
    return all;
}

bool tr_rectype_patch_within(const char *const *fields, size_t count, const cJSON *patch) {
    return patch_within(fields, count, patch, false, NULL);
}

bool tr_rectype_patch_within_data(const char *const *fields, size_t count, const cJSON *patch,
                                  const cJSON *data) {
    return patch_within(fields, count, patch, true, data);
}
