#include "vault/snapshot_chain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define CHAIN_MAX 10000 /* snapshots upon one another: more is a circle */

/* ---- names ---- */

void tr_segment_name(const tr_uuid *log, int64_t number, char name[TR_CHAIN_NAME]) {
    char id[TR_UUID_TEXT];
    tr_uuid_format(log, id);
    (void)snprintf(name, TR_CHAIN_NAME, TR_TARGET_LOG "/%s/%010" PRId64 TR_TARGET_ENDING, id, number);
}

int64_t tr_segment_number(const char *name) {
    const char *slash = strrchr(name, '/');
    const char *at = slash ? slash + 1 : name;
    int64_t number = 0;
    for (int i = 0; i < 10; i++) {
        if (at[i] < '0' || at[i] > '9')
            return 0;
        number = number * 10 + (at[i] - '0');
    }
    return strcmp(at + 10, TR_TARGET_ENDING) == 0 ? number : 0;
}

/* ---- the list ---- */

void tr_chain_free(tr_chain *chain) {
    free(chain->items);
    *chain = (tr_chain){0};
}

size_t tr_chain_length(const tr_chain *chain) {
    return chain->count + (chain->last ? (size_t)(chain->last - chain->first + 1) : 0);
}

void tr_chain_name(const tr_chain *chain, size_t i, char name[TR_CHAIN_NAME]) {
    if (i < chain->count)
        (void)snprintf(name, TR_CHAIN_NAME, "%s", chain->items[i].name);
    else
        tr_segment_name(&chain->log, chain->first + (int64_t)(i - chain->count), name);
}

static tr_status append(tr_chain *chain, const char *name, const tr_snapshot_head *head, tr_error *err) {
    if (chain->count == chain->room) {
        size_t room = chain->room ? chain->room * 2 : 8;
        tr_chain_item *grown = realloc(chain->items, room * sizeof *grown);
        if (!grown)
            return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        chain->items = grown;
        chain->room = room;
    }
    tr_chain_item *item = &chain->items[chain->count++];
    (void)snprintf(item->name, sizeof item->name, "%s", name);
    item->head = *head;
    return TR_OK;
}

static tr_status peek(tr_target *target, const char *name, tr_snapshot_head *head, tr_error *err) {
    tr_target_source *source = NULL;
    tr_status st = tr_target_read(target, name, &source, err);
    if (st == TR_OK)
        st = tr_snapshot_peek(tr_target_source_read, source, head, err);
    tr_target_source_close(source);
    return st;
}

static tr_status peek_snapshot(tr_target *target, const tr_uuid *id, char name[TR_CHAIN_NAME],
                               tr_snapshot_head *head, tr_error *err) {
    char text[TR_UUID_TEXT];
    tr_uuid_format(id, text);
    (void)snprintf(name, TR_CHAIN_NAME, TR_TARGET_SNAPSHOTS "/%s" TR_TARGET_ENDING, text);
    return peek(target, name, head, err);
}

static bool is_data(const tr_snapshot_head *head, const tr_uuid *vault) {
    return (head->kind == TR_SNAPSHOT_FULL || head->kind == TR_SNAPSHOT_INCREMENTAL) &&
           tr_uuid_equal(&head->vault, vault);
}

static void turn_round(tr_chain *chain) {
    for (size_t i = 0; i < chain->count / 2; i++) {
        tr_chain_item other = chain->items[i];
        chain->items[i] = chain->items[chain->count - 1 - i];
        chain->items[chain->count - 1 - i] = other;
    }
}

tr_status tr_chain_of(tr_target *target, const tr_uuid *vault, const tr_uuid *snapshot, tr_chain *out,
                      tr_error *err) {
    char name[TR_CHAIN_NAME], missing[TR_UUID_TEXT];
    tr_snapshot_head head = {.base = *snapshot};
    tr_status st = TR_OK;
    *out = (tr_chain){0};
    do {
        tr_uuid id = head.base;
        st = peek_snapshot(target, &id, name, &head, err);
        if (st == TR_OK && (!is_data(&head, vault) || !tr_uuid_equal(&head.id, &id)))
            st = TR_E_NOT_FOUND;
        if (st == TR_E_NOT_FOUND && out->count == 0)
            st = tr_fail(err, st, NULL, "there is no such snapshot of this vault");
        tr_uuid_format(&id, missing);
        if (st == TR_E_NOT_FOUND && out->count > 0)
            st = tr_fail(err, TR_E_CORRUPT, NULL, "the snapshot %s, upon which it is put, is missing",
                         missing);
        if (st == TR_OK)
            st = append(out, name, &head, err);
    } while (st == TR_OK && head.kind == TR_SNAPSHOT_INCREMENTAL && out->count < CHAIN_MAX);
    if (st == TR_OK && head.kind != TR_SNAPSHOT_FULL)
        st = tr_fail(err, TR_E_CORRUPT, NULL, "the snapshots are put upon one another in a circle");
    if (st == TR_OK)
        turn_round(out);
    else
        tr_chain_free(out);
    return st;
}

