/* The pages of a moment. A read transaction of SQLite keeps one view of its database for as long as it lasts;
 * the views of several databases are of one moment because they begin on the writer's thread, where nothing
 * is committed meanwhile. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/sqlcipher/engine.h"

#define PAGE_SIZE_MAX 65536

static const char sql_begin[] = "BEGIN";
static const char sql_rollback[] = "ROLLBACK";
static const char sql_look[] = "SELECT count(*) FROM sqlite_schema"; /* the view begins with the first read */
static const char sql_pages[] = "SELECT pgno, data FROM sqlite_dbpage";
static const char sql_page[] = "SELECT data FROM sqlite_dbpage WHERE pgno = ?1";
static const char sql_size[] = "PRAGMA page_size";
static const char sql_count[] = "PRAGMA page_count";
static const char sql_version[] = "PRAGMA user_version";

struct tr_moment {
    tr_conn conns[TR_DB_COUNT]; /* as in info.databases */
    tr_moment_info info;
    tr_db_kind kinds[TR_DB_COUNT];
    int databases;
    tr_changes *changes; /* while it begins */
    tr_changed *changed; /* what is asked of them; or NULL */
    uint8_t page[PAGE_SIZE_MAX];
};

/* ---- begin ---- */

static tr_status open_conns(tr_moment *m, const tr_source *source, int databases, tr_error *err) {
    tr_status st = TR_OK;
    for (int i = 0; i < TR_DB_COUNT && st == TR_OK; i++) {
        if (!(databases & 1 << i))
            continue;
        m->info.databases[m->info.count].name = tr_db_name((tr_db_kind)i);
        m->kinds[m->info.count] = (tr_db_kind)i;
        st = tr_conn_open(source, (tr_db_kind)i, TR_READ, &m->conns[m->info.count++], err);
    }
    return st;
}

static void let_go(tr_conn *conn) {
    if (conn->handle && !sqlite3_get_autocommit(conn->handle))
        (void)sqlite3_exec(conn->handle, sql_rollback, NULL, NULL, NULL);
}

/* The job. */
static tr_status begin_views(void *context, tr_db *tx, tr_error *err) {
    tr_moment *m = context;
    tr_status st = TR_OK;
    for (size_t i = 0; i < m->info.count && st == TR_OK; i++) {
        let_go(&m->conns[i]);
        st = tr_conn_exec(&m->conns[i], sql_begin, err);
        if (st == TR_OK)
            st = tr_conn_exec(&m->conns[i], sql_look, err);
    }
    if (st == TR_OK && m->changed)
        tr_changes_take(m->changes, tx->group, m->databases, m->changed);
    m->info.at = tr_now_ms();
    m->info.audit_seq = tx->group->head.seq;
    memcpy(m->info.audit_hash, tx->group->head.hash, sizeof m->info.audit_hash);
    return st;
}

static tr_status measure(tr_conn *conn, tr_moment_database *database, tr_error *err) {
    int64_t size = 0, count = 0;
    tr_status st = tr_conn_pragma_int(conn, sql_size, &size, err);
    if (st == TR_OK)
        st = tr_conn_pragma_int(conn, sql_count, &count, err);
    if (st == TR_OK)
        st = tr_conn_pragma_int(conn, sql_version, &database->schema, err);
    database->page_size = (uint32_t)size;
    database->pages = (uint32_t)count;
    return st;
}

tr_status tr_moment_begin_changed(tr_store *store, int databases, tr_changed *changed, tr_moment **out,
                                  tr_error *err) {
    tr_moment *m = calloc(1, sizeof *m);
    tr_status st = TR_OK;
    *out = NULL;
    if (!m)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    m->databases = databases;
    m->changes = store->changes;
    m->changed = changed;
    TR_TRY(open_conns(m, &store->source, databases, err));
    TR_TRY(tr_store_write(store, begin_views, m, err));
    for (size_t i = 0; i < m->info.count; i++)
        TR_TRY(measure(&m->conns[i], &m->info.databases[i], err));
    *out = m;
    m = NULL;
out:
    tr_moment_end(m);
    return st;
}

tr_status tr_moment_begin(tr_store *store, int databases, tr_moment **out, tr_error *err) {
    return tr_moment_begin_changed(store, databases, NULL, out, err);
}

