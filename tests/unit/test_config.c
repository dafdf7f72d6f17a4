/* Settings: where they come from, which wins, and what is refused. */
#include "hex.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/config.h"

static char folder[] = "/tmp/tresor-config-XXXXXX";
static char file_path[64];

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(file_path, sizeof file_path, "%s/tresor.conf", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return rmdir(folder);
}

static int clean(void **state) {
    (void)state;
    size_t count = 0;
    const tr_config_setting *list = tr_config_settings(&count);
    for (size_t i = 0; i < count; i++) {
        char name[80] = "TRESOR_";
        size_t n = strlen(name);
        for (const char *c = list[i].name; *c; c++)
            name[n++] = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
        name[n] = '\0';
        unsetenv(name);
    }
    unsetenv("TRESOR_KEYRING");
    setenv("TRESOR_DATA", folder, 1);
    (void)unlink(file_path);
    return 0;
}

static void write_file(const char *text) {
    FILE *file = fopen(file_path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static char *rest[16];
static int rest_count;

#define LOAD(config, err, ...)    load((config), (err), (const char *[]){__VA_ARGS__, NULL})
#define LOAD_NOTHING(config, err) load((config), (err), (const char *[]){NULL})

/* As main's argv: each in writable memory. `rest` points there until the next call. */
static tr_status load(tr_config *config, tr_error *err, const char **arguments) {
    static const char *const own[] = {"--check", "--credentials", NULL};
    static char texts[16][800];
    char *argv[16];
    int argc = 0;
    for (; arguments[argc]; argc++) {
        (void)snprintf(texts[argc], sizeof texts[argc], "%s", arguments[argc]);
        argv[argc] = texts[argc];
    }
    memset(err, 0, sizeof *err);
    return tr_config_load(argc, argv, own, config, rest, &rest_count, err);
}

static void refused(const char *flag, const char *where) {
    tr_config config;
    tr_error err;
    tr_status st = LOAD(&config, &err, flag);
    if (st != TR_E_CONFIG || strcmp(err.where, where) != 0)
        print_error("%s: %s \"%s\" %s\n", flag, tr_status_slug(st), err.where, err.what);
    assert_int_equal(st, TR_E_CONFIG);
    assert_string_equal(err.where, where);
    assert_string_not_equal(err.what, "");
}

static void test_defaults(void **state) {
    (void)state;
    tr_config config;
    tr_error err;
    char expected[128];
    assert_int_equal(LOAD_NOTHING(&config, &err), TR_OK);
    assert_string_equal(config.data, folder);
    assert_string_equal(config.listen, "127.0.0.1:8443");
    assert_string_equal(config.metrics_listen, "");
    assert_false(config.init);
    assert_false(config.insecure_http);
    (void)snprintf(expected, sizeof expected, "%s/tls.pem", folder);
    assert_string_equal(config.tls_cert, expected);
    (void)snprintf(expected, sizeof expected, "%s/tls.key", folder);
    assert_string_equal(config.tls_key, expected);
    assert_int_equal(config.log_level, TR_LOG_INFO);
    assert_string_equal(config.keyring_file, "");
    assert_int_equal(config.threads, 128);
    assert_int_equal(config.max_body_bytes, 1 << 20);
    assert_int_equal(config.request_timeout_ms, 30000);
    assert_int_equal(config.idle_timeout_ms, 15000);
    assert_int_equal(config.drain_timeout_ms, 20000);
    assert_int_equal(config.token_superseded_ms, 10000);
    assert_int_equal(config.token_recovery_ms, 30000);
    assert_int_equal(config.session_idle_s, 14 * 86400);
    assert_int_equal(config.session_absolute_s, 90 * 86400);
    assert_int_equal(config.sessions_max, 256);
    assert_int_equal(config.idempotency_s, 86400);
    assert_int_equal(config.sign_in_free_tries, 5);
    assert_int_equal(config.rate_per_minute, 0);
    assert_string_equal(config.deadline_rule, "fadp");
    assert_string_equal(config.time_zone, "Europe/Zurich");
    assert_int_equal(config.extension_days, 60);
    assert_int_equal(config.outbox_timeout_ms, 10000);
    assert_int_equal(config.outbox_tries, 9);
    assert_string_equal(config.smtp_url, "");
    unsetenv("TRESOR_DATA");
    assert_int_equal(LOAD_NOTHING(&config, &err), TR_OK);
    assert_string_equal(config.data, "var");
}

static void test_flag_beats_variable_beats_file(void **state) {
    (void)state;
    tr_config config;
    tr_error err;
    write_file("# a comment\n\n  threads = 10 \nsessions_max=20\r\nidempotency_s = 100\nlisten = [::1]:1\n"
               "log_level = debug\ninsecure_http = yes\ntls_cert = /c # not a comment\ntls_key = /k\n");
    setenv("TRESOR_THREADS", "11", 1);
    setenv("TRESOR_SESSIONS_MAX", "21", 1);
    assert_int_equal(LOAD(&config, &err, "--threads", "12"), TR_OK);
    assert_int_equal(config.threads, 12);
    assert_int_equal(config.sessions_max, 21);
    assert_int_equal(config.idempotency_s, 100);
    assert_string_equal(config.listen, "[::1]:1");
    assert_int_equal(config.log_level, TR_LOG_DEBUG);
    assert_true(config.insecure_http);
    assert_string_equal(config.tls_cert, "/c # not a comment");
    assert_string_equal(config.tls_key, "/k");
    assert_int_equal(LOAD(&config, &err, "--threads=13", "--insecure-http=no"), TR_OK);
    assert_int_equal(config.threads, 13);
    assert_false(config.insecure_http);
}

static void test_data_flag_names_the_file(void **state) {
    (void)state;
    tr_config config;
    tr_error err;
    write_file("threads = 99");
    setenv("TRESOR_DATA", "/nonexistent", 1);
    assert_int_equal(LOAD_NOTHING(&config, &err), TR_OK);
    assert_int_equal(config.threads, 128);
    assert_int_equal(LOAD(&config, &err, "--data", folder), TR_OK);
    assert_int_equal(config.threads, 99);
    assert_string_equal(config.data, folder);
}

static void test_switches(void **state) {
    (void)state;
    tr_config config;
    tr_error err;
    assert_int_equal(LOAD(&config, &err, "--insecure-http", "serve"), TR_OK);
    assert_true(config.insecure_http);
    assert_int_equal(rest_count, 1); /* a switch takes no value */
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"yes", true}, {"no", false}, {"true", true}, {"false", false},
                 {"1", true},   {"0", false},  {"on", true},   {"off", false}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        setenv("TRESOR_INSECURE_HTTP", words[i].word, 1);
        assert_int_equal(LOAD_NOTHING(&config, &err), TR_OK);
        assert_int_equal(config.insecure_http, words[i].value);
    }
}

