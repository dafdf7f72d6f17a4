/* Shared by the targets only: snapshot_target.c, target_folder.c, target_store.c. */
#ifndef TR_VAULT_TARGET_INTERNAL_H
#define TR_VAULT_TARGET_INTERNAL_H

#include "vault/snapshot_target.h"

/* What a kind of target can do, each as the function of its name in snapshot_target.h. */
typedef struct tr_target_kind {
    void (*close)(tr_target *target);
    tr_status (*sweep)(tr_target *target, tr_error *err);
    tr_status (*remove_part)(tr_target *target, const char *name, tr_error *err);
    tr_status (*folder)(tr_target *target, const char *folder, tr_error *err);
    void (*remove_folder)(tr_target *target, const char *folder);
    tr_status (*begin)(tr_target *target, const char *name, tr_target_file **out, tr_error *err);
    tr_status (*write)(tr_target_file *file, tr_bytes bytes, tr_error *err);
    tr_status (*commit)(tr_target_file *file, tr_error *err);
    void (*abort)(tr_target_file *file);
    tr_status (*remove)(tr_target *target, const char *name, tr_error *err);
    tr_status (*read)(tr_target *target, const char *name, tr_target_source **out, tr_error *err);
    tr_status (*list)(tr_target *target, const char *folder, bool folders, tr_target_name_fn fn,
                      void *context, tr_error *err);
} tr_target_kind;

/* Each begins what its kind has of them. */
struct tr_target {
    const tr_target_kind *kind;
};

struct tr_target_file {
    tr_target *target;
    int64_t written;
};

typedef struct tr_source_kind {
    tr_status (*read)(tr_target_source *source, void *into, size_t room, size_t *got, tr_error *err);
    tr_status (*rewind)(tr_target_source *source, tr_error *err);
    void (*close)(tr_target_source *source);
} tr_source_kind;

struct tr_target_source {
    const tr_source_kind *kind;
    int64_t size;
};

/* ---- target_folder.c ---- */
/* All is written; `fd` is the open file, to read it. It lies under a name of its own until it is committed.
 */
tr_status tr_folder_file_end(tr_target_file *file, int *fd, tr_error *err);
/* Is this in the folder? */
bool tr_folder_has(const tr_target *target, const char *name);

#endif
