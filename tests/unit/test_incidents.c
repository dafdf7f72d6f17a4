/* Incidents: what rules make of events, the seal of what is written, whom a million entries touched, and who
 * is told. */
#include "test_vault_fixture.h"

#include "base/json.h"
#include "vault/audit.h"
#include "vault/incident_mail.h"
#include "vault/incident_rules.h"
#include "vault/incidents.h"

#define MANY_ENTRIES 20000 /* TRESOR_INCIDENT_ENTRIES says otherwise */

static int64_t count(vault_fixture *f, const char *sql) {
    tr_db *db = vault_reader(f);
    tr_conn *conn = NULL;
    int64_t n = 0;
    assert_ok(f, tr_db_conn(db, TR_DB_VAULT, &conn, &f->err));
    assert_ok(f, tr_conn_pragma_int(conn, sql, &n, &f->err));
    return n;
}

static void happen(vault_fixture *f, const char *action, int64_t at, const char *address) {
    const tr_uuid request = tr_uuid_new();
    const tr_event event = {
        .at = at, .action = action, .outcome = TR_E_INTERNAL, .request = &request, .address = address};
    assert_ok(f, tr_event_write(f->vault->store, &event, &f->err));
}

/* ---- rules ---- */

static void each_rule_opens_one_and_tells_the_officers(void **state) {
    vault_fixture *f = *state;
    for (size_t i = 0; i < tr_incident_rules_count; i++)
        happen(f, tr_incident_rules[i].action, 1000 + (int64_t)i, "192.0.2.1");
    happen(f, "record.read", 2000, "192.0.2.1");
    assert_int_equal(count(f, "SELECT count(*) FROM incidents"), (int)tr_incident_rules_count);
    assert_int_equal(count(f,
                           "SELECT count(*) FROM incidents WHERE cause = 'security.drill_failed' AND kind = 0"
                           " AND aware_at = 1003 AND due_at = 1003 + 72 * 3600000 AND evidence = 1"),
                     1);
    assert_int_equal(count(f,
                           "SELECT count(*) FROM notices JOIN principals ON principals.id = recipient"
                           " WHERE kind = 'incident-opened' AND role = 2 AND next_at = notices.created_at"),
                     (int)tr_incident_rules_count);
    assert_int_equal(count(f,
                           "SELECT count(*) FROM notices WHERE json_extract(doc, '$.title') IS NOT NULL AND"
                           " json_extract(doc, '$.text') LIKE '%1970-01-04%'"),
                     (int)tr_incident_rules_count);
}

static void a_storm_is_one_incident_of_bounded_size(void **state) {
    vault_fixture *f = *state;
    const int events = 3 * (TR_EVIDENCE_FIRST + TR_EVIDENCE_LAST);
    for (int i = 0; i < events; i++)
        happen(f, "auth.token_reuse", 1000 + i, "192.0.2.1");
    assert_int_equal(count(f, "SELECT count(*) FROM incidents"), 1);
    assert_int_equal(count(f, "SELECT evidence FROM incidents"), events);
    assert_int_equal(count(f, "SELECT count(*) FROM incident_evidence"),
                     TR_EVIDENCE_FIRST + TR_EVIDENCE_LAST);
    assert_int_equal(count(f, "SELECT max(number) FROM incident_evidence WHERE number <= 250"), 50);
    assert_int_equal(count(f, "SELECT count(*) FROM notices"), 1);
}

static tr_status keep_id(void *context, const tr_incident *row, tr_error *err) {
    *(tr_uuid *)context = row->id;
    (void)err;
    return TR_OK;
}

/* Else those whom the others touched would not be told. */
static void all_that_is_kept_is_in_question(void **state) {
    vault_fixture *f = *state;
    const int events = TR_EVIDENCE_FIRST + TR_EVIDENCE_LAST;
    const tr_incident_filter any = {.open = false};
    tr_incident_case c;
    tr_scope scope;
    tr_uuid id;
    for (int i = 0; i < events; i++) {
        char address[TR_ADDRESS_TEXT];
        (void)snprintf(address, sizeof address, "192.0.2.%d", i);
        happen(f, "security.sign_in_storm", 1000 + i, address);
    }
    assert_ok(f, tr_incident_list(vault_reader(f), &any, NULL, 1, keep_id, &id, &f->err));
    assert_ok(f, tr_incident_load(f->vault, vault_reader(f), &id, &c, &f->err));
    assert_ok(f, tr_incident_scope(vault_reader(f), &c, &scope, &f->err));
    assert_int_equal(scope.address_count, events);
    tr_incident_clear(&c);
}

