/* What goes wrong with HSMs, played by pkcs11_proxy.so around SoftHSM: lost sessions, logins and devices,
 * PINs that are locked or changed, tokens that lack or misunderstand something, calls that fail half-way. */
#include "pkcs11_fixture.h"

#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "pkcs11_proxy.h"

static proxy_state *proxy;
static tr_secret key;
static tr_buf wrapped;
static uint32_t version;

static int proxy_set_up(void **state) {
    if (set_up(state) != 0)
        return -1;
    run("chmod go-w %s", TRESOR_PROXY);
    module = TRESOR_PROXY;
    proxy = load_module(TRESOR_PROXY, PROXY_STATE);
    return 0;
}

static int proxy_tear_down(void **state) {
    tr_secret_clear(&key);
    tr_buf_clear(&wrapped);
    return tear_down(state);
}

static int calm(void **state) {
    for (int i = 0; i < PROXY_CALLS; i++) {
        proxy->at[i].answer = CKR_OK;
        proxy->at[i].times = proxy->at[i].calls = 0;
        proxy->at[i].done_first = 0;
    }
    proxy->absent = proxy->kwp = proxy->pads = 0;
    proxy->token_flags = 0;
    proxy->most_sessions = 0;
    proxy->hidden = CKM_VENDOR_DEFINED;
    proxy->open = proxy->most_open = 0;
    return clean(state);
}

#define FAULT_TEST(name) cmocka_unit_test_setup_teardown(name, calm, calm)

static void fail_at(enum proxy_call call, CK_RV answer, long times) {
    proxy->at[call].answer = answer;
    proxy->at[call].times = times;
}

static void works(tr_keyring *ring) {
    wrap_one(ring, &key, &wrapped, &version);
    unwraps_to(ring, version, &wrapped, &key);
}

static void fails_with(tr_keyring *ring, tr_status expected, const char *names) {
    tr_secret some = TR_SECRET_INIT;
    tr_buf out = TR_BUF_INIT;
    tr_error err = {0};
    uint32_t by = 0;
    assert_int_equal(tr_secret_random(&some, 32, NULL), TR_OK);
    tr_status st = tr_keyring_wrap(ring, &some, &out, &by, &err);
    if (st != expected || !strstr(err.what, names))
        print_error("%s: %s: %s\n", tr_status_slug(st), err.where, err.what);
    assert_int_equal(st, expected);
    assert_non_null(strstr(err.what, names));
    assert_int_equal(out.len, 0);
    tr_secret_clear(&some);
    tr_buf_clear(&out);
}

/* A token that was not there is looked for again after a second. */
static void works_soon(tr_keyring *ring) {
    int64_t end = tr_monotonic_ms() + 10000;
    tr_secret back = TR_SECRET_INIT;
    while (unwrap_status(ring, version, &wrapped, &back, NULL) != TR_OK) {
        assert_true(tr_monotonic_ms() < end);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    tr_secret_clear(&back);
    works(ring);
}

static void not_created(tr_status expected, const char *names) {
    tr_keyring_spec spec = spec_of(&pin, LABEL);
    tr_keyring *ring = NULL;
    tr_error err = {0};
    tr_status st = tr_keyring_create(path, &spec, 1, &ring, &err);
    if (st != expected || !strstr(err.what, names))
        print_error("%s: %s: %s\n", tr_status_slug(st), err.where, err.what);
    assert_int_equal(st, expected);
    assert_non_null(strstr(err.what, names));
    assert_null(ring);
    assert_int_equal(access(path, F_OK), -1);
}

/* ---- lost and found ---- */

static void test_every_kind_of_loss(void **state) {
    (void)state;
    static const CK_RV losses[] = {CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED,
                                   CKR_USER_NOT_LOGGED_IN,     CKR_DEVICE_REMOVED,
                                   CKR_DEVICE_ERROR,           CKR_TOKEN_NOT_PRESENT,
                                   CKR_KEY_HANDLE_INVALID,     CKR_CRYPTOKI_NOT_INITIALIZED};
    static const enum proxy_call calls[] = {AT_WRAP_KEY, AT_UNWRAP_KEY, AT_CREATE_OBJECT, AT_DESTROY_OBJECT};
    tr_keyring *ring = create();
    for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++) {
        for (size_t k = 0; k < sizeof calls / sizeof calls[0]; k++) {
            long before = proxy->at[AT_LOGIN].calls;
            fail_at(calls[k], losses[i], 1);
            works(ring); /* the caller sees nothing of it */
            assert_int_equal(proxy->at[calls[k]].times, 0);
            assert_int_equal(proxy->at[AT_LOGIN].calls, before + 1);
        }
    }
    assert_int_equal(keys_in_token(), 2);
    tr_keyring_close(ring);
}

