/* Trees back to text: as they are, sorted, or in the canonical form. */
#include <stdlib.h>
#include <string.h>

#include "base/json_internal.h"

typedef enum form { AS_IS, SORTED, CANONICAL } form;

static tr_status print(const cJSON *node, form how, int depth, tr_buf *out, tr_error *err);

int tr_json_by_name(const void *a, const void *b) {
    return strcmp((*(const cJSON *const *)a)->string, (*(const cJSON *const *)b)->string);
}

tr_status tr_json_sorted_members(const cJSON *object, const cJSON ***members, size_t *count, tr_error *err) {
    size_t n = 0, i = 0;
    const cJSON *child;
    *members = NULL;
    cJSON_ArrayForEach(child, object) n++;
    *count = n;
    if (n == 0)
        return TR_OK;
    const cJSON **list = malloc(n * sizeof *list);
    if (!list)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    cJSON_ArrayForEach(child, object) list[i++] = child;
    qsort(list, n, sizeof *list, tr_json_by_name);
    *members = list;
    return TR_OK;
}

static void print_number(const cJSON *node, form how, tr_buf *out) {
    char room[TR_NUMBER_ROOM];
    const char *text = tr_json_number_text(node, room, sizeof room);
    if (how != CANONICAL) {
        tr_buf_puts(out, text);
        return;
    }
    tr_decimal d;
    tr_decimal_read(text, &d);
    tr_decimal_print(&d, out);
}

static tr_status print_array(const cJSON *node, form how, int depth, tr_buf *out, tr_error *err) {
    const cJSON *child;
    tr_status st = TR_OK;
    tr_buf_putc(out, '[');
    cJSON_ArrayForEach(child, node) {
        if (child != node->child)
            tr_buf_putc(out, ',');
        if ((st = print(child, how, depth + 1, out, err)) != TR_OK)
            return st;
    }
    tr_buf_putc(out, ']');
    return st;
}

static tr_status print_member(const cJSON *child, bool first, form how, int depth, tr_buf *out,
                              tr_error *err) {
    if (!first)
        tr_buf_putc(out, ',');
    tr_buf_json_string(out, child->string, strlen(child->string));
    tr_buf_putc(out, ':');
    return print(child, how, depth + 1, out, err);
}

static tr_status print_object(const cJSON *node, form how, int depth, tr_buf *out, tr_error *err) {
    const cJSON **sorted = NULL, *child;
    size_t count = 0;
    tr_status st = TR_OK;
    tr_buf_putc(out, '{');
    if (how == AS_IS) {
        cJSON_ArrayForEach(child, node)
            TR_TRY(print_member(child, child == node->child, how, depth, out, err));
    } else {
        TR_TRY(tr_json_sorted_members(node, &sorted, &count, err));
        for (size_t i = 0; i < count; i++)
            TR_TRY(print_member(sorted[i], i == 0, how, depth, out, err));
    }
    tr_buf_putc(out, '}');
out:
    free(sorted);
    return st;
}

static tr_status print(const cJSON *node, form how, int depth, tr_buf *out, tr_error *err) {
    if (depth > TR_JSON_TREE_DEPTH)
        return tr_fail(err, TR_E_INTERNAL, NULL, "a JSON tree is too deep to print");
    switch (node->type & 0xff) {
    case cJSON_NULL: tr_buf_puts(out, "null"); return TR_OK;
    case cJSON_True: tr_buf_puts(out, "true"); return TR_OK;
    case cJSON_False: tr_buf_puts(out, "false"); return TR_OK;
    case cJSON_Number: print_number(node, how, out); return TR_OK;
    case cJSON_String: tr_buf_json_string(out, node->valuestring, strlen(node->valuestring)); return TR_OK;
    case cJSON_Array: return print_array(node, how, depth, out, err);
    case cJSON_Object: return print_object(node, how, depth, out, err);
    default: return tr_fail(err, TR_E_INTERNAL, NULL, "a JSON tree has a node of no type");
    }
}

static tr_status print_tree(const cJSON *tree, form how, tr_buf *out, tr_error *err) {
    tr_status st = print(tree, how, 0, out, err);
    return st == TR_OK ? tr_buf_ok(out, err) : st;
}

tr_status tr_json_print(const cJSON *tree, tr_buf *out, tr_error *err) {
    return print_tree(tree, AS_IS, out, err);
}

tr_status tr_json_print_sorted(const cJSON *tree, tr_buf *out, tr_error *err) {
    return print_tree(tree, SORTED, out, err);
}

tr_status tr_json_print_canonical(const cJSON *tree, tr_buf *out, tr_error *err) {
    return print_tree(tree, CANONICAL, out, err);
}
