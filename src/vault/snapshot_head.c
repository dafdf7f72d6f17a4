/* What stands before the sealed stream of a snapshot. The JSON has one form only: a reader prints what it
 * has understood and wants the same bytes, so that no member is passed over and no value bent. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/json.h"
#include "base/json_write.h"
#include "vault/snapshot_internal.h"

#define FIXED_LEN    (TR_SNAPSHOT_MAGIC_LEN + 2 + 4) /* magic, version, the JSON's length */
#define LAST_MOMENT  INT64_C(253402300799999)        /* of the year 9999 */
#define SMALLEST     512
#define LARGEST      65536
#define KEY_TEXT_MAX 1024 /* characters of a wrapped key */

static const char *const kind_names[TR_SNAPSHOT_KINDS] = {"full", "incremental", "keys", "segment",
                                                          "key-changes"};

const char *tr_snapshot_kind_name(tr_snapshot_kind kind) {
    return (unsigned)kind < TR_SNAPSHOT_KINDS ? kind_names[kind] : "unknown";
}

bool tr_snapshot_is_partial(tr_snapshot_kind kind) {
    return kind == TR_SNAPSHOT_INCREMENTAL || kind == TR_SNAPSHOT_SEGMENT || kind == TR_SNAPSHOT_KEY_CHANGES;
}

/* ---- the rules ---- */

bool tr_snapshot_name_good(const char *name, size_t len) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    if (len == 0 || len > TR_SNAPSHOT_NAME_MAX || name[0] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '\0' || !strchr(allowed, name[i]))
            return false;
    }
    return true;
}

static const char *database_fault(const tr_snapshot_head *head, size_t i) {
    const tr_snapshot_database *database = &head->databases[i];
    if (!tr_snapshot_name_good(database->name, strnlen(database->name, sizeof database->name)))
        return "a database's name cannot be";
    for (size_t other = 0; other < i; other++) {
        if (strcmp(head->databases[other].name, database->name) == 0)
            return "a database is named twice";
    }
    if (database->page_size < SMALLEST || database->page_size > LARGEST ||
        (database->page_size & (database->page_size - 1)) != 0)
        return "a database's page size cannot be";
    return database->schema < 0 ? "a schema's version cannot be" : NULL;
}

static const char *log_fault(const tr_snapshot_head *head) {
    static const uint8_t none[TR_SHA256_LEN];
    const bool segment = head->kind == TR_SNAPSHOT_SEGMENT, has = !tr_uuid_is_nil(&head->log);
    const bool first = memcmp(head->log_previous, none, sizeof none) == 0;
    if (segment && (!has || head->log_number < 1 || head->log_number > TR_SNAPSHOT_SEGMENT_MAX))
        return "a segment has no place in its log";
    if (segment && first != (head->log_number == 1))
        return "a segment but the first names the one before it";
    if (segment && (head->log_keys_ms <= 0 || head->log_keys_ms > LAST_MOMENT))
        return "a segment does not name the copy of the keys that it needs";
    if (!segment && (!first || head->log_keys_ms != 0))
        return "it is no segment";
    if (!segment && has && head->kind != TR_SNAPSHOT_FULL && head->kind != TR_SNAPSHOT_INCREMENTAL)
        return "the keys have no log";
    return !segment && (head->log_number < 0 || head->log_number > (has ? TR_SNAPSHOT_SEGMENT_MAX : 0))
               ? "the log's number cannot be"
               : NULL;
}

const char *tr_snapshot_head_fault(const tr_snapshot_head *head) {
    const char *fault = NULL;
    if ((unsigned)head->kind >= TR_SNAPSHOT_KINDS)
        return "the kind is unknown";
    if (tr_uuid_is_nil(&head->id))
        return "the id is missing";
    if ((head->kind == TR_SNAPSHOT_INCREMENTAL || head->kind == TR_SNAPSHOT_KEY_CHANGES) ==
        tr_uuid_is_nil(&head->base))
        return "an incremental snapshot, and no other, names its base";
    if (head->created_ms <= 0 || head->created_ms > LAST_MOMENT)
        return "the moment cannot be";
    if (head->audit_seq < 0)
        return "the audit log's head cannot be";
    if (head->database_count > TR_SNAPSHOT_DATABASES_MAX)
        return "there are too many databases";
    for (size_t i = 0; !fault && i < head->database_count; i++)
        fault = database_fault(head, i);
    return fault ? fault : log_fault(head);
}

