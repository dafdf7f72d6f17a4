/* The checks that apply subschemas: in place, to members, to items, to what is left. */
#include <stdlib.h>
#include <string.h>

#include "vault/jsonschema_internal.h"

/* ---- helpers ---- */

/* Evaluate without putting a failure into words. */
static tr_js_outcome try_quietly(tr_js_run *run, const tr_js_node *node, const cJSON *instance,
                                 tr_js_seen *seen) {
    run->quiet++;
    tr_js_outcome outcome = tr_js_evaluate(run, node, instance, seen);
    run->quiet--;
    return outcome;
}

/* Evaluate a branch: what it has evaluated counts only if it passes. */
static tr_js_outcome try_branch(tr_js_run *run, const tr_js_node *node, const cJSON *instance,
                                tr_js_seen *seen) {
    tr_js_seen own;
    if (!seen)
        return try_quietly(run, node, instance, NULL);
    if (!tr_js_seen_begin(run, &own, instance))
        return TR_JS_STOP;
    tr_js_outcome outcome = try_quietly(run, node, instance, &own);
    if (outcome == TR_JS_PASS)
        tr_js_seen_join(seen, &own);
    tr_js_seen_end(&own);
    return outcome;
}

static tr_js_outcome at_member(tr_js_run *run, const tr_js_node *node, const cJSON *member) {
    const tr_js_place place = {run->place, member->string, 0};
    run->place = &place;
    tr_js_outcome outcome = tr_js_evaluate(run, node, member, NULL);
    run->place = place.outer;
    return outcome;
}

static tr_js_outcome at_item(tr_js_run *run, const tr_js_node *node, const cJSON *item, size_t index) {
    const tr_js_place place = {run->place, NULL, index};
    run->place = &place;
    tr_js_outcome outcome = tr_js_evaluate(run, node, item, NULL);
    run->place = place.outer;
    return outcome;
}

static int by_property(const void *key, const void *row) {
    return strcmp(key, ((const tr_js_property *)row)->name);
}

static int by_dependency(const void *key, const void *row) {
    return strcmp(key, ((const tr_js_dependency *)row)->name);
}

tr_js_node *tr_js_member_node(const tr_js_members *members, const char *name) {
    const tr_js_property *row = bsearch(name, members->named, members->named_count, sizeof *row, by_property);
    return row ? row->node : NULL;
}

/* ---- references ---- */

/* The outermost resource in scope that has the dynamic anchor, or where the reference leads at first. */
static const tr_js_node *dynamic_target(tr_js_run *run, const tr_js_check *check) {
    const tr_js_node *target = check->of.reference.node;
    for (const tr_js_scope *scope = run->scope; scope; scope = scope->outer) {
        const tr_js_node *found =
            tr_js_find_dynamic(run->schema, check->of.reference.dynamic, scope->resource);
        if (!tr_js_spend(run, 1))
            return NULL;
        if (found)
            target = found;
    }
    return target;
}

tr_js_outcome tr_js_check_ref(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                              tr_js_seen *seen) {
    const tr_js_node *target = check->of.reference.node;
    if (check->of.reference.dynamic)
        target = dynamic_target(run, check);
    return target ? tr_js_evaluate(run, target, instance, seen) : TR_JS_STOP;
}

/* ---- in place ---- */

tr_js_outcome tr_js_check_all(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                              tr_js_seen *seen) {
    tr_js_outcome outcome = TR_JS_PASS;
    for (size_t i = 0; outcome == TR_JS_PASS && i < check->of.list.count; i++)
        outcome = tr_js_evaluate(run, check->of.list.nodes[i], instance, seen);
    return outcome;
}

tr_js_outcome tr_js_check_any(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                              tr_js_seen *seen) {
    bool passed = false;
    /* Each branch that passes adds to what is evaluated, so the first does not suffice where that is asked
     * for. */
    for (size_t i = 0; i < check->of.list.count && (!passed || seen); i++) {
        tr_js_outcome outcome = try_branch(run, check->of.list.nodes[i], instance, seen);
        if (outcome == TR_JS_STOP)
            return outcome;
        passed = passed || outcome == TR_JS_PASS;
    }
    if (passed)
        return TR_JS_PASS;
    return tr_js_fail(run, "anyOf", "must match at least one of %zu schemas", check->of.list.count);
}