/* ---- the newest ---- */

struct choice {
    tr_target *target;
    const tr_uuid *vault;
    int64_t until;
    bool found;
    tr_snapshot_head head;
};

static tr_status look_at(void *context, const char *name, tr_error *err) {
    struct choice *c = context;
    tr_snapshot_head head;
    tr_status st = peek(c->target, name, &head, err);
    if (st == TR_E_CORRUPT || st == TR_E_CONFIG || st == TR_E_NOT_FOUND)
        return TR_OK;
    if (st == TR_OK && is_data(&head, c->vault) && head.created_ms <= c->until &&
        (!c->found || head.created_ms > c->head.created_ms)) {
        c->found = true;
        c->head = head;
    }
    return st;
}

tr_status tr_chain_newest(tr_target *target, const tr_uuid *vault, int64_t until, tr_chain *out,
                          tr_error *err) {
    struct choice c = {.target = target, .vault = vault, .until = until};
    *out = (tr_chain){0};
    tr_status st = tr_target_list(target, look_at, &c, err);
    if (st == TR_OK && !c.found)
        st = tr_fail(err, TR_E_NOT_FOUND, NULL, "there is no snapshot of this vault%s in it",
                     until == INT64_MAX ? "" : " from before that time");
    return st == TR_OK ? tr_chain_of(target, vault, &c.head.id, out, err) : st;
}

/* ---- the log ---- */

struct numbers {
    int64_t after, last; /* the highest behind that one */
};

static tr_status note_number(void *context, const char *name, tr_error *err) {
    struct numbers *n = context;
    int64_t number = tr_segment_number(name);
    (void)err;
    if (number > n->last)
        n->last = number;
    return TR_OK;
}

/* Is there one behind the gap that would have been wanted? */
static tr_status say_gap(tr_target *target, const tr_uuid *log, int64_t number, int64_t last, int64_t until,
                         int64_t reached, tr_error *err) {
    char name[TR_CHAIN_NAME], time[TR_TIME_TEXT];
    tr_snapshot_head head;
    for (int64_t next = number + 1; next <= last; next++) {
        tr_segment_name(log, next, name);
        tr_status st = peek(target, name, &head, err);
        if (st == TR_E_NOT_FOUND)
            continue;
        if (st != TR_OK || head.created_ms > until)
            return st;
        tr_segment_name(log, number, name);
        tr_time_format(reached, time);
        return tr_fail(err, TR_E_CORRUPT, name, "the segment is missing: no moment after %s can be reached",
                       time);
    }
    return TR_OK;
}

tr_status tr_chain_log(tr_target *target, int64_t until, tr_chain *chain, tr_error *err) {
    char folder[TR_CHAIN_NAME], name[TR_CHAIN_NAME], id[TR_UUID_TEXT];
    const tr_snapshot_head from = chain->items[chain->count - 1].head;
    struct numbers n = {.last = from.log_number};
    int64_t reached = from.created_ms;
    tr_snapshot_head head;
    tr_status st = TR_OK;
    if (tr_uuid_is_nil(&from.log))
        return TR_OK;
    chain->log = from.log;
    chain->first = from.log_number + 1;
    tr_uuid_format(&from.log, id);
    (void)snprintf(folder, sizeof folder, TR_TARGET_LOG "/%s", id);
    st = tr_target_list_in(target, folder, note_number, &n, err);
    for (int64_t number = from.log_number + 1; st == TR_OK && number <= n.last; number++) {
        tr_segment_name(&from.log, number, name);
        st = peek(target, name, &head, err);
        if (st == TR_E_NOT_FOUND)
            return say_gap(target, &from.log, number, n.last, until, reached, err);
        if (st != TR_OK || head.created_ms > until)
            break;
        chain->last = number;
        reached = head.created_ms;
    }
    return st;
}

/* ---- one after the other ---- */

tr_status tr_chain_follows(const tr_snapshot_head *before, const tr_snapshot_head *head,
                           const uint8_t sum[TR_SHA256_LEN], tr_error *err) {
    const bool segment = head->kind == TR_SNAPSHOT_SEGMENT;
    bool good = tr_uuid_equal(&before->vault, &head->vault) && before->database_count == head->database_count;
    for (size_t i = 0; good && i < head->database_count; i++)
        good = strcmp(before->databases[i].name, head->databases[i].name) == 0;
    if (segment)
        good = good && tr_uuid_equal(&before->log, &head->log) && head->log_number == before->log_number + 1;
    else
        good = good && head->kind == TR_SNAPSHOT_INCREMENTAL && tr_uuid_equal(&before->id, &head->base);
    if (segment && before->kind == TR_SNAPSHOT_SEGMENT)
        good = good && memcmp(head->log_previous, sum, TR_SHA256_LEN) == 0;
    return good ? TR_OK : tr_fail(err, TR_E_CORRUPT, NULL, "it does not follow the one before it");
}