/* ---- printing ---- */

static void print_bytes(tr_buf *out, const char *name, const void *bytes, size_t len) {
    char text[KEY_TEXT_MAX + 1];
    if (TR_BASE64URL_LEN(len) > KEY_TEXT_MAX) {
        out->failed = true;
        return;
    }
    tr_base64url_encode(bytes, len, text);
    tr_jw_text(out, name, text);
}

static void print_audit(tr_buf *out, const tr_snapshot_head *head) {
    char hex[2 * TR_SHA256_LEN + 1];
    if (head->audit_seq == 0)
        return;
    tr_hex_encode(head->audit_hash, TR_SHA256_LEN, hex);
    tr_jw_open(out, "audit", '{');
    tr_jw_text(out, "hash", hex);
    tr_jw_number(out, "seq", head->audit_seq);
    tr_jw_close(out, '}');
}

static void print_databases(tr_buf *out, const tr_snapshot_head *head) {
    tr_jw_open(out, "databases", '[');
    for (size_t i = 0; i < head->database_count; i++) {
        const tr_snapshot_database *database = &head->databases[i];
        tr_jw_open(out, NULL, '{');
        tr_jw_text(out, "name", database->name);
        tr_jw_number(out, "page_size", database->page_size);
        tr_jw_number(out, "pages", database->pages);
        tr_jw_number(out, "schema", database->schema);
        tr_jw_close(out, '}');
    }
    tr_jw_close(out, ']');
}

static void print_keys(tr_buf *out, const tr_snapshot_envelope *envelope) {
    const tr_snapshot_head *head = &envelope->head;
    tr_jw_open(out, "keys", '{');
    tr_jw_open(out, "master", '{');
    tr_jw_number(out, "version", head->master);
    print_bytes(out, "wrapped", envelope->wrapped.data, envelope->wrapped.len);
    tr_jw_close(out, '}');
    if (head->has_recovery) {
        tr_jw_open(out, "recovery", '{');
        print_bytes(out, "public", head->recovery, sizeof head->recovery);
        print_bytes(out, "sealed", envelope->sealed, sizeof envelope->sealed);
        tr_jw_close(out, '}');
    }
    tr_jw_close(out, '}');
}

/* Where a segment is in its log, or where the log goes on from a snapshot. */
static void print_log(tr_buf *out, const tr_snapshot_head *head) {
    char hex[2 * TR_SHA256_LEN + 1];
    if (tr_uuid_is_nil(&head->log))
        return;
    tr_jw_open(out, "log", '{');
    if (head->kind != TR_SNAPSHOT_SEGMENT)
        tr_jw_number(out, "after", head->log_number);
    tr_jw_uuid(out, "id", &head->log);
    if (head->kind == TR_SNAPSHOT_SEGMENT) {
        tr_jw_time(out, "keys", head->log_keys_ms);
        tr_jw_number(out, "number", head->log_number);
    }
    if (head->kind == TR_SNAPSHOT_SEGMENT && head->log_number > 1) {
        tr_hex_encode(head->log_previous, TR_SHA256_LEN, hex);
        tr_jw_text(out, "previous", hex);
    }
    tr_jw_close(out, '}');
}

/* Members are sorted by name; what does not apply is left out. `envelope` NULL: without the keys. */
static tr_status print_json(const tr_snapshot_head *head, const tr_snapshot_envelope *envelope, tr_buf *out,
                            tr_error *err) {
    tr_jw_open(out, NULL, '{');
    print_audit(out, head);
    if (!tr_uuid_is_nil(&head->base))
        tr_jw_uuid(out, "base", &head->base);
    tr_jw_time(out, "created", head->created_ms);
    print_databases(out, head);
    tr_jw_uuid(out, "id", &head->id);
    if (envelope)
        print_keys(out, envelope);
    tr_jw_text(out, "kind", tr_snapshot_kind_name(head->kind));
    print_log(out, head);
    if (!tr_uuid_is_nil(&head->vault))
        tr_jw_uuid(out, "vault", &head->vault);
    tr_jw_close(out, '}');
    return tr_buf_ok(out, err);
}

