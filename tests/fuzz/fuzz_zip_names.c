/* Any bytes as a ZIP archive. When its directory is taken, whoever reads it from the directory, without a
 * fault, finds as many files as it names; so does whoever reads it from its beginning on, when its files are
 * stored as they are. (Where deflated data end is for whoever inflates them to say.) */
#include <archive.h>
#include <archive_entry.h>
#include <string.h>

#include "cli/zip_names.h"
#include "fuzz_file.h"
#include "fuzz_must.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

static char folder[64], path[96];

static void clean(void) {
    (void)unlink(path);
    (void)rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    fuzz_folder(folder, sizeof folder);
    (void)snprintf(path, sizeof path, "%s/a.zip", folder);
    return atexit(clean);
}

/* Read it to its end: how many files, -1 when something is wrong. Each must be the next of `names`. */
static int read_archive(int (*format)(struct archive *), const tr_zip_names *names, bool *same) {
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    int count = 0, rc;
    *same = true;
    MUST(a && format(a) == ARCHIVE_OK);
    if ((rc = archive_read_open_filename(a, path, 4096)) == ARCHIVE_OK) {
        while ((rc = archive_read_next_header(a, &entry)) == ARCHIVE_OK) {
            const char *name = archive_entry_pathname_utf8(entry);
            *same = *same && name && tr_zip_names_is(names, (size_t)count, name);
            count++;
            if ((rc = archive_read_data_skip(a)) != ARCHIVE_OK)
                break;
        }
    }
    archive_read_free(a);
    return rc == ARCHIVE_EOF ? count : -1;
}

/* Nothing that looks like a file's header says that its data are anything but stored. */
static bool all_stored(const uint8_t *data, size_t size) {
    static const uint8_t signature[4] = {'P', 'K', 3, 4};
    for (size_t i = 0; i + 30 <= size; i++) {
        if (memcmp(data + i, signature, sizeof signature) == 0 && (data[i + 8] || data[i + 9]))
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tr_zip_names *names = NULL;
    tr_error err = {0};
    bool same_listed = false, same_streamed = false;
    fuzz_write(path, data, size);
    tr_status st = tr_zip_names_read(path, &names, &err);
    MUST((st == TR_OK) == (names != NULL));
    MUST(st == TR_OK || (st == TR_E_CORRUPT && err.what[0]));
    if (st != TR_OK)
        return 0;
    int listed = read_archive(archive_read_support_format_zip_seekable, names, &same_listed);
    int streamed = read_archive(archive_read_support_format_zip_streamable, names, &same_streamed);
    if (listed >= 0 && same_listed) /* what tr_package_verify goes on with */
        MUST(tr_zip_names_is(names, (size_t)listed, NULL));
    if (listed >= 0 && same_listed && streamed >= 0 && all_stored(data, size))
        MUST(streamed == listed && same_streamed);
    tr_zip_names_free(names);
    return 0;
}
