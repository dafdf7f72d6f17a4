/* Connections: opening with a raw key, settings, and what SQLite's results mean. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "store/sqlcipher/engine.h"
#include "store/sqlcipher/memory.h"

static const char *const names[TR_DB_COUNT] = {
    [TR_DB_VAULT] = "vault.db", [TR_DB_KEYS] = "keys.db", [TR_DB_AUDIT] = "audit.db"};

/* Page caches in KiB. A reader's is dropped whenever the writer commits to that database. */
static const struct {
    int reader, busy_reader, writer;
} caches[TR_DB_COUNT] = {
    [TR_DB_VAULT] = {1024, 6144, 10240}, [TR_DB_KEYS] = {256, 256, 2048}, [TR_DB_AUDIT] = {256, 256, 4096}};

const char *tr_db_name(tr_db_kind kind) {
    return names[kind];
}

void tr_db_path(const tr_source *source, tr_db_kind kind, char out[PATH_MAX]) {
    (void)snprintf(out, PATH_MAX, "%s/%s", source->dir, names[kind]);
}

tr_status tr_source_set(tr_source *source, const char *dir, const tr_secret *const keys[TR_DB_COUNT],
                        tr_error *err) {
    int len = snprintf(source->dir, sizeof source->dir, "%s", dir);
    tr_status st = tr_sqlite_memory(err); /* whoever opens a database comes through here */
    if (st != TR_OK)
        return st;
    if (len <= 0 || (size_t)len >= sizeof source->dir)
        return tr_fail(err, TR_E_CONFIG, NULL, "the data folder's name is empty or too long");
    for (int i = 0; i < TR_DB_COUNT && st == TR_OK; i++) {
        if (keys[i])
            st = tr_secret_copy(&source->keys[i], keys[i]->data, keys[i]->len, err);
    }
    return st;
}

void tr_source_clear(tr_source *source) {
    for (int i = 0; i < TR_DB_COUNT; i++)
        tr_secret_clear(&source->keys[i]);
}

/* ---- results ---- */

static tr_status status_of_constraint(int extended) {
    switch (extended) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID: return TR_E_CONFLICT;
    case SQLITE_CONSTRAINT_FOREIGNKEY: return TR_E_NOT_FOUND;
    default: return TR_E_INTERNAL;
    }
}

/* A write beyond what the file system gives shows as an I/O error with the reason in errno. */
static tr_status status_of_io(int system_errno) {
    return system_errno == ENOSPC || system_errno == EDQUOT || system_errno == EFBIG ? TR_E_DISK_FULL
                                                                                     : TR_E_IO;
}

static tr_status status_of(int extended, int system_errno) {
    switch (extended & 0xff) {
    case SQLITE_FULL: return TR_E_DISK_FULL;
    case SQLITE_IOERR: return extended == SQLITE_IOERR_NOMEM ? TR_E_NOMEM : status_of_io(system_errno);
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM: return status_of_io(system_errno);
    case SQLITE_NOTADB: /* SQLCipher's word for a page that does not verify */
    case SQLITE_CORRUPT: return TR_E_CORRUPT;
    case SQLITE_NOMEM: return TR_E_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL: return TR_E_BUSY;
    case SQLITE_TOOBIG: return TR_E_TOO_LARGE;
    case SQLITE_CONSTRAINT: return status_of_constraint(extended);
    default: return TR_E_INTERNAL;
    }
}

tr_status tr_conn_fail(tr_conn *conn, int rc, tr_error *err) {
    int extended = conn->handle ? sqlite3_extended_errcode(conn->handle) : rc;
    if ((extended & 0xff) != (rc & 0xff))
        extended = rc;
    int system_errno = conn->handle ? sqlite3_system_errno(conn->handle) : 0;
    tr_status st = status_of(extended, system_errno);
    /* After a page that does not verify, SQLCipher goes on failing, with SQLITE_ERROR. */
    conn->damaged |= st == TR_E_CORRUPT || st == TR_E_IO || (rc & 0xff) == SQLITE_ERROR;
    if (st == TR_E_CORRUPT)
        return tr_fail(err, st, names[conn->kind], "a page of %s does not verify or is damaged",
                       names[conn->kind]);
    /* Not sqlite3_errmsg: it quotes the statement. */
    return tr_fail(err, st, names[conn->kind], "%s: %s (SQLite %d, errno %d)", names[conn->kind],
                   sqlite3_errstr(rc), extended, system_errno);
}

/* ---- opening ---- */

/* The file must be there and not be empty: SQLite would take a missing or an empty file for a new database.
 */