tr_status tr_snapshot_bound(const tr_snapshot_head *head, tr_buf *out, tr_error *err) {
    return print_json(head, NULL, out, err);
}

tr_status tr_snapshot_envelope_print(tr_snapshot_envelope *envelope, tr_buf *out, tr_error *err) {
    uint8_t fixed[FIXED_LEN] = TR_SNAPSHOT_MAGIC;
    tr_buf json = TR_BUF_INIT;
    tr_status st = TR_OK;
    TR_TRY(print_json(&envelope->head, envelope, &json, err));
    if (json.len > TR_SNAPSHOT_JSON_MAX)
        TR_TRY(tr_fail(err, TR_E_INTERNAL, NULL, "a snapshot's head is too long"));
    tr_snapshot_put(fixed + TR_SNAPSHOT_MAGIC_LEN, 2, TR_SNAPSHOT_FORMAT);
    tr_snapshot_put(fixed + TR_SNAPSHOT_MAGIC_LEN + 2, 4, json.len);
    const tr_bytes parts[] = {
        {fixed, sizeof fixed}, {json.data, json.len}, {envelope->prefix, sizeof envelope->prefix}};
    TR_TRY(tr_sha256(parts, 3, envelope->sum, err));
    for (size_t i = 0; i < 3; i++)
        tr_buf_append(out, parts[i].data, parts[i].len);
    tr_buf_append(out, envelope->sum, sizeof envelope->sum);
    st = tr_buf_ok(out, err);
out:
    tr_buf_clear(&json);
    return st;
}

/* ---- reading ---- */

static bool read_uuid(const cJSON *object, const char *name, bool needed, tr_uuid *id) {
    const char *text = tr_json_string(object, name);
    *id = (tr_uuid){0};
    return text ? tr_uuid_parse(text, strlen(text), id) : !needed && !tr_json_member(object, name);
}

static bool read_u32(const cJSON *object, const char *name, uint32_t *value) {
    int64_t number;
    if (!tr_json_int(object, name, &number) || number < 0 || number > UINT32_MAX)
        return false;
    *value = (uint32_t)number;
    return true;
}

static bool read_bytes(const cJSON *object, const char *name, void *out, size_t len) {
    const char *text = tr_json_string(object, name);
    size_t room = len;
    return text && tr_base64url_decode(text, strlen(text), out, &room) && room == len;
}

static bool read_kind(const cJSON *tree, tr_snapshot_kind *kind) {
    const char *text = tr_json_string(tree, "kind");
    for (int i = 0; text && i < TR_SNAPSHOT_KINDS; i++) {
        if (strcmp(text, kind_names[i]) == 0) {
            *kind = (tr_snapshot_kind)i;
            return true;
        }
    }
    return false;
}

static bool read_audit(const cJSON *tree, tr_snapshot_head *head) {
    const cJSON *audit = tr_json_member(tree, "audit");
    const char *hash = tr_json_string(audit, "hash");
    if (!audit)
        return true;
    return hash && tr_hex_decode(hash, strlen(hash), head->audit_hash, TR_SHA256_LEN) &&
           tr_json_int(audit, "seq", &head->audit_seq);
}

static bool read_log(const cJSON *tree, tr_snapshot_head *head) {
    const cJSON *log = tr_json_member(tree, "log");
    const bool segment = head->kind == TR_SNAPSHOT_SEGMENT;
    const char *previous = tr_json_string(log, "previous"), *keys = tr_json_string(log, "keys");
    if (!log)
        return true;
    if (!read_uuid(log, "id", true, &head->log) ||
        !tr_json_int(log, segment ? "number" : "after", &head->log_number))
        return false;
    if (keys && !tr_time_parse(keys, strlen(keys), &head->log_keys_ms))
        return false;
    return !previous || tr_hex_decode(previous, strlen(previous), head->log_previous, TR_SHA256_LEN);
}

