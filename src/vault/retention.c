#include "vault/retention.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/json_write.h"
#include "vault/audit.h"
#include "vault/register.h"
#include "vault/retention_rules.h"
#include "vault/vault_internal.h"

#define BATCH        100  /* records a job: as many as an audit entry names */
#define BATCH_WEIGHT 500  /* rows a job, unless a single record has more */
#define PAGE         1000 /* records looked at in one statement */
#define SWEEP_MS     3000
#define DAY_MS       INT64_C(86400000)

/* ---- how long a type's records are kept ---- */

struct rule {
    tr_rectype *type;
    bool has_duration;
    tr_duration duration;   /* the type's x-retention */
    const tr_end_rule *end; /* or NULL */
};

static tr_status load_rule(tr_vault *vault, tr_db *db, const tr_end_rules *ends, const char *type,
                           struct rule *rule, tr_error *err) {
    *rule = (struct rule){.end = tr_end_rules_find(ends, type)};
    tr_status st = tr_types_load(vault, db, type, &rule->type, err);
    const char *text = st == TR_OK ? tr_rectype_retention(rule->type) : NULL;
    rule->has_duration = text && tr_duration_parse(text, strlen(text), &rule->duration);
    return st;
}

static bool end_is_due(const struct rule *rule, int64_t now) {
    return rule->end && rule->end->due_at <= now;
}

static bool is_due(const struct rule *rule, int64_t created_at, int64_t now) {
    return (rule->has_duration && tr_duration_add(created_at, &rule->duration) <= now) ||
           (end_is_due(rule, now) && created_at <= rule->end->until);
}

/* Is nothing due that was created as late, or later? Months differ in length: what was created some hours
 * later, at the end of a month, may be due up to a day earlier. */
static bool none_beyond(const struct rule *rule, int64_t created_at, int64_t now) {
    return !(rule->has_duration && tr_duration_add(created_at, &rule->duration) <= now + DAY_MS) &&
           !(end_is_due(rule, now) && created_at <= rule->end->until);
}

/* ---- what one subject has ---- */

struct dues {
    tr_vault *vault;
    tr_db *db;
    const tr_uuid *subject;
    tr_end_rules ends;
    struct named_due {
        tr_retention_due due;
        char type[TR_TYPE_NAME_MAX + 1];
    } * items;
    size_t count;
};

static tr_status add_due(struct dues *d, const tr_record_ages *ages, const tr_retention_due *due,
                         tr_error *err) {
    struct named_due *items = realloc(d->items, (d->count + 1) * sizeof *items);
    size_t n = strlen(ages->type);
    if (!items)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    d->items = items;
    if (n > TR_TYPE_NAME_MAX)
        return tr_fail(err, TR_E_CORRUPT, "vault.db", "a stored type is damaged");
    memcpy(items[d->count].type, ages->type, n + 1);
    items[d->count++].due = *due;
    return TR_OK;
}

static tr_status take_ages(void *context, const tr_record_ages *ages, tr_error *err) {
    struct dues *d = context;
    struct rule rule;
    tr_retention_due due = {.records = ages->count};
    tr_status st = load_rule(d->vault, d->db, &d->ends, ages->type, &rule, err);
    if (st == TR_OK && rule.has_duration) {
        due.due_at = tr_duration_add(ages->oldest, &rule.duration);
        st = add_due(d, ages, &due, err);
    }
    if (st == TR_OK && rule.end && ages->oldest <= rule.end->until) {
        due.due_at = rule.end->due_at;
        due.by_activity = true;
        if (ages->newest > rule.end->until)
            st = tr_record_count_until(d->db, d->subject, ages->type, rule.end->until, &due.records, err);
        if (st == TR_OK)
            st = add_due(d, ages, &due, err);
    }
    tr_rectype_unref(rule.type);
    return st;
}

