/* The user: from root to one that owns nothing but the data. */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/confine.h"

#define NAME_ROOM 96

typedef struct identity {
    char user[NAME_ROOM];
    uid_t uid;
    gid_t gid;
    bool named; /* has groups of its own */
} identity;

static bool number(const char *text, unsigned *value) {
    char *end = NULL;
    errno = 0;
    unsigned long parsed = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || parsed >= (unsigned)-1)
        return false;
    *value = (unsigned)parsed;
    return true;
}

static tr_status find_user(identity *who, bool group_given, tr_error *err) {
    errno = 0;
    const struct passwd *entry = getpwnam(who->user); /* no thread runs yet */
    if (entry) {
        who->uid = entry->pw_uid;
        who->gid = entry->pw_gid;
        who->named = true;
        return TR_OK;
    }
    if (!number(who->user, &who->uid))
        return tr_fail(err, TR_E_CONFIG, "run_as", "names no user of this machine");
    entry = getpwuid(who->uid);
    if (!entry && !group_given)
        return tr_fail(err, TR_E_CONFIG, "run_as", "a number that is no user's needs a group: UID:GID");
    if (entry)
        who->gid = entry->pw_gid;
    return TR_OK;
}

static tr_status parse(const char *run_as, identity *who, tr_error *err) {
    const char *colon = strchr(run_as, ':');
    size_t len = colon ? (size_t)(colon - run_as) : strlen(run_as);
    if (len == 0 || len >= sizeof who->user)
        return tr_fail(err, TR_E_CONFIG, "run_as", "must be USER or USER:GROUP");
    *who = (identity){0};
    memcpy(who->user, run_as, len);
    tr_status st = find_user(who, colon != NULL, err);
    if (st != TR_OK || !colon)
        return st;
    const struct group *group = getgrnam(colon + 1);
    if (group)
        who->gid = group->gr_gid;
    else if (!number(colon + 1, &who->gid))
        st = tr_fail(err, TR_E_CONFIG, "run_as", "names no group of this machine");
    return st;
}

/* What is left of root's capabilities: the one to bind low ports, until the saved user id goes too. */
static tr_status keep_binding(tr_error *err) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct set[2] = {{0}};
    set[0].permitted = set[0].effective = 1U << CAP_NET_BIND_SERVICE;
    return syscall(SYS_capset, &head, set) == 0 ? TR_OK : tr_fail_errno(err, "run_as", "capset");
}

tr_status tr_become(const char *run_as, bool binding, tr_error *err) {
    identity who;
    tr_status st = parse(run_as, &who, err);
    if (st != TR_OK)
        return st;
    if (who.uid == 0)
        return tr_fail(err, TR_E_CONFIG, "run_as", "is root");
    if (geteuid() != 0)
        return who.uid == geteuid()
                   ? TR_OK
                   : tr_fail(err, TR_E_CONFIG, "run_as", "only root can become another user");
    if ((who.named ? initgroups(who.user, who.gid) : setgroups(0, NULL)) != 0 ||
        setresgid(who.gid, who.gid, who.gid) != 0 || setresuid(who.uid, who.uid, binding ? 0 : who.uid) != 0)
        return tr_fail_errno(err, "run_as", "cannot become that user");
    if (binding)
        st = keep_binding(err);
    else if (setuid(0) == 0)
        st = tr_fail(err, TR_E_INTERNAL, "run_as", "root's rights did not go");
    /* The kernel sets it anew with the user. */
    if (st == TR_OK && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        st = tr_fail_errno(err, NULL, "cannot switch core dumps off");
    return st;
}

/* glibc changes the ids of every thread; the kernel drops what capabilities are left with the last id 0. */
tr_status tr_become_finish(tr_error *err) {
    uid_t uid = geteuid();
    if (uid == 0)
        return TR_OK;
    if (setresuid(uid, uid, uid) != 0)
        return tr_fail_errno(err, "run_as", "cannot leave root's rights");
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 ? TR_OK
                                                   : tr_fail_errno(err, NULL, "cannot switch core dumps off");
}