static void test_rest(void **state) {
    (void)state;
    tr_config config;
    tr_error err;
    assert_int_equal(LOAD(&config, &err, "GET", "--check", "--threads", "7", "--credentials=f", "-", "--",
                          "--threads", "-x"),
                     TR_OK);
    static const char *const expected[] = {"GET", "--check", "--credentials=f", "-", "--threads", "-x"};
    assert_int_equal(rest_count, 6);
    for (int i = 0; i < 6; i++)
        assert_string_equal(rest[i], expected[i]);
    assert_int_equal(config.threads, 7);
}

static void test_refused_flags(void **state) {
    (void)state;
    refused("--nope", "--nope");
    refused("-t", "-t");
    refused("--token_recovery_ms=1", "--token_recovery_ms");
    refused("--keyring=secret", "--keyring"); /* the value may be a secret, so it is not shown */
    refused("--threads", "threads");
    refused("--threads=", "threads");
    refused("--threads=3", "threads");
    refused("--threads=4097", "threads");
    refused("--threads=12x", "threads");
    refused("--threads= 12", "threads");
    refused("--threads=+12", "threads");
    refused("--threads=1e2", "threads");
    refused("--threads=0x10", "threads");
    refused("--threads=99999999999999999999", "threads");
    refused("--threads=-9", "threads");
    refused("--max-body-bytes=1023", "max_body_bytes");
    refused("--max-body-bytes=67108865", "max_body_bytes");
    refused("--insecure-http=maybe", "insecure_http");
    refused("--deadline-rule=", "deadline_rule");
    refused("--deadline-rule=GDPR", "deadline_rule");
    refused("--extension-days=0", "extension_days");
    refused("--log-level=loud", "log_level");
    refused("--tls-cert=/c", "tls_key");
    refused("--tls-key=/k", "tls_key");
    refused("--data=", "data");
}

