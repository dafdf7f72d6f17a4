#include "vault/register.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/json.h"
#include "vault/audit.h"
#include "vault/vault_internal.h"

#define EXPIRE_BATCH 50

int64_t tr_activity_ended(const tr_activity *row, int64_t now) {
    if (row->ended_at)
        return row->ended_at;
    return row->expires_at && row->expires_at <= now ? row->expires_at : 0;
}

tr_status tr_activity_take(const cJSON *doc, int64_t now, tr_activity *row, tr_error *err) {
    const char *expires = tr_json_string(doc, "expires"), *after = tr_json_string(doc, "retention_after_end");
    const cJSON *types = tr_json_member(doc, "record_types");
    tr_duration duration;
    row->expires_at = 0;
    row->retains = types && cJSON_GetArraySize(types) > 0;
    if (expires && (!tr_time_parse(expires, strlen(expires), &row->expires_at) || row->expires_at <= now))
        return tr_fail(err, TR_E_VALIDATION, "/expires", "must be a time to come");
    if (after && !tr_duration_parse(after, strlen(after), &duration))
        return tr_fail(err, TR_E_VALIDATION, "/retention_after_end",
                       "must be an ISO 8601 duration such as P10Y");
    return TR_OK;
}

/* ---- the end that was known beforehand ---- */

struct expired {
    int64_t now;
    struct {
        tr_activity row;
        tr_buf doc;
    } items[EXPIRE_BATCH];
    size_t count;
};

static tr_status keep_expired(void *context, const tr_activity *row, tr_error *err) {
    struct expired *e = context;
    tr_buf *doc = &e->items[e->count].doc;
    tr_activity *copy = &e->items[e->count].row;
    *copy = *row;
    tr_buf_reset(doc);
    tr_buf_puts(doc, row->doc);
    copy->doc = doc->data;
    copy->ended_at = row->expires_at;
    copy->updated_at = e->now;
    copy->version++;
    e->count++;
    return tr_buf_ok(doc, err);
}

static tr_status end_expired(void *context, tr_db *tx, tr_error *err) {
    struct expired *e = context;
    e->count = 0;
    tr_status st = tr_activity_expired(tx, e->now, EXPIRE_BATCH, keep_expired, e, err);
    for (size_t i = 0; st == TR_OK && i < e->count; i++) {
        tr_event event = {
            .at = e->now, .action = "activity.expire", .purpose = &e->items[i].row.id, .outcome = TR_OK};
        st = tr_activity_update(tx, &e->items[i].row, err);
        if (st == TR_OK)
            st = tr_event_append(tx, &event, err);
    }
    return st;
}

static tr_status seen(void *context, const tr_activity *row, tr_error *err) {
    (void)row;
    (void)err;
    *(bool *)context = true;
    return TR_OK;
}

tr_status tr_activities_expire(tr_vault *vault, bool *more, tr_error *err) {
    tr_db *db = NULL;
    bool any = false;
    struct expired *e = NULL;
    tr_status st = tr_store_reader(vault->store, &db, err);
    *more = false;
    if (st == TR_OK) /* most of the time there is none, and nothing to write */
        st = tr_activity_expired(db, tr_now_ms(), 1, seen, &any, err);
    if (st != TR_OK || !any)
        return st;
    e = calloc(1, sizeof *e);
    if (!e)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    e->now = tr_now_ms();
    st = tr_store_write(vault->store, end_expired, e, err);
    *more = st == TR_OK && e->count == EXPIRE_BATCH;
    for (size_t i = 0; i < EXPIRE_BATCH; i++)
        tr_buf_clear(&e->items[i].doc);
    free(e);
    return st;
}
