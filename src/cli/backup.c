/* tresor backup: make a snapshot, or prove that it can be restored. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/json_write.h"
#include "base/log.h"
#include "cli/backup_verify.h"
#include "cli/cli.h"
#include "cli/connection.h"
#include "cli/exchange.h"
#include "cli/options.h"
#include "cli/unlock.h"
#include "vault/drill.h"
#include "vault/snapshots.h"

static const char help[] =
    "Make a snapshot, or prove that one can be restored.\n"
    "\n"
    "Usage: tresor backup [--to DIR] [--incremental] [OPTION...] [SETTING...]\n"
    "       tresor backup drill [OPTION...] [SETTING...]\n"
    "       tresor backup verify FILE|ID [--scratch DIR] [--share-file FILE]... [SETTING...]\n"
    "\n"
    "Beside a running server of the data folder it asks that one for it, with the session of an operator "
    "(`tresor token sign-in`):\n"
    "the snapshot goes to the server's own backup. Else it makes it itself, into DIR, backup_dir or "
    "backup_s3_url, and removes those that\n"
    "backup_keep_* do not name. DIR must be there, and be this vault's alone. Prints the snapshot as JSON.\n"
    "\n"
    "drill restores the newest snapshot, with the log behind it and the copy of the keys, into a scratch "
    "folder "
    "in the data\n"
    "folder, looks through it (the databases, the audit log, the erasure ledger, keys and payloads, counts) "
    "and "
    "removes it;\n"
    "likewise beside a server or without one. Prints the result as JSON; exits with another code than 0 when "
    "it "
    "failed.\n"
    "\n"
    "verify reads the file whole, restores it into a scratch folder, which is removed afterwards, and checks "
    "each "
    "page, the\n"
    "databases' structure and the audit log. The keyring is that of the data folder where there is one, else "
    "the "
    "one beside the\n"
    "file or above it. With an ID it is that snapshot in backup_dir or in the store, and the keyring there. "
    "Prints {\"ok\",\"id\",\"kind\",\"created_at\",\"pages\",\"reason\"}; exits with 4 "
    "when it is "
    "damaged.\n"
    "\n"
    "  --to DIR           the backup folder [backup_dir or backup_s3_url]\n"
    "  --incremental      only what changed since the snapshot before; a full one where there is none to put "
    "it upon\n"
    "  --scratch DIR      a folder that is not there yet, on a disk with as much room [beside FILE; "
    "ID.scratch]\n"
    "  --share-file FILE  a share of a split keyring; without it they are read from stdin, one a line\n"
    "  --session FILE     beside a server: the session file [TRESOR_SESSION, else ~/.tresor-session]\n"
    "  --url URL          the server [the session's, else https://127.0.0.1:8443]\n"
    "  --ca FILE          the certificate or authority to trust [the session's, else DIR/tls.pem]\n"
    "  --timeout SECONDS  give a silent connection up after so long [60]\n";

/* ---- beside a server ---- */

/* `json` NULL: no body. */
static tr_status ask(tr_connection *c, const char *method, const char *path, const char *json, cJSON **answer,
                     long *status, tr_error *err) {
    tr_exchange_answer got = TR_EXCHANGE_ANSWER_INIT;
    tr_cli_body body = TR_CLI_NO_BODY;
    tr_exchange exchange = {.session = c->session, .client = c->client, .method = method, .path = path};
    if (json) {
        body.text = json;
        body.len = (int64_t)strlen(json);
        exchange.body = &body;
        exchange.content_type = "application/json";
    }
    cJSON_Delete(*answer);
    *answer = NULL;
    tr_status st = tr_exchange_run(&exchange, &got, err);
    *status = got.response.status;
    if (st == TR_OK)
        st = tr_json_parse(got.text.data ? got.text.data : "", got.text.len, answer, err);
    if (st == TR_OK && *status / 100 != 2) {
        const char *detail = tr_json_string(*answer, "detail");
        st = tr_fail(err, *status == 401 || *status == 403 ? TR_E_CREDENTIALS : TR_E_IO, NULL,
                     "the server refused: %ld: %.160s", *status, detail ? detail : "no reason given");
    }
    tr_exchange_answer_clear(&got);
    return st;
}

static bool is_running(const cJSON *snapshot) {
    const char *state = tr_json_string(snapshot, "state");
    return state && strcmp(state, "running") == 0;
}

static tr_status wait_for_end(tr_connection *c, cJSON **snapshot, tr_error *err) {
    const struct timespec second = {.tv_sec = 1};
    char path[80];
    long status = 0;
    const char *id = tr_json_string(*snapshot, "id");
    tr_status st = id ? TR_OK : tr_fail(err, TR_E_IO, NULL, "the server's answer names no snapshot");
    (void)snprintf(path, sizeof path, "/v1/snapshots/%.40s", id ? id : "");
    while (st == TR_OK && is_running(*snapshot)) {
        nanosleep(&second, NULL);
        st = ask(c, "GET", path, NULL, snapshot, &status, err);
    }
    const char *state = st == TR_OK ? tr_json_string(*snapshot, "state") : NULL;
    const char *reason = st == TR_OK ? tr_json_string(*snapshot, "reason") : NULL;
    if (st == TR_OK && (!state || strcmp(state, "good") != 0))
        st = tr_fail(err, TR_E_IO, NULL, "the snapshot failed: %.160s", reason ? reason : "no reason given");
    return st;
}

