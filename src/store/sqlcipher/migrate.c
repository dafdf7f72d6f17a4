/* Migrations: each in one transaction, the version in PRAGMA user_version. */
#include <stdio.h>
#include <string.h>

#include "store/migrations.h"
#include "store/sqlcipher/engine.h"

static bool is_for(const struct tr_migration_text *m, tr_db_kind kind) {
    const char *name = tr_db_name(kind); /* "vault.db" */
    size_t len = strlen(m->db);
    return strncmp(m->db, name, len) == 0 && strcmp(name + len, ".db") == 0;
}

static tr_status version_of(tr_conn *conn, int64_t *version, tr_error *err) {
    return tr_conn_pragma_int(conn, "PRAGMA user_version", version, err);
}

tr_status tr_migrate_check(tr_conn *conn, const struct tr_migration_text *list, size_t count, tr_error *err) {
    int64_t version = 0, known = 0;
    tr_status st = version_of(conn, &version, err);
    for (size_t i = 0; i < count; i++) {
        if (is_for(&list[i], conn->kind) && list[i].version > known)
            known = list[i].version;
    }
    if (st == TR_OK && version > known)
        st = tr_fail(err, TR_E_CONFIG, tr_db_name(conn->kind),
                     "%s was written by a newer Tresor (schema %lld, this one knows %lld)",
                     tr_db_name(conn->kind), (long long)version, (long long)known);
    return st;
}

static tr_status apply(tr_conn *conn, const struct tr_migration_text *m, tr_error *err) {
    char set[48];
    (void)snprintf(set, sizeof set, "PRAGMA user_version = %d", m->version);
    tr_status st = tr_conn_exec(conn, "BEGIN IMMEDIATE", err);
    if (st != TR_OK)
        return st;
    TR_TRY(tr_conn_exec(conn, m->sql, err));
    TR_TRY(tr_conn_exec(conn, set, err));
    st = tr_conn_exec(conn, "COMMIT", err);
out:
    if (st != TR_OK && !sqlite3_get_autocommit(conn->handle))
        (void)sqlite3_exec(conn->handle, "ROLLBACK", NULL, NULL, NULL);
    return st;
}

tr_status tr_migrate(tr_conn *conn, const struct tr_migration_text *list, size_t count, tr_error *err) {
    int64_t version = 0;
    tr_status st = version_of(conn, &version, err);
    for (size_t i = 0; i < count && st == TR_OK; i++) {
        if (is_for(&list[i], conn->kind) && list[i].version == version + 1) {
            st = apply(conn, &list[i], err);
            version++;
        }
    }
    return st;
}
