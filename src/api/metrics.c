/* The metrics listener: Prometheus text (exposition format 0.0.4), health and readiness. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/resources.h"
#include "base/clock.h"
#include "vault/drill.h"
#include "vault/keys.h"
#include "vault/outbox.h"

static void head(tr_buf *out, const char *name, const char *kind, const char *help) {
    tr_buf_printf(out, "# HELP tresor_%s %s\n# TYPE tresor_%s %s\n", name, help, name, kind);
}

static void one(tr_buf *out, const char *name, const char *kind, const char *help, int64_t value) {
    head(out, name, kind, help);
    tr_buf_printf(out, "tresor_%s %lld\n", name, (long long)value);
}

/* Resident memory in bytes, from /proc. */
static int64_t resident_bytes(void) {
    long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%ld %ld", &total, &resident) != 2)
        resident = 0;
    (void)fclose(file);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

static void store_metrics(tr_buf *out, const tr_store_stats *s) {
    one(out, "store_groups_total", "counter", "Group commits.", (int64_t)s->groups);
    one(out, "store_jobs_total", "counter", "Write jobs.", (int64_t)s->jobs);
    one(out, "store_failures_total", "counter", "Group commits that failed.", (int64_t)s->failures);
    head(out, "store_commit_seconds_total", "counter", "Time spent in group commits.");
    tr_buf_printf(out, "tresor_store_commit_seconds_total %.6f\n", (double)s->commit_us / 1e6);
    head(out, "snapshot_stop_seconds", "gauge",
         "The longest that the beginning of a snapshot or of a piece of the log kept the writer.");
    tr_buf_printf(out, "tresor_snapshot_stop_seconds %.6f\n", (double)s->moment_stop_us / 1e6);
    one(out, "store_queue", "gauge", "Write jobs waiting.", s->queued);
    one(out, "store_failed", "gauge", "1 while the last group commit failed.", s->failed);
    one(out, "audit_entries", "counter", "Newest entry of the audit log.", (int64_t)s->audit_seq);
    head(out, "database_bytes", "gauge", "Size of a database file.");
    tr_buf_printf(out, "tresor_database_bytes{database=\"vault\"} %lld\n", (long long)s->vault_bytes);
    tr_buf_printf(out, "tresor_database_bytes{database=\"keys\"} %lld\n", (long long)s->keys_bytes);
    tr_buf_printf(out, "tresor_database_bytes{database=\"audit\"} %lld\n", (long long)s->audit_bytes);
}

/* Left out when the counts cannot be read: what ails the store shows in its own figures. */
static void key_metrics(tr_vault *vault, tr_buf *out) {
    tr_db *db = NULL;
    tr_master_use *items = NULL;
    size_t count = 0;
    int64_t stale = 0;
    bool counted = tr_keys_rewrapping(vault); /* else there are none */
    if ((counted && tr_store_reader(tr_vault_store(vault), &db, NULL) != TR_OK) ||
        tr_keys_list(vault, db, &items, &count, NULL) != TR_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        if (items[i].current) {
            one(out, "master_key_version", "gauge", "Current version of the master key.", items[i].version);
            one(out, "master_key_age_seconds", "gauge", "Age of the current master key.",
                (tr_now_ms() - items[i].created_ms) / 1000);
        } else {
            stale += items[i].data_keys;
        }
    }
    free(items);
    one(out, "master_key_versions", "gauge", "Versions of the master key that are kept.", (int64_t)count);
    one(out, "data_keys_stale", "gauge", "Data keys wrapped by an older version of the master key.", stale);
}

static void request_metrics(tr_vault *vault, tr_buf *out) {
    tr_db *db = NULL;
    int64_t open = 0, overdue = 0;
    if (tr_store_reader(tr_vault_store(vault), &db, NULL) != TR_OK ||
        tr_dsr_count(db, tr_now_ms(), &open, &overdue, NULL) != TR_OK)
        return;
    one(out, "requests_open", "gauge", "Requests of data subjects that are not answered.", open);
    one(out, "requests_overdue", "gauge", "Those of them that were due before now.", overdue);
}

static void drill_metrics(tr_vault *vault, tr_buf *out) {
    tr_drill drill;
    if (!tr_drill_last(vault, &drill))
        return;
    one(out, "drill_ok", "gauge", "1 when the newest restore drill went well.", drill.ok);
    one(out, "drill_age_seconds", "gauge", "Age of the newest restore drill.",
        (tr_now_ms() - drill.ended_at) / 1000);
    head(out, "drill_duration_seconds", "gauge", "Time that the newest restore drill took.");
    tr_buf_printf(out, "tresor_drill_duration_seconds %.3f\n",
                  (double)(drill.ended_at - drill.begun_at) / 1e3);
}

/* What would be lost with the disk now: nothing when all that was written is shipped. */
static void log_metrics(tr_vault *vault, tr_buf *out) {
    tr_log_state log;
    if (!tr_vault_config(vault)->backup_log)
        return;
    const bool on = tr_snapshots_log(vault, &log);
    one(out, "backup_log_on", "gauge", "1 while the log is shipped to the backup.", on);
    if (!on)
        return;
    head(out, "backup_log_age_seconds", "gauge", "How old the oldest change is that is not shipped yet.");
    tr_buf_printf(out, "tresor_backup_log_age_seconds %.3f\n", (double)log.behind_ms / 1e3);
    one(out, "backup_log_segments", "counter", "Segments since the log began.", log.number);
}

static void outbox_metrics(tr_vault *vault, tr_buf *out) {
    tr_db *db = NULL;
    tr_notice_counts counts;
    one(out, "outbox_sent_total", "counter", "Notices that were sent.", tr_outbox_sent(vault));
    if (tr_store_reader(tr_vault_store(vault), &db, NULL) != TR_OK ||
        tr_notice_count(db, &counts, NULL) != TR_OK)
        return;
    one(out, "outbox_waiting", "gauge", "Notices that are to be sent.", counts.waiting);
    one(out, "outbox_dead", "gauge", "Notices that were given up.", counts.dead);
    one(out, "outbox_oldest_seconds", "gauge", "Age of the oldest that waits, but not for a contact.",
        counts.oldest ? (tr_now_ms() - counts.oldest) / 1000 : 0);
}

static void incident_metrics(tr_vault *vault, tr_buf *out) {
    tr_db *db = NULL;
    int64_t open = 0, overdue = 0;
    if (tr_store_reader(tr_vault_store(vault), &db, NULL) != TR_OK ||
        tr_incident_count(db, tr_now_ms(), &open, &overdue, NULL) != TR_OK)
        return;
    one(out, "incidents_open", "gauge", "Incidents that are not closed.", open);
    one(out, "incidents_overdue", "gauge",
        "Those of them of which the authority should have been told before now.", overdue);
}

/* Nothing without a backup. */
static void snapshot_metrics(tr_vault *vault, tr_buf *out) {
    tr_snapshot_item newest;
    tr_snapshot_work work;
    tr_spool_state spool;
    size_t count = 0;
    if (!tr_config_has_backup(tr_vault_config(vault)))
        return;
    bool known = tr_snapshots_newest(vault, &newest, &count);
    one(out, "snapshots", "gauge", "Snapshots in the backup folder.", (int64_t)count);
    if (known) {
        one(out, "snapshot_age_seconds", "gauge", "Age of the newest snapshot.",
            (tr_now_ms() - newest.head.created_ms) / 1000);
        one(out, "snapshot_bytes", "gauge", "Size of the newest snapshot.", newest.bytes);
    }
    if (tr_snapshots_spool(vault, &spool)) {
        one(out, "spool_files", "gauge", "Files that wait for the backup store.", spool.files);
        one(out, "spool_bytes", "gauge", "Their size.", spool.bytes);
        one(out, "backup_store_ok", "gauge", "1 when the newest call to the backup store went well.",
            !spool.away);
    }
    if (tr_snapshots_last(vault, TR_SNAPSHOT_MAKE, &work) && work.ended_at) {
        one(out, "snapshot_ok", "gauge", "1 when the newest attempt to make one went well.",
            work.err.status == TR_OK);
        head(out, "snapshot_duration_seconds", "gauge", "Time that the newest attempt to make one took.");
        tr_buf_printf(out, "tresor_snapshot_duration_seconds %.3f\n",
                      (double)(work.ended_at - work.begun_at) / 1e3);
    }
    if (tr_snapshots_last(vault, TR_SNAPSHOT_VERIFY, &work) && work.ended_at)
        one(out, "snapshot_verify_ok", "gauge", "1 when the newest verification went well.",
            work.err.status == TR_OK);
    log_metrics(vault, out);
    drill_metrics(vault, out);
}

static void write_metrics(tr_api *api, tr_buf *out) {
    tr_store_stats stats;
    tr_store_get_stats(tr_vault_store(api->vault), &stats);
    head(out, "responses_total", "counter", "Responses by class of status.");
    for (int i = 1; i <= 5; i++)
        tr_buf_printf(out, "tresor_responses_total{class=\"%dxx\"} %llu\n", i,
                      (unsigned long long)api->answers[i]);
    one(out, "sign_in_failures_total", "counter", "Sign-ins refused for wrong credentials.",
        (int64_t)api->sign_in_failures);
    one(out, "tokens_reused_total", "counter", "Sessions ended because a used token came again.",
        (int64_t)api->tokens_reused);
    store_metrics(out, &stats);
    key_metrics(api->vault, out);
    snapshot_metrics(api->vault, out);
    request_metrics(api->vault, out);
    outbox_metrics(api->vault, out);
    incident_metrics(api->vault, out);
    one(out, "resident_bytes", "gauge", "Resident memory.", resident_bytes());
    one(out, "start_time_seconds", "gauge", "When the process started, unix time.", api->started_ms / 1000);
    one(out, "ready", "gauge", "1 when /readyz says so.", !api->draining && !stats.failed);
    tr_store_rest(tr_vault_store(api->vault));
}

void tr_api_handle_metrics(void *context, tr_request *request, tr_response *response) {
    static const struct {
        const char *path;
        tr_handler_fn handler;
    } plain[] = {{"/healthz", tr_health}, {"/readyz", tr_ready}};
    tr_api *api = context;
    tr_error err = {0};
    tr_call call = {.api = api, .vault = api->vault, .request = request, .response = response};
    bool reads = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    tr_status st = reads ? TR_E_NOT_FOUND : tr_fail(&err, TR_E_METHOD, NULL, "only GET and HEAD");
    if (reads && strcmp(request->path, "/metrics") == 0) {
        response->status = 200;
        response->content_type = "text/plain; version=0.0.4; charset=utf-8";
        write_metrics(api, &response->body);
        return;
    }
    for (size_t i = 0; reads && i < sizeof plain / sizeof *plain; i++) {
        if (strcmp(request->path, plain[i].path) == 0)
            st = plain[i].handler(&call, &err);
    }
    if (st == TR_E_NOT_FOUND)
        tr_fail(&err, st, NULL, "here are /metrics, /healthz and /readyz");
    if (st != TR_OK)
        tr_call_problem(&call, &err);
    if (st == TR_E_METHOD)
        tr_response_header(response, "Allow", "GET, HEAD");
}
