/* Changes of a keyring when its file cannot be saved, or its provider fails: nothing is changed. */
#include "keyring_change_fixture.h"

#include <stdatomic.h>
#include <sys/syscall.h>

/* fsync fails when its turn comes: 1 the next one, 2 the one after it, ... */
static atomic_int failing_fsync;

int fsync(int fd) {
    if (atomic_load(&failing_fsync) > 0 && atomic_fetch_sub(&failing_fsync, 1) == 1) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

/* ---- failing saves ---- */

typedef tr_status (*change)(tr_keyring *ring);

static tr_status do_rotate(tr_keyring *ring) {
    uint32_t version;
    return tr_keyring_rotate(ring, &version, NULL);
}

static tr_status do_retire(tr_keyring *ring) {
    return tr_keyring_retire(ring, 1, NULL);
}

static tr_status do_named(tr_keyring *ring) {
    tr_secret key = TR_SECRET_INIT;
    tr_status st = tr_keyring_named_key(ring, "keys.db", true, &key, NULL);
    assert_true(st == TR_OK || !key.data);
    tr_secret_clear(&key);
    return st;
}

static tr_status do_next(tr_keyring *ring) {
    tr_secret key = TR_SECRET_INIT;
    tr_status st = tr_keyring_named_next(ring, "audit.db", &key, NULL);
    tr_secret_clear(&key);
    return st;
}

static tr_status do_promote(tr_keyring *ring) {
    return tr_keyring_named_promote(ring, "vault.db", NULL);
}

static tr_status do_drop(tr_keyring *ring) {
    return tr_keyring_named_drop_next(ring, "vault.db", NULL);
}

static tr_status do_recovery(tr_keyring *ring) {
    static const uint8_t other_key[32] = {9};
    return tr_keyring_set_recovery(ring, other_key, NULL);
}

static const change changes[] = {do_rotate, do_retire, do_named, do_next, do_promote, do_drop, do_recovery};

/* Two versions, named keys, one with a successor. */
static tr_keyring *make_full(wrapped_key *first, tr_secret *vault) {
    tr_secret key = TR_SECRET_INIT;
    tr_keyring *ring = create();
    get_named(ring, "vault.db", vault);
    get_named(ring, "audit.db", &key);
    assert_int_equal(tr_keyring_named_next(ring, "vault.db", &key, NULL), TR_OK);
    *first = wrap_one(ring);
    rotate(ring, 2);
    tr_secret_clear(&key);
    return ring;
}

static void check_unchanged(tr_keyring *ring, const wrapped_key *first, const tr_secret *vault) {
    size_t count;
    bool has = false;
    assert_int_equal(tr_keyring_current(ring), 2);
    tr_keyring_list(ring, NULL, 0, &count);
    assert_int_equal(count, 2);
    assert_int_equal(unwrap_one(ring, first), TR_OK);
    named_is(ring, "vault.db", vault);
    assert_int_equal(tr_keyring_named_has_next(ring, "vault.db", &has), TR_OK);
    assert_true(has);
    assert_int_equal(tr_keyring_named_has_next(ring, "audit.db", &has), TR_OK);
    assert_false(has);
    wrapped_key fresh = wrap_one(ring);
    assert_int_equal(fresh.version, 2);
    assert_int_equal(unwrap_one(ring, &fresh), TR_OK);
    drop_one(&fresh);
}

/* The change fails with nothing changed, then works. `fsync_at` 0: the file cannot be written at all. */
static void check_failing(change make, int fsync_at) {
    char before[8192], after[8192];
    wrapped_key first;
    tr_secret vault = TR_SECRET_INIT;
    (void)remove_file(NULL);
    tr_keyring *ring = make_full(&first, &vault);
    size_t n = load(before, sizeof before);
    if (fsync_at)
        atomic_store(&failing_fsync, fsync_at);
    else
        break_saves(true);
    assert_int_equal(make(ring), TR_E_IO);
    if (!fsync_at)
        break_saves(false);
    assert_int_equal(atomic_load(&failing_fsync), 0);
    check_unchanged(ring, &first, &vault);
    size_t m = load(after, sizeof after);
    if (make != do_recovery || fsync_at == 0) { /* its recovery file is flushed before */
        assert_int_equal(m, n);
        assert_memory_equal(before, after, n);
    }
    tr_keyring *second = open_ring();
    check_unchanged(second, &first, &vault);
    tr_keyring_close(second);
    assert_int_equal(make(ring), TR_OK);
    tr_keyring_close(ring);
    tr_keyring_close(open_ring());
    drop_one(&first);
    tr_secret_clear(&vault);
}

static void test_failing_saves_change_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
        check_failing(changes[i], 0);
}

