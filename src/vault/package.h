/* The package that answers a request for access or portability, and an export: one ZIP that a person can read
 * and a machine can take over (Art. 25, 28 FADP, Art. 16 DPO; Art. 12, 15, 20 GDPR).
 *
 *   index.html               what a person reads and prints: the information and the records, without any
 * script records/TYPE.json
 * {"type","items":[{"id","type","version","created_at","updated_at","updated_by","data",
 *                            "partial","earlier":[{"version","updated_at","updated_by","data"}]}]}
 *   records/TYPE.csv         the same for a type whose properties are all plain values
 *   schemas/TYPE.json        the record type: a JSON Schema
 *   context.jsonld           where types or properties name a term of schema.org: a JSON-LD 1.1 context for
 * the items information.json         what Art. 25(2) FADP and Art. 15 GDPR ask for accesses.json, .csv who
 * did what with the data, when and for which purpose requests.json            the subject's requests so far
 *   manifest.json            name, size and SHA-256 of every other file
 *   manifest.jws             a JWS of exactly that file (vault/proof.h)
 *
 * What is made for a service holds records, schemas, context, page and manifest only, of what its grants
 * show.
 *
 * It is written as it is sent. Nothing of it is on a disk, memory does not grow with the number of records,
 * and nothing is locked while the reader is slow: each batch of rows is a short read of its own. So the files
 * show each row as it is when its turn comes; what was made after the beginning is left out.
 */
#ifndef TR_VAULT_PACKAGE_H
#define TR_VAULT_PACKAGE_H

#include "base/sink.h"
#include "vault/access.h"

typedef enum tr_language { TR_LANG_EN, TR_LANG_DE, TR_LANG_FR, TR_LANG_IT, TR_LANG_COUNT } tr_language;

/* "en", "de", "fr" or "it" in either case, also with a region: "de-CH". */
bool tr_language_parse(const char *text, size_t len, tr_language *language);

typedef struct tr_package_options {
    tr_uuid subject;
    bool has_request;
    tr_uuid request;         /* that it answers */
    const char *kind;        /* "access", "portability" or "export": static text */
    const tr_access *access; /* what it shows; `own`: everything */
    tr_language language;    /* of index.html */
    const char *passphrase;  /* NULL: not encrypted; else the ZIP is WinZip AES-256 */
    /* Asked before each batch: may whoever gets it still have it? Its failure ends the package. */
    tr_status (*still)(void *context, tr_db *db, tr_error *err);
    void *still_context;
} tr_package_options;

/* Write it to the sink. TR_E_NOT_FOUND: there is no such subject, or it was erased meanwhile: then, and after
 * any other failure, what was written is no whole ZIP. */
tr_status tr_package_write(tr_vault *vault, const tr_package_options *options, tr_sink_fn write, void *sink,
                           tr_error *err);

#endif