static tr_status check_file(const char *path, tr_db_kind kind, tr_error *err) {
    struct stat info;
    if (stat(path, &info) != 0) {
        if (errno == ENOENT)
            return tr_fail(err, TR_E_CONFIG, names[kind], "%s is missing from the data folder", names[kind]);
        return tr_fail_errno(err, names[kind], "cannot look at the database");
    }
    if (!S_ISREG(info.st_mode))
        return tr_fail(err, TR_E_CONFIG, names[kind], "%s is not a regular file", names[kind]);
    if (info.st_size == 0)
        return tr_fail(err, TR_E_CORRUPT, names[kind], "%s is empty", names[kind]);
    return TR_OK;
}

/* SQLite gives the WAL and its index the mode of the database. */
static tr_status make_file(const char *path, tr_db_kind kind, tr_error *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return tr_fail(err, TR_E_EXISTS, names[kind], "%s is there already", names[kind]);
    if (fd < 0)
        return tr_fail_errno(err, names[kind], "cannot make the database");
    return close(fd) == 0 ? TR_OK : tr_fail_errno(err, names[kind], "cannot make the database");
}

tr_status tr_key_text(const tr_secret *key, tr_db_kind kind, char text[TR_KEY_TEXT_LEN + 1], tr_error *err) {
    if (key->len != 32)
        return tr_fail(err, TR_E_INTERNAL, names[kind], "a database key has 32 bytes");
    memcpy(text, "x'", 3);
    tr_hex_encode(key->data, key->len, text + 2);
    memcpy(text + TR_KEY_TEXT_LEN - 1, "'", 2);
    return TR_OK;
}

/* HMAC-SHA-256 for each page, not SQLCipher's HMAC-SHA-512: processors with instructions for it take less
 * than half the time, and most of what it takes to read a page is this. */
static const char page_mac[] = "PRAGMA cipher_hmac_algorithm = HMAC_SHA256";
#define MAC_SHA256_BYTES 48 /* with the vector, at the end of each page */
#define MAC_SHA512_BYTES 80

/* By sqlite3_key_v2 rather than PRAGMA key, so that the key is in no statement's text. */
tr_status tr_conn_key(tr_conn *conn, const tr_secret *key, tr_error *err) {
    char text[TR_KEY_TEXT_LEN + 1];
    tr_status st = tr_key_text(key, conn->kind, text, err);
    if (st != TR_OK)
        return st;
    int rc = sqlite3_key_v2(conn->handle, "main", text, TR_KEY_TEXT_LEN);
    tr_wipe(text, sizeof text);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(conn->handle, page_mac, NULL, NULL, NULL);
    conn->cipher_bytes = MAC_SHA256_BYTES;
    return rc == SQLITE_OK ? TR_OK : tr_conn_fail(conn, rc, err);
}

/* Every file used to be so: `tresor keys rekey` and a restore write it in the present form. */
static tr_status use_old_mac(tr_conn *conn, tr_error *err) {
    conn->cipher_bytes = MAC_SHA512_BYTES;
    return tr_conn_exec(conn, "PRAGMA cipher_hmac_algorithm = HMAC_SHA512", err);
}