static void test_refused_texts(void **state) {
    (void)state;
    char flag[700] = "--listen=";
    memset(flag + 9, 'x', 128);
    refused(flag, "listen");
    flag[9 + 127] = '\0';
    tr_config config;
    tr_error err;
    assert_int_equal(LOAD(&config, &err, flag), TR_OK);
    memcpy(flag, "--data=", 7);
    memset(flag + 7, 'd', 600);
    refused(flag, "data");
}

static void file_refused(const char *text, const char *where) {
    tr_config config;
    tr_error err;
    write_file(text);
    assert_int_equal(LOAD_NOTHING(&config, &err), TR_E_CONFIG);
    assert_string_equal(err.where, where);
}

static void test_refused_files(void **state) {
    (void)state;
    file_refused("threads 5\n", "tresor.conf");
    file_refused("thread = 5\n", "tresor.conf");
    file_refused("token-recovery-ms = 5\n", "tresor.conf");
    file_refused("data = /elsewhere\n", "tresor.conf");
    file_refused("threads = many\n", "threads");
    file_refused("threads =\n", "threads");
    tr_buf large = TR_BUF_INIT;
    for (int i = 0; i < 7000; i++)
        tr_buf_puts(&large, "# comment\n");
    file_refused(large.data, "tresor.conf");
    tr_buf_clear(&large);
    FILE *file = fopen(file_path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite("threads=5\0\n", 1, 11, file), 11);
    fclose(file);
    tr_config config;
    tr_error err;
    assert_int_equal(LOAD_NOTHING(&config, &err), TR_E_CONFIG);
    assert_int_equal(unlink(file_path), 0);
    assert_int_equal(mkdir(file_path, 0700), 0);
    assert_int_equal(LOAD_NOTHING(&config, &err), TR_E_CONFIG);
    assert_int_equal(rmdir(file_path), 0);
    /* The line is named, its content is not: it may be a secret. */
    write_file("threads = 5\n\nhunter2\n");
    assert_int_equal(LOAD_NOTHING(&config, &err), TR_E_CONFIG);
    assert_non_null(strstr(err.what, "line 3"));
    assert_null(strstr(err.what, "hunter2"));
}

static void test_refused_variable(void **state) {
    (void)state;
    tr_config config;
    tr_error err;
    setenv("TRESOR_DRAIN_TIMEOUT_MS", "soon", 1);
    assert_int_equal(LOAD_NOTHING(&config, &err), TR_E_CONFIG);
    assert_string_equal(err.where, "drain_timeout_ms");
    /* A flag does not hide that the variable is wrong. */
    assert_int_equal(LOAD(&config, &err, "--drain-timeout-ms=1"), TR_E_CONFIG);
}

/* Each setting can be given by flag and by variable, its fallback is a good value, and the table says what it
 * is. */
