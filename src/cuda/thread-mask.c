/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda/thread-mask.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

/* SIGKILL and SIGSTOP can't be blocked and never show. */
static const uint64_t unblockable = UINT64_C(1) << 8 | UINT64_C(1) << 18;

static int mask_read(pid_t pid, pid_t tid, uint64_t *ret_mask)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/task/%d/status", (int)pid, (int)tid);
    CLEANUP(free_ptr) char *text = NULL;
    const char *line;
    size_t length;
    int result;

    result = file_read(AT_FDCWD, path, 65536, &text, &length);
    if (result < 0)
        return result;
    line = strstr(text, "\nSigBlk:");
    if (!line)
        return -ENODATA;
    *ret_mask = strtoull(line + strlen("\nSigBlk:"), NULL, 16);
    return 0;
}

int thread_mask_repair(pid_t pid, pid_t tid, uint64_t mask)
{
    uint64_t now;
    int result, status;

    result = mask_read(pid, tid, &now);
    if (result < 0 || (now | unblockable) != (THREAD_MASK_TRAP_ONLY | unblockable) || now == mask)
        return result;
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0)
        return -errno;
    if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0 || waitpid(tid, &status, __WALL) < 0)
        return -errno;
    result = ptrace(PTRACE_SETSIGMASK, tid, (void *)sizeof mask, &mask) < 0 ? -errno : 0;
    (void)ptrace(PTRACE_DETACH, tid, NULL, NULL);
    return result;
}
