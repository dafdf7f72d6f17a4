/* A token: finding it, logging in, its sessions, and finding it again after it was lost. */
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "crypto/keyring_pkcs11.h"

#define SESSIONS_MAX 16
#define SLOTS_MAX    4096
#define WAIT_MS      1000 /* a token that is not there is not looked for more often */

struct tr_p11_token {
    tr_p11_token *next;
    tr_p11_module *module;
    CK_FUNCTION_LIST *p11;
    char label[TR_P11_LABEL_MAX + 1];
    tr_secret pin;
    unsigned users;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    CK_SLOT_ID slot;
    CK_SESSION_HANDLE idle[SESSIONS_MAX];
    size_t idle_count, open_count, limit; /* of the pool */
    size_t busy;                          /* works that run now, in the pool's sessions or others */
    uint64_t epoch;                       /* of this connection */
    bool lost;                            /* connect anew as soon as nothing runs */
    bool refused;                         /* its PIN changed: another try could lock it */
    int64_t failed_at;
    tr_error failure;
};

/* Two connections to one token would share one login, and the first to close would end the other's. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tr_p11_token *tokens;

static tr_status fails(const tr_p11_token *token, const char *step, CK_RV rv, tr_error *err) {
    char name[32];
    return tr_fail(err, TR_E_HSM, token->label, "the HSM fails: %s gives %s", step, tr_p11_name(rv, name));
}

/* ---- finding it ---- */

static tr_status list_slots(tr_p11_token *token, CK_SLOT_ID **slots, CK_ULONG *count, tr_error *err) {
    CK_RV rv = CKR_OK;
    *slots = NULL;
    for (int i = 0; i < 3; i++) { /* one may be plugged in between the two calls */
        *count = 0;
        rv = token->p11->C_GetSlotList(CK_TRUE, NULL, count);
        if (rv != CKR_OK || *count == 0)
            break;
        if (*count > SLOTS_MAX)
            *count = SLOTS_MAX;
        free(*slots);
        *slots = calloc(*count, sizeof **slots);
        if (!*slots)
            return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
        rv = token->p11->C_GetSlotList(CK_TRUE, *slots, count);
        if (rv != CKR_BUFFER_TOO_SMALL)
            break;
    }
    return rv == CKR_OK ? TR_OK : fails(token, "C_GetSlotList", rv, err);
}

static bool has_label(const CK_TOKEN_INFO *info, const char *label) {
    char padded[TR_P11_LABEL_MAX];
    memset(padded, ' ', sizeof padded);
    memcpy(padded, label, strlen(label));
    return (info->flags & CKF_TOKEN_INITIALIZED) && memcmp(info->label, padded, sizeof padded) == 0;
}

/* A wrong PIN in a service that is started again and again must not lock the token. */
static tr_status check_pin_state(const tr_p11_token *token, CK_FLAGS flags, tr_error *err) {
    if (flags & CKF_USER_PIN_LOCKED)
        return tr_fail(err, TR_E_HSM, token->label, "the token's PIN is locked");
    if (!(flags & CKF_USER_PIN_INITIALIZED))
        return tr_fail(err, TR_E_HSM, token->label, "the token has no user PIN yet");
    if (flags & CKF_USER_PIN_FINAL_TRY)
        return tr_fail(err, TR_E_HSM, token->label,
                       "one more wrong PIN locks the token: log in with its own tool first");
    return TR_OK;
}

static tr_status find_slot(tr_p11_token *token, tr_error *err) {
    CK_SLOT_ID *slots = NULL;
    CK_ULONG count = 0, found = 0;
    CK_TOKEN_INFO info, mine = {0};
    tr_status st = list_slots(token, &slots, &count, err);
    for (CK_ULONG i = 0; st == TR_OK && i < count; i++) {
        if (token->p11->C_GetTokenInfo(slots[i], &info) != CKR_OK || !has_label(&info, token->label))
            continue;
        token->slot = slots[i];
        mine = info;
        found++;
    }
    free(slots);
    if (st != TR_OK)
        return st;
    if (found == 0)
        return tr_fail(err, TR_E_HSM, token->label, "no token with this label is present");
    if (found > 1)
        return tr_fail(err, TR_E_HSM, token->label, "%lu tokens have this label", found);
    CK_ULONG most = mine.ulMaxSessionCount; /* one is left for work that writes */
    token->limit = most > 1 && most <= SESSIONS_MAX ? most - 1 : most == 1 ? 1 : SESSIONS_MAX;
    return check_pin_state(token, mine.flags, err);
}

/* ---- logging in ---- */

static tr_status log_in(tr_p11_token *token, CK_SESSION_HANDLE session, tr_error *err) {
    CK_RV rv = token->p11->C_Login(session, CKU_USER, token->pin.data, token->pin.len);
    if (rv == CKR_USER_ALREADY_LOGGED_IN) { /* by others, which says nothing about our PIN */
        (void)token->p11->C_Logout(session);
        rv = token->p11->C_Login(session, CKU_USER, token->pin.data, token->pin.len);
    }
    switch (rv) {
    case CKR_OK: return TR_OK;
    case CKR_PIN_INCORRECT:
    case CKR_PIN_INVALID:
    case CKR_PIN_LEN_RANGE:
        return tr_fail(err, TR_E_WRONG_KEY, token->label, "the PIN does not open the token");
    case CKR_PIN_LOCKED: return tr_fail(err, TR_E_HSM, token->label, "the token's PIN is locked");
    default: return fails(token, "C_Login", rv, err);
    }
}

