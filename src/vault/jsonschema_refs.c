/* Schema resources, anchors and references within one document, and the search for endless ones. */
#include <stdlib.h>
#include <string.h>

#include "vault/jsonschema_internal.h"

/* Resolving one reference may compile a place that holds what another one needs. */
#define MAX_ROUNDS 16

/* ---- resources ---- */

tr_status tr_js_enter_resource(tr_js_compiler *c, const cJSON *json, const char *id) {
    const char *uri, *fragment;
    tr_status st = tr_js_uri_resolve(&c->scratch, c->resource->uri, id, &uri, &fragment, c->err);
    if (st != TR_OK)
        return st;
    if (*fragment)
        return tr_js_refuse(c, "$id", "$id must not have a fragment; use $anchor");
    tr_js_resource *resource = tr_arena_alloc(&c->scratch, sizeof *resource);
    char *pointer = tr_arena_copy(&c->scratch, c->pointer.data, c->pointer.len);
    if (!resource || !pointer)
        return tr_js_no_memory(c->err);
    *resource = (tr_js_resource){uri, pointer, json, c->resource_count++};
    int put = tr_map_put(&c->resources, uri, strlen(uri), resource);
    if (put < 0)
        return tr_js_no_memory(c->err);
    if (put == 0)
        return tr_js_refuse(c, "$id", "$id names another part of this document too");
    c->resource = resource;
    return TR_OK;
}

/* ---- anchors ---- */

static bool is_anchor(const char *name) {
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    return *name && strchr(first, *name) &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789-.")] == '\0';
}

static char *anchor_key(tr_js_compiler *c, uint32_t resource, const char *name) {
    tr_buf key = TR_BUF_INIT;
    tr_buf_printf(&key, "%u#%s", (unsigned)resource, name);
    char *copy = key.failed ? NULL : tr_arena_copy(&c->scratch, key.data, key.len);
    tr_buf_clear(&key);
    return copy;
}

static tr_status add_dynamic(tr_js_compiler *c, tr_js_node *node, const char *name) {
    tr_schema *schema = c->schema;
    char *copy = tr_arena_copy(&schema->arena, name, strlen(name));
    if (!copy)
        return tr_js_no_memory(c->err);
    if (schema->dynamic_count == c->dynamic_room) {
        size_t room = c->dynamic_room ? c->dynamic_room * 2 : 8;
        tr_js_dynamic *more = realloc(schema->dynamics, room * sizeof *more);
        if (!more)
            return tr_js_no_memory(c->err);
        schema->dynamics = more;
        c->dynamic_room = room;
    }
    schema->dynamics[schema->dynamic_count++] = (tr_js_dynamic){copy, node->resource, node};
    return TR_OK;
}

tr_status tr_js_add_anchor(tr_js_compiler *c, tr_js_node *node, const char *keyword, const char *name,
                           bool dynamic) {
    if (!is_anchor(name))
        return tr_js_refuse(
            c, keyword, "%s must be a letter or underscore, then letters, digits, '-', '_', '.'", keyword);
    tr_js_anchor *anchor = tr_arena_alloc(&c->scratch, sizeof *anchor);
    char *key = anchor_key(c, node->resource, name);
    if (!anchor || !key)
        return tr_js_no_memory(c->err);
    *anchor = (tr_js_anchor){key, node, dynamic};
    int put = tr_map_put(&c->anchors, key, strlen(key), anchor);
    if (put < 0)
        return tr_js_no_memory(c->err);
    tr_js_anchor *other = put == 0 ? tr_map_get(&c->anchors, key, strlen(key)) : NULL;
    if (other && other->node != node)
        return tr_js_refuse(c, keyword, "%s names another place of this resource too", keyword);
    if (other)
        other->dynamic = other->dynamic || dynamic;
    return dynamic ? add_dynamic(c, node, name) : TR_OK;
}

/* ---- references ---- */