static void a_day_without_it_begins_another(void **state) {
    vault_fixture *f = *state;
    const int64_t day = 86400000;
    happen(f, "auth.token_reuse", 1000, NULL);
    happen(f, "auth.token_reuse", 1000 + day, NULL);
    happen(f, "auth.token_reuse", 1000 + 2 * day, NULL);
    assert_int_equal(count(f, "SELECT count(*) FROM incidents"), 1);
    happen(f, "auth.token_reuse", 1001 + 3 * day, NULL);
    assert_int_equal(count(f, "SELECT count(*) FROM incidents"), 2);
}

static tr_status append_and_fail(void *context, tr_db *tx, tr_error *err) {
    tr_status st = tr_event_append(tx, context, err);
    return st == TR_OK ? tr_fail(err, TR_E_CONFLICT, NULL, "undone") : st;
}

static void what_is_undone_opens_none(void **state) {
    vault_fixture *f = *state;
    tr_event event = {.at = 1000, .action = "auth.token_reuse", .outcome = TR_E_TOKEN_REUSED};
    assert_int_equal(tr_store_write(f->vault->store, append_and_fail, &event, &f->err), TR_E_CONFLICT);
    assert_int_equal(count(f, "SELECT count(*) FROM incidents"), 0);
}

/* ---- the seal ---- */

static tr_status insert_case(void *context, tr_db *tx, tr_error *err) {
    return tr_incident_insert(tx, &((tr_incident_case *)context)->row, err);
}

static tr_uuid enter(vault_fixture *f, const char *json) {
    const tr_uuid by = tr_uuid_new();
    tr_incident_case c;
    cJSON *doc = NULL;
    assert_ok(f, tr_json_parse(json, strlen(json), &doc, &f->err));
    assert_ok(f, tr_incident_new(doc, &by, tr_now_ms(), &c, &f->err));
    assert_ok(f, tr_incident_seal(f->vault, &c, &f->err));
    assert_ok(f, tr_store_write(f->vault->store, insert_case, &c, &f->err));
    tr_uuid id = c.row.id;
    tr_incident_clear(&c);
    cJSON_Delete(doc);
    return id;
}

static void what_is_written_is_sealed_and_bound(void **state) {
    vault_fixture *f = *state;
    tr_incident_case c;
    tr_uuid a = enter(f, "{\"title\":\"Rosa Musterfrau\",\"kind\":\"loss\"}");
    tr_uuid b = enter(f, "{\"title\":\"Another\",\"kind\":\"access\"}");
    assert_ok(f, tr_incident_load(f->vault, vault_reader(f), &a, &c, &f->err));
    assert_string_equal(tr_json_string(c.doc, "title"), "Rosa Musterfrau");
    tr_incident_clear(&c);
    vault_close(f);
    assert_int_equal(raw_count(f, TR_DB_VAULT, "musterfrau"), 0);
    /* one in the other's place, and one of another version, do not open */
    raw_exec(f, TR_DB_VAULT,
             "UPDATE incidents SET sealed = (SELECT sealed FROM incidents AS o WHERE o.id <> incidents.id)"
             " WHERE kind = 0; UPDATE incidents SET version = 2 WHERE kind = 4");
    vault_open(f);
    assert_int_equal(tr_incident_load(f->vault, vault_reader(f), &a, &c, &f->err), TR_E_CORRUPT);
    assert_int_equal(tr_incident_load(f->vault, vault_reader(f), &b, &c, &f->err), TR_E_CORRUPT);
}