static void test_behind_its_back(void **state) {
    (void)state;
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    tr_keyring *ring = create();
    look at = look_in();
    works(ring);
    assert_int_equal(softhsm->C_CloseAllSessions(at.slot), CKR_OK);
    works(ring);
    at = look_in();
    assert_int_equal(softhsm->C_Logout(at.session), CKR_OK);
    look_away(&at);
    works(ring);
    assert_int_equal(softhsm->C_Finalize(NULL), CKR_OK);
    assert_int_equal(softhsm->C_Initialize(&arguments), CKR_OK);
    works(ring);
    assert_int_equal(softhsm->C_Finalize(NULL), CKR_OK);
    works(ring);
    tr_keyring_close(ring);
    tr_keyring_close(open_ring());
}

static void test_token_goes_and_comes(void **state) {
    (void)state;
    tr_keyring *ring = create();
    works(ring);
    proxy->absent = 1;
    fail_at(AT_WRAP_KEY, CKR_DEVICE_REMOVED, 1);
    fails_with(ring, TR_E_HSM, "no token");
    long starts = proxy->at[AT_INITIALIZE].calls;
    fails_with(ring, TR_E_HSM, "no token"); /* at once: it is not looked for at every request */
    assert_int_equal(proxy->at[AT_INITIALIZE].calls, starts);
    proxy->absent = 0;
    works_soon(ring);
    tr_keyring_close(ring);
}

static void test_a_failure_that_stays(void **state) {
    (void)state;
    tr_keyring *ring = create();
    tr_secret back = TR_SECRET_INIT;
    works(ring);
    fail_at(AT_WRAP_KEY, CKR_DEVICE_ERROR, -1);
    fails_with(ring, TR_E_HSM, "C_WrapKey gives CKR_DEVICE_ERROR");
    fail_at(AT_WRAP_KEY, CKR_GENERAL_ERROR, -1);
    fails_with(ring, TR_E_HSM, "C_WrapKey gives CKR_GENERAL_ERROR");
    fail_at(AT_WRAP_KEY, 0x80001234UL, -1);
    fails_with(ring, TR_E_HSM, "0x80001234");
    fail_at(AT_WRAP_KEY, CKR_OK, 0);
    /* Not the wrapped key's fault, though it is the answer to one that does not verify. */
    fail_at(AT_UNWRAP_KEY, CKR_GENERAL_ERROR, -1);
    assert_int_equal(unwrap_status(ring, version, &wrapped, &back, NULL), TR_E_HSM);
    fail_at(AT_UNWRAP_KEY, CKR_OK, 0);
    unwraps_to(ring, version, &wrapped, &key);
    assert_null(back.data);
    tr_keyring_close(ring);
}

static void test_a_bad_wrapped_key_is_no_loss(void **state) {
    (void)state;
    tr_keyring *ring = create();
    tr_secret back = TR_SECRET_INIT;
    works(ring);
    long logins = proxy->at[AT_LOGIN].calls, sessions = proxy->at[AT_OPEN_SESSION].calls;
    wrapped.data[5] ^= 1;
    for (int i = 0; i < 5; i++)
        assert_int_equal(unwrap_status(ring, version, &wrapped, &back, NULL), TR_E_CORRUPT);
    fail_at(AT_UNWRAP_KEY, CKR_WRAPPED_KEY_INVALID, 1);
    assert_int_equal(unwrap_status(ring, version, &wrapped, &back, NULL), TR_E_CORRUPT);
    assert_int_equal(proxy->at[AT_LOGIN].calls, logins);
    assert_int_equal(proxy->at[AT_OPEN_SESSION].calls, sessions);
    tr_keyring_close(ring);
}

/* ---- threads ---- */

