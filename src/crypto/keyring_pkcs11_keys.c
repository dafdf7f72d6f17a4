/* Keys inside a token: making and finding them, and what they do without leaving it. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "crypto/keyring_pkcs11.h"

#define KEY_LEN    32
#define LABEL_ROOM 96
/* RFC 5649: v3.0's number of its own, and v2.40's, by which some tokens mean PKCS#7's padding and others
 * this. The length of what comes out tells them apart. */
#define AES_KEY_WRAP_KWP 0x210bUL
#define AES_KEY_WRAP_PAD CKM_AES_KEY_WRAP_PAD
#define KWP_LEN(n)       (((n) + 7) / 8 * 8 + 8)

#define ATTRIBUTE(type, value)                                                                               \
    { type, &(value), sizeof(value) }
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- what the token can do ---- */

tr_status tr_p11_choose(tr_p11_token *token, CK_MECHANISM_TYPE *wrap, tr_error *err) {
    static const struct {
        CK_MECHANISM_TYPE mechanism;
        CK_FLAGS flags;
        const char *lacks;
    } needs[] = {
        {CKM_AES_KEY_GEN, CKF_GENERATE, "the token makes no AES keys (CKM_AES_KEY_GEN)"},
        {CKM_GENERIC_SECRET_KEY_GEN, CKF_GENERATE,
         "the token makes no keys for HMAC (CKM_GENERIC_SECRET_KEY_GEN)"},
        {CKM_SHA256_HMAC, CKF_SIGN, "the token has no HMAC-SHA-256 (CKM_SHA256_HMAC)"},
    };
    bool has = false;
    for (size_t i = 0; i < COUNT(needs); i++) {
        tr_status st = tr_p11_token_has(token, needs[i].mechanism, needs[i].flags, &has, err);
        if (st != TR_OK)
            return st;
        if (!has)
            return tr_fail(err, TR_E_HSM, NULL, "%s", needs[i].lacks);
    }
    *wrap = AES_KEY_WRAP_KWP;
    tr_status st = tr_p11_token_has(token, *wrap, CKF_WRAP | CKF_UNWRAP, &has, err);
    if (st == TR_OK && !has) {
        *wrap = AES_KEY_WRAP_PAD;
        st = tr_p11_token_has(token, *wrap, CKF_WRAP | CKF_UNWRAP, &has, err);
    }
    if (st == TR_OK && !has)
        st = tr_fail(err, TR_E_HSM, NULL,
                     "the token has no AES key wrap with padding, RFC 5649 (CKM_AES_KEY_WRAP_KWP or _PAD)");
    return st;
}

/* ---- finding and making ---- */

/* It must be a key that cannot be read out of the token, whoever made it. */
static CK_RV check_key(tr_p11_call *call, CK_OBJECT_HANDLE handle) {
    CK_BBOOL sensitive = CK_FALSE, extractable = CK_TRUE;
    CK_ATTRIBUTE template[] = {ATTRIBUTE(CKA_SENSITIVE, sensitive), ATTRIBUTE(CKA_EXTRACTABLE, extractable)};
    call->step = "C_GetAttributeValue";
    CK_RV rv = call->p11->C_GetAttributeValue(call->session, handle, template, COUNT(template));
    if (rv == CKR_OK && (sensitive != CK_TRUE || extractable != CK_FALSE))
        rv = TR_P11_WEAK_KEY;
    return rv;
}

/* Who is not logged in sees none of our keys: then nothing is known of them. */
static CK_RV say_missing(tr_p11_call *call) {
    CK_SESSION_INFO info = {0};
    call->step = "C_GetSessionInfo";
    CK_RV rv = call->p11->C_GetSessionInfo(call->session, &info);
    if (rv != CKR_OK)
        return rv;
    return info.state == CKS_RO_USER_FUNCTIONS || info.state == CKS_RW_USER_FUNCTIONS
               ? TR_P11_NO_KEY
               : CKR_USER_NOT_LOGGED_IN;
}

static CK_RV search(tr_p11_call *call, tr_p11_key *key, CK_OBJECT_HANDLE *handle) {
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_BBOOL yes = CK_TRUE;
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_CLASS, class), ATTRIBUTE(CKA_TOKEN, yes), {CKA_ID, key->id, key->id_len}};
    call->step = "C_FindObjectsInit";
    CK_RV rv = call->p11->C_FindObjectsInit(call->session, template, COUNT(template));
    if (rv != CKR_OK)
        return rv;
    call->step = "C_FindObjects";
    rv = call->p11->C_FindObjects(call->session, found, COUNT(found), &count);
    CK_RV ended = call->p11->C_FindObjectsFinal(call->session);
    if (rv != CKR_OK || ended != CKR_OK)
        return rv != CKR_OK ? rv : ended;
    if (count == 0)
        return say_missing(call);
    if (count > 1)
        return TR_P11_TWO_KEYS;
    *handle = found[0];
    return check_key(call, found[0]);
}

