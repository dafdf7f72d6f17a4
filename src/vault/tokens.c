#include "vault/tokens.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/encode.h"
#include "vault/audit.h"
#include "vault/token_form.h"
#include "vault/vault_internal.h"

#define SHARDS             64
#define SHARD_BUCKETS      256
#define SHARD_ENTRIES      1024 /* 64 * 1024 sessions in memory; more are read again when used */
#define SESSIONS_ENDED_MAX 1024

typedef struct tr_session_entry {
    struct tr_session_entry *next;
    tr_session row; /* as committed */
    tr_caller caller;
    uint8_t dropped[32]; /* the successor that a recovery replaced: late, but no theft */
    int64_t dropped_at;
    bool busy;       /* a request with row.current is running */
    bool recovering; /* it is a lost response's request again, with row.previous */
    bool stale;      /* forget when no longer busy */
} entry;

typedef struct shard {
    pthread_mutex_t mutex;
    entry *buckets[SHARD_BUCKETS];
    int count;
} shard;

struct tr_session_table {
    shard shards[SHARDS];
};

static const uint8_t zero[32];

tr_status tr_session_table_new(tr_session_table **out, tr_error *err) {
    tr_session_table *table = calloc(1, sizeof *table);
    *out = table;
    if (!table)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    for (int i = 0; i < SHARDS; i++)
        pthread_mutex_init(&table->shards[i].mutex, NULL);
    return TR_OK;
}

void tr_session_table_free(tr_session_table *table) {
    if (!table)
        return;
    for (int i = 0; i < SHARDS; i++) {
        for (int b = 0; b < SHARD_BUCKETS; b++) {
            for (entry *e = table->shards[i].buckets[b], *next; e; e = next) {
                next = e->next;
                free(e);
            }
        }
        pthread_mutex_destroy(&table->shards[i].mutex);
    }
    free(table);
}

/* Clients are random, so a simple hash spreads them; FNV-1a. */
static uint32_t hash_client(const char *client) {
    uint32_t h = 2166136261u;
    for (; *client; client++)
        h = (h ^ (uint8_t)*client) * 16777619u;
    return h;
}

static shard *shard_of(tr_vault *vault, const char *client) {
    return &vault->sessions->shards[hash_client(client) % SHARDS];
}

static entry **slot_of(shard *s, const char *client) {
    entry **slot = &s->buckets[(hash_client(client) / SHARDS) % SHARD_BUCKETS];
    while (*slot && strcmp((*slot)->row.client, client) != 0)
        slot = &(*slot)->next;
    return slot;
}

static void unlink_entry(shard *s, entry **slot) {
    entry *e = *slot;
    *slot = e->next;
    s->count--;
    free(e);
}

/* Make room by dropping entries that no request uses; which ones does not matter, they are read again. */
static void evict_some(shard *s) {
    for (int b = 0; b < SHARD_BUCKETS && s->count >= SHARD_ENTRIES; b++) {
        for (entry **slot = &s->buckets[b]; *slot;) {
            if ((*slot)->busy)
                slot = &(*slot)->next;
            else
                unlink_entry(s, slot);
        }
    }
}

void tr_caller_of(const tr_principal_copy *copy, tr_caller *who) {
    memset(who, 0, sizeof *who);
    who->principal = copy->row.id;
    who->role = copy->row.role;
    who->has_subject = copy->row.has_subject;
    who->subject = copy->row.subject;
    who->may_register = copy->row.may_register;
    who->password_initial = copy->row.password_initial;
    memcpy(who->uid, copy->uid, sizeof who->uid);
    memcpy(who->name, copy->name, sizeof who->name);
    who->name[sizeof who->name - 1] = '\0'; /* one that is not opened is longer */
}

static tr_status name_session(const tr_session *row, tr_caller *caller, tr_error *err) {
    tr_status st = tr_session_ref(row->client, caller->session, err);
    return st == TR_OK && row->lane ? tr_session_ref(row->origin, caller->origin, err) : st;
}

static tr_status load_caller(tr_vault *vault, tr_db *db, const tr_uuid *id, tr_caller *caller,
                             tr_error *err) {
    tr_principal_copy copy;
    tr_status st = tr_principal_load(vault, db, id, &copy, err);
    if (st == TR_OK && copy.row.disabled)
        st = tr_fail(err, TR_E_TOKEN_INVALID, NULL, "the token is not valid");
    if (st == TR_OK)
        tr_caller_of(&copy, caller);
    tr_wipe(&copy, sizeof copy);
    return st;
}

