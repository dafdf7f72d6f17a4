/* The pages of a moment. A read transaction of SQLite keeps one view of its database for as long as it lasts;
 * the views of several databases are of one moment because they begin on the writer's thread, where nothing
 * is committed meanwhile. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/sqlcipher/moment.h"

#define AT_RESERVED 20 /* in the first page: how many bytes of each page's end are the cipher's */

static const char sql_begin[] = "BEGIN";
static const char sql_rollback[] = "ROLLBACK";
static const char sql_look[] = "SELECT count(*) FROM sqlite_schema"; /* the view begins with the first read */
static const char sql_page[] = "SELECT data FROM sqlite_dbpage WHERE pgno = ?1";
/* Each page is read once. */
static const char sql_cache[] = "PRAGMA cache_size = -256";
static const char sql_size[] = "PRAGMA page_size";
static const char sql_count[] = "PRAGMA page_count";
static const char sql_version[] = "PRAGMA user_version";

/* ---- begin ---- */

static size_t processors(void) {
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > TR_MOMENT_READERS ? TR_MOMENT_READERS : (size_t)count;
}

static tr_status open_conns(tr_moment *m, const tr_source *source, tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; i < m->info.count; i++) {
        for (size_t reader = 0; reader < m->readers && st == TR_OK; reader++) {
            tr_conn *conn = &m->conns[reader][i];
            st = tr_conn_open(source, m->kinds[i], TR_READ, conn, err);
            if (st == TR_OK)
                st = tr_conn_exec(conn, sql_cache, err);
        }
    }
    return st;
}

static void choose(tr_moment *m) {
    for (int i = 0; i < TR_DB_COUNT; i++) {
        if (!(m->databases & 1 << i))
            continue;
        m->info.databases[m->info.count].name = tr_db_name((tr_db_kind)i);
        m->kinds[m->info.count++] = (tr_db_kind)i;
    }
    m->readers = m->databases & TR_BY_MANY ? processors() : 1;
}

static void let_go(tr_conn *conn) {
    if (conn->handle && !sqlite3_get_autocommit(conn->handle))
        (void)sqlite3_exec(conn->handle, sql_rollback, NULL, NULL, NULL);
}

static tr_status begin_view(tr_conn *conn, tr_error *err) {
    let_go(conn);
    tr_status st = tr_conn_exec(conn, sql_begin, err);
    return st == TR_OK ? tr_conn_exec(conn, sql_look, err) : st;
}

/* The job. No group commits in it, so all views are of one moment. */
static tr_status begin_views(void *context, tr_db *tx, tr_error *err) {
    tr_moment *m = context;
    const int64_t begun = tr_monotonic_us();
    tr_status st = TR_OK;
    for (size_t reader = 0; reader < m->readers; reader++) {
        for (size_t i = 0; i < m->info.count && st == TR_OK; i++)
            st = begin_view(&m->conns[reader][i], err);
    }
    if (st == TR_OK && m->changed)
        tr_changes_take(m->changes, tx->group, m->databases, m->changed);
    m->info.at = tr_now_ms();
    m->info.audit_seq = tx->group->head.seq;
    memcpy(m->info.audit_hash, tx->group->head.hash, sizeof m->info.audit_hash);
    m->stop_us = tr_monotonic_us() - begun;
    return st;
}

static tr_status take_reserved(tr_query *q, void *context, tr_error *err) {
    uint8_t *reserved = context;
    const tr_bytes page = tr_col_blob(q, 0);
    tr_status st = tr_cols_ok(q, err);
    if (st == TR_OK && page.len > AT_RESERVED)
        *reserved = ((const uint8_t *)page.data)[AT_RESERVED];
    return st;
}

