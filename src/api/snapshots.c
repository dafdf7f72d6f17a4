/* Snapshots, for operators: what is in the backup target, making one, verifying one. */
#include <stdlib.h>
#include <string.h>

#include "api/resources.h"
#include "base/clock.h"
#include "vault/drill.h"

#define WAIT_MS 20000 /* for a task's end; then it is answered that it runs */

/* ---- JSON ---- */

static const char *state_of(const tr_snapshot_work *work) {
    return work->ended_at == 0 ? "running" : work->err.status == TR_OK ? "good" : "failed";
}

static void reason_json(tr_buf *out, const tr_snapshot_work *work) {
    bool failed = work->ended_at != 0 && work->err.status != TR_OK;
    tr_jw_text(out, "problem", failed ? tr_status_slug(work->err.status) : NULL);
    tr_jw_text(out, "reason", failed ? work->err.what : NULL);
}

static void verification_json(tr_buf *out, tr_vault *vault, const tr_uuid *id) {
    tr_snapshot_work work;
    bool runs = tr_snapshots_last(vault, TR_SNAPSHOT_VERIFY, &work) && tr_uuid_equal(&work.id, id);
    if (!runs && !tr_snapshots_verified(vault, id, &work)) {
        tr_jw_raw(out, "verification", "null", 4);
        return;
    }
    tr_jw_open(out, "verification", '{');
    tr_jw_text(out, "state", state_of(&work));
    tr_jw_time(out, "at", work.ended_at ? work.ended_at : work.begun_at);
    reason_json(out, &work);
    tr_jw_close(out, '}');
}

static void databases_json(tr_buf *out, const tr_snapshot_head *head) {
    tr_jw_open(out, "databases", '[');
    for (size_t i = 0; i < head->database_count; i++) {
        tr_jw_open(out, NULL, '{');
        tr_jw_text(out, "name", head->databases[i].name);
        tr_jw_number(out, "schema", head->databases[i].schema);
        tr_jw_number(out, "pages", head->databases[i].pages);
        tr_jw_number(out, "page_size", head->databases[i].page_size);
        tr_jw_close(out, '}');
    }
    tr_jw_close(out, ']');
}

static void item_json(tr_buf *out, tr_vault *vault, const tr_snapshot_item *item) {
    const tr_snapshot_head *head = &item->head;
    tr_jw_open(out, NULL, '{');
    tr_jw_uuid(out, "id", &head->id);
    tr_jw_text(out, "state", item->spooled ? "spooled" : "good");
    tr_jw_text(out, "kind", tr_snapshot_kind_name(head->kind));
    if (head->kind == TR_SNAPSHOT_INCREMENTAL)
        tr_jw_uuid(out, "base", &head->base);
    else
        tr_jw_raw(out, "base", "null", 4);
    tr_jw_time(out, "created_at", head->created_ms);
    tr_jw_number(out, "bytes", item->bytes);
    databases_json(out, head);
    tr_jw_number(out, "audit_seq", head->audit_seq);
    tr_jw_number(out, "master_key", head->master);
    tr_jw_bool(out, "recovery", head->has_recovery);
    verification_json(out, vault, &head->id);
    tr_jw_close(out, '}');
}

/* One that is being made, or was not. */
static void work_json(tr_buf *out, const char *name, const tr_snapshot_work *work) {
    tr_jw_open(out, name, '{');
    tr_jw_uuid(out, "id", &work->id);
    tr_jw_text(out, "state", state_of(work));
    tr_jw_time(out, "begun_at", work->begun_at);
    tr_jw_time(out, "ended_at", work->ended_at);
    reason_json(out, work);
    tr_jw_close(out, '}');
}

/* What is shipped between snapshots. */
static void log_json(tr_buf *out, tr_vault *vault) {
    tr_log_state log;
    if (!tr_snapshots_log(vault, &log)) {
        tr_jw_raw(out, "log", "null", 4);
        return;
    }
    tr_jw_open(out, "log", '{');
    tr_jw_uuid(out, "from", &log.id);
    tr_jw_number(out, "segments", log.number);
    tr_jw_time(out, "reached_at", log.at);
    tr_jw_close(out, '}');
}