static tr_status invalid(tr_error *err) {
    return tr_fail(err, TR_E_TOKEN_INVALID, NULL, "the token is not valid");
}

static tr_status load(tr_vault *vault, shard *s, const char *client, entry **out, tr_error *err) {
    tr_db *db = NULL;
    entry *e = calloc(1, sizeof *e);
    tr_status st =
        e ? tr_store_reader(vault->store, &db, err) : tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    if (st == TR_OK)
        st = tr_session_get(db, client, &e->row, err);
    if (st == TR_OK)
        st = load_caller(vault, db, &e->row.principal, &e->caller, err);
    if (st == TR_OK)
        st = name_session(&e->row, &e->caller, err);
    if (st == TR_E_NOT_FOUND)
        st = invalid(err);
    if (st != TR_OK) {
        free(e);
        return st;
    }
    evict_some(s);
    entry **slot = slot_of(s, client);
    e->next = *slot;
    *slot = e;
    s->count++;
    *out = e;
    return TR_OK;
}

static tr_status find(tr_vault *vault, shard *s, const char *client, entry **out, tr_error *err) {
    *out = *slot_of(s, client);
    return *out ? TR_OK : load(vault, s, client, out, err);
}

/* ---- accept ---- */

int64_t tr_session_expires(const tr_config *config, int64_t created_at, int64_t used_at) {
    int64_t idle = used_at + config->session_idle_s * 1000;
    int64_t absolute = created_at + config->session_absolute_s * 1000;
    return idle < absolute ? idle : absolute;
}

static bool expired(tr_vault *vault, const entry *e, int64_t now) {
    return now >= tr_session_expires(vault->config, e->row.created_at, e->row.used_at);
}

static tr_status begin(tr_vault *vault, entry *e, int64_t now, bool recovered, tr_ticket *ticket,
                       tr_error *err) {
    memset(ticket, 0, sizeof *ticket);
    ticket->next = e->row;
    ticket->caller = e->caller;
    ticket->entry = e;
    ticket->recovered = recovered;
    ticket->edition = tr_store_edition(vault->store);
    ticket->next.used_at = now;
    if (!recovered) {
        memcpy(ticket->next.previous, e->row.current, 32);
        ticket->next.previous_at = now;
        memset(ticket->next.request, 0, 32);
    }
    ticket->expires_at = tr_session_expires(vault->config, e->row.created_at, now);
    tr_status st = tr_token_make(&vault->token_key, e->row.client, ticket->token, ticket->next.current, err);
    if (st == TR_OK) {
        e->busy = true;
        e->recovering = recovered;
    }
    return st;
}

static tr_status superseded(tr_error *err) {
    return tr_fail(err, TR_E_TOKEN_SUPERSEDED, "access-token", "the token was just used by another request");
}

static tr_status running(tr_error *err) {
    return tr_fail(err, TR_E_IN_PROGRESS, NULL, "the request with this token is still running");
}

static tr_status reused(tr_error *err) {
    return tr_fail(err, TR_E_TOKEN_REUSED, "access-token",
                   "a used token was presented again; the session is ended");
}

/* The token is the one that ran last (or runs now): a parallel call, a lost response, or a thief's. */
static tr_status judge_previous(tr_vault *vault, const entry *e, int64_t now, bool has_key, tr_error *err) {
    int64_t age = now - e->row.previous_at;
    bool named = memcmp(e->row.request, zero, 32) != 0;
    if (has_key && named && age <= vault->config->token_recovery_ms)
        return TR_E_PRECONDITION;
    return age <= vault->config->token_superseded_ms ? superseded(err) : reused(err);
}

static tr_status judge(tr_vault *vault, entry *e, const char *token, const uint8_t hash[32], int64_t now,
                       bool has_key, tr_ticket *ticket, tr_error *err) {
    if (tr_equal_ct(hash, e->row.current, 32)) {
        if (!e->busy)
            return begin(vault, e, now, false, ticket, err);
        return has_key ? running(err) : superseded(err);
    }
    if (tr_equal_ct(hash, e->row.previous, 32) && e->row.previous_at > 0) {
        /* While the successor's request runs, the predecessor is two steps old for recovery, but not yet for
         * theft. */
        if (e->busy)
            return e->recovering && has_key ? running(err) : superseded(err);
        return judge_previous(vault, e, now, has_key, err);
    }
    if (tr_equal_ct(hash, e->dropped, 32) && now - e->dropped_at <= vault->config->token_superseded_ms)
        return superseded(err);
    return tr_token_is_ours(&vault->token_key, e->row.client, token) ? reused(err) : invalid(err);
}

