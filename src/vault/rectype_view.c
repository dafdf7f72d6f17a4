/* What a grant shows of a record: the members that its fields name, and masks.
 *
 * A mask holds where any subschema that may apply to a value says so: every branch counts as taken, every
 * $dynamicRef as leading to each of its anchors. So a value is never shown because a condition was judged
 * wrongly.
 */
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "vault/rectype_internal.h"

#define MAX_DEPTH    256
#define MATCH_EFFORT 100000
#define ELLIPSIS     "\xe2\x80\xa6"

/* ---- where masks stand ---- */

static void each_in_place(const tr_schema *schema, const tr_js_node *node, tr_visit_fn *visit,
                          void *context) {
    for (const tr_js_edge *edge = node->edges; edge; edge = edge->next) {
        visit(context, edge->to);
        for (size_t i = 0; edge->dynamic && i < schema->dynamic_count; i++)
            if (strcmp(schema->dynamics[i].name, edge->dynamic->of.reference.dynamic) == 0)
                visit(context, schema->dynamics[i].node);
    }
}

static void visit_some(tr_visit_fn *visit, void *context, const tr_js_node *node) {
    if (node)
        visit(context, node);
}

static void each_below(const tr_schema *schema, const tr_js_node *node, tr_visit_fn *visit, void *context) {
    each_in_place(schema, node, visit, context);
    if (node->members) {
        for (size_t i = 0; i < node->members->named_count; i++)
            visit(context, node->members->named[i].node);
        for (size_t i = 0; i < node->members->patterned_count; i++)
            visit(context, node->members->patterned[i].node);
        visit_some(visit, context, node->members->additional);
    }
    if (node->items) {
        for (size_t i = 0; i < node->items->prefix_count; i++)
            visit(context, node->items->prefix[i]);
        visit_some(visit, context, node->items->rest);
    }
    visit_some(visit, context, node->contains);
    visit_some(visit, context, node->unevaluated_items);
    visit_some(visit, context, node->unevaluated_properties);
}

tr_status tr_rectype_find_masks(tr_rectype *type, const tr_schema *schema, tr_error *err) {
    tr_status st = tr_rectype_reach(schema, TR_MARK_MASK, each_below, &type->masked, err);
    if (st != TR_OK || !type->masked)
        return st;
    for (const tr_js_node *node = schema->nodes; node; node = node->next) {
        if (node->property_names && type->masked[node->property_names->id])
            return tr_rectype_refuse(err, node->pointer, "propertyNames",
                                     "names of members cannot be masked by x-mask");
        if (node->content && type->masked[node->content->id])
            return tr_rectype_refuse(err, node->pointer, "contentSchema",
                                     "what a string contains cannot be masked by x-mask");
    }
    return TR_OK;
}

/* ---- sets of nodes that may apply to a value ---- */

typedef struct node_set {
    const tr_js_node **nodes;
    size_t count, room;
} node_set;

typedef struct view {
    const tr_rectype *type;
    size_t steps_left;
    size_t depth;
    tr_js_matcher *matcher;
    node_set *adding;
    bool hiding;    /* masked, and the type has masks: what no subschema describes is hidden */
    bool described; /* some subschema spoke of the member or item looked at */
    tr_status st;   /* of what cannot return one */
    tr_error *err;
} view;

static tr_status no_memory(view *v) {
    return v->st = tr_fail(v->err, TR_E_NOMEM, NULL, "out of memory");
}

static bool spend(view *v, size_t steps) {
    if (v->st != TR_OK)
        return false;
    if (steps < v->steps_left) {
        v->steps_left -= steps;
        return true;
    }
    v->steps_left = 0;
    v->st = tr_fail(v->err, TR_E_VALIDATION, NULL, "masking this record takes too much work");
    return false;
}

static void add_node(void *context, const tr_js_node *node) {
    view *v = context;
    node_set *set = v->adding;
    v->described = true;
    if (!spend(v, 1 + set->count))
        return;
    for (size_t i = 0; i < set->count; i++)
        if (set->nodes[i] == node)
            return;
    if (set->count == set->room) {
        size_t room = set->room ? set->room * 2 : 8;
        const tr_js_node **more = realloc(set->nodes, room * sizeof *more);
        if (!more) {
            no_memory(v);
            return;
        }
        set->nodes = more;
        set->room = room;
    }
    set->nodes[set->count++] = node;
}

/* Add what applies through those that do. */
static tr_status close_set(view *v, node_set *set) {
    v->adding = set;
    for (size_t i = 0; v->st == TR_OK && i < set->count; i++)
        each_in_place(v->type->schema, set->nodes[i], add_node, v);
    return v->st;
}

