/* A package (the ZIP that answers a request for access) as whoever got it checks it. */
#ifndef TR_CLI_PACKAGE_H
#define TR_CLI_PACKAGE_H

#include "base/json.h"
#include "base/secret.h"

/* Does the file begin as a ZIP does? TR_E_CONFIG when it cannot be read. */
tr_status tr_package_probe(const char *path, bool *is_zip, tr_error *err);

typedef struct tr_package_facts {
    cJSON *manifest;      /* what was signed; cJSON_Delete */
    char kid[44];         /* by which key */
    int64_t files, bytes; /* found good, without the manifest itself */
} tr_package_facts;

/* Check the manifest's signature with a JWK set, and then each file against the manifest: all that it names
 * are there, once, with that size and SHA-256, and nothing else is. Until the signature is found good nothing
 * but the manifest is unpacked, and nothing is written anywhere. `passphrase` NULL: none. TR_E_MALFORMED: no
 * package; TR_E_NOT_FOUND: no such key; TR_E_CORRUPT: altered (where: which file); TR_E_WRONG_KEY: the
 * passphrase is missing or wrong. */
tr_status tr_package_verify(const char *path, const tr_secret *passphrase, const cJSON *jwks,
                            tr_package_facts *facts, tr_error *err);

#endif