const tr_moment_info *tr_moment_about(const tr_moment *moment) {
    return &moment->info;
}

void tr_moment_end(tr_moment *m) {
    if (!m)
        return;
    for (size_t i = 0; i < m->info.count; i++) {
        let_go(&m->conns[i]);
        tr_conn_close(&m->conns[i]);
    }
    tr_wipe(m->page, sizeof m->page);
    free(m);
}

/* ---- read ---- */

/* Byte 20 of the first page says how much of each page's end is for the cipher: vector and MAC of the page as
 * it lies in the file, other ones each time it is written. */
static void take_page(tr_moment *m, size_t database, uint32_t number, const void *content,
                      uint8_t *reserved) {
    uint32_t size = m->info.databases[database].page_size;
    memcpy(m->page, content, size);
    if (number == 1)
        *reserved = m->page[20];
    memset(m->page + size - *reserved, 0, *reserved);
}

static tr_status read_database(tr_moment *m, size_t database, tr_page_fn fn, void *context, tr_error *err) {
    const tr_moment_database *about = &m->info.databases[database];
    uint8_t reserved = 0;
    uint32_t next = 1;
    bool row = false;
    tr_query q;
    tr_status st = tr_query_on(&m->conns[database], sql_pages, &q, err);
    if (st != TR_OK)
        return st;
    while ((st = tr_query_step(&q, &row, err)) == TR_OK && row) {
        uint32_t number = (uint32_t)tr_col_int(&q, 0);
        tr_bytes content = tr_col_blob(&q, 1);
        TR_TRY(tr_cols_ok(&q, err));
        if (number != next++ || content.len != about->page_size || content.len > sizeof m->page)
            TR_TRY(tr_fail(err, TR_E_CORRUPT, about->name, "a page of %s cannot be read", about->name));
        take_page(m, database, number, content.data, &reserved);
        TR_TRY(fn(context, database, number, (tr_bytes){m->page, content.len}, err));
    }
    if (st == TR_OK && next != about->pages + 1)
        st = tr_fail(err, TR_E_CORRUPT, about->name, "%s ends too early", about->name);
out:
    tr_query_end(&q);
    return st;
}

tr_status tr_moment_read(tr_moment *m, tr_page_fn fn, void *context, tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; i < m->info.count && st == TR_OK; i++)
        st = read_database(m, i, fn, context, err);
    return st;
}

/* ---- only what changed ---- */

static tr_status read_page(tr_moment *m, size_t database, uint32_t number, uint8_t *reserved, tr_error *err) {
    const tr_moment_database *about = &m->info.databases[database];
    bool row = false;
    tr_query q;
    tr_status st = tr_query_on(&m->conns[database], sql_page, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, number);
    TR_TRY(tr_query_step(&q, &row, err));
    tr_bytes content = row ? tr_col_blob(&q, 0) : (tr_bytes){NULL, 0};
    if (row)
        TR_TRY(tr_cols_ok(&q, err));
    if (content.len != about->page_size || content.len > sizeof m->page)
        TR_TRY(tr_fail(err, TR_E_CORRUPT, about->name, "a page of %s cannot be read", about->name));
    take_page(m, database, number, content.data, reserved);
out:
    tr_query_end(&q);
    return st;
}

static tr_status read_set(tr_moment *m, size_t database, const tr_page_set *set, tr_page_fn fn, void *context,
                          tr_error *err) {
    const tr_moment_database *about = &m->info.databases[database];
    uint8_t reserved = 0;
    tr_status st = set->count > 0 ? read_page(m, database, 1, &reserved, err) : TR_OK; /* how much it is */
    for (uint32_t number = 0; st == TR_OK && (number = tr_page_set_next(set, number)) > 0;) {
        if (number > about->pages)
            break;
        st = read_page(m, database, number, &reserved, err);
        if (st == TR_OK)
            st = fn(context, database, number, (tr_bytes){m->page, about->page_size}, err);
    }
    return st;
}

tr_status tr_moment_read_changed(tr_moment *m, const tr_changed *changed, tr_page_fn fn, void *context,
                                 tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; i < m->info.count && st == TR_OK; i++)
        st = read_set(m, i, &changed->sets[m->kinds[i]], fn, context, err);
    return st;
}