/* The file's flush fails, before the new one is in place; the folder's, after it. */
static void test_failing_flushes_change_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        check_failing(changes[i], 1);
        check_failing(changes[i], 2);
    }
}

static void test_failing_flush_of_a_new_ring(void **state) {
    (void)state;
    tr_keyring *ring = NULL;
    atomic_store(&failing_fsync, 1);
    assert_int_equal(tr_keyring_create_file_ln(path, &passphrase, LN, &ring, NULL), TR_E_IO);
    assert_null(ring);
    assert_int_equal(access(path, F_OK), -1);
    atomic_store(&failing_fsync, 2);
    assert_int_equal(tr_keyring_create_file_ln(path, &passphrase, LN, &ring, NULL), TR_E_IO);
    assert_null(ring);
    assert_int_equal(access(path, F_OK), -1); /* a ring that nobody was given must not be in the way */
}

/* ---- a provider that keeps its keys outside the document, and fails ---- */

static struct {
    bool destroy_fails, new_fails, wrap_fails;
    int destroyed, discarded;
} faults;

static tr_status hsm_fails(tr_error *err) {
    return tr_fail(err, TR_E_HSM, NULL, "the token fails");
}

static tr_status faulty_create(const tr_keyring_spec *spec, void **self, tr_error *err) {
    return tr_keyring_file_new(spec->passphrase, LN, self, err);
}

static void faulty_discard(void *self) {
    faults.discarded++;
    tr_keyring_file_provider.close(self);
}

static tr_status faulty_new(void *self, uint32_t version, tr_error *err) {
    return faults.new_fails ? hsm_fails(err) : tr_keyring_file_provider.new_master(self, version, err);
}

static tr_status faulty_destroy(void *self, uint32_t version, tr_error *err) {
    if (faults.destroy_fails)
        return hsm_fails(err);
    faults.destroyed++;
    return tr_keyring_file_provider.destroy_master(self, version, err);
}

static tr_status faulty_wrap(void *self, uint32_t version, const tr_secret *key, tr_buf *wrapped,
                             tr_error *err) {
    return faults.wrap_fails ? hsm_fails(err)
                             : tr_keyring_file_provider.wrap(self, version, key, wrapped, err);
}

/* It calls itself `file`, so that the file provider opens what it leaves. */
static tr_status create_faulty(tr_keyring **ring) {
    static tr_keyring_provider faulty;
    tr_keyring_spec spec = {.provider = "file", .passphrase = &passphrase};
    faulty = tr_keyring_file_provider;
    faulty.external = true;
    faulty.create = faulty_create;
    faulty.discard = faulty_discard;
    faulty.new_master = faulty_new;
    faulty.destroy_master = faulty_destroy;
    faulty.wrap = faulty_wrap;
    faulty.export_master = NULL;
    return tr_keyring_create_with(&faulty, path, &spec, 1, ring, NULL);
}

static int reset_faults(void **state) {
    memset(&faults, 0, sizeof faults);
    return remove_file(state);
}

