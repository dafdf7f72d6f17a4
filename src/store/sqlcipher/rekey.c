/* A database under another key.
 *
 * The pages are not rewritten in place (PRAGMA rekey): in WAL mode its commit leaves page 1 under the old key
 * in the file and under the new one in the WAL, so after a crash it would hang on the WAL which key is the
 * right one. Instead sqlcipher_export copies the database, in one transaction, into a new file under the new
 * key. The copy is compared with the original and checked page by page, flushed, and renamed into its place,
 * and a rename is atomic. So until the rename the old file is untouched, and after it the new one is whole.
 * What is free in the old file is not copied.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/sqlcipher/engine.h"

#define COPY_ENDING ".rekey"

static const char *const copy_endings[] = {COPY_ENDING, COPY_ENDING "-wal", COPY_ENDING "-shm",
                                           COPY_ENDING "-journal"};

typedef struct rekey {
    tr_source source; /* with the old key, later with the new one */
    tr_db_kind kind;
    char path[PATH_MAX], copy[PATH_MAX + 8];
    tr_conn conn; /* to the old file, with the copy attached as `copy` */
} rekey;

static void remove_copy(const tr_source *source, tr_db_kind kind) {
    char path[PATH_MAX], name[PATH_MAX + 16];
    tr_db_path(source, kind, path);
    for (size_t e = 0; e < sizeof copy_endings / sizeof *copy_endings; e++) {
        (void)snprintf(name, sizeof name, "%s%s", path, copy_endings[e]);
        (void)unlink(name);
    }
}

void tr_rekey_sweep(const tr_source *source) {
    for (int i = 0; i < TR_DB_COUNT; i++)
        remove_copy(source, (tr_db_kind)i);
}

tr_status tr_db_kind_of(const char *database, tr_db_kind *kind, tr_error *err) {
    for (int i = 0; i < TR_DB_COUNT; i++) {
        if (strcmp(tr_db_name((tr_db_kind)i), database) == 0) {
            *kind = (tr_db_kind)i;
            return TR_OK;
        }
    }
    return tr_fail(err, TR_E_INTERNAL, NULL, "there is no database of this name");
}

static tr_status source_with(tr_source *source, const char *data_dir, tr_db_kind kind, const tr_secret *key,
                             tr_error *err) {
    const tr_secret *keys[TR_DB_COUNT] = {NULL};
    keys[kind] = key;
    return tr_source_set(source, data_dir, keys, err);
}

tr_status tr_store_try_key(const char *data_dir, const char *database, const tr_secret *key, tr_error *err) {
    tr_source source = {.dir = ""};
    tr_conn conn = {.handle = NULL};
    tr_db_kind kind = TR_DB_VAULT;
    tr_status st = TR_OK;
    TR_TRY(tr_db_kind_of(database, &kind, err));
    TR_TRY(source_with(&source, data_dir, kind, key, err));
    TR_TRY(tr_conn_open(&source, kind, TR_READ, &conn, err));
    tr_conn_close(&conn);
out:
    tr_source_clear(&source);
    return st;
}

/* ---- the copy ---- */

/* A check that gives no row, or "ok", when all is well. */
static tr_status run_check(tr_conn *conn, const char *sql, const char *fault, tr_error *err) {
    sqlite3_stmt *raw = NULL;
    int rc = sqlite3_prepare_v2(conn->handle, sql, -1, &raw, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(raw);
    bool well = rc == SQLITE_DONE ||
                (rc == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(raw, 0), "ok") == 0);
    tr_status st = TR_OK;
    if (!well)
        st = rc == SQLITE_ROW ? tr_fail(err, TR_E_CORRUPT, tr_db_name(conn->kind), "%s", fault)
                              : tr_conn_fail(conn, rc, err);
    sqlite3_finalize(raw);
    return st;
}

