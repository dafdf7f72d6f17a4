/* Trees: members, pointers (RFC 6901), equality, merge patch (RFC 7396). */
#include <stdlib.h>
#include <string.h>

#include "base/json_internal.h"

#define POINTER_TOKEN_MAX 100

/* ---- members ---- */

const cJSON *tr_json_member(const cJSON *object, const char *name) {
    const cJSON *child;
    if (!cJSON_IsObject(object))
        return NULL;
    cJSON_ArrayForEach(child, object) {
        if (strcmp(child->string, name) == 0)
            return child;
    }
    return NULL;
}

const char *tr_json_string(const cJSON *object, const char *name) {
    const cJSON *member = tr_json_member(object, name);
    return cJSON_IsString(member) ? member->valuestring : NULL;
}

bool tr_json_bool(const cJSON *object, const char *name, bool otherwise) {
    const cJSON *member = tr_json_member(object, name);
    return cJSON_IsBool(member) ? cJSON_IsTrue(member) : otherwise;
}

bool tr_json_int(const cJSON *object, const char *name, int64_t *value) {
    const cJSON *member = tr_json_member(object, name);
    bool fits = false;
    return cJSON_IsNumber(member) && tr_json_is_integer(member, &fits, value) && fits;
}

/* ---- pointers ---- */

/* Read one token of a pointer into `out` (of the pointer's length + 1); returns what follows it, or NULL. */
static const char *pointer_token(const char *pointer, char *out) {
    if (*pointer++ != '/')
        return NULL;
    for (; *pointer && *pointer != '/'; pointer++) {
        char c = *pointer;
        if (c == '~') {
            c = *++pointer;
            if (c != '0' && c != '1')
                return NULL;
            c = c == '0' ? '~' : '/';
        }
        *out++ = c;
    }
    *out = '\0';
    return pointer;
}

static const cJSON *array_item(const cJSON *array, const char *token) {
    size_t index = 0, len = strlen(token);
    if (len == 0 || len > 9 || (token[0] == '0' && len > 1))
        return NULL;
    for (; *token; token++) {
        if (*token < '0' || *token > '9')
            return NULL;
        index = index * 10 + (size_t)(*token - '0');
    }
    const cJSON *child = array->child;
    while (child && index-- > 0)
        child = child->next;
    return child;
}

const cJSON *tr_json_pointer(const cJSON *root, const char *pointer) {
    char *token = malloc(strlen(pointer) + 1);
    const cJSON *node = token ? root : NULL;
    while (node && *pointer) {
        pointer = pointer_token(pointer, token);
        if (!pointer)
            node = NULL;
        else
            node = cJSON_IsArray(node) ? array_item(node, token) : tr_json_member(node, token);
    }
    free(token);
    return node;
}

void tr_json_pointer_push(tr_buf *pointer, const char *token) {
    tr_buf_putc(pointer, '/');
    size_t len = strlen(token);
    if (len > POINTER_TOKEN_MAX) {
        for (len = POINTER_TOKEN_MAX; len > 0 && ((unsigned char)token[len] & 0xc0) == 0x80;)
            len--; /* not inside a code point */
    }
    for (size_t i = 0; i < len; i++) {
        if (token[i] == '~')
            tr_buf_puts(pointer, "~0");
        else if (token[i] == '/')
            tr_buf_puts(pointer, "~1");
        else
            tr_buf_putc(pointer, token[i]);
    }
}

const char *tr_json_pointer_clip(tr_buf *pointer) {
    const size_t room = sizeof((tr_error *)NULL)->where - 1;
    if (!pointer->data || pointer->failed)
        return "";
    if (pointer->len > room) {
        size_t end = room;
        while (end > 0 && pointer->data[end] != '/')
            end--;
        pointer->data[end] = '\0';
        pointer->len = end;
    }
    return pointer->data;
}

/* ---- equality ---- */

static bool equal(const cJSON *a, const cJSON *b, int depth);

static bool equal_arrays(const cJSON *a, const cJSON *b, int depth) {
    const cJSON *x = a->child, *y = b->child;
    while (x && y && equal(x, y, depth + 1)) {
        x = x->next;
        y = y->next;
    }
    return !x && !y;
}

static bool equal_objects(const cJSON *a, const cJSON *b, int depth) {
    const cJSON **x = NULL, **y = NULL;
    size_t n = 0, m = 0;
    bool same =
        tr_json_sorted_members(a, &x, &n, NULL) == TR_OK && tr_json_sorted_members(b, &y, &m, NULL) == TR_OK;
    same = same && n == m;
    for (size_t i = 0; same && i < n; i++)
        same = strcmp(x[i]->string, y[i]->string) == 0 && equal(x[i], y[i], depth + 1);
    free(x);
    free(y);
    return same;
}

