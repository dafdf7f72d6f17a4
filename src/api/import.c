/* POST /v1/import: batch by batch, with one result line for each line. Results go to an unlinked file, so
 * that neither the stream nor its answer is ever in memory whole.
 */
#include "api/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define FAILURES_MAX 10000
#define WRITE_TRIES  16

/* ---- results ---- */

static void result_line(tr_buf *out, const tr_import_line *line) {
    char type[80];
    tr_jw_open(out, NULL, '{');
    tr_jw_number(out, "line", line->number);
    if (line->status == TR_OK) {
        tr_jw_number(out, "status", 201);
        tr_jw_uuid(out, "subject", &line->subject);
        tr_jw_uuid(out, "record", &line->record);
    } else {
        snprintf(type, sizeof type, "urn:tresor:problem:%s", tr_status_slug(line->status));
        tr_jw_number(out, "status", tr_problem_status(line->status));
        tr_jw_text(out, "type", type);
        tr_jw_text(out, "detail", line->err.what[0] ? line->err.what : tr_problem_title(line->status));
        if (line->err.where[0] == '/' || line->status == TR_E_VALIDATION || line->status == TR_E_MALFORMED)
            tr_jw_text(out, "pointer", line->err.where);
    }
    tr_jw_close(out, '}');
    tr_buf_putc(out, '\n');
}