/* All works that run at one time are of one epoch, so the handle fits the epoch beside it. */
static CK_RV get_handle(tr_p11_call *call, tr_p11_key *key, CK_OBJECT_HANDLE *handle) {
    if (atomic_load(&key->epoch) == call->epoch) {
        *handle = atomic_load(&key->handle);
        return CKR_OK;
    }
    CK_RV rv = search(call, key, handle);
    if (rv == CKR_OK) {
        atomic_store(&key->handle, *handle);
        atomic_store(&key->epoch, call->epoch);
    }
    return rv;
}

static CK_RV find_work(tr_p11_call *call, void *context) {
    tr_p11_key *key = context;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    atomic_store(&key->epoch, 0);
    return get_handle(call, key, &handle);
}

tr_status tr_p11_find(tr_p11_token *token, tr_p11_key *key, CK_RV *rv, tr_error *err) {
    return tr_p11_token_run(token, false, find_work, key, rv, err);
}

typedef struct generate_job {
    tr_p11_key *key;
    bool seal;
    char label[LABEL_ROOM];
} generate_job;

/* SP 800-57 5.3.4: one purpose a key. Whatever is not named the token may take for granted, so all is. */
static CK_RV generate(tr_p11_call *call, generate_job *job, CK_OBJECT_HANDLE *handle) {
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = job->seal ? CKK_GENERIC_SECRET : CKK_AES;
    CK_MECHANISM mechanism = {job->seal ? CKM_GENERIC_SECRET_KEY_GEN : CKM_AES_KEY_GEN, NULL, 0};
    CK_ULONG len = KEY_LEN;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE, wraps = job->seal ? CK_FALSE : CK_TRUE,
             signs = job->seal ? CK_TRUE : CK_FALSE;
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_CLASS, class),
        ATTRIBUTE(CKA_KEY_TYPE, type),
        ATTRIBUTE(CKA_VALUE_LEN, len),
        ATTRIBUTE(CKA_TOKEN, yes),
        ATTRIBUTE(CKA_PRIVATE, yes),
        ATTRIBUTE(CKA_SENSITIVE, yes),
        ATTRIBUTE(CKA_EXTRACTABLE, no),
        ATTRIBUTE(CKA_WRAP, wraps),
        ATTRIBUTE(CKA_UNWRAP, wraps),
        ATTRIBUTE(CKA_SIGN, signs),
        ATTRIBUTE(CKA_VERIFY, signs),
        ATTRIBUTE(CKA_ENCRYPT, no),
        ATTRIBUTE(CKA_DECRYPT, no),
        ATTRIBUTE(CKA_DERIVE, no),
        {CKA_ID, job->key->id, job->key->id_len},
        {CKA_LABEL, job->label, strlen(job->label)},
    };
    call->step = "C_GenerateKey";
    return call->p11->C_GenerateKey(call->session, &mechanism, template, COUNT(template), handle);
}

/* The second time, after a lost connection, the key may be there already. */
static CK_RV generate_work(tr_p11_call *call, void *context) {
    generate_job *job = context;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    CK_RV rv = get_handle(call, job->key, &handle);
    if (rv != TR_P11_NO_KEY)
        return rv;
    rv = generate(call, job, &handle);
    if (rv == CKR_OK) /* and see that the token did as it was told */
        rv = get_handle(call, job->key, &handle);
    return rv;
}

tr_status tr_p11_generate(tr_p11_token *token, tr_p11_key *key, bool seal, const char *label, tr_error *err) {
    generate_job job = {.key = key, .seal = seal};
    (void)snprintf(job.label, sizeof job.label, "%s", label);
    return tr_p11_token_run(token, true, generate_work, &job, NULL, err);
}

static CK_RV destroy_work(tr_p11_call *call, void *context) {
    tr_p11_key *key = context;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    CK_RV rv = get_handle(call, key, &handle);
    if (rv == TR_P11_NO_KEY)
        return CKR_OK;
    if (rv != CKR_OK)
        return rv;
    call->step = "C_DestroyObject";
    rv = call->p11->C_DestroyObject(call->session, handle);
    if (rv == CKR_OK)
        atomic_store(&key->epoch, 0);
    return rv;
}

tr_status tr_p11_destroy(tr_p11_token *token, tr_p11_key *key, tr_error *err) {
    return tr_p11_token_run(token, true, destroy_work, key, NULL, err);
}

/* ---- wrapping ---- */

