/* Shared by snapshot.c and moment_read.c only. */
#ifndef TR_STORE_MOMENT_INTERNAL_H
#define TR_STORE_MOMENT_INTERNAL_H

#include "store/sqlcipher/engine.h"

#define TR_MOMENT_READERS 4 /* at most */
#define TR_PAGE_MAX       65536

struct tr_moment {
    tr_conn conns[TR_MOMENT_READERS][TR_DB_COUNT]; /* of each reader: as in info.databases */
    size_t readers;
    tr_moment_info info;
    tr_db_kind kinds[TR_DB_COUNT];
    uint8_t reserved[TR_DB_COUNT]; /* bytes at each page's end that are the cipher's */
    int databases;
    int64_t stop_us;     /* how long the writer was kept */
    tr_changes *changes; /* while it begins */
    tr_changed *changed; /* what is asked of them; or NULL */
};

/* The page of this content, which is copied to `into`, where there is room for it. */
tr_status tr_moment_take(const tr_moment *m, size_t database, uint32_t number, tr_bytes content,
                         uint8_t *into, tr_db_page *page, tr_error *err);

#endif
