/* The checks that look at the value itself. Their words say what the schema wants, never what the value is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "vault/jsonschema_internal.h"

#define BYTES_A_STEP 32 /* of text that is looked at once */

static tr_js_outcome fail_limit(tr_js_run *run, const tr_js_check *check, const char *wanted,
                                const char *unit) {
    return tr_js_fail(run, check->keyword, "must have %s %lld %s", wanted, (long long)check->of.limit, unit);
}

/* ---- type, const, enum ---- */

unsigned tr_js_type_of(const cJSON *instance) {
    switch (instance->type & 0xff) {
    case cJSON_NULL: return TR_JS_NULL;
    case cJSON_True:
    case cJSON_False: return TR_JS_BOOLEAN;
    case cJSON_Object: return TR_JS_OBJECT;
    case cJSON_Array: return TR_JS_ARRAY;
    case cJSON_String: return TR_JS_STRING;
    default: return TR_JS_NUMBER;
    }
}

static void name_types(unsigned types, char *out, size_t size) {
    static const char *const names[] = {"null", "boolean", "object", "array", "string", "number", "integer"};
    size_t n = 0;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (types >> i & 1)
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? " or " : "", names[i]);
}

tr_js_outcome tr_js_check_type(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                               tr_js_seen *seen) {
    const unsigned types = check->of.types;
    char names[80];
    (void)seen;
    if (types & tr_js_type_of(instance))
        return TR_JS_PASS;
    if ((types & TR_JS_INTEGER) && cJSON_IsNumber(instance) && tr_json_is_integer(instance, NULL, NULL))
        return TR_JS_PASS;
    name_types(types, names, sizeof names);
    return tr_js_fail(run, "type", "must be %s", names);
}

static int by_text(const void *key, const void *row) {
    return strcmp(key, *(const char *const *)row);
}

tr_js_outcome tr_js_check_values(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                 tr_js_seen *seen) {
    const tr_js_values *values = &check->of.values;
    (void)seen;
    if (values->types & tr_js_type_of(instance)) {
        tr_buf_reset(&run->scratch);
        if (tr_json_print_canonical(instance, &run->scratch, NULL) != TR_OK)
            return tr_js_stop(run, TR_E_NOMEM, "out of memory");
        if (!tr_js_spend(run, run->scratch.len / BYTES_A_STEP))
            return TR_JS_STOP;
        if (bsearch(run->scratch.data, values->texts, values->count, sizeof *values->texts, by_text))
            return TR_JS_PASS;
    }
    if (strcmp(check->keyword, "const") == 0)
        return tr_js_fail(run, "const", "must be the one value that the schema gives");
    return tr_js_fail(run, "enum", "must be one of the %zu values that the schema lists", values->count);
}

/* ---- numbers ---- */

static tr_js_outcome fail_number(tr_js_run *run, const tr_js_check *check, const char *wanted) {
    char room[40];
    const char *text = tr_json_number_text(check->of.number, room, sizeof room);
    return tr_js_fail(run, check->keyword, "must be %s %.60s%s", wanted, text,
                      strlen(text) > 60 ? "..." : "");
}

tr_js_outcome tr_js_check_multiple(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                   tr_js_seen *seen) {
    bool yes = false;
    (void)seen;
    if (!cJSON_IsNumber(instance))
        return TR_JS_PASS;
    /* Long numbers are divided by modular powers. */
    size_t digits = check->of.number->valuestring ? strlen(check->of.number->valuestring) : 0;
    digits += instance->valuestring ? strlen(instance->valuestring) : 0;
    if (!tr_js_spend(run, digits > 18 ? digits * 10 : 1))
        return TR_JS_STOP;
    if (tr_json_is_multiple(instance, check->of.number, &yes, NULL) != TR_OK)
        return tr_js_stop(run, TR_E_NOMEM, "out of memory");
    return yes ? TR_JS_PASS : fail_number(run, check, "a multiple of");
}

static tr_js_outcome check_order(tr_js_run *run, const tr_js_check *check, const cJSON *instance, int least,
                                 int most, const char *wanted) {
    if (!cJSON_IsNumber(instance))
        return TR_JS_PASS;
    int order = tr_json_number_compare(instance, check->of.number);
    return order >= least && order <= most ? TR_JS_PASS : fail_number(run, check, wanted);
}

tr_js_outcome tr_js_check_maximum(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                  tr_js_seen *seen) {
    (void)seen;
    return check_order(run, check, instance, -1, 0, "at most");
}

tr_js_outcome tr_js_check_minimum(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                  tr_js_seen *seen) {
    (void)seen;
    return check_order(run, check, instance, 0, 1, "at least");
}

