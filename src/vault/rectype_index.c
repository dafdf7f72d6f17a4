/* Index fields of a type, and what a record has in them. */
#include <stdlib.h>
#include <string.h>

#include "vault/rectype_internal.h"

#define MAX_WAY   300 /* nodes on the way to a field */
#define MAX_TOKEN 100 /* bytes of a member's name in a field */
#define SCALARS   (TR_JS_STRING | TR_JS_NUMBER | TR_JS_INTEGER | TR_JS_BOOLEAN)

/* ---- finding the fields ---- */

typedef struct search {
    tr_rectype *type;
    const tr_schema *schema;
    const bool *leads; /* by node id: to an x-index */
    bool *open;        /* on the way here */
    bool *found;       /* is the field of an x-index */
    size_t depth;
    tr_buf pointer;
    tr_error *err;
} search;

/* The ways that an index field may take. */
static void each_on_the_way(const tr_schema *schema, const tr_js_node *node, tr_visit_fn *visit,
                            void *context) {
    (void)schema;
    if (node->ref)
        visit(context, node->ref);
    for (size_t i = 0; node->members && i < node->members->named_count; i++)
        visit(context, node->members->named[i].node);
    if (node->items && node->items->rest && node->items->prefix_count == 0)
        visit(context, node->items->rest);
}

static tr_status refuse(search *s, const tr_js_node *node, const char *what) {
    return tr_rectype_refuse(s->err, node->pointer, "x-index", what);
}

/* The types a node allows, said by itself or by what it refers to. */
static unsigned types_of(const tr_js_node *node) {
    for (int i = 0; node && !node->types && i < TR_JS_MAX_IN_PLACE; i++)
        node = node->ref;
    return node ? node->types : 0;
}

static tr_status add_field(search *s, const tr_js_node *node) {
    tr_rectype *type = s->type;
    bool ignore_case = (node->mark & TR_MARK_IGNORE_CASE) != 0;
    unsigned types = types_of(node);
    if (!(types & SCALARS) || (types & ~(unsigned)(SCALARS | TR_JS_NULL)))
        return refuse(s, node, "x-index must stand beside a type of string, number, integer or boolean");
    if (ignore_case && !(types & TR_JS_STRING))
        return refuse(s, node, "\"ignore-case\" is for strings");
    if (s->pointer.len > TR_RECTYPE_POINTER_MAX)
        return refuse(s, node, "the index field's pointer is too long");
    s->found[node->id] = true;
    for (size_t i = 0; i < type->field_count; i++) {
        if (strcmp(type->fields[i].pointer, s->pointer.data) != 0)
            continue;
        return type->fields[i].ignore_case == ignore_case
                   ? TR_OK
                   : refuse(s, node, "x-index is said twice, differently");
    }
    if (type->field_count == TR_RECTYPE_INDEX_FIELDS_MAX)
        return refuse(s, node, "a type may have at most 64 index fields");
    char *pointer = strdup(s->pointer.data);
    if (!pointer)
        return tr_fail(s->err, TR_E_NOMEM, NULL, "out of memory");
    type->fields[type->field_count++] = (tr_index_field){pointer, ignore_case};
    return TR_OK;
}

static tr_status visit(search *s, const tr_js_node *node);

static tr_status visit_below(search *s, const tr_js_node *node, const char *token) {
    size_t len = s->pointer.len;
    if (!s->leads[node->id])
        return TR_OK;
    if (strlen(token) > MAX_TOKEN)
        return refuse(s, node, "the name of a member on the way to an index field is too long");
    tr_json_pointer_push(&s->pointer, token);
    tr_status st = tr_buf_ok(&s->pointer, s->err);
    if (st == TR_OK)
        st = visit(s, node);
    if (!s->pointer.failed) {
        s->pointer.len = len;
        s->pointer.data[len] = '\0';
    }
    return st;
}

