#include "vault/access.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "vault/register.h"

/* ---- the grants that count ---- */

tr_status tr_purpose_check(tr_db *db, const tr_uuid *activity, tr_error *err) {
    tr_activity ends;
    tr_status st = tr_activity_ends(db, activity, &ends, err);
    if (st == TR_E_NOT_FOUND || (st == TR_OK && tr_activity_ended(&ends, tr_now_ms()) != 0))
        return tr_fail(err, TR_E_PURPOSE, "Access-Purpose", "names no live processing activity");
    return st;
}

struct load {
    const tr_uuid *purpose;
    tr_access *access;
};

static tr_status parse_fields(tr_permit *p, const char *text, tr_error *err) {
    tr_status st = tr_json_parse(text, strlen(text), &p->field_list, err);
    size_t n = st == TR_OK ? (size_t)cJSON_GetArraySize(p->field_list) : 0;
    if (st != TR_OK)
        return st;
    p->fields = calloc(n + 1, sizeof *p->fields);
    if (!p->fields)
        return tr_fail(err, TR_E_NOMEM, NULL, "out of memory");
    const cJSON *field;
    cJSON_ArrayForEach(field, p->field_list) {
        if (cJSON_IsString(field))
            p->fields[p->field_count++] = field->valuestring;
    }
    return TR_OK;
}

static tr_status take_grant(void *context, const tr_grant *row, tr_error *err) {
    struct load *l = context;
    if (!tr_uuid_equal(&row->activity, l->purpose) || l->access->count == TR_PERMITS_MAX)
        return TR_OK;
    tr_permit *p = &l->access->permits[l->access->count++];
    *p = (tr_permit){.masked = row->masked, .actions = row->actions};
    tr_status st = tr_json_parse(row->types, strlen(row->types), &p->types, err);
    if (st == TR_OK && row->fields[0])
        st = parse_fields(p, row->fields, err);
    return st == TR_E_MALFORMED ? tr_fail(err, TR_E_CORRUPT, "vault.db", "a stored grant is damaged") : st;
}

tr_status tr_access_load(tr_db *db, const tr_uuid *subject, const tr_uuid *grantee, const tr_uuid *purpose,
                         tr_access *access, tr_error *err) {
    struct load l = {purpose, access};
    access->own = false;
    access->count = 0;
    return tr_grant_live(db, subject, grantee, tr_now_ms(), take_grant, &l, err);
}

static void clear_permit(tr_permit *permit) {
    cJSON_Delete(permit->types);
    cJSON_Delete(permit->field_list);
    free(permit->fields);
}

void tr_access_for_export(tr_access *access) {
    size_t kept = 0;
    for (size_t i = 0; i < access->count; i++) {
        tr_permit *p = &access->permits[i];
        if (p->actions & TR_ACT_EXPORT) {
            p->actions = TR_ACT_READ;
            access->permits[kept++] = *p;
        } else {
            clear_permit(p);
        }
    }
    access->count = kept;
}

void tr_access_clear(tr_access *access) {
    for (size_t i = 0; i < access->count; i++)
        clear_permit(&access->permits[i]);
    access->count = 0;
    access->own = false;
}

static tr_status add_list(tr_hash *hash, const cJSON *list, tr_error *err) {
    tr_buf text = TR_BUF_INIT;
    tr_status st = list ? tr_json_print(list, &text, err) : TR_OK;
    if (st == TR_OK)
        st = tr_hash_update(hash, list ? text.data : "-", list ? text.len : 1, err);
    tr_buf_clear(&text);
    return st == TR_OK ? tr_hash_update(hash, "", 1, err) : st;
}

tr_status tr_access_digest(const tr_access *access, uint8_t digest[TR_SHA256_LEN], tr_error *err) {
    tr_hash *hash = NULL;
    tr_status st = tr_hash_new(&hash, err);
    if (st == TR_OK)
        st = tr_hash_update(hash, access->own ? "own" : "not", 3, err);
    for (size_t i = 0; st == TR_OK && i < access->count; i++) {
        const tr_permit *p = &access->permits[i];
        const uint8_t kind[2] = {p->masked, (uint8_t)p->actions};
        st = tr_hash_update(hash, kind, sizeof kind, err);
        if (st == TR_OK)
            st = add_list(hash, p->types, err);
        if (st == TR_OK)
            st = add_list(hash, p->field_list, err);
    }
    if (st == TR_OK)
        st = tr_hash_final(hash, digest, err);
    tr_hash_free(hash);
    return st;
}

/* ---- questions ---- */

static bool covers(const tr_permit *p, const char *type, int actions) {
    if (!(p->actions & actions))
        return false;
    if (!type)
        return true;
    const cJSON *name;
    cJSON_ArrayForEach(name, p->types) {
        if (cJSON_IsString(name) && strcmp(name->valuestring, type) == 0)
            return true;
    }
    return false;
}

