#include "vault/package.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "vault/datakeys.h"
#include "vault/package_internal.h"
#include "vault/proof.h"

tr_status tr_package_still(tr_package *p, tr_error *err) {
    const tr_package_options *o = p->options;
    return o->still ? o->still(o->still_context, p->db, err) : TR_OK;
}

/* ---- files ---- */

tr_status tr_package_flush(tr_package *p, tr_error *err) {
    tr_status st = tr_buf_ok(&p->out, err);
    if (st == TR_OK && p->out.len)
        st = tr_zip_put(p->zip, p->out.data, p->out.len, err);
    tr_buf_reset(&p->out);
    return st;
}

/* The manifest's line about the file. */
static tr_status note_file(tr_package *p, const char *name, int64_t size, const uint8_t sha256[TR_SHA256_LEN],
                           tr_error *err) {
    char hex[2 * TR_SHA256_LEN + 1];
    cJSON *file = cJSON_CreateObject();
    tr_hex_encode(sha256, TR_SHA256_LEN, hex);
    bool ok = file && cJSON_AddStringToObject(file, "name", name) &&
              cJSON_AddNumberToObject(file, "size", (double)size) &&
              cJSON_AddStringToObject(file, "sha256", hex) && cJSON_AddItemToArray(p->files, file);
    if (ok)
        return TR_OK;
    cJSON_Delete(file);
    return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
}

tr_status tr_package_file(tr_package *p, const char *name,
                          tr_status (*fill)(tr_package *p, const void *context, tr_error *err),
                          const void *context, tr_error *err) {
    uint8_t sha256[TR_SHA256_LEN];
    int64_t size;
    tr_status st = tr_package_still(p, err);
    if (st == TR_OK)
        st = tr_zip_begin(p->zip, name, err);
    if (st == TR_OK)
        st = fill(p, context, err);
    if (st == TR_OK)
        st = tr_package_flush(p, err);
    if (st == TR_OK)
        st = tr_zip_end(p->zip, &size, sha256, err);
    return st == TR_OK ? note_file(p, name, size, sha256, err) : st;
}

/* ---- the manifest ---- */

static tr_status write_manifest(tr_package *p, tr_buf *out, tr_error *err) {
    const tr_package_options *o = p->options;
    tr_buf files = TR_BUF_INIT;
    tr_status st = tr_json_print(p->files, &files, err);
    tr_jw_open(out, NULL, '{');
    tr_jw_text(out, "format", "tresor-package");
    tr_jw_number(out, "version", 1);
    tr_jw_uuid(out, "vault", tr_proof_vault_id(p->vault));
    tr_jw_uuid(out, "subject", &o->subject);
    tr_jw_text(out, "kind", o->kind);
    tr_jw_uuid(out, "request", o->has_request ? &o->request : NULL);
    tr_jw_time(out, "made_at", p->started_at);
    tr_jw_bool(out, "complete", o->access->own);
    tr_jw_raw(out, "files", files.data ? files.data : "[]", files.data ? files.len : 2);
    tr_jw_close(out, '}');
    tr_buf_clear(&files);
    return st == TR_OK ? tr_buf_ok(out, err) : st;
}

static tr_status fill_text(tr_package *p, const void *context, tr_error *err) {
    const tr_buf *text = context;
    tr_buf_append(&p->out, text->data, text->len);
    return tr_buf_ok(&p->out, err);
}

static tr_status put_manifest(tr_package *p, tr_error *err) {
    tr_buf manifest = TR_BUF_INIT, jws = TR_BUF_INIT;
    tr_status st = write_manifest(p, &manifest, err);
    if (st == TR_OK)
        st = tr_proof_sign(p->vault, (tr_bytes){manifest.data, manifest.len}, TR_TYP_MANIFEST, &jws, err);
    if (st == TR_OK)
        st = tr_package_file(p, "manifest.json", fill_text, &manifest, err);
    if (st == TR_OK)
        st = tr_package_file(p, "manifest.jws", fill_text, &jws, err);
    tr_buf_clear(&manifest);
    tr_buf_clear(&jws);
    return st;
}

/* ---- the package ---- */

static void end_package(tr_package *p) {
    tr_zip_free(p->zip);
    tr_buf_clear(&p->out);
    cJSON_Delete(p->files);
    cJSON_Delete(p->information);
    free(p->types);
    tr_recipients_clear(&p->writers);
    tr_wipe(p, sizeof *p);
    free(p);
}

static tr_status begin_package(tr_package *p, tr_sink_fn write, void *sink, tr_error *err) {
    tr_secret key = {0};
    tr_status st = tr_store_reader(tr_vault_store(p->vault), &p->db, err);
    if (st == TR_OK)
        st = tr_datakey_get(p->vault, p->db, &p->options->subject, &key, err);
    tr_secret_clear(&key);
    if (st == TR_OK && !(p->files = cJSON_CreateArray()))
        st = tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    return st == TR_OK ? tr_zip_open(write, sink, p->options->passphrase, p->started_at, &p->zip, err) : st;
}

tr_status tr_package_write(tr_vault *vault, const tr_package_options *options, tr_sink_fn write, void *sink,
                           tr_error *err) {
    tr_package *p = calloc(1, sizeof *p);
    tr_status st = TR_OK;
    if (!p)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    p->vault = vault;
    p->options = options;
    p->started_at = tr_now_ms();
    TR_TRY(begin_package(p, write, sink, err));
    TR_TRY(tr_package_survey(p, err));
    TR_TRY(tr_package_inform(p, err));
    TR_TRY(tr_package_put_page(p, err));
    TR_TRY(tr_package_put_records(p, err));
    if (options->access->own)
        TR_TRY(tr_package_put_lists(p, err));
    TR_TRY(put_manifest(p, err));
    TR_TRY(tr_zip_close(p->zip, err));
out:
    end_package(p);
    return st;
}
