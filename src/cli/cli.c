#include "cli/cli.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    tr_status status;
    tr_exit code;
} exit_codes[] = {
    {TR_OK, TR_EXIT_OK},
    {TR_E_CONFIG, TR_EXIT_USAGE},
    {TR_E_WRONG_KEY, TR_EXIT_WRONG_KEY},
    {TR_E_CORRUPT, TR_EXIT_CORRUPT},
    {TR_E_LOCKED, TR_EXIT_LOCKED},
    {TR_E_DISK_FULL, TR_EXIT_STORAGE},
    {TR_E_IO, TR_EXIT_STORAGE},
    {TR_E_HSM, TR_EXIT_HSM},
    {TR_E_SHARES, TR_EXIT_SHARES},
};

tr_exit tr_cli_exit(tr_status status) {
    for (size_t i = 0; i < sizeof exit_codes / sizeof *exit_codes; i++) {
        if (exit_codes[i].status == status)
            return exit_codes[i].code;
    }
    return TR_EXIT_FAILURE;
}

tr_exit tr_cli_report(const tr_error *err) {
    const char *what = err->what[0] ? err->what : tr_status_slug(err->status);
    fprintf(stderr, "tresor: %s%s%s\n", err->where, err->where[0] ? ": " : "", what);
    return tr_cli_exit(err->status);
}

tr_exit tr_cli_usage(const char *format, ...) {
    va_list arguments;
    fputs("tresor: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return TR_EXIT_USAGE;
}

tr_status tr_cli_write(const char *text, size_t len, tr_error *err) {
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return tr_fail_errno(err, "stdout", "cannot write");
        text += n;
        len -= (size_t)n;
    }
    return TR_OK;
}

tr_status tr_cli_write_line(tr_buf *text, tr_status st, tr_error *err) {
    tr_buf_putc(text, '\n');
    if (st == TR_OK)
        st = tr_buf_ok(text, err);
    if (st == TR_OK)
        st = tr_cli_write(text->data, text->len, err);
    tr_buf_clear(text);
    return st;
}

tr_exit tr_cli_print(const char *text, size_t len) {
    tr_error err = {0};
    return tr_cli_write(text, len, &err) == TR_OK ? TR_EXIT_OK : tr_cli_report(&err);
}

static void print_settings(tr_buf *out) {
    size_t count = 0;
    const tr_config_setting *settings = tr_config_settings(&count);
    tr_buf_puts(
        out,
        "\nSettings (flag, else environment variable, else a line in DIR/tresor.conf, else the default):\n");
    for (size_t i = 0; i < count; i++) {
        char flag[64], variable[64];
        size_t n = 0;
        for (const char *c = settings[i].name; *c && n < sizeof flag - 1; c++, n++) {
            flag[n] = *c == '_' ? '-' : *c;
            variable[n] = (char)toupper((unsigned char)*c);
        }
        flag[n] = variable[n] = 0;
        const char *fallback = settings[i].fallback;
        tr_buf_printf(out, "  --%-20s TRESOR_%-20s %s", flag, variable, settings[i].meaning);
        if (fallback && *fallback)
            tr_buf_printf(out, " [%s]", fallback);
        tr_buf_putc(out, '\n');
    }
    tr_buf_puts(out, "The keyring's passphrase itself may be in TRESOR_KEYRING.\n");
}

tr_exit tr_cli_help(const tr_cli_command *command) {
    tr_buf out = TR_BUF_INIT;
    tr_buf_puts(&out, command->help);
    if (command->settings)
        print_settings(&out);
    tr_buf_puts(&out, "\nExit codes:\n");
#define TR_EXIT_LINE(name, code, meaning) tr_buf_printf(&out, "  %d  %s\n", code, meaning);
    TR_EXIT_TABLE(TR_EXIT_LINE)
#undef TR_EXIT_LINE
    tr_exit code = out.failed ? TR_EXIT_FAILURE : tr_cli_print(out.data, out.len);
    tr_buf_clear(&out);
    return code;
}

tr_status tr_cli_listen_split(const char *setting, const char *listen, char *host, size_t size, int *port,
                              tr_error *err) {
    const char *colon = strrchr(listen, ':');
    const char *end = colon;
    const char *start = listen;
    if (!colon || !isdigit((unsigned char)colon[1]))
        return tr_fail(err, TR_E_CONFIG, setting, "is not HOST:PORT");
    if (*start == '[') {
        start++;
        end = colon - 1;
        if (end < start || *end != ']')
            return tr_fail(err, TR_E_CONFIG, setting, "is not [ADDRESS]:PORT");
    } else if (memchr(start, ':', (size_t)(end - start))) {
        return tr_fail(err, TR_E_CONFIG, setting, "an IPv6 address is written [ADDRESS]:PORT");
    }
    char *rest = NULL;
    errno = 0;
    long value = strtol(colon + 1, &rest, 10);
    if (errno || *rest || value > 65535)
        return tr_fail(err, TR_E_CONFIG, setting, "the port is not a number from 0 to 65535");
    size_t len = (size_t)(end - start);
    if (len >= size)
        return tr_fail(err, TR_E_CONFIG, setting, "the host is too long");
    memcpy(host, start, len);
    host[len] = 0;
    *port = (int)value;
    return TR_OK;
}

bool tr_cli_is_loopback(const char *host) {
    struct in_addr v4;
    struct in6_addr v6;
    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

tr_status tr_cli_check_listen(const tr_config *config, tr_error *err) {
    char host[128];
    int port;
    tr_status st = tr_cli_listen_split("listen", config->listen, host, sizeof host, &port, err);
    if (st != TR_OK)
        return st;
    if (config->insecure_http && !tr_cli_is_loopback(host))
        return tr_fail(err, TR_E_CONFIG, "insecure_http", "plain HTTP is served on a loopback address only");
    if (!config->metrics_listen[0])
        return TR_OK;
    st = tr_cli_listen_split("metrics_listen", config->metrics_listen, host, sizeof host, &port, err);
    if (st == TR_OK && !tr_cli_is_loopback(host))
        return tr_fail(err, TR_E_CONFIG, "metrics_listen",
                       "metrics are plain HTTP: on a loopback address only");
    return st;
}

tr_status tr_cli_tls_files(const tr_config *config, tr_cli_tls *tls, tr_error *err) {
    char cert[600] = "", key[600] = "";
    tr_status st = tr_config_path(config, "tls.pem", cert, sizeof cert, err);
    if (st == TR_OK)
        st = tr_config_path(config, "tls.key", key, sizeof key, err);
    tls->cert = config->tls_cert;
    tls->key = config->tls_key;
    tls->self_signed = st == TR_OK && strcmp(tls->cert, cert) == 0 && strcmp(tls->key, key) == 0;
    return st;
}

tr_status tr_cli_passphrase(const tr_config *config, tr_secret *passphrase, tr_error *err) {
    tr_status st = tr_config_passphrase(config, passphrase, err);
    char *variable = getenv("TRESOR_KEYRING");
    if (variable) {
        tr_wipe(variable, strlen(variable));
        unsetenv("TRESOR_KEYRING");
    }
    return st;
}