tr_status tr_token_accept(tr_vault *vault, const char *client, const char *uid, const char *token,
                          bool has_key, tr_ticket *ticket, tr_error *err) {
    uint8_t hash[32];
    entry *e = NULL;
    if (!tr_token_client_form(client))
        return invalid(err);
    tr_status st = tr_token_hash(token, hash, err);
    if (st != TR_OK)
        return st;
    shard *s = shard_of(vault, client);
    pthread_mutex_lock(&s->mutex);
    int64_t now = tr_now_ms();
    st = find(vault, s, client, &e, err);
    if (st == TR_OK && (e->stale || expired(vault, e, now) || strcasecmp(uid, e->caller.uid) != 0))
        st = invalid(err);
    if (st == TR_OK)
        st = judge(vault, e, token, hash, now, has_key, ticket, err);
    pthread_mutex_unlock(&s->mutex);
    return st;
}

/* It is another request than the lost one, or it came too late. A key does not make an old token a younger
 * one. */
static tr_status not_recovered(tr_vault *vault, const entry *e, const uint8_t hash[32], int64_t now,
                               tr_error *err) {
    if (e->busy)
        return e->recovering ? running(err) : superseded(err);
    bool late = now - e->row.previous_at > vault->config->token_superseded_ms;
    return late && tr_equal_ct(hash, e->row.previous, 32) ? reused(err) : superseded(err);
}

tr_status tr_token_recover(tr_vault *vault, const char *client, const char *token, const uint8_t request[32],
                           tr_ticket *ticket, tr_error *err) {
    uint8_t hash[32];
    entry *e = NULL;
    tr_status st = tr_token_hash(token, hash, err);
    if (st != TR_OK)
        return st;
    shard *s = shard_of(vault, client);
    pthread_mutex_lock(&s->mutex);
    int64_t now = tr_now_ms();
    st = find(vault, s, client, &e, err);
    if (st == TR_OK) {
        bool same = !e->busy && !e->stale && !expired(vault, e, now) &&
                    tr_equal_ct(hash, e->row.previous, 32) && tr_equal_ct(request, e->row.request, 32) &&
                    now - e->row.previous_at <= vault->config->token_recovery_ms;
        st = same ? begin(vault, e, now, true, ticket, err) : not_recovered(vault, e, hash, now, err);
    }
    pthread_mutex_unlock(&s->mutex);
    return st;
}

void tr_token_name_request(tr_ticket *ticket, const uint8_t request[32]) {
    memcpy(ticket->next.request, request, 32);
}

tr_status tr_token_persist(tr_db *tx, const tr_ticket *ticket, tr_error *err) {
    tr_session row = ticket->next;
    if (!ticket->recovered)
        row.previous_at = tr_now_ms(); /* the time counts from when the answer can leave */
    tr_status st = tr_session_update(tx, &row, err);
    return st == TR_E_NOT_FOUND ? invalid(err) : st;
}

tr_status tr_token_check(tr_db *tx, const tr_ticket *ticket, tr_error *err) {
    tr_session row;
    tr_status st = tr_session_get(tx, ticket->next.client, &row, err);
    return st == TR_E_NOT_FOUND ? invalid(err) : st;
}

void tr_token_done(tr_vault *vault, tr_ticket *ticket, bool committed) {
    entry *e = ticket->entry;
    if (!e)
        return;
    shard *s = shard_of(vault, ticket->next.client);
    pthread_mutex_lock(&s->mutex);
    if (committed) {
        if (ticket->recovered) {
            memcpy(e->dropped, e->row.current, 32);
            e->dropped_at = ticket->next.used_at;
        }
        e->row = ticket->next;
        e->row.seen = ticket->edition; /* it was there in a job after that */
        if (!ticket->recovered)
            e->row.previous_at = tr_now_ms();
    }
    e->busy = false;
    if (e->stale)
        unlink_entry(s, slot_of(s, ticket->next.client));
    pthread_mutex_unlock(&s->mutex);
    ticket->entry = NULL;
}

/* ---- sessions ---- */