static tr_status visit(search *s, const tr_js_node *node) {
    const tr_js_members *m = node->members;
    tr_status st = TR_OK;
    if (!s->leads[node->id])
        return TR_OK;
    if (s->open[node->id] || s->depth == MAX_WAY)
        return refuse(s, node, "x-index must not stand inside a type that contains itself");
    s->open[node->id] = true;
    s->depth++;
    if (node->mark & TR_MARK_INDEX)
        st = add_field(s, node);
    if (st == TR_OK && node->ref)
        st = visit(s, node->ref);
    for (size_t i = 0; st == TR_OK && m && i < m->named_count; i++) {
        const tr_js_property *p = &m->named[i];
        if (strcmp(p->name, "*") == 0 && s->leads[p->node->id])
            st = refuse(s, p->node, "a member on the way to an index field cannot be called \"*\"");
        else
            st = visit_below(s, p->node, p->name);
    }
    if (st == TR_OK && node->items && node->items->rest && node->items->prefix_count == 0)
        st = visit_below(s, node->items->rest, "*");
    s->depth--;
    s->open[node->id] = false;
    return st;
}

static int by_pointer(const void *a, const void *b) {
    return strcmp(((const tr_index_field *)a)->pointer, ((const tr_index_field *)b)->pointer);
}

static tr_status refuse_unreached(search *s) {
    for (const tr_js_node *node = s->schema->nodes; node; node = node->next)
        if ((node->mark & TR_MARK_INDEX) && !s->found[node->id])
            return refuse(s, node,
                          "x-index must be reached from the root through properties, items and $ref only");
    return TR_OK;
}

tr_status tr_rectype_find_fields(tr_rectype *type, const tr_schema *schema, tr_error *err) {
    search s = {.type = type, .schema = schema, .err = err};
    bool *leads = NULL;
    tr_status st = tr_rectype_reach(schema, TR_MARK_INDEX, each_on_the_way, &leads, err);
    if (st != TR_OK || !leads)
        return st;
    s.leads = leads;
    s.open = calloc(schema->node_count, sizeof *s.open);
    s.found = calloc(schema->node_count, sizeof *s.found);
    type->fields = calloc(TR_RECTYPE_INDEX_FIELDS_MAX, sizeof *type->fields);
    tr_buf_puts(&s.pointer, "");
    if (!s.open || !s.found || !type->fields || s.pointer.failed)
        st = tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (st == TR_OK)
        st = visit(&s, schema->root);
    if (st == TR_OK)
        st = refuse_unreached(&s);
    if (st == TR_OK && type->field_count > 0)
        qsort(type->fields, type->field_count, sizeof *type->fields, by_pointer);
    free(leads);
    free(s.open);
    free(s.found);
    tr_buf_clear(&s.pointer);
    return st;
}

/* ---- asking for them ---- */

size_t tr_rectype_index_count(const tr_rectype *type) {
    return type->field_count;
}

const char *tr_rectype_index_field(const tr_rectype *type, size_t i) {
    return i < type->field_count ? type->fields[i].pointer : NULL;
}

bool tr_rectype_is_indexed(const tr_rectype *type, const char *field, bool *ignore_case) {
    for (size_t i = 0; i < type->field_count; i++) {
        if (strcmp(type->fields[i].pointer, field) == 0) {
            if (ignore_case)
                *ignore_case = type->fields[i].ignore_case;
            return true;
        }
    }
    return false;
}

bool tr_rectype_same_index(const tr_rectype *a, const tr_rectype *b) {
    bool same = a->field_count == b->field_count;
    for (size_t i = 0; same && i < a->field_count; i++)
        same = a->fields[i].ignore_case == b->fields[i].ignore_case &&
               strcmp(a->fields[i].pointer, b->fields[i].pointer) == 0;
    return same;
}

/* ---- values ---- */

static bool is_indexable(const cJSON *value) {
    return cJSON_IsString(value) || cJSON_IsNumber(value) || cJSON_IsBool(value);
}

/* Append a value's canonical bytes. */
static tr_status put_value(const cJSON *value, bool ignore_case, tr_buf *out, tr_error *err) {
    if (!cJSON_IsString(value)) {
        tr_buf_putc(out, cJSON_IsNumber(value) ? 'n' : 'b');
        return tr_json_print_canonical(value, out, err);
    }
    tr_buf_putc(out, 's');
    size_t start = out->len;
    tr_buf_puts(out, value->valuestring);
    tr_status st = tr_buf_ok(out, err);
    for (size_t i = start; st == TR_OK && ignore_case && i < out->len; i++)
        if (out->data[i] >= 'A' && out->data[i] <= 'Z')
            out->data[i] = (char)(out->data[i] + ('a' - 'A'));
    return st;
}