typedef struct wrap_job {
    CK_MECHANISM_TYPE mechanism;
    tr_p11_key *master;
    const tr_secret *key;
    uint8_t wrapped[TR_WRAPPED_MAX];
    CK_ULONG wrapped_len;
    tr_secret *out;
    tr_error *err;
} wrap_job;

/* A session's object for the moment: C_WrapKey takes nothing but objects. */
static CK_RV put_in(tr_p11_call *call, const tr_secret *key, CK_OBJECT_HANDLE *object) {
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_CLASS, class),      ATTRIBUTE(CKA_KEY_TYPE, type), ATTRIBUTE(CKA_TOKEN, no),
        ATTRIBUTE(CKA_PRIVATE, yes),      ATTRIBUTE(CKA_SENSITIVE, yes), ATTRIBUTE(CKA_EXTRACTABLE, yes),
        {CKA_VALUE, key->data, key->len},
    };
    call->step = "C_CreateObject";
    return call->p11->C_CreateObject(call->session, template, COUNT(template), object);
}

/* A session object that stays would pile up in the token: when it does not go, the work has failed, and the
 * session is closed with all that is in it. */
static CK_RV take_out(tr_p11_call *call, CK_OBJECT_HANDLE object, CK_RV so_far) {
    CK_RV rv = call->p11->C_DestroyObject(call->session, object);
    if (so_far == CKR_OK && rv != CKR_OK)
        call->step = "C_DestroyObject";
    return so_far == CKR_OK ? rv : so_far;
}

static CK_RV wrap_work(tr_p11_call *call, void *context) {
    wrap_job *job = context;
    CK_MECHANISM mechanism = {job->mechanism, NULL, 0};
    CK_OBJECT_HANDLE master = CK_INVALID_HANDLE, object = CK_INVALID_HANDLE;
    CK_RV rv = get_handle(call, job->master, &master);
    if (rv == CKR_OK)
        rv = put_in(call, job->key, &object);
    if (rv != CKR_OK)
        return rv;
    job->wrapped_len = sizeof job->wrapped;
    call->step = "C_WrapKey";
    rv = call->p11->C_WrapKey(call->session, &mechanism, master, object, job->wrapped, &job->wrapped_len);
    if (rv == CKR_OK && job->wrapped_len != KWP_LEN(job->key->len))
        rv = TR_P11_NOT_KWP;
    return take_out(call, object, rv);
}

tr_status tr_p11_wrap(tr_p11_token *token, CK_MECHANISM_TYPE wrap, tr_p11_key *master, const tr_secret *key,
                      tr_buf *wrapped, CK_RV *rv, tr_error *err) {
    wrap_job job = {.mechanism = wrap, .master = master, .key = key};
    /* SoftHSM pads other lengths in a way of its own, and says the padded length in what RFC 5649 protects.
     */
    if (key->len == 0 || key->len % 8 != 0 || KWP_LEN(key->len) > TR_WRAPPED_MAX)
        return tr_fail(err, TR_E_INTERNAL, NULL, "a key of %zu bytes cannot be wrapped", key->len);
    tr_status st = tr_p11_token_run(token, false, wrap_work, &job, rv, err);
    if (st == TR_OK) {
        tr_buf_append(wrapped, job.wrapped, job.wrapped_len);
        st = tr_buf_ok(wrapped, err);
    }
    return st;
}

/* ---- unwrapping ---- */

static CK_RV read_value(tr_p11_call *call, CK_OBJECT_HANDLE object, wrap_job *job) {
    CK_ATTRIBUTE value = {CKA_VALUE, NULL, 0};
    call->step = "C_GetAttributeValue";
    CK_RV rv = call->p11->C_GetAttributeValue(call->session, object, &value, 1);
    if (rv != CKR_OK)
        return rv;
    if (value.ulValueLen == 0 || KWP_LEN(value.ulValueLen) != job->wrapped_len)
        return TR_P11_NOT_KWP;
    if (tr_secret_alloc(job->out, value.ulValueLen, NULL) != TR_OK)
        return CKR_HOST_MEMORY;
    value.pValue = job->out->data;
    rv = call->p11->C_GetAttributeValue(call->session, object, &value, 1);
    if (rv == CKR_OK && value.ulValueLen != job->out->len)
        rv = CKR_GENERAL_ERROR;
    return rv;
}