static int by_due(const void *a, const void *b) {
    const struct named_due *x = a, *y = b;
    if (x->due.due_at != y->due.due_at)
        return x->due.due_at < y->due.due_at ? -1 : 1;
    int order = strcmp(x->type, y->type);
    return order ? order : (int)x->due.by_activity - (int)y->due.by_activity;
}

tr_status tr_retention_list(tr_vault *vault, tr_db *db, const tr_uuid *subject, tr_retention_fn fn,
                            void *context, tr_error *err) {
    struct dues d = {.vault = vault, .db = db, .subject = subject};
    tr_status st = tr_end_rules_load(db, &d.ends, err);
    if (st == TR_OK)
        st = tr_record_ages_list(db, subject, take_ages, &d, err);
    if (st == TR_OK && d.count)
        qsort(d.items, d.count, sizeof *d.items, by_due);
    for (size_t i = 0; st == TR_OK && i < d.count; i++) {
        d.items[i].due.type = d.items[i].type;
        st = fn(context, &d.items[i].due, err);
    }
    free(d.items);
    tr_end_rules_clear(&d.ends);
    return st;
}

void tr_retention_json(tr_buf *out, const tr_retention_due *due) {
    tr_jw_open(out, NULL, '{');
    tr_jw_text(out, "type", due->type);
    tr_jw_time(out, "due_at", due->due_at);
    tr_jw_number(out, "records", due->records);
    tr_jw_text(out, "rule", due->by_activity ? "activity" : "type");
    tr_jw_close(out, '}');
}

static tr_status print_due(void *context, const tr_retention_due *due, tr_error *err) {
    tr_retention_json(context, due);
    return tr_buf_ok(context, err);
}

tr_status tr_retention_of(tr_vault *vault, tr_db *db, const tr_uuid *subject, tr_buf *json, tr_error *err) {
    tr_jw_open(json, NULL, '[');
    tr_status st = tr_retention_list(vault, db, subject, print_due, json, err);
    tr_jw_close(json, ']');
    return st == TR_OK ? tr_buf_ok(json, err) : st;
}

/* ---- the sweep: one pass goes through all types, over as many sweeps as it takes ---- */

struct tr_retention {
    char walked[TR_TYPE_NAME_MAX + 1];  /* types up to this one are done in this pass; "": none */
    char walking[TR_TYPE_NAME_MAX + 1]; /* and this one up to the mark */
    tr_age_mark mark;
    bool unclean; /* erased rows may still be in a write-ahead log */
    _Atomic bool stop;
};

tr_status tr_retention_new(tr_retention **out, tr_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    (*out)->unclean = true; /* a process before this one may have been cut off before it cleaned up */
    return TR_OK;
}

void tr_retention_free(tr_retention *work) {
    free(work);
}

void tr_retention_end(tr_vault *vault) {
    vault->retention->stop = true;
}

struct batch {
    tr_vault *vault;
    tr_db *db; /* a reader's */
    const struct rule *rule;
    const tr_end_rules *ends;
    int64_t now;
    tr_aged_record items[BATCH];
    size_t count;
    int64_t weight;
    tr_age_mark seen; /* up to here everything was looked at */
    size_t rows;
    bool last; /* nothing behind is due */
};

static tr_status stands(void *context, const tr_hold *row, tr_error *err) {
    (void)context;
    (void)row;
    (void)err;
    return TR_OK;
}

/* Is anything of this subject to be erased now: is it there, not restricted, and under no hold? */
static tr_status may_erase(tr_db *db, const tr_uuid *subject, int64_t now, bool *may, tr_error *err) {
    tr_subject_row row;
    *may = false;
    tr_status st = tr_subject_get(db, subject, &row, err);
    if (st == TR_OK && !row.restricted_at) {
        st = tr_hold_standing(db, subject, now, stands, NULL, err);
        *may = st == TR_E_NOT_FOUND;
    }
    return st == TR_E_NOT_FOUND ? TR_OK : st;
}

