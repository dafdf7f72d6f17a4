/* PKCS#11 modules: loading, C_Initialize once a process, and the names of their answers. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/keyring_pkcs11.h"

struct tr_p11_module {
    tr_p11_module *next;
    void *library;
    CK_FUNCTION_LIST *functions;
    unsigned users;
    bool started; /* by us: who did not call C_Initialize must not call C_Finalize */
};

/* The process's, as C_Initialize's state is: a second C_Initialize fails, and one C_Finalize ends it for all.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tr_p11_module *modules;

/* ---- loading ---- */

/* Its code gets the PIN and our memory: nobody else may be able to change it. */
static tr_status check_file(const char *path, tr_error *err) {
    struct stat info;
    if (path[0] != '/')
        return tr_fail(err, TR_E_CONFIG, path, "the PKCS#11 module's path must begin with a slash");
    if (stat(path, &info) != 0)
        return tr_fail(err, TR_E_HSM, path, "the PKCS#11 module is missing: %s", strerror(errno));
    if (!S_ISREG(info.st_mode))
        return tr_fail(err, TR_E_HSM, path, "the PKCS#11 module is not a file");
    if ((info.st_uid != 0 && info.st_uid != geteuid()) || (info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return tr_fail(err, TR_E_CONFIG, path,
                       "the PKCS#11 module must be root's or this user's, and nobody else may write it");
    return TR_OK;
}

static tr_status start(CK_FUNCTION_LIST *functions, const char *path, bool *started, tr_error *err) {
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    char name[32];
    CK_RV rv = functions->C_Initialize(&arguments);
    *started = rv == CKR_OK;
    if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED)
        return tr_fail(err, TR_E_HSM, path, "the PKCS#11 module does not start: C_Initialize gives %s",
                       tr_p11_name(rv, name));
    return TR_OK;
}

/* RTLD_NODELETE: a module may leave threads and exit handlers behind, whose code must stay. */
static tr_status load(const char *path, void **library, CK_FUNCTION_LIST **functions, tr_error *err) {
    CK_C_GetFunctionList get = NULL;
    *functions = NULL;
    *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!*library)
        return tr_fail(err, TR_E_HSM, path, "the PKCS#11 module cannot be loaded: %s", dlerror());
    void *symbol = dlsym(*library, "C_GetFunctionList");
    memcpy(&get, &symbol, sizeof get); /* ISO C has no cast for this */
    if (!get || get(functions) != CKR_OK || !*functions || (*functions)->version.major < 2)
        return tr_fail(err, TR_E_HSM, path, "this library is not a PKCS#11 module of version 2 or 3");
    return TR_OK;
}

static tr_p11_module *find(const void *library) {
    tr_p11_module *module = modules;
    while (module && module->library != library)
        module = module->next;
    return module;
}

static tr_status start_module(void *library, CK_FUNCTION_LIST *functions, const char *path,
                              tr_p11_module **out, tr_error *err) {
    tr_p11_module *module = calloc(1, sizeof *module);
    if (!module)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    tr_status st = start(functions, path, &module->started, err);
    if (st != TR_OK) {
        free(module);
        return st;
    }
    module->library = library;
    module->functions = functions;
    module->users = 1;
    module->next = modules;
    modules = *out = module;
    return TR_OK;
}

/* The library opened once more gives the same handle, also by another path. */
static tr_status get_locked(const char *path, tr_p11_module **out, tr_error *err) {
    void *library = NULL;
    CK_FUNCTION_LIST *functions = NULL;
    tr_status st = load(path, &library, &functions, err);
    tr_p11_module *known = st == TR_OK ? find(library) : NULL;
    if (st == TR_OK && !known)
        st = start_module(library, functions, path, out, err);
    if (known) {
        known->users++;
        *out = known;
    }
    if (library && (known || st != TR_OK))
        (void)dlclose(library);
    return st;
}

tr_status tr_p11_module_get(const char *path, tr_p11_module **out, tr_error *err) {
    *out = NULL;
    tr_status st = check_file(path, err);
    if (st != TR_OK)
        return st;
    pthread_mutex_lock(&lock);
    st = get_locked(path, out, err);
    pthread_mutex_unlock(&lock);
    return st;
}

