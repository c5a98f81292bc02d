/* SPDX-License-Identifier: Apache-2.0 */
/* All that is read of a tree, once, and what the checks share. For the files of this folder. */
#pragma once

#include "capture/preflight.h"
#include "proc/descriptors.h"
#include "proc/maps.h"
#include "proc/mounts.h"
#include "proc/namespaces.h"
#include "proc/sockets.h"

struct inspected {
    const struct process *process;
    int directory; /* of /proc/<pid> */
    struct namespaces namespaces;
    struct descriptor_table descriptors;
    struct mapping_table mappings;
};

struct inspected_mounts {
    uint64_t inode; /* of the mount namespace */
    struct mount_table table;
};

struct inspected_inode {
    uint64_t inode;
    size_t process, descriptor; /* indexes: where it was seen first */
};

struct inspection {
    const struct preflight_request *request;
    struct preflight_report report;
    struct process_tree tree;
    struct inspected *processes; /* those that live; processes[0] is the root */
    size_t count;
    struct namespaces criu; /* those in which CRIU works */
    unsigned own_kinds;     /* 1 << kind: the root's namespace is not CRIU's */

    struct inspected_mounts *mounts;
    size_t mounts_count;

    struct socket_table sockets;           /* of the root's network namespace */
    struct inspected_inode *socket_inodes; /* those open in the tree, ascending, each once */
    size_t socket_count;
};

/* inspection_done gives up what it holds, also after a failure. */
int inspection_read(const struct preflight_request *request, struct inspection *ret,
                    struct error *error);
void inspection_done(struct inspection *inspection);

/* NULL: no descriptor of the tree is this socket. */
const struct inspected_inode *inspection_socket(const struct inspection *inspection,
                                                uint64_t inode);

/* The mounts of the namespace of a process; NULL when they could not be read. */
const struct mount_table *inspection_mounts(const struct inspection *inspection,
                                            const struct inspected *inspected);

/* Whether the process is known to have CUDA state. */
bool inspection_has_cuda(const struct inspection *inspection, pid_t pid);

/* "1234 (bash)", or "1234" when it is gone; the caller frees it. */
char *process_text(pid_t pid);

/* Adds a finding; `inspected` NULL: of the whole tree. `details` (may be NULL) is taken over. */
void finding_add(struct inspection *inspection, const char *code, enum preflight_level level,
                 const struct process *process, char *details, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* The checks, in the order of the list in preflight.c. */
void check_machine(struct inspection *inspection);
void check_processes(struct inspection *inspection);
void check_threads(struct inspection *inspection);
void check_namespaces(struct inspection *inspection);
void check_descriptors(struct inspection *inspection);
void check_devices(struct inspection *inspection);
void check_mappings(struct inspection *inspection);
void check_files(struct inspection *inspection);
void check_connections(struct inspection *inspection);
void check_unix_sockets(struct inspection *inspection);
void check_silent(struct inspection *inspection);
void check_outside(struct inspection *inspection);
void check_gpus(struct inspection *inspection);
void check_space(struct inspection *inspection);

/* What check_descriptors and check_mappings share: a kernel object that CRIU can't save, named as
 * the kernel names it ("anon_inode:[io_uring]"). */
void object_refuse(struct inspection *inspection, const struct inspected *inspected,
                   const char *name, const char *where);