static tr_status make_empty(const rekey *r, tr_error *err) {
    int fd = open(r->copy, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return tr_fail_errno(err, tr_db_name(r->kind), "cannot make the new file");
    return close(fd) == 0 ? TR_OK : tr_fail_errno(err, tr_db_name(r->kind), "cannot make the new file");
}

/* Name and key are bound, so that the key is in no statement's text. */
static tr_status attach(rekey *r, const tr_secret *key, tr_error *err) {
    char text[TR_KEY_TEXT_LEN + 1];
    sqlite3_stmt *raw = NULL;
    tr_status st = tr_key_text(key, r->kind, text, err);
    if (st != TR_OK)
        return st;
    int rc = sqlite3_prepare_v2(r->conn.handle, "ATTACH DATABASE ?1 AS copy KEY ?2", -1, &raw, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(raw, 1, r->copy, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(raw, 2, text, TR_KEY_TEXT_LEN, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(raw);
    st = rc == SQLITE_DONE ? TR_OK : tr_conn_fail(&r->conn, rc, err);
    sqlite3_finalize(raw);
    tr_wipe(text, sizeof text);
    return st == TR_OK ? tr_conn_exec(&r->conn, "PRAGMA copy.cipher_hmac_algorithm = HMAC_SHA256", err) : st;
}

/* The schema's version, which sqlcipher_export leaves out. */
static tr_status copy_version(rekey *r, tr_error *err) {
    char set[64];
    int64_t version = 0;
    tr_status st = tr_conn_pragma_int(&r->conn, "PRAGMA main.user_version", &version, err);
    (void)snprintf(set, sizeof set, "PRAGMA copy.user_version = %lld", (long long)version);
    return st == TR_OK ? tr_conn_exec(&r->conn, set, err) : st;
}

static tr_status count_rows(rekey *r, const char *schema, const char *table, int64_t *count, tr_error *err) {
    char *sql = sqlite3_mprintf("SELECT count(*) FROM \"%w\".\"%w\"", schema, table);
    tr_status st =
        sql ? tr_conn_pragma_int(&r->conn, sql, count, err) : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    sqlite3_free(sql);
    return st;
}

static tr_status compare_table(rekey *r, const char *table, tr_error *err) {
    int64_t had = 0, has = 0;
    tr_status st = count_rows(r, "main", table, &had, err);
    if (st == TR_OK)
        st = count_rows(r, "copy", table, &has, err);
    if (st == TR_OK && had != has)
        st = tr_fail(err, TR_E_CORRUPT, tr_db_name(r->kind), "a table was not copied whole");
    return st;
}

/* The same schema, and as many rows in each table. */
static tr_status compare(rekey *r, tr_error *err) {
    static const char differences[] =
        "SELECT count(*) FROM ("
        "SELECT * FROM (SELECT type, name, tbl_name, sql FROM main.sqlite_schema EXCEPT"
        " SELECT type, name, tbl_name, sql FROM copy.sqlite_schema) UNION ALL"
        " SELECT * FROM (SELECT type, name, tbl_name, sql FROM copy.sqlite_schema EXCEPT"
        " SELECT type, name, tbl_name, sql FROM main.sqlite_schema))";
    static const char tables[] = "SELECT name FROM main.sqlite_schema WHERE type = 'table'";
    sqlite3_stmt *raw = NULL;
    int64_t different = 0;
    int rc;
    tr_status st = tr_conn_pragma_int(&r->conn, differences, &different, err);
    if (st == TR_OK && different != 0)
        st = tr_fail(err, TR_E_CORRUPT, tr_db_name(r->kind), "the schema was not copied whole");
    if (st != TR_OK)
        return st;
    rc = sqlite3_prepare_v2(r->conn.handle, tables, -1, &raw, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(raw);
    for (; st == TR_OK && rc == SQLITE_ROW; rc = sqlite3_step(raw))
        st = compare_table(r, (const char *)sqlite3_column_text(raw, 0), err);
    if (st == TR_OK && rc != SQLITE_DONE)
        st = tr_conn_fail(&r->conn, rc, err);
    sqlite3_finalize(raw);
    return st;
}

/* Whatever failed in it, SQLite is told SQLITE_ERROR: what it was is in the text alone. */
static tr_status export_all(rekey *r, tr_error *err) {
    static const int reasons[] = {SQLITE_IOERR, SQLITE_FULL, SQLITE_NOTADB, SQLITE_CORRUPT, SQLITE_NOMEM};
    int rc = sqlite3_exec(r->conn.handle, "SELECT sqlcipher_export('copy')", NULL, NULL, NULL);
    const char *text = sqlite3_errmsg(r->conn.handle);
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons && rc == SQLITE_ERROR; i++) {
        if (strcmp(text, sqlite3_errstr(reasons[i])) == 0)
            rc = reasons[i];
    }
    return rc == SQLITE_OK ? TR_OK : tr_conn_fail(&r->conn, rc, err);
}

static tr_status copy_all(rekey *r, const tr_secret *new_key, tr_error *err) {
    /* sqlcipher_export writes the schema's table itself. */
    sqlite3_db_config(r->conn.handle, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    tr_status st = TR_OK;
    TR_TRY(make_empty(r, err));
    TR_TRY(attach(r, new_key, err));
    /* A copy that is not finished is thrown away: it needs no journal. */
    TR_TRY(tr_conn_exec(&r->conn, "PRAGMA copy.journal_mode = OFF", err));
    TR_TRY(tr_conn_exec(&r->conn, "PRAGMA foreign_keys = OFF", err));
    TR_TRY(tr_conn_exec(&r->conn, "BEGIN", err));
    TR_TRY(export_all(r, err));
    TR_TRY(copy_version(r, err));
    TR_TRY(compare(r, err));
    TR_TRY(tr_conn_exec(&r->conn, "COMMIT", err));
    /* While it is still a copy: the change of mode needs a journal, which who only reads could not roll back.
     */
    st = tr_conn_exec(&r->conn, "PRAGMA copy.journal_mode = WAL", err);
out:
    return st;
}

/* ---- the original ---- */

/* Its WAL is copied back and, when the connection closes, removed: it would be taken for the new file's. */
static tr_status empty_wal(rekey *r, tr_error *err) {
    int rc = sqlite3_wal_checkpoint_v2(r->conn.handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (rc == SQLITE_BUSY)
        return tr_fail(err, TR_E_BUSY, tr_db_name(r->kind), "another process reads the database");
    if (rc != SQLITE_OK)
        return tr_conn_fail(&r->conn, rc, err);
    sqlite3_db_config(r->conn.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return TR_OK;
}

static tr_status check_wal_gone(const rekey *r, tr_error *err) {
    char name[PATH_MAX + 8];
    struct stat info;
    (void)snprintf(name, sizeof name, "%s-wal", r->path);
    if (stat(name, &info) == 0 && info.st_size > 0)
        return tr_fail(err, TR_E_BUSY, tr_db_name(r->kind), "another process uses the database");
    (void)unlink(name);
    (void)snprintf(name, sizeof name, "%s-shm", r->path);
    (void)unlink(name);
    return TR_OK;
}

/* ---- in its place ---- */

tr_status tr_file_check(const char *path, tr_db_kind kind, const tr_secret *key, const char *fault,
                        tr_error *err) {
    tr_conn conn = {.kind = kind};
    tr_status st = TR_OK;
    int rc = sqlite3_open_v2(path, &conn.handle,
                             SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(conn.handle, "PRAGMA cipher_log_level = NONE", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        TR_TRY(tr_conn_fail(&conn, rc, err));
    TR_TRY(tr_conn_key(&conn, key, err));
    TR_TRY(run_check(&conn, "PRAGMA cipher_integrity_check", fault, err));
    st = run_check(&conn, "PRAGMA integrity_check(1)", fault, err);
out:
    tr_conn_close(&conn);
    return st;
}

tr_status tr_file_flush(const char *path, int flags, tr_error *err) {
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        return tr_fail_errno(err, NULL, "cannot open what is to be flushed");
    tr_status st = fsync(fd) == 0 ? TR_OK : tr_fail_errno(err, NULL, "cannot flush the new file");
    close(fd);
    return st;
}

static tr_status put_in_place(const rekey *r, tr_error *err) {
    tr_status st = tr_file_flush(r->copy, O_RDWR, err);
    if (st == TR_OK)
        st = check_wal_gone(r, err);
    if (st == TR_OK && rename(r->copy, r->path) != 0)
        st = tr_fail_errno(err, tr_db_name(r->kind), "cannot put the new file in place");
    return st == TR_OK ? tr_file_flush(r->source.dir, O_RDONLY | O_DIRECTORY, err) : st;
}

tr_status tr_store_rekey(const char *data_dir, const char *database, const tr_secret *old_key,
                         const tr_secret *new_key, tr_error *err) {
    rekey r = {.source = {.dir = ""}};
    tr_status st = TR_OK;
    bool begun = false;
    TR_TRY(tr_db_kind_of(database, &r.kind, err));
    TR_TRY(source_with(&r.source, data_dir, r.kind, old_key, err));
    tr_db_path(&r.source, r.kind, r.path);
    (void)snprintf(r.copy, sizeof r.copy, "%s" COPY_ENDING, r.path);
    begun = true;
    remove_copy(&r.source, r.kind);
    TR_TRY(tr_wal_check(&r.source, r.kind, err));
    TR_TRY(tr_conn_open(&r.source, r.kind, TR_WRITE, &r.conn, err));
    TR_TRY(empty_wal(&r, err));
    TR_TRY(run_check(&r.conn, "PRAGMA cipher_integrity_check", "a page does not verify: nothing was changed",
                     err));
    TR_TRY(copy_all(&r, new_key, err));
    tr_conn_close(&r.conn);
    TR_TRY(tr_file_check(r.copy, r.kind, new_key, "the new file does not verify: nothing was changed", err));
    st = put_in_place(&r, err);
out:
    tr_conn_close(&r.conn);
    if (begun)
        remove_copy(&r.source, r.kind);
    tr_source_clear(&r.source);
    return st;
}
