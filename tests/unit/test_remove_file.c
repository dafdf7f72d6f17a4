/* A large file is removed for everybody, and for nobody who still has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch.h"
#include "vault/remove_file.h"

#define SIZE ((off_t)50 * 1024 * 1024)
#define END  "the last bytes"

static int open_folder(char path[96]) {
    assert_true(scratch(path, 96, "remove"));
    int folder = open(path, O_RDONLY | O_DIRECTORY);
    assert_true(folder >= 0);
    return folder;
}

static void close_folder(int folder, const char *path) {
    close(folder);
    assert_int_equal(rmdir(path), 0);
}

/* For reading, with a hole up to its end. */
static int make(int folder, const char *name) {
    int fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, END, sizeof END, SIZE - (off_t)sizeof END), sizeof END);
    return fd;
}

static void is_whole(int fd) {
    char end[sizeof END] = "";
    assert_int_equal(pread(fd, end, sizeof end, SIZE - (off_t)sizeof end), sizeof end);
    assert_string_equal(end, END);
}

static bool is_there(int folder, const char *name) {
    return faccessat(folder, name, F_OK, 0) == 0;
}

static void it_is_gone_and_given_back(void **state) {
    char path[96];
    struct stat info;
    int folder = open_folder(path), fd = make(folder, "a");
    (void)state;
    assert_int_equal(tr_remove_file(folder, "a"), 0);
    assert_false(is_there(folder, "a"));
    assert_int_equal(flock(fd, LOCK_SH), 0); /* whoever gives it back has it until the end */
    assert_int_equal(fstat(fd, &info), 0);
    assert_true(info.st_size < SIZE / 2);
    close(fd);
    assert_int_equal(tr_remove_file(folder, "a"), -1);
    assert_int_equal(errno, ENOENT);
    close_folder(folder, path);
}

static void another_name_keeps_it(void **state) {
    char path[96];
    int folder = open_folder(path), fd = make(folder, "a");
    (void)state;
    assert_int_equal(linkat(folder, "a", folder, "b", 0), 0);
    assert_int_equal(tr_remove_file(folder, "a"), 0);
    assert_false(is_there(folder, "a"));
    is_whole(fd);
    close(fd);
    assert_int_equal(tr_remove_file(folder, "b"), 0);
    close_folder(folder, path);
}

static void a_reader_keeps_it(void **state) {
    char path[96];
    int folder = open_folder(path);
    (void)state;
    close(make(folder, "a"));
    int reader = openat(folder, "a", O_RDONLY);
    tr_keep_removed(reader);
    assert_int_equal(tr_remove_file(folder, "a"), 0);
    assert_false(is_there(folder, "a"));
    is_whole(reader);
    close(reader);
    close_folder(folder, path);
}

/* What a link points to is not meant, and a folder is no file. */
static void other_things_are_left_alone(void **state) {
    char path[96];
    int folder = open_folder(path), fd = make(folder, "a");
    (void)state;
    assert_int_equal(symlinkat("a", folder, "b"), 0);
    assert_int_equal(tr_remove_file(folder, "b"), 0);
    assert_false(is_there(folder, "b"));
    is_whole(fd);
    close(fd);
    assert_int_equal(tr_remove_file(folder, "a"), 0);
    assert_int_equal(mkdirat(folder, "c", 0700), 0);
    assert_int_equal(tr_remove_file(folder, "c"), -1);
    assert_int_equal(unlinkat(folder, "c", AT_REMOVEDIR), 0);
    close_folder(folder, path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_gone_and_given_back), cmocka_unit_test(another_name_keeps_it),
        cmocka_unit_test(a_reader_keeps_it), cmocka_unit_test(other_things_are_left_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
