/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces: CRIU saves those of the root, and deeper ones of a few kinds only. */
#include "basic/text.h"
#include "capture/preflight/inspection.h"

static const struct {
    enum namespace_kind kind;
    bool nests; /* where the root has a namespace of its own, processes may have others */
} kinds[] = {
    {NAMESPACE_PID, false},  {NAMESPACE_USER, false},   {NAMESPACE_IPC, false},
    {NAMESPACE_UTS, false},  {NAMESPACE_TIME, false},   {NAMESPACE_CGROUP, false},
    {NAMESPACE_MOUNT, true}, {NAMESPACE_NETWORK, true},
};

static void check_nested(struct inspection *inspection, const struct inspected *inspected)
{
    const struct namespaces *root = &inspection->processes[0].namespaces;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        enum namespace_kind kind = kinds[i].kind;
        bool allowed = kinds[i].nests && (inspection->own_kinds & (1U << kind));

        /* One that is about to be gone has none any more. */
        if (inspected->namespaces.inode[kind] != 0 &&
            inspected->namespaces.inode[kind] != root->inode[kind] && !allowed)
            finding_add(inspection, "namespace-nested", PREFLIGHT_REFUSE, inspected->process, NULL,
                        "it is in another %s namespace than process %d, the root of the tree",
                        namespace_name(kind), (int)inspection->request->root);
    }
}

static void check_root_namespaces(struct inspection *inspection)
{
    const struct process *root = inspection->processes[0].process;
    bool own_pids = inspection->own_kinds & (1U << NAMESPACE_PID);
    bool entered_pids = inspection->request->entered & (1U << NAMESPACE_PID);

    if (own_pids && root->inner_pid != 1)
        finding_add(inspection, "not-namespace-init", PREFLIGHT_REFUSE, root, NULL,
                    "it is process %d of its pid namespace; such a namespace is saved from its "
                    "process 1 on, or from inside",
                    (int)root->inner_pid);
    if ((inspection->own_kinds & (1U << NAMESPACE_USER)) && !own_pids &&
        !inspection->request->contained)
        finding_add(inspection, "user-namespace", PREFLIGHT_REFUSE, root, NULL,
                    "it has a user namespace of its own, but no pid namespace");
    if (inspection->own_kinds & (1U << NAMESPACE_MOUNT)) {
        const struct mount_table *mounts = inspection_mounts(inspection, &inspection->processes[0]);

        finding_add(inspection, "mount-namespace", PREFLIGHT_WARN, root, NULL,
                    "it has a mount namespace of its own, with %zu mounts that have to be saved "
                    "and made again",
                    mounts ? mounts->count : 0);
    }
    if (!own_pids && !entered_pids)
        finding_add(inspection, "process-ids", PREFLIGHT_NOTE, root, NULL,
                    "it has no process ids of its own: a restore needs the same %zu ids, which "
                    "must be free then",
                    inspection->tree.count);
}

void check_namespaces(struct inspection *inspection)
{
    for (size_t i = 1; i < inspection->count; i++)
        check_nested(inspection, &inspection->processes[i]);
    check_root_namespaces(inspection);
}
