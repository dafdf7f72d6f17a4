/* A database made of a snapshot's pages.
 *
 * The pages are written through sqlite_dbpage, so that SQLCipher itself enciphers them under the new key. Of
 * that table only pages that the database has can be updated, so it is first told how many there will be: the
 * first page's header says it, and undoing to a savepoint, in which nothing was done, makes SQLite take the
 * number from there. Pages behind the file's end are then made without being read. All is one transaction
 * without a journal: a file that is not finished is thrown away.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/sqlcipher/engine.h"

#define PAGE_SIZE   4096
#define AT_VERSIONS 18 /* in the first page: 2 each in WAL mode, 1 with a journal */
#define AT_PAGES    28 /* how many pages there are, 4 bytes, big endian */

static const char sql_write[] = "UPDATE sqlite_dbpage SET data = ?2 WHERE pgno = ?1";
static const char *const sql_begin[] = {"PRAGMA cipher_log_level = NONE",
                                        "PRAGMA journal_mode = OFF",
                                        "PRAGMA synchronous = OFF",
                                        "PRAGMA cache_size = -4096",
                                        "PRAGMA user_version = 1" /* makes the first page */,
                                        "BEGIN"};
static const char *const sql_take_size[] = {"SAVEPOINT size", "ROLLBACK TO size", "RELEASE size"};
/* The mode is changed while nobody else knows the file: who only reads could not roll a journal back. */
static const char *const sql_finish[] = {"COMMIT", "PRAGMA synchronous = FULL", "PRAGMA journal_mode = WAL"};

#define RUN_ALL(pages, list, err) run_all(pages, list, sizeof(list) / sizeof *(list), err)

struct tr_pages {
    tr_conn conn;
    tr_source source;
    char path[PATH_MAX];
    uint32_t count, written;
    bool patching;
    bool resized;    /* its first page has said how many there are */
    uint32_t before; /* patching: how many pages there were */
};

static tr_status run_all(tr_pages *p, const char *const *list, size_t count, tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; i < count && st == TR_OK; i++)
        st = tr_conn_exec(&p->conn, list[i], err);
    return st;
}

static tr_status make(tr_pages *p, tr_error *err) {
    const char *name = tr_db_name(p->conn.kind);
    int fd = open(p->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return tr_fail(err, TR_E_EXISTS, name, "%s is there already", name);
    if (fd < 0)
        return tr_fail_errno(err, name, "cannot make the database");
    close(fd);
    int rc = sqlite3_open_v2(p->path, &p->conn.handle,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    return rc == SQLITE_OK ? tr_conn_key(&p->conn, &p->source.keys[p->conn.kind], err)
                           : tr_conn_fail(&p->conn, rc, err);
}

tr_status tr_pages_open(const char *data_dir, const tr_moment_database *database, const tr_secret *key,
                        tr_pages **out, tr_error *err) {
    const tr_secret *keys[TR_DB_COUNT] = {NULL};
    tr_db_kind kind = TR_DB_VAULT;
    tr_pages *p = calloc(1, sizeof *p);
    tr_status st = TR_OK;
    *out = NULL;
    if (!p)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    TR_TRY(tr_db_kind_of(database->name, &kind, err));
    if (database->page_size != PAGE_SIZE || database->pages == 0)
        TR_TRY(tr_fail(err, TR_E_CORRUPT, tr_db_name(kind), "it has pages of another size"));
    p->conn.kind = kind;
    p->count = database->pages;
    keys[kind] = key;
    TR_TRY(tr_source_set(&p->source, data_dir, keys, err));
    tr_db_path(&p->source, kind, p->path);
    TR_TRY(make(p, err));
    TR_TRY(RUN_ALL(p, sql_begin, err));
    *out = p;
    p = NULL;
out:
    tr_pages_free(p);
    return st;
}

static tr_status put(tr_pages *p, uint32_t number, const void *content, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_on(&p->conn, sql_write, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, number);
    tr_bind_blob(&q, 2, content, PAGE_SIZE);
    return tr_query_run(&q, NULL, err);
}

static tr_status put_first(tr_pages *p, const uint8_t *content, tr_error *err) {
    uint8_t page[PAGE_SIZE];
    memcpy(page, content, sizeof page);
    uint32_t pages = (uint32_t)page[AT_PAGES] << 24 | (uint32_t)page[AT_PAGES + 1] << 16 |
                     (uint32_t)page[AT_PAGES + 2] << 8 | page[AT_PAGES + 3];
    if (pages != p->count)
        return tr_fail(err, TR_E_CORRUPT, tr_db_name(p->conn.kind), "its first page names another size");
    memset(page + AT_VERSIONS, 1, 2);
    p->resized = true;
    tr_status st = put(p, 1, page, err);
    return st == TR_OK ? RUN_ALL(p, sql_take_size, err) : st;
}

static bool may_come(const tr_pages *p, uint32_t number) {
    uint32_t next = p->patching && p->written < p->before ? p->before + 1 : p->written + 1;
    if (p->patching && number <= p->before)
        return number > p->written;
    return number == next && (p->resized || number == 1);
}

static bool all_came(const tr_pages *p) {
    return p->written == p->count || (p->patching && p->count == p->before);
}

/* SQLite locks a byte of it, the one at 2^30, and never uses it. By this call only SQLite says which it is:
 * tests move it. */
static uint32_t lock_page(void) {
    return (uint32_t)sqlite3_test_control(SQLITE_TESTCTRL_PENDING_BYTE, 0u) / PAGE_SIZE + 1;
}

tr_status tr_pages_write(tr_pages *p, uint32_t number, tr_bytes content, tr_error *err) {
    if (!may_come(p, number) || number > p->count || content.len != PAGE_SIZE)
        return tr_fail(err, TR_E_CORRUPT, tr_db_name(p->conn.kind), "a page is missing, or of another size");
    p->written = number;
    if (number == 1)
        return put_first(p, (const uint8_t *)content.data, err);
    return number == lock_page() ? TR_OK : put(p, number, content.data, err);
}

tr_status tr_pages_patch(tr_pages *p, const tr_moment_database *database, tr_error *err) {
    const char *name = tr_db_name(p->conn.kind);
    if (!all_came(p))
        return tr_fail(err, TR_E_CORRUPT, name, "pages are missing at its end");
    if (strcmp(database->name, name) != 0 || database->page_size != PAGE_SIZE || database->pages < p->count)
        return tr_fail(err, TR_E_CORRUPT, name, "it cannot become what the next snapshot says");
    p->patching = true;
    p->resized = false;
    p->before = p->count;
    p->count = database->pages;
    p->written = 0;
    return TR_OK;
}

tr_status tr_pages_finish(tr_pages *p, tr_error *err) {
    tr_status st = TR_OK;
    if (!all_came(p))
        return tr_fail(err, TR_E_CORRUPT, tr_db_name(p->conn.kind), "pages are missing at its end");
    TR_TRY(RUN_ALL(p, sql_finish, err));
    tr_conn_close(&p->conn);
    TR_TRY(
        tr_file_check(p->path, p->conn.kind, &p->source.keys[p->conn.kind], "a page does not verify", err));
    st = tr_file_flush(p->path, O_RDWR, err);
out:
    return st;
}

void tr_pages_free(tr_pages *p) {
    if (!p)
        return;
    tr_conn_close(&p->conn);
    tr_source_clear(&p->source);
    free(p);
}