static tr_status spool_open(tr_import *import, tr_error *err) {
    import->spool = open(import->call->config->data, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return import->spool >= 0 ? TR_OK : tr_fail_errno(err, NULL, "cannot make a temporary file");
}

static tr_status spool_write(tr_import *import, const char *data, size_t len, tr_error *err) {
    while (len > 0) {
        ssize_t n = write(import->spool, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return tr_fail_errno(err, NULL, "cannot write a temporary file");
        data += n;
        len -= (size_t)n;
        import->spooled += n;
    }
    return TR_OK;
}

/* ---- a batch ---- */

static void batch_row(const tr_import *import, tr_import_batch *row) {
    memset(row, 0, sizeof *row);
    row->principal = import->call->who->principal;
    memcpy(row->key, import->call->key_hash, 32);
    row->number = import->number;
    memcpy(row->input, import->input, 32);
    row->lines = (int64_t)import->count;
    row->created_at = tr_now_ms();
    row->results = (tr_bytes){import->results.data, import->results.len};
}

/* The refusals of lines that named a subject, so that the subject sees who tried. */
static tr_status append_refusal(tr_import *import, tr_import_line *line, tr_db *tx, tr_error *err) {
    tr_event event = import->call->event;
    if (line->registers || (line->status != TR_E_NO_GRANT && line->status != TR_E_PURPOSE))
        return TR_OK;
    event.subject = &line->subject;
    event.type = line->type[0] ? line->type : NULL;
    event.outcome = line->status;
    import->anything = true;
    return tr_event_append(tx, &event, err);
}

static tr_status keep_may_register(void *context, const tr_principal *row, tr_error *err) {
    (void)err;
    *(bool *)context = row->may_register && !row->disabled;
    return TR_OK;
}

/* Prepared lines that failed are only reported; line->status of the others is set anew, since a job may run
 * twice. */
static tr_status batch_job(void *context, tr_db *tx, tr_error *err) {
    tr_import *import = context;
    tr_call *call = import->call;
    tr_import_batch row;
    bool may_register = false;
    tr_status st = call->ticket.persisted ? tr_token_check(tx, &call->ticket, err)
                                          : tr_token_persist(tx, &call->ticket, err);
    if (st == TR_OK) /* it may have been taken back since the import began */
        st = tr_principal_get(tx, &call->who->principal, keep_may_register, &may_register, err);
    tr_buf_reset(&import->results);
    import->stale = false;
    for (size_t i = 0; st == TR_OK && i < import->count; i++) {
        tr_import_line *line = &import->lines[i];
        if (line->prepared && line->registers && !may_register)
            line->status =
                tr_fail(&line->err, TR_E_FORBIDDEN, NULL, "this service may not register subjects any more");
        else if (line->prepared) {
            st = tr_import_insert_line(import, line, tx, err);
            import->anything = import->anything || line->status == TR_OK;
        } else {
            st = append_refusal(import, line, tx, err);
        }
        result_line(&import->results, line);
    }
    if (st == TR_OK)
        st = tr_buf_ok(&import->results, err);
    if (st == TR_OK && call->idempotency_key) {
        batch_row(import, &row);
        st = tr_import_batch_insert(tx, &row, err);
    }
    return st;
}

struct stored {
    tr_import *import;
    bool same;
};

static tr_status take_stored(void *context, const tr_import_batch *row, tr_error *err) {
    struct stored *s = context;
    s->same = memcmp(row->input, s->import->input, 32) == 0;
    tr_buf_reset(&s->import->results);
    tr_buf_append(&s->import->results, row->results.data, row->results.len);
    return tr_buf_ok(&s->import->results, err);
}

/* TR_E_NOT_FOUND when this batch was not imported before. */
static tr_status find_stored(tr_import *import, tr_error *err) {
    tr_call *call = import->call;
    struct stored s = {import, false};
    if (!call->idempotency_key)
        return TR_E_NOT_FOUND;
    tr_status st = tr_import_batch_get(call->db, &call->who->principal, call->key_hash, import->number,
                                       take_stored, &s, err);
    if (st == TR_OK && !s.same)
        return tr_fail(err, TR_E_IDEMPOTENCY, "Idempotency-Key", "was used for another stream");
    return st;
}

/* From the results, which a batch that was stored before has too. */
static int64_t count_failures(const tr_buf *results) {
    int64_t lines = 0, good = 0;
    for (const char *p = results->data; p && (p = strchr(p, '\n')); p++)
        lines++;
    for (const char *p = results->data; p && (p = strstr(p, ",\"status\":201,")); p++)
        good++;
    return lines - good;
}

/* Those that are not prepared yet; what was found wrong stays wrong. */
static tr_status prepare(tr_import *import, bool again, tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < import->count; i++) {
        tr_import_line *line = &import->lines[i];
        if (again && !(line->prepared && line->registers && tr_registration_stale(&line->registration)))
            continue;
        tr_import_clear_line(line);
        st = tr_import_prepare_line(import, line, err);
        line->prepared = line->status == TR_OK;
    }
    return st;
}

/* Anew while the master key was rotated between preparing and writing. */
static tr_status write_batch(tr_import *import, tr_error *err) {
    tr_status st = prepare(import, false, err);
    for (int i = 0; st == TR_OK && i < WRITE_TRIES; i++) {
        st = tr_store_write(tr_vault_store(import->call->vault), batch_job, import, err);
        if (st != TR_E_PRECONDITION || !import->stale)
            return st;
        st = prepare(import, true, err);
    }
    return st == TR_OK ? tr_fail(err, TR_E_BUSY, NULL, "the master key is rotated all the time") : st;
}

static tr_status import_batch(tr_import *import, tr_error *err) {
    tr_call *call = import->call;
    tr_status st = find_stored(import, err);
    if (st == TR_E_NOT_FOUND) {
        st = write_batch(import, err);
        if (st == TR_OK)
            call->ticket.persisted = true;
        for (size_t i = 0; i < import->count; i++)
            tr_import_clear_line(&import->lines[i]);
        if (st == TR_E_CONFLICT) /* the same import runs in another connection */
            st = tr_fail(err, TR_E_IN_PROGRESS, "Idempotency-Key", "the same import is running");
    }
    if (st == TR_OK)
        st = spool_write(import, import->results.data, import->results.len, err);
    import->failures += count_failures(&import->results);
    import->number++;
    return st;
}

/* A stream of nothing but faults is not read to its end: its results would fill the disk. */
static tr_status give_up(tr_import *import, tr_error *err) {
    tr_import_line last = {.number = import->line + 1, .status = TR_E_TOO_LARGE};
    tr_fail(&last.err, TR_E_TOO_LARGE, NULL, "more than %d lines are at fault: the rest was not read",
            FAILURES_MAX);
    tr_buf_reset(&import->results);
    result_line(&import->results, &last);
    import->call->response->close = true;
    return spool_write(import, import->results.data, import->results.len, err);
}

/* ---- the whole ---- */

static void clear_import(void *context) {
    tr_import *import = context;
    tr_rectype_unref(import->type);
    tr_buf_clear(&import->in);
    tr_buf_clear(&import->text);
    tr_buf_clear(&import->results);
    if (import->spool >= 0)
        close(import->spool);
}

static tr_status begin(tr_call *call, tr_import **out, tr_error *err) {
    const char *type = tr_call_query(call, "type");
    tr_import *import = tr_call_alloc(call, sizeof *import, clear_import, err);
    *out = import;
    if (!import)
        return TR_E_NOMEM;
    import->call = call;
    import->spool = -1;
    tr_status st = TR_OK;
    if (type) {
        st = tr_type_name_valid(type) ? tr_types_load(call->vault, call->db, type, &import->type, err)
                                      : TR_E_NOT_FOUND;
        if (st == TR_E_NOT_FOUND)
            st = tr_fail(err, TR_E_BAD_REQUEST, "type", "there is no such record type");
    }
    return st == TR_OK ? spool_open(import, err) : st;
}

tr_status tr_import_post(tr_call *call, tr_error *err) {
    tr_import *import;
    tr_status st = begin(call, &import, err);
    while (st == TR_OK) {
        st = tr_import_read_batch(import, err);
        if (st != TR_OK || import->count == 0)
            break;
        st = import_batch(import, err);
        if (st == TR_OK && import->failures > FAILURES_MAX) {
            st = give_up(import, err);
            break;
        }
        if (call->request->more_time)
            call->request->more_time(call->request);
    }
    if (st != TR_OK) {
        call->response->close = true;
        return st;
    }
    call->own_entries = import->anything;
    call->response->status = 200;
    call->response->content_type = "application/x-ndjson";
    call->response->body_fd = import->spool;
    call->response->body_fd_len = import->spooled;
    import->spool = -1;
    return TR_OK;
}
