/* Confinement. Each case is a child of its own, since nothing of it can be taken back: it confines itself,
 * tries, and tells by its exit code or by the signal that ended it. */
#include "hex.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/confine.h"

enum { WENT_WELL = 0, DENIED = 10, NOT_HELD = 20, SET_UP_FAILED = 30 };

static char folder[] = "/tmp/tresor-confine-XXXXXX";
static char inside[96], outside[96], readable[96];

static void make_file(const char *path) {
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
}

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(inside, sizeof inside, "%s/inside", folder);
    (void)snprintf(readable, sizeof readable, "%s/readable", folder);
    (void)snprintf(outside, sizeof outside, "%s/outside", folder);
    if (mkdir(inside, 0700) != 0)
        return -1;
    make_file(readable);
    make_file(outside);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    (void)unlink(readable);
    (void)unlink(outside);
    char left[128];
    (void)snprintf(left, sizeof left, "%s/b", inside);
    (void)unlink(left);
    (void)rmdir(inside);
    return rmdir(folder);
}

/* ---- what is tried ---- */

static int tried(bool done) {
    return done ? WENT_WELL : errno == EACCES || errno == EPERM || errno == ENOSYS ? DENIED : SET_UP_FAILED;
}

static int opens(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC, 0600);
    return tried(fd >= 0);
}

static int read_outside(void) {
    return opens(outside, O_RDONLY);
}

static int read_passwords(void) {
    return opens("/etc/passwd", O_RDONLY);
}

static int read_readable(void) {
    return opens(readable, O_RDONLY);
}

static int write_readable(void) {
    return opens(readable, O_WRONLY);
}

static int make_outside(void) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/new", folder);
    return opens(path, O_CREAT | O_WRONLY);
}

static int work_inside(void) {
    char a[128], b[128];
    (void)snprintf(a, sizeof a, "%s/a", inside);
    (void)snprintf(b, sizeof b, "%s/b", inside);
    int fd = open(a, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    bool good =
        fd >= 0 && write(fd, "x", 1) == 1 && ftruncate(fd, 0) == 0 && fsync(fd) == 0 && close(fd) == 0;
    return tried(good && rename(a, b) == 0);
}

static int fork_one(void) {
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    return tried(child > 0);
}

static int run_program(void) {
    char name[] = "true";
    char *const arguments[] = {name, NULL};
    execv("/bin/true", arguments);
    return tried(false);
}

static int trace(void) {
    return tried(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
}

static int write_and_execute(void) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return tried(page != MAP_FAILED);
}

static int make_executable(void) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return tried(page != MAP_FAILED && mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0);
}

static int raw_packets(void) {
    return tried(socket(AF_PACKET, SOCK_RAW, 0) >= 0);
}

static void *nothing(void *argument) {
    return argument;
}

static int start_thread(void) {
    pthread_t thread;
    return tried(pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0);
}

static int look_up(void) {
    struct addrinfo *found = NULL;
    bool good = getaddrinfo("localhost", "443", NULL, &found) == 0 && found;
    int fd = good ? socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (found)
        freeaddrinfo(found);
    return tried(fd >= 0);
}

static int new_privileges(void) {
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? DENIED : WENT_WELL;
}

/* ---- the child ---- */

static int confined_files(int (*attempt)(void)) {
    const tr_place places[] = {{inside, TR_PLACE_WRITE},
                               {readable, TR_PLACE_READ},
                               {"/etc/hosts", TR_PLACE_READ},
                               {"/nonexistent/tresor", TR_PLACE_WRITE}};
    int version = 0;
    if (tr_confine_files(places, sizeof places / sizeof *places, &version, NULL) != TR_OK)
        return SET_UP_FAILED;
    return version == 0 ? NOT_HELD : attempt();
}

static int confined_calls(int (*attempt)(void)) {
    bool held = false;
    if (tr_confine_calls(false, &held, NULL) != TR_OK)
        return SET_UP_FAILED;
    return held ? attempt() : NOT_HELD;
}

static void assert_outcome(int (*confined)(int (*)(void)), int (*attempt)(void), int code, int sig) {
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(confined(attempt));
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_HELD)
        skip(); /* the kernel, or a sanitizer's build, does not have it */
    if (sig) {
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), sig);
    } else {
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), code);
    }
}