static tr_status connect_token(tr_p11_token *token, tr_error *err) {
    CK_SESSION_HANDLE session = 0;
    tr_status st = find_slot(token, err);
    if (st != TR_OK)
        return st;
    CK_RV rv = token->p11->C_OpenSession(token->slot, CKF_SERIAL_SESSION, NULL, NULL, &session);
    if (rv != CKR_OK)
        return fails(token, "C_OpenSession", rv, err);
    st = log_in(token, session, err);
    if (st != TR_OK) {
        (void)token->p11->C_CloseSession(session);
        return st;
    }
    token->idle[0] = session;
    token->idle_count = token->open_count = 1;
    token->epoch++;
    return TR_OK;
}

/* The lock is held and nothing runs. */
static tr_status mend(tr_p11_token *token, tr_error *err) {
    if (token->refused || (token->failed_at && tr_monotonic_ms() - token->failed_at < WAIT_MS))
        return tr_fail(err, TR_E_HSM, token->label, "%s", token->failure.what);
    (void)token->p11->C_CloseAllSessions(token->slot);
    token->idle_count = token->open_count = 0;
    tr_status st = connect_token(token, &token->failure);
    if (st == TR_E_HSM && tr_p11_module_restart(token->module))
        st = connect_token(token, &token->failure);
    token->lost = st != TR_OK;
    token->refused = st == TR_E_WRONG_KEY;
    token->failed_at = st == TR_OK ? 0 : tr_monotonic_ms();
    if (st != TR_OK)
        return tr_fail(err, TR_E_HSM, token->label, "%s", token->failure.what);
    pthread_cond_broadcast(&token->changed);
    return TR_OK;
}

/* ---- sessions ---- */

/* The lock is held. *session 0: none is free, wait. */
static CK_RV get_session(tr_p11_token *token, bool write, CK_SESSION_HANDLE *session) {
    CK_FLAGS flags = CKF_SERIAL_SESSION | (write ? CKF_RW_SESSION : 0);
    CK_RV rv;
    *session = CK_INVALID_HANDLE;
    if (!write && token->idle_count > 0) {
        *session = token->idle[--token->idle_count];
        return CKR_OK;
    }
    if (!write && token->open_count >= token->limit)
        return CKR_OK;
    rv = token->p11->C_OpenSession(token->slot, flags, NULL, NULL, session);
    if (rv == CKR_SESSION_COUNT && token->busy > 0) {
        *session = CK_INVALID_HANDLE;
        return CKR_OK;
    }
    if (rv == CKR_OK && !write)
        token->open_count++;
    return rv;
}

static tr_status take(tr_p11_token *token, bool write, tr_p11_call *call, tr_error *err) {
    tr_status st = TR_OK;
    CK_RV rv = CKR_OK;
    bool mended = false;
    pthread_mutex_lock(&token->lock);
    for (;;) {
        if (token->lost && token->busy == 0) {
            TR_TRY(mend(token, err));
            mended = true;
        }
        if (!token->lost) {
            rv = get_session(token, write, &call->session);
            if (rv == CKR_OK && call->session != CK_INVALID_HANDLE)
                break;
            if (rv != CKR_OK && mended)
                TR_TRY(fails(token, "C_OpenSession", rv, err));
            if (rv != CKR_OK) {
                token->lost = true;
                continue;
            }
        }
        pthread_cond_wait(&token->changed, &token->lock);
    }
    token->busy++;
    call->p11 = token->p11;
    call->epoch = token->epoch;
out:
    pthread_mutex_unlock(&token->lock);
    return st;
}

/* Answers that say: this session, login, token or handle is no more. */
static bool says_lost(CK_RV rv) {
    static const CK_RV lost[] = {
        CKR_SESSION_HANDLE_INVALID,
        CKR_SESSION_CLOSED,
        CKR_USER_NOT_LOGGED_IN,
        CKR_DEVICE_REMOVED,
        CKR_DEVICE_ERROR,
        CKR_TOKEN_NOT_PRESENT,
        CKR_TOKEN_NOT_RECOGNIZED,
        CKR_SLOT_ID_INVALID,
        CKR_CRYPTOKI_NOT_INITIALIZED,
        CKR_KEY_HANDLE_INVALID,
        CKR_OBJECT_HANDLE_INVALID,
        CKR_WRAPPING_KEY_HANDLE_INVALID,
        CKR_UNWRAPPING_KEY_HANDLE_INVALID,
    };
    for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++) {
        if (lost[i] == rv)
            return true;
    }
    return false;
}

