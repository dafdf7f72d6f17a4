#include "crypto/password.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "crypto/evp.h"
#include "crypto/kdf_cost.h"

#define COST_R      8
#define COST_P      1
#define SALT_LEN    16
#define HASH_LEN    32
#define RUNNING_MAX 2
#define WAITING_MAX 64
/* What a stored hash may ask for, so that a damaged one cannot take all memory: 256 MiB. */
#define STORED_LN_MAX     20
#define STORED_R_MAX      32
#define STORED_P_MAX      16
#define STORED_MEMORY_MAX ((uint64_t)256 * 1024 * 1024)
#define SALT_MAX          64
/* Beyond N * r * 128 bytes, what OpenSSL's own check counts. */
#define SCRYPT_SLACK ((uint64_t)1024 * 1024)

/* ---- scrypt ---- */

tr_status tr_scrypt(tr_bytes password, tr_bytes salt, uint64_t n, uint32_t r, uint32_t p, size_t len,
                    tr_secret *out, tr_error *err) {
    const tr_evp *evp;
    tr_secret fresh = TR_SECRET_INIT;
    EVP_KDF_CTX *ctx = NULL;
    tr_status st = TR_OK;
    /* RFC 7914 section 2: N a power of two above 1; r * p < 2^30. */
    if (n < 2 || (n & (n - 1)) || n > (UINT64_C(1) << 32) || r == 0 || p == 0 || r > 1024 || p > 1024 ||
        len == 0)
        return tr_fail(err, TR_E_INTERNAL, NULL, "scrypt parameters that cannot be");
    uint64_t memory = 128 * n * r + 128 * (uint64_t)r * p + SCRYPT_SLACK;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PASSWORD, (void *)(uintptr_t)password.data,
                                          password.len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt.data, salt.len),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
        OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &memory),
        OSSL_PARAM_construct_end(),
    };
    TR_TRY(tr_evp_get(&evp, err));
    TR_TRY(tr_secret_alloc(&fresh, len, err));
    ctx = EVP_KDF_CTX_new(evp->scrypt);
    /* Parameters were checked above: what is left to fail is memory. */
    if (!ctx || EVP_KDF_derive(ctx, fresh.data, len, params) != 1)
        TR_TRY(tr_evp_fail(err, TR_E_NOMEM, "scrypt failed; is there enough memory?"));
    tr_secret_clear(out);
    *out = fresh;
    fresh = TR_SECRET_INIT;
out:
    EVP_KDF_CTX_free(ctx);
    tr_secret_clear(&fresh);
    return st;
}

/* ---- how many run at once ---- */

/* The process's own. Each hash takes 32 MiB and a core for 60 ms: without a gate, sign-ins would take both.
 */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t freed;
    int running;
    int waiting;
} gate = {.mutex = PTHREAD_MUTEX_INITIALIZER, .freed = PTHREAD_COND_INITIALIZER};

static tr_status enter(tr_error *err) {
    tr_status st = TR_OK;
    pthread_mutex_lock(&gate.mutex);
    if (gate.running >= RUNNING_MAX && gate.waiting >= WAITING_MAX) {
        st = tr_fail(err, TR_E_BUSY, NULL, "too many passwords are being checked");
    } else {
        gate.waiting++;
        while (gate.running >= RUNNING_MAX)
            pthread_cond_wait(&gate.freed, &gate.mutex);
        gate.waiting--;
        gate.running++;
    }
    pthread_mutex_unlock(&gate.mutex);
    return st;
}

static void leave(void) {
    pthread_mutex_lock(&gate.mutex);
    gate.running--;
    pthread_cond_signal(&gate.freed);
    pthread_mutex_unlock(&gate.mutex);
}

/* ---- the stored form ---- */

typedef struct stored_hash {
    unsigned ln, r, p;
    uint8_t salt[SALT_MAX];
    size_t salt_len;
    uint8_t hash[HASH_LEN];
} stored_hash;

static tr_status derive(const char *password, size_t len, const stored_hash *how, tr_secret *out,
                        tr_error *err) {
    tr_status st = enter(err);
    if (st != TR_OK)
        return st;
    st = tr_scrypt((tr_bytes){password, len}, (tr_bytes){how->salt, how->salt_len}, UINT64_C(1) << how->ln,
                   how->r, how->p, HASH_LEN, out, err);
    leave();
    return st;
}

static bool decode_part(const char *text, size_t len, uint8_t *out, size_t least, size_t *n) {
    return tr_base64url_decode(text, len, out, n) && *n >= least;
}

