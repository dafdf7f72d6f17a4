#include "cli/package.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "cli/zip_names.h"
#include "vault/proof.h"

#define BLOCK        65536
#define MANIFEST_MAX ((size_t)16 * 1024 * 1024)
#define MANIFEST     "manifest.json"
#define SIGNATURE    "manifest.jws"

tr_status tr_package_probe(const char *path, bool *is_zip, tr_error *err) {
    char head[4];
    FILE *file = fopen(path, "rbe");
    if (!file)
        return tr_fail(err, TR_E_CONFIG, path, "cannot be opened: %s", strerror(errno));
    *is_zip = fread(head, 1, sizeof head, file) == sizeof head && memcmp(head, "PK\3\4", sizeof head) == 0;
    fclose(file);
    return TR_OK;
}

/* ---- the archive ---- */

typedef struct package {
    struct archive *raw;
    const char *path;
    const tr_secret *passphrase;
    tr_zip_names *names;
    size_t index; /* of the next file */
} package;

/* libarchive says what is wrong in words only. */
static tr_status failed(const package *p, const char *name, tr_error *err) {
    const char *why = archive_error_string(p->raw);
    if (why && strstr(why, "assphrase"))
        return tr_fail(err, TR_E_WRONG_KEY, p->path,
                       p->passphrase ? "the passphrase does not open the package"
                                     : "the package is encrypted: give --passphrase-file");
    return tr_fail(err, TR_E_CORRUPT, name, "cannot be unpacked: the package is damaged");
}

static void close_package(package *p) {
    if (p->raw)
        archive_read_free(p->raw);
    p->raw = NULL;
}

/* By the directory at its end, as every other program reads it. */
static tr_status open_package(package *p, tr_error *err) {
    p->index = 0;
    p->raw = archive_read_new();
    if (!p->raw)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (archive_read_support_format_zip_seekable(p->raw) != ARCHIVE_OK)
        return tr_fail(err, TR_E_INTERNAL, NULL, "libarchive reads no ZIP");
    if (p->passphrase) {
        char text[1024];
        if (p->passphrase->len >= sizeof text || memchr(p->passphrase->data, 0, p->passphrase->len))
            return tr_fail(err, TR_E_CONFIG, "--passphrase-file", "holds no passphrase of a package");
        memcpy(text, p->passphrase->data, p->passphrase->len);
        text[p->passphrase->len] = '\0';
        int rc = archive_read_add_passphrase(p->raw, text);
        tr_wipe(text, sizeof text);
        if (rc != ARCHIVE_OK)
            return tr_fail(err, TR_E_CONFIG, "--passphrase-file", "holds no passphrase of a package");
    }
    return archive_read_open_filename(p->raw, p->path, BLOCK) == ARCHIVE_OK
               ? TR_OK
               : tr_fail(err, TR_E_MALFORMED, p->path, "is no ZIP archive that can be read");
}

/* The next file; *name is "" at the end. */
static tr_status next_entry(package *p, const char **name, tr_error *err) {
    struct archive_entry *entry = NULL;
    int rc = archive_read_next_header(p->raw, &entry);
    *name = "";
    if (rc != ARCHIVE_EOF && rc != ARCHIVE_OK)
        return failed(p, p->path, err);
    const char *found = rc == ARCHIVE_OK ? archive_entry_pathname_utf8(entry) : NULL;
    if (rc == ARCHIVE_OK && (!found || !*found || archive_entry_filetype(entry) != AE_IFREG))
        return tr_fail(err, TR_E_CORRUPT, p->path, "the package holds something that is no file");
    if (!tr_zip_names_is(p->names, p->index++, found))
        return tr_fail(err, TR_E_CORRUPT, p->path,
                       "the package's directory names other files than are in it");
    if (rc == ARCHIVE_EOF)
        return TR_OK;
    *name = found;
    return TR_OK;
}

/* Append the present file, of at most `most` bytes. */
static tr_status read_entry(package *p, const char *name, size_t most, tr_buf *out, tr_error *err) {
    char *block = malloc(BLOCK);
    tr_status st = block ? TR_OK : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    la_ssize_t n = 0;
    while (st == TR_OK && (n = archive_read_data(p->raw, block, BLOCK)) > 0) {
        tr_buf_append(out, block, (size_t)n);
        st = out->len > most ? tr_fail(err, TR_E_CORRUPT, name, "is too large") : tr_buf_ok(out, err);
    }
    if (st == TR_OK && n < 0)
        st = failed(p, name, err);
    free(block);
    return st;
}

/* ---- the manifest ---- */

static tr_status read_manifest(package *p, tr_buf *text, tr_buf *jws, tr_error *err) {
    const char *name = "";
    bool has[2] = {false, false};
    tr_status st = open_package(p, err);
    while (st == TR_OK && !(has[0] && has[1])) {
        st = next_entry(p, &name, err);
        if (st != TR_OK || !*name)
            break;
        if (!has[0] && strcmp(name, MANIFEST) == 0) {
            st = read_entry(p, MANIFEST, MANIFEST_MAX, text, err);
            has[0] = true;
        } else if (!has[1] && strcmp(name, SIGNATURE) == 0) {
            st = read_entry(p, SIGNATURE, 2 * MANIFEST_MAX, jws, err);
            has[1] = true;
        }
    }
    close_package(p);
    if (st == TR_OK && !(has[0] && has[1]))
        st = tr_fail(err, TR_E_MALFORMED, p->path, "is no package: it has no " MANIFEST " and " SIGNATURE);
    return st;
}

