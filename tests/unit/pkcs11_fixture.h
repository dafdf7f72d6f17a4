/* SoftHSM with tokens of its own in a temporary folder, a keyring there, and a look into the token beside the
 * keyring's own. */
#ifndef TR_TEST_PKCS11_FIXTURE_H
#define TR_TEST_PKCS11_FIXTURE_H

#include "hex.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/keyring_pkcs11.h"
#include "crypto/keywrap.h"

#define LABEL "tresor test"

static char folder[] = "/tmp/tresor-pkcs11-XXXXXX";
static char path[64];
static const char *module = TRESOR_SOFTHSM;
static tr_secret pin, wrong_pin;
static CK_FUNCTION_LIST *softhsm; /* the very library that the keyring uses */

static inline void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void run(const char *format, ...) {
    char command[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    int status = system(command);
    if (status != 0)
        print_error("%s: %d\n", command, status);
    assert_int_equal(status, 0);
}

static inline void make_token(const char *label) {
    run("softhsm2-util --init-token --free --label '%s' --pin 1234 --so-pin 5678 >/dev/null", label);
}

static inline void *load_module(const char *file, const char *name) {
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    void *symbol = dlsym(library, name);
    assert_non_null(symbol);
    return symbol;
}

static inline int set_up(void **state) {
    CK_RV (*get)(CK_FUNCTION_LIST **) = NULL;
    char name[80];
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(path, sizeof path, "%s/keyring", folder);
    (void)snprintf(name, sizeof name, "%s/softhsm2.conf", folder);
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_true(fprintf(file,
                        "directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n",
                        folder) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(setenv("SOFTHSM2_CONF", name, 1), 0);
    (void)snprintf(name, sizeof name, "%s/tokens", folder);
    assert_int_equal(mkdir(name, 0700), 0);
    make_token(LABEL);
    void *symbol = load_module(TRESOR_SOFTHSM, "C_GetFunctionList");
    memcpy(&get, &symbol, sizeof get);
    assert_int_equal(get(&softhsm), CKR_OK);
    assert_int_equal(tr_secret_copy(&pin, "1234", 4, NULL), TR_OK);
    return tr_secret_copy(&wrong_pin, "4321", 4, NULL) == TR_OK ? 0 : -1;
}

static inline int tear_down(void **state) {
    (void)state;
    tr_secret_clear(&pin);
    tr_secret_clear(&wrong_pin);
    run("rm -r %s", folder);
    return 0;
}

/* ---- the keyring ---- */

static inline tr_keyring_spec spec_of(const tr_secret *with, const char *label) {
    return (tr_keyring_spec){
        .provider = "pkcs11", .passphrase = with, .pkcs11_module = module, .pkcs11_token = label};
}

static inline tr_keyring *create(void) {
    tr_keyring_spec spec = spec_of(&pin, LABEL);
    tr_keyring *ring = NULL;
    tr_error err = {0};
    (void)unlink(path);
    tr_status st = tr_keyring_create(path, &spec, 1, &ring, &err);
    if (st != TR_OK)
        print_error("%s: %s: %s\n", tr_status_slug(st), err.where, err.what);
    assert_int_equal(st, TR_OK);
    return ring;
}

static inline tr_keyring *open_ring(void) {
    tr_keyring *ring = NULL;
    tr_error err = {0};
    tr_status st = tr_keyring_open_file(path, &pin, &ring, &err);
    if (st != TR_OK)
        print_error("%s: %s: %s\n", tr_status_slug(st), err.where, err.what);
    assert_int_equal(st, TR_OK);
    return ring;
}

/* Opening gives this status, with a text that has `names` in it, and changes nothing. */
static inline void refused(const tr_secret *with, tr_status expected, const char *names) {
    char before[8192], after[8192];
    tr_keyring *ring = (tr_keyring *)&pin;
    tr_error err = {0};
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, before, sizeof before);
    tr_status st = tr_keyring_open_file(path, with, &ring, &err);
    if (st != expected || !strstr(err.what, names))
        print_error("%s: %s: %s\n", tr_status_slug(st), err.where, err.what);
    assert_int_equal(st, expected);
    assert_null(ring);
    assert_int_equal(err.status, expected);
    assert_non_null(strstr(err.what, names));
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(read(fd, after, sizeof after), n);
    assert_memory_equal(before, after, (size_t)n);
    close(fd);
}

static inline void wrap_one(tr_keyring *ring, tr_secret *key, tr_buf *wrapped, uint32_t *version) {
    tr_error err = {0};
    tr_buf_reset(wrapped);
    assert_int_equal(tr_secret_random(key, 32, NULL), TR_OK);
    tr_status st = tr_keyring_wrap(ring, key, wrapped, version, &err);
    if (st != TR_OK)
        print_error("%s: %s: %s\n", tr_status_slug(st), err.where, err.what);
    assert_int_equal(st, TR_OK);
    assert_int_equal(wrapped->len, TR_WRAPPED_KEY_LEN);
}

static inline tr_status unwrap_status(tr_keyring *ring, uint32_t version, const tr_buf *wrapped,
                                      tr_secret *key, tr_error *err) {
    return tr_keyring_unwrap(ring, version, (tr_bytes){wrapped->data, wrapped->len}, key, err);
}

static inline void unwraps_to(tr_keyring *ring, uint32_t version, const tr_buf *wrapped,
                              const tr_secret *key) {
    tr_secret back = TR_SECRET_INIT;
    tr_error err = {0};
    tr_status st = unwrap_status(ring, version, wrapped, &back, &err);
    if (st != TR_OK)
        print_error("%s: %s: %s\n", tr_status_slug(st), err.where, err.what);
    assert_int_equal(st, TR_OK);
    assert_int_equal(back.len, key->len);
    assert_memory_equal(back.data, key->data, key->len);
    tr_secret_clear(&back);
}

/* ---- what is in the token ---- */

/* A session beside the keyring's, logged in; a keyring is open or not. */
typedef struct look {
    CK_SESSION_HANDLE session;
    CK_SLOT_ID slot;
    bool own; /* no keyring is open: C_Initialize and C_Login are ours */
} look;

static inline look look_in(void) {
    look at = {0};
    CK_SLOT_ID slots[8];
    CK_ULONG count = 8;
    CK_TOKEN_INFO info;
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    at.own = softhsm->C_Initialize(&arguments) == CKR_OK;
    assert_int_equal(softhsm->C_GetSlotList(CK_TRUE, NULL, &count), CKR_OK);
    count = 8;
    assert_int_equal(softhsm->C_GetSlotList(CK_TRUE, slots, &count), CKR_OK);
    for (CK_ULONG i = 0; i < count; i++) {
        assert_int_equal(softhsm->C_GetTokenInfo(slots[i], &info), CKR_OK);
        if (memcmp(info.label, LABEL " ", sizeof LABEL) == 0)
            at.slot = slots[i];
    }
    assert_int_equal(
        softhsm->C_OpenSession(at.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &at.session),
        CKR_OK);
    CK_RV rv = softhsm->C_Login(at.session, CKU_USER, pin.data, pin.len);
    assert_true(rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN);
    return at;
}

static inline void look_away(look *at) {
    assert_int_equal(softhsm->C_CloseSession(at->session), CKR_OK);
    if (at->own)
        assert_int_equal(softhsm->C_Finalize(NULL), CKR_OK);
}

/* The secret keys in the token, whoever's. */
static inline size_t find_keys(look *at, CK_OBJECT_HANDLE *keys, size_t room) {
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}};
    CK_ULONG count = 0;
    assert_int_equal(softhsm->C_FindObjectsInit(at->session, template, 1), CKR_OK);
    assert_int_equal(softhsm->C_FindObjects(at->session, keys, room, &count), CKR_OK);
    assert_int_equal(softhsm->C_FindObjectsFinal(at->session), CKR_OK);
    return count;
}