static tr_status measure(tr_moment *m, size_t database, tr_error *err) {
    tr_conn *conn = &m->conns[0][database];
    tr_moment_database *about = &m->info.databases[database];
    int64_t size = 0, count = 0;
    tr_query q;
    tr_status st = TR_OK;
    TR_TRY(tr_conn_pragma_int(conn, sql_size, &size, err));
    TR_TRY(tr_conn_pragma_int(conn, sql_count, &count, err));
    TR_TRY(tr_conn_pragma_int(conn, sql_version, &about->schema, err));
    about->page_size = (uint32_t)size;
    about->pages = (uint32_t)count;
    TR_TRY(tr_query_on(conn, sql_page, &q, err));
    tr_bind_int(&q, 1, 1);
    st = tr_query_one(&q, take_reserved, &m->reserved[database], "a database has no page", err);
    if (st == TR_OK && m->reserved[database] < conn->cipher_bytes)
        st = tr_fail(err, TR_E_CORRUPT, about->name, "%s is not enciphered as it should be", about->name);
out:
    return st;
}

/* The longest of all. */
static void note_stop(tr_store *store, int64_t us) {
    long long longest = store->moment_stop_us;
    while (us > longest && !atomic_compare_exchange_weak(&store->moment_stop_us, &longest, us)) {
    }
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
    choose(m);
    TR_TRY(open_conns(m, &store->source, err));
    TR_TRY(tr_store_write(store, begin_views, m, err));
    note_stop(store, m->stop_us);
    for (size_t i = 0; i < m->info.count; i++)
        TR_TRY(measure(m, i, err));
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
    for (size_t reader = 0; reader < m->readers; reader++) {
        for (size_t i = 0; i < m->info.count; i++) {
            let_go(&m->conns[reader][i]);
            tr_conn_close(&m->conns[reader][i]);
        }
    }
    free(m);
}

/* ---- read ---- */

tr_status tr_moment_take(const tr_moment *m, size_t database, uint32_t number, tr_bytes content,
                         uint8_t *into, tr_db_page *page, tr_error *err) {
    const tr_moment_database *about = &m->info.databases[database];
    const size_t size = about->page_size, reserved = m->reserved[database];
    if (!content.data || content.len != size || size > TR_PAGE_MAX)
        return tr_fail(err, TR_E_CORRUPT, about->name, "a page of %s cannot be read", about->name);
    memcpy(into, content.data, size);
    *page = (tr_db_page){.database = database, .number = number, .content = {into, size}};
    memcpy(page->stamp, into + size - m->conns[0][database].cipher_bytes, sizeof page->stamp);
    memset(into + size - reserved, 0, reserved);
    return TR_OK;
}

static tr_status read_page(tr_moment *m, size_t database, uint32_t number, uint8_t *into, tr_db_page *page,
                           tr_error *err) {
    bool row = false;
    tr_query q;
    tr_status st = tr_query_on(&m->conns[0][database], sql_page, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, number);
    TR_TRY(tr_query_step(&q, &row, err));
    tr_bytes content = row ? tr_col_blob(&q, 0) : (tr_bytes){NULL, 0};
    if (row)
        TR_TRY(tr_cols_ok(&q, err));
    st = tr_moment_take(m, database, number, content, into, page, err);
out:
    tr_query_end(&q);
    return st;
}

static tr_status read_set(tr_moment *m, size_t database, const tr_page_set *set, uint8_t *room, tr_page_fn fn,
                          void *context, tr_error *err) {
    tr_db_page page;
    tr_status st = TR_OK;
    for (uint32_t number = 0; st == TR_OK && (number = tr_page_set_next(set, number)) > 0;) {
        if (number > m->info.databases[database].pages)
            break;
        st = read_page(m, database, number, room, &page, err);
        if (st == TR_OK)
            st = fn(context, &page, err);
    }
    return st;
}

tr_status tr_moment_read_changed(tr_moment *m, const tr_changed *changed, tr_page_fn fn, void *context,
                                 tr_error *err) {
    uint8_t *room = malloc(TR_PAGE_MAX);
    tr_status st = room ? TR_OK : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    for (size_t i = 0; i < m->info.count && st == TR_OK; i++)
        st = read_set(m, i, &changed->sets[m->kinds[i]], room, fn, context, err);
    if (room)
        tr_wipe(room, TR_PAGE_MAX);
    free(room);
    return st;
}
