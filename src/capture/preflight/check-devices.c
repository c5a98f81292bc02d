/* SPDX-License-Identifier: Apache-2.0 */
/* Devices: CRIU knows the memory devices (null, zero, random, …), terminals and tun; everything
 * else holds state that only its driver knows. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "capture/preflight/inspection.h"

/* Documentation/admin-guide/devices.txt of the kernel */
enum {
    MAJOR_MEMORY = 1,
    MAJOR_CONSOLE = 4,
    MAJOR_TERMINAL = 5,
    MAJOR_MISC = 10,
    MINOR_TUN = 200,
    MINOR_FIRST_SERIAL = 64,
};

enum device_class { DEVICE_PLAIN, DEVICE_NVIDIA, DEVICE_GDRCOPY, DEVICE_INFINIBAND };

static enum device_class classify(const char *driver, const char *path)
{
    if ((driver && text_starts_with(driver, "nvidia")) || text_starts_with(path, "/dev/nvidia"))
        return DEVICE_NVIDIA;
    if ((driver && text_starts_with(driver, "gdrdrv")) || text_starts_with(path, "/dev/gdrdrv"))
        return DEVICE_GDRCOPY;
    if ((driver && text_starts_with(driver, "infiniband")) ||
        text_starts_with(path, "/dev/infiniband/"))
        return DEVICE_INFINIBAND;
    return DEVICE_PLAIN;
}

static void nvidia_found(struct inspection *inspection, const struct inspected *inspected,
                         const char *where, const char *path)
{
    const struct process *process = inspected->process;

    if (!inspection->request->cuda_known)
        finding_add(inspection, "nvidia-without-cuda", PREFLIGHT_WARN, process, NULL,
                    "%s is %s; whether the process has CUDA state, which would let go of it, is "
                    "not known",
                    where, path);
    else if (!inspection_has_cuda(inspection, process->pid))
        finding_add(inspection, "nvidia-without-cuda", PREFLIGHT_REFUSE, process,
                    text_copy("a forked child that does not use CUDA itself, or a user of NVML"),
                    "%s is %s, but the process has no CUDA state", where, path);
}

/* `where`: "descriptor 3" or "memory at …". */
static void device_found(struct inspection *inspection, const struct inspected *inspected,
                         const char *where, const char *path, dev_t device)
{
    CLEANUP(free_ptr) char *driver = device_driver_name(major(device));

    switch (classify(driver, path)) {
    case DEVICE_NVIDIA:
        nvidia_found(inspection, inspected, where, path);
        break;
    case DEVICE_GDRCOPY:
        finding_add(inspection, "gdrcopy-device", PREFLIGHT_REFUSE, inspected->process, NULL,
                    "%s is %s", where, path);
        break;
    case DEVICE_INFINIBAND:
        finding_add(inspection, "infiniband-device", PREFLIGHT_REFUSE, inspected->process, NULL,
                    "%s is %s", where, path);
        break;
    default:
        finding_add(inspection, "character-device", PREFLIGHT_REFUSE, inspected->process, NULL,
                    "%s is the device %s (%u:%u, driver %s)", where, path, major(device),
                    minor(device), driver ? driver : "unknown");
        break;
    }
}

static bool is_tun(dev_t device)
{
    return major(device) == MAJOR_MISC && minor(device) == MINOR_TUN;
}

static void check_character_device(struct inspection *inspection, const struct inspected *inspected,
                                   const struct descriptor *descriptor)
{
    char where[48];

    if (major(descriptor->device_number) == MAJOR_MEMORY)
        return;
    if (is_tun(descriptor->device_number)) {
        if (!(inspection->own_kinds & (1U << NAMESPACE_NETWORK)))
            finding_add(inspection, "tun-device", PREFLIGHT_REFUSE, inspected->process, NULL,
                        "descriptor %d is %s, and the tree has no network namespace of its own",
                        descriptor->fd, descriptor->target);
        return;
    }
    (void)snprintf(where, sizeof where, "descriptor %d", descriptor->fd);
    device_found(inspection, inspected, where, descriptor->target, descriptor->device_number);
}

