#include "vault/retention_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/json.h"

static int by_type(const void *a, const void *b) {
    return strcmp(((const tr_end_rule *)a)->type, ((const tr_end_rule *)b)->type);
}

const tr_end_rule *tr_end_rules_find(const tr_end_rules *rules, const char *type) {
    tr_end_rule key = {0};
    if (rules->count == 0 || snprintf(key.type, sizeof key.type, "%s", type) >= (int)sizeof key.type)
        return NULL;
    const tr_end_rule *rule = bsearch(&key, rules->items, rules->count, sizeof key, by_type);
    return rule && !rule->endless ? rule : NULL;
}

/* Each activity's share first, types repeated. */
static tr_status add(tr_end_rules *rules, const char *type, const tr_end_rule *share, tr_error *err) {
    if ((rules->count & (rules->count - 1)) == 0) { /* full: twice as many */
        size_t room = rules->count ? rules->count * 2 : 1;
        tr_end_rule *items = realloc(rules->items, room * sizeof *items);
        if (!items)
            return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        rules->items = items;
    }
    tr_end_rule *rule = &rules->items[rules->count];
    *rule = *share;
    if (snprintf(rule->type, sizeof rule->type, "%s", type) < (int)sizeof rule->type)
        rules->count++; /* a longer name is no type's */
    return TR_OK;
}

static tr_status take_activity(void *context, const tr_activity *row, tr_error *err) {
    tr_end_rule share = {.until = row->ended_at ? row->ended_at : row->expires_at};
    tr_duration after = {0};
    cJSON *doc = NULL;
    const cJSON *type;
    tr_status st = tr_json_parse(row->doc, strlen(row->doc), &doc, err);
    const char *text = tr_json_string(doc, "retention_after_end");
    if (st == TR_OK && text && !tr_duration_parse(text, strlen(text), &after))
        st = tr_fail(err, TR_E_CORRUPT, "vault.db", "a stored activity is damaged");
    share.endless = share.until == 0;
    share.due_at = share.endless ? 0 : tr_duration_add(share.until, &after);
    cJSON_ArrayForEach(type, tr_json_member(doc, "record_types")) {
        if (st == TR_OK && cJSON_IsString(type))
            st = add(context, type->valuestring, &share, err);
    }
    cJSON_Delete(doc);
    return st;
}

/* One rule a type: whatever keeps its records longest. */
static void join(tr_end_rules *rules) {
    size_t n = 0;
    if (rules->count)
        qsort(rules->items, rules->count, sizeof *rules->items, by_type);
    for (size_t i = 0; i < rules->count; i++) {
        tr_end_rule *last = n ? &rules->items[n - 1] : NULL;
        const tr_end_rule *next = &rules->items[i];
        if (!last || strcmp(last->type, next->type) != 0) {
            rules->items[n++] = *next;
            continue;
        }
        last->endless |= next->endless;
        last->due_at = next->due_at > last->due_at ? next->due_at : last->due_at;
        last->until = next->until > last->until ? next->until : last->until;
    }
    rules->count = n;
}

tr_status tr_end_rules_load(tr_db *db, tr_end_rules *rules, tr_error *err) {
    *rules = (tr_end_rules){0};
    /* The stamp first: after a change in between, it is not the present one, and the rules are taken for old.
     */
    tr_status st = tr_activity_stamp(db, &rules->stamp, err);
    if (st == TR_OK)
        st = tr_activity_retaining(db, NULL, INT32_MAX, take_activity, rules, err);
    if (st == TR_OK)
        join(rules);
    return st;
}

void tr_end_rules_clear(tr_end_rules *rules) {
    free(rules->items);
    *rules = (tr_end_rules){0};
}