bool tr_access_may(const tr_access *access, const char *type, int actions) {
    bool may = access->own;
    for (size_t i = 0; i < access->count && !may; i++)
        may = covers(&access->permits[i], type, actions);
    return may;
}

bool tr_access_sees(const tr_access *access, const char *type, const char *field) {
    bool sees = access->own;
    for (size_t i = 0; i < access->count && !sees; i++) {
        const tr_permit *p = &access->permits[i];
        sees = covers(p, type, TR_ACT_READ) && !p->masked &&
               (!p->field_list || tr_rectype_pointer_covers(p->fields, p->field_count, field));
    }
    return sees;
}

bool tr_access_sees_all(const tr_access *access, const char *type) {
    bool all = access->own;
    for (size_t i = 0; i < access->count && !all; i++) {
        const tr_permit *p = &access->permits[i];
        all = covers(p, type, TR_ACT_READ) && !p->masked && !p->field_list;
    }
    return all;
}

static tr_status refuse(tr_error *err, const char *why) {
    return tr_fail(err, TR_E_NO_GRANT, NULL, "%s", why);
}

tr_status tr_access_write(const tr_access *access, const char *type, tr_error *err) {
    if (access->own)
        return TR_OK;
    for (size_t i = 0; i < access->count; i++) {
        const tr_permit *p = &access->permits[i];
        if (covers(p, type, TR_ACT_WRITE) && !p->masked && !p->field_list)
            return TR_OK;
    }
    return refuse(err, "no live grant lets this purpose write whole records of this type");
}

tr_status tr_access_patch(const tr_access *access, const char *type, const cJSON *patch, const cJSON *data,
                          tr_error *err) {
    if (access->own)
        return TR_OK;
    for (size_t i = 0; i < access->count; i++) {
        const tr_permit *p = &access->permits[i];
        if (covers(p, type, TR_ACT_WRITE) && !p->masked &&
            (!p->field_list || tr_rectype_patch_within_data(p->fields, p->field_count, patch, data)))
            return TR_OK;
    }
    return refuse(err, "no live grant lets this purpose write these fields");
}

/* ---- views ---- */

/* Lay `over` onto *base: objects are joined, all else is replaced. Takes `over`. */
static tr_status lay_over(cJSON **base, cJSON *over, tr_error *err) {
    if (!cJSON_IsObject(*base) || !cJSON_IsObject(over)) {
        cJSON_Delete(*base);
        *base = over;
        return TR_OK;
    }
    tr_status st = TR_OK;
    while (st == TR_OK && over->child) {
        cJSON *member = cJSON_DetachItemViaPointer(over, over->child);
        cJSON *old = cJSON_GetObjectItemCaseSensitive(*base, member->string);
        if (cJSON_IsObject(old) && cJSON_IsObject(member)) {
            st = lay_over(&old, member, err); /* no deeper than what tr_json_parse takes */
        } else if (old ? !cJSON_ReplaceItemViaPointer(*base, old, member)
                       : !cJSON_AddItemToArray(*base, member)) {
            cJSON_Delete(member);
            st = tr_fail(err, TR_E_INTERNAL, NULL, "a view cannot be joined");
        }
    }
    cJSON_Delete(over);
    return st;
}

static tr_status add_views(const tr_access *access, const tr_rectype *type, const cJSON *data, bool masked,
                           cJSON **view, tr_error *err) {
    tr_status st = TR_OK;
    for (size_t i = 0; st == TR_OK && i < access->count; i++) {
        const tr_permit *p = &access->permits[i];
        cJSON *part = NULL;
        if (p->masked != masked || !covers(p, tr_rectype_name(type), TR_ACT_READ))
            continue;
        st =
            tr_rectype_view(type, data, p->field_list ? p->fields : NULL, p->field_count, masked, &part, err);
        if (st == TR_OK)
            st = lay_over(view, part, err);
    }
    return st;
}

tr_status tr_access_view(const tr_access *access, const tr_rectype *type, cJSON **data, bool *partial,
                         tr_error *err) {
    *partial = false;
    if (tr_access_sees_all(access, tr_rectype_name(type)))
        return TR_OK;
    cJSON *view = NULL;
    tr_status st = add_views(access, type, *data, true, &view, err);
    if (st == TR_OK)
        st = add_views(access, type, *data, false, &view, err); /* what is seen plainly lies on top */
    if (st == TR_OK && !view)
        st = refuse(err, "no live grant lets this purpose read this type");
    if (st != TR_OK) {
        cJSON_Delete(view);
        return st;
    }
    cJSON_Delete(*data);
    *data = view;
    *partial = true;
    return TR_OK;
}