typedef struct user {
    tr_keyring *ring;
    _Atomic bool *stop;
    bool failed;
} user;

static void *use(void *argument) {
    user *me = argument;
    tr_secret some = TR_SECRET_INIT, back = TR_SECRET_INIT;
    bool good = tr_secret_random(&some, 32, NULL) == TR_OK;
    while (good && !*me->stop) {
        tr_buf out = TR_BUF_INIT;
        uint32_t by = 0;
        good = tr_keyring_wrap(me->ring, &some, &out, &by, NULL) == TR_OK &&
               unwrap_status(me->ring, by, &out, &back, NULL) == TR_OK &&
               memcmp(some.data, back.data, 32) == 0;
        tr_buf_clear(&out);
    }
    me->failed = !good;
    tr_secret_clear(&some);
    tr_secret_clear(&back);
    return NULL;
}

static void wait_for_calls(long more) {
    long end = proxy->at[AT_WRAP_KEY].calls + more;
    int64_t late = tr_monotonic_ms() + 60000;
    while (proxy->at[AT_WRAP_KEY].calls < end) {
        assert_true(tr_monotonic_ms() < late);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

#define THREADS 8

static void start(tr_keyring *ring, pthread_t *threads, user *users, _Atomic bool *stop) {
    *stop = false;
    for (int i = 0; i < THREADS; i++) {
        users[i] = (user){ring, stop, false};
        assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
}

static void finish(pthread_t *threads, user *users, _Atomic bool *stop) {
    *stop = true;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(users[i].failed);
    }
}

static void test_threads_while_sessions_are_lost(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    user users[THREADS];
    _Atomic bool stop;
    tr_keyring *ring = create();
    start(ring, threads, users, &stop);
    for (int i = 0; i < 15; i++) {
        wait_for_calls(60);
        fail_at(i % 2 ? AT_WRAP_KEY : AT_UNWRAP_KEY, i % 3 ? CKR_DEVICE_REMOVED : CKR_SESSION_HANDLE_INVALID,
                1);
    }
    wait_for_calls(60);
    finish(threads, users, &stop);
    tr_keyring_close(ring);
}

static void test_sessions_are_bounded(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    user users[THREADS];
    _Atomic bool stop;
    proxy->most_sessions = 4;
    tr_keyring *ring = create();
    start(ring, threads, users, &stop);
    wait_for_calls(200);
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_OK);
    finish(threads, users, &stop);
    assert_in_range(proxy->most_open, 1, 4);
    fail_at(AT_OPEN_SESSION, CKR_SESSION_COUNT, -1); /* no more than are open */
    start(ring, threads, users, &stop);
    wait_for_calls(200);
    finish(threads, users, &stop);
    tr_keyring_close(ring);
}

/* ---- PINs ---- */

static void test_pin_states(void **state) {
    (void)state;
    static const struct {
        CK_FLAGS flags;
        CK_RV answer;
        tr_status expected;
        const char *names;
    } cases[] = {{CKF_USER_PIN_LOCKED, CKR_OK, TR_E_HSM, "locked"},
                 {CKF_USER_PIN_FINAL_TRY, CKR_OK, TR_E_HSM, "one more"},
                 {0, CKR_PIN_LOCKED, TR_E_HSM, "locked"},
                 {0, CKR_PIN_EXPIRED, TR_E_HSM, "CKR_PIN_EXPIRED"},
                 {0, CKR_USER_PIN_NOT_INITIALIZED, TR_E_HSM, "CKR_USER_PIN_NOT_INITIALIZED"},
                 {0, CKR_PIN_INCORRECT, TR_E_WRONG_KEY, "PIN"}};
    tr_keyring_close(create());
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        long before = proxy->at[AT_LOGIN].calls;
        proxy->token_flags = cases[i].flags;
        fail_at(AT_LOGIN, cases[i].answer, cases[i].answer != CKR_OK);
        refused(&pin, cases[i].expected, cases[i].names);
        assert_int_equal(proxy->at[AT_LOGIN].calls, before + (cases[i].flags == 0)); /* never a second try */
    }
    proxy->token_flags = 0;
    tr_keyring_close(open_ring());
}