static bool read_databases(const cJSON *tree, tr_snapshot_head *head) {
    const cJSON *list = tr_json_member(tree, "databases"), *item;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > TR_SNAPSHOT_DATABASES_MAX)
        return false;
    cJSON_ArrayForEach(item, list) {
        tr_snapshot_database *database = &head->databases[head->database_count++];
        const char *name = tr_json_string(item, "name");
        if (!name || strlen(name) > TR_SNAPSHOT_NAME_MAX ||
            !read_u32(item, "page_size", &database->page_size) ||
            !read_u32(item, "pages", &database->pages) || !tr_json_int(item, "schema", &database->schema))
            return false;
        memcpy(database->name, name, strlen(name) + 1);
    }
    return true;
}

static bool read_keys(const cJSON *tree, tr_snapshot_envelope *envelope) {
    tr_snapshot_head *head = &envelope->head;
    const cJSON *keys = tr_json_member(tree, "keys");
    const cJSON *master = tr_json_member(keys, "master"), *recovery = tr_json_member(keys, "recovery");
    const char *wrapped = tr_json_string(master, "wrapped");
    if (!wrapped || strlen(wrapped) > KEY_TEXT_MAX || !read_u32(master, "version", &head->master) ||
        !tr_base64_decode_any(wrapped, strlen(wrapped), &envelope->wrapped))
        return false;
    head->has_recovery = recovery != NULL;
    return !recovery || (read_bytes(recovery, "public", head->recovery, sizeof head->recovery) &&
                         read_bytes(recovery, "sealed", envelope->sealed, sizeof envelope->sealed));
}

static bool read_tree(const cJSON *tree, tr_snapshot_envelope *envelope) {
    tr_snapshot_head *head = &envelope->head;
    const char *created = tr_json_string(tree, "created");
    return created && tr_time_parse(created, strlen(created), &head->created_ms) &&
           read_uuid(tree, "id", true, &head->id) && read_uuid(tree, "base", false, &head->base) &&
           read_uuid(tree, "vault", false, &head->vault) && read_kind(tree, &head->kind) &&
           read_audit(tree, head) && read_log(tree, head) && read_databases(tree, head) &&
           read_keys(tree, envelope) && !tr_snapshot_head_fault(head);
}

static tr_status read_json(tr_bytes text, tr_snapshot_envelope *envelope, tr_error *err) {
    cJSON *tree = NULL;
    tr_buf again = TR_BUF_INIT;
    tr_status st = tr_json_parse(text.data, text.len, &tree, err);
    if (st == TR_E_NOMEM)
        goto out;
    if (st != TR_OK || !read_tree(tree, envelope))
        TR_TRY(tr_fail(err, TR_E_CORRUPT, NULL, "the snapshot's head has no form that can be read"));
    TR_TRY(print_json(&envelope->head, envelope, &again, err));
    if (again.len != text.len || memcmp(again.data, text.data, text.len) != 0)
        st = tr_fail(err, TR_E_CORRUPT, NULL, "the snapshot's head has no form that can be read");
out:
    cJSON_Delete(tree);
    tr_buf_clear(&again);
    return st;
}

static tr_status read_exactly(tr_stream_source_fn source, void *context, void *into, size_t len,
                              tr_error *err) {
    uint8_t *to = into;
    for (size_t n = 0, got; n < len; n += got) {
        tr_status st = source(context, to + n, len - n, &got, err);
        if (st != TR_OK)
            return st;
        if (got == 0 || got > len - n)
            return tr_fail(err, TR_E_CORRUPT, NULL, "the snapshot is cut off");
    }
    return TR_OK;
}