static CK_RV unwrap(tr_p11_call *call, wrap_job *job) {
    CK_MECHANISM mechanism = {job->mechanism, NULL, 0};
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_GENERIC_SECRET;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_OBJECT_HANDLE master = CK_INVALID_HANDLE, object = CK_INVALID_HANDLE;
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_CLASS, class), ATTRIBUTE(CKA_KEY_TYPE, type), ATTRIBUTE(CKA_TOKEN, no),
        ATTRIBUTE(CKA_PRIVATE, yes), ATTRIBUTE(CKA_SENSITIVE, no),  ATTRIBUTE(CKA_EXTRACTABLE, yes),
    };
    CK_RV rv = get_handle(call, job->master, &master);
    if (rv != CKR_OK)
        return rv;
    call->step = "C_UnwrapKey";
    rv = call->p11->C_UnwrapKey(call->session, &mechanism, master, job->wrapped, job->wrapped_len, template,
                                COUNT(template), &object);
    if (rv != CKR_OK)
        return rv;
    return take_out(call, object, read_value(call, object, job));
}

/* Wrap and unwrap something: is it the token that fails, or the wrapped key? */
static bool works(tr_p11_call *call, const wrap_job *job) {
    tr_secret sample = TR_SECRET_INIT, back = TR_SECRET_INIT;
    wrap_job probe = {.mechanism = job->mechanism, .master = job->master, .key = &sample, .out = &back};
    tr_p11_call apart = *call; /* whose step is not told to anyone */
    bool good = tr_secret_alloc(&sample, KEY_LEN, NULL) == TR_OK && wrap_work(&apart, &probe) == CKR_OK &&
                unwrap(&apart, &probe) == CKR_OK && tr_equal_ct(sample.data, back.data, KEY_LEN);
    tr_secret_clear(&sample);
    tr_secret_clear(&back);
    return good;
}

static CK_RV unwrap_work(tr_p11_call *call, void *context) {
    wrap_job *job = context;
    CK_RV rv = unwrap(call, job);
    switch (rv) {
    case CKR_WRAPPED_KEY_INVALID:
    case CKR_WRAPPED_KEY_LEN_RANGE:
    case CKR_ENCRYPTED_DATA_INVALID:
    case CKR_ENCRYPTED_DATA_LEN_RANGE:
    case TR_P11_NOT_KWP: return TR_P11_BAD_WRAP;
    case CKR_GENERAL_ERROR: /* SoftHSM's and others' answer to a key that does not verify */
    case CKR_FUNCTION_FAILED: return works(call, job) ? TR_P11_BAD_WRAP : rv;
    default: return rv;
    }
}

tr_status tr_p11_unwrap(tr_p11_token *token, CK_MECHANISM_TYPE wrap, tr_p11_key *master, tr_bytes wrapped,
                        tr_secret *key, CK_RV *rv, tr_error *err) {
    tr_secret out = TR_SECRET_INIT;
    wrap_job job = {.mechanism = wrap, .master = master, .wrapped_len = wrapped.len, .out = &out};
    CK_RV last = TR_P11_BAD_WRAP;
    tr_status st = TR_E_CORRUPT;
    if (wrapped.len >= 16 && wrapped.len <= TR_WRAPPED_MAX && wrapped.len % 8 == 0) {
        memcpy(job.wrapped, wrapped.data, wrapped.len);
        st = tr_p11_token_run(token, false, unwrap_work, &job, &last, err);
    }
    if (last == TR_P11_BAD_WRAP)
        st = tr_fail(err, TR_E_CORRUPT, NULL, "a wrapped key does not verify");
    if (st == TR_OK) {
        tr_secret_clear(key);
        *key = out;
        out = TR_SECRET_INIT;
    }
    tr_secret_clear(&out);
    if (rv)
        *rv = last;
    return st;
}

/* ---- the seal ---- */

typedef struct mac_job {
    tr_p11_key *key;
    uint8_t hash[TR_SHA256_LEN];
    uint8_t *mac;
} mac_job;

static CK_RV mac_work(tr_p11_call *call, void *context) {
    mac_job *job = context;
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    CK_ULONG len = TR_SHA256_LEN;
    CK_RV rv = get_handle(call, job->key, &handle);
    if (rv != CKR_OK)
        return rv;
    call->step = "C_SignInit";
    rv = call->p11->C_SignInit(call->session, &mechanism, handle);
    if (rv != CKR_OK)
        return rv;
    call->step = "C_Sign";
    rv = call->p11->C_Sign(call->session, job->hash, sizeof job->hash, job->mac, &len);
    return rv == CKR_OK && len != TR_SHA256_LEN ? CKR_GENERAL_ERROR : rv;
}

tr_status tr_p11_mac(tr_p11_token *token, tr_p11_key *key, const uint8_t hash[TR_SHA256_LEN],
                     uint8_t mac[TR_SHA256_LEN], CK_RV *rv, tr_error *err) {
    mac_job job = {.key = key, .mac = mac};
    memcpy(job.hash, hash, TR_SHA256_LEN);
    return tr_p11_token_run(token, false, mac_work, &job, rv, err);
}
