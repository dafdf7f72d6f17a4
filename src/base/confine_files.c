/* Files: Landlock, by its system calls. Debian 12's headers know its first two versions only, so that the
 * rest of the interface stands here (linux/landlock.h of Linux 6.15). */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/landlock.h>

#include "base/confine.h"

#define FS_TRUNCATE    (UINT64_C(1) << 14) /* version 3 */
#define FS_IOCTL_DEV   (UINT64_C(1) << 15) /* version 5 */
#define SCOPE_ABSTRACT (UINT64_C(1) << 0)  /* version 6: no abstract Unix socket of anybody else */
#define SCOPE_SIGNAL   (UINT64_C(1) << 1)  /* version 6: no signal to anybody else */

#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_WRITE                                                                                             \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |        \
     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK)
#define FS_NOBODY                                                                                            \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_FIFO |              \
     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)
/* What a rule for something that is no folder may hold. */
#define FS_OF_A_FILE                                                                                         \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

struct ruleset { /* struct landlock_ruleset_attr: 8 bytes in version 1, 16 in 4, 24 in 6 */
    uint64_t files, net, scoped;
};

static uint64_t known(int version) {
    return FS_READ | FS_WRITE | FS_NOBODY | (version >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0) |
           (version >= 3 ? FS_TRUNCATE : 0) | (version >= 5 ? FS_IOCTL_DEV : 0);
}

static uint64_t wanted(tr_place_use use) {
    uint64_t write = FS_READ | FS_WRITE | LANDLOCK_ACCESS_FS_REFER | FS_TRUNCATE;
    return use == TR_PLACE_READ ? FS_READ : use == TR_PLACE_WRITE ? write : write | FS_IOCTL_DEV;
}

static tr_status allow(int rules, const tr_place *place, int version, tr_error *err) {
    struct stat info;
    tr_status st = TR_OK;
    int fd = open(place->path, O_PATH | O_CLOEXEC);
    if (fd < 0) /* what cannot be opened now is not needed, or fails by itself */
        return TR_OK;
    uint64_t access = wanted(place->use) & known(version);
    if (fstat(fd, &info) != 0)
        st = tr_fail_errno(err, place->path, "fstat");
    else if (!S_ISDIR(info.st_mode))
        access &= FS_OF_A_FILE;
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    if (st == TR_OK && syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
        st = tr_fail_errno(err, place->path, "Landlock does not take the rule");
    (void)close(fd);
    return st;
}

tr_status tr_confine_files(const tr_place *places, size_t count, int *version, tr_error *err) {
    tr_status st = TR_OK;
    *version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (*version < 1) {
        *version = 0;
        return errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM
                   ? TR_OK
                   : tr_fail_errno(err, NULL, "Landlock");
    }
    const struct ruleset all = {.files = known(*version), .scoped = SCOPE_ABSTRACT | SCOPE_SIGNAL};
    size_t size = *version >= 6 ? sizeof all : sizeof all.files;
    int rules = (int)syscall(SYS_landlock_create_ruleset, &all, size, 0);
    if (rules < 0)
        return tr_fail_errno(err, NULL, "Landlock");
    for (size_t i = 0; i < count; i++)
        TR_TRY(allow(rules, &places[i], *version, err));
    if (tr_confine_relaxed())
        TR_TRY(allow(rules, &(tr_place){"/", TR_PLACE_READ}, *version, err));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_landlock_restrict_self, rules, 0) != 0)
        st = tr_fail_errno(err, NULL, "Landlock does not hold");
out:
    (void)close(rules);
    return st;
}
