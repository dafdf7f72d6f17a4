/* Compiling a schema: the walk over its subschemas, and places for errors. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vault/jsonschema_internal.h"

/* The base URI of a document that has no $id: never seen by anyone. */
#define DOCUMENT_URI "tresor:/document"

tr_status tr_js_no_memory(tr_error *err) {
    return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
}

/* ---- places ---- */

size_t tr_js_push(tr_js_compiler *c, const char *token) {
    size_t length = c->pointer.len;
    tr_json_pointer_push(&c->pointer, token);
    return length;
}

size_t tr_js_push_index(tr_js_compiler *c, size_t index) {
    size_t length = c->pointer.len;
    tr_buf_printf(&c->pointer, "/%zu", index);
    return length;
}

void tr_js_pop(tr_js_compiler *c, size_t length) {
    if (c->pointer.failed)
        return;
    c->pointer.len = length;
    c->pointer.data[length] = '\0';
}

tr_status tr_js_refuse(tr_js_compiler *c, const char *token, const char *format, ...) {
    char what[sizeof c->err->what];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    size_t length = c->pointer.len;
    if (token)
        tr_js_push(c, token);
    tr_buf where = TR_BUF_INIT;
    tr_buf_append(&where, c->pointer.data, c->pointer.len);
    tr_js_pop(c, length);
    tr_fail(c->err, TR_E_VALIDATION, tr_json_pointer_clip(&where), "%s", what);
    tr_buf_clear(&where);
    return TR_E_VALIDATION;
}

/* ---- nodes ---- */

tr_js_check *tr_js_add_check(tr_js_compiler *c, tr_js_node *node, const char *keyword, tr_js_check_fn *run) {
    tr_js_check *check = tr_arena_alloc(&c->schema->arena, sizeof *check);
    if (!check) {
        tr_js_no_memory(c->err);
        return NULL;
    }
    check->keyword = keyword;
    check->run = run;
    *node->checks_end = check;
    node->checks_end = &check->next;
    return check;
}

/* NULL: *st says why. */
static tr_js_node *new_node(tr_js_compiler *c, const cJSON *json, const char *keyword, tr_status *st) {
    tr_schema *schema = c->schema;
    if (schema->node_count == TR_JS_MAX_NODES) {
        *st = tr_js_refuse(c, NULL, "the schema has more than %d subschemas", TR_JS_MAX_NODES);
        return NULL;
    }
    tr_js_node *node = tr_arena_alloc(&schema->arena, sizeof *node);
    *st = node ? TR_OK : tr_js_no_memory(c->err);
    if (!node)
        return NULL;
    node->json = json;
    node->keyword = keyword;
    node->fixed = -1;
    node->checks_end = &node->checks;
    node->pointer = tr_arena_copy(&c->scratch, c->pointer.data, c->pointer.len);
    if (!node->pointer || tr_map_put(&c->nodes, &node->json, sizeof(const cJSON *), node) < 0) {
        *st = tr_js_no_memory(c->err);
        return NULL;
    }
    node->id = (uint32_t)schema->node_count++;
    *c->nodes_end = node;
    c->nodes_end = &node->next;
    return node;
}

static tr_status enter_id(tr_js_compiler *c, const cJSON *json) {
    const cJSON *id = tr_json_member(json, "$id");
    if (!id)
        return TR_OK;
    if (!cJSON_IsString(id))
        return tr_js_refuse(c, "$id", "$id must be a string");
    return tr_js_enter_resource(c, json, id->valuestring);
}

static tr_status compile_object(tr_js_compiler *c, const cJSON *json, tr_js_node *node) {
    tr_js_resource *outer = c->resource;
    tr_status st = enter_id(c, json);
    node->resource = c->resource->id;
    if (st == TR_OK && c->hooks)
        st = c->hooks->node(c->hooks->context, json, node, c->err);
    if (st == TR_OK)
        st = tr_js_compile_keywords(c, node, json);
    c->resource = outer;
    return st;
}

