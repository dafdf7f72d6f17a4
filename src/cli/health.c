/* tresor health: is the server ready? For a container's HEALTHCHECK. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/fetch.h"
#include "cli/options.h"

#define ANSWER_MAX 4096

static const char help[] =
    "Ask the server whether it is ready, print its answer, and say so by the exit code.\n"
    "\n"
    "Usage: tresor health [OPTION...] [SETTING...]\n"
    "\n"
    "  --url URL          the server [as the setting listen says, on this machine]\n"
    "  --ca FILE          the certificate or authority to trust [the setting tls_cert, where the file is]\n"
    "  --live             ask only whether it answers (/healthz), not whether it is ready (/readyz)\n"
    "  --timeout SECONDS  [5]\n";

struct arguments {
    const char *url, *ca, *timeout;
    bool live;
};

/* Where a server with these settings is reached from this machine. */
static tr_status own_url(const tr_config *config, char *url, size_t size, tr_error *err) {
    char host[128];
    int port;
    tr_status st = tr_cli_listen_split("listen", config->listen, host, sizeof host, &port, err);
    if (st != TR_OK)
        return st;
    if (port == 0)
        return tr_fail(err, TR_E_CONFIG, "listen", "has port 0: give --url");
    const char *to = strcmp(host, "0.0.0.0") == 0 || host[0] == '\0' ? "127.0.0.1"
                     : strcmp(host, "::") == 0                       ? "::1"
                                                                     : host;
    bool v6 = strchr(to, ':') != NULL;
    snprintf(url, size, "%s://%s%s%s:%d", config->insecure_http ? "http" : "https", v6 ? "[" : "", to,
             v6 ? "]" : "", port);
    return TR_OK;
}

static tr_status ask(const struct arguments *a, const tr_config *config, long seconds, tr_buf *text,
                     long *status, tr_error *err) {
    char url[256], room[PATH_MAX];
    tr_client_options options = {.url = a->url ? a->url : url};
    tr_status st = TR_OK;
    if (!a->url)
        TR_TRY(own_url(config, url, sizeof url, err));
    if (a->ca)
        TR_TRY(tr_client_authority(a->ca, config->data, room, sizeof room, &options.ca, err));
    else if (tr_client_authority(config->tls_cert, config->data, room, sizeof room, &options.ca, NULL) !=
             TR_OK)
        options.ca = NULL;
    /* The certificate's name is the one that others call this server by, not this machine's loopback address.
     * The file that is trusted is the server's own, and nothing secret is sent. */
    options.any_name = !a->url;
    options.connect_seconds = options.quiet_seconds = seconds;
    st = tr_fetch(&options, a->live ? "/healthz" : "/readyz", ANSWER_MAX, text, status, err);
out:
    return st;
}

static int run(int argc, char **argv) {
    struct arguments a = {0};
    const tr_option options[] = {{.name = "--url", .value = &a.url},
                                 {.name = "--ca", .value = &a.ca},
                                 {.name = "--timeout", .value = &a.timeout},
                                 {.name = "--live", .set = &a.live}};
    tr_command_line line = {.options = options,
                            .option_count = sizeof options / sizeof *options,
                            .usage = "tresor health [OPTION...] [SETTING...]"};
    tr_config config;
    tr_buf text = TR_BUF_INIT;
    tr_error err = {0};
    long status = 0, seconds = 5;
    tr_status st = tr_options_read(argc, argv, &line, &config, &err);
    if (st == TR_OK && a.timeout)
        st = tr_option_number("--timeout", a.timeout, 1, 3600, &seconds, &err);
    if (st != TR_OK)
        return tr_cli_report(&err);
    st = ask(&a, &config, seconds, &text, &status, &err);
    tr_buf_putc(&text, '\n');
    if (st == TR_OK)
        st = tr_buf_ok(&text, &err);
    if (st == TR_OK)
        st = tr_cli_write(text.data, text.len, &err);
    tr_buf_clear(&text);
    if (st != TR_OK)
        (void)tr_cli_report(&err);
    return st == TR_OK && status == 200 ? TR_EXIT_OK
                                        : TR_EXIT_FAILURE; /* whatever it is, it is not healthy */
}

const tr_cli_command tr_cli_health = {
    .name = "health",
    .meaning = "ask a running server whether it is ready",
    .help = help,
    .settings = true,
    .run = run,
};