static void a_vault_from_before_gets_the_key(void **state) {
    vault_fixture *f = *state;
    tr_incident_case c;
    vault_close(f);
    raw_exec(f, TR_DB_KEYS, "DELETE FROM named_keys WHERE name = 'incident'");
    vault_open(f);
    tr_uuid id = enter(f, "{\"title\":\"Kept\",\"kind\":\"loss\"}");
    vault_reopen(f);
    assert_ok(f, tr_incident_load(f->vault, vault_reader(f), &id, &c, &f->err));
    assert_string_equal(tr_json_string(c.doc, "title"), "Kept");
    tr_incident_clear(&c);
}

/* ---- whom it touched ---- */

#define SUBJECTS_OF_ALL 500
struct filling {
    tr_uuid subjects[SUBJECTS_OF_ALL];
    int64_t begin, end, at;
};

/* Every 7th entry is of the stolen session; every 11th was refused; their times go up and down. */
static bool is_stolen(int64_t i) {
    return i % 7 == 0 && i % 11 != 0;
}

static tr_status fill(void *context, tr_db *tx, tr_error *err) {
    const struct filling *w = context;
    tr_status st = TR_OK;
    for (int64_t i = w->begin; i < w->end && st == TR_OK; i++) {
        char text[400];
        int n = snprintf(
            text, sizeof text,
            "{\"time\":\"2026-01-01T00:00:00.000Z\",\"action\":\"%s\",\"principal\":"
            "\"01995b2f-6d3c-7a41-9c1e-52d7f0a6b3e8\",\"role\":\"service\",\"session\":\"%s\",\"outcome\":\"%"
            "s\","
            "\"request\":\"01995b2f-6d3c-7a41-9c1e-52d7f0a6b3e8\",\"address\":\"192.0.2.1\",\"detail\":"
            "\"\\\"session\\\":\\\"0123456789abcdef\\\"\"}",
            i % 2 ? "record.read" : "record.list", i % 7 ? "fedcba9876543210" : "0123456789abcdef",
            i % 11 ? "ok" : "no-grant");
        st = tr_audit_append(tx, 1000000 + i * 7919 % 1000, &w->subjects[i % SUBJECTS_OF_ALL],
                             (tr_bytes){text, (size_t)n}, err);
    }
    return st;
}

static int by_id(const void *a, const void *b) {
    return memcmp(a, b, sizeof(tr_uuid));
}

static void the_log_says_exactly_whom(void **state) {
    vault_fixture *f = *state;
    const char *wanted = getenv("TRESOR_INCIDENT_ENTRIES");
    int64_t entries = wanted ? atoll(wanted) : MANY_ENTRIES, counts[SUBJECTS_OF_ALL] = {0}, total = 0;
    struct filling w;
    tr_store_stats stats;
    tr_affected found;
    tr_scope scope = {.from = 1000100, .to = 1000899};
    for (int i = 0; i < SUBJECTS_OF_ALL; i++)
        w.subjects[i] = tr_uuid_new();
    qsort(w.subjects, SUBJECTS_OF_ALL, sizeof w.subjects[0], by_id);
    for (w.begin = 0; w.begin < entries; w.begin = w.end) {
        w.end = w.begin + 5000 < entries ? w.begin + 5000 : entries;
        assert_ok(f, tr_store_write(f->vault->store, fill, &w, &f->err));
    }
    for (int64_t i = 0; i < entries; i++)
        counts[i % SUBJECTS_OF_ALL] += is_stolen(i) && i * 7919 % 1000 >= 100 && i * 7919 % 1000 <= 899;
    for (int i = 0; i < SUBJECTS_OF_ALL; i++)
        total += counts[i] > 0;
    assert_true(tr_scope_add_session(&scope, "0123456789abcdef"));
    tr_store_get_stats(f->vault->store, &stats);
    tr_affected_part part = {.first = 1, .upto = (int64_t)stats.audit_seq, .limit = 10, .count_all = true};
    int64_t begun = tr_monotonic_ms();
    assert_ok(f, tr_affected_find(vault_reader(f), &scope, &part, &found, &f->err));
    print_message("%lld entries in %lld ms\n", (long long)entries, (long long)(tr_monotonic_ms() - begun));
    assert_int_equal(found.total, total);
    tr_uuid after = {{0}};
    int at = 0;
    for (bool more = true; more; part.after = &after, part.count_all = false) {
        tr_affected_clear(&found);
        assert_ok(f, tr_affected_find(vault_reader(f), &scope, &part, &found, &f->err));
        for (size_t i = 0; i < found.count; i++, at++) {
            while (counts[at] == 0)
                at++;
            assert_memory_equal(&found.rows[i].subject, &w.subjects[at], sizeof(tr_uuid));
            assert_int_equal(found.rows[i].count, counts[at]);
        }
        more = found.more;
        after = found.rows[found.count - 1].subject;
    }
    while (at < SUBJECTS_OF_ALL)
        assert_int_equal(counts[at++], 0);
    tr_affected_clear(&found);
}

