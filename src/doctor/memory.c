/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "doctor/machine.h"
#include "doctor/small-file.h"

#define TMPFS_TYPE 0x01021994

static const uint64_t least_available = UINT64_C(512) << 20;
static const uint64_t least_shared = UINT64_C(256) << 20;

static uint64_t meminfo(const char *key)
{
    long long kilobytes = small_file_number("/proc/meminfo", key);

    return kilobytes > 0 ? (uint64_t)kilobytes * 1024 : 0;
}

static void examine_amount(struct findings *findings)
{
    uint64_t available = meminfo("MemAvailable");
    CLEANUP(free_ptr) char *free_text = text_bytes(available);
    CLEANUP(free_ptr) char *total_text = text_bytes(meminfo("MemTotal"));

    findings_add(findings, "memory", available < least_available ? FINDING_WARNING : FINDING_OK,
                 "%s of %s memory are available", free_text, total_text);
}

static void examine_shared_memory(struct findings *findings)
{
    CLEANUP(free_ptr) char *size = NULL;
    struct statvfs fs;
    struct statfs type;
    uint64_t bytes;

    if (statvfs("/dev/shm", &fs) < 0 || statfs("/dev/shm", &type) < 0 ||
        type.f_type != TMPFS_TYPE) {
        findings_add(findings, "shared-memory", FINDING_WARNING, "/dev/shm is no tmpfs");
        return;
    }
    bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
    size = text_bytes(bytes);
    findings_add(findings, "shared-memory", bytes < least_shared ? FINDING_WARNING : FINDING_OK,
                 "/dev/shm has %s", size);
}

static void examine_huge_pages(struct findings *findings)
{
    CLEANUP(free_ptr)
    char *choice = small_file_choice("/sys/kernel/mm/transparent_hugepage/enabled");

    if (!choice || text_equal(choice, "never"))
        findings_add(findings, "huge-pages", FINDING_WARNING, "Transparent huge pages are off");
    else
        findings_add(findings, "huge-pages", FINDING_OK, "Transparent huge pages: %s", choice);
}

void examine_memory(struct findings *findings)
{
    examine_amount(findings);
    examine_shared_memory(findings);
    examine_huge_pages(findings);
}
