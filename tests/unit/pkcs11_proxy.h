/* How a test tells pkcs11_proxy.so, a PKCS#11 module around SoftHSM, what is to go wrong. */
#ifndef TR_TEST_PKCS11_PROXY_H
#define TR_TEST_PKCS11_PROXY_H

#include <p11-kit/pkcs11.h>

enum proxy_call {
    AT_INITIALIZE,
    AT_GET_SLOT_LIST,
    AT_OPEN_SESSION,
    AT_LOGIN,
    AT_FIND_OBJECTS,
    AT_CREATE_OBJECT,
    AT_DESTROY_OBJECT,
    AT_GENERATE_KEY,
    AT_WRAP_KEY,
    AT_UNWRAP_KEY,
    AT_SIGN,
    PROXY_CALLS
};

typedef struct proxy_state {
    struct {
        _Atomic CK_RV answer;   /* given instead of the module's own... */
        _Atomic long times;     /* ...so often; -1: always */
        _Atomic long calls;     /* how often it was called */
        _Atomic int done_first; /* the work is done, and only its answer is lost */
    } at[PROXY_CALLS];
    _Atomic int absent;             /* no token is there */
    _Atomic CK_FLAGS token_flags;   /* more flags of the token */
    _Atomic CK_ULONG most_sessions; /* what the token says it can have; 0: what SoftHSM says */
    _Atomic CK_MECHANISM_TYPE hidden;
    _Atomic int kwp;              /* RFC 5649 has v3.0's number and not v2.40's */
    _Atomic int pads;             /* what is wrapped gets 8 bytes longer, as with PKCS#7's padding */
    _Atomic long open, most_open; /* sessions */
} proxy_state;

/* By dlsym; of the loaded module. */
#define PROXY_STATE "proxy"

#endif
