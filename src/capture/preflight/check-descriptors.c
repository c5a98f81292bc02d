/* SPDX-License-Identifier: Apache-2.0 */
/* Open descriptors of the kernel's own kinds of objects. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "capture/preflight/inspection.h"

static const struct {
    const char *name; /* a part of what the kernel calls it */
    const char *code;
} objects[] = {
    {"[io_uring]", "io-uring-in-use"}, {"[userfaultfd]", "userfaultfd"},
    {"[perf_event]", "perf-event"},    {"inode:bpf", "bpf-object"},
    {"inode:[bpf", "bpf-object"},      {"inode:btf", "bpf-object"},
    {"inode:kvm", "kvm-object"},       {"inode:[kvm", "kvm-object"},
    {"/secretmem", "secret-memory"},
};

/* Who uses io_uring is seen by the libraries that are mapped. */
static const struct {
    const char *part; /* of a path */
    const char *culprit;
} io_uring_users[] = {
    {"/uvloop/", "uvloop (libuv inside): UV_USE_IO_URING=0 also keeps it away"},
    {"/libuv.so", "libuv: UV_USE_IO_URING=0 also keeps it away"},
    {"/bin/node", "Node.js (libuv inside): UV_USE_IO_URING=0 also keeps it away"},
    {"/liburing.so", "liburing"},
    {"/liburing-ffi.so", "liburing"},
    {"/libtokio", "tokio"},
};

static char *io_uring_culprit(const struct inspected *inspected)
{
    for (size_t i = 0; i < sizeof io_uring_users / sizeof io_uring_users[0]; i++) {
        for (size_t j = 0; j < inspected->mappings.count; j++) {
            if (strstr(inspected->mappings.mappings[j].name, io_uring_users[i].part))
                return text_format("likely by %s", io_uring_users[i].culprit);
        }
    }
    return NULL;
}

void object_refuse(struct inspection *inspection, const struct inspected *inspected,
                   const char *name, const char *where)
{
    const char *code = "kernel-object";

    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++) {
        if (strstr(name, objects[i].name)) {
            code = objects[i].code;
            break;
        }
    }
    finding_add(inspection, code, PREFLIGHT_REFUSE, inspected->process,
                text_equal(code, "io-uring-in-use") ? io_uring_culprit(inspected) : NULL,
                "%s is %s", where, name);
}

static void check_pidfd(struct inspection *inspection, const struct inspected *inspected,
                        const struct descriptor *descriptor)
{
    /* PIDFD_THREAD has the value of O_EXCL. */
    if (descriptor->flags & O_EXCL)
        finding_add(inspection, "pidfd-thread", PREFLIGHT_REFUSE, inspected->process, NULL,
                    "descriptor %d is a pidfd of a thread", descriptor->fd);
    else if (descriptor->other > 0 && !process_tree_find(&inspection->tree, descriptor->other))
        finding_add(inspection, "pidfd-outside", PREFLIGHT_REFUSE, inspected->process, NULL,
                    "descriptor %d is a pidfd of process %d, outside of the tree", descriptor->fd,
                    (int)descriptor->other);
    else if (descriptor->other == 0)
        finding_add(inspection, "pidfd-outside", PREFLIGHT_REFUSE, inspected->process, NULL,
                    "descriptor %d is a pidfd of a process outside of its pid namespace",
                    descriptor->fd);
}

static bool is_overlay(const struct mount_table *mounts, dev_t device)
{
    for (size_t i = 0; i < mounts->count; i++) {
        if (mounts->mounts[i].device == device && text_equal(mounts->mounts[i].type, "overlay"))
            return true;
    }
    return false;
}

/* CRIU finds what is watched by its file handle, and an overlay has none: then it looks in a few
 * directories only. The kernel writes device numbers as it keeps them: 20 bits of minor number. */
static void check_watches(struct inspection *inspection, const struct inspected *inspected,
                          const struct descriptor *descriptor)
{
    const struct mount_table *mounts = inspection_mounts(inspection, inspected);
    CLEANUP(free_ptr) char *path = text_format("fdinfo/%d", descriptor->fd);
    CLEANUP(free_ptr) char *text = NULL;

    if (!mounts || file_read(inspected->directory, path, 16 << 20, &text, NULL) < 0)
        return;
    for (const char *cursor = text; (cursor = strstr(cursor, " sdev:"));) {
        unsigned long number = strtoul(cursor += strlen(" sdev:"), NULL, 16);

        if (!is_overlay(mounts, makedev(number >> 20, number & 0xfffff)))
            continue;
        finding_add(inspection, "watch-on-overlay", PREFLIGHT_WARN, inspected->process, NULL,
                    "descriptor %d (inotify) watches something of the container's image",
                    descriptor->fd);
        return;
    }
}

static bool namespace_of_tree(const struct inspection *inspection, uint64_t inode)
{
    for (size_t i = 0; i < inspection->count; i++) {
        for (int kind = 0; kind < NAMESPACE_KINDS; kind++) {
            if (inspection->processes[i].namespaces.inode[kind] == inode)
                return true;
        }
    }
    return false;
}

static void check_descriptor(struct inspection *inspection, const struct inspected *inspected,
                             const struct descriptor *descriptor)
{
    char where[48];

    (void)snprintf(where, sizeof where, "descriptor %d", descriptor->fd);
    switch (descriptor->kind) {
    case DESCRIPTOR_IO_URING:
    case DESCRIPTOR_USERFAULTFD:
    case DESCRIPTOR_PERF_EVENT:
    case DESCRIPTOR_BPF:
    case DESCRIPTOR_KVM:
    case DESCRIPTOR_DMABUF:
    case DESCRIPTOR_OTHER:
        object_refuse(inspection, inspected, descriptor->target, where);
        break;
    case DESCRIPTOR_FILE:
        if (text_starts_with(descriptor->target, "/secretmem"))
            object_refuse(inspection, inspected, descriptor->target, where);
        break;
    case DESCRIPTOR_INOTIFY:
        check_watches(inspection, inspected, descriptor);
        break;
    case DESCRIPTOR_PIDFD:
        check_pidfd(inspection, inspected, descriptor);
        break;
    case DESCRIPTOR_NAMESPACE:
        if (!namespace_of_tree(inspection, descriptor->inode))
            finding_add(inspection, "namespace-outside", PREFLIGHT_REFUSE, inspected->process, NULL,
                        "descriptor %d is the namespace %s, in which no process of the "
                        "tree is",
                        descriptor->fd, descriptor->target);
        break;
    default:
        break;
    }
    if (descriptor->locked && inspection->request->leave_running)
        finding_add(inspection, "file-lock", PREFLIGHT_NOTE, inspected->process, NULL,
                    "descriptor %d holds a lock on %s", descriptor->fd, descriptor->target);
}

void check_descriptors(struct inspection *inspection)
{
    for (size_t i = 0; i < inspection->count; i++) {
        const struct inspected *inspected = &inspection->processes[i];

        for (size_t j = 0; j < inspected->descriptors.count; j++)
            check_descriptor(inspection, inspected, &inspected->descriptors.descriptors[j]);
    }
}
