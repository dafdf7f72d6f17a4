/* Validating: the walk over instance and schema, bounds, and the words of a failure. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vault/jsonschema_internal.h"

/* ---- failures and bounds ---- */

static void push_places(const tr_js_place *innermost, tr_buf *pointer) {
    const tr_js_place *chain[TR_JS_MAX_DEPTH];
    size_t count = 0;
    for (; innermost && count < TR_JS_MAX_DEPTH; innermost = innermost->outer)
        chain[count++] = innermost;
    while (count-- > 0) {
        if (chain[count]->key)
            tr_json_pointer_push(pointer, chain[count]->key);
        else
            tr_buf_printf(pointer, "/%zu", chain[count]->index);
    }
}

static void report(const tr_js_run *run, tr_status status, const char *what) {
    tr_buf pointer = TR_BUF_INIT;
    if (!run->err)
        return;
    push_places(run->place, &pointer);
    tr_fail(run->err, status, tr_json_pointer_clip(&pointer), "%s", what);
    tr_buf_clear(&pointer);
}

tr_js_outcome tr_js_fail(tr_js_run *run, const char *keyword, const char *format, ...) {
    char what[sizeof run->err->what];
    if (run->quiet > 0 || !run->err)
        return TR_JS_FAIL;
    va_list args;
    va_start(args, format);
    int n = snprintf(what, sizeof what, "%s: ", keyword);
    (void)vsnprintf(what + n, sizeof what - (size_t)n, format, args);
    va_end(args);
    report(run, TR_E_VALIDATION, what);
    return TR_JS_FAIL;
}

tr_js_outcome tr_js_stop(tr_js_run *run, tr_status status, const char *what) {
    run->stopped = status;
    report(run, status, what);
    return TR_JS_STOP;
}

bool tr_js_spend(tr_js_run *run, size_t steps) {
    if (steps < run->steps_left) {
        run->steps_left -= steps;
        return true;
    }
    run->steps_left = 0;
    tr_js_stop(run, TR_E_VALIDATION, "checking this against its schema takes too much work");
    return false;
}

tr_js_outcome tr_js_run_match(tr_js_run *run, const tr_js_pattern *pattern, const char *text) {
    tr_js_outcome outcome = tr_js_pattern_match(pattern, text, strlen(text), &run->matcher, &run->steps_left);
    if (outcome != TR_JS_STOP)
        return outcome;
    if (!run->matcher)
        return tr_js_stop(run, TR_E_NOMEM, "out of memory");
    return tr_js_stop(run, TR_E_VALIDATION, "pattern: matching this takes too much work");
}

/* ---- what was evaluated ---- */

static size_t children(const cJSON *instance) {
    size_t count = 0;
    for (const cJSON *child = instance->child; child; child = child->next)
        count++;
    return count;
}

bool tr_js_seen_begin(tr_js_run *run, tr_js_seen *seen, const cJSON *instance) {
    *seen = (tr_js_seen){0};
    if (cJSON_IsObject(instance) || cJSON_IsArray(instance))
        seen->count = children(instance);
    size_t words = (seen->count + 63) / 64;
    if (!tr_js_spend(run, 1 + seen->count / 16))
        return false;
    seen->bits = seen->few;
    if (words > sizeof seen->few / sizeof *seen->few)
        seen->bits = calloc(words, sizeof *seen->bits);
    if (!seen->bits) {
        tr_js_stop(run, TR_E_NOMEM, "out of memory");
        return false;
    }
    return true;
}

void tr_js_seen_end(tr_js_seen *seen) {
    if (seen->bits != seen->few)
        free(seen->bits);
}

void tr_js_seen_add(tr_js_seen *seen, size_t i) {
    if (seen && i < seen->count)
        seen->bits[i / 64] |= UINT64_C(1) << (i % 64);
}

bool tr_js_seen_has(const tr_js_seen *seen, size_t i) {
    return i < seen->count && (seen->bits[i / 64] >> (i % 64) & 1);
}

void tr_js_seen_add_all(tr_js_seen *seen) {
    if (seen && seen->count > 0)
        memset(seen->bits, 0xff, (seen->count + 63) / 64 * sizeof *seen->bits);
}

void tr_js_seen_join(tr_js_seen *into, const tr_js_seen *from) {
    for (size_t i = 0; into && i < (into->count + 63) / 64; i++)
        into->bits[i] |= from->bits[i];
}

/* ---- the walk ---- */

static tr_js_outcome run_checks(tr_js_run *run, const tr_js_node *node, const cJSON *instance,
                                tr_js_seen *seen) {
    for (const tr_js_check *check = node->checks; check; check = check->next) {
        if (!tr_js_spend(run, 1))
            return TR_JS_STOP;
        tr_js_outcome outcome = check->run(run, check, instance, seen);
        if (outcome != TR_JS_PASS)
            return outcome;
    }
    return TR_JS_PASS;
}

/* What a node with unevaluated... looks at is only what it has evaluated itself, not what its neighbours
 * have. */
static tr_js_outcome run_apart(tr_js_run *run, const tr_js_node *node, const cJSON *instance,
                               tr_js_seen *seen) {
    tr_js_seen own;
    if (!tr_js_seen_begin(run, &own, instance))
        return TR_JS_STOP;
    tr_js_outcome outcome = run_checks(run, node, instance, &own);
    if (outcome == TR_JS_PASS)
        tr_js_seen_join(seen, &own);
    tr_js_seen_end(&own);
    return outcome;
}

tr_js_outcome tr_js_evaluate(tr_js_run *run, const tr_js_node *node, const cJSON *instance,
                             tr_js_seen *seen) {
    if (node->fixed >= 0)
        return node->fixed ? TR_JS_PASS : tr_js_fail(run, node->keyword, "nothing is allowed here");
    if (run->depth == TR_JS_MAX_DEPTH)
        return tr_js_stop(run, TR_E_VALIDATION, "the schema and this value are nested too deep together");
    if (!tr_js_spend(run, 1))
        return TR_JS_STOP;
    const tr_js_scope *outer = run->scope;
    const tr_js_scope entered = {outer, node->resource};
    if (!outer || outer->resource != node->resource)
        run->scope = &entered;
    run->depth++;
    tr_js_outcome outcome =
        node->unevaluated ? run_apart(run, node, instance, seen) : run_checks(run, node, instance, seen);
    run->depth--;
    run->scope = outer;
    return outcome;
}

tr_status tr_schema_validate(const tr_schema *schema, const cJSON *instance, tr_error *err) {
    tr_js_run run = {.schema = schema, .err = err, .steps_left = TR_JS_MAX_STEPS};
    tr_js_outcome outcome = tr_js_evaluate(&run, schema->root, instance, NULL);
    tr_js_matcher_free(run.matcher);
    tr_buf_clear(&run.scratch);
    if (outcome == TR_JS_STOP)
        return run.stopped;
    return outcome == TR_JS_PASS ? TR_OK : TR_E_VALIDATION;
}
