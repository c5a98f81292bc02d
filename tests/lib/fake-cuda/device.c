/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver inside a process that uses CUDA: devices, contexts, memory, and the restore thread.
 * Each allocation is a mapping of the "card" (a memfd that is closed at once) at an address that
 * stays; while the process is not checkpointed it holds a descriptor that CRIU can't save.
 */
#include "fake-cuda.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum { ALLOCATIONS_MAX = 1024, GRANULE = 1 << 21 };

struct allocation {
    void *address; /* NULL: free */
    size_t length; /* rounded up */
    int device;
    void *staged; /* its content while checkpointed */
};

struct fake_mailbox fake_cuda_mailbox;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t state_changed = PTHREAD_COND_INITIALIZER;
static unsigned calls_in_flight;
static struct allocation allocations[ALLOCATIONS_MAX];
/* the machine as cuInit saw it, with the UUIDs of where its devices are now */
static struct fake_gpu devices[FAKE_GPUS_MAX];
static size_t device_count;
static bool initialized;
static int card = -1; /* the descriptor that can't be saved */
static _Thread_local int current_device = -1;

/* --- the gate: while not running, calls wait --- */

static void call_begin(void)
{
    (void)pthread_mutex_lock(&mutex);
    while (fake_cuda_mailbox.state != STASIS_CU_PROCESS_STATE_RUNNING)
        (void)pthread_cond_wait(&state_changed, &mutex);
    calls_in_flight++;
    (void)pthread_mutex_unlock(&mutex);
}

static void call_end(void)
{
    (void)pthread_mutex_lock(&mutex);
    calls_in_flight--;
    (void)pthread_mutex_unlock(&mutex);
}

static void state_set(int state)
{
    (void)pthread_mutex_lock(&mutex);
    fake_cuda_mailbox.state = state;
    (void)pthread_cond_broadcast(&state_changed);
    (void)pthread_mutex_unlock(&mutex);
}

/* --- the card --- */

static bool card_open(void)
{
    char name[64];

    if (card >= 0)
        return true;
    /* A device that CRIU can't save (fuse), under a name that looks like the vendor's; where nodes
     * can't be made, something else that it can't save. */
    (void)snprintf(name, sizeof name, "/dev/nvidia-stand-in-%d", (int)getpid());
    if (mknod(name, S_IFCHR | 0600, makedev(10, 229)) == 0)
        card = open(name, O_RDWR | O_CLOEXEC);
    (void)unlink(name);
    if (card < 0)
        card = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    return card >= 0;
}

static void card_close(void)
{
    if (card >= 0)
        (void)close(card);
    card = -1;
}

/* Addresses of device memory: far from where the kernel puts other mappings, so that nothing lands
 * in the holes of a checkpointed process. */
static uintptr_t next_address = UINT64_C(0x200000000000);