void tr_p11_module_put(tr_p11_module *module) {
    pthread_mutex_lock(&lock);
    if (--module->users == 0) {
        tr_p11_module **link = &modules;
        while (*link != module)
            link = &(*link)->next;
        *link = module->next;
        if (module->started)
            (void)module->functions->C_Finalize(NULL);
        (void)dlclose(module->library);
        free(module);
    }
    pthread_mutex_unlock(&lock);
}

CK_FUNCTION_LIST *tr_p11_module_functions(const tr_p11_module *module) {
    return module->functions;
}

bool tr_p11_module_restart(tr_p11_module *module) {
    bool done = false;
    pthread_mutex_lock(&lock);
    if (module->users == 1 && module->started) {
        (void)module->functions->C_Finalize(NULL);
        done = start(module->functions, NULL, &module->started, NULL) == TR_OK;
        module->started = true; /* the next restart tries again */
    }
    pthread_mutex_unlock(&lock);
    return done;
}

/* ---- names ---- */

#define NAME(code)                                                                                           \
    { code, #code }

static const struct {
    CK_RV rv;
    const char *name;
} names[] = {
    NAME(CKR_HOST_MEMORY),
    NAME(CKR_SLOT_ID_INVALID),
    NAME(CKR_GENERAL_ERROR),
    NAME(CKR_FUNCTION_FAILED),
    NAME(CKR_ARGUMENTS_BAD),
    NAME(CKR_CANT_LOCK),
    NAME(CKR_ATTRIBUTE_SENSITIVE),
    NAME(CKR_ATTRIBUTE_TYPE_INVALID),
    NAME(CKR_ATTRIBUTE_VALUE_INVALID),
    NAME(CKR_DEVICE_ERROR),
    NAME(CKR_DEVICE_MEMORY),
    NAME(CKR_DEVICE_REMOVED),
    NAME(CKR_FUNCTION_CANCELED),
    NAME(CKR_FUNCTION_NOT_SUPPORTED),
    NAME(CKR_KEY_HANDLE_INVALID),
    NAME(CKR_KEY_SIZE_RANGE),
    NAME(CKR_KEY_FUNCTION_NOT_PERMITTED),
    NAME(CKR_KEY_NOT_WRAPPABLE),
    NAME(CKR_KEY_UNEXTRACTABLE),
    NAME(CKR_MECHANISM_INVALID),
    NAME(CKR_MECHANISM_PARAM_INVALID),
    NAME(CKR_OBJECT_HANDLE_INVALID),
    NAME(CKR_PIN_EXPIRED),
    NAME(CKR_PIN_LOCKED),
    NAME(CKR_SESSION_CLOSED),
    NAME(CKR_SESSION_COUNT),
    NAME(CKR_SESSION_HANDLE_INVALID),
    NAME(CKR_SESSION_READ_ONLY),
    NAME(CKR_TEMPLATE_INCOMPLETE),
    NAME(CKR_TEMPLATE_INCONSISTENT),
    NAME(CKR_TOKEN_NOT_PRESENT),
    NAME(CKR_TOKEN_NOT_RECOGNIZED),
    NAME(CKR_TOKEN_WRITE_PROTECTED),
    NAME(CKR_UNWRAPPING_KEY_HANDLE_INVALID),
    NAME(CKR_USER_NOT_LOGGED_IN),
    NAME(CKR_USER_PIN_NOT_INITIALIZED),
    NAME(CKR_USER_ANOTHER_ALREADY_LOGGED_IN),
    NAME(CKR_USER_TOO_MANY_TYPES),
    NAME(CKR_WRAPPED_KEY_INVALID),
    NAME(CKR_WRAPPING_KEY_HANDLE_INVALID),
    NAME(CKR_CRYPTOKI_NOT_INITIALIZED),
    NAME(CKR_FUNCTION_REJECTED),
    {TR_P11_NO_KEY, "the key is not there"},
    {TR_P11_TWO_KEYS, "two keys have the same CKA_ID"},
    {TR_P11_WEAK_KEY, "the key is not one that stays in the token"},
    {TR_P11_NOT_KWP, "another form than RFC 5649's"},
    {TR_P11_BAD_WRAP, "a wrapped key that does not verify"},
};

const char *tr_p11_name(CK_RV rv, char room[32]) {
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].rv == rv)
            return names[i].name;
    }
    (void)snprintf(room, 32, "0x%08lx", rv);
    return room;
}
