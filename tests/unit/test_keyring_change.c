/* Changes of a keyring: rotation, retirement, successors of named keys, moving; when the process is killed,
 * and while other threads use the ring. */
#include "keyring_change_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

/* ---- rotation, retirement ---- */

static void test_rotate(void **state) {
    (void)state;
    tr_keyring *ring = create();
    tr_secret vault = TR_SECRET_INIT, audit = TR_SECRET_INIT;
    tr_master_info info[3];
    size_t count;
    uint32_t version = 0;
    get_named(ring, "vault.db", &vault);
    get_named(ring, "audit.db", &audit);
    wrapped_key first = wrap_one(ring);
    rotate(ring, 2);
    wrapped_key second = wrap_one(ring);
    rotate(ring, 3);
    for (int again = 0; again < 2; again++, ring = reopen(ring)) {
        assert_int_equal(first.version, 1);
        assert_int_equal(second.version, 2);
        assert_int_equal(unwrap_one(ring, &first), TR_OK);
        assert_int_equal(unwrap_one(ring, &second), TR_OK);
        named_is(ring, "vault.db", &vault);
        named_is(ring, "audit.db", &audit);
        assert_int_equal(tr_keyring_named_master(ring, "vault.db", &version, NULL), TR_OK);
        assert_int_equal(version, 3); /* wrapped again */
        assert_int_equal(tr_keyring_named_master(ring, "audit.db", &version, NULL), TR_OK);
        assert_int_equal(version, 3);
        assert_int_equal(tr_keyring_named_master(ring, "keys.db", &version, NULL), TR_E_NOT_FOUND);
        tr_keyring_list(ring, info, 3, &count);
        assert_int_equal(count, 3);
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_equal(info[i].version, i + 1);
            assert_int_equal(info[i].current, i == 2);
        }
    }
    second.version = 1; /* another master key: it does not verify */
    assert_int_equal(unwrap_one(ring, &second), TR_E_CORRUPT);
    tr_keyring_close(ring);
    drop_one(&first);
    drop_one(&second);
    tr_secret_clear(&vault);
    tr_secret_clear(&audit);
}

static void test_retire(void **state) {
    (void)state;
    char text[8192];
    tr_keyring *ring = create();
    tr_secret vault = TR_SECRET_INIT;
    tr_error err = {0};
    size_t count;
    get_named(ring, "vault.db", &vault);
    wrapped_key first = wrap_one(ring);
    assert_int_equal(tr_keyring_retire(ring, 1, &err), TR_E_CONFLICT);
    assert_int_equal(tr_keyring_retire(ring, 2, &err), TR_E_NOT_FOUND);
    assert_int_equal(tr_keyring_retire(ring, 0, &err), TR_E_NOT_FOUND);
    rotate(ring, 2);
    rotate(ring, 3);
    assert_int_equal(tr_keyring_retire(ring, 3, &err), TR_E_CONFLICT);
    assert_int_equal(tr_keyring_retire(ring, 1, &err), TR_OK);
    for (int again = 0; again < 2; again++, ring = reopen(ring)) {
        assert_int_equal(unwrap_one(ring, &first), TR_E_NOT_FOUND);
        assert_int_equal(tr_keyring_retire(ring, 1, &err), TR_E_NOT_FOUND);
        named_is(ring, "vault.db", &vault);
        tr_keyring_list(ring, NULL, 0, &count);
        assert_int_equal(count, 2);
    }
    text[load(text, sizeof text - 1)] = '\0';
    assert_null(strstr(text, "\"version\":1"));
    rotate(ring, 4); /* numbers are not used again */
    tr_keyring_close(ring);
    drop_one(&first);
    tr_secret_clear(&vault);
}