static void set_pin(tr_secret *from, tr_secret *to) {
    look at = look_in();
    assert_int_equal(softhsm->C_SetPIN(at.session, from->data, from->len, to->data, to->len), CKR_OK);
    look_away(&at);
}

/* The PIN we have is tried once, not at every request until the token is locked. */
static void test_pin_is_changed_meanwhile(void **state) {
    (void)state;
    tr_keyring *ring = create();
    works(ring);
    set_pin(&pin, &wrong_pin);
    works(ring); /* still logged in */
    fail_at(AT_WRAP_KEY, CKR_USER_NOT_LOGGED_IN, 1);
    long before = proxy->at[AT_LOGIN].calls;
    fails_with(ring, TR_E_HSM, "PIN");
    int64_t end = tr_monotonic_ms() + 1200;
    while (tr_monotonic_ms() < end) {
        fails_with(ring, TR_E_HSM, "PIN");
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    assert_int_equal(proxy->at[AT_LOGIN].calls, before + 1);
    tr_keyring_close(ring);
    tr_secret old = pin;
    pin = wrong_pin;
    tr_keyring_close(open_ring());
    set_pin(&pin, &old);
    pin = old;
    tr_keyring_close(open_ring());
}

/* ---- what a token lacks ---- */

static void test_missing_mechanisms(void **state) {
    (void)state;
    proxy->hidden = CKM_AES_KEY_WRAP_PAD;
    not_created(TR_E_HSM, "RFC 5649");
    proxy->hidden = CKM_SHA256_HMAC;
    not_created(TR_E_HSM, "CKM_SHA256_HMAC");
    proxy->hidden = CKM_AES_KEY_GEN;
    not_created(TR_E_HSM, "CKM_AES_KEY_GEN");
    proxy->hidden = CKM_VENDOR_DEFINED;
    proxy->pads = 1; /* v2.40's number, but PKCS#7's padding */
    not_created(TR_E_HSM, "RFC 5649");
    assert_int_equal(keys_in_token(), 0);
}

static void test_number_of_v3(void **state) {
    (void)state;
    tr_keyring *ring = create();
    works(ring);
    tr_keyring_close(ring);
    proxy->kwp = 1;
    ring = open_ring(); /* the form is the same, whatever its number */
    unwraps_to(ring, version, &wrapped, &key);
    works(ring);
    tr_keyring_close(ring);
}

/* ---- half-done changes ---- */

static void test_failed_creation(void **state) {
    (void)state;
    static const enum proxy_call calls[] = {AT_GENERATE_KEY, AT_WRAP_KEY, AT_UNWRAP_KEY, AT_SIGN};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        fail_at(calls[i], CKR_FUNCTION_FAILED, -1);
        not_created(TR_E_HSM, "CKR_FUNCTION_FAILED");
        assert_int_equal(keys_in_token(), 0);
        fail_at(calls[i], CKR_OK, 0);
    }
    /* The second key: the first is taken back. */
    fail_at(AT_GENERATE_KEY, CKR_DEVICE_ERROR, 0);
    tr_keyring_close(create());
    assert_int_equal(keys_in_token(), 2);
}

static void test_failed_rotation_changes_nothing(void **state) {
    (void)state;
    static const enum proxy_call calls[] = {AT_GENERATE_KEY, AT_WRAP_KEY, AT_UNWRAP_KEY, AT_SIGN};
    tr_keyring *ring = create();
    tr_secret named = TR_SECRET_INIT;
    uint32_t made = 0;
    assert_int_equal(tr_keyring_named_key(ring, "vault.db", true, &named, NULL), TR_OK);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        fail_at(calls[i], CKR_FUNCTION_FAILED, -1);
        assert_int_equal(tr_keyring_rotate(ring, &made, NULL), TR_E_HSM);
        fail_at(calls[i], CKR_OK, 0);
        assert_int_equal(tr_keyring_current(ring), 1);
        assert_int_equal(keys_in_token(), 2);
        works(ring);
        assert_int_equal(version, 1);
    }
    tr_keyring_close(ring);
    ring = open_ring();
    assert_int_equal(tr_keyring_rotate(ring, &made, NULL), TR_OK);
    assert_int_equal(made, 2);
    tr_keyring_close(ring);
    tr_secret_clear(&named);
}