/* Step over `prefix` and a number of one or two digits. */
static bool read_number(const char **at, const char *prefix, unsigned *value) {
    const size_t n = strlen(prefix);
    if (strncmp(*at, prefix, n) != 0)
        return false;
    *at += n;
    const size_t digits = strspn(*at, "0123456789");
    if (digits == 0 || digits > 2 || (digits == 2 && **at == '0'))
        return false;
    for (*value = 0; **at >= '0' && **at <= '9'; (*at)++)
        *value = *value * 10 + (unsigned)(**at - '0');
    return true;
}

static bool parse_stored(const char *text, stored_hash *stored) {
    size_t hash_len = sizeof stored->hash;
    stored->salt_len = sizeof stored->salt;
    if (!read_number(&text, "$scrypt$ln=", &stored->ln) || !read_number(&text, ",r=", &stored->r) ||
        !read_number(&text, ",p=", &stored->p) || *text++ != '$')
        return false;
    if (stored->ln < 1 || stored->ln > STORED_LN_MAX || stored->r < 1 || stored->r > STORED_R_MAX ||
        stored->p < 1 || stored->p > STORED_P_MAX ||
        128 * (UINT64_C(1) << stored->ln) * stored->r > STORED_MEMORY_MAX)
        return false;
    const char *end = strchr(text, '$');
    return end && decode_part(text, (size_t)(end - text), stored->salt, 8, &stored->salt_len) &&
           decode_part(end + 1, strlen(end + 1), stored->hash, HASH_LEN, &hash_len);
}

tr_status tr_password_hash(const char *password, size_t len, char out[TR_PASSWORD_HASH_MAX], tr_error *err) {
    stored_hash how = {.ln = tr_kdf_cost.password_ln, .r = COST_R, .p = COST_P, .salt_len = SALT_LEN};
    char salt[TR_BASE64URL_LEN(SALT_LEN) + 1], hash[TR_BASE64URL_LEN(HASH_LEN) + 1];
    tr_secret derived = TR_SECRET_INIT;
    tr_status st = TR_OK;
    if (len == 0 || len > TR_PASSWORD_MAX)
        return tr_fail(err, TR_E_VALIDATION, NULL, "a password has 1 to %d bytes", TR_PASSWORD_MAX);
    TR_TRY(tr_random(how.salt, SALT_LEN, err));
    TR_TRY(derive(password, len, &how, &derived, err));
    tr_base64url_encode(how.salt, SALT_LEN, salt);
    tr_base64url_encode(derived.data, HASH_LEN, hash);
    (void)snprintf(out, TR_PASSWORD_HASH_MAX, "$scrypt$ln=%u,r=%u,p=%u$%s$%s", how.ln, how.r, how.p, salt,
                   hash);
out:
    tr_secret_clear(&derived);
    return st;
}

tr_status tr_password_check(const char *stored, const char *password, size_t len, bool *match,
                            tr_error *err) {
    stored_hash how = {.ln = tr_kdf_cost.password_ln, .r = COST_R, .p = COST_P, .salt_len = SALT_LEN};
    tr_secret derived = TR_SECRET_INIT;
    tr_status st = TR_OK;
    *match = false;
    if (len == 0 || len > TR_PASSWORD_MAX)
        return TR_OK; /* nobody's password: known uid or not, no work */
    if (stored && !parse_stored(stored, &how))
        return tr_fail(err, TR_E_CORRUPT, NULL, "a stored password hash is damaged");
    TR_TRY(derive(password, len, &how, &derived, err));
    bool equal = tr_equal_ct(derived.data, how.hash, HASH_LEN);
    *match = stored && equal;
out:
    tr_secret_clear(&derived);
    return st;
}

tr_status tr_password_generate(char out[32], tr_error *err) {
    static const char alphabet[] = "abcdefghjkmnpqrstuvwxyz23456789"; /* 31; log2(31^24) = 118.9 */
    enum { LENGTH = 24, COUNT = sizeof alphabet - 1, FAIR = 256 / COUNT * COUNT };
    uint8_t random[2 * LENGTH];
    size_t done = 0;
    tr_status st = TR_OK;
    while (done < LENGTH) {
        TR_TRY(tr_random(random, sizeof random, err));
        /* A byte beyond the last whole multiple would make some characters likelier. */
        for (size_t i = 0; i < sizeof random && done < LENGTH; i++) {
            if (random[i] < FAIR)
                out[done++] = alphabet[random[i] % COUNT];
        }
    }
    out[done] = '\0';
out:
    tr_wipe(random, sizeof random);
    return st;
}
