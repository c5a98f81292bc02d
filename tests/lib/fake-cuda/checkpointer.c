/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoint interface, as called by one process about another. */
#include "fake-cuda.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

static bool caller_initialized;

void fake_caller_initialized(void);

void fake_caller_initialized(void)
{
    caller_initialized = true;
}

#if FAKE_CUDA_VERSION >= 12080

/* The number of a "Name:  12 7" line of a status file, the last one of the line. */
static int status_number(int pid, int tid, const char *name)
{
    char path[64], line[256];
    int number = -1;
    FILE *file;

    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, tid);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, name, strlen(name)) != 0)
            continue;
        for (char *rest = NULL, *word = strtok_r(line + strlen(name), " \t\n", &rest); word;
             word = strtok_r(NULL, " \t\n", &rest))
            number = (int)strtol(word, NULL, 10);
    }
    if (file)
        (void)fclose(file);
    return number;
}

/* A thread's id does for its process, as with the real driver. */
static int process_of(int pid)
{
    int group = status_number(pid, pid, "Tgid:");

    return group > 0 ? group : pid;
}

/* Where the target has its mailbox: the same file is mapped there, at some other address. */
static uint64_t mailbox_address(int pid)
{
    uint64_t address = 0, start, end, offset;
    unsigned long long inode;
    char path[64], line[512];
    unsigned major_number, minor_number;
    struct stat own;
    Dl_info info;
    FILE *maps;

    if (!dladdr(&fake_cuda_mailbox, &info) || stat(info.dli_fname, &own) < 0)
        return 0;
    (void)snprintf(path, sizeof path, "/proc/%d/maps", pid);
    maps = fopen(path, "re");
    while (maps && address == 0 && fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx %*s %lx %x:%x %llu", &start, &end, &offset, &major_number,
                   &minor_number, &inode) == 6 &&
            offset == 0 && inode == own.st_ino && makedev(major_number, minor_number) == own.st_dev)
            address = start + ((uintptr_t)&fake_cuda_mailbox - (uintptr_t)info.dli_fbase);
    }
    if (maps)
        (void)fclose(maps);
    return address;
}

static bool target_read(int pid, uint64_t address, void *data, size_t length)
{
    struct iovec local = {data, length}, remote = {(void *)(uintptr_t)address, length};

    return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)length;
}

static bool target_write(int pid, uint64_t address, const void *data, size_t length)
{
    struct iovec local = {(void *)(uintptr_t)data, length},
                 remote = {(void *)(uintptr_t)address, length};

    return process_vm_writev(pid, &local, 1, &remote, 1, 0) == (ssize_t)length;
}

static int mailbox_find(int *pid, uint64_t *ret_address, struct fake_mailbox *mailbox)
{
    uint64_t address;

    if (*pid <= 0)
        return STASIS_CU_ERROR_INVALID_VALUE;
    *pid = process_of(*pid);
    if (status_number(*pid, *pid, "Tgid:") < 0)
        return STASIS_CU_ERROR_INVALID_VALUE;
    address = mailbox_address(*pid);
    if (address == 0)
        return STASIS_CU_ERROR_NOT_INITIALIZED;
    if (!target_read(*pid, address, mailbox, sizeof *mailbox))
        return errno == EPERM ? STASIS_CU_ERROR_OPERATING_SYSTEM : STASIS_CU_ERROR_NOT_INITIALIZED;
    if (mailbox->magic != FAKE_MAILBOX_MAGIC || mailbox->pid != status_number(*pid, *pid, "NSpid:"))
        return STASIS_CU_ERROR_NOT_INITIALIZED;
    *ret_address = address;
    return STASIS_CU_SUCCESS;
}

/* Hands a request to the restore thread and waits for its answer, however long that takes. */
static int request_do(int pid, struct fake_request *request)
{
    struct fake_mailbox mailbox;
    uint64_t address;
    uint32_t number;
    int result;

    result = mailbox_find(&pid, &address, &mailbox);
    if (result != STASIS_CU_SUCCESS)
        return result;
    number = mailbox.request_number + 1;
    if (!target_write(pid, address + offsetof(struct fake_mailbox, request), request,
                      sizeof *request) ||
        !target_write(pid, address + offsetof(struct fake_mailbox, request_number), &number,
                      sizeof number))
        return STASIS_CU_ERROR_OPERATING_SYSTEM;
    do {
        (void)usleep(500);
        if (!target_read(pid, address, &mailbox, sizeof mailbox))
            return STASIS_CU_ERROR_OPERATING_SYSTEM;
    } while (mailbox.reply_number != number);
    return mailbox.result;
}