static tr_status collect(void *context, const tr_aged_record *row, tr_error *err) {
    struct batch *b = context;
    bool may = false;
    tr_status st = TR_OK;
    b->last = none_beyond(b->rule, row->mark.created_at, b->now);
    if (b->last || b->count == BATCH || (b->count && b->weight + row->weight > BATCH_WEIGHT))
        return TR_STOP;
    if (is_due(b->rule, row->mark.created_at, b->now))
        st = may_erase(b->db, &row->subject, b->now, &may, err);
    if (st != TR_OK)
        return st;
    if (may) {
        b->items[b->count++] = *row;
        b->weight += row->weight;
    }
    b->rows++;
    b->seen = row->mark;
    return TR_OK;
}

static int by_subject(const void *a, const void *b) {
    const tr_aged_record *x = a, *y = b;
    int order = memcmp(x->subject.bytes, y->subject.bytes, sizeof x->subject.bytes);
    return order ? order : memcmp(x->id.bytes, y->id.bytes, sizeof x->id.bytes);
}

/* `count` records of one subject: those that are still there. */
static tr_status erase_of(const struct batch *b, tr_db *tx, const tr_aged_record *items, size_t count,
                          tr_error *err) {
    tr_uuid ids[BATCH];
    bool may = false;
    size_t erased = 0;
    tr_status st = may_erase(tx, &items->subject, b->now, &may, err);
    for (size_t i = 0; st == TR_OK && may && i < count; i++) {
        st = tr_record_delete(tx, &items[i].subject, &items[i].id, 0, err);
        if (st == TR_OK)
            ids[erased++] = items[i].id;
        st = st == TR_E_NOT_FOUND ? TR_OK : st;
    }
    if (st != TR_OK || erased == 0)
        return st;
    tr_event event = {.at = b->now,
                      .action = "retention.erase",
                      .subject = &items->subject,
                      .type = tr_rectype_name(b->rule->type),
                      .records = ids,
                      .record_count = erased,
                      .outcome = TR_OK};
    return tr_event_append(tx, &event, err);
}

/* The rules and what keeps a subject's records are looked at again: they may have changed since. */
static tr_status erase_batch(void *context, tr_db *tx, tr_error *err) {
    const struct batch *b = context;
    int64_t stamp = 0;
    tr_status st = tr_types_unchanged(tx, b->rule->type, err);
    if (st == TR_OK)
        st = tr_activity_stamp(tx, &stamp, err);
    if (st == TR_OK && stamp != b->ends->stamp)
        st = tr_fail(err, TR_E_PRECONDITION, NULL, "the activities were changed");
    for (size_t i = 0, n; st == TR_OK && i < b->count; i += n) {
        for (n = 1; i + n < b->count && tr_uuid_equal(&b->items[i].subject, &b->items[i + n].subject); n++) {
        }
        st = erase_of(b, tx, b->items + i, n, err);
    }
    return st;
}

static bool is_over(const tr_retention *work, int64_t until) {
    return work->stop || tr_monotonic_ms() >= until;
}

static tr_status walk_type(tr_vault *vault, tr_db *db, const struct rule *rule, const tr_end_rules *ends,
                           int64_t until, bool *done, tr_error *err) {
    tr_retention *work = vault->retention;
    struct batch b = {.vault = vault, .db = db, .rule = rule, .ends = ends, .now = tr_now_ms()};
    tr_status st = TR_OK;
    *done = !rule->has_duration && !end_is_due(rule, b.now);
    while (!*done && st == TR_OK && !is_over(work, until)) {
        b.count = b.rows = 0;
        b.weight = 0;
        b.seen = work->mark;
        b.last = false;
        st = tr_record_by_age(db, tr_rectype_name(rule->type), &work->mark, PAGE, collect, &b, err);
        bool end = b.last || (st == TR_OK && b.rows < PAGE);
        st = st == TR_STOP ? TR_OK : st;
        if (st == TR_OK && b.count) {
            qsort(b.items, b.count, sizeof *b.items, by_subject);
            st = tr_store_write(vault->store, erase_batch, &b, err);
            work->unclean |= st == TR_OK;
        }
        if (st == TR_OK)
            work->mark = b.seen;
        *done = st == TR_OK && end;
    }
    return st;
}