static void test_table(void **state) {
    (void)state;
    size_t count = 0;
    const tr_config_setting *list = tr_config_settings(&count);
    assert_int_equal(count, 58);
    for (size_t i = 0; i < count; i++) {
        char flag[256];
        tr_config config;
        tr_error err;
        assert_string_not_equal(list[i].meaning, "");
        if (strncmp(list[i].name, "tls_", 4) == 0)
            continue; /* only together */
        int n = snprintf(flag, sizeof flag, "--%s=%s", list[i].name, list[i].fallback);
        for (int k = 2; k < n && flag[k] != '='; k++)
            flag[k] = (char)(flag[k] == '_' ? '-' : flag[k]);
        assert_int_equal(LOAD(&config, &err, flag), TR_OK);
    }
}

static void passphrase_is(const tr_config *config, const char *expected) {
    tr_secret passphrase = TR_SECRET_INIT;
    tr_error err = {0};
    assert_int_equal(tr_config_passphrase(config, &passphrase, &err), TR_OK);
    assert_int_equal(passphrase.len, strlen(expected));
    assert_memory_equal(passphrase.data, expected, passphrase.len);
    tr_secret_clear(&passphrase);
}

/* systemd's, before the folder's own file; a folder of credentials without ours changes nothing. */
static void credential_is_used(const tr_config *config) {
    char credentials[] = "/tmp/tresor-test-XXXXXX", path[80];
    assert_non_null(mkdtemp(credentials));
    setenv("CREDENTIALS_DIRECTORY", credentials, 1);
    passphrase_is(config, "from the folder");
    (void)snprintf(path, sizeof path, "%s/tresor-keyring", credentials);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs("from systemd\n", file) >= 0);
    fclose(file);
    passphrase_is(config, "from systemd");
    assert_true(tr_config_passphrase_given(config));
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(credentials), 0);
}

static void test_passphrase(void **state) {
    (void)state;
    tr_config config;
    tr_error err;
    tr_secret none = TR_SECRET_INIT;
    char path[80];
    assert_int_equal(LOAD_NOTHING(&config, &err), TR_OK);
    assert_int_equal(tr_config_passphrase(&config, &none, &err), TR_E_CONFIG);
    assert_int_equal(tr_config_path(&config, "keyring.passphrase", path, sizeof path, NULL), TR_OK);
    assert_string_equal(err.where, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs("from the folder\n", file) >= 0);
    fclose(file);
    passphrase_is(&config, "from the folder");
    assert_false(tr_config_passphrase_given(&config));
    credential_is_used(&config);
    write_file("from the named file");
    memcpy(config.keyring_file, file_path, sizeof file_path);
    passphrase_is(&config, "from the named file");
    setenv("TRESOR_KEYRING", "from the environment", 1);
    passphrase_is(&config, "from the environment");
    setenv("TRESOR_KEYRING", "", 1); /* set but empty: as if it were not */
    passphrase_is(&config, "from the named file");
    assert_int_equal(unlink(path), 0);
}

static void test_path(void **state) {
    (void)state;
    tr_config config = {.data = "dir"};
    char out[10];
    tr_error err = {0};
    assert_int_equal(tr_config_path(&config, "12345", out, sizeof out, &err), TR_OK);
    assert_string_equal(out, "dir/12345");
    assert_int_equal(tr_config_path(&config, "123456", out, sizeof out, &err), TR_E_CONFIG);
    assert_string_equal(err.where, "data");
}

#define CONFIG_TEST(name) cmocka_unit_test_setup_teardown(name, clean, clean)

int main(void) {
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(test_defaults),
        CONFIG_TEST(test_flag_beats_variable_beats_file),
        CONFIG_TEST(test_data_flag_names_the_file),
        CONFIG_TEST(test_switches),
        CONFIG_TEST(test_rest),
        CONFIG_TEST(test_refused_flags),
        CONFIG_TEST(test_refused_texts),
        CONFIG_TEST(test_refused_files),
        CONFIG_TEST(test_refused_variable),
        CONFIG_TEST(test_table),
        CONFIG_TEST(test_passphrase),
        CONFIG_TEST(test_path),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