static int action(const char *name, int pid, struct fake_request *request)
{
    bool failed = false;
    int result = fake_rules_obey(name, pid, &failed);

    if (result != 0 && !failed)
        return result;
    request->fail_result = failed ? (uint32_t)result : 0;
    return request_do(pid, request);
}

stasis_cu_checkpoint_process_get_restore_thread_id cuCheckpointProcessGetRestoreThreadId;
stasis_cu_checkpoint_process_get_state cuCheckpointProcessGetState;
stasis_cu_checkpoint_process_lock cuCheckpointProcessLock;
stasis_cu_checkpoint_process_checkpoint cuCheckpointProcessCheckpoint;
stasis_cu_checkpoint_process_restore cuCheckpointProcessRestore;
stasis_cu_checkpoint_process_unlock cuCheckpointProcessUnlock;

/* The id in this namespace of the thread that its process knows as `inner`. */
static int outer_tid(int pid, int inner)
{
    struct dirent *entry;
    int found = inner;
    char path[64];
    DIR *directory;

    (void)snprintf(path, sizeof path, "/proc/%d/task", pid);
    directory = opendir(path);
    while (directory && (entry = readdir(directory)) != NULL) {
        int tid = (int)strtol(entry->d_name, NULL, 10);

        if (tid > 0 && status_number(pid, tid, "NSpid:") == inner)
            found = tid;
    }
    if (directory)
        (void)closedir(directory);
    return found;
}

stasis_cu_result cuCheckpointProcessGetRestoreThreadId(int pid, int *tid)
{
    struct fake_mailbox mailbox;
    struct fake_config config;
    uint64_t address;
    int result = fake_rules_obey("tid", pid, NULL);

    if (result == 0)
        result = mailbox_find(&pid, &address, &mailbox);
    if (result != 0)
        return result;
    fake_config_read(&config);
    *tid = config.inner_tid ? mailbox.restore_tid : outer_tid(pid, mailbox.restore_tid);
    return STASIS_CU_SUCCESS;
}

stasis_cu_result cuCheckpointProcessGetState(int pid, stasis_cu_process_state *state)
{
    struct fake_mailbox mailbox;
    uint64_t address;
    int result = fake_rules_obey("state", pid, NULL);

    if (result == 0)
        result = mailbox_find(&pid, &address, &mailbox);
    if (result == 0)
        *state = mailbox.state;
    return result;
}

stasis_cu_result cuCheckpointProcessLock(int pid, struct stasis_cu_checkpoint_lock_args *args)
{
    struct fake_request request = {.command = FAKE_LOCK,
                                   .timeout_msec = args ? args->timeout_msec : 0};

    return action("lock", pid, &request);
}

stasis_cu_result cuCheckpointProcessCheckpoint(int pid,
                                               struct stasis_cu_checkpoint_checkpoint_args *args)
{
    struct fake_request request = {.command = FAKE_CHECKPOINT};

    (void)args;
    return action("checkpoint", pid, &request);
}

stasis_cu_result cuCheckpointProcessRestore(int pid, struct stasis_cu_checkpoint_restore_args *args)
{
    struct fake_request request = {.command = FAKE_RESTORE};
    struct fake_config config;

    fake_config_read(&config);
    if (!caller_initialized && !config.persistence)
        return STASIS_CU_ERROR_NOT_INITIALIZED;
    /* Before CUDA 13.0 this was reserved, and not looked at. */
    if (args && config.driver_version >= 13000 && args->gpu_pairs_count > 0) {
        if (!args->gpu_pairs || args->gpu_pairs_count > FAKE_GPUS_MAX)
            return STASIS_CU_ERROR_INVALID_VALUE;
        request.pair_count = args->gpu_pairs_count;
        memcpy(request.pairs, args->gpu_pairs, args->gpu_pairs_count * sizeof *args->gpu_pairs);
    }
    return action("restore", pid, &request);
}

stasis_cu_result cuCheckpointProcessUnlock(int pid, struct stasis_cu_checkpoint_unlock_args *args)
{
    struct fake_request request = {.command = FAKE_UNLOCK};

    (void)args;
    return action("unlock", pid, &request);
}

#endif
