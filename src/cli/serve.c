/* tresor serve: open the vault and answer until a signal says otherwise. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/confinement.h"
#include "cli/first_start.h"
#include "cli/options.h"
#include "cli/unlock.h"
#include "cli/unseal.h"
#include "http/server.h"
#include "vault/audit.h"
#include "vault/deadline.h"
#include "vault/outbox.h"
#include "vault/snapshots.h"
#include "vault/vault.h"

#define SWEEP_SECONDS   60
#define DRAIN_STEP_MS   200
#define METRICS_THREADS 4

static const char help[] =
    "Serve the vault in the data folder.\n"
    "\n"
    "Usage: tresor serve [--check | --routes] [SETTING...]\n"
    "\n"
    "  --check            do not serve: look at the settings, the folder, the keyring, the databases, the "
    "certificate and\n"
    "                     the address, print a line for each problem, or \"ok\", and exit with the first "
    "one's code\n"
    "  --routes           do not serve: print the API's route table as JSON\n"
    "\n"
    "The log goes to stdout, one JSON object a line; {\"event\":\"listening\",\"address\",\"port\"} says "
    "that it serves.\n"
    "SIGHUP takes the certificate and its key anew. SIGTERM and SIGINT end it: /readyz answers 503, running "
    "requests are\n"
    "answered, for up to drain_timeout_ms; a second one ends that wait.\n"
    "With a split keyring it begins sealed: it answers nothing at all, /healthz neither, but waits for "
    "shares by "
    "`tresor keys\n"
    "unseal` and logs {\"event\":\"sealed\",\"needed\":K}; it serves when the last one that is needed has "
    "come.\n"
    "Without tls_cert and tls_key a self-signed certificate is made in DIR/tls.pem at the first start.\n";

/* ---- the sweeper: what has expired is deleted every minute ---- */

typedef struct sweeper {
    tr_vault *vault;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool started, stop;
    bool woken; /* there is work: do not wait */
} sweeper;

/* True: there is more to do at once. */
static bool sweep(tr_vault *vault) {
    tr_error err = {0};
    bool more = false;
    if (tr_vault_sweep(vault, &more, &err) != TR_OK)
        tr_log(TR_LOG_WARN, "sweep.failed", TR_F_TEXT("status", tr_status_slug(err.status)),
               TR_F_TEXT("reason", err.what));
    return more;
}

/* Wait for a minute, or until there is work. False: it is time to stop. */
static bool wait_a_minute(sweeper *s) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += SWEEP_SECONDS;
    pthread_mutex_lock(&s->mutex);
    while (!s->stop && !s->woken && pthread_cond_timedwait(&s->wake, &s->mutex, &until) == 0) {
    }
    bool go_on = !s->stop;
    s->woken = false;
    pthread_mutex_unlock(&s->mutex);
    return go_on;
}

static void sweeper_wake(void *context) {
    sweeper *s = context;
    pthread_mutex_lock(&s->mutex);
    s->woken = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mutex);
}

static void *sweeper_main(void *context) {
    sweeper *s = context;
    do {
        if (sweep(s->vault))
            sweeper_wake(s);
    } while (wait_a_minute(s));
    return NULL;
}

static tr_status sweeper_start(sweeper *s, tr_vault *vault, tr_error *err) {
    s->vault = vault;
    tr_status st = tr_monotonic_cond(&s->wake, err);
    if (st != TR_OK)
        return st;
    pthread_mutex_init(&s->mutex, NULL);
    tr_vault_set_wake(vault, sweeper_wake, s);
    s->started = pthread_create(&s->thread, NULL, sweeper_main, s) == 0;
    return s->started ? TR_OK : tr_fail(err, TR_E_INTERNAL, NULL, "no thread for the sweeper");
}

static void sweeper_stop(sweeper *s) {
    if (!s->started)
        return;
    tr_vault_end_sweep(s->vault);
    pthread_mutex_lock(&s->mutex);
    s->stop = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->mutex);
}

/* ---- the service ---- */

typedef struct service {
    const tr_config *config;
    tr_vault *vault;
    tr_api *api;
    tr_http_server *server, *metrics;
    sweeper sweeper;
} service;