static bool pattern_matches(view *v, const tr_js_pattern *pattern, const char *name) {
    size_t effort = MATCH_EFFORT;
    tr_js_outcome outcome = tr_js_pattern_match(pattern, name, strlen(name), &v->matcher, &effort);
    if (!v->matcher)
        no_memory(v);
    spend(v, MATCH_EFFORT - effort);
    return outcome != TR_JS_FAIL; /* if unsure, it is masked */
}

static void add_for_member(view *v, const tr_js_node *node, const char *name) {
    const tr_js_members *m = node->members;
    const tr_js_node *named = m ? tr_js_member_node(m, name) : NULL;
    bool matched = named != NULL;
    if (named)
        add_node(v, named);
    for (size_t i = 0; m && i < m->patterned_count && v->st == TR_OK; i++) {
        if (!pattern_matches(v, m->patterned[i].pattern, name))
            continue;
        matched = true;
        add_node(v, m->patterned[i].node);
    }
    if (!matched && m && m->additional)
        add_node(v, m->additional);
    else if (!matched && node->unevaluated_properties)
        add_node(v, node->unevaluated_properties);
}

static void add_for_item(view *v, const tr_js_node *node, size_t index) {
    const tr_js_items *items = node->items;
    const tr_js_node *own = NULL;
    if (items)
        own = index < items->prefix_count ? items->prefix[index] : items->rest;
    if (own)
        add_node(v, own);
    else if (node->unevaluated_items)
        add_node(v, node->unevaluated_items);
    if (node->contains)
        add_node(v, node->contains);
}

/* What may apply to a member (by name) or an item (by index) of what `here` applies to. */
static tr_status set_below(view *v, const node_set *here, const char *name, size_t index, node_set *out) {
    for (size_t i = 0; v->st == TR_OK && i < here->count; i++) {
        v->adding = out;
        if (name)
            add_for_member(v, here->nodes[i], name);
        else
            add_for_item(v, here->nodes[i], index);
    }
    return v->st == TR_OK ? close_set(v, out) : v->st;
}

static tr_mask mask_of(const node_set *set) {
    tr_mask mask = TR_MASK_NONE;
    for (size_t i = 0; i < set->count; i++) {
        tr_mask own = (tr_mask)(set->nodes[i]->mark & TR_MARK_MASK);
        if (own != TR_MASK_NONE && mask != TR_MASK_NONE && own != mask)
            return TR_MASK_HIDE;
        mask = own != TR_MASK_NONE ? own : mask;
    }
    return mask;
}

/* ---- masks ---- */

/* The byte where the n-th code point from the end begins, or 0. */
static size_t from_end(const char *text, size_t len, size_t n) {
    while (len > 0 && n > 0)
        if (((unsigned char)text[--len] & 0xc0) != 0x80)
            n--;
    return len;
}

/* False: hidden. */
static bool put_masked(tr_mask mask, const char *text, tr_buf *out) {
    size_t len = strlen(text), first = 1;
    const char *at;
    switch (mask) {
    case TR_MASK_INITIAL:
        while (((unsigned char)text[first <= len ? first : 0] & 0xc0) == 0x80)
            first++;
        tr_buf_append(out, text, len ? first : 0);
        tr_buf_putc(out, '.');
        return len > 0;
    case TR_MASK_LAST4:
        tr_buf_puts(out, ELLIPSIS);
        if (tr_utf8_count(text, len) > 4)
            tr_buf_puts(out, text + from_end(text, len, 4));
        return true;
    case TR_MASK_YEAR:
        tr_buf_append(out, text, len < 4 ? len : 4);
        return tr_js_format_find("date")->accepts(text, len) ||
               tr_js_format_find("date-time")->accepts(text, len);
    case TR_MASK_DOMAIN:
        at = strrchr(text, '@');
        tr_buf_puts(out, ELLIPSIS);
        tr_buf_puts(out, at ? at : "");
        return at && at[1];
    default: return false;
    }
}

static cJSON *masked_value(tr_mask mask, const cJSON *value) {
    tr_buf text = TR_BUF_INIT;
    cJSON *out = NULL;
    bool shown = cJSON_IsString(value) && tr_utf8_valid(value->valuestring, strlen(value->valuestring)) &&
                 put_masked(mask, value->valuestring, &text);
    if (!text.failed)
        out = shown ? cJSON_CreateString(text.data) : cJSON_CreateNull();
    tr_buf_clear(&text);
    return out;
}

/* ---- the copy ---- */

typedef struct pick { /* of a value, what is asked for */
    const char *const *pointers;
    size_t count;
    bool whole;
} pick;

