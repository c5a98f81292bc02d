/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for NVIDIA's driver libraries, for machines without a GPU: device memory is host
 * memory, the checkpoint interface works across processes with the states, errors and ill manners
 * of the real one. Test code, never installed. It is configured by a file that the environment
 * variable FAKE_CUDA_CONFIG names, read anew at every call, so that a test can change the machine:
 *
 *     driver 13000                    version of the CUDA interface (cuDriverGetVersion)
 *     gpu UUID MEBIBYTES MINOR NAME…  one line a GPU; without any there is one "Fake H200"
 *     fail CALL RESULT [failed]       lock, checkpoint, restore, unlock, state, tid, init answer
 * so; with "failed" the process is left in the state failed fail-pid PID CALL RESULT [failed] only
 * for that process hang CALL                       the caller waits until the line is gone crash
 * CALL                      the caller gets SIGSEGV busy                            submitted work
 * never ends: no process can be locked inner-tid                       the restore thread's id is
 * told as its process sees it mig | persistence | compute-mode N    for the management library
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cuda/driver-abi.h"

#ifndef FAKE_CUDA_VERSION
#define FAKE_CUDA_VERSION 13000 /* unless the file says otherwise; 12040 exports no checkpoints */
#endif

enum { FAKE_GPUS_MAX = 16, FAKE_RULES_MAX = 32 };

struct fake_gpu {
    struct stasis_cu_uuid uuid;
    uint64_t memory;
    int minor;
    char name[96];
};

struct fake_rule {
    enum fake_rule_kind { FAKE_FAIL, FAKE_HANG, FAKE_CRASH } kind;
    char call[16];
    int pid; /* 0: any */
    int result;
    bool failed;
};

struct fake_config {
    int driver_version;
    size_t gpu_count;
    struct fake_gpu gpus[FAKE_GPUS_MAX];
    size_t rule_count;
    struct fake_rule rules[FAKE_RULES_MAX];
    bool busy, inner_tid;
    int mig, persistence, compute_mode;
};

void fake_config_read(struct fake_config *config);

/* Obeys the rules for a call: crashes, waits, or returns the result to answer with (0: none).
 * `ret_failed` (may be NULL): the process is to be left in the state failed. */
int fake_rules_obey(const char *call, int pid, bool *ret_failed);

/*
 * The mailbox: a variable of the library, at the same offset in every process that has loaded it,
 * so that a checkpointer finds it by /proc/PID/maps and reaches it by process_vm_readv and
 * process_vm_writev. No descriptor or socket takes part that CRIU would see.
 */
enum fake_command {
    FAKE_NOTHING,
    FAKE_LOCK,
    FAKE_CHECKPOINT,
    FAKE_RESTORE,
    FAKE_UNLOCK,
};

#define FAKE_MAILBOX_MAGIC UINT64_C(0x57a515fa6ec0da01)

struct fake_request {
    uint32_t command;
    uint32_t timeout_msec;
    uint32_t pair_count;
    uint32_t fail_result; /* not 0: go to the state failed and answer this */
    struct stasis_cu_checkpoint_gpu_pair pairs[FAKE_GPUS_MAX];
};

struct fake_mailbox {
    uint64_t magic; /* set by cuInit, cleared in a forked child */
    int32_t pid;    /* as the process itself sees it */
    int32_t restore_tid;
    int32_t state;
    uint32_t request_number; /* written by the checkpointer, after the request */
    uint32_t reply_number;   /* written by the restore thread, after the result */
    int32_t result;
    struct fake_request request;
};

extern struct fake_mailbox fake_cuda_mailbox;

/* device.c: what the restore thread does for a checkpointer. */
int fake_device_lock(unsigned timeout_msec);
int fake_device_checkpoint(void);
int fake_device_restore(const struct fake_request *request);
void fake_device_unlock(void);
