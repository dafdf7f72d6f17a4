/* The directory at a ZIP's end (APPNOTE.TXT 4.3.12 to 4.3.16), as every other program shows it. libarchive
 * takes a file's name from the file's own header, so that an archive could show people other names than those
 * that were checked. */
#ifndef TR_CLI_ZIP_NAMES_H
#define TR_CLI_ZIP_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

typedef struct tr_zip_names tr_zip_names;

/* TR_E_CORRUPT when the file does not end with a directory of files that lie one behind the other, with
 * nothing between them, each with a header of its own that says the same. */
tr_status tr_zip_names_read(const char *path, tr_zip_names **out, tr_error *err);
void tr_zip_names_free(tr_zip_names *names);
/* Is this the name of the index-th file, in the order in which they lie in the archive? NULL: are there no
 * more? */
bool tr_zip_names_is(const tr_zip_names *names, size_t index, const char *name);

#endif