static tr_status copy(view *v, const cJSON *value, const node_set *here, const pick *wanted, cJSON **out);

static tr_status attach(view *v, cJSON *parent, const char *key, cJSON *child) {
    bool placed = key && !child->string ? cJSON_AddItemToObject(parent, key, child)
                                        : cJSON_AddItemToArray(parent, child);
    if (placed)
        return TR_OK;
    cJSON_Delete(child);
    return no_memory(v);
}

/* A record may be older than its type's present schema: what that does not describe (any more) may once have
 * had a mask. */
static tr_status copy_child(view *v, cJSON *parent, const cJSON *child, size_t index, const node_set *here,
                            const pick *wanted) {
    node_set below = {0};
    cJSON *made = NULL;
    v->described = false;
    tr_status st = set_below(v, here, child->string, index, &below);
    if (st == TR_OK && v->hiding && !v->described)
        st = (made = cJSON_CreateNull()) ? TR_OK : no_memory(v);
    else if (st == TR_OK)
        st = copy(v, child, &below, wanted, &made);
    if (st == TR_OK && made)
        st = attach(v, parent, child->string, made);
    free(below.nodes);
    return st;
}

static tr_status copy_container(view *v, const cJSON *value, const node_set *here, const pick *wanted,
                                cJSON **out) {
    const cJSON *child;
    tr_status st = TR_OK;
    size_t index = 0;
    const char **room = malloc((wanted->count ? wanted->count : 1) * sizeof *room);
    cJSON *made = cJSON_Duplicate(value, false);
    if (!room || !made)
        st = no_memory(v);
    cJSON_ArrayForEach(child, value) {
        pick below = {room, 0, wanted->whole};
        if (st != TR_OK || !spend(v, 1 + wanted->count))
            break;
        if (!wanted->whole)
            below.count =
                tr_pointers_descend(wanted->pointers, wanted->count, child->string, room, &below.whole);
        if (below.whole || below.count > 0)
            st = copy_child(v, made, child, index, here, &below);
        index++;
    }
    free(room);
    if (st == TR_OK)
        st = v->st;
    /* An object on the way is shown for what is in it only. */
    if (st != TR_OK || (!wanted->whole && !made->child && v->depth > 1)) {
        cJSON_Delete(made);
        made = NULL;
    }
    *out = made;
    return st;
}

/* *out is NULL when nothing of the value is asked for. */
static tr_status copy(view *v, const cJSON *value, const node_set *here, const pick *wanted, cJSON **out) {
    tr_mask mask = mask_of(here);
    tr_status st = TR_OK;
    *out = NULL;
    if (mask != TR_MASK_NONE && wanted->whole)
        return (*out = masked_value(mask, value)) ? TR_OK : no_memory(v);
    if (mask != TR_MASK_NONE)
        return TR_OK; /* what is asked for lies inside of what is masked */
    if (!wanted->whole && !cJSON_IsObject(value))
        return TR_OK;
    if (v->depth == MAX_DEPTH)
        return tr_fail(v->err, TR_E_VALIDATION, NULL, "the record is nested too deep");
    v->depth++;
    if ((wanted->whole && !v->hiding) || !value->child) {
        if (wanted->whole || v->depth == 1)
            st = (*out = cJSON_Duplicate(value, true)) ? TR_OK : no_memory(v);
    } else {
        st = copy_container(v, value, here, wanted, out);
    }
    v->depth--;
    return st;
}

tr_status tr_rectype_view(const tr_rectype *type, const cJSON *data, const char *const *fields,
                          size_t field_count, bool masked, cJSON **out, tr_error *err) {
    view v = {.type = type, .steps_left = TR_JS_MAX_STEPS, .err = err};
    node_set here = {0};
    size_t count = 0;
    const char **valid = malloc((field_count ? field_count : 1) * sizeof *valid);
    if (!valid)
        return no_memory(&v);
    for (size_t i = 0; fields && i < field_count; i++)
        if (tr_rectype_pointer_valid(fields[i]))
            valid[count++] = fields[i];
    const pick wanted = {valid, count, fields == NULL};
    cJSON *made = NULL;
    v.adding = &here;
    v.hiding = masked && type->masked;
    if (v.hiding)
        add_node(&v, type->schema->root);
    tr_status st = close_set(&v, &here);
    if (st == TR_OK)
        st = copy(&v, data, &here, &wanted, &made);
    if (st == TR_OK && !made && !(made = cJSON_CreateObject()))
        st = no_memory(&v);
    if (st == TR_OK)
        *out = made;
    tr_js_matcher_free(v.matcher);
    free(here.nodes);
    free(valid);
    return st;
}
