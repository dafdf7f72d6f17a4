/* tresor: the one binary. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/secret.h"
#include "cli/cli.h"

/* OpenSSL has two generators in it for each thread, half a KiB. Without room for them it
 * breaks every connection. As much as base/guarded.c spares of what may be locked. */
#define SECRET_HEAP_BYTES ((size_t)1024 * 1024)

static const tr_cli_command *const commands[] = {
    &tr_cli_init, &tr_cli_serve,   &tr_cli_health, &tr_cli_call,    &tr_cli_token,   &tr_cli_audit,
    &tr_cli_keys, &tr_cli_request, &tr_cli_backup, &tr_cli_restore, &tr_cli_version,
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static void print_overview(FILE *to) {
    fputs("tresor: a vault for personal data\n\nUsage: tresor COMMAND [OPTION...]\n\nCommands:\n", to);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-9s %s\n", commands[i]->name, commands[i]->meaning);
    fputs("\n`tresor COMMAND --help` says more.\n", to);
}

static const tr_cli_command *find_command(const char *name) {
    if (strcmp(name, "--version") == 0)
        return &tr_cli_version;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    return NULL;
}

/* Is help asked for? Looks no further than "--", behind which everything is an argument. */
static bool wants_help(int argc, char **argv) {
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return true;
    }
    return false;
}

/* A closed stdin, stdout or stderr would be the number of the next file opened, a database even, and take our
 * prints. */
static bool open_standard_streams(void) {
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    return fd >= 0 && close(fd) == 0;
}

int main(int argc, char **argv) {
    if (!open_standard_streams())
        return TR_EXIT_FAILURE;
    if (argc < 2) {
        print_overview(stderr);
        return TR_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_overview(stdout);
        return fflush(stdout) == 0 ? TR_EXIT_OK : TR_EXIT_STORAGE;
    }
    const tr_cli_command *command = find_command(argv[1]);
    if (!command)
        return tr_cli_usage("there is no command of this name; see `tresor --help`");
    if (wants_help(argc - 2, argv + 2))
        return tr_cli_help(command);

    /* Before any thread starts and before any file is made. Log lines go to stderr, so that stdout holds a
     * command's result alone; serve turns that round. */
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    tr_log_set_fd(2);
    tr_error err = {0};
    if (tr_secret_init_heap(SECRET_HEAP_BYTES, &err) != TR_OK)
        return tr_cli_report(&err);
    return command->run(argc - 2, argv + 2);
}