static bool equal(const cJSON *a, const cJSON *b, int depth) {
    int type = a->type & 0xff;
    if (type != (b->type & 0xff) || depth > TR_JSON_TREE_DEPTH)
        return false;
    switch (type) {
    case cJSON_Number: return tr_json_number_compare(a, b) == 0;
    case cJSON_String: return strcmp(a->valuestring, b->valuestring) == 0;
    case cJSON_Array: return equal_arrays(a, b, depth);
    case cJSON_Object: return equal_objects(a, b, depth);
    default: return true;
    }
}

bool tr_json_equal(const cJSON *a, const cJSON *b) {
    return equal(a, b, 0);
}

/* ---- merge patch ---- */

static tr_status no_memory(tr_error *err) {
    return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
}

static tr_status merge(cJSON **target, const cJSON *patch, int depth, tr_error *err);

/* The replacement takes over the place and the name of `old`. */
static tr_status replace_member(cJSON *object, cJSON *old, cJSON *fresh, tr_error *err) {
    size_t n = strlen(old->string) + 1;
    fresh->string = cJSON_malloc(n);
    if (!fresh->string)
        return no_memory(err);
    memcpy(fresh->string, old->string, n);
    return cJSON_ReplaceItemViaPointer(object, old, fresh) ? TR_OK : no_memory(err);
}

/* Apply one member of a patch; `old` is the object's member of that name, or NULL. */
static tr_status merge_member(cJSON *object, cJSON *old, const cJSON *change, int depth, tr_error *err) {
    if (cJSON_IsNull(change)) {
        if (old)
            cJSON_Delete(cJSON_DetachItemViaPointer(object, old));
        return TR_OK;
    }
    if (old && cJSON_IsObject(old) && cJSON_IsObject(change))
        return merge(&old, change, depth + 1, err);
    cJSON *fresh = NULL;
    tr_status st = merge(&fresh, change, depth + 1, err);
    if (st != TR_OK)
        return st;
    if (old)
        st = replace_member(object, old, fresh, err);
    else if (!cJSON_AddItemToObject(object, change->string, fresh))
        st = no_memory(err);
    if (st != TR_OK)
        cJSON_Delete(fresh);
    return st;
}

/* For each member of the patch, the object's member of that name or NULL; *found is malloc'ed. By bisection
 * of a sorted list: one by one, two objects of 100,000 members would take a minute. */
static tr_status find_members(const cJSON *object, const cJSON *patch, const cJSON ***found, tr_error *err) {
    const cJSON **sorted = NULL, **list = NULL, *change;
    size_t count = 0, changes = 0, i = 0;
    tr_status st = TR_OK;
    cJSON_ArrayForEach(change, patch) changes++;
    TR_TRY(tr_json_sorted_members(object, &sorted, &count, err));
    list = calloc(changes ? changes : 1, sizeof *list);
    if (!list)
        TR_TRY(no_memory(err));
    cJSON_ArrayForEach(change, patch) {
        const cJSON **place = count ? bsearch(&change, sorted, count, sizeof *sorted, tr_json_by_name) : NULL;
        list[i++] = place ? *place : NULL;
    }
    *found = list;
out:
    free(sorted);
    return st;
}

static tr_status merge_members(cJSON *object, const cJSON *patch, int depth, tr_error *err) {
    const cJSON **olds = NULL, *change;
    size_t i = 0;
    tr_status st = TR_OK;
    TR_TRY(find_members(object, patch, &olds, err));
    cJSON_ArrayForEach(change, patch)
        TR_TRY(merge_member(object, (cJSON *)(uintptr_t)olds[i++], change, depth, err));
out:
    free(olds);
    return st;
}

static tr_status merge(cJSON **target, const cJSON *patch, int depth, tr_error *err) {
    if (depth > TR_JSON_TREE_DEPTH)
        return tr_fail(err, TR_E_MALFORMED, NULL, "the patch is too deep");
    if (!cJSON_IsObject(patch)) {
        cJSON *copy = cJSON_Duplicate(patch, true);
        if (!copy)
            return no_memory(err);
        if (copy->string) { /* a member's name does not travel with its value */
            cJSON_free(copy->string);
            copy->string = NULL;
        }
        cJSON_Delete(*target);
        *target = copy;
        return TR_OK;
    }
    if (!*target || !cJSON_IsObject(*target)) {
        cJSON *empty = cJSON_CreateObject();
        if (!empty)
            return no_memory(err);
        cJSON_Delete(*target);
        *target = empty;
    }
    return merge_members(*target, patch, depth, err);
}

tr_status tr_json_merge_patch(cJSON **target, const cJSON *patch, tr_error *err) {
    return merge(target, patch, 0, err);
}