tr_js_outcome tr_js_check_one(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                              tr_js_seen *seen) {
    size_t passed = 0;
    for (size_t i = 0; i < check->of.list.count && passed < 2; i++) {
        tr_js_outcome outcome = try_branch(run, check->of.list.nodes[i], instance, seen);
        if (outcome == TR_JS_STOP)
            return outcome;
        passed += outcome == TR_JS_PASS;
    }
    if (passed == 1)
        return TR_JS_PASS;
    return tr_js_fail(run, "oneOf", "must match exactly one of %zu schemas, and matches %s",
                      check->of.list.count, passed == 0 ? "none" : "more");
}

tr_js_outcome tr_js_check_not(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                              tr_js_seen *seen) {
    (void)seen;
    tr_js_outcome outcome = try_quietly(run, check->of.node, instance, NULL);
    if (outcome == TR_JS_PASS)
        return tr_js_fail(run, "not", "must not match the schema");
    return outcome == TR_JS_FAIL ? TR_JS_PASS : outcome;
}

tr_js_outcome tr_js_check_if(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                             tr_js_seen *seen) {
    tr_js_outcome outcome = try_branch(run, check->of.condition.when, instance, seen);
    if (outcome == TR_JS_STOP)
        return outcome;
    const tr_js_node *next = outcome == TR_JS_PASS ? check->of.condition.then : check->of.condition.otherwise;
    return next ? tr_js_evaluate(run, next, instance, seen) : TR_JS_PASS;
}

tr_js_outcome tr_js_check_dependent_schemas(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                            tr_js_seen *seen) {
    const cJSON *member;
    tr_js_outcome outcome = TR_JS_PASS;
    if (!cJSON_IsObject(instance))
        return TR_JS_PASS;
    cJSON_ArrayForEach(member, instance) {
        const tr_js_dependency *row = bsearch(member->string, check->of.dependencies.items,
                                              check->of.dependencies.count, sizeof *row, by_dependency);
        if (!tr_js_spend(run, 1))
            return TR_JS_STOP;
        if (row && (outcome = tr_js_evaluate(run, row->node, instance, seen)) != TR_JS_PASS)
            break;
    }
    return outcome;
}

/* ---- members ---- */

tr_js_outcome tr_js_check_property_names(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                         tr_js_seen *seen) {
    const cJSON *member;
    (void)seen;
    if (!cJSON_IsObject(instance))
        return TR_JS_PASS;
    cJSON_ArrayForEach(member, instance) {
        cJSON name = {.type = cJSON_String, .valuestring = member->string};
        const tr_js_place place = {run->place, member->string, 0};
        run->place = &place;
        tr_js_outcome outcome = try_quietly(run, check->of.node, &name, NULL);
        if (outcome == TR_JS_FAIL)
            tr_js_fail(run, "propertyNames", "a member of this name is not allowed");
        run->place = place.outer;
        if (outcome != TR_JS_PASS)
            return outcome;
    }
    return TR_JS_PASS;
}

static tr_js_outcome check_patterned(tr_js_run *run, const tr_js_members *m, const cJSON *member,
                                     bool *matched) {
    for (size_t i = 0; i < m->patterned_count; i++) {
        tr_js_outcome outcome = tr_js_run_match(run, m->patterned[i].pattern, member->string);
        if (outcome == TR_JS_PASS) {
            *matched = true;
            outcome = at_member(run, m->patterned[i].node, member);
            if (outcome != TR_JS_PASS)
                return outcome;
        } else if (outcome == TR_JS_STOP) {
            return outcome;
        }
    }
    return TR_JS_PASS;
}