/* The first read decrypts page 1. */
static tr_status probe(tr_conn *conn, tr_error *err) {
    int rc = sqlite3_exec(conn->handle, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        return TR_OK;
    if ((rc & 0xff) == SQLITE_NOTADB)
        return tr_fail(err, TR_E_WRONG_KEY, names[conn->kind],
                       "the key does not open %s, or its first page is damaged", names[conn->kind]);
    return tr_conn_fail(conn, rc, err);
}

static int remember_frames(void *context, sqlite3 *handle, const char *schema, int frames) {
    (void)handle;
    (void)schema;
    ((tr_conn *)context)->wal_frames = frames;
    ((tr_conn *)context)->commits++;
    return SQLITE_OK;
}

static bool reads(tr_access access) {
    return access == TR_READ || access == TR_READ_MUCH;
}

static int cache_of(tr_db_kind kind, tr_access access) {
    return access == TR_READ        ? caches[kind].reader
           : access == TR_READ_MUCH ? caches[kind].busy_reader
                                    : caches[kind].writer;
}

/* cipher_memory_security stays off (SQLCipher's default): it would lock every page buffer, at a quarter of
 * the speed. Guarded memory (memory.h) wipes what is freed, and payloads are sealed above the store. */
static tr_status set_up(tr_conn *conn, tr_access access, tr_error *err) {
    char cache[48];
    bool reader = reads(access);
    (void)snprintf(cache, sizeof cache, "PRAGMA cache_size = -%d", cache_of(conn->kind, access));
    const char *const common[] = {cache, "PRAGMA trusted_schema = OFF", "PRAGMA cell_size_check = ON"};
    const char *const writer[] = {"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL",
                                  "PRAGMA secure_delete = ON", "PRAGMA foreign_keys = ON",
                                  "PRAGMA journal_size_limit = 67108864"};
    tr_status st = TR_OK;
    for (size_t i = 0; i < sizeof common / sizeof *common && st == TR_OK; i++)
        st = tr_conn_exec(conn, common[i], err);
    for (size_t i = 0; i < sizeof writer / sizeof *writer && st == TR_OK && !reader; i++)
        st = tr_conn_exec(conn, writer[i], err);
    if (!reader)
        sqlite3_wal_hook(conn->handle, remember_frames, conn); /* replaces the automatic checkpoint */
    return st;
}

static tr_status open_with(const tr_source *source, const char *path, int flags, bool old_mac, tr_conn *conn,
                           tr_error *err) {
    const tr_db_kind kind = conn->kind;
    tr_status st = TR_OK;
    int rc = sqlite3_open_v2(path, &conn->handle, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc != SQLITE_OK)
        TR_TRY(tr_conn_fail(conn, rc, err));
    sqlite3_busy_timeout(conn->handle, TR_BUSY_MS);
    /* A closing connection must not stop to copy the WAL back; tr_store_close does it in the end. */
    sqlite3_db_config(conn->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(conn->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* SQLCipher would write its own lines to stderr; what fails is in *err. */
    TR_TRY(tr_conn_exec(conn, "PRAGMA cipher_log_level = NONE", err));
    TR_TRY(tr_conn_key(conn, &source->keys[kind], err));
    if (old_mac)
        TR_TRY(use_old_mac(conn, err));
    st = probe(conn, err);
out:
    if (st != TR_OK)
        tr_conn_close(conn);
    return st;
}

tr_status tr_conn_open(const tr_source *source, tr_db_kind kind, tr_access access, tr_conn *conn,
                       tr_error *err) {
    char path[PATH_MAX];
    *conn = (tr_conn){.kind = kind};
    int flags = reads(access) ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    tr_db_path(source, kind, path);
    tr_status st = access == TR_CREATE ? make_file(path, kind, err) : check_file(path, kind, err);
    if (st == TR_OK)
        st = open_with(source, path, flags, false, conn, err);
    if (st == TR_E_WRONG_KEY && access != TR_CREATE &&
        open_with(source, path, flags, true, conn, NULL) == TR_OK) {
        st = TR_OK;
        if (err)
            *err = (tr_error){0};
    }
    if (st == TR_OK)
        st = set_up(conn, access, err);
    if (st != TR_OK)
        tr_conn_close(conn);
    return st;
}

void tr_conn_close(tr_conn *conn) {
    for (int i = 0; i < TR_STATEMENTS; i++)
        sqlite3_finalize(conn->statements[i].raw);
    sqlite3_close(conn->handle);
    *conn = (tr_conn){.kind = conn->kind};
}

tr_status tr_conn_exec(tr_conn *conn, const char *sql, tr_error *err) {
    int rc = sqlite3_exec(conn->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? TR_OK : tr_conn_fail(conn, rc, err);
}

tr_status tr_conn_pragma_int(tr_conn *conn, const char *sql, int64_t *value, tr_error *err) {
    sqlite3_stmt *raw = NULL;
    int rc = sqlite3_prepare_v2(conn->handle, sql, -1, &raw, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(raw);
    if (rc == SQLITE_ROW)
        *value = sqlite3_column_int64(raw, 0);
    tr_status st = rc == SQLITE_ROW ? TR_OK : tr_conn_fail(conn, rc, err);
    sqlite3_finalize(raw);
    return st;
}

/* ---- a tr_db's connections ---- */

tr_status tr_db_conn(tr_db *db, tr_db_kind kind, tr_conn **out, tr_error *err) {
    tr_conn *conn = &db->conns[kind];
    *out = conn;
    if (db->group)
        return tr_group_enter(db->group, conn, err);
    if (db->kept && kind == TR_DB_VAULT)
        tr_view_drop(db); /* it may be an old one */
    if (conn->damaged && conn->running == 0 && !db->reading)
        tr_conn_close(conn);
    return conn->handle ? TR_OK
                        : tr_conn_open(db->source, kind, db->busy ? TR_READ_MUCH : TR_READ, conn, err);
}

void tr_db_close(tr_db *db) {
    for (int i = 0; i < TR_DB_COUNT; i++)
        tr_conn_close(&db->conns[i]);
}
