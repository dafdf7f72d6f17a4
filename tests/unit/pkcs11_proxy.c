/* SoftHSM behind a module that fails as it is told: tests/unit/test_pkcs11_faults.c. */
#include "pkcs11_proxy.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#define KWP 0x210bUL

extern proxy_state proxy;
proxy_state proxy;

static CK_FUNCTION_LIST *real, mine;

/* Is this call to fail? */
static bool fails(enum proxy_call call, CK_RV *answer) {
    long left = proxy.at[call].times;
    proxy.at[call].calls++;
    while (left > 0 && !atomic_compare_exchange_weak(&proxy.at[call].times, &left, left - 1))
        ;
    *answer = proxy.at[call].answer;
    return left != 0;
}

/* `work` is the real call. */
#define PASS(call, work)                                                                                     \
    do {                                                                                                     \
        CK_RV answer;                                                                                        \
        if (!fails(call, &answer))                                                                           \
            return (work);                                                                                   \
        if (proxy.at[call].done_first)                                                                       \
            (void)(work);                                                                                    \
        return answer;                                                                                       \
    } while (0)

static CK_RV initialize(void *arguments) {
    PASS(AT_INITIALIZE, real->C_Initialize(arguments));
}

static CK_RV get_slot_list(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count) {
    if (proxy.absent) {
        *count = 0;
        return CKR_OK;
    }
    PASS(AT_GET_SLOT_LIST, real->C_GetSlotList(present, slots, count));
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info) {
    CK_RV rv = real->C_GetTokenInfo(slot, info);
    info->flags |= proxy.token_flags;
    if (proxy.most_sessions)
        info->ulMaxSessionCount = proxy.most_sessions;
    return rv;
}

static CK_MECHANISM_TYPE translate(CK_MECHANISM_TYPE type) {
    if (proxy.kwp && type == KWP)
        return CKM_AES_KEY_WRAP_PAD;
    return proxy.kwp && type == CKM_AES_KEY_WRAP_PAD ? CKM_VENDOR_DEFINED : type;
}

static CK_RV get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info) {
    if (proxy.hidden == type)
        return CKR_MECHANISM_INVALID;
    return real->C_GetMechanismInfo(slot, translate(type), info);
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                          CK_SESSION_HANDLE *session) {
    CK_RV answer;
    if (fails(AT_OPEN_SESSION, &answer))
        return answer;
    CK_RV rv = real->C_OpenSession(slot, flags, application, notify, session);
    long open = rv == CKR_OK ? ++proxy.open : 0, most = proxy.most_open;
    while (open > most && !atomic_compare_exchange_weak(&proxy.most_open, &most, open))
        ;
    return rv;
}

static CK_RV close_session(CK_SESSION_HANDLE session) {
    proxy.open--;
    return real->C_CloseSession(session);
}

static CK_RV close_all_sessions(CK_SLOT_ID slot) {
    proxy.open = 0;
    return real->C_CloseAllSessions(slot);
}

static CK_RV log_in(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len) {
    PASS(AT_LOGIN, real->C_Login(session, user, pin, len));
}

static CK_RV find_objects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG room,
                          CK_ULONG *count) {
    PASS(AT_FIND_OBJECTS, real->C_FindObjects(session, objects, room, count));
}

static CK_RV create_object(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count,
                           CK_OBJECT_HANDLE *object) {
    PASS(AT_CREATE_OBJECT, real->C_CreateObject(session, template, count, object));
}

static CK_RV destroy_object(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object) {
    PASS(AT_DESTROY_OBJECT, real->C_DestroyObject(session, object));
}

static CK_RV generate_key(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *template,
                          CK_ULONG count, CK_OBJECT_HANDLE *key) {
    PASS(AT_GENERATE_KEY, real->C_GenerateKey(session, mechanism, template, count, key));
}

static CK_RV really_wrap(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
                         CK_OBJECT_HANDLE key, CK_BYTE *wrapped, CK_ULONG *len) {
    CK_MECHANISM translated = {translate(mechanism->mechanism), NULL, 0};
    CK_RV rv = real->C_WrapKey(session, &translated, wrapping, key, wrapped, len);
    if (rv == CKR_OK && proxy.pads)
        *len += 8;
    return rv;
}

static CK_RV wrap_key(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
                      CK_OBJECT_HANDLE key, CK_BYTE *wrapped, CK_ULONG *len) {
    PASS(AT_WRAP_KEY, really_wrap(session, mechanism, wrapping, key, wrapped, len));
}

static CK_RV unwrap_key(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE unwrapping,
                        CK_BYTE *wrapped, CK_ULONG len, CK_ATTRIBUTE *template, CK_ULONG count,
                        CK_OBJECT_HANDLE *key) {
    CK_MECHANISM translated = {translate(mechanism->mechanism), NULL, 0};
    PASS(AT_UNWRAP_KEY,
         real->C_UnwrapKey(session, &translated, unwrapping, wrapped, len, template, count, key));
}

static CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature,
                  CK_ULONG *len) {
    PASS(AT_SIGN, real->C_Sign(session, data, data_len, signature, len));
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list) {
    CK_RV (*get)(CK_FUNCTION_LIST **) = NULL;
    void *softhsm = dlopen(TRESOR_SOFTHSM, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    void *symbol = softhsm ? dlsym(softhsm, "C_GetFunctionList") : NULL;
    memcpy(&get, &symbol, sizeof get);
    if (!get || get(&real) != CKR_OK)
        return CKR_GENERAL_ERROR;
    mine = *real;
    mine.C_Initialize = initialize;
    mine.C_GetSlotList = get_slot_list;
    mine.C_GetTokenInfo = get_token_info;
    mine.C_GetMechanismInfo = get_mechanism_info;
    mine.C_OpenSession = open_session;
    mine.C_CloseSession = close_session;
    mine.C_CloseAllSessions = close_all_sessions;
    mine.C_Login = log_in;
    mine.C_FindObjects = find_objects;
    mine.C_CreateObject = create_object;
    mine.C_DestroyObject = destroy_object;
    mine.C_GenerateKey = generate_key;
    mine.C_WrapKey = wrap_key;
    mine.C_UnwrapKey = unwrap_key;
    mine.C_Sign = sign;
    *list = &mine;
    return CKR_OK;
}