static inline size_t keys_in_token(void) {
    CK_OBJECT_HANDLE keys[64];
    look at = look_in();
    size_t count = find_keys(&at, keys, 64);
    look_away(&at);
    return count;
}

/* Destroy the keys whose label ends so; "" takes all. */
static inline void destroy_keys(const char *ending) {
    CK_OBJECT_HANDLE keys[64];
    look at = look_in();
    for (size_t i = find_keys(&at, keys, 64); i-- > 0;) {
        char label[96];
        CK_ATTRIBUTE value = {CKA_LABEL, label, sizeof label};
        assert_int_equal(softhsm->C_GetAttributeValue(at.session, keys[i], &value, 1), CKR_OK);
        size_t len = strlen(ending);
        if (value.ulValueLen >= len && memcmp(label + value.ulValueLen - len, ending, len) == 0)
            assert_int_equal(softhsm->C_DestroyObject(at.session, keys[i]), CKR_OK);
    }
    look_away(&at);
}

/* Each test begins and ends with an empty token. */
static inline int clean(void **state) {
    (void)state;
    destroy_keys("");
    return unlink(path) == 0 || errno == ENOENT ? 0 : -1;
}

#define HSM_TEST(name) cmocka_unit_test_setup_teardown(name, clean, clean)

static inline bool softhsm_is_missing(void) {
    if (access(TRESOR_SOFTHSM, R_OK) == 0 && access("/usr/bin/softhsm2-util", X_OK) == 0)
        return false;
    print_error("SKIPPED: SoftHSM is not installed (Debian: softhsm2), so nothing of the PKCS#11 provider is "
                "tested\n");
    return true;
}

#endif
