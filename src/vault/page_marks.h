/* What the pages of the newest snapshot were, so that the next one need hold only those that differ. Not for
 * other layers.
 *
 * One file in the data folder: the snapshot's id, then for each page 16 bytes of a keyed SHA-256 of its place
 * and its stamp (store/moment.h), under a key that lies in the same file, wrapped by the master key: without
 * it nobody can make the mark of a page that has changed, so that it would be left out. A page that was
 * written again as it was travels too. The file is read and written as a stream beside the pages, whatever
 * the size of the vault. A file that is missing, damaged, of another form or not to be opened any more is as
 * good as none: then the next snapshot is a full one. A mark that is damaged makes one page travel that need
 * not.
 */
#ifndef TR_VAULT_PAGE_MARKS_H
#define TR_VAULT_PAGE_MARKS_H

#include "crypto/keyring.h"
#include "store/moment.h"
#include "vault/snapshot_format.h"

#define TR_PAGE_MARKS "backup.pages" /* in the data folder */

typedef struct tr_page_marks tr_page_marks;

/* Look at the file that is there. */
tr_status tr_page_marks_open(const char *path, tr_keyring *ring, tr_page_marks **out, tr_error *err);
/* Of which snapshot the marks are, with its databases. False: there are none. */
bool tr_page_marks_base(const tr_page_marks *marks, tr_uuid *base);
/* Could a snapshot with these databases be put upon that one? None of them has shrunk or is another. */
bool tr_page_marks_fit(const tr_page_marks *marks, const tr_snapshot_head *head);
/* Begin the marks of the snapshot `head`, beside the old ones; with `compare` each page is held against
 * those. What an earlier try left is thrown away. */
tr_status tr_page_marks_begin(tr_page_marks *marks, const tr_snapshot_head *head, bool compare,
                              tr_error *err);
/* Every page, in order. *differs: from the old one, or there is nothing to compare with. */
tr_status tr_page_marks_page(tr_page_marks *marks, const tr_db_page *page, bool *differs, tr_error *err);
/* The new ones take the place of the old ones: when the snapshot is in place. */
tr_status tr_page_marks_commit(tr_page_marks *marks, tr_error *err);
void tr_page_marks_close(tr_page_marks *marks); /* NULL is fine */

#endif
