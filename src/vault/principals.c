#include "vault/principals.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "crypto/password.h"
#include "vault/vault_internal.h"

static const char *const role_names[TR_ROLE_COUNT] = {
    [TR_SUBJECT] = "subject",   [TR_SERVICE] = "service", [TR_OFFICER] = "officer",
    [TR_OPERATOR] = "operator", [TR_AUDITOR] = "auditor",
};

const char *tr_role_name(tr_role role) {
    return (unsigned)role < TR_ROLE_COUNT ? role_names[role] : "none";
}

bool tr_role_parse(const char *text, tr_role *role) {
    for (int i = 0; i < TR_ROLE_COUNT; i++) {
        if (strcmp(text, role_names[i]) == 0) {
            *role = (tr_role)i;
            return true;
        }
    }
    return false;
}

tr_status tr_principal_keep(void *context, const tr_principal *row, tr_error *err) {
    tr_principal_copy *copy = context;
    copy->row = *row;
    int a = snprintf(copy->uid, sizeof copy->uid, "%s", row->uid);
    int b = snprintf(copy->name, sizeof copy->name, "%s", row->name);
    int c = snprintf(copy->password, sizeof copy->password, "%s", row->password);
    copy->row.uid = copy->uid;
    copy->row.name = copy->name;
    copy->row.password = copy->password;
    if (a >= (int)sizeof copy->uid || b >= (int)sizeof copy->name || c >= (int)sizeof copy->password)
        return tr_fail(err, TR_E_CORRUPT, "vault.db", "a principal's row has a text beyond its limit");
    return TR_OK;
}

bool tr_principal_named_to(const tr_principal *row, const tr_uuid *subject) {
    return row->role != TR_SUBJECT || (row->has_subject && tr_uuid_equal(&row->subject, subject));
}

tr_status tr_principal_set_password(tr_principal_copy *copy, const char *password, char one_time[32],
                                    tr_error *err) {
    one_time[0] = '\0';
    copy->row.password_initial = password == NULL;
    if (password == NULL) {
        tr_status st = tr_password_generate(one_time, err);
        if (st != TR_OK)
            return st;
        password = one_time;
    } else if (strlen(password) > TR_PASSWORD_MAX ||
               tr_utf8_count(password, strlen(password)) < TR_PASSWORD_MIN) {
        return tr_fail(err, TR_E_VALIDATION, "/password",
                       "must have at least %d characters and at most %d bytes", TR_PASSWORD_MIN,
                       TR_PASSWORD_MAX);
    }
    copy->row.password = copy->password;
    return tr_password_hash(password, strlen(password), copy->password, err);
}

tr_status tr_principal_prepare(tr_role role, const char *uid, const char *name, const char *password,
                               tr_principal_copy *copy, char one_time[32], tr_error *err) {
    memset(copy, 0, sizeof *copy);
    if (tr_principal_uid_sealed(uid))
        return tr_fail(err, TR_E_VALIDATION, "/uid", "has a form that the vault keeps for itself");
    int64_t now = tr_now_ms();
    tr_principal row = {.id = tr_uuid_new(),
                        .uid = uid,
                        .name = name ? name : "",
                        .role = role,
                        .password = "",
                        .created_at = now,
                        .updated_at = now,
                        .version = 1};
    tr_status st = tr_principal_keep(copy, &row, err);
    if (st == TR_OK)
        st = tr_principal_set_password(copy, password, one_time, err);
    return st;
}