/* The api layer does not know the http layer, whose counters belong to /metrics too. */
static void handle_metrics(void *context, tr_request *request, tr_response *response) {
    const service *s = context;
    tr_http_stats stats = {0};
    tr_api_handle_metrics(s->api, request, response);
    if (response->status != 200 || strcmp(request->path, "/metrics") != 0)
        return;
    tr_http_get_stats(s->server, &stats);
    tr_buf_printf(
        &response->body,
        "# HELP tresor_http_connections_total Connections taken.\n"
        "# TYPE tresor_http_connections_total counter\n"
        "tresor_http_connections_total %llu\n"
        "# HELP tresor_http_requests_total Requests taken, those that are no HTTP included.\n"
        "# TYPE tresor_http_requests_total counter\n"
        "tresor_http_requests_total %llu\n"
        "# HELP tresor_http_active_requests Requests that are running.\n"
        "# TYPE tresor_http_active_requests gauge\n"
        "tresor_http_active_requests %d\n"
        "# HELP tresor_http_waiting_connections Connections that wait for a thread, or have said nothing "
        "whole yet.\n"
        "# TYPE tresor_http_waiting_connections gauge\n"
        "tresor_http_waiting_connections %d\n"
        "# HELP tresor_http_dropped_connections_total Of them those closed without an answer: too slow, or "
        "too many.\n"
        "# TYPE tresor_http_dropped_connections_total counter\n"
        "tresor_http_dropped_connections_total %llu\n"
        "# HELP tresor_http_shed_connections_total Connections answered 503 because no thread was free.\n"
        "# TYPE tresor_http_shed_connections_total counter\n"
        "tresor_http_shed_connections_total %llu\n",
        (unsigned long long)stats.connections, (unsigned long long)stats.requests, stats.active,
        stats.lobby.waiting, (unsigned long long)stats.lobby.dropped, (unsigned long long)stats.lobby.shed);
}

/* What opens the keyring, and who gave it where several people must: *opened_by is "" otherwise. A signal may
 * end their wait first. */
static tr_status unlock(const tr_config *config, const sigset_t *signals, tr_secret *passphrase,
                        char opened_by[TR_UNSEAL_BY], int *stopped, tr_error *err) {
    tr_keyring_need need;
    tr_status st = tr_vault_check_moved(config, err);
    if (st == TR_OK)
        st = tr_vault_ring_need(config, &need, err);
    if (st != TR_OK)
        return st;
    return strcmp(need.provider, "split") == 0
               ? tr_unseal_wait(config, &need, signals, passphrase, opened_by, stopped, err)
               : tr_cli_passphrase(config, passphrase, err);
}

static tr_status log_unseal(tr_vault *vault, const char *opened_by, tr_error *err) {
    tr_event event = {.at = tr_now_ms(), .action = "vault.unseal", .outcome = TR_OK, .detail = opened_by};
    return opened_by[0] ? tr_event_write(tr_vault_store(vault), &event, err) : TR_OK;
}

static tr_status make_vault(const tr_config *config, tr_error *err) {
    bool made = false;
    tr_status st = config->init ? tr_first_start(config, &made, err) : TR_OK;
    if (made)
        tr_log(TR_LOG_INFO, "vault.made", TR_F_TEXT("credentials", TR_FIRST_CREDENTIALS));
    return st;
}

static tr_status open_vault(service *s, const sigset_t *signals, int *stopped, tr_error *err) {
    char opened_by[TR_UNSEAL_BY] = "";
    int lock = -1;
    tr_secret passphrase = TR_SECRET_INIT;
    tr_status st = TR_OK;
    *stopped = 0;
    TR_TRY(make_vault(s->config, err));
    TR_TRY(tr_cli_has_vault(s->config, err));
    TR_TRY(tr_vault_lock(s->config, &lock, err));
    TR_TRY(unlock(s->config, signals, &passphrase, opened_by, stopped, err));
    if (*stopped)
        goto out;
    TR_TRY(tr_cli_confine(s->config, err));
    st = tr_vault_open_locked(s->config, lock, &passphrase, &s->vault, err);
    lock = -1; /* the vault's */
    if (st == TR_OK)
        st = log_unseal(s->vault, opened_by, err);
    if (st == TR_OK)
        st = tr_api_new(s->vault, &s->api, err);
out:
    tr_secret_clear(&passphrase);
    tr_vault_unlock(lock);
    return st;
}