/* The magic, the version and the JSON's length. */
static tr_status read_fixed(const uint8_t fixed[FIXED_LEN], size_t *json_len, tr_error *err) {
    if (memcmp(fixed, TR_SNAPSHOT_MAGIC, TR_SNAPSHOT_MAGIC_LEN) != 0)
        return tr_fail(err, TR_E_CORRUPT, NULL, "this is no snapshot");
    const unsigned version = (unsigned)tr_snapshot_get(fixed + TR_SNAPSHOT_MAGIC_LEN, 2);
    if (version != TR_SNAPSHOT_FORMAT)
        return tr_fail(err, TR_E_CONFIG, NULL, "the snapshot has format %u, this program reads format %d",
                       version, TR_SNAPSHOT_FORMAT);
    *json_len = (size_t)tr_snapshot_get(fixed + TR_SNAPSHOT_MAGIC_LEN + 2, 4);
    if (*json_len == 0 || *json_len > TR_SNAPSHOT_JSON_MAX)
        return tr_fail(err, TR_E_CORRUPT, NULL, "the snapshot's head has a length that cannot be");
    return TR_OK;
}

tr_status tr_snapshot_envelope_read(tr_stream_source_fn source, void *context, tr_snapshot_envelope *envelope,
                                    tr_error *err) {
    uint8_t fixed[FIXED_LEN], sum[TR_SHA256_LEN];
    char *json = NULL;
    size_t len = 0;
    tr_status st = TR_OK;
    TR_TRY(read_exactly(source, context, fixed, sizeof fixed, err));
    TR_TRY(read_fixed(fixed, &len, err));
    json = malloc(len);
    if (!json)
        TR_TRY(tr_fail(err, TR_E_NOMEM, NULL, "no memory for a snapshot's head"));
    TR_TRY(read_exactly(source, context, json, len, err));
    TR_TRY(read_exactly(source, context, envelope->prefix, sizeof envelope->prefix, err));
    TR_TRY(read_exactly(source, context, envelope->sum, sizeof envelope->sum, err));
    const tr_bytes parts[] = {
        {fixed, sizeof fixed}, {json, len}, {envelope->prefix, sizeof envelope->prefix}};
    TR_TRY(tr_sha256(parts, 3, sum, err));
    if (memcmp(sum, envelope->sum, sizeof sum) != 0)
        TR_TRY(
            tr_fail(err, TR_E_CORRUPT, NULL, "the snapshot's head is damaged: its checksum does not match"));
    st = read_json((tr_bytes){json, len}, envelope, err);
out:
    free(json);
    return st;
}

void tr_snapshot_envelope_clear(tr_snapshot_envelope *envelope) {
    tr_buf_clear(&envelope->wrapped);
    *envelope = (tr_snapshot_envelope){0};
}

/* ---- the order of the pages ---- */

/* The page that a snapshot with every page has after the cursor's; its database is database_count when there
 * is none. */
static void following(const tr_snapshot_cursor *cursor, const tr_snapshot_head *head, size_t *database,
                      uint64_t *number) {
    *database = cursor->database;
    *number = (uint64_t)cursor->number + 1;
    while (*database<head->database_count && * number> head->databases[*database].pages) {
        ++*database;
        *number = 1;
    }
}

bool tr_snapshot_cursor_step(tr_snapshot_cursor *cursor, const tr_snapshot_head *head, size_t database,
                             uint32_t number) {
    size_t next_database;
    uint64_t next_number;
    if (database >= head->database_count || number == 0 || number > head->databases[database].pages)
        return false;
    following(cursor, head, &next_database, &next_number);
    if (tr_snapshot_is_partial(head->kind)) {
        if (database < cursor->database || (database == cursor->database && number <= cursor->number))
            return false;
    } else if (database != next_database || number != next_number) {
        return false;
    }
    *cursor = (tr_snapshot_cursor){database, number};
    return true;
}

bool tr_snapshot_cursor_done(const tr_snapshot_cursor *cursor, const tr_snapshot_head *head) {
    size_t database;
    uint64_t number;
    following(cursor, head, &database, &number);
    return tr_snapshot_is_partial(head->kind) || database == head->database_count;
}