static tr_status print(const cJSON *snapshot, tr_error *err) {
    tr_buf out = TR_BUF_INIT;
    tr_status st = tr_json_print(snapshot, &out, err);
    return tr_cli_write_line(&out, st, err);
}

static tr_status by_server(const tr_connection_options *options, tr_snapshot_want want, tr_error *err) {
    tr_connection connection;
    cJSON *snapshot = NULL;
    long status = 0;
    memset(&connection, 0, sizeof connection);
    tr_status st = tr_connection_open(options, false, &connection, err);
    if (st == TR_OK)
        st = ask(&connection, "POST", "/v1/snapshots",
                 want == TR_WANT_INCREMENTAL ? "{\"kind\":\"incremental\"}" : NULL, &snapshot, &status, err);
    if (st == TR_OK)
        st = wait_for_end(&connection, &snapshot, err);
    if (st == TR_OK)
        st = print(snapshot, err);
    cJSON_Delete(snapshot);
    tr_connection_close(&connection);
    return st;
}

/* A snapshot's state is asked for by its id, a drill's is in the list. */
static tr_status drill_by_server(const tr_connection_options *options, tr_error *err) {
    const struct timespec second = {.tv_sec = 1};
    tr_connection connection;
    cJSON *answer = NULL;
    long status = 0;
    memset(&connection, 0, sizeof connection);
    tr_status st = tr_connection_open(options, false, &connection, err);
    if (st == TR_OK)
        st = ask(&connection, "POST", "/v1/snapshots/drill", NULL, &answer, &status, err);
    const cJSON *drill = answer;
    while (st == TR_OK && is_running(drill)) {
        nanosleep(&second, NULL);
        st = ask(&connection, "GET", "/v1/snapshots", NULL, &answer, &status, err);
        drill = tr_json_member(answer, "drill");
    }
    if (st == TR_OK)
        st = print(drill, err);
    const char *state = st == TR_OK ? tr_json_string(drill, "state") : NULL;
    const char *reason = st == TR_OK ? tr_json_string(drill, "reason") : NULL;
    if (st == TR_OK && (!state || strcmp(state, "good") != 0))
        st =
            tr_fail(err, TR_E_CORRUPT, NULL, "the drill failed: %.160s", reason ? reason : "no reason given");
    cJSON_Delete(answer);
    tr_connection_close(&connection);
    return st;
}

/* ---- without one ---- */

static tr_status print_item(const tr_snapshot_item *item, tr_error *err) {
    tr_buf out = TR_BUF_INIT;
    tr_jw_open(&out, NULL, '{');
    tr_jw_uuid(&out, "id", &item->head.id);
    tr_jw_text(&out, "state", item->spooled ? "spooled" : "good");
    tr_jw_text(&out, "kind", tr_snapshot_kind_name(item->head.kind));
    tr_jw_time(&out, "created_at", item->head.created_ms);
    tr_jw_number(&out, "bytes", item->bytes);
    tr_jw_close(&out, '}');
    return tr_cli_write_line(&out, TR_OK, err);
}

/* The lock is the vault's from here on. */
static tr_status open_vault(const tr_config *config, int lock, const tr_option_list *shares, tr_vault **vault,
                            tr_error *err) {
    tr_secret passphrase = TR_SECRET_INIT;
    tr_status st = tr_cli_unlock(config, shares, &passphrase, err);
    *vault = NULL;
    if (st == TR_OK)
        st = tr_vault_open_locked(config, lock, &passphrase, vault, err);
    else
        tr_vault_unlock(lock);
    tr_secret_clear(&passphrase);
    return st;
}

static tr_status by_ourselves(const tr_config *config, int lock, const tr_option_list *shares,
                              tr_snapshot_want want, tr_error *err) {
    const tr_uuid id = tr_uuid_new();
    tr_vault *vault = NULL;
    tr_snapshot_item item;
    tr_status st = open_vault(config, lock, shares, &vault, err);
    if (st == TR_OK)
        st = tr_snapshots_make(vault, want, &id, err);
    if (st == TR_OK)
        st = tr_snapshots_get(vault, &id, &item, err);
    if (st == TR_OK)
        st = print_item(&item, err);
    tr_vault_close(vault);
    return st;
}