tr_status tr_js_compile_node(tr_js_compiler *c, const cJSON *json, const char *keyword, tr_js_node **out) {
    tr_js_node *node = tr_map_get(&c->nodes, &json, sizeof json);
    tr_status st = TR_OK;
    *out = node;
    if (node)
        return TR_OK;
    if (!cJSON_IsObject(json) && !cJSON_IsBool(json))
        return tr_js_refuse(c, NULL, "a schema must be an object or a boolean");
    if (c->nesting == TR_JS_MAX_NESTING)
        return tr_js_refuse(c, NULL, "the schema is nested too deep");
    *out = node = new_node(c, json, keyword, &st);
    if (!node)
        return st;
    node->resource = c->resource->id;
    if (cJSON_IsBool(json)) {
        node->fixed = cJSON_IsTrue(json) ? 1 : 0;
        return TR_OK;
    }
    c->nesting++;
    st = compile_object(c, json, node);
    c->nesting--;
    return st;
}

/* ---- the whole ---- */

static tr_status first_resource(tr_js_compiler *c, const cJSON *root) {
    tr_js_resource *resource = tr_arena_alloc(&c->scratch, sizeof *resource);
    if (!resource)
        return tr_js_no_memory(c->err);
    *resource = (tr_js_resource){DOCUMENT_URI, "", root, c->resource_count++};
    c->resource = resource;
    return tr_map_put(&c->resources, DOCUMENT_URI, strlen(DOCUMENT_URI), resource) < 0
               ? tr_js_no_memory(c->err)
               : TR_OK;
}

static int by_name_and_resource(const void *a, const void *b) {
    const tr_js_dynamic *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->resource > y->resource) - (x->resource < y->resource);
}

tr_js_node *tr_js_find_dynamic(const tr_schema *schema, const char *name, uint32_t resource) {
    const tr_js_dynamic wanted = {.name = name, .resource = resource};
    const tr_js_dynamic *found = NULL;
    if (schema->dynamic_count > 0)
        found =
            bsearch(&wanted, schema->dynamics, schema->dynamic_count, sizeof wanted, by_name_and_resource);
    return found ? found->node : NULL;
}

/* What pointed into the caller's tree or into the scratch memory ends with the compilation. */
static void forget_scratch(tr_schema *schema) {
    for (tr_js_node *node = schema->nodes; node; node = node->next) {
        node->json = NULL;
        node->pointer = NULL;
    }
}

static tr_status compile_all(tr_js_compiler *c, const cJSON *root, const char *pointer) {
    const cJSON *json = *pointer ? tr_json_pointer(root, pointer) : root;
    tr_schema *schema = c->schema;
    tr_status st;
    tr_buf_puts(&c->pointer, json ? pointer : "");
    if (!json)
        return tr_js_refuse(c, NULL, "there is no schema at that place");
    TR_TRY(tr_buf_ok(&c->pointer, c->err));
    TR_TRY(first_resource(c, root));
    TR_TRY(tr_js_compile_node(c, json, "schema", &schema->root));
    TR_TRY(tr_js_resolve_all(c));
    TR_TRY(tr_js_refuse_loops(c));
    TR_TRY(tr_buf_ok(&c->pointer, c->err));
    if (schema->dynamic_count > 0)
        qsort(schema->dynamics, schema->dynamic_count, sizeof *schema->dynamics, by_name_and_resource);
    if (c->hooks)
        st = c->hooks->finish(c->hooks->context, schema, c->err);
out:
    return st;
}

tr_status tr_js_compile(const cJSON *root, const char *pointer, const tr_schema_options *options,
                        const tr_js_hooks *hooks, tr_schema **out, tr_error *err) {
    tr_js_compiler c = {.options = *options, .hooks = hooks, .err = err};
    c.pending_end = &c.pending;
    c.schema = calloc(1, sizeof *c.schema);
    if (!c.schema)
        return tr_js_no_memory(err);
    c.nodes_end = &c.schema->nodes;
    tr_status st = compile_all(&c, root, pointer);
    forget_scratch(c.schema);
    tr_arena_clear(&c.scratch);
    tr_map_clear(&c.nodes);
    tr_map_clear(&c.resources);
    tr_map_clear(&c.anchors);
    tr_buf_clear(&c.pointer);
    if (st != TR_OK) {
        tr_schema_free(c.schema);
        return st;
    }
    *out = c.schema;
    return TR_OK;
}

tr_status tr_schema_compile(const cJSON *root, const char *pointer, const tr_schema_options *options,
                            tr_schema **out, tr_error *err) {
    return tr_js_compile(root, pointer, options, NULL, out, err);
}

void tr_schema_free(tr_schema *schema) {
    if (!schema)
        return;
    tr_js_patterns_free(schema->patterns);
    free(schema->dynamics);
    tr_arena_clear(&schema->arena);
    free(schema);
}
