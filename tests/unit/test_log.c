/* Log lines, caught on standard error. */
#include "hex.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

static int kept; /* the real standard error */
static FILE *caught;

static int set_up(void **state) {
    (void)state;
    kept = dup(2);
    caught = tmpfile();
    return kept >= 0 && caught && dup2(fileno(caught), 2) == 2 ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    dup2(kept, 2);
    close(kept);
    fclose(caught);
    tr_log_set_fd(1);
    tr_log_set_level(TR_LOG_INFO);
    tr_clock_set_for_test(0);
    return 0;
}

static size_t lines(char *text, size_t room) {
    ssize_t n = pread(fileno(caught), text, room - 1, 0);
    size_t count = 0;
    text[n > 0 ? n : 0] = '\0';
    for (const char *c = text; *c; c++)
        count += *c == '\n';
    return count;
}

static void test_line(void **state) {
    (void)state;
    char text[2048];
    tr_clock_set_for_test(INT64_C(1790000000123));
    tr_log_set_fd(2);
    tr_log(TR_LOG_WARN, "request", TR_F_TEXT("route", "GET \"/v1\"\n\xc3\xa9"), TR_F_NUM("status", INT64_MIN),
           TR_F_BOOL("slow", true), TR_F_BOOL("late", false), TR_F_TEXT("none", NULL),
           TR_F_TEXT("bad", "\xff"));
    assert_int_equal(lines(text, sizeof text), 1);
    assert_string_equal(text,
                        "{\"time\":\"2026-09-21T14:13:20.123Z\",\"level\":\"warn\",\"event\":\"request\","
                        "\"route\":\"GET \\\"/v1\\\"\\n\xc3\xa9\",\"status\":-9223372036854775808,"
                        "\"slow\":true,\"late\":false,\"none\":null,\"bad\":null}\n");
    cJSON *tree = NULL;
    assert_int_equal(tr_json_parse(text, strlen(text), &tree, NULL), TR_OK);
    cJSON_Delete(tree);
}

static void test_levels(void **state) {
    (void)state;
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char text[4096];
    tr_log_set_fd(2);
    for (int lowest = 0; lowest < 4; lowest++) {
        tr_log_level level = TR_LOG_DEBUG;
        assert_true(tr_log_level_parse(names[lowest], &level));
        assert_int_equal(level, lowest);
        tr_log_set_level(level);
        for (int i = 0; i < 4; i++)
            tr_log_fields((tr_log_level)i, "event", NULL, 0);
    }
    assert_int_equal(lines(text, sizeof text), 4 + 3 + 2 + 1);
    tr_log_level level = TR_LOG_WARN;
    assert_false(tr_log_level_parse("", &level));
    assert_false(tr_log_level_parse("Info", &level));
    assert_int_equal(level, TR_LOG_WARN);
}

static void test_nowhere(void **state) {
    (void)state;
    char text[64];
    tr_log_set_fd(-1);
    tr_log_fields(TR_LOG_ERROR, "event", NULL, 0);
    tr_log_set_fd(1000); /* not open: the log is lost, the program goes on */
    tr_log_fields(TR_LOG_ERROR, "event", NULL, 0);
    assert_int_equal(lines(text, sizeof text), 0);
}

static void *log_many(void *unused) {
    (void)unused;
    for (int i = 0; i < 200; i++)
        tr_log(TR_LOG_INFO, "thread", TR_F_TEXT("text", "some words that make the line longer"),
               TR_F_NUM("n", i));
    return NULL;
}

/* Lines of several threads never mix. */
static void test_threads(void **state) {
    (void)state;
    static char text[200000];
    pthread_t threads[4];
    tr_log_set_fd(2);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(lines(text, sizeof text), 800);
    char *place = NULL;
    for (char *line = strtok_r(text, "\n", &place); line; line = strtok_r(NULL, "\n", &place)) {
        cJSON *tree = NULL;
        assert_int_equal(tr_json_parse(line, strlen(line), &tree, NULL), TR_OK);
        assert_string_equal(tr_json_string(tree, "event"), "thread");
        cJSON_Delete(tree);
    }
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_line),
        LOG_TEST(test_levels),
        LOG_TEST(test_nowhere),
        LOG_TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
