/* Which subjects an incident touched, page by page. */
#include <string.h>

#include "api/incidents.h"
#include "api/page.h"
#include "base/clock.h"

/* A cursor holds where the list is, and what its first page found out: which part of the log has what counts,
 * so that the pages belong together and the others need not read all of it, and the total. */
enum { AT_FIRST = 16, AT_LAST = 24, AT_UPTO = 32, AT_TOTAL = 40, CURSOR_LEN = 48 };

static void put(uint8_t *at, int64_t value) {
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)((uint64_t)value >> (56 - 8 * i));
}

static int64_t get(const uint8_t *at) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | at[i];
    return (int64_t)value;
}

struct listing {
    tr_scope scope;
    tr_affected found;
    uint8_t cursor[CURSOR_LEN];
    tr_uuid after;
    int64_t upto;
};

static void clear_listing(void *listing) {
    tr_affected_clear(&((struct listing *)listing)->found);
}

/* ---- the scope: the query's, or else the incident's ---- */

static tr_status take_time(const tr_call *call, const char *name, int64_t *ms, tr_error *err) {
    const char *text = tr_call_query(call, name);
    return !text || (tr_time_parse(text, strlen(text), ms) && *ms > 0)
               ? TR_OK
               : tr_fail(err, TR_E_BAD_REQUEST, name, "must be a time");
}

static bool is_hex(const char *text) {
    return strlen(text) == TR_SESSION_REF && strspn(text, "0123456789abcdef") == TR_SESSION_REF;
}

static tr_status take_query(const tr_call *call, tr_scope *scope, tr_error *err) {
    const char *principal = tr_call_query(call, "principal"), *session = tr_call_query(call, "session");
    const char *address = tr_call_query(call, "address");
    tr_status st = TR_OK;
    *scope = (tr_scope){0};
    if (principal &&
        !tr_uuid_parse(principal, strlen(principal), &scope->principals[scope->principal_count++]))
        TR_TRY(tr_fail(err, TR_E_BAD_REQUEST, "principal", "must be an id"));
    if (session && (!is_hex(session) || !tr_scope_add_session(scope, session)))
        TR_TRY(tr_fail(err, TR_E_BAD_REQUEST, "session", "must be 16 hex digits, as in the audit log"));
    if (address && (strspn(address, "0123456789abcdefABCDEF.:%") != strlen(address) || !address[0] ||
                    !tr_scope_add_address(scope, address)))
        TR_TRY(tr_fail(err, TR_E_BAD_REQUEST, "address", "must be an address"));
    TR_TRY(take_time(call, "from", &scope->from, err));
    TR_TRY(take_time(call, "to", &scope->to, err));
    if (scope->from && scope->to && scope->to < scope->from)
        st = tr_fail(err, TR_E_BAD_REQUEST, "to", "must not be before from");
out:
    return st;
}

static tr_status choose_scope(tr_call *call, const tr_incident_case *c, tr_scope *scope, tr_error *err) {
    tr_status st = take_query(call, scope, err);
    if (st == TR_OK && tr_scope_is_empty(scope))
        st = tr_incident_scope(call->db, c, scope, err);
    if (st == TR_OK && tr_scope_is_empty(scope))
        st = tr_fail(err, TR_E_CONFLICT, NULL,
                     "the incident has no scope that says which accesses are in question");
    return st;
}

/* ---- the page ---- */

static tr_status choose_part(tr_call *call, struct listing *l, int limit, tr_affected_part *part,
                             tr_error *err) {
    const char *text = tr_call_query(call, "after");
    tr_store_stats stats;
    *part = (tr_affected_part){.limit = (size_t)limit};
    if (text) {
        tr_status st = tr_call_cursor(text, "after", l->cursor, sizeof l->cursor, err);
        memcpy(l->after.bytes, l->cursor, sizeof l->after.bytes);
        part->after = &l->after;
        part->first = get(l->cursor + AT_FIRST);
        part->upto = get(l->cursor + AT_LAST);
        l->upto = get(l->cursor + AT_UPTO);
        return st;
    }
    tr_store_get_stats(tr_vault_store(call->vault), &stats);
    part->first = 1;
    part->upto = l->upto = (int64_t)stats.audit_seq;
    part->count_all = true;
    return TR_OK;
}

static void subject_json(tr_buf *out, const tr_affected *found, const tr_touched *t) {
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "subject", &t->subject);
    tr_jw_time(out, "first_at", t->first_at);
    tr_jw_time(out, "last_at", t->last_at);
    tr_jw_number(out, "count", t->count);
    tr_jw_open(out, "actions", '[');
    for (int i = 0; i < found->action_count; i++) {
        if (t->actions >> i & 1)
            tr_jw_text(out, NULL, found->actions[i]);
    }
    tr_jw_close(out, ']');
    tr_jw_close(out, '}');
}

static tr_status page_json(tr_call *call, struct listing *l, bool first, tr_error *err) {
    tr_buf *out = &call->response->body;
    const tr_affected *found = &l->found;
    if (first) {
        put(l->cursor + AT_FIRST, found->first);
        put(l->cursor + AT_LAST, found->last);
        put(l->cursor + AT_UPTO, l->upto);
        put(l->cursor + AT_TOTAL, found->total);
    }
    tr_call_json(call, 200);
    tr_jw_open(out, NULL, '{');
    tr_jw_number(out, "total", get(l->cursor + AT_TOTAL));
    tr_jw_number(out, "upto", l->upto);
    tr_scope_json(out, "scope", &l->scope);
    tr_jw_open(out, "items", '[');
    for (size_t i = 0; i < found->count; i++)
        subject_json(out, found, &found->rows[i]);
    tr_jw_close(out, ']');
    if (found->more)
        memcpy(l->cursor, found->rows[found->count - 1].subject.bytes, sizeof l->after.bytes);
    tr_call_next(out, found->more ? l->cursor : NULL, sizeof l->cursor);
    tr_jw_close(out, '}');
    return tr_buf_ok(out, err);
}

tr_status tr_incidents_affected(tr_call *call, tr_error *err) {
    tr_incident_case *c = NULL;
    tr_affected_part part;
    const tr_uuid *none;
    int limit = 0;
    tr_status st = TR_OK;
    struct listing *l = tr_call_alloc(call, sizeof *l, clear_listing, err);
    if (!l)
        return TR_E_NOMEM;
    TR_TRY(tr_call_page(call, &limit, NULL, &none, err));
    TR_TRY(tr_incident_of_path(call, &c, err));
    TR_TRY(choose_scope(call, c, &l->scope, err));
    TR_TRY(choose_part(call, l, limit, &part, err));
    TR_TRY(tr_affected_find(call->db, &l->scope, &part, &l->found, err));
    st = page_json(call, l, !part.after, err);
out:
    return st;
}