tr_js_outcome tr_js_check_members(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                  tr_js_seen *seen) {
    const tr_js_members *m = &check->of.members;
    const cJSON *member;
    size_t i = 0;
    if (!cJSON_IsObject(instance))
        return TR_JS_PASS;
    cJSON_ArrayForEach(member, instance) {
        const tr_js_node *named = tr_js_member_node(m, member->string);
        bool matched = named != NULL;
        if (!tr_js_spend(run, 1))
            return TR_JS_STOP;
        tr_js_outcome outcome = named ? at_member(run, named, member) : TR_JS_PASS;
        if (outcome == TR_JS_PASS)
            outcome = check_patterned(run, m, member, &matched);
        if (outcome == TR_JS_PASS && !matched && m->additional) {
            matched = true;
            outcome = at_member(run, m->additional, member);
        }
        if (outcome != TR_JS_PASS)
            return outcome;
        if (matched)
            tr_js_seen_add(seen, i);
        i++;
    }
    return TR_JS_PASS;
}

/* ---- items ---- */

tr_js_outcome tr_js_check_items(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                tr_js_seen *seen) {
    const tr_js_items *items = &check->of.items;
    const cJSON *item;
    size_t i = 0;
    if (!cJSON_IsArray(instance))
        return TR_JS_PASS;
    cJSON_ArrayForEach(item, instance) {
        const tr_js_node *node = i < items->prefix_count ? items->prefix[i] : items->rest;
        if (!node)
            return TR_JS_PASS;
        if (!tr_js_spend(run, 1))
            return TR_JS_STOP;
        tr_js_outcome outcome = at_item(run, node, item, i);
        if (outcome != TR_JS_PASS)
            return outcome;
        tr_js_seen_add(seen, i++);
    }
    return TR_JS_PASS;
}

tr_js_outcome tr_js_check_contains(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                   tr_js_seen *seen) {
    const int64_t min = check->of.contains.min, max = check->of.contains.max;
    const cJSON *item;
    int64_t matches = 0;
    size_t i = 0;
    if (!cJSON_IsArray(instance))
        return TR_JS_PASS;
    cJSON_ArrayForEach(item, instance) {
        if (!tr_js_spend(run, 1))
            return TR_JS_STOP;
        tr_js_outcome outcome = try_quietly(run, check->of.contains.node, item, NULL);
        if (outcome == TR_JS_STOP)
            return outcome;
        if (outcome == TR_JS_PASS) {
            tr_js_seen_add(seen, i);
            matches++;
        }
        if (matches > max)
            return tr_js_fail(run, "maxContains", "must contain at most %lld matching items", (long long)max);
        if (!seen && max == INT64_MAX && matches >= min)
            return TR_JS_PASS;
        i++;
    }
    if (matches >= min)
        return TR_JS_PASS;
    return tr_js_fail(run, min == 1 ? "contains" : "minContains", "must contain at least %lld matching items",
                      (long long)min);
}

/* ---- what is left; `seen` is never NULL here ---- */

tr_js_outcome tr_js_check_unevaluated_items(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                            tr_js_seen *seen) {
    const cJSON *item;
    size_t i = 0;
    if (!cJSON_IsArray(instance))
        return TR_JS_PASS;
    cJSON_ArrayForEach(item, instance) {
        if (!tr_js_spend(run, 1))
            return TR_JS_STOP;
        tr_js_outcome outcome = tr_js_seen_has(seen, i) ? TR_JS_PASS : at_item(run, check->of.node, item, i);
        if (outcome != TR_JS_PASS)
            return outcome;
        i++;
    }
    tr_js_seen_add_all(seen);
    return TR_JS_PASS;
}

tr_js_outcome tr_js_check_unevaluated_members(tr_js_run *run, const tr_js_check *check, const cJSON *instance,
                                              tr_js_seen *seen) {
    const cJSON *member;
    size_t i = 0;
    if (!cJSON_IsObject(instance))
        return TR_JS_PASS;
    cJSON_ArrayForEach(member, instance) {
        if (!tr_js_spend(run, 1))
            return TR_JS_STOP;
        tr_js_outcome outcome = tr_js_seen_has(seen, i) ? TR_JS_PASS : at_member(run, check->of.node, member);
        if (outcome != TR_JS_PASS)
            return outcome;
        i++;
    }
    tr_js_seen_add_all(seen);
    return TR_JS_PASS;
}