static void test_first_version(void **state) {
    tr_keyring *ring = NULL;
    uint32_t version = 7;
    tr_secret texts[2] = {0}, secret = TR_SECRET_INIT;
    tr_keyring_spec spec = {.provider = "split", .shares = 2, .threshold = 2, .share_texts = texts};
    assert_int_equal(tr_keyring_create(path, &spec, 0, &ring, NULL), TR_E_INTERNAL);
    assert_int_equal(tr_keyring_create(path, &spec, 41, &ring, NULL), TR_OK);
    assert_int_equal(tr_keyring_current(ring), 41);
    rotate(ring, 42);
    tr_keyring_close(ring);
    assert_int_equal(tr_keyring_combine(path, texts, 2, &secret, NULL), TR_OK);
    assert_int_equal(tr_keyring_open_file(path, &secret, &ring, NULL), TR_OK);
    assert_int_equal(tr_keyring_current(ring), 42);
    tr_keyring_close(ring);
    assert_int_equal(remove_file(state), 0);
    tr_secret_clear(&texts[0]);
    tr_secret_clear(&texts[1]);
    assert_int_equal(tr_keyring_create(path, &spec, UINT32_MAX, &ring, NULL), TR_OK);
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_E_CONFLICT);
    assert_int_equal(version, 7);
    tr_keyring_close(ring);
    tr_secret_clear(&texts[0]);
    tr_secret_clear(&texts[1]);
    tr_secret_clear(&secret);
}

/* ---- successors ---- */

static void test_successor(void **state) {
    (void)state;
    tr_keyring *ring = create();
    tr_secret old = TR_SECRET_INIT, next = TR_SECRET_INIT, again = TR_SECRET_INIT;
    tr_error err = {0};
    bool has = true;
    uint32_t version = 0;
    assert_int_equal(tr_keyring_named_next(ring, "vault.db", &next, &err), TR_E_NOT_FOUND);
    get_named(ring, "vault.db", &old);
    assert_int_equal(tr_keyring_named_has_next(ring, "vault.db", &has), TR_OK);
    assert_false(has);
    assert_int_equal(tr_keyring_named_promote(ring, "vault.db", &err), TR_E_NOT_FOUND);
    assert_int_equal(tr_keyring_named_drop_next(ring, "vault.db", &err), TR_E_NOT_FOUND);
    assert_int_equal(tr_keyring_named_next(ring, "vault.db", &next, &err), TR_OK);
    assert_memory_not_equal(old.data, next.data, 32);
    rotate(ring, 2); /* in the middle of it */
    ring = reopen(ring);
    assert_int_equal(tr_keyring_named_has_next(ring, "vault.db", &has), TR_OK);
    assert_true(has);
    named_is(ring, "vault.db", &old);
    assert_int_equal(tr_keyring_named_next(ring, "vault.db", &again, &err), TR_OK);
    assert_memory_equal(next.data, again.data, 32);
    assert_int_equal(tr_keyring_named_promote(ring, "vault.db", &err), TR_OK);
    ring = reopen(ring);
    named_is(ring, "vault.db", &next);
    assert_int_equal(tr_keyring_named_has_next(ring, "vault.db", &has), TR_OK);
    assert_false(has);
    assert_int_equal(tr_keyring_named_promote(ring, "vault.db", &err), TR_E_NOT_FOUND);
    assert_int_equal(tr_keyring_named_master(ring, "vault.db", &version, NULL), TR_OK);
    assert_int_equal(version, 2);

    assert_int_equal(tr_keyring_named_next(ring, "vault.db", &again, &err), TR_OK);
    assert_int_equal(tr_keyring_named_drop_next(ring, "vault.db", &err), TR_OK);
    ring = reopen(ring);
    named_is(ring, "vault.db", &next);
    assert_int_equal(tr_keyring_named_next(ring, "vault.db", &old, &err), TR_OK);
    assert_memory_not_equal(again.data, old.data, 32); /* dropped means gone */
    tr_keyring_close(ring);
    tr_secret_clear(&old);
    tr_secret_clear(&next);
    tr_secret_clear(&again);
}

static void test_names_too_long_for_a_successor(void **state) {
    (void)state;
    tr_keyring *ring = create();
    tr_secret key = TR_SECRET_INIT;
    char name[65];
    bool has = true;
    memset(name, 'n', sizeof name);
    name[60] = '\0';
    get_named(ring, name, &key);
    assert_int_equal(tr_keyring_named_next(ring, name, &key, NULL), TR_E_NOT_FOUND);
    assert_int_equal(tr_keyring_named_has_next(ring, name, &has), TR_OK);
    assert_false(has);
    assert_int_equal(tr_keyring_named_promote(ring, name, NULL), TR_E_NOT_FOUND);
    name[59] = '\0';
    get_named(ring, name, &key);
    assert_int_equal(tr_keyring_named_next(ring, name, &key, NULL), TR_OK);
    assert_int_equal(tr_keyring_named_promote(ring, name, NULL), TR_OK);
    tr_keyring_close(ring);
    tr_secret_clear(&key);
}

