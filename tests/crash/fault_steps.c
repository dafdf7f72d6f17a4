#include "fault_steps.h"

#include <stdio.h>
#include <string.h>

#include "fault_jobs.h"

/* ---- the store as a whole ---- */

static tr_status checkpoint(fault_run *run, tr_error *err) {
    return tr_store_checkpoint(run->store, err);
}

static tr_status count_page(void *context, const tr_db_page *page, tr_error *err) {
    (void)page, (void)err;
    ++*(int *)context;
    return TR_OK;
}

static tr_status moment(fault_run *run, tr_error *err) {
    tr_moment *m = NULL;
    int pages = 0;
    tr_status st = tr_moment_begin(run->store, TR_IN_VAULT | TR_IN_KEYS | TR_IN_AUDIT, &m, err);
    if (st == TR_OK)
        st = tr_moment_read(m, count_page, &pages, err);
    tr_moment_end(m);
    return st;
}

static tr_status check(fault_run *run, tr_error *err) {
    return tr_store_check(run->store, err);
}

tr_status fault_open(fault_run *run, bool create, tr_error *err) {
    tr_store_options options = {.data_dir = run->dir,
                                .vault_key = &run->keys[run->rekeyed ? NEW_VAULT_KEY : VAULT_KEY],
                                .keys_key = &run->keys[KEYS_KEY],
                                .audit_key = &run->keys[AUDIT_KEY],
                                .fold_ms = 3600000, /* nothing by the clock */
                                .create = create};
    return tr_store_open(&options, &run->store, err);
}

static tr_status open_store(fault_run *run, tr_error *err) {
    return fault_open(run, false, err);
}

static tr_status close_and_open(fault_run *run, tr_error *err) {
    tr_store_close(run->store);
    run->store = NULL;
    return fault_open(run, false, err);
}

static tr_status rekey(fault_run *run, tr_error *err) {
    int lock = -1;
    tr_status st = tr_store_lock(run->dir, &lock, err);
    if (st == TR_OK)
        st = tr_store_rekey(run->dir, "vault.db", &run->keys[VAULT_KEY], &run->keys[NEW_VAULT_KEY], err);
    run->rekeyed = st == TR_OK;
    tr_store_unlock(lock);
    return st;
}

/* ---- all of them ---- */

const fault_step fault_steps[] = {
    {"principals", .job = fault_job_principals},
    {"sessions", .job = fault_job_sessions},
    {"a token's turn", .job = fault_job_turn},
    {"types", .job = fault_job_types},
    {"an activity", .job = fault_job_activity},
    {"subjects and their keys", .job = fault_job_subjects},
    {"another subject", .job = fault_job_subject},
    {"a record", .job = fault_job_record},
    {"records", .job = fault_job_records},
    {"open after a kill", .act = open_store, .closed = true},
    {"records replaced", .job = fault_job_replace_record},
    {"a record deleted", .job = fault_job_remove_record},
    {"grants", .job = fault_job_grant},
    {"a hold", .job = fault_job_hold},
    {"requests", .job = fault_job_request},
    {"a notice", .job = fault_job_notice},
    {"outcomes", .job = fault_job_outcomes},
    {"checkpoint", .act = checkpoint},
    {"another turn", .job = fault_job_turn},
    {"a principal changed", .job = fault_job_disable},
    {"a restriction", .job = fault_job_restrict_subject},
    {"keys wrapped again", .job = fault_job_rewrap},
    {"a moment's pages", .act = moment},
    {"a grant withdrawn", .job = fault_job_withdraw},
    {"a hold lifted", .job = fault_job_lift_hold},
    {"a request fulfilled", .job = fault_job_fulfil},
    {"a type deleted", .job = fault_job_remove_type},
    {"an erasure begun", .job = fault_job_begin_erasure, .deletes = true},
    {"rows erased", .job = fault_job_erase_some},
    {"open in the midst of an erasure", .act = open_store, .closed = true},
    {"more rows erased", .job = fault_job_erase_some},
    {"the files cleaned", .act = checkpoint},
    {"the erasure's end", .job = fault_job_end_erasure},
    {"a subject deleted", .job = fault_job_remove_subject, .deletes = true},
    {"sessions ended", .job = fault_job_end_sessions},
    {"a principal deleted", .job = fault_job_remove_principal},
    {"a sweep", .job = fault_job_sweep},
    {"a check", .act = check},
    {"close and open", .act = close_and_open},
    {"the vault's key changed", .act = rekey, .closed = true},
};
const int fault_step_count = (int)(sizeof fault_steps / sizeof *fault_steps);

static tr_status with_entry(void *context, tr_db *tx, tr_error *err) {
    int step = *(int *)context;
    char entry[32];
    tr_status st = TR_OK;
    TR_TRY(fault_steps[step].job(NULL, tx, err));
    (void)snprintf(entry, sizeof entry, "{\"step\":%d}", step);
    st = tr_audit_append(tx, 1000 + step, NULL, (tr_bytes){entry, strlen(entry)}, err);
out:
    return st;
}

tr_status fault_do(fault_run *run, int step, tr_error *err) {
    return fault_steps[step].job ? tr_store_write(run->store, with_entry, &step, err)
                                 : fault_steps[step].act(run, err);
}