static void test_lost_answers_make_one_key(void **state) {
    (void)state;
    uint32_t made = 0;
    tr_keyring *ring = create();
    proxy->at[AT_GENERATE_KEY].done_first = 1;
    fail_at(AT_GENERATE_KEY, CKR_DEVICE_REMOVED, 1);
    assert_int_equal(tr_keyring_rotate(ring, &made, NULL), TR_OK);
    assert_int_equal(keys_in_token(), 3);
    proxy->at[AT_DESTROY_OBJECT].done_first = 1;
    fail_at(AT_DESTROY_OBJECT, CKR_DEVICE_REMOVED, 1);
    assert_int_equal(tr_keyring_retire(ring, 1, NULL), TR_OK);
    assert_int_equal(keys_in_token(), 2);
    works(ring);
    tr_keyring_close(ring);
    tr_keyring_close(open_ring());
}

static void test_retiring_that_breaks_off_is_finished_later(void **state) {
    (void)state;
    uint32_t made = 0;
    tr_keyring *ring = create();
    assert_int_equal(tr_keyring_rotate(ring, &made, NULL), TR_OK);
    fail_at(AT_DESTROY_OBJECT, CKR_FUNCTION_FAILED, 1);
    assert_int_equal(tr_keyring_retire(ring, 1, NULL), TR_E_HSM);
    assert_int_equal(keys_in_token(), 3);
    tr_keyring_close(ring);
    ring = open_ring();
    works(ring);
    assert_int_equal(tr_keyring_retire(ring, 1, NULL), TR_OK);
    assert_int_equal(keys_in_token(), 2);
    tr_keyring_close(ring);
}

/* ---- keys that are not what they were ---- */

static void test_key_that_could_be_read_out(void **state) {
    (void)state;
    CK_OBJECT_HANDLE keys[4], copy = 0;
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    CK_KEY_TYPE type = CKK_AES;
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    uint8_t value[32] = {1}, id[32];
    tr_keyring_close(create());
    look at = look_in();
    assert_int_equal(find_keys(&at, keys, 4), 2);
    for (size_t i = 0; i < 2; i++) { /* a second one beside each, with its CKA_ID */
        CK_ATTRIBUTE known = {CKA_ID, id, sizeof id};
        assert_int_equal(softhsm->C_GetAttributeValue(at.session, keys[i], &known, 1), CKR_OK);
        CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class},
                                   {CKA_KEY_TYPE, &type, sizeof type},
                                   {CKA_TOKEN, &yes, 1},
                                   {CKA_SENSITIVE, &no, 1},
                                   {CKA_EXTRACTABLE, &yes, 1},
                                   {CKA_WRAP, &yes, 1},
                                   {CKA_UNWRAP, &yes, 1},
                                   {CKA_VALUE, value, sizeof value},
                                   {CKA_ID, id, known.ulValueLen}};
        if (known.ulValueLen > 16) /* the master key's */
            assert_int_equal(softhsm->C_CreateObject(at.session, template, 9, &copy), CKR_OK);
    }
    look_away(&at);
    refused(&pin, TR_E_HSM, "two keys");
    destroy_keys("-v1");
    refused(&pin, TR_E_HSM, "not one that stays");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FAULT_TEST(test_every_kind_of_loss),
        FAULT_TEST(test_behind_its_back),
        FAULT_TEST(test_token_goes_and_comes),
        FAULT_TEST(test_a_failure_that_stays),
        FAULT_TEST(test_a_bad_wrapped_key_is_no_loss),
        FAULT_TEST(test_threads_while_sessions_are_lost),
        FAULT_TEST(test_sessions_are_bounded),
        FAULT_TEST(test_pin_states),
        FAULT_TEST(test_pin_is_changed_meanwhile),
        FAULT_TEST(test_missing_mechanisms),
        FAULT_TEST(test_number_of_v3),
        FAULT_TEST(test_failed_creation),
        FAULT_TEST(test_failed_rotation_changes_nothing),
        FAULT_TEST(test_lost_answers_make_one_key),
        FAULT_TEST(test_retiring_that_breaks_off_is_finished_later),
        FAULT_TEST(test_key_that_could_be_read_out),
    };
    if (softhsm_is_missing())
        return 77;
    return cmocka_run_group_tests(tests, proxy_set_up, proxy_tear_down);
}
