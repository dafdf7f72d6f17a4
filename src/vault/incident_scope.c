#include "vault/incident_scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/json_write.h"
#include "vault/recipients.h"

#define BATCH 2000 /* entries in one view of the log */

/* ---- the scope ---- */

bool tr_scope_is_empty(const tr_scope *s) {
    return !s->principal_count && !s->session_count && !s->address_count && !s->from && !s->to;
}

bool tr_scope_add_session(tr_scope *s, const char *session) {
    for (size_t i = 0; i < s->session_count; i++) {
        if (strcmp(s->sessions[i], session) == 0)
            return true;
    }
    if (s->session_count == TR_SCOPE_MAX || strlen(session) != TR_SESSION_REF)
        return false;
    memcpy(s->sessions[s->session_count++], session, TR_SESSION_REF + 1);
    return true;
}

bool tr_scope_add_address(tr_scope *s, const char *address) {
    for (size_t i = 0; i < s->address_count; i++) {
        if (strcmp(s->addresses[i], address) == 0)
            return true;
    }
    if (s->address_count == TR_SCOPE_MAX || strlen(address) >= TR_ADDRESS_TEXT)
        return false;
    memcpy(s->addresses[s->address_count++], address, strlen(address) + 1);
    return true;
}

static bool add_principal(tr_scope *s, const char *text) {
    return s->principal_count < TR_SCOPE_MAX &&
           tr_uuid_parse(text, strlen(text), &s->principals[s->principal_count]) && ++s->principal_count;
}

static tr_status wrong(const char *pointer, const char *member, const char *what, tr_error *err) {
    char where[80];
    snprintf(where, sizeof where, "%s/%s", pointer, member);
    return tr_fail(err, TR_E_VALIDATION, where, "%s", what);
}

static tr_status read_list(const cJSON *object, const char *pointer, const char *member, tr_scope *s,
                           bool (*add)(tr_scope *, const char *), tr_error *err) {
    const cJSON *item;
    cJSON_ArrayForEach(item, tr_json_member(object, member)) {
        const char *text = cJSON_GetStringValue(item);
        if (!text || !add(s, text))
            return wrong(pointer, member, "holds what is none, or too many", err);
    }
    return TR_OK;
}

static tr_status read_time(const cJSON *object, const char *pointer, const char *member, int64_t *ms,
                           tr_error *err) {
    const char *text = tr_json_string(object, member);
    return !text || (tr_time_parse(text, strlen(text), ms) && *ms > 0)
               ? TR_OK
               : wrong(pointer, member, "must be a time", err);
}

tr_status tr_scope_read(const cJSON *object, const char *pointer, tr_scope *out, tr_error *err) {
    tr_status st = TR_OK;
    *out = (tr_scope){0};
    TR_TRY(read_list(object, pointer, "principals", out, add_principal, err));
    TR_TRY(read_list(object, pointer, "sessions", out, tr_scope_add_session, err));
    TR_TRY(read_list(object, pointer, "addresses", out, tr_scope_add_address, err));
    TR_TRY(read_time(object, pointer, "from", &out->from, err));
    TR_TRY(read_time(object, pointer, "to", &out->to, err));
    if (out->from && out->to && out->to < out->from)
        st = wrong(pointer, "to", "must not be before from", err);
out:
    return st;
}

void tr_scope_json(tr_buf *out, const char *name, const tr_scope *s) {
    tr_jw_open(out, name, '{');
    tr_jw_open(out, "principals", '[');
    for (size_t i = 0; i < s->principal_count; i++)
        tr_jw_uuid(out, NULL, &s->principals[i]);
    tr_jw_close(out, ']');
    tr_jw_open(out, "sessions", '[');
    for (size_t i = 0; i < s->session_count; i++)
        tr_jw_text(out, NULL, s->sessions[i]);
    tr_jw_close(out, ']');
    tr_jw_open(out, "addresses", '[');
    for (size_t i = 0; i < s->address_count; i++)
        tr_jw_text(out, NULL, s->addresses[i]);
    tr_jw_close(out, ']');
    tr_jw_time(out, "from", s->from);
    tr_jw_time(out, "to", s->to);
    tr_jw_close(out, '}');
}

/* ---- is an entry in it? ----
 * Entries are our own compact JSON, flat but for the ids in `records`, and a quote inside a text is escaped:
 * so a member's text stands in an entry exactly when the entry has that member. */

typedef struct pattern {
    char text[80];
    size_t len;
} pattern;

typedef struct patterns {
    pattern items[2 * TR_SCOPE_MAX];
    size_t count;
} patterns;

typedef struct walk {
    const tr_scope *scope;
    const tr_affected_part *part;
    tr_affected *out;
    patterns principals, sessions, addresses;
    tr_recipients seen; /* a set of ids, here of subjects */
    int64_t at;         /* the newest entry looked at */
    int entries;        /* of this batch */
} walk;

static void add_pattern(patterns *p, const char *member, const char *text) {
    pattern *item = &p->items[p->count++];
    item->len = (size_t)snprintf(item->text, sizeof item->text, "\"%s\":\"%s\"", member, text);
}