/* The one that runs, else the newest result. */
static void drill_json(tr_buf *out, const char *name, tr_vault *vault) {
    tr_snapshot_work work;
    tr_drill drill;
    if (tr_snapshots_last(vault, TR_SNAPSHOT_DRILL, &work) && work.ended_at == 0) {
        drill = (tr_drill){.begun_at = work.begun_at};
        tr_drill_json(out, name, &drill);
    } else if (tr_drill_last(vault, &drill)) {
        tr_drill_json(out, name, &drill);
    } else {
        tr_jw_raw(out, name, "null", 4);
    }
}

/* What waits for the store. */
static void spool_json(tr_buf *out, tr_vault *vault) {
    tr_spool_state spool;
    if (!tr_snapshots_spool(vault, &spool)) {
        tr_jw_raw(out, "spool", "null", 4);
        return;
    }
    tr_jw_open(out, "spool", '{');
    tr_jw_number(out, "files", spool.files);
    tr_jw_number(out, "bytes", spool.bytes);
    tr_jw_bool(out, "away", spool.away);
    tr_jw_text(out, "reason", spool.away ? spool.why.what : NULL);
    tr_jw_close(out, '}');
}

/* ---- list, read ---- */

tr_status tr_snapshots_show(tr_call *call, tr_error *err) {
    tr_buf *out = &call->response->body;
    tr_snapshot_item *items = NULL;
    tr_snapshot_work work;
    size_t count = 0;
    tr_status st = tr_snapshots_list(call->vault, &items, &count, err);
    if (st != TR_OK)
        return st;
    tr_call_json(call, 200);
    tr_jw_open(out, NULL, '{');
    tr_jw_number(out, "every_s", call->config->backup_every_s);
    if (tr_snapshots_last(call->vault, TR_SNAPSHOT_MAKE, &work))
        work_json(out, "last", &work);
    else
        tr_jw_raw(out, "last", "null", 4);
    log_json(out, call->vault);
    drill_json(out, "drill", call->vault);
    spool_json(out, call->vault);
    tr_jw_open(out, "items", '[');
    for (size_t i = 0; i < count; i++)
        item_json(out, call->vault, &items[i]);
    tr_jw_close(out, ']');
    tr_call_next(out, NULL, 0);
    tr_jw_close(out, '}');
    free(items);
    return TR_OK;
}

/* One that is being made, or failed, is known by its task alone. */
static bool is_task(tr_call *call, const tr_uuid *id, tr_snapshot_work *work) {
    return tr_snapshots_last(call->vault, TR_SNAPSHOT_MAKE, work) && tr_uuid_equal(&work->id, id) &&
           (work->ended_at == 0 || work->err.status != TR_OK);
}

tr_status tr_snapshots_show_one(tr_call *call, tr_error *err) {
    tr_uuid id;
    tr_snapshot_item item;
    tr_snapshot_work work;
    tr_status st = tr_call_param_id(call, 0, &id, err);
    if (st != TR_OK)
        return st;
    bool task = is_task(call, &id, &work);
    if (!task)
        st = tr_snapshots_get(call->vault, &id, &item, err);
    if (st != TR_OK)
        return st;
    tr_call_json(call, 200);
    if (task)
        work_json(&call->response->body, NULL, &work);
    else
        item_json(&call->response->body, call->vault, &item);
    return TR_OK;
}

/* ---- tasks: they begin after the commit, so that the log knows who asked ---- */

typedef struct asked {
    tr_uuid id;
    tr_snapshot_task task;
    tr_snapshot_want want;
    char detail[TR_UUID_TEXT];
} asked;

static void answer_running(tr_call *call, const asked *a) {
    tr_snapshot_work work = {.id = a->id};
    (void)tr_snapshots_last(call->vault, a->task, &work);
    tr_buf_reset(&call->response->body);
    tr_call_json(call, 202);
    work_json(&call->response->body, NULL, &work);
}

static void run_task(tr_call *call) {
    const asked *a = call->effect_context;
    int status = a->task == TR_SNAPSHOT_MAKE ? 201 : 200;
    tr_snapshot_work work = {0};
    tr_snapshot_item item;
    tr_error err = {0};
    tr_status st = tr_snapshots_begin(call->vault, a->task, a->want, &a->id, &err);
    if (st == TR_OK && !tr_snapshots_wait(call->vault, a->task, &a->id, WAIT_MS, &work)) {
        answer_running(call, a);
        return;
    }
    if (st == TR_OK && a->task == TR_SNAPSHOT_MAKE && work.err.status != TR_OK) {
        err = work.err;
        st = err.status;
    }
    if (st == TR_OK)
        st = tr_snapshots_get(call->vault, &a->id, &item, &err);
    if (st != TR_OK) {
        tr_call_problem(call, &err);
        return;
    }
    tr_buf_reset(&call->response->body);
    tr_call_json(call, status);
    item_json(&call->response->body, call->vault, &item);
}