static void give_back(tr_p11_token *token, bool write, const tr_p11_call *call, CK_RV rv) {
    bool keep = !write && (rv == CKR_OK || TR_P11_IS_OURS(rv));
    /* After a failure a session may have an operation under way: do not use it again. */
    if (!keep && !says_lost(rv))
        (void)token->p11->C_CloseSession(call->session);
    pthread_mutex_lock(&token->lock);
    token->busy--;
    if (keep)
        token->idle[token->idle_count++] = call->session;
    else if (!write)
        token->open_count--;
    token->lost |= says_lost(rv) || token->open_count == 0; /* with its last session a login ends */
    pthread_cond_broadcast(&token->changed);
    pthread_mutex_unlock(&token->lock);
}

tr_status tr_p11_token_run(tr_p11_token *token, bool write, tr_p11_work work, void *context, CK_RV *rv,
                           tr_error *err) {
    tr_p11_call call = {.step = "C_OpenSession"};
    CK_RV last = CKR_TOKEN_NOT_PRESENT;
    tr_status st = TR_OK;
    for (int i = 0; i < 2; i++) {
        st = take(token, write, &call, err);
        if (st != TR_OK)
            break;
        last = work(&call, context);
        give_back(token, write, &call, last);
        st = last == CKR_OK ? TR_OK : fails(token, call.step, last, err);
        if (!says_lost(last))
            break;
    }
    if (rv)
        *rv = last;
    ERR_clear_error(); /* a module that uses OpenSSL too may have left something in this thread's queue */
    return st;
}

tr_status tr_p11_token_has(tr_p11_token *token, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags, bool *has,
                           tr_error *err) {
    CK_MECHANISM_INFO info;
    pthread_mutex_lock(&token->lock);
    CK_RV rv = token->p11->C_GetMechanismInfo(token->slot, mechanism, &info);
    pthread_mutex_unlock(&token->lock);
    *has = rv == CKR_OK && (info.flags & flags) == flags;
    if (rv != CKR_OK && rv != CKR_MECHANISM_INVALID)
        return fails(token, "C_GetMechanismInfo", rv, err);
    return TR_OK;
}

/* ---- opening and closing ---- */

static void free_token(tr_p11_token *token) {
    if (token->open_count > 0)
        (void)token->p11->C_CloseAllSessions(token->slot); /* logs out, too */
    if (token->module)
        tr_p11_module_put(token->module);
    tr_secret_clear(&token->pin);
    pthread_cond_destroy(&token->changed);
    pthread_mutex_destroy(&token->lock);
    free(token);
}

static tr_status new_token(const char *label, const tr_secret *pin, tr_p11_token **out, tr_error *err) {
    tr_p11_token *token = calloc(1, sizeof *token);
    *out = NULL;
    if (!token)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    memcpy(token->label, label, strlen(label) + 1);
    token->users = 1;
    pthread_mutex_init(&token->lock, NULL);
    pthread_cond_init(&token->changed, NULL);
    tr_status st = tr_secret_copy(&token->pin, pin->data, pin->len, err);
    if (st == TR_OK)
        *out = token;
    else
        free_token(token);
    return st;
}

static tr_p11_token *find_token(const tr_p11_token *like) {
    for (tr_p11_token *token = tokens; token; token = token->next) {
        if (token->module == like->module && strcmp(token->label, like->label) == 0)
            return token;
    }
    return NULL;
}

static bool same_pin(const tr_p11_token *a, const tr_p11_token *b) {
    return a->pin.len == b->pin.len && tr_equal_ct(a->pin.data, b->pin.data, a->pin.len);
}

static tr_status open_locked(tr_p11_token *fresh, const char *module, tr_p11_token **out, tr_error *err) {
    tr_status st = tr_p11_module_get(module, &fresh->module, err);
    if (st != TR_OK)
        return st;
    tr_p11_token *known = find_token(fresh);
    fresh->p11 = tr_p11_module_functions(fresh->module);
    if (known && !same_pin(known, fresh))
        return tr_fail(err, TR_E_WRONG_KEY, known->label, "the PIN does not open the token");
    if (known) {
        known->users++;
        *out = known;
        return TR_OK;
    }
    st = connect_token(fresh, err);
    if (st == TR_OK) {
        fresh->next = tokens;
        *out = tokens = fresh;
    }
    return st;
}

tr_status tr_p11_token_open(const char *module, const char *label, const tr_secret *pin, tr_p11_token **out,
                            tr_error *err) {
    tr_p11_token *fresh = NULL;
    *out = NULL;
    tr_status st = new_token(label, pin, &fresh, err);
    if (st != TR_OK)
        return st;
    pthread_mutex_lock(&lock);
    st = open_locked(fresh, module, out, err);
    if (*out != fresh)
        free_token(fresh);
    pthread_mutex_unlock(&lock);
    ERR_clear_error();
    return st;
}

void tr_p11_token_close(tr_p11_token *token) {
    pthread_mutex_lock(&lock);
    if (--token->users == 0) {
        tr_p11_token **link = &tokens;
        while (*link != token)
            link = &(*link)->next;
        *link = token->next;
        free_token(token);
    }
    pthread_mutex_unlock(&lock);
    ERR_clear_error();
}
