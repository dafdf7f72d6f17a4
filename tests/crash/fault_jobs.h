/* The steps that are one job: tr_job_fn, without context. */
#ifndef FAULT_JOBS_H
#define FAULT_JOBS_H

#include "store/store.h"

tr_status fault_job_principals(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_sessions(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_turn(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_types(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_activity(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_subjects(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_subject(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_record(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_records(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_replace_record(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_remove_record(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_grant(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_hold(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_request(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_notice(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_outcomes(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_disable(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_restrict_subject(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_rewrap(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_withdraw(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_lift_hold(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_fulfil(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_remove_type(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_begin_erasure(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_erase_some(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_end_erasure(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_remove_subject(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_end_sessions(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_remove_principal(void *context, tr_db *tx, tr_error *err);
tr_status fault_job_sweep(void *context, tr_db *tx, tr_error *err);

#endif
