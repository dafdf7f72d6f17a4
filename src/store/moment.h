/* The pages of a committed moment, and databases made of such pages: for snapshots. A part of store.h, which
 * includes it.
 */
#ifndef TR_STORE_MOMENT_H
#define TR_STORE_MOMENT_H

#include "store/store.h"

/* The pages of some databases at one committed moment, read while writes go on. Beginning one is a job that
 * costs the writer microseconds: on connections of its own a read transaction begins in each database,
 * between two groups. Until it is ended, the WALs cannot be emptied and grow by what is written. Used by one
 * thread at a time. */
typedef struct tr_moment tr_moment;
enum {
    TR_IN_VAULT = 1,
    TR_IN_KEYS = 2,
    TR_IN_AUDIT = 4,
    TR_BY_MANY = 8 /* tr_moment_read is to use the processors there are, up to four */
};

typedef struct tr_moment_database {
    const char *name; /* "vault.db" */
    uint32_t page_size, pages;
    int64_t schema; /* PRAGMA user_version */
} tr_moment_database;

typedef struct tr_moment_info {
    tr_moment_database databases[3];
    size_t count;
    int64_t at;        /* ms */
    int64_t audit_seq; /* the log's head */
    uint8_t audit_hash[32];
} tr_moment_info;

tr_status tr_moment_begin(tr_store *store, int databases, tr_moment **out, tr_error *err);
const tr_moment_info *tr_moment_about(const tr_moment *moment);

#define TR_STAMP_LEN 16

/* `database` is the place in the info, `number` counts from 1. The content is plain: it is for the sealed
 * stream of a snapshot. What it holds for the cipher alone is zero. The stamp is another one each time the
 * page is written, whatever is written: the random vector under which it lies in the file. The page that
 * SQLite never uses, that with byte 2^30, is zeros with a stamp of zeros. */
typedef struct tr_db_page {
    size_t database;
    uint32_t number;
    tr_bytes content;
    uint8_t stamp[TR_STAMP_LEN];
} tr_db_page;

typedef tr_status (*tr_page_fn)(void *context, const tr_db_page *page, tr_error *err);
/* Every page of every database, in order, in the caller's thread; other threads read ahead. */
tr_status tr_moment_read(tr_moment *moment, tr_page_fn fn, void *context, tr_error *err);
void tr_moment_end(tr_moment *moment); /* NULL is fine */

/* Page numbers, in ascending order. Zero-initialise it. */
typedef struct tr_page_set {
    uint8_t *bits;
    size_t room; /* bytes */
    uint64_t count;
    bool unsure; /* others may have changed too: after a fault, or before anybody asked */
} tr_page_set;
void tr_page_set_add(tr_page_set *set, uint32_t number); /* without memory for it, the set is unsure */
/* The next one after this (0: the first); 0: there is none. */
uint32_t tr_page_set_next(const tr_page_set *set, uint32_t after);

/* The pages that changed, by database: vault.db, keys.db, audit.db. Zero-initialise it; used by one thread at
 * a time. Its memory is given back by tr_changed_clear. */
typedef struct tr_changed {
    tr_page_set sets[3];
} tr_changed;
void tr_changed_clear(tr_changed *changed, int databases);
bool tr_changed_unsure(const tr_changed *changed, int databases);
uint64_t tr_changed_count(const tr_changed *changed, int databases);

/* As tr_moment_begin; and the pages of these databases that were changed after the last such call for them
 * and before this moment are added to `changed`. The first call of all finds them unsure: from then on the
 * store keeps account. */
tr_status tr_moment_begin_changed(tr_store *store, int databases, tr_changed *changed, tr_moment **out,
                                  tr_error *err);
/* As tr_moment_read, but only these pages. */
tr_status tr_moment_read_changed(tr_moment *moment, const tr_changed *changed, tr_page_fn fn, void *context,
                                 tr_error *err);
/* How many pages wait for such a call; UINT64_MAX: it is not known. In any thread, at once. */
uint64_t tr_store_changed_pages(const tr_store *store, int databases);

/* A database made of such pages, under another key, in a folder that no store has open. Each page comes once,
 * in order, from the first to the last. */
typedef struct tr_pages tr_pages;
tr_status tr_pages_open(const char *data_dir, const tr_moment_database *database, const tr_secret *key,
                        tr_pages **out, tr_error *err); /* TR_E_EXISTS: the file is there */
tr_status tr_pages_write(tr_pages *pages, uint32_t number, tr_bytes content, tr_error *err);
/* After the last page: the pages that come next, in ascending order again, take the place of those that are
 * there, and the database has then as many as this says. It never shrinks; each that is new must come. */
tr_status tr_pages_patch(tr_pages *pages, const tr_moment_database *database, tr_error *err);
/* Write the rest, flush, and check the whole file (integrity_check, cipher_integrity_check): TR_E_CORRUPT. */
tr_status tr_pages_finish(tr_pages *pages, tr_error *err);
/* After finish, or instead of it: then the file is no database. NULL is fine. */
void tr_pages_free(tr_pages *pages);

#endif
