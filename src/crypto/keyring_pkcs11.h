/* A token of a PKCS#11 module (OASIS PKCS#11 v2.40), for keyring_pkcs11*.c alone: found by its label, logged
 * in, with a bounded pool of sessions for any number of threads, and connected anew when it was lost. */
#ifndef TR_CRYPTO_KEYRING_PKCS11_H
#define TR_CRYPTO_KEYRING_PKCS11_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stdint.h>

#include "crypto/keyring_provider.h"

#define TR_P11_LABEL_MAX 32 /* bytes of a token's label */

/* Answers of our own work, none of a module's. */
#define TR_P11_OURS        (CKR_VENDOR_DEFINED | 0x54520000UL)
#define TR_P11_IS_OURS(rv) (((rv) & ~0xffUL) == TR_P11_OURS)
#define TR_P11_NO_KEY      (TR_P11_OURS | 1) /* no object has the CKA_ID that was asked for */
#define TR_P11_TWO_KEYS    (TR_P11_OURS | 2)
#define TR_P11_WEAK_KEY    (TR_P11_OURS | 3) /* the token would give the key away */
#define TR_P11_NOT_KWP     (TR_P11_OURS | 4) /* what it wraps is not RFC 5649's */
#define TR_P11_BAD_WRAP    (TR_P11_OURS | 5) /* the wrapped key does not verify */

/* ---- modules: keyring_pkcs11_module.c ---- */

/* PKCS#11 knows one C_Initialize a process, so a module is shared by all that use it. */
typedef struct tr_p11_module tr_p11_module;

tr_status tr_p11_module_get(const char *path, tr_p11_module **out, tr_error *err);
void tr_p11_module_put(tr_p11_module *module);
CK_FUNCTION_LIST *tr_p11_module_functions(const tr_p11_module *module);
/* C_Finalize and C_Initialize, for modules that find a lost device in no other way. False, and nothing done,
 * when others use the module too. */
bool tr_p11_module_restart(tr_p11_module *module);
/* "CKR_DEVICE_ERROR", or the number. */
const char *tr_p11_name(CK_RV rv, char room[32]);

/* ---- tokens: keyring_pkcs11_token.c ---- */

typedef struct tr_p11_token tr_p11_token;

/* What a piece of work in a session gets. */
typedef struct tr_p11_call {
    CK_FUNCTION_LIST *p11;
    CK_SESSION_HANDLE session;
    uint64_t epoch;   /* object handles hold only as long as this number is the same */
    const char *step; /* set by the work before each call of the module, for the error's text */
} tr_p11_call;

typedef CK_RV (*tr_p11_work)(tr_p11_call *call, void *context);

/* Two that open one token share it. TR_E_WRONG_KEY: not its PIN; TR_E_HSM names what is missing. */
tr_status tr_p11_token_open(const char *module, const char *label, const tr_secret *pin, tr_p11_token **out,
                            tr_error *err);
void tr_p11_token_close(tr_p11_token *token);
/* Does the token offer the mechanism for all that `flags` (CKF_WRAP and so on) name? */
tr_status tr_p11_token_has(tr_p11_token *token, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags, bool *has,
                           tr_error *err);
/* Run the work in a session of its own; once more after connecting anew when the token was lost meanwhile, so
 * it must be sound to run twice. `write`: the session may change the token. *rv (may be NULL) is the last
 * answer; all but CKR_OK give TR_E_HSM. */
tr_status tr_p11_token_run(tr_p11_token *token, bool write, tr_p11_work work, void *context, CK_RV *rv,
                           tr_error *err);

/* ---- keys: keyring_pkcs11_keys.c ---- */

#define TR_P11_ID_MAX 32

/* A key inside the token. Many threads may use it. */
typedef struct tr_p11_key {
    uint8_t id[TR_P11_ID_MAX]; /* CKA_ID */
    size_t id_len;
    _Atomic uint64_t epoch; /* in which `handle` is good; 0: look for it */
    _Atomic CK_OBJECT_HANDLE handle;
} tr_p11_key;

/* The number of the token's mechanism for RFC 5649. TR_E_HSM when it lacks what a keyring needs. */
tr_status tr_p11_choose(tr_p11_token *token, CK_MECHANISM_TYPE *wrap, tr_error *err);
/* Make a key that never leaves the token: for wrapping (AES-256) or for the seal (HMAC-SHA-256). */
tr_status tr_p11_generate(tr_p11_token *token, tr_p11_key *key, bool seal, const char *label, tr_error *err);
/* In these, *rv (may be NULL) is TR_P11_NO_KEY when the token has the key no more. */
tr_status tr_p11_find(tr_p11_token *token, tr_p11_key *key, CK_RV *rv, tr_error *err);
tr_status tr_p11_wrap(tr_p11_token *token, CK_MECHANISM_TYPE wrap, tr_p11_key *master, const tr_secret *key,
                      tr_buf *wrapped, CK_RV *rv, tr_error *err);
/* TR_E_CORRUPT when it does not verify. */
tr_status tr_p11_unwrap(tr_p11_token *token, CK_MECHANISM_TYPE wrap, tr_p11_key *master, tr_bytes wrapped,
                        tr_secret *key, CK_RV *rv, tr_error *err);
tr_status tr_p11_mac(tr_p11_token *token, tr_p11_key *key, const uint8_t hash[TR_SHA256_LEN],
                     uint8_t mac[TR_SHA256_LEN], CK_RV *rv, tr_error *err);
/* TR_OK when it is gone already. */
tr_status tr_p11_destroy(tr_p11_token *token, tr_p11_key *key, tr_error *err);

#endif