/* ---- moving ---- */

static void test_copy_named(void **state) {
    (void)state;
    char other[80];
    uint8_t public_key[32] = {9}, got[32];
    bool set = false;
    tr_secret vault = TR_SECRET_INIT, next = TR_SECRET_INIT, texts[2] = {0};
    tr_keyring *from = create(), *to = NULL;
    tr_keyring_spec spec = {.provider = "split", .shares = 2, .threshold = 2, .share_texts = texts};
    get_named(from, "vault.db", &vault);
    assert_int_equal(tr_keyring_named_next(from, "vault.db", &next, NULL), TR_OK);
    assert_int_equal(tr_keyring_set_recovery(from, public_key, NULL), TR_OK);
    (void)snprintf(other, sizeof other, "%s.new", path);
    assert_int_equal(tr_keyring_create(other, &spec, 2, &to, NULL), TR_OK);
    for (int again = 0; again < 2; again++) { /* a second time changes nothing */
        assert_int_equal(tr_keyring_copy_named(from, to, NULL), TR_OK);
        named_is(to, "vault.db", &vault);
        named_is(to, "vault.db.next", &next);
        tr_keyring_get_recovery(to, got, &set);
        assert_true(set);
        assert_memory_equal(got, public_key, 32);
    }
    tr_keyring_close(from);
    tr_keyring_close(to);
    assert_int_equal(unlink(other), 0);
    (void)snprintf(other, sizeof other, "%s.new.recovery", path);
    assert_int_equal(unlink(other), 0);
    tr_secret_clear(&texts[0]);
    tr_secret_clear(&texts[1]);
    tr_secret_clear(&vault);
    tr_secret_clear(&next);
}

/* ---- kill -9 ---- */

static void change_for_ever(int tell) {
    tr_keyring *ring = NULL;
    tr_secret key = TR_SECRET_INIT;
    if (tr_keyring_open_file(path, &passphrase, &ring, NULL) != TR_OK)
        _exit(1);
    for (;;) {
        uint32_t version = 0;
        bool good = tr_keyring_rotate(ring, &version, NULL) == TR_OK &&
                    tr_keyring_named_next(ring, "vault.db", &key, NULL) == TR_OK &&
                    tr_keyring_named_promote(ring, "vault.db", NULL) == TR_OK &&
                    (version < 4 || tr_keyring_retire(ring, version - 2, NULL) == TR_OK);
        if (!good || write(tell, "", 1) < 0)
            _exit(1);
    }
}