/* ---- who is told ---- */

struct people {
    tr_uuid subjects[3];
    tr_mailing mailing;
};

/* Two principals for the first subject, one for the second, none for the third. */
static tr_status make_people(void *context, tr_db *tx, tr_error *err) {
    struct people *p = context;
    tr_status st = TR_OK;
    for (int i = 0; i < 3 && st == TR_OK; i++) {
        const tr_subject_row row = {.id = p->subjects[i], .created_by = p->subjects[i], .created_at = 1};
        st = tr_subject_insert(tx, &row, err);
    }
    for (int i = 0; i < 3 && st == TR_OK; i++) {
        const tr_principal row = {.id = tr_uuid_new(),
                                  .uid = i == 0   ? "a"
                                         : i == 1 ? "b"
                                                  : "c",
                                  .name = "",
                                  .has_subject = true,
                                  .subject = p->subjects[i / 2],
                                  .password = "",
                                  .version = 1};
        st = tr_principal_insert(tx, &row, err);
    }
    return st == TR_OK ? tr_mailing_insert(tx, &p->mailing, err) : st;
}

static tr_status insert_mailing(void *context, tr_db *tx, tr_error *err) {
    return tr_mailing_insert(tx, context, err);
}

static void each_principal_of_each_subject_gets_one_notice(void **state) {
    vault_fixture *f = *state;
    struct people p = {.mailing = {.id = tr_uuid_new(), .created_at = 1}};
    tr_buf text = TR_BUF_INIT;
    bool more = false;
    p.mailing.incident = enter(f, "{\"title\":\"x\",\"kind\":\"loss\"}");
    for (int i = 0; i < 3; i++)
        p.subjects[i] = tr_uuid_new();
    assert_ok(f, tr_mailing_write(&p.mailing, "Title", "Text", &text, &f->err));
    p.mailing.subjects = (tr_bytes){p.subjects, sizeof p.subjects};
    assert_ok(f, tr_store_write(f->vault->store, make_people, &p, &f->err));
    assert_ok(f, tr_mailings_tend(f->vault, &more, &f->err));
    assert_false(more);
    assert_int_equal(count(f, "SELECT count(*) FROM notices WHERE kind = 'incident'"), 3);
    assert_int_equal(
        count(f, "SELECT count(DISTINCT recipient) FROM notices WHERE kind = 'incident' AND"
                 " json_extract(doc, '$.title') = 'Title' AND json_extract(doc, '$.text') = 'Text'"),
        3);
    assert_int_equal(count(f, "SELECT 100 * told + 10 * before + unreachable FROM incident_mailings"), 201);
    p.mailing.id = tr_uuid_new();
    assert_ok(f, tr_store_write(f->vault->store, insert_mailing, &p.mailing, &f->err));
    assert_ok(f, tr_mailings_tend(f->vault, &more, &f->err));
    assert_int_equal(count(f, "SELECT count(*) FROM notices WHERE kind = 'incident'"), 3);
    assert_int_equal(count(f, "SELECT count(*) FROM incident_mailings WHERE told = 0 AND before = 2"), 1);
    tr_buf_clear(&text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, vault_up, vault_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(each_rule_opens_one_and_tells_the_officers),
        TEST(a_storm_is_one_incident_of_bounded_size),
        TEST(all_that_is_kept_is_in_question),
        TEST(a_day_without_it_begins_another),
        TEST(what_is_undone_opens_none),
        TEST(what_is_written_is_sealed_and_bound),
        TEST(a_vault_from_before_gets_the_key),
        TEST(the_log_says_exactly_whom),
        TEST(each_principal_of_each_subject_gets_one_notice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