static void make_patterns(walk *w) {
    char id[TR_UUID_TEXT];
    for (size_t i = 0; i < w->scope->principal_count; i++) {
        tr_uuid_format(&w->scope->principals[i], id);
        add_pattern(&w->principals, "principal", id);
    }
    for (size_t i = 0; i < w->scope->session_count; i++) {
        add_pattern(&w->sessions, "session", w->scope->sessions[i]);
        add_pattern(&w->sessions, "origin", w->scope->sessions[i]);
    }
    for (size_t i = 0; i < w->scope->address_count; i++)
        add_pattern(&w->addresses, "address", w->scope->addresses[i]);
}

static bool has_one(const tr_audit_row *row, const patterns *p) {
    for (size_t i = 0; i < p->count; i++) {
        if (memmem(row->entry.data, row->entry.len, p->items[i].text, p->items[i].len))
            return true;
    }
    return p->count == 0;
}

static bool takes_in(const walk *w, const tr_audit_row *row) {
    static const char good[] = "\"outcome\":\"ok\"";
    const tr_scope *s = w->scope;
    return row->has_subject && (!s->from || row->at >= s->from) && (!s->to || row->at <= s->to) &&
           memmem(row->entry.data, row->entry.len, good, sizeof good - 1) && has_one(row, &w->principals) &&
           has_one(row, &w->sessions) && has_one(row, &w->addresses);
}

/* ---- the page of subjects ---- */

/* The action's bit; actions beyond the room for them are not told. */
static uint64_t action_bit(tr_affected *out, const tr_audit_row *row) {
    static const char member[] = "\"action\":\"";
    const char *end = (const char *)row->entry.data + row->entry.len;
    const char *at = memmem(row->entry.data, row->entry.len, member, sizeof member - 1);
    const char *quote =
        at ? memchr(at + sizeof member - 1, '"', (size_t)(end - at) - (sizeof member - 1)) : NULL;
    char name[sizeof out->actions[0]];
    if (!quote)
        return 0;
    snprintf(name, sizeof name, "%.*s", (int)(quote - at - (long)(sizeof member - 1)),
             at + sizeof member - 1);
    int i = 0;
    while (i < out->action_count && strcmp(out->actions[i], name) != 0)
        i++;
    if (i == TR_AFFECTED_ACTIONS)
        return 0;
    if (i == out->action_count)
        memcpy(out->actions[out->action_count++], name, sizeof name);
    return UINT64_C(1) << i;
}

/* Where the subject is, or belongs. */
static size_t place(const tr_affected *out, const tr_uuid *subject, bool *there) {
    size_t low = 0, high = out->count;
    *there = false;
    while (low < high && !*there) {
        size_t middle = (low + high) / 2;
        int order = memcmp(out->rows[middle].subject.bytes, subject->bytes, sizeof subject->bytes);
        *there = order == 0;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return *there ? high : low;
}

/* The first `room` subjects in order are kept. One that fell out lies behind all that are kept, and they only
 * come to lie nearer: it cannot come back, so what is kept is counted from its first entry on. */
static void take_subject(walk *w, const tr_audit_row *row) {
    tr_affected *out = w->out;
    const tr_uuid *after = w->part->after;
    bool there = false;
    if (after && memcmp(row->subject.bytes, after->bytes, sizeof after->bytes) <= 0)
        return;
    size_t at = place(out, &row->subject, &there);
    if (!there) {
        if (out->count == out->room) {
            out->more = true;
            if (at == out->room)
                return;
            out->count--;
        }
        memmove(&out->rows[at + 1], &out->rows[at], (out->count - at) * sizeof *out->rows);
        out->rows[at] = (tr_touched){.subject = row->subject, .first_at = row->at, .last_at = row->at};
        out->count++;
    }
    tr_touched *t = &out->rows[at];
    t->count++;
    t->first_at = row->at < t->first_at ? row->at : t->first_at;
    t->last_at = row->at > t->last_at ? row->at : t->last_at;
    t->actions |= action_bit(out, row);
}

static tr_status look(void *context, const tr_audit_row *row, tr_error *err) {
    walk *w = context;
    if (row->seq > w->part->upto)
        return TR_STOP;
    w->at = row->seq;
    w->entries++;
    if (!takes_in(w, row))
        return TR_OK;
    w->out->first = w->out->first ? w->out->first : row->seq;
    w->out->last = row->seq;
    take_subject(w, row);
    return w->part->count_all ? tr_recipients_add(&w->seen, &row->subject, err) : TR_OK;
}

tr_status tr_affected_find(tr_db *db, const tr_scope *scope, const tr_affected_part *part, tr_affected *out,
                           tr_error *err) {
    tr_status st = TR_OK;
    walk *w = calloc(1, sizeof *w);
    *out = (tr_affected){.room = part->limit, .total = -1};
    out->rows = calloc(part->limit + 1, sizeof *out->rows);
    if (!w || !out->rows) {
        free(w);
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    }
    *w = (walk){.scope = scope, .part = part, .out = out, .at = part->first > 0 ? part->first - 1 : 0};
    make_patterns(w);
    do {
        w->entries = 0;
        st = tr_audit_list(db, NULL, w->at, false, BATCH, look, w, err);
    } while (st == TR_OK && w->entries == BATCH);
    if (st == TR_STOP)
        st = TR_OK;
    if (st == TR_OK && part->count_all)
        out->total = (int64_t)w->seen.count;
    tr_recipients_clear(&w->seen);
    free(w);
    return st;
}

void tr_affected_clear(tr_affected *affected) {
    free(affected->rows);
    *affected = (tr_affected){0};
}