/* The answer, for whoever repeats the request, is that it was begun. */
static tr_status prepare_task(tr_call *call, tr_snapshot_task task, tr_snapshot_want want, const tr_uuid *id,
                              tr_error *err) {
    asked *a = tr_call_alloc(call, sizeof *a, NULL, err);
    tr_status st = a ? tr_snapshots_may_begin(call->vault, err) : TR_E_NOMEM;
    if (st != TR_OK)
        return st;
    *a = (asked){.id = *id, .task = task, .want = want};
    tr_uuid_format(id, a->detail);
    call->event.detail = a->detail;
    call->effect_context = a;
    call->after_commit = run_task;
    answer_running(call, a);
    return TR_OK;
}

/* ---- drill ---- */

static void answer_drill(tr_call *call, int status) {
    tr_buf_reset(&call->response->body);
    tr_call_json(call, status);
    drill_json(&call->response->body, NULL, call->vault);
}

static void run_drill(tr_call *call) {
    const asked *a = call->effect_context;
    tr_snapshot_work work;
    tr_error err = {0};
    tr_status st = tr_snapshots_begin(call->vault, TR_SNAPSHOT_DRILL, TR_WANT_AS_SET, &a->id, &err);
    if (st == TR_OK)
        answer_drill(call,
                     tr_snapshots_wait(call->vault, TR_SNAPSHOT_DRILL, &a->id, WAIT_MS, &work) ? 200 : 202);
    else
        tr_call_problem(call, &err);
}

/* Whoever repeats the request is told that it was begun. */
tr_status tr_snapshots_post_drill(tr_call *call, tr_error *err) {
    const tr_drill begun = {.begun_at = tr_now_ms()};
    asked *a = tr_call_alloc(call, sizeof *a, NULL, err);
    tr_status st = a ? tr_snapshots_may_begin(call->vault, err) : TR_E_NOMEM;
    if (st != TR_OK)
        return st;
    a->id = tr_uuid_new();
    call->effect_context = a;
    call->after_commit = run_drill;
    tr_call_json(call, 202);
    tr_drill_json(&call->response->body, NULL, &begun);
    return TR_OK;
}

/* ---- make, verify ---- */

tr_status tr_snapshots_post(tr_call *call, tr_error *err) {
    const tr_uuid id = tr_uuid_new();
    const char *kind = tr_json_string(call->body, "kind");
    const bool incremental = kind && strcmp(kind, "incremental") == 0;
    tr_status st =
        prepare_task(call, TR_SNAPSHOT_MAKE, incremental ? TR_WANT_INCREMENTAL : TR_WANT_FULL, &id, err);
    if (st == TR_OK)
        tr_call_location(call, "/v1/snapshots/", &id, NULL, NULL);
    return st;
}

tr_status tr_snapshots_post_verify(tr_call *call, tr_error *err) {
    tr_uuid id;
    tr_snapshot_item item;
    tr_status st = tr_call_param_id(call, 0, &id, err);
    if (st == TR_OK)
        st = tr_snapshots_get(call->vault, &id, &item, err);
    return st == TR_OK ? prepare_task(call, TR_SNAPSHOT_VERIFY, TR_WANT_FULL, &id, err) : st;
}

/* ---- delete ---- */

static void remove_now(tr_call *call) {
    const asked *a = call->effect_context;
    tr_error err = {0};
    if (tr_snapshots_remove(call->vault, &a->id, &err) != TR_OK)
        tr_call_problem(call, &err);
}

tr_status tr_snapshots_delete(tr_call *call, tr_error *err) {
    tr_snapshot_item item;
    asked *a = tr_call_alloc(call, sizeof *a, NULL, err);
    tr_status st = a ? tr_call_param_id(call, 0, &a->id, err) : TR_E_NOMEM;
    if (st == TR_OK)
        st = tr_snapshots_get(call->vault, &a->id, &item, err);
    if (st == TR_OK)
        st = tr_snapshots_may_remove(call->vault, &a->id, err);
    if (st != TR_OK)
        return st;
    tr_uuid_format(&a->id, a->detail);
    call->event.detail = a->detail;
    call->effect_context = a;
    call->after_commit = remove_now;
    call->response->status = 204;
    return TR_OK;
}