tr_status tr_js_add_pending(tr_js_compiler *c, tr_js_node *node, tr_js_check *check, const char *reference) {
    tr_js_pending *pending = tr_arena_alloc(&c->scratch, sizeof *pending);
    if (!pending)
        return tr_js_no_memory(c->err);
    pending->owner = node;
    pending->check = check;
    *c->pending_end = pending;
    c->pending_end = &pending->next;
    return tr_js_uri_resolve(&c->scratch, c->resource->uri, reference, &pending->uri, &pending->fragment,
                             c->err);
}

/* One token of a JSON Pointer into `out`, which has room for it; what follows, or NULL when it is not one. */
static const char *pointer_token(const char *at, char *out) {
    for (at++; *at && *at != '/'; at++) {
        char ch = *at;
        if (ch == '~') {
            ch = *++at;
            if (ch != '0' && ch != '1')
                return NULL;
            ch = ch == '0' ? '~' : '/';
        }
        *out++ = ch;
    }
    *out = '\0';
    return at;
}

static const cJSON *step(const cJSON *json, const char *token) {
    if (!cJSON_IsArray(json))
        return tr_json_member(json, token);
    char pointer[16] = "/";
    if (strlen(token) > 9)
        return NULL;
    strcat(pointer, token);
    return tr_json_pointer(json, pointer);
}

/* Walk to the place; c->pointer and c->resource follow. *json is NULL when there is none. */
static tr_status walk(tr_js_compiler *c, const tr_js_resource *from, const char *fragment,
                      const cJSON **json) {
    char *token = malloc(strlen(fragment) + 1);
    if (!token)
        return tr_js_no_memory(c->err);
    *json = from->json;
    for (const char *at = fragment; *at && *json;) {
        at = pointer_token(at, token);
        *json = at ? step(*json, token) : NULL;
        if (!at || !*json)
            break;
        tr_js_push(c, token);
        /* Inside a schema resource of its own, its $id is the base. */
        const char *id = *at ? tr_json_string(*json, "$id") : NULL;
        const tr_js_node *known = id ? tr_map_get(&c->nodes, json, sizeof *json) : NULL;
        if (known) {
            const char *uri, *rest;
            tr_status st = tr_js_uri_resolve(&c->scratch, c->resource->uri, id, &uri, &rest, c->err);
            if (st != TR_OK) {
                free(token);
                return st;
            }
            tr_js_resource *inner = tr_map_get(&c->resources, uri, strlen(uri));
            c->resource = inner ? inner : c->resource;
        }
    }
    free(token);
    return TR_OK;
}

/* The node at a place; it is compiled when nothing led there before. */
static tr_status node_at(tr_js_compiler *c, tr_js_resource *from, const tr_js_pending *p, tr_js_node **out) {
    const cJSON *json = NULL;
    c->resource = from;
    tr_js_pop(c, 0);
    tr_buf_puts(&c->pointer, from->pointer);
    tr_status st = walk(c, from, p->fragment, &json);
    return st == TR_OK && json ? tr_js_compile_node(c, json, p->check->keyword, out) : st;
}

/* *out stays NULL while the target is not known. */
static tr_status find_target(tr_js_compiler *c, const tr_js_pending *p, tr_js_node **out, bool *dynamic) {
    tr_js_resource *resource = tr_map_get(&c->resources, p->uri, strlen(p->uri));
    *out = NULL;
    *dynamic = false;
    if (!resource)
        return TR_OK;
    if (*p->fragment == '\0' || *p->fragment == '/')
        return node_at(c, resource, p, out);
    char *key = anchor_key(c, resource->id, p->fragment);
    if (!key)
        return tr_js_no_memory(c->err);
    const tr_js_anchor *anchor = tr_map_get(&c->anchors, key, strlen(key));
    if (anchor) {
        *out = anchor->node;
        *dynamic = anchor->dynamic;
    }
    return TR_OK;
}