static tr_status keep_name(void *context, const tr_type *row, tr_error *err) {
    tr_retention *work = context;
    size_t n = strlen(row->name);
    if (n >= sizeof work->walking)
        return tr_fail(err, TR_E_CORRUPT, "vault.db", "a stored type is damaged");
    if (strcmp(work->walking, row->name) != 0) {
        memcpy(work->walking, row->name, n + 1);
        work->mark = (tr_age_mark){0};
    }
    return TR_STOP;
}

/* The next type of the pass, or the end of the pass. */
static tr_status next_type(tr_vault *vault, tr_db *db, bool *any, tr_error *err) {
    tr_retention *work = vault->retention;
    tr_status st = tr_type_list(db, work->walked, 1, keep_name, work, err);
    *any = st == TR_STOP;
    return st == TR_STOP ? TR_OK : st;
}

static void begin_pass(tr_retention *work) {
    work->walked[0] = work->walking[0] = '\0';
    work->mark = (tr_age_mark){0};
}

/* One type, or as much of it as there is time for. */
static tr_status walk_next(tr_vault *vault, tr_db *db, const tr_end_rules *ends, int64_t until, bool *done,
                           tr_error *err) {
    tr_retention *work = vault->retention;
    struct rule rule = {0};
    tr_status st = load_rule(vault, db, ends, work->walking, &rule, err);
    if (st == TR_OK)
        st = walk_type(vault, db, &rule, ends, until, done, err);
    if (st == TR_OK && *done)
        memcpy(work->walked, work->walking, sizeof work->walked);
    tr_rectype_unref(rule.type);
    return st;
}

static tr_status walk(tr_vault *vault, tr_db *db, const tr_end_rules *ends, int64_t until, bool *more,
                      tr_error *err) {
    tr_retention *work = vault->retention;
    tr_status st = TR_OK;
    bool any = true, done = true;
    while (st == TR_OK && any && done && !is_over(work, until)) {
        st = next_type(vault, db, &any, err);
        if (st == TR_OK && any)
            st = walk_next(vault, db, ends, until, &done, err);
    }
    /* A type or an activity was changed meanwhile: what is due is to be found out anew. */
    bool changed = st == TR_E_NOT_FOUND || st == TR_E_PRECONDITION;
    if (changed)
        st = TR_OK;
    if (changed || (st == TR_OK && !any))
        begin_pass(work);
    *more = st == TR_OK && (any || changed) && !work->stop;
    return st;
}

/* What the erased pages held must not stay in a write-ahead log. When a reader is in the way: the next time.
 */
static tr_status clean(tr_vault *vault, tr_error *err) {
    tr_retention *work = vault->retention;
    tr_status st = work->unclean ? tr_store_checkpoint(vault->store, err) : TR_OK;
    if (st == TR_OK)
        work->unclean = false;
    return st == TR_E_BUSY ? TR_OK : st;
}

tr_status tr_retention_sweep(tr_vault *vault, bool *more, tr_error *err) {
    tr_end_rules ends = {0};
    tr_db *db = NULL;
    bool expired = false;
    int64_t until = tr_monotonic_ms() + SWEEP_MS;
    *more = false;
    tr_status st = tr_store_reader(vault->store, &db, err);
    if (st == TR_OK)
        st = tr_activities_expire(vault, &expired, err);
    if (st == TR_OK)
        st = tr_end_rules_load(db, &ends, err);
    if (st == TR_OK)
        st = walk(vault, db, &ends, until, more, err);
    if (st == TR_OK && !*more)
        st = clean(vault, err);
    *more |= st == TR_OK && expired;
    tr_end_rules_clear(&ends);
    return st;
}