static tr_status check_manifest(const cJSON *jwks, const tr_buf *text, tr_buf *jws, tr_package_facts *facts,
                                tr_error *err) {
    tr_buf payload = TR_BUF_INIT;
    tr_status st = TR_OK;
    while (jws->len > 0 && (jws->data[jws->len - 1] == '\n' || jws->data[jws->len - 1] == '\r'))
        jws->data[--jws->len] = '\0';
    if (!jws->data || strlen(jws->data) != jws->len)
        TR_TRY(tr_fail(err, TR_E_MALFORMED, SIGNATURE, "is no signature"));
    TR_TRY(tr_proof_verify(jwks, jws->data, TR_TYP_MANIFEST, &payload, err));
    if (payload.len != text->len || (text->len && memcmp(payload.data, text->data, text->len) != 0))
        TR_TRY(tr_fail(err, TR_E_CORRUPT, MANIFEST, "is not what was signed"));
    TR_TRY(tr_proof_kid(jws->data, facts->kid, err));
    TR_TRY(tr_json_parse(payload.data ? payload.data : "", payload.len, &facts->manifest, err));
    if (!cJSON_IsArray(tr_json_member(facts->manifest, "files")))
        st = tr_fail(err, TR_E_MALFORMED, MANIFEST, "names no files");
out:
    tr_buf_clear(&payload);
    return st;
}

/* ---- the files ---- */

/* What the manifest says of a file; -1: it does not name it. */
static int find_file(const cJSON *files, const char *name, const cJSON **file) {
    const cJSON *item;
    int at = 0;
    cJSON_ArrayForEach(item, files) {
        const char *listed = tr_json_string(item, "name");
        *file = item;
        if (listed && strcmp(listed, name) == 0)
            return at;
        at++;
    }
    return -1;
}

static tr_status hash_entry(package *p, const char *name, int64_t most, tr_hash *hash, int64_t *size,
                            uint8_t digest[TR_SHA256_LEN], tr_error *err) {
    char *block = malloc(BLOCK);
    tr_status st = block ? TR_OK : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    la_ssize_t n = 0;
    *size = 0;
    while (st == TR_OK && *size <= most && (n = archive_read_data(p->raw, block, BLOCK)) > 0) {
        *size += n;
        st = tr_hash_update(hash, block, (size_t)n, err);
    }
    if (st == TR_OK && n < 0)
        st = failed(p, name, err);
    if (st == TR_OK)
        st = tr_hash_final(hash, digest, err);
    free(block);
    return st;
}

static tr_status check_file(package *p, const char *name, const cJSON *file, tr_hash *hash,
                            tr_package_facts *facts, tr_error *err) {
    uint8_t digest[TR_SHA256_LEN];
    char hex[2 * TR_SHA256_LEN + 1];
    int64_t stated = -1, size = 0;
    const char *sha256 = tr_json_string(file, "sha256");
    if (!sha256 || !tr_json_int(file, "size", &stated) || stated < 0)
        return tr_fail(err, TR_E_MALFORMED, MANIFEST, "does not say a file's size and SHA-256");
    tr_status st = hash_entry(p, name, stated, hash, &size, digest, err);
    if (st != TR_OK)
        return st;
    tr_hex_encode(digest, sizeof digest, hex);
    if (size != stated || strcmp(hex, sha256) != 0)
        return tr_fail(err, TR_E_CORRUPT, name, "is not the file that the manifest names");
    facts->files++;
    facts->bytes += size;
    return TR_OK;
}

static tr_status check_files(package *p, tr_package_facts *facts, tr_error *err) {
    const cJSON *files = tr_json_member(facts->manifest, "files"), *file = NULL;
    int count = cJSON_GetArraySize(files), manifests = 0;
    bool *seen = calloc(count > 0 ? (size_t)count : 1, sizeof *seen);
    const char *name = "";
    tr_hash *hash = NULL;
    tr_status st = seen ? TR_OK : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (st == TR_OK)
        st = tr_hash_new(&hash, err);
    if (st == TR_OK)
        st = open_package(p, err);
    while (st == TR_OK && (st = next_entry(p, &name, err)) == TR_OK && *name) {
        if (strcmp(name, MANIFEST) == 0 || strcmp(name, SIGNATURE) == 0) {
            manifests++;
            continue;
        }
        int at = find_file(files, name, &file);
        if (at < 0)
            st = tr_fail(err, TR_E_CORRUPT, p->path, "holds a file that the manifest does not name");
        else if (seen[at])
            st = tr_fail(err, TR_E_CORRUPT, name, "is there twice");
        else
            st = check_file(p, name, file, hash, facts, err);
        if (st == TR_OK)
            seen[at] = true;
    }
    if (st == TR_OK && (facts->files != count || manifests != 2))
        st = tr_fail(err, TR_E_CORRUPT, p->path, "lacks a file that the manifest names, or has it twice");
    close_package(p);
    tr_hash_free(hash);
    free(seen);
    return st;
}

tr_status tr_package_verify(const char *path, const tr_secret *passphrase, const cJSON *jwks,
                            tr_package_facts *facts, tr_error *err) {
    package p = {.path = path, .passphrase = passphrase};
    tr_buf text = TR_BUF_INIT, jws = TR_BUF_INIT;
    *facts = (tr_package_facts){0};
    tr_status st = tr_zip_names_read(path, &p.names, err);
    if (st == TR_OK)
        st = read_manifest(&p, &text, &jws, err);
    if (st == TR_OK)
        st = check_manifest(jwks, &text, &jws, facts, err);
    if (st == TR_OK)
        st = check_files(&p, facts, err);
    tr_buf_clear(&text);
    tr_buf_clear(&jws);
    tr_zip_names_free(p.names);
    return st;
}