static tr_status settle(tr_js_compiler *c, tr_js_pending *p, bool *progress) {
    tr_js_node *target;
    bool dynamic;
    tr_status st = find_target(c, p, &target, &dynamic);
    if (st != TR_OK || !target)
        return st;
    tr_js_edge *edge = tr_arena_alloc(&c->schema->arena, sizeof *edge);
    if (!edge)
        return tr_js_no_memory(c->err);
    bool by_scope = dynamic && strcmp(p->check->keyword, "$dynamicRef") == 0;
    p->check->of.reference.node = target;
    if (by_scope && !(p->check->of.reference.dynamic =
                          tr_arena_copy(&c->schema->arena, p->fragment, strlen(p->fragment))))
        return tr_js_no_memory(c->err);
    *edge = (tr_js_edge){p->owner->edges, target, by_scope ? p->check : NULL};
    p->owner->edges = edge;
    if (!by_scope && !p->owner->ref)
        p->owner->ref = target;
    p->done = *progress = true;
    return TR_OK;
}

static tr_status refuse_at(tr_js_compiler *c, const tr_js_node *node, const char *token, const char *what) {
    tr_js_pop(c, 0);
    tr_buf_puts(&c->pointer, node->pointer);
    return tr_js_refuse(c, token, "%s", what);
}

static tr_status refuse_unresolved(tr_js_compiler *c, const tr_js_pending *p) {
    bool here = tr_map_get(&c->resources, p->uri, strlen(p->uri)) != NULL;
    return refuse_at(c, p->owner, p->check->keyword,
                     here ? "the reference leads to a place that is not in this document"
                          : "references to other documents are not taken");
}

tr_status tr_js_resolve_all(tr_js_compiler *c) {
    bool progress = true;
    const tr_js_pending *waiting = NULL;
    for (int round = 0; progress && round < MAX_ROUNDS; round++) {
        progress = false;
        waiting = NULL;
        for (tr_js_pending *p = c->pending; p; p = p->next) {
            tr_status st = p->done ? TR_OK : settle(c, p, &progress);
            if (st != TR_OK)
                return st;
            if (!p->done && !waiting)
                waiting = p;
        }
    }
    return waiting ? refuse_unresolved(c, waiting) : TR_OK;
}

/* ---- endless references ---- */

enum { NEW, OPEN, DONE };

/* Depth first over what applies to one and the same value, without recursion: the way back is in the nodes.
 */
static tr_status visit(tr_js_compiler *c, tr_js_node *node) {
    node->colour = OPEN;
    node->to_visit = node->edges;
    node->height = 1;
    for (;;) {
        const tr_js_edge *edge = node->to_visit;
        if (!edge) {
            tr_js_node *back = node->came_from;
            node->colour = DONE;
            if (node->height > TR_JS_MAX_IN_PLACE)
                return refuse_at(c, node, NULL,
                                 "too many subschemas apply to one value, one through the other");
            if (!back)
                return TR_OK;
            if (back->height <= node->height)
                back->height = (uint16_t)(node->height + 1);
            node = back;
            continue;
        }
        node->to_visit = edge->next;
        /* Where a $dynamicRef leads is known only while validating; there the depth is bounded. */
        if (edge->dynamic)
            continue;
        tr_js_node *next = edge->to;
        if (next->colour == OPEN)
            return refuse_at(c, node, NULL,
                             "the schema refers to itself without end, for one and the same value");
        if (next->colour == DONE) {
            if (node->height <= next->height)
                node->height = (uint16_t)(next->height + 1);
            continue;
        }
        next->colour = OPEN;
        next->came_from = node;
        next->to_visit = next->edges;
        next->height = 1;
        node = next;
    }
}

tr_status tr_js_refuse_loops(tr_js_compiler *c) {
    tr_status st = TR_OK;
    for (tr_js_node *node = c->schema->nodes; st == TR_OK && node; node = node->next)
        if (node->colour == NEW)
            st = visit(c, node);
    return st;
}