static void test_failing_provider_at_rotation(void **state) {
    (void)state;
    tr_keyring *ring = NULL;
    tr_secret vault = TR_SECRET_INIT;
    uint32_t version = 0;
    assert_int_equal(create_faulty(&ring), TR_OK);
    get_named(ring, "vault.db", &vault);
    faults.new_fails = true;
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_E_HSM);
    assert_int_equal(faults.destroyed, 0);
    faults.new_fails = false;
    faults.wrap_fails = true;
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_E_HSM);
    assert_int_equal(faults.destroyed, 1); /* what was made for nothing */
    faults.wrap_fails = false;
    break_saves(true);
    assert_int_equal(tr_keyring_rotate(ring, &version, NULL), TR_E_IO);
    break_saves(false);
    assert_int_equal(faults.destroyed, 2);
    assert_int_equal(tr_keyring_current(ring), 1);
    named_is(ring, "vault.db", &vault);
    rotate(ring, 2);
    named_is(ring, "vault.db", &vault);
    tr_keyring_close(ring);
    assert_int_equal(faults.discarded, 0);
    tr_keyring_close(open_ring());
    tr_secret_clear(&vault);
}

static void test_failing_provider_at_creation(void **state) {
    (void)state;
    tr_keyring *ring = NULL;
    faults.new_fails = true;
    assert_int_equal(create_faulty(&ring), TR_E_HSM);
    assert_int_equal(faults.discarded, 1);
    faults.new_fails = false;
    break_saves(true);
    assert_int_equal(create_faulty(&ring), TR_E_IO);
    break_saves(false);
    assert_int_equal(faults.discarded, 2);
    assert_null(ring);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_failing_provider_at_retirement(void **state) {
    (void)state;
    char text[8192];
    tr_keyring *ring = NULL;
    size_t count;
    assert_int_equal(create_faulty(&ring), TR_OK);
    rotate(ring, 2);
    break_saves(true);
    assert_int_equal(tr_keyring_retire(ring, 1, NULL), TR_E_IO);
    break_saves(false);
    assert_int_equal(faults.destroyed, 0); /* not before the document says so */
    faults.destroy_fails = true;
    assert_int_equal(tr_keyring_retire(ring, 1, NULL), TR_E_HSM);
    tr_keyring_list(ring, NULL, 0, &count);
    assert_int_equal(count, 2);
    text[load(text, sizeof text - 1)] = '\0';
    assert_non_null(strstr(text, "\"retiring\":true"));
    tr_keyring *second = open_ring(); /* a crash now would leave a ring that opens */
    tr_keyring_list(second, NULL, 0, &count);
    assert_int_equal(count, 2);
    tr_keyring_close(second);
    faults.destroy_fails = false;
    assert_int_equal(tr_keyring_retire(ring, 1, NULL), TR_OK);
    assert_int_equal(faults.destroyed, 1);
    tr_keyring_list(ring, NULL, 0, &count);
    assert_int_equal(count, 1);
    assert_int_equal(tr_keyring_retire(ring, 1, NULL), TR_E_NOT_FOUND);
    text[load(text, sizeof text - 1)] = '\0';
    assert_null(strstr(text, "retiring"));
    rotate(ring, 3);
    tr_keyring_close(ring);
    tr_keyring_close(open_ring());
}

static void test_no_recovery_where_keys_do_not_leave(void **state) {
    (void)state;
    tr_keyring *ring = NULL;
    static const uint8_t public_key[32] = {9};
    uint8_t got[32];
    bool set = true;
    assert_int_equal(create_faulty(&ring), TR_OK);
    assert_int_equal(tr_keyring_set_recovery(ring, public_key, NULL), TR_E_CONFIG);
    tr_keyring_get_recovery(ring, got, &set);
    assert_false(set);
    tr_keyring_close(ring);
}

#define FAULT_TEST(name) cmocka_unit_test_setup_teardown(name, reset_faults, remove_file)

int main(void) {
    const struct CMUnitTest tests[] = {
        RING_TEST(test_failing_saves_change_nothing),         RING_TEST(test_failing_flushes_change_nothing),
        RING_TEST(test_failing_flush_of_a_new_ring),          FAULT_TEST(test_failing_provider_at_rotation),
        FAULT_TEST(test_failing_provider_at_creation),        FAULT_TEST(test_failing_provider_at_retirement),
        FAULT_TEST(test_no_recovery_where_keys_do_not_leave),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
