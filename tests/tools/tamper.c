/* A person with all the keys who changes the audit log behind the vault's back: for the tests that it is
 * found out.
 *
 *   tamper audit DIR PASSPHRASE_FILE alter|delete|swap|truncate SEQ
 *
 * alter: another text in entry SEQ. delete: entry SEQ is gone. swap: entries SEQ and SEQ + 1 change places.
 * truncate: SEQ and all after it are gone. The vault must be stopped.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "crypto/keyring.h"
#include "store/sqlcipher/engine.h"

static const struct {
    const char *name;
    const char *steps[3]; /* each must change a row; ?1 is SEQ */
} ways[] = {
    {"alter", {"UPDATE entries SET entry = json_set(entry, '$.outcome', 'tampered') WHERE seq = ?1"}},
    {"delete", {"DELETE FROM entries WHERE seq = ?1"}},
    {"swap",
     {"UPDATE entries SET seq = -1 WHERE seq = ?1", "UPDATE entries SET seq = ?1 WHERE seq = ?1 + 1",
      "UPDATE entries SET seq = ?1 + 1 WHERE seq = -1"}},
    {"truncate", {"DELETE FROM entries WHERE seq >= ?1"}},
};

static const char unprotect[] =
    "DROP TRIGGER IF EXISTS entries_no_update; DROP TRIGGER IF EXISTS entries_no_delete";

static tr_status open_log(const char *dir, const char *passphrase_file, tr_source *source, tr_conn *conn,
                          tr_error *err) {
    char path[PATH_MAX];
    tr_secret passphrase = TR_SECRET_INIT, key = TR_SECRET_INIT;
    tr_keyring *ring = NULL;
    tr_status st = TR_OK;
    (void)snprintf(path, sizeof path, "%s/keyring", dir);
    TR_TRY(tr_secret_from_file(&passphrase, passphrase_file, err));
    TR_TRY(tr_keyring_open_file(path, &passphrase, &ring, err));
    TR_TRY(tr_keyring_named_key(ring, tr_db_name(TR_DB_AUDIT), false, &key, err));
    TR_TRY(tr_source_set(source, dir, (const tr_secret *const[]){NULL, NULL, &key}, err));
    st = tr_conn_open(source, TR_DB_AUDIT, TR_WRITE, conn, err);
out:
    tr_keyring_close(ring);
    tr_secret_clear(&key);
    tr_secret_clear(&passphrase);
    return st;
}

static tr_status run_step(tr_conn *conn, const char *sql, int64_t seq, tr_error *err) {
    tr_query q;
    tr_status st = tr_query_on(conn, sql, &q, err);
    if (st != TR_OK)
        return st;
    tr_bind_int(&q, 1, seq);
    return tr_query_run_one(&q, TR_E_NOT_FOUND, "there is no such entry", err);
}

static tr_status bend(tr_conn *conn, const char *way, int64_t seq, tr_error *err) {
    tr_status st = tr_conn_exec(conn, "BEGIN", err); /* all steps or none */
    if (st == TR_OK)
        st = tr_conn_exec(conn, unprotect, err);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(ways[i].name, way) != 0)
            continue;
        for (size_t s = 0; s < 3 && ways[i].steps[s] && st == TR_OK; s++)
            st = run_step(conn, ways[i].steps[s], seq, err);
        return st == TR_OK ? tr_conn_exec(conn, "COMMIT", err) : st;
    }
    return tr_fail(err, TR_E_BAD_REQUEST, NULL, "%s: no such way", way);
}

static tr_status take_lock(const char *dir, tr_error *err) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/lock", dir);
    int fd = open(path, O_RDWR | O_CLOEXEC); /* kept to the end */
    if (fd < 0)
        return tr_fail_errno(err, "lock", "cannot open the lock");
    return flock(fd, LOCK_EX | LOCK_NB) == 0 ? TR_OK : tr_fail(err, TR_E_LOCKED, "lock", "the vault runs");
}

int main(int argc, char **argv) {
    tr_error err = {0};
    tr_source source = {.dir = ""};
    tr_conn conn = {.handle = NULL};
    if (argc != 6 || strcmp(argv[1], "audit") != 0) {
        (void)fprintf(stderr, "usage: tamper audit DIR PASSPHRASE_FILE alter|delete|swap|truncate SEQ\n");
        return 2;
    }
    tr_status st = take_lock(argv[2], &err);
    if (st == TR_OK)
        st = open_log(argv[2], argv[3], &source, &conn, &err);
    if (st == TR_OK)
        st = bend(&conn, argv[4], strtoll(argv[5], NULL, 10), &err);
    if (conn.handle)
        sqlite3_db_config(conn.handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    tr_conn_close(&conn);
    tr_source_clear(&source);
    if (st != TR_OK)
        (void)fprintf(stderr, "tamper: %s\n", err.what);
    return st == TR_OK ? 0 : 1;
}