/* In a sanitizer's build everything may be read, nothing else. */
static void files_are_those_listed(void **state) {
    (void)state;
    int reading = tr_confine_relaxed() ? WENT_WELL : DENIED;
    assert_outcome(confined_files, read_outside, reading, 0);
    assert_outcome(confined_files, read_passwords, reading, 0);
    assert_outcome(confined_files, read_readable, WENT_WELL, 0);
    assert_outcome(confined_files, write_readable, DENIED, 0);
    assert_outcome(confined_files, make_outside, DENIED, 0);
    assert_outcome(confined_files, work_inside, WENT_WELL, 0);
    assert_outcome(confined_files, run_program, DENIED, 0);
    assert_outcome(confined_files, new_privileges, DENIED, 0);
}

static void calls_that_only_an_attacker_makes_end_the_process(void **state) {
    (void)state;
    assert_outcome(confined_calls, run_program, 0, SIGSYS);
    assert_outcome(confined_calls, trace, 0, SIGSYS);
}

static void other_calls_are_not_there(void **state) {
    (void)state;
    assert_outcome(confined_calls, fork_one, DENIED, 0);
    assert_outcome(confined_calls, write_and_execute, DENIED, 0);
    assert_outcome(confined_calls, make_executable, DENIED, 0);
    assert_outcome(confined_calls, raw_packets, DENIED, 0);
    assert_outcome(confined_calls, new_privileges, DENIED, 0);
}

static void what_a_server_does_goes_on(void **state) {
    (void)state;
    assert_outcome(confined_calls, work_inside, WENT_WELL, 0);
    assert_outcome(confined_calls, start_thread, WENT_WELL, 0);
    assert_outcome(confined_calls, look_up, WENT_WELL, 0);
}

/* ---- the user ---- */

static int become(const char *who, bool binding) {
    tr_error err = {0};
    if (tr_become(who, binding, &err) != TR_OK)
        return err.status == TR_E_CONFIG && strcmp(err.where, "run_as") == 0 ? DENIED : SET_UP_FAILED;
    return WENT_WELL;
}

static int become_nobody(void) {
    if (become("nobody", false) != WENT_WELL || getuid() == 0 || geteuid() == 0 || getegid() == 0)
        return SET_UP_FAILED;
    return setuid(0) != 0 && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? WENT_WELL : SET_UP_FAILED;
}

static int become_numbers(void) {
    bool good = become("65000:65001", false) == WENT_WELL;
    return good && getuid() == 65000 && getgid() == 65001 && getgroups(0, NULL) == 0 ? WENT_WELL
                                                                                     : SET_UP_FAILED;
}

static int bind_low(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (uint16_t port = 700; port < 1000; port++) { /* one that is free */
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        address.sin_port = htons(port);
        if (bind(fd, (const struct sockaddr *)&address, sizeof address) == 0)
            return WENT_WELL;
        (void)close(fd);
        if (errno != EADDRINUSE)
            break;
    }
    return DENIED;
}

static int become_and_bind(void) {
    if (become("nobody", true) != WENT_WELL || geteuid() == 0 || bind_low() != WENT_WELL)
        return SET_UP_FAILED;
    if (tr_become_finish(NULL) != TR_OK || setuid(0) == 0)
        return SET_UP_FAILED;
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return strstr(text, "CapPrm:\t0000000000000000") && strstr(text, "CapEff:\t0000000000000000")
               ? WENT_WELL
               : SET_UP_FAILED;
}

static int become_root(void) {
    return become("root", false);
}

static int become_unknown(void) {
    return become("no-such-user-here", false);
}

static int become_without_group(void) {
    return become("65000", false);
}

static int become_other_from_nobody(void) {
    return become_nobody() == WENT_WELL ? become("daemon", false) : SET_UP_FAILED;
}

static int as_it_is(int (*attempt)(void)) {
    return attempt();
}

static void root_becomes_somebody_else(void **state) {
    (void)state;
    assert_outcome(as_it_is, become_root, DENIED, 0);
    assert_outcome(as_it_is, become_unknown, DENIED, 0);
    assert_outcome(as_it_is, become_without_group, DENIED, 0);
    if (geteuid() != 0)
        skip();
    assert_outcome(as_it_is, become_nobody, WENT_WELL, 0);
    assert_outcome(as_it_is, become_numbers, WENT_WELL, 0);
    assert_outcome(as_it_is, become_and_bind, WENT_WELL, 0);
    assert_outcome(as_it_is, become_other_from_nobody, DENIED, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_those_listed),
        cmocka_unit_test(calls_that_only_an_attacker_makes_end_the_process),
        cmocka_unit_test(other_calls_are_not_there),
        cmocka_unit_test(what_a_server_does_goes_on),
        cmocka_unit_test(root_becomes_somebody_else),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
