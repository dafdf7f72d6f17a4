/* What principals and activities are called, with the latest at hand: an access list names few, many times.
 */
#include <stdio.h>
#include <string.h>

#include "base/secret.h"
#include "vault/package_internal.h"
#include "vault/principals.h"

static tr_package_name *slot_of(tr_package *p, const tr_uuid *id) {
    return &p->names[id->bytes[15] % TR_PACKAGE_NAMES];
}

/* Cut at a character's end. */
static void set_text(tr_package_name *n, const char *text) {
    size_t len = strlen(text);
    if (len > TR_PACKAGE_NAME) {
        len = TR_PACKAGE_NAME;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
    }
    memcpy(n->text, text, len);
    n->text[len] = '\0';
}

/* The slot, made ready for this id when it holds another. */
static bool at_hand(tr_package *p, const tr_uuid *id, tr_package_name **n) {
    *n = slot_of(p, id);
    if ((*n)->known && tr_uuid_equal(&(*n)->id, id))
        return true;
    tr_wipe(*n, sizeof **n);
    (*n)->id = *id;
    return false;
}

static tr_status keep(tr_package_name *n, tr_status st) {
    n->known = st == TR_OK || st == TR_E_NOT_FOUND;
    n->found = st == TR_OK;
    return n->known ? TR_OK : st;
}

tr_status tr_package_principal(tr_package *p, const tr_uuid *id, const tr_package_name **name,
                               tr_error *err) {
    tr_package_name *n;
    tr_principal_copy copy;
    bool there = at_hand(p, id, &n);
    *name = n;
    if (there)
        return TR_OK;
    tr_status st = tr_principal_load(p->vault, p->db, id, &copy, err);
    if (st == TR_OK) {
        set_text(n, copy.name[0] ? copy.name : copy.uid);
        snprintf(n->role, sizeof n->role, "%s", tr_role_name(copy.row.role));
    }
    if (st == TR_OK && !tr_principal_named_to(&copy.row, &p->options->subject))
        st = TR_E_NOT_FOUND;
    tr_wipe(&copy, sizeof copy);
    return keep(n, st);
}

static tr_status keep_activity(void *context, const tr_activity *row, tr_error *err) {
    cJSON *doc = NULL;
    tr_status st = tr_json_parse(row->doc, strlen(row->doc), &doc, err);
    const char *text = tr_json_string(doc, "name");
    if (text)
        set_text(context, text);
    cJSON_Delete(doc);
    return st == TR_E_MALFORMED ? tr_fail(err, TR_E_CORRUPT, "vault.db", "a stored activity is damaged") : st;
}

tr_status tr_package_activity(tr_package *p, const tr_uuid *id, const tr_package_name **name, tr_error *err) {
    tr_package_name *n;
    bool there = at_hand(p, id, &n);
    *name = n;
    return there ? TR_OK : keep(n, tr_activity_get(p->db, id, keep_activity, n, err));
}

tr_status tr_package_name_of(tr_package *p, const char *id, tr_package_name_fn *of, const char **name,
                             tr_error *err) {
    const tr_package_name *n = NULL;
    tr_uuid parsed;
    tr_status st = TR_OK;
    if (id && tr_uuid_parse(id, strlen(id), &parsed))
        st = of(p, &parsed, &n, err);
    *name = n && n->found ? n->text : NULL;
    return st;
}