tr_status tr_session_prepare(tr_vault *vault, const tr_uuid *principal, tr_session *row,
                             char token[TR_TOKEN_LEN + 1], int64_t *expires_at, tr_error *err) {
    uint8_t random[16];
    memset(row, 0, sizeof *row);
    tr_status st = tr_random(random, sizeof random, err);
    if (st != TR_OK)
        return st;
    tr_base64url_encode(random, sizeof random, row->client);
    row->principal = *principal;
    row->created_at = row->used_at = tr_now_ms();
    *expires_at = tr_session_expires(vault->config, row->created_at, row->used_at);
    return tr_token_make(&vault->token_key, row->client, token, row->current, err);
}

/* False: it stays until its request is done. */
static bool forget_in(shard *s, entry **slot) {
    const bool busy = (*slot)->busy;
    if (busy)
        (*slot)->stale = true;
    else
        unlink_entry(s, slot);
    return !busy;
}

static void forget_principal(shard *s, const tr_uuid *id) {
    pthread_mutex_lock(&s->mutex);
    for (int b = 0; b < SHARD_BUCKETS; b++) {
        for (entry **slot = &s->buckets[b]; *slot;) {
            entry *e = *slot;
            const bool theirs = tr_uuid_equal(&e->row.principal, id) ||
                                (e->caller.has_subject && tr_uuid_equal(&e->caller.subject, id));
            if (!theirs || !forget_in(s, slot))
                slot = &e->next;
        }
    }
    pthread_mutex_unlock(&s->mutex);
}

void tr_session_forget(tr_vault *vault, const tr_uuid *principal, const char *client) {
    if (!client) {
        for (int i = 0; i < SHARDS; i++)
            forget_principal(&vault->sessions->shards[i], principal);
        return;
    }
    shard *s = shard_of(vault, client);
    pthread_mutex_lock(&s->mutex);
    entry **slot = slot_of(s, client);
    if (*slot)
        (void)forget_in(s, slot);
    pthread_mutex_unlock(&s->mutex);
}

struct revocation {
    tr_session session;
    char clients[SESSIONS_ENDED_MAX]
                [TR_CLIENT_LEN + 1]; /* the session's family: itself, its lanes, the one it is a lane of */
    int count;
    const char *client;
    tr_event event;
};

static const char *root_of(const tr_session *row) {
    return row->lane ? row->origin : row->client;
}

static tr_status take_relative(void *context, const tr_session *row, tr_error *err) {
    struct revocation *r = context;
    (void)err;
    if (r->count < SESSIONS_ENDED_MAX && strcmp(root_of(row), root_of(&r->session)) == 0)
        memcpy(r->clients[r->count++], row->client, TR_CLIENT_LEN + 1);
    return TR_OK;
}

/* Whoever copied a token may have made lanes with it: they end too. */
static tr_status revoke_job(void *context, tr_db *tx, tr_error *err) {
    struct revocation *r = context;
    r->count = 0;
    tr_status st = tr_session_get(tx, r->client, &r->session, err);
    if (st == TR_E_NOT_FOUND)
        return TR_OK; /* another request with an old token was faster */
    if (st == TR_OK)
        st = tr_session_list(tx, &r->session.principal, take_relative, r, err);
    for (int i = 0; st == TR_OK && i < r->count; i++)
        st = tr_session_delete(tx, r->clients[i], err);
    return st == TR_OK ? tr_event_append(tx, &r->event, err) : st;
}

tr_status tr_session_revoke(tr_vault *vault, const char *client, const tr_uuid *request, const char *address,
                            tr_error *err) {
    tr_caller caller = {0};
    char ref[TR_SESSION_REF + 1];
    shard *s = shard_of(vault, client);
    pthread_mutex_lock(&s->mutex);
    entry *e = *slot_of(s, client);
    if (e)
        caller = e->caller;
    pthread_mutex_unlock(&s->mutex);
    struct revocation *r = calloc(1, sizeof *r);
    if (!r)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    tr_status st = tr_session_ref(client, ref, err);
    r->client = client;
    r->event = (tr_event){.at = tr_now_ms(),
                          .action = "auth.token_reuse",
                          .who = e ? &caller : NULL,
                          .session = e ? NULL : ref,
                          .outcome = TR_E_TOKEN_REUSED,
                          .request = request,
                          .address = address,
                          .detail = "a used token was presented again; the session and its lanes are ended"};
    if (st == TR_OK)
        st = tr_store_write(vault->store, revoke_job, r, err);
    for (int i = 0; i < r->count; i++)
        tr_session_forget(vault, NULL, r->clients[i]);
    free(r);
    return st;
}