/* Maps `length` bytes of device memory, at `address` unless that is NULL. */
static void *card_map(void *address, size_t length)
{
    int fd = memfd_create("fake-nvidia", MFD_CLOEXEC);
    void *mapped = MAP_FAILED;

    if (!address) {
        address = (void *)next_address;
        next_address += length;
    }
    if (fd >= 0 && ftruncate(fd, (off_t)length) == 0)
        mapped =
            mmap(address, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
    if (fd >= 0)
        (void)close(fd);
    return mapped == MAP_FAILED ? NULL : mapped;
}

static uint64_t memory_used(int device)
{
    uint64_t used = 0;

    for (size_t i = 0; i < ALLOCATIONS_MAX; i++) {
        if (allocations[i].address && allocations[i].device == device)
            used += allocations[i].length;
    }
    return used;
}

/* --- what the restore thread does --- */

int fake_device_lock(unsigned timeout_msec)
{
    struct timespec pause = {.tv_nsec = 1000000};
    struct fake_config config;

    if (fake_cuda_mailbox.state != STASIS_CU_PROCESS_STATE_RUNNING)
        return STASIS_CU_ERROR_ILLEGAL_STATE;
    for (unsigned waited = 0;; waited++) {
        bool idle;

        fake_config_read(&config);
        (void)pthread_mutex_lock(&mutex);
        idle = calls_in_flight == 0 && !config.busy;
        if (idle)
            fake_cuda_mailbox.state = STASIS_CU_PROCESS_STATE_LOCKED;
        (void)pthread_mutex_unlock(&mutex);
        if (idle)
            return STASIS_CU_SUCCESS;
        if (timeout_msec && waited >= timeout_msec)
            return STASIS_CU_ERROR_NOT_READY;
        (void)nanosleep(&pause, NULL);
    }
}

int fake_device_checkpoint(void)
{
    if (fake_cuda_mailbox.state != STASIS_CU_PROCESS_STATE_LOCKED)
        return STASIS_CU_ERROR_ILLEGAL_STATE;
    for (size_t i = 0; i < ALLOCATIONS_MAX; i++) {
        struct allocation *allocation = &allocations[i];

        if (!allocation->address)
            continue;
        allocation->staged = mmap(NULL, allocation->length, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memcpy(allocation->staged, allocation->address, allocation->length);
        (void)munmap(allocation->address, allocation->length);
    }
    card_close();
    state_set(STASIS_CU_PROCESS_STATE_CHECKPOINTED);
    return STASIS_CU_SUCCESS;
}

static const struct fake_gpu *gpu_present(const struct fake_config *config,
                                          const struct stasis_cu_uuid *uuid)
{
    for (size_t i = 0; i < config->gpu_count; i++) {
        if (memcmp(&config->gpus[i].uuid, uuid, sizeof *uuid) == 0)
            return &config->gpus[i];
    }
    return NULL;
}

/* Where device `index` goes. */
static int device_target(const struct fake_config *config, const struct fake_request *request,
                         size_t index, struct fake_gpu *ret_gpu)
{
    const struct stasis_cu_uuid *wanted = &devices[index].uuid;
    const struct fake_gpu *gpu;
    bool named = request->pair_count == 0;

    for (size_t i = 0; i < request->pair_count && !named; i++) {
        if (memcmp(&request->pairs[i].old_uuid, wanted, sizeof *wanted) == 0) {
            wanted = &request->pairs[i].new_uuid;
            named = true;
        }
    }
    if (!named)
        return STASIS_CU_ERROR_INVALID_VALUE;
    gpu = gpu_present(config, wanted);
    if (!gpu)
        return STASIS_CU_ERROR_INVALID_DEVICE;
    if (strcmp(gpu->name, devices[index].name) != 0)
        return STASIS_CU_ERROR_NOT_SUPPORTED;
    if (gpu->memory < memory_used((int)index))
        return STASIS_CU_ERROR_OUT_OF_MEMORY;
    *ret_gpu = *gpu;
    return STASIS_CU_SUCCESS;
}

int fake_device_restore(const struct fake_request *request)
{
    struct fake_gpu targets[FAKE_GPUS_MAX];
    struct fake_config config;

    if (fake_cuda_mailbox.state != STASIS_CU_PROCESS_STATE_CHECKPOINTED)
        return STASIS_CU_ERROR_ILLEGAL_STATE;
    fake_config_read(&config);
    for (size_t i = 0; i < device_count; i++) {
        int result = device_target(&config, request, i, &targets[i]);

        if (result != STASIS_CU_SUCCESS)
            return result;
    }
    memcpy(devices, targets, sizeof devices);
    (void)card_open();
    for (size_t i = 0; i < ALLOCATIONS_MAX; i++) {
        struct allocation *allocation = &allocations[i];

        if (!allocation->staged)
            continue;
        if (!card_map(allocation->address, allocation->length))
            return STASIS_CU_ERROR_OUT_OF_MEMORY;
        memcpy(allocation->address, allocation->staged, allocation->length);
        (void)munmap(allocation->staged, allocation->length);
        allocation->staged = NULL;
    }
    state_set(STASIS_CU_PROCESS_STATE_LOCKED);
    return STASIS_CU_SUCCESS;
}

static int request_serve(const struct fake_request *request)
{
    if (request->fail_result) {
        state_set(STASIS_CU_PROCESS_STATE_FAILED);
        return (int)request->fail_result;
    }
    switch (request->command) {
    case FAKE_LOCK:
        return fake_device_lock(request->timeout_msec);
    case FAKE_CHECKPOINT:
        return fake_device_checkpoint();
    case FAKE_RESTORE:
        return fake_device_restore(request);
    case FAKE_UNLOCK:
        if (fake_cuda_mailbox.state != STASIS_CU_PROCESS_STATE_LOCKED)
            return STASIS_CU_ERROR_ILLEGAL_STATE;
        state_set(STASIS_CU_PROCESS_STATE_RUNNING);
        return STASIS_CU_SUCCESS;
    default:
        return STASIS_CU_ERROR_INVALID_VALUE;
    }
}

static void *restore_thread(void *context)
{
    struct timespec pause = {.tv_nsec = 1000000};

    (void)context;
    __atomic_store_n(&fake_cuda_mailbox.restore_tid, (int32_t)gettid(), __ATOMIC_SEQ_CST);
    for (;;) {
        uint32_t number = __atomic_load_n(&fake_cuda_mailbox.request_number, __ATOMIC_SEQ_CST);

        if (number == fake_cuda_mailbox.reply_number) {
            (void)nanosleep(&pause, NULL);
            continue;
        }
        fake_cuda_mailbox.result = request_serve(&fake_cuda_mailbox.request);
        __atomic_store_n(&fake_cuda_mailbox.reply_number, number, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

/* --- the interface, inside the process --- */

stasis_cu_init cuInit;
stasis_cu_device_get_count cuDeviceGetCount;
stasis_cu_device_get cuDeviceGet;
stasis_cu_device_get_name cuDeviceGetName;
stasis_cu_device_get_uuid cuDeviceGetUuid;
stasis_cu_device_get_uuid cuDeviceGetUuid_v2;
stasis_cu_device_total_mem cuDeviceTotalMem_v2;
int cuDevicePrimaryCtxRetain(void **context, int device);
int cuDevicePrimaryCtxRelease_v2(int device);
int cuCtxCreate_v2(void **context, unsigned flags, int device);
int cuCtxDestroy_v2(void *context);
int cuCtxSetCurrent(void *context);
int cuCtxGetCurrent(void **context);
int cuCtxGetDevice(int *device);
int cuCtxSynchronize(void);
int cuMemAlloc_v2(uint64_t *pointer, size_t length);
int cuMemFree_v2(uint64_t pointer);
int cuMemGetInfo_v2(size_t *available, size_t *total);
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t length);
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t length);
int cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t length);
int cuMemsetD8_v2(uint64_t to, unsigned char value, size_t length);
int cuMemsetD32_v2(uint64_t to, unsigned value, size_t count);

void fake_caller_initialized(void);

static void forked_child(void)
{
    /* The descriptor is inherited, the restore thread is not. */
    fake_cuda_mailbox.magic = 0;
}

/* Signals are the business of the other threads; one is left open, so that tests see whether the
 * mask survives. */
static void restore_thread_start(void)
{
    sigset_t blocked, before;
    pthread_t thread;

    (void)sigfillset(&blocked);
    (void)sigdelset(&blocked, SIGURG);
    (void)pthread_sigmask(SIG_SETMASK, &blocked, &before);
    if (pthread_create(&thread, NULL, restore_thread, NULL) == 0)
        (void)pthread_detach(thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    while (__atomic_load_n(&fake_cuda_mailbox.restore_tid, __ATOMIC_SEQ_CST) == 0)
        (void)usleep(100);
}

stasis_cu_result cuInit(unsigned flags)
{
    struct fake_config config;
    int result = fake_rules_obey("init", getpid(), NULL);

    if (flags != 0)
        return STASIS_CU_ERROR_INVALID_VALUE;
    if (result != 0)
        return result;
    fake_config_read(&config);
    (void)pthread_mutex_lock(&mutex);
    if (!initialized && card_open()) {
        memcpy(devices, config.gpus, sizeof devices);
        device_count = config.gpu_count;
        fake_cuda_mailbox.pid = getpid();
        (void)pthread_atfork(NULL, NULL, forked_child);
        restore_thread_start();
        fake_caller_initialized();
        fake_cuda_mailbox.magic = FAKE_MAILBOX_MAGIC;
        initialized = true;
    }
    (void)pthread_mutex_unlock(&mutex);
    return initialized ? STASIS_CU_SUCCESS : STASIS_CU_ERROR_OPERATING_SYSTEM;
}

stasis_cu_result cuDeviceGetCount(int *count)
{
    if (!initialized)
        return STASIS_CU_ERROR_NOT_INITIALIZED;
    *count = (int)device_count;
    return STASIS_CU_SUCCESS;
}

static int device_check(int device)
{
    if (!initialized)
        return STASIS_CU_ERROR_NOT_INITIALIZED;
    return device >= 0 && (size_t)device < device_count ? STASIS_CU_SUCCESS
                                                        : STASIS_CU_ERROR_INVALID_DEVICE;
}

stasis_cu_result cuDeviceGet(stasis_cu_device *device, int ordinal)
{
    int result = device_check(ordinal);

    if (result == STASIS_CU_SUCCESS)
        *device = ordinal;
    return result;
}

stasis_cu_result cuDeviceGetName(char *name, int length, stasis_cu_device device)
{
    int result = device_check(device);

    if (result == STASIS_CU_SUCCESS)
        (void)snprintf(name, (size_t)length, "%s", devices[device].name);
    return result;
}

stasis_cu_result cuDeviceGetUuid(struct stasis_cu_uuid *uuid, stasis_cu_device device)
{
    int result = device_check(device);

    if (result == STASIS_CU_SUCCESS)
        *uuid = devices[device].uuid;
    return result;
}

stasis_cu_result cuDeviceGetUuid_v2(struct stasis_cu_uuid *uuid, stasis_cu_device device)
{
    return cuDeviceGetUuid(uuid, device);
}

stasis_cu_result cuDeviceTotalMem_v2(size_t *bytes, stasis_cu_device device)
{
    int result = device_check(device);

    if (result == STASIS_CU_SUCCESS)
        *bytes = devices[device].memory;
    return result;
}

/* A context is its device's number, plus one so that it is not NULL. */
int cuDevicePrimaryCtxRetain(void **context, int device)
{
    int result = device_check(device);

    if (result != STASIS_CU_SUCCESS)
        return result;
    call_begin();
    *context = (void *)(uintptr_t)(device + 1);
    call_end();
    return STASIS_CU_SUCCESS;
}

int cuDevicePrimaryCtxRelease_v2(int device)
{
    return device_check(device);
}

int cuCtxCreate_v2(void **context, unsigned flags, int device)
{
    int result = cuDevicePrimaryCtxRetain(context, device);

    (void)flags;
    if (result == STASIS_CU_SUCCESS)
        current_device = device;
    return result;
}

int cuCtxDestroy_v2(void *context)
{
    return context ? STASIS_CU_SUCCESS : STASIS_CU_ERROR_INVALID_CONTEXT;
}

int cuCtxSetCurrent(void *context)
{
    int device = (int)(uintptr_t)context - 1;
    int result = context ? device_check(device) : STASIS_CU_SUCCESS;

    if (result == STASIS_CU_SUCCESS)
        current_device = device;
    return result;
}

int cuCtxGetCurrent(void **context)
{
    *context = (void *)(uintptr_t)(current_device + 1);
    return STASIS_CU_SUCCESS;
}

int cuCtxGetDevice(int *device)
{
    if (current_device < 0)
        return STASIS_CU_ERROR_INVALID_CONTEXT;
    *device = current_device;
    return STASIS_CU_SUCCESS;
}

int cuCtxSynchronize(void)
{
    if (current_device < 0)
        return STASIS_CU_ERROR_INVALID_CONTEXT;
    call_begin();
    call_end();
    return STASIS_CU_SUCCESS;
}

static int allocate_memory(uint64_t *pointer, size_t length)
{
    size_t rounded = (length + GRANULE - 1) & ~(size_t)(GRANULE - 1);

    if (length == 0)
        return STASIS_CU_ERROR_INVALID_VALUE;
    if (memory_used(current_device) + rounded > devices[current_device].memory)
        return STASIS_CU_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < ALLOCATIONS_MAX; i++) {
        if (allocations[i].address)
            continue;
        allocations[i] = (struct allocation){
            .address = card_map(NULL, rounded), .length = rounded, .device = current_device};
        *pointer = (uintptr_t)allocations[i].address;
        return allocations[i].address ? STASIS_CU_SUCCESS : STASIS_CU_ERROR_OUT_OF_MEMORY;
    }
    return STASIS_CU_ERROR_OUT_OF_MEMORY;
}

int cuMemAlloc_v2(uint64_t *pointer, size_t length)
{
    int result;

    if (current_device < 0)
        return STASIS_CU_ERROR_INVALID_CONTEXT;
    call_begin();
    (void)pthread_mutex_lock(&mutex);
    result = allocate_memory(pointer, length);
    (void)pthread_mutex_unlock(&mutex);
    call_end();
    return result;
}

int cuMemFree_v2(uint64_t pointer)
{
    int result = STASIS_CU_ERROR_INVALID_VALUE;

    call_begin();
    (void)pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < ALLOCATIONS_MAX && pointer; i++) {
        if ((uintptr_t)allocations[i].address != pointer)
            continue;
        (void)munmap(allocations[i].address, allocations[i].length);
        allocations[i] = (struct allocation){.address = NULL};
        result = STASIS_CU_SUCCESS;
    }
    (void)pthread_mutex_unlock(&mutex);
    call_end();
    return result;
}

int cuMemGetInfo_v2(size_t *available, size_t *total)
{
    if (current_device < 0)
        return STASIS_CU_ERROR_INVALID_CONTEXT;
    *total = devices[current_device].memory;
    *available = *total - memory_used(current_device);
    return STASIS_CU_SUCCESS;
}

/* Is the range inside one allocation? */
static bool range_valid(uint64_t pointer, size_t length)
{
    for (size_t i = 0; i < ALLOCATIONS_MAX; i++) {
        uint64_t start = (uintptr_t)allocations[i].address;

        if (start && pointer >= start && length <= allocations[i].length &&
            pointer - start <= allocations[i].length - length)
            return true;
    }
    return false;
}

static int copy(void *to, const void *from, size_t length, uint64_t device_pointer)
{
    int result = STASIS_CU_ERROR_INVALID_VALUE;

    call_begin();
    if (range_valid(device_pointer, length)) {
        memcpy(to, from, length);
        result = STASIS_CU_SUCCESS;
    }
    call_end();
    return result;
}

int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t length)
{
    return copy((void *)(uintptr_t)to, from, length, to);
}

int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t length)
{
    return copy(to, (const void *)(uintptr_t)from, length, from);
}

int cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t length)
{
    if (!range_valid(from, length))
        return STASIS_CU_ERROR_INVALID_VALUE;
    return copy((void *)(uintptr_t)to, (const void *)(uintptr_t)from, length, to);
}

int cuMemsetD8_v2(uint64_t to, unsigned char value, size_t length)
{
    int result = STASIS_CU_ERROR_INVALID_VALUE;

    call_begin();
    if (range_valid(to, length)) {
        memset((void *)(uintptr_t)to, value, length);
        result = STASIS_CU_SUCCESS;
    }
    call_end();
    return result;
}

int cuMemsetD32_v2(uint64_t to, unsigned value, size_t count)
{
    uint32_t *words = (uint32_t *)(uintptr_t)to;
    int result = STASIS_CU_ERROR_INVALID_VALUE;

    call_begin();
    if (range_valid(to, count * sizeof *words)) {
        for (size_t i = 0; i < count; i++)
            words[i] = value;
        result = STASIS_CU_SUCCESS;
    }
    call_end();
    return result;
}