typedef struct value_place {
    size_t field;
    size_t offset, len;
} value_place;

typedef struct collection {
    const tr_rectype *type;
    tr_buf bytes;
    value_place values[TR_RECTYPE_INDEX_VALUES_MAX];
    size_t count;
    size_t field;
    tr_error *err;
} collection;

static tr_status refuse_many(collection *c) {
    char where[TR_RECTYPE_POINTER_MAX + 1];
    const char *pointer = c->type->fields[c->field].pointer;
    const char *items = strstr(pointer, "/*"); /* the array is the place */
    size_t len = items ? (size_t)(items - pointer) : strlen(pointer);
    memcpy(where, pointer, len);
    where[len] = '\0';
    return tr_fail(c->err, TR_E_VALIDATION, where, "x-index: a record may have at most %d indexed values",
                   TR_RECTYPE_INDEX_VALUES_MAX);
}

static tr_status collect_value(collection *c, const cJSON *value) {
    const size_t offset = c->bytes.len;
    tr_status st = put_value(value, c->type->fields[c->field].ignore_case, &c->bytes, c->err);
    if (st != TR_OK)
        return st;
    const size_t len = c->bytes.len - offset;
    for (size_t i = c->count; i > 0 && c->values[i - 1].field == c->field; i--) {
        const value_place *other = &c->values[i - 1];
        if (other->len == len && memcmp(c->bytes.data + other->offset, c->bytes.data + offset, len) == 0) {
            c->bytes.len = offset;
            return TR_OK;
        }
    }
    if (c->count == TR_RECTYPE_INDEX_VALUES_MAX)
        return refuse_many(c);
    c->values[c->count++] = (value_place){c->field, offset, len};
    return TR_OK;
}

/* Follow what is left of the field's pointer. */
static tr_status collect(collection *c, const cJSON *node, const char *rest) {
    const cJSON *child;
    tr_status st = TR_OK;
    if (*rest == '\0')
        return is_indexable(node) ? collect_value(c, node) : TR_OK;
    bool items = rest[1] == '*' && (rest[2] == '/' || rest[2] == '\0');
    if (items ? !cJSON_IsArray(node) : !cJSON_IsObject(node))
        return TR_OK;
    cJSON_ArrayForEach(child, node) {
        const char *below = items ? rest + 2 : tr_pointer_descend(rest, child->string);
        if (below && (st = collect(c, child, below)) != TR_OK)
            break;
    }
    return st;
}

tr_status tr_rectype_index_values(const tr_rectype *type, const cJSON *data, tr_rectype_value_fn *callback,
                                  void *context, tr_error *err) {
    tr_status st = TR_OK;
    if (type->field_count == 0)
        return TR_OK;
    collection *c = calloc(1, sizeof *c);
    if (!c)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    c->type = type;
    c->err = err;
    for (; st == TR_OK && c->field < type->field_count; c->field++)
        st = collect(c, data, type->fields[c->field].pointer);
    for (size_t i = 0; st == TR_OK && i < c->count; i++) {
        const value_place *v = &c->values[i];
        st = callback(context, type->fields[v->field].pointer, c->bytes.data + v->offset, v->len, err);
    }
    tr_buf_clear(&c->bytes);
    free(c);
    return st;
}

tr_status tr_rectype_lookup_value(const tr_rectype *type, const char *field, const cJSON *value,
                                  tr_buf *canonical, tr_error *err) {
    bool ignore_case = false;
    if (!tr_rectype_is_indexed(type, field, &ignore_case))
        return tr_fail(err, TR_E_VALIDATION, "/field", "the type has no x-index at this field");
    if (!is_indexable(value))
        return tr_fail(err, TR_E_VALIDATION, "/value", "the value must be a string, a number or a boolean");
    tr_buf_reset(canonical);
    return put_value(value, ignore_case, canonical, err);
}