tr_js_outcome tr_js_check_above(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                tr_js_seen *seen) {
    (void)seen;
    return check_order(run, check, instance, 1, 1, "greater than");
}

tr_js_outcome tr_js_check_below(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                tr_js_seen *seen) {
    (void)seen;
    return check_order(run, check, instance, -1, -1, "less than");
}

/* ---- strings ---- */

/* False: stopped. */
static bool characters(tr_js_run *run, const cJSON *instance, int64_t *count) {
    size_t len = strlen(instance->valuestring);
    *count = (int64_t)tr_utf8_count(instance->valuestring, len);
    return tr_js_spend(run, len / BYTES_A_STEP);
}

tr_js_outcome tr_js_check_max_length(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                     tr_js_seen *seen) {
    int64_t count;
    (void)seen;
    if (!cJSON_IsString(instance))
        return TR_JS_PASS;
    if (!characters(run, instance, &count))
        return TR_JS_STOP;
    return count <= check->of.limit ? TR_JS_PASS : fail_limit(run, check, "at most", "characters");
}

tr_js_outcome tr_js_check_min_length(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                     tr_js_seen *seen) {
    int64_t count;
    (void)seen;
    if (!cJSON_IsString(instance))
        return TR_JS_PASS;
    if (!characters(run, instance, &count))
        return TR_JS_STOP;
    return count >= check->of.limit ? TR_JS_PASS : fail_limit(run, check, "at least", "characters");
}

tr_js_outcome tr_js_check_pattern(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                  tr_js_seen *seen) {
    (void)seen;
    if (!cJSON_IsString(instance))
        return TR_JS_PASS;
    tr_js_outcome outcome = tr_js_run_match(run, check->of.pattern, instance->valuestring);
    if (outcome == TR_JS_FAIL)
        return tr_js_fail(run, "pattern", "must match the pattern %s", tr_js_pattern_text(check->of.pattern));
    return outcome;
}

/* The format "regex": does it compile? */
static tr_js_outcome check_regex(tr_js_run *run, const char *text) {
    tr_js_pattern *compiled = NULL;
    char fault[160];
    if (!tr_js_spend(run, 2000))
        return TR_JS_STOP;
    tr_status st = tr_js_pattern_compile(text, &compiled, fault, sizeof fault);
    if (st == TR_E_NOMEM)
        return tr_js_stop(run, st, "out of memory");
    if (st == TR_OK)
        tr_js_pattern_free(compiled);
    return st == TR_OK ? TR_JS_PASS : TR_JS_FAIL;
}

tr_js_outcome tr_js_check_format(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                 tr_js_seen *seen) {
    tr_js_outcome outcome = TR_JS_PASS;
    (void)seen;
    if (!cJSON_IsString(instance))
        return TR_JS_PASS;
    size_t len = strlen(instance->valuestring);
    if (!tr_js_spend(run, len / BYTES_A_STEP))
        return TR_JS_STOP;
    if (!check->of.format.accepts)
        outcome = check_regex(run, instance->valuestring);
    else if (!check->of.format.accepts(instance->valuestring, len))
        outcome = TR_JS_FAIL;
    if (outcome == TR_JS_FAIL)
        return tr_js_fail(run, "format", "must be of the format %s", check->of.format.name);
    return outcome;
}

/* ---- arrays and objects ---- */

static tr_js_outcome check_children(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                    bool at_most, const char *unit) {
    int64_t count = 0;
    for (const cJSON *child = instance->child; child; child = child->next)
        count++;
    if (!tr_js_spend(run, (size_t)count / 16))
        return TR_JS_STOP;
    if (at_most ? count <= check->of.limit : count >= check->of.limit)
        return TR_JS_PASS;
    return fail_limit(run, check, at_most ? "at most" : "at least", unit);
}

tr_js_outcome tr_js_check_max_items(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                    tr_js_seen *seen) {
    (void)seen;
    return cJSON_IsArray(instance) ? check_children(run, check, instance, true, "items") : TR_JS_PASS;
}

tr_js_outcome tr_js_check_min_items(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                    tr_js_seen *seen) {
    (void)seen;
    return cJSON_IsArray(instance) ? check_children(run, check, instance, false, "items") : TR_JS_PASS;
}

tr_js_outcome tr_js_check_max_members(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                      tr_js_seen *seen) {
    (void)seen;
    return cJSON_IsObject(instance) ? check_children(run, check, instance, true, "members") : TR_JS_PASS;
}

tr_js_outcome tr_js_check_min_members(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                      tr_js_seen *seen) {
    (void)seen;
    return cJSON_IsObject(instance) ? check_children(run, check, instance, false, "members") : TR_JS_PASS;
}