static void test_killed_at_any_moment(void **state) {
    (void)state;
    tr_secret key = TR_SECRET_INIT;
    tr_keyring *ring = create();
    unsigned seed = (unsigned)time(NULL);
    uint32_t last = 1;
    get_named(ring, "vault.db", &key);
    tr_keyring_close(ring);
    for (int i = 0; i < 25; i++) {
        int status = 0, tell[2];
        char told;
        assert_int_equal(pipe(tell), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            change_for_ever(tell[1]);
        close(tell[1]);
        assert_int_equal(read(tell[0], &told, 1), 1); /* at least one round is done */
        struct timespec pause = {0, 1000 * (long)(rand_r(&seed) % 20000)};
        (void)nanosleep(&pause, NULL); /* the moment is what the test varies */
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        close(tell[0]);
        ring = open_ring();
        assert_true(tr_keyring_current(ring) > last);
        last = tr_keyring_current(ring);
        assert_int_equal(tr_keyring_named_key(ring, "vault.db", false, &key, NULL), TR_OK);
        tr_keyring_close(ring);
    }
    tr_secret_clear(&key);
}

/* ---- threads ---- */

typedef struct user {
    tr_keyring *ring;
    atomic_bool *stop;
    const wrapped_key *old;
    const tr_secret *named;
    unsigned rounds;
    bool failed;
} user;

static void *use(void *argument) {
    user *me = argument;
    tr_secret key = TR_SECRET_INIT, back = TR_SECRET_INIT;
    tr_master_info info[64];
    size_t count;
    bool good = tr_secret_random(&key, 32, NULL) == TR_OK;
    while (good && !atomic_load(me->stop)) {
        tr_buf wrapped = TR_BUF_INIT;
        uint32_t version = 0;
        good = tr_keyring_wrap(me->ring, &key, &wrapped, &version, NULL) == TR_OK &&
               tr_keyring_unwrap(me->ring, version, (tr_bytes){wrapped.data, wrapped.len}, &back, NULL) ==
                   TR_OK &&
               memcmp(key.data, back.data, 32) == 0 && unwrap_one(me->ring, me->old) == TR_OK &&
               tr_keyring_named_key(me->ring, "vault.db", true, &back, NULL) == TR_OK &&
               memcmp(me->named->data, back.data, 32) == 0 && tr_keyring_current(me->ring) >= version;
        tr_keyring_list(me->ring, info, 64, &count);
        good = good && count >= 2 && info[count - 1].current;
        tr_buf_clear(&wrapped);
        me->rounds++;
    }
    me->failed = !good;
    tr_secret_clear(&key);
    tr_secret_clear(&back);
    return NULL;
}

/* Wraps and unwraps go on while master keys come and go; none fails. The versions are retired when
 * all are done. */
static void test_changes_while_others_use_it(void **state) {
    (void)state;
    enum { COUNT = 4, ROTATIONS = 40 };
    pthread_t threads[COUNT];
    user users[COUNT] = {0};
    atomic_bool stop = false;
    tr_secret named = TR_SECRET_INIT, key = TR_SECRET_INIT;
    tr_keyring *ring = create();
    wrapped_key old = wrap_one(ring);
    get_named(ring, "vault.db", &named);
    rotate(ring, 2);
    for (int i = 0; i < COUNT; i++) {
        users[i] = (user){.ring = ring, .stop = &stop, .old = &old, .named = &named};
        assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
    for (uint32_t v = 3; v < 3 + ROTATIONS; v++) {
        rotate(ring, v);
        assert_int_equal(tr_keyring_named_next(ring, "vault.db", &key, NULL), TR_OK);
        assert_int_equal(tr_keyring_named_drop_next(ring, "vault.db", NULL), TR_OK);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(users[i].failed);
        assert_true(users[i].rounds > 0);
    }
    for (uint32_t v = 2; v < 2 + ROTATIONS; v++)
        assert_int_equal(tr_keyring_retire(ring, v, NULL), TR_OK);
    ring = reopen(ring);
    assert_int_equal(unwrap_one(ring, &old), TR_OK);
    named_is(ring, "vault.db", &named);
    tr_keyring_close(ring);
    drop_one(&old);
    tr_secret_clear(&named);
    tr_secret_clear(&key);
}

static void *rotate_often(void *argument) {
    user *me = argument;
    for (int i = 0; i < 8; i++) {
        uint32_t version = 0;
        if (tr_keyring_rotate(me->ring, &version, NULL) != TR_OK)
            me->failed = true;
    }
    return NULL;
}

static void *retire_often(void *argument) {
    user *me = argument;
    for (uint32_t version = 2; version < 12;) {
        tr_status st = tr_keyring_retire(me->ring, version, NULL);
        if (st == TR_OK)
            version++;
        else if (st != TR_E_CONFLICT && st != TR_E_NOT_FOUND)
            me->failed = true;
        if (me->failed || tr_keyring_current(me->ring) <= version)
            break;
    }
    return NULL;
}

static void test_several_change_it(void **state) {
    (void)state;
    pthread_t threads[3];
    user users[3] = {0};
    tr_keyring *ring = create();
    for (int i = 0; i < 3; i++) {
        users[i].ring = ring;
        assert_int_equal(pthread_create(&threads[i], NULL, i < 2 ? rotate_often : retire_often, &users[i]),
                         0);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(users[i].failed);
    }
    assert_int_equal(tr_keyring_current(ring), 17);
    ring = reopen(ring);
    assert_int_equal(tr_keyring_current(ring), 17);
    tr_keyring_close(ring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RING_TEST(test_rotate),
        RING_TEST(test_retire),
        RING_TEST(test_first_version),
        RING_TEST(test_successor),
        RING_TEST(test_names_too_long_for_a_successor),
        RING_TEST(test_copy_named),
        RING_TEST(test_killed_at_any_moment),
        RING_TEST(test_changes_while_others_use_it),
        RING_TEST(test_several_change_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
