/* Opening and closing the store, and looking after it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/migrations.h"
#include "store/sqlcipher/engine.h"

/* ---- open and close ---- */

/* New files are names in the folder, which is flushed for itself. */
static tr_status flush_folder(const tr_store *store, tr_error *err) {
    int fd = open(store->source.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return tr_fail_errno(err, NULL, "cannot open the data folder");
    tr_status st = fsync(fd) == 0 ? TR_OK : tr_fail_errno(err, NULL, "cannot flush the data folder");
    close(fd);
    return st;
}

static tr_status migrate(tr_group *group, tr_error *err) {
    tr_status st = TR_OK;
    for (int i = 0; i < TR_DB_COUNT && st == TR_OK; i++)
        st = tr_migrate_check(&group->tx.conns[i], tr_migrations, tr_migrations_count, err);
    for (int i = 0; i < TR_DB_COUNT && st == TR_OK; i++)
        st = tr_migrate(&group->tx.conns[i], tr_migrations, tr_migrations_count, err);
    return st;
}

static void remove_databases(const tr_source *source) {
    static const char *const endings[] = {"", "-wal", "-shm"};
    char path[PATH_MAX], name[PATH_MAX + 8];
    for (int i = 0; i < TR_DB_COUNT; i++) {
        tr_db_path(source, (tr_db_kind)i, path);
        for (size_t e = 0; e < sizeof endings / sizeof *endings; e++) {
            (void)snprintf(name, sizeof name, "%s%s", path, endings[e]);
            (void)unlink(name);
        }
    }
}

static tr_status none_there(const tr_source *source, tr_error *err) {
    char path[PATH_MAX];
    struct stat info;
    for (int i = 0; i < TR_DB_COUNT; i++) {
        tr_db_path(source, (tr_db_kind)i, path);
        if (lstat(path, &info) == 0)
            return tr_fail(err, TR_E_EXISTS, tr_db_name((tr_db_kind)i), "%s is there already",
                           tr_db_name((tr_db_kind)i));
    }
    return TR_OK;
}

/* Give everything back but the files; for a store that is half open too. */
static void let_go(tr_store *store) {
    tr_writer_stop(store->writer);
    tr_checkpointer_stop(store->checkpointer);
    tr_changes_free(store->changes);
    tr_readers_close(store);
    tr_stamps_free(store->stamps);
    tr_group_close(&store->group);
    tr_store_unlock(store->lock_fd);
    tr_source_clear(&store->source);
    free(store);
}

/* What a crash left in the WALs. A disk that is full shows at the first write. */
static void copy_back(tr_group *group) {
    for (int i = 0; i < TR_DB_COUNT; i++)
        (void)sqlite3_wal_checkpoint_v2(group->tx.conns[i].handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
                                        NULL);
}

static tr_status open_databases(tr_store *store, const tr_store_options *options, tr_error *err) {
    bool create = options->create;
    tr_status st = TR_OK;
    tr_rekey_sweep(&store->source);
    for (int i = 0; i < TR_DB_COUNT && st == TR_OK && !create; i++)
        st = tr_wal_check(&store->source, (tr_db_kind)i, err);
    if (st == TR_OK)
        st = tr_group_open(&store->group, &store->source, create, options->fold_ms, err);
    if (st == TR_OK)
        st = migrate(&store->group, err);
    if (st == TR_OK && create)
        st = flush_folder(store, err);
    if (st == TR_OK)
        copy_back(&store->group);
    return st == TR_OK ? tr_group_reconcile(&store->group, err) : st;
}

tr_status tr_store_open(const tr_store_options *options, tr_store **out, tr_error *err) {
    const tr_secret *const keys[TR_DB_COUNT] = {options->vault_key, options->keys_key, options->audit_key};
    tr_store *store = calloc(1, sizeof *store);
    tr_status st = TR_OK;
    bool made = false;
    *out = NULL;
    if (!store)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    store->lock_fd = -1;
    TR_TRY(tr_source_set(&store->source, options->data_dir, keys, err));
    if (!options->locked)
        TR_TRY(tr_store_lock(store->source.dir, &store->lock_fd, err));
    if (options->create)
        TR_TRY(none_there(&store->source, err));
    made = options->create;
    TR_TRY(open_databases(store, options, err));
    TR_TRY(tr_stamps_new(&store->stamps, err));
    TR_TRY(tr_readers_open(store, err));
    TR_TRY(tr_checkpointer_start(store, &store->checkpointer, err));
    TR_TRY(tr_changes_new(&store->source, &store->changes, err));
    TR_TRY(tr_writer_start(store->checkpointer, store->changes, &store->group, options->group_max,
                           options->queue_max, &store->writer, err));
    *out = store;
    return TR_OK;
out:
    if (made) {
        tr_group_close(&store->group);
        remove_databases(&store->source);
    }
    let_go(store);
    return st;
}

/* The last connection copies the WAL back and removes it. */
void tr_store_close(tr_store *store) {
    if (!store)
        return;
    tr_writer_stop(store->writer);
    store->writer = NULL;
    for (int i = 0; i < TR_DB_COUNT; i++) {
        sqlite3 *handle = store->group.tx.conns[i].handle;
        if (handle)
            sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    }
    let_go(store);
}

/* ---- writing ---- */

tr_status tr_store_write(tr_store *store, tr_job_fn fn, void *context, tr_error *err) {
    return tr_writer_submit(store->writer, fn, context, err);
}

tr_status tr_store_checkpoint(tr_store *store, tr_error *err) {
    tr_checkpointer_copy(store->checkpointer);
    return tr_writer_checkpoint(store->writer, err);
}

/* ---- looking after it ---- */

static int64_t size_of(const tr_store *store, tr_db_kind kind) {
    static const char *const endings[] = {"", "-wal"};
    char path[PATH_MAX], name[PATH_MAX + 8];
    struct stat info;
    int64_t sum = 0;
    tr_db_path(&store->source, kind, path);
    for (size_t e = 0; e < sizeof endings / sizeof *endings; e++) {
        (void)snprintf(name, sizeof name, "%s%s", path, endings[e]);
        if (stat(name, &info) == 0)
            sum += info.st_size;
    }
    return sum;
}

void tr_store_get_stats(tr_store *store, tr_store_stats *out) {
    tr_writer_stats(store->writer, out);
    out->moment_stop_us = (uint64_t)store->moment_stop_us;
    out->vault_bytes = size_of(store, TR_DB_VAULT);
    out->keys_bytes = size_of(store, TR_DB_KEYS);
    out->audit_bytes = size_of(store, TR_DB_AUDIT);
}

/* Each gives no row, or "ok", when all is well. */
static const char sql_quick[] = "PRAGMA quick_check(1)";
static const char sql_pages[] = "PRAGMA cipher_integrity_check";
static const char sql_links[] = "PRAGMA foreign_key_check";

static tr_status check_with(tr_db *db, tr_db_kind kind, const char *sql, tr_error *err) {
    tr_query q;
    bool row = false;
    tr_status st = tr_query_begin(db, kind, sql, &q, err);
    if (st != TR_OK)
        return st;
    st = tr_query_step(&q, &row, err);
    if (st == TR_OK && row) {
        const char *said = tr_col_text(&q, 0);
        if (strcmp(said, "ok") != 0)
            st = tr_fail(err, TR_E_CORRUPT, tr_db_name(kind), "%s: %s", tr_db_name(kind),
                         sql == sql_links ? "a row refers to one that is not there" : said);
    }
    tr_query_end(&q);
    return st;
}

/* The check of the pages reads the file itself, not through the WAL: pages must not be copied back meanwhile.
 */
static tr_status check_pages(tr_store *store, tr_db *db, tr_db_kind kind, tr_error *err) {
    tr_checkpointer_hold(store->checkpointer);
    tr_status st = check_with(db, kind, sql_pages, err);
    tr_checkpointer_release(store->checkpointer);
    return st;
}

/* With connections of its own: looking up every link wants a larger page cache than a reader has. */
tr_status tr_store_check(tr_store *store, tr_error *err) {
    tr_db db = {.source = &store->source, .store = store};
    tr_status st = TR_OK;
    for (int i = 0; i < TR_DB_COUNT; i++) {
        tr_db_kind kind = (tr_db_kind)i;
        tr_conn *conn = NULL;
        TR_TRY(tr_db_conn(&db, kind, &conn, err));
        TR_TRY(tr_conn_exec(conn, "PRAGMA cache_size = -65536", err));
        TR_TRY(check_pages(store, &db, kind, err));
        TR_TRY(check_with(&db, kind, sql_quick, err));
        TR_TRY(check_with(&db, kind, sql_links, err));
        tr_conn_close(conn);
    }
out:
    tr_db_close(&db);
    return st;
}