static tr_status listen_on(const tr_http_options *options, const char *name, tr_http_server **server,
                           tr_error *err) {
    char host[128];
    int port;
    tr_status st = tr_cli_listen_split("listen", options->listen, host, sizeof host, &port, err);
    if (st == TR_OK)
        st = tr_http_start(options, server, err);
    if (st == TR_OK)
        tr_log(TR_LOG_INFO, "listening", TR_F_TEXT("listener", name), TR_F_TEXT("address", host),
               TR_F_NUM("port", tr_http_port(*server)), TR_F_BOOL("tls", options->tls));
    return st;
}

static tr_status start_listeners(service *s, tr_error *err) {
    const tr_config *config = s->config;
    tr_cli_tls tls;
    bool made = false;
    tr_status st = tr_cli_tls_files(config, &tls, err);
    if (st == TR_OK && !config->insecure_http && tls.self_signed)
        st = tr_tls_self_signed(tls.cert, tls.key, &made, err);
    if (st != TR_OK)
        return st;
    if (made)
        tr_log(TR_LOG_INFO, "tls.self_signed", TR_F_TEXT("file", tls.cert));
    tr_http_options options = {.listen = config->listen,
                               .tls = !config->insecure_http,
                               .cert_file = tls.cert,
                               .key_file = tls.key,
                               .threads = (int)config->threads,
                               .request_timeout_ms = config->request_timeout_ms,
                               .idle_timeout_ms = config->idle_timeout_ms,
                               .handler = tr_api_handle,
                               .context = s->api};
    st = listen_on(&options, "api", &s->server, err);
    if (st != TR_OK || !config->metrics_listen[0])
        return st;
    options.listen = config->metrics_listen;
    options.tls = false;
    options.threads = METRICS_THREADS;
    options.handler = handle_metrics;
    options.context = s;
    return listen_on(&options, "metrics", &s->metrics, err);
}

/* ---- signals ---- */

static void watched_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

static void reload_tls(const service *s) {
    tr_error err = {0};
    if (s->config->insecure_http)
        return;
    if (tr_http_reload_tls(s->server, &err) == TR_OK)
        tr_log(TR_LOG_INFO, "tls.reloaded", TR_F_TEXT("file", s->config->tls_cert));
    else
        tr_log(TR_LOG_ERROR, "tls.reload_failed", TR_F_TEXT("file", err.where),
               TR_F_TEXT("reason", err.what));
}

static void log_stopping(int sig) {
    tr_log(TR_LOG_INFO, "stopping", TR_F_TEXT("signal", sig == SIGTERM ? "SIGTERM" : "SIGINT"));
}

static void serve_until_told(const service *s, const sigset_t *set) {
    int sig = 0;
    for (;;) {
        if (sigwait(set, &sig) != 0)
            continue;
        if (sig != SIGHUP)
            break;
        reload_tls(s);
    }
    log_stopping(sig);
}

/* Did another SIGTERM or SIGINT come? */
static bool told_again(const sigset_t *set) {
    const struct timespec at_once = {0, 0};
    int sig = sigtimedwait(set, NULL, &at_once);
    return sig == SIGTERM || sig == SIGINT;
}

static void drain(const service *s, const sigset_t *set) {
    int64_t until = tr_monotonic_ms() + s->config->drain_timeout_ms;
    int running = 0;
    bool hurry = false;
    tr_api_set_draining(s->api);
    for (;;) {
        int64_t left = until - tr_monotonic_ms();
        running = tr_http_drain(s->server, left < 0 ? 0 : left < DRAIN_STEP_MS ? left : DRAIN_STEP_MS);
        if (running == 0 || left <= 0 || (hurry = told_again(set)))
            break;
    }
    tr_log(running ? TR_LOG_WARN : TR_LOG_INFO, "drained", TR_F_NUM("running", running),
           TR_F_BOOL("cut_short", hurry));
}

