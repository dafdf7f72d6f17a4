/* Rows to put into a store's tables, and callbacks that keep what comes back as text: for the tests of the
 * tables. */
#ifndef TEST_STORE_ROWS_H
#define TEST_STORE_ROWS_H

#include "test_store_fixture.h"

#define ALL 1000

/* ---- what the tests need there ---- */

static inline tr_uuid add_subject(fixture *f) {
    tr_subject_row row = {.id = tr_uuid_new(), .created_by = tr_uuid_new(), .created_at = 5};
    assert_ok(f, tr_subject_insert(fixture_tx(f), &row, &f->err));
    return row.id;
}

static inline tr_principal principal(const char *uid, tr_role role) {
    return (tr_principal){.id = tr_uuid_new(),
                          .uid = uid,
                          .name = "A Name",
                          .role = role,
                          .password = "$scrypt$",
                          .created_at = 1,
                          .updated_at = 2,
                          .version = 1};
}

static inline tr_uuid add_principal(fixture *f, const char *uid, tr_role role, const tr_uuid *subject) {
    tr_principal row = principal(uid, role);
    if (subject) {
        row.has_subject = true;
        row.subject = *subject;
    }
    assert_ok(f, tr_principal_insert(fixture_tx(f), &row, &f->err));
    return row.id;
}

static inline tr_session session(const tr_uuid *who, const char *client, int64_t created_at,
                                 int64_t used_at) {
    tr_session row = {.principal = *who, .created_at = created_at, .used_at = used_at};
    (void)snprintf(row.client, sizeof row.client, "%022d", 0);
    memcpy(row.client, client, strlen(client));
    memset(row.current, 7, sizeof row.current);
    return row;
}

static inline void add_session(fixture *f, const tr_uuid *who, const char *client, int64_t created_at,
                               int64_t used_at) {
    tr_session row = session(who, client, created_at, used_at);
    assert_ok(f, tr_session_insert(fixture_tx(f), &row, &f->err));
}

static inline void add_type(fixture *f, const char *name) {
    const tr_type row = {.name = name, .version = 1, .schema = "{}", .created_at = 1, .updated_at = 1};
    assert_ok(f, tr_type_put(fixture_tx(f), &row, &f->err));
}

static inline tr_record record(const tr_uuid *subject, const char *type, const char *sealed) {
    return (tr_record){.id = tr_uuid_new(),
                       .subject = *subject,
                       .type = type,
                       .version = 1,
                       .created_at = 10,
                       .updated_at = 10,
                       .updated_by = *subject,
                       .sealed = text_bytes(sealed)};
}

static inline tr_uuid add_record(fixture *f, const tr_uuid *subject, const char *type, const char *sealed,
                                 const tr_index_entry *index, size_t count) {
    tr_record row = record(subject, type, sealed);
    assert_ok(f, tr_record_insert(fixture_tx(f), &row, index, count, &f->err));
    return row.id;
}

static inline tr_uuid add_activity(fixture *f, int64_t ended_at) {
    tr_activity row = {.id = tr_uuid_new(), .doc = "{}", .created_at = 1, .ended_at = ended_at, .version = 1};
    assert_ok(f, tr_activity_insert(fixture_tx(f), &row, &f->err));
    return row.id;
}

static inline int64_t count_rows(fixture *f, tr_db_kind kind, const char *table) {
    char sql[96];
    int64_t n = -1;
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
    assert_ok(f, tr_conn_pragma_int(&fixture_tx(f)->conns[kind], sql, &n, &f->err));
    return n;
}

/* ---- callbacks: what came is kept as text, one word a row ---- */

typedef struct words {
    char text[512];
    int count;
    tr_status end_with;
    tr_uuid last;
} words;

static inline tr_status word(words *w, const char *text, size_t len) {
    w->count++;
    size_t used = strlen(w->text);
    (void)snprintf(w->text + used, sizeof w->text - used, "%s%.*s", used ? " " : "", (int)len, text);
    return w->end_with;
}

static inline tr_status on_principal(void *context, const tr_principal *row, tr_error *err) {
    (void)err;
    ((words *)context)->last = row->id;
    return word(context, row->uid, strlen(row->uid));
}

static inline tr_status on_session(void *context, const tr_session *row, tr_error *err) {
    (void)err;
    return word(context, row->client, 2);
}

static inline tr_status on_record(void *context, const tr_record *row, tr_error *err) {
    char text[64];
    (void)err;
    ((words *)context)->last = row->id;
    (void)snprintf(text, sizeof text, "%s:%d:%.*s", row->type, (int)row->version, (int)row->sealed.len,
                   (const char *)row->sealed.data);
    return word(context, text, strlen(text));
}

static inline tr_status on_type(void *context, const tr_type *row, tr_error *err) {
    char text[64];
    (void)err;
    (void)snprintf(text, sizeof text, "%s:%d:%s", row->name, (int)row->version, row->schema);
    return word(context, text, strlen(text));
}

static inline tr_status on_activity(void *context, const tr_activity *row, tr_error *err) {
    (void)err;
    ((words *)context)->last = row->id;
    return word(context, row->doc, strlen(row->doc));
}

static inline tr_status on_grant(void *context, const tr_grant *row, tr_error *err) {
    (void)err;
    ((words *)context)->last = row->id;
    return word(context, row->types, strlen(row->types));
}

static inline tr_status on_outcome(void *context, const tr_outcome *row, tr_error *err) {
    (void)err;
    return word(context, row->sealed.data, row->sealed.len);
}

static inline tr_status on_batch(void *context, const tr_import_batch *row, tr_error *err) {
    (void)err;
    return word(context, row->results.data, row->results.len);
}

static inline tr_status on_key(void *context, uint32_t master, tr_bytes wrapped, tr_error *err) {
    char text[64];
    (void)err;
    (void)snprintf(text, sizeof text, "%u:%.*s", master, (int)wrapped.len, (const char *)wrapped.data);
    return word(context, text, strlen(text));
}

#endif
