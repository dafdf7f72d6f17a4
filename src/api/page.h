/* A page of a list: {"items":[...],"next":cursor}. Not for other layers.
 *
 *   tr_page_begin ─ the store's list with tr_page_rows() ─ for each row: if (tr_page_full(...)) return TR_OK
 * ─ tr_page_end
 */
#ifndef TR_API_PAGE_H
#define TR_API_PAGE_H

#include "api/call.h"

typedef struct tr_page {
    tr_call *call;
    int left;
    bool more;
    tr_uuid last; /* of the rows taken */
    tr_uuid room;
    const tr_uuid *after; /* NULL: from the beginning */
} tr_page;

/* Read limit and after, and begin the answer. */
tr_status tr_page_begin(tr_page *page, tr_call *call, tr_error *err);
/* How many rows to ask for: one more than the page has, to know whether there is a next one. */
int tr_page_rows(const tr_page *page);
/* Is there no room for this row? Else it is the page's last one so far. A row that is not shown must not come
 * here: a cursor names a row, and there being a next page says that there is one. */
bool tr_page_full(tr_page *page, const tr_uuid *id);
/* End the answer; `st` is what the list gave (TR_STOP is no failure), and is returned. */
tr_status tr_page_end(tr_page *page, tr_status st);

/* For lists in another order than by id: the parts of the above. */
void tr_page_open(tr_call *call);
bool tr_page_count(tr_page *page);
void tr_page_close(tr_call *call, const void *cursor, size_t len); /* cursor NULL: the last page */

#endif