static tr_status drill_by_ourselves(const tr_config *config, int lock, const tr_option_list *shares,
                                    tr_error *err) {
    tr_buf out = TR_BUF_INIT;
    tr_vault *vault = NULL;
    tr_drill drill;
    tr_error why = {0};
    tr_status st = open_vault(config, lock, shares, &vault, &why);
    if (vault)
        st = tr_snapshots_drill(vault, &why);
    if (vault && tr_drill_last(vault, &drill)) {
        tr_drill_json(&out, NULL, &drill);
        tr_status printed = tr_cli_write_line(&out, TR_OK, err);
        st = st == TR_OK ? printed : st;
    }
    if (st != TR_OK && why.status == st)
        *err = why;
    tr_vault_close(vault);
    return st;
}

static tr_status make(tr_config *config, const char *to, const tr_connection_options *options,
                      const tr_option_list *shares, tr_snapshot_want want, tr_error *err) {
    int lock = -1;
    tr_status st = tr_cli_has_vault(config, err);
    if (st == TR_OK)
        st = tr_vault_lock(config, &lock, err);
    if (st == TR_E_LOCKED && to)
        return tr_fail(err, st, "--to",
                       "a server has the data folder, and writes to its own backup_dir only");
    if (st == TR_E_LOCKED)
        return by_server(options, want, err);
    if (st != TR_OK)
        return st;
    if (to && (size_t)snprintf(config->backup_dir, sizeof config->backup_dir, "%s", to) >=
                  sizeof config->backup_dir)
        st = tr_fail(err, TR_E_CONFIG, "--to", "the folder's name is too long");
    if (to)
        config->backup_s3_url[0] = '\0';
    if (st == TR_OK && !tr_config_has_backup(config))
        st = tr_fail(err, TR_E_CONFIG, "--to", "names no folder, and the setting backup_dir neither");
    if (st == TR_OK)
        return by_ourselves(config, lock, shares, want, err);
    tr_vault_unlock(lock);
    return st;
}

static tr_exit run_make(int argc, char **argv) {
    tr_connection_options connection = {.url = NULL};
    tr_option_list shares = {.count = 0};
    const char *to = NULL;
    bool incremental = false;
    const tr_option options[] = {{.name = "--to", .value = &to},
                                 {.name = "--incremental", .set = &incremental},
                                 {.name = "--share-file", .list = &shares},
                                 {.name = "--session", .value = &connection.session},
                                 {.name = "--url", .value = &connection.url},
                                 {.name = "--ca", .value = &connection.ca},
                                 {.name = "--timeout", .value = &connection.timeout}};
    tr_command_line line = {.options = options,
                            .option_count = sizeof options / sizeof *options,
                            .usage = "tresor backup [--to DIR] [OPTION...] [SETTING...]"};
    tr_config config;
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, &config, &err);
    connection.data = config.data;
    if (st == TR_OK)
        st = make(&config, to, &connection, &shares, incremental ? TR_WANT_INCREMENTAL : TR_WANT_FULL, &err);
    return st == TR_OK ? TR_EXIT_OK : tr_cli_report(&err);
}

/* ---- drill ---- */

static tr_status drill(const tr_config *config, const tr_connection_options *options,
                       const tr_option_list *shares, tr_error *err) {
    int lock = -1;
    tr_status st = tr_cli_has_vault(config, err);
    if (st == TR_OK)
        st = tr_vault_lock(config, &lock, err);
    if (st == TR_E_LOCKED)
        return drill_by_server(options, err);
    if (st != TR_OK)
        return st;
    if (tr_config_has_backup(config))
        return drill_by_ourselves(config, lock, shares, err);
    tr_vault_unlock(lock);
    return tr_fail(err, TR_E_CONFIG, "backup_dir", "names no folder, and backup_s3_url no store");
}

static tr_exit run_drill(int argc, char **argv) {
    tr_connection_options connection = {.url = NULL};
    tr_option_list shares = {.count = 0};
    const tr_option options[] = {{.name = "--share-file", .list = &shares},
                                 {.name = "--session", .value = &connection.session},
                                 {.name = "--url", .value = &connection.url},
                                 {.name = "--ca", .value = &connection.ca},
                                 {.name = "--timeout", .value = &connection.timeout}};
    tr_command_line line = {.options = options,
                            .option_count = sizeof options / sizeof *options,
                            .usage = "tresor backup drill [OPTION...] [SETTING...]"};
    tr_config config;
    tr_error err = {0};
    tr_status st = tr_options_read(argc, argv, &line, &config, &err);
    connection.data = config.data;
    if (st == TR_OK)
        st = drill(&config, &connection, &shares, &err);
    return st == TR_OK ? TR_EXIT_OK : tr_cli_report(&err);
}

static int run(int argc, char **argv) {
    tr_log_set_fd(-1); /* what went wrong is the command's to say */
    if (argc > 0 && strcmp(argv[0], "verify") == 0)
        return tr_cli_backup_verify(argc - 1, argv + 1);
    if (argc > 0 && strcmp(argv[0], "drill") == 0)
        return run_drill(argc - 1, argv + 1);
    return run_make(argc, argv);
}

const tr_cli_command tr_cli_backup = {
    .name = "backup",
    .meaning = "make a snapshot, verify one, or try a restore",
    .help = help,
    .settings = true,
    .run = run,
};
