#include "vault/package_zip.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>

#define BLOCK 16384 /* what goes to the sink at once */

struct tr_zip {
    struct archive *raw;
    tr_sink_fn write;
    void *sink;
    int64_t at;
    int64_t size; /* of the present file */
    tr_hash *hash;
    tr_status failed; /* why the sink takes no more */
    tr_error why;
};

/* libarchive never hears of a sink that fails: it would not free what it holds for a file that is begun. What
 * it writes from then on goes nowhere, and check() tells the caller. */
static la_ssize_t to_sink(struct archive *raw, void *context, const void *bytes, size_t n) {
    tr_zip *zip = context;
    (void)raw;
    if (zip->failed == TR_OK)
        zip->failed = zip->write(zip->sink, bytes, n, &zip->why);
    return (la_ssize_t)n;
}

static tr_status check(tr_zip *zip, int rc, tr_error *err) {
    if (zip->failed != TR_OK && err)
        *err = zip->why;
    if (zip->failed != TR_OK)
        return zip->failed;
    return rc >= ARCHIVE_OK ? TR_OK
                            : tr_fail(err, TR_E_INTERNAL, "libarchive", "the package cannot be written");
}

tr_status tr_zip_open(tr_sink_fn write, void *sink, const char *passphrase, int64_t at, tr_zip **out,
                      tr_error *err) {
    tr_zip *zip = calloc(1, sizeof *zip);
    tr_status st = TR_OK;
    *out = NULL;
    if (!zip)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    *zip = (tr_zip){.write = write, .sink = sink, .at = at, .raw = archive_write_new()};
    if (!zip->raw)
        TR_TRY(tr_fail(err, TR_E_NOMEM, NULL, "out of memory"));
    TR_TRY(tr_hash_new(&zip->hash, err));
    TR_TRY(check(zip, archive_write_set_format_zip(zip->raw), err));
    TR_TRY(check(zip, archive_write_set_bytes_per_block(zip->raw, BLOCK), err));
    TR_TRY(check(zip, archive_write_set_bytes_in_last_block(zip->raw, 1), err));
    if (passphrase) {
        TR_TRY(check(zip, archive_write_set_options(zip->raw, "zip:encryption=aes256"), err));
        TR_TRY(check(zip, archive_write_set_passphrase(zip->raw, passphrase), err));
    }
    TR_TRY(check(zip, archive_write_open(zip->raw, zip, NULL, to_sink, NULL), err));
    *out = zip;
out:
    if (st != TR_OK)
        tr_zip_free(zip);
    return st;
}

tr_status tr_zip_begin(tr_zip *zip, const char *name, tr_error *err) {
    struct archive_entry *entry = archive_entry_new2(zip->raw);
    if (!entry)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    zip->size = 0;
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0600);
    archive_entry_set_mtime(entry, (time_t)(zip->at / 1000), 0);
    tr_status st = check(zip, archive_write_header(zip->raw, entry), err);
    archive_entry_free(entry);
    return st;
}

tr_status tr_zip_put(tr_zip *zip, const void *bytes, size_t n, tr_error *err) {
    tr_status st = tr_hash_update(zip->hash, bytes, n, err);
    for (const char *at = bytes; st == TR_OK && n > 0;) {
        la_ssize_t taken = archive_write_data(zip->raw, at, n);
        st = check(zip, taken > 0 ? ARCHIVE_OK : ARCHIVE_FATAL, err);
        if (st != TR_OK)
            break;
        at += taken;
        n -= (size_t)taken;
        zip->size += taken;
    }
    return st;
}

tr_status tr_zip_end(tr_zip *zip, int64_t *size, uint8_t sha256[TR_SHA256_LEN], tr_error *err) {
    *size = zip->size;
    tr_status st = check(zip, archive_write_finish_entry(zip->raw), err);
    return st == TR_OK ? tr_hash_final(zip->hash, sha256, err) : st;
}

tr_status tr_zip_close(tr_zip *zip, tr_error *err) {
    return check(zip, archive_write_close(zip->raw), err);
}

void tr_zip_free(tr_zip *zip) {
    if (!zip)
        return;
    if (zip->raw && zip->failed == TR_OK)
        zip->failed = TR_STOP; /* freeing an open archive writes its end */
    if (zip->raw)
        archive_write_free(zip->raw);
    tr_hash_free(zip->hash);
    free(zip);
}