/* ---- all ---- */

static void stop(service *s) {
    if (s->metrics) /* asks the other one for its counters */
        tr_http_stop(s->metrics);
    if (s->server)
        tr_http_stop(s->server);
    sweeper_stop(&s->sweeper);
    if (s->api)
        tr_api_free(s->api);
    tr_vault_close(s->vault);
}

static tr_status serve(const tr_config *config, tr_error *err) {
    service s = {.config = config};
    sigset_t set;
    int stopped = 0;
    tr_status st = TR_OK;
    /* Before any thread starts: all inherit it, and the signals wait for sigwait. */
    watched_signals(&set);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return tr_fail(err, TR_E_INTERNAL, NULL, "the signals cannot be blocked");
    st = tr_deadline_zone(config->time_zone, err); /* also before any thread */
    if (st != TR_OK)
        return st;
    tr_log(TR_LOG_INFO, "starting", TR_F_TEXT("version", TRESOR_VERSION), TR_F_TEXT("data", config->data));
    if (!tr_secret_heap_locked())
        tr_log(TR_LOG_WARN, "secrets.not_locked",
               TR_F_TEXT("reason", "mlock was refused: raise RLIMIT_MEMLOCK"));
    TR_TRY(tr_cli_check_listen(config, err));
    TR_TRY(tr_cli_become(config, err));
    TR_TRY(open_vault(&s, &set, &stopped, err));
    if (stopped) {
        log_stopping(stopped);
        goto out;
    }
    TR_TRY(sweeper_start(&s.sweeper, s.vault, err));
    TR_TRY(tr_snapshots_ship(s.vault, err));
    TR_TRY(tr_outbox_start(s.vault, err));
    TR_TRY(start_listeners(&s, err));
    TR_TRY(tr_cli_become_finish(config, err));
    serve_until_told(&s, &set);
    drain(&s, &set);
out:
    stop(&s);
    if (st == TR_OK)
        tr_log(TR_LOG_INFO, "stopped", TR_F_NUM("exit", 0));
    return st;
}

static tr_exit print_routes(void) {
    tr_buf out = TR_BUF_INIT;
    tr_error err = {0};
    tr_status st = tr_api_routes_json(&out, &err);
    tr_buf_putc(&out, '\n');
    if (st == TR_OK)
        st = tr_buf_ok(&out, &err);
    tr_exit code = st == TR_OK ? tr_cli_print(out.data, out.len) : tr_cli_report(&err);
    tr_buf_clear(&out);
    return code;
}

/* Bodies of megabytes come and go. What is larger than a few pages is mapped for itself and the system's
 * again when it is freed; left alone, glibc takes the first such body for a sign that more will come, and
 * keeps room for them in each of its arenas, of which it makes eight for each processor. */
static void give_memory_back(void) {
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    (void)mallopt(M_ARENA_MAX, processors > 0 && processors < 64 ? 2 * (int)processors : 128);
    (void)mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
}

static int run(int argc, char **argv) {
    bool check = false, routes = false;
    const tr_option options[] = {{.name = "--check", .set = &check}, {.name = "--routes", .set = &routes}};
    tr_command_line line = {.options = options,
                            .option_count = sizeof options / sizeof *options,
                            .usage = "tresor serve [--check | --routes] [SETTING...]"};
    tr_config config;
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, &config, &err);
    for (int i = 0; i < argc; i++) /* where the settings are wrong, they were read no further */
        check = check || strcmp(argv[i], "--check") == 0;
    if (check)
        return tr_cli_check(st == TR_OK ? &config : NULL, &err);
    if (st == TR_OK && routes)
        return print_routes();
    if (st == TR_OK) {
        give_memory_back();
        tr_log_set_fd(1);
        tr_log_set_level(config.log_level);
        st = serve(&config, &err);
    }
    return st == TR_OK ? TR_EXIT_OK : tr_cli_report(&err);
}

const tr_cli_command tr_cli_serve = {
    .name = "serve",
    .meaning = "serve the vault",
    .help = help,
    .settings = true,
    .run = run,
};
