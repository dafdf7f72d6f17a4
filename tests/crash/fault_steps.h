/* The workload of the fault tests: every kind of change that the store knows, one after the other, each with
 * an entry in the log. Only through store.h, with fixed ids and times, so that the same steps make the same
 * rows. */
#ifndef FAULT_STEPS_H
#define FAULT_STEPS_H

#include "store/store.h"

enum { VAULT_KEY, KEYS_KEY, AUDIT_KEY, NEW_VAULT_KEY, KEY_COUNT };

typedef struct fault_run {
    char dir[128];
    tr_secret *keys; /* KEY_COUNT */
    bool rekeyed;    /* the vault's key is the new one */
    tr_store *store; /* NULL: not open */
} fault_run;

typedef struct fault_step {
    const char *name;
    tr_job_fn job; /* or `act` */
    tr_status (*act)(fault_run *run, tr_error *err);
    bool deletes; /* once its half in keys.db is there, the other half must come */
    bool closed;  /* begins with no store open, on a folder that a kill left */
} fault_step;

extern const fault_step fault_steps[];
extern const int fault_step_count;

tr_status fault_open(fault_run *run, bool create, tr_error *err);
/* The step, as a user of the store does it. A job's entry in the log is {"step":N}. */
tr_status fault_do(fault_run *run, int step, tr_error *err);
/* What the sessions' rows hold, in one number. */
tr_status fault_sessions(tr_db *db, uint64_t *digest, tr_error *err);
void fault_digest(uint64_t *digest, const void *data, size_t len);

#endif