/* ---- uniqueItems ---- */

typedef struct item_text {
    const char *text;
    size_t offset, len;
} item_text;

static int by_item(const void *a, const void *b) {
    const item_text *x = a, *y = b;
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    return memcmp(x->text, y->text, x->len);
}

/* Each item's canonical form, one after the other. */
static bool print_items(tr_js_run *run, const cJSON *instance, item_text *items) {
    const cJSON *item;
    size_t i = 0;
    tr_buf_reset(&run->scratch);
    cJSON_ArrayForEach(item, instance) {
        items[i].offset = run->scratch.len;
        if (tr_json_print_canonical(item, &run->scratch, NULL) != TR_OK) {
            tr_js_stop(run, TR_E_NOMEM, "out of memory");
            return false;
        }
        items[i].len = run->scratch.len - items[i].offset;
        if (!tr_js_spend(run, 2 + items[i].len / 8))
            return false;
        i++;
    }
    for (size_t k = 0; k < i; k++)
        items[k].text = run->scratch.data + items[k].offset;
    return true;
}

tr_js_outcome tr_js_check_unique(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                 tr_js_seen *seen) {
    (void)seen;
    size_t count = 0;
    for (const cJSON *item = cJSON_IsArray(instance) ? instance->child : NULL; item; item = item->next)
        count++;
    if (count < 2)
        return TR_JS_PASS;
    item_text *items = calloc(count, sizeof *items);
    if (!items)
        return tr_js_stop(run, TR_E_NOMEM, "out of memory");
    tr_js_outcome outcome = print_items(run, instance, items) ? TR_JS_PASS : TR_JS_STOP;
    if (outcome == TR_JS_PASS)
        qsort(items, count, sizeof *items, by_item);
    for (size_t i = 1; outcome == TR_JS_PASS && i < count; i++)
        if (by_item(&items[i - 1], &items[i]) == 0)
            outcome = tr_js_fail(run, check->keyword, "no two items may be equal");
    free(items);
    return outcome;
}

/* ---- required ---- */

bool tr_js_names_find(const tr_js_names *names, const char *name, size_t *at) {
    const char *const *row = bsearch(name, names->names, names->count, sizeof *names->names, by_text);
    if (row)
        *at = (size_t)(row - (const char *const *)names->names);
    return row != NULL;
}

static tr_js_outcome require(tr_js_run *run, const char *keyword, const tr_js_names *names,
                             const cJSON *instance) {
    uint64_t few[4] = {0}, *there = few;
    const cJSON *member;
    size_t words = (names->count + 63) / 64, at;
    tr_js_outcome outcome = TR_JS_PASS;
    if (words > sizeof few / sizeof *few && !(there = calloc(words, sizeof *there)))
        return tr_js_stop(run, TR_E_NOMEM, "out of memory");
    cJSON_ArrayForEach(member, instance) {
        if (!tr_js_spend(run, 1)) {
            outcome = TR_JS_STOP;
            break;
        }
        if (tr_js_names_find(names, member->string, &at))
            there[at / 64] |= UINT64_C(1) << (at % 64);
    }
    for (size_t i = 0; outcome == TR_JS_PASS && i < names->count; i++) {
        if (there[i / 64] >> (i % 64) & 1)
            continue;
        bool is_long = strlen(names->names[i]) > 100;
        outcome = tr_js_fail(run, keyword, "the member %s is missing",
                             is_long ? "with a long name" : names->names[i]);
    }
    if (there != few)
        free(there);
    return outcome;
}

tr_js_outcome tr_js_check_required(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                   tr_js_seen *seen) {
    (void)seen;
    return cJSON_IsObject(instance) ? require(run, check->keyword, &check->of.names, instance) : TR_JS_PASS;
}

static int by_dependency(const void *key, const void *row) {
    return strcmp(key, ((const tr_js_dependency *)row)->name);
}

tr_js_outcome tr_js_check_dependent_required(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                             tr_js_seen *seen) {
    const cJSON *member;
    tr_js_outcome outcome = TR_JS_PASS;
    (void)seen;
    if (!cJSON_IsObject(instance))
        return TR_JS_PASS;
    cJSON_ArrayForEach(member, instance) {
        const tr_js_dependency *row = bsearch(member->string, check->of.dependencies.items,
                                              check->of.dependencies.count, sizeof *row, by_dependency);
        if (!tr_js_spend(run, 1))
            return TR_JS_STOP;
        if (row && (outcome = require(run, check->keyword, &row->required, instance)) != TR_JS_PASS)
            break;
    }
    return outcome;
}
