/* How much is there, for drills: each statement reads the smallest index of its table from end to end. */
#include "store/sqlcipher/engine.h"

static const char sql_subjects[] = "SELECT count(*) FROM subjects WHERE erasing_at = 0";
static const char sql_records[] = "SELECT count(*) FROM records";
static const char sql_principals[] = "SELECT count(*) FROM principals";
static const char sql_grants[] = "SELECT count(*) FROM grants";
static const char sql_entries[] = "SELECT count(*) FROM entries";

tr_status tr_store_count_offline(const char *data_dir, const tr_secret *vault_key, const tr_secret *audit_key,
                                 tr_store_counts *out, tr_error *err) {
    tr_source source = {.dir = ""};
    tr_db offline = {.source = &source}, *db = &offline;
    tr_status st = TR_OK;
    *out = (tr_store_counts){0};
    TR_TRY(tr_source_set(&source, data_dir, (const tr_secret *const[]){vault_key, NULL, audit_key}, err));
    TR_TRY(tr_count(db, TR_DB_VAULT, sql_subjects, NULL, &out->subjects, err));
    TR_TRY(tr_count(db, TR_DB_VAULT, sql_records, NULL, &out->records, err));
    TR_TRY(tr_count(db, TR_DB_VAULT, sql_principals, NULL, &out->principals, err));
    TR_TRY(tr_count(db, TR_DB_VAULT, sql_grants, NULL, &out->grants, err));
    st = tr_count(db, TR_DB_AUDIT, sql_entries, NULL, &out->audit_entries, err);
out:
    tr_db_close(db);
    tr_source_clear(&source);
    return st;
}
