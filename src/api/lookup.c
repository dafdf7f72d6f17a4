/* Look-up by the exact value of an indexed field. The value is in the body, never in a URL. */
#include <string.h>

#include "api/page.h"
#include "api/resources.h"
#include "vault/outcomes.h"
#include "vault/records.h"
#include "vault/restriction.h"

#define SCAN_MAX 1000 /* entries looked at in one request, shown or not */

typedef struct hit {
    tr_uuid subject, record;
} hit;

struct lookup {
    tr_call *call;
    const char *type, *field;
    uint8_t mac[16];
    int limit;
    int scanned;
    tr_uuid last; /* looked at */
    bool more;
    hit hits[TR_LIST_MAX];
    int count;
    tr_access access; /* of the subject looked at */
};

static void clear_lookup(void *lookup) {
    tr_access_clear(&((struct lookup *)lookup)->access);
}

/* May the caller know that this subject has such a record? A service not while its data are restricted. */
static tr_status may_see(struct lookup *l, const tr_uuid *subject, bool *may, tr_error *err) {
    const tr_caller *who = l->call->who;
    bool restricted = false;
    *may = who->role == TR_OFFICER ||
           (who->role == TR_SUBJECT && who->has_subject && tr_uuid_equal(subject, &who->subject));
    if (who->role != TR_SERVICE)
        return TR_OK;
    tr_access_clear(&l->access);
    tr_status st = tr_access_load(l->call->db, subject, &who->principal, &l->call->purpose, &l->access, err);
    *may = st == TR_OK && tr_access_sees(&l->access, l->type, l->field);
    if (*may)
        st = tr_restriction_is(l->call->db, subject, &restricted, err);
    *may = *may && !restricted;
    return st;
}

/* Restricted or erased since the handler looked: TR_E_PRECONDITION, so that it looks anew. */
static tr_status still_shown(const struct lookup *l, tr_db *tx, tr_error *err) {
    tr_status st = TR_OK;
    if (tr_edition_stands(tx, l->call->edition))
        return TR_OK;
    for (int i = 0; st == TR_OK && i < l->count; i++) {
        tr_subject_row row;
        st = tr_subject_get(tx, &l->hits[i].subject, &row, err);
        if (st == TR_E_NOT_FOUND || (st == TR_OK && row.restricted_at && l->call->who->role == TR_SERVICE))
            st = tr_fail(err, TR_E_PRECONDITION, NULL, "what was found has changed");
    }
    return st;
}

/* Whether there is more is said of what may be seen only; but a long row of hidden entries ends a page too.
 */
static tr_status take(void *context, const tr_record *row, tr_error *err) {
    struct lookup *l = context;
    bool may = false;
    tr_status st = may_see(l, &row->subject, &may, err);
    if (st != TR_OK)
        return st;
    l->more = l->scanned == SCAN_MAX || (may && l->count == l->limit);
    if (l->more)
        return TR_STOP;
    l->scanned++;
    l->last = row->id;
    if (may)
        l->hits[l->count++] = (hit){row->subject, row->id};
    return TR_OK;
}

/* One entry for each subject disclosed, so that each sees it among its accesses; one when there is none. */
static tr_status append_entries(void *context, tr_db *tx, tr_error *err) {
    struct lookup *l = context;
    tr_event event = l->call->event;
    tr_status st = still_shown(l, tx, err);
    event.outcome = TR_OK;
    if (st == TR_OK && l->count == 0)
        return tr_event_append(tx, &event, err);
    for (int i = 0; st == TR_OK && i < l->count; i++) {
        event.subject = &l->hits[i].subject;
        event.records = &l->hits[i].record;
        event.record_count = 1;
        st = tr_event_append(tx, &event, err);
    }
    return st;
}

static tr_status open_cursor(tr_call *call, const char *text, tr_uuid *id, tr_error *err) {
    uint8_t sealed[TR_SEALED_CURSOR_LEN];
    tr_status st = tr_call_cursor(text, "/after", sealed, sizeof sealed, err);
    if (st == TR_OK)
        st = tr_cursor_open(call->vault, &call->who->principal, sealed, id, err);
    return st == TR_E_CORRUPT ? tr_fail(err, TR_E_BAD_REQUEST, "/after", "is no cursor of this list") : st;
}

static tr_status prepare(struct lookup *l, const tr_uuid **after, tr_uuid *room, tr_error *err) {
    const cJSON *body = l->call->body;
    const char *cursor = tr_json_string(body, "after");
    int64_t limit = TR_LIST_DEFAULT;
    tr_rectype *type = NULL;
    tr_buf value = TR_BUF_INIT;
    tr_status st = TR_OK;
    (void)tr_json_int(body, "limit", &limit);
    l->limit = limit >= 1 && limit <= TR_LIST_MAX ? (int)limit : TR_LIST_DEFAULT;
    l->type = tr_json_string(body, "type");
    l->field = tr_json_string(body, "field");
    *after = cursor ? room : NULL;
    if (cursor)
        TR_TRY(open_cursor(l->call, cursor, room, err));
    TR_TRY(tr_known_type(l->call, l->type, "/type", &type, err));
    TR_TRY(tr_rectype_lookup_value(type, l->field, tr_json_member(body, "value"), &value, err));
    TR_TRY(tr_index_mac(l->call->vault, l->type, l->field, (tr_bytes){value.data, value.len}, l->mac, err));
out:
    tr_rectype_unref(type);
    tr_buf_clear(&value);
    return st;
}

tr_status tr_lookup(tr_call *call, tr_error *err) {
    tr_buf *out = &call->response->body;
    uint8_t cursor[TR_SEALED_CURSOR_LEN];
    tr_uuid room;
    const tr_uuid *after;
    struct lookup *l = tr_call_alloc(call, sizeof *l, clear_lookup, err);
    if (!l)
        return TR_E_NOMEM;
    l->call = call;
    tr_status st = prepare(l, &after, &room, err);
    if (st == TR_OK)
        st = tr_index_find(call->db, l->type, l->field, l->mac, after, SCAN_MAX + 1, take, l, err);
    if (st == TR_STOP)
        st = TR_OK;
    if (st == TR_OK && l->more)
        st = tr_cursor_seal(call->vault, &call->who->principal, &l->last, cursor, err);
    if (st != TR_OK)
        return st;
    tr_call_concerns(call, NULL, l->type, NULL);
    call->effect = append_entries;
    call->effect_context = l;
    call->own_entries = true;
    tr_page_open(call);
    for (int i = 0; i < l->count; i++) {
        tr_jw_open(out, NULL, '{');
        tr_jw_uuid(out, "subject", &l->hits[i].subject);
        tr_jw_uuid(out, "record", &l->hits[i].record);
        tr_jw_close(out, '}');
    }
    tr_page_close(call, l->more ? cursor : NULL, sizeof cursor);
    return tr_buf_ok(out, err);
}
