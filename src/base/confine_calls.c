/* System calls: a seccomp filter, by libseccomp. */
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/confine.h"

#ifndef PR_SET_VMA /* glibc names its memory with it */
#define PR_SET_VMA 0x53564d41
#endif

/* By name: an architecture, or a libseccomp, that does not know one goes without it. Files are Landlock's
 * affair. */
static const char *const needed[] = {
    /* files */
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "open", "openat", "close",
    "close_range", "stat", "fstat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2",
    "lseek", "fcntl", "flock", "fsync", "fdatasync", "ftruncate", "truncate", "fallocate", "rename",
    "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "link", "linkat", "readlink",
    "readlinkat", "chmod", "fchmod", "fchmodat", "fchown", "getcwd", "getdents64", "umask", "utimensat",
    "statfs", "fstatfs", "fadvise64", "copy_file_range", "sendfile", "dup", "dup2", "dup3", "pipe", "pipe2",
    /* memory */
    "munmap", "mremap", "madvise", "brk", "mlock", "mlock2", "munlock", "msync", "mincore", "membarrier",
    /* connections */
    "socketpair", "bind", "listen", "accept", "accept4", "connect", "getsockname", "getpeername", "sendto",
    "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg", "setsockopt", "getsockopt", "shutdown", "poll",
    "ppoll", "select", "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2",
    "signalfd4", "timerfd_create", "timerfd_settime",
    /* threads, signals, time */
    "futex", "futex_waitv", "set_robust_list", "get_robust_list", "set_tid_address", "rseq", "exit",
    "exit_group", "sched_yield", "sched_getaffinity", "sched_getparam", "sched_getscheduler", "tgkill",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "rt_sigsuspend", "rt_sigpending",
    "sigaltstack", "restart_syscall", "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres",
    "gettimeofday", "time", "times",
    /* the process; it can only lose what it has */
    "gettid", "getpid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid",
    "getgroups", "setresuid", "setresgid", "capget", "getrusage", "getrlimit", "setrlimit", "prlimit64",
    "getrandom", "uname", "sysinfo", "getcpu"};

/* Of HSMs' libraries: they share memory and locks with a service of theirs. */
static const char *const for_devices[] = {"shmget",     "shmat",  "shmdt", "shmctl",  "semget",  "semop",
                                          "semtimedop", "semctl", "kill",  "openat2", "getdents"};

/* Nothing of ours makes these: whoever tries is somebody else. */
static const char *const hostile[] = {
    /* other programs, other processes */
    "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "perf_event_open",
    /* the kernel and the system */
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "bpf", "userfaultfd",
    "io_uring_setup", "reboot", "swapon", "swapoff", "acct", "iopl", "ioperm", "modify_ldt",
    /* another view of files, other keys */
    "mount", "umount2", "move_mount", "open_tree", "fsopen", "pivot_root", "chroot", "setns", "unshare",
    "open_by_handle_at", "keyctl", "add_key", "request_key"};

/* Allowed with some values of one argument: equal to `value` in the bits of `mask`. */
static const struct {
    const char *name;
    unsigned argument;
    uint64_t mask, value;
} conditional[] = {
    /* no memory that is written and executed, and none that becomes executable */
    {"mmap", 2, PROT_WRITE, 0},
    {"mmap", 2, PROT_EXEC, 0},
    {"mprotect", 2, PROT_EXEC, 0},
    /* threads, no processes */
    {"clone", 0, CLONE_THREAD, CLONE_THREAD},
    {"sched_setscheduler", 1, UINT32_MAX, SCHED_BATCH}, /* behind others only */
    {"socket", 0, UINT32_MAX, AF_UNIX},
    {"socket", 0, UINT32_MAX, AF_INET},
    {"socket", 0, UINT32_MAX, AF_INET6},
    {"socket", 0, UINT32_MAX, AF_NETLINK}, /* getaddrinfo asks which addresses there are */
    {"ioctl", 1, UINT32_MAX, FIONREAD},
    {"ioctl", 1, UINT32_MAX, FIONBIO},
    {"ioctl", 1, UINT32_MAX, TCGETS},
    {"prctl", 0, UINT32_MAX, PR_SET_NAME},
    {"prctl", 0, UINT32_MAX, PR_GET_DUMPABLE},
    {"prctl", 0, UINT32_MAX, PR_SET_DUMPABLE},
    {"prctl", 0, UINT32_MAX, PR_SET_NO_NEW_PRIVS},
    {"prctl", 0, UINT32_MAX, PR_GET_NO_NEW_PRIVS},
    {"prctl", 0, UINT32_MAX, PR_SET_VMA}};

#define COUNT(list) (sizeof(list) / sizeof *(list))

static int add(scmp_filter_ctx filter, uint32_t action, const char *name,
               const struct scmp_arg_cmp *condition) {
    int number = seccomp_syscall_resolve_name(name);
    return number == __NR_SCMP_ERROR
               ? 0
               : seccomp_rule_add_array(filter, action, number, condition != NULL, condition);
}

static int add_all(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t count) {
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = add(filter, action, names[i], NULL);
    return rc;
}

static int fill(scmp_filter_ctx filter, bool devices) {
    const struct scmp_arg_cmp no_typing = {.arg = 1, .op = SCMP_CMP_NE, .datum_a = TIOCSTI};
    int rc = add_all(filter, SCMP_ACT_ALLOW, needed, COUNT(needed));
    if (rc == 0)
        rc = add_all(filter, SCMP_ACT_KILL_PROCESS, hostile, COUNT(hostile));
    for (size_t i = 0; i < COUNT(conditional) && rc == 0; i++) {
        const struct scmp_arg_cmp condition = {.arg = conditional[i].argument,
                                               .op = SCMP_CMP_MASKED_EQ,
                                               .datum_a = conditional[i].mask,
                                               .datum_b = conditional[i].value};
        rc = add(filter, SCMP_ACT_ALLOW, conditional[i].name, &condition);
    }
    if (rc == 0 && devices)
        rc = add_all(filter, SCMP_ACT_ALLOW, for_devices, COUNT(for_devices));
    if (rc == 0 && devices)
        rc = add(filter, SCMP_ACT_ALLOW, "ioctl", &no_typing);
    return rc;
}

bool tr_confine_relaxed(void) {
#ifdef TR_SANITIZED
    return true;
#else
    return false;
#endif
}

/* ENOSYS for all others: glibc and OpenSSL take it for an older kernel, and go another way (clone3, for one,
 * whose flags no filter can see). */
tr_status tr_confine_calls(bool devices, bool *held, tr_error *err) {
    *held = false;
    if (tr_confine_relaxed() || prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0)
        return TR_OK;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (!filter)
        return tr_fail(err, TR_E_NOMEM, NULL, "no memory for the filter of system calls");
    int rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: each call is looked up */
    if (rc == 0)
        rc = fill(filter, devices);
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    *held = rc == 0;
    if (rc == 0)
        return TR_OK;
    errno = -rc;
    return tr_fail_errno(err, NULL, "the filter of system calls does not hold");
}