/* Consoles tty1 to tty63, /dev/tty, /dev/console, ptmx and pseudo terminals are known to CRIU. */
static void check_terminal(struct inspection *inspection, const struct inspected *inspected,
                           const struct descriptor *descriptor)
{
    unsigned high = major(descriptor->device_number), low = minor(descriptor->device_number);

    if (high == MAJOR_TERMINAL || (high >= 136 && high <= 143) ||
        (high == MAJOR_CONSOLE && low > 0 && low < MINOR_FIRST_SERIAL))
        return;
    finding_add(inspection, "character-device",
                high == MAJOR_CONSOLE ? PREFLIGHT_REFUSE : PREFLIGHT_WARN, inspected->process, NULL,
                "descriptor %d is the terminal %s (%u:%u), which belongs to hardware",
                descriptor->fd, descriptor->target, high, low);
}

void check_devices(struct inspection *inspection)
{
    for (size_t i = 0; i < inspection->count; i++) {
        const struct inspected *inspected = &inspection->processes[i];

        for (size_t j = 0; j < inspected->descriptors.count; j++) {
            const struct descriptor *descriptor = &inspected->descriptors.descriptors[j];

            if (descriptor->kind == DESCRIPTOR_CHARACTER_DEVICE)
                check_character_device(inspection, inspected, descriptor);
            else if (descriptor->kind == DESCRIPTOR_TERMINAL)
                check_terminal(inspection, inspected, descriptor);
            else if (descriptor->kind == DESCRIPTOR_BLOCK_DEVICE)
                finding_add(inspection, "block-device", PREFLIGHT_REFUSE, inspected->process, NULL,
                            "descriptor %d is the block device %s", descriptor->fd,
                            descriptor->target);
        }
    }
}

static bool same_device_before(const struct inspected *inspected, size_t index)
{
    const struct mapping *mapping = &inspected->mappings.mappings[index];

    for (size_t i = index; i-- > 0;) {
        if (inspected->mappings.mappings[i].kind == mapping->kind &&
            text_equal(inspected->mappings.mappings[i].name, mapping->name))
            return true;
    }
    return false;
}

static void check_device_mapping(struct inspection *inspection, const struct inspected *inspected,
                                 size_t index)
{
    const struct mapping *mapping = &inspected->mappings.mappings[index];
    dev_t device = mapping_device_number(inspected->directory, mapping);

    /* 0: not a device after all, or gone meanwhile. /dev/zero is memory. */
    if (device == 0 || major(device) == MAJOR_MEMORY || same_device_before(inspected, index))
        return;
    device_found(inspection, inspected, "a memory mapping", mapping->name, device);
}

void check_mappings(struct inspection *inspection)
{
    bool shared_ipc = !(inspection->own_kinds & (1U << NAMESPACE_IPC));

    for (size_t i = 0; i < inspection->count; i++) {
        const struct inspected *inspected = &inspection->processes[i];

        for (size_t j = 0; j < inspected->mappings.count; j++) {
            const struct mapping *mapping = &inspected->mappings.mappings[j];

            if (mapping->kind == MAPPING_DEVICE)
                check_device_mapping(inspection, inspected, j);
            else if (mapping->kind == MAPPING_ANON_INODE ||
                     text_starts_with(mapping->name, "/secretmem"))
                object_refuse(inspection, inspected, mapping->name, "a memory mapping");
            else if (mapping->kind == MAPPING_SYSV && shared_ipc)
                finding_add(inspection, "sysv-shared-memory", PREFLIGHT_REFUSE, inspected->process,
                            NULL,
                            "it has System V shared memory %llu attached, in an IPC "
                            "namespace that is not the tree's own",
                            (unsigned long long)mapping->inode);
        }
    }
}
