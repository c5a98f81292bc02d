/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CUDA program for the tests, by the driver's public interface only, so that the very same binary
 * runs on the real driver and on the stand-in. Prints "ready"; on SIGUSR1 it verifies all of its
 * device memory, counts on in device memory, and prints "ok N" or "FAIL why"; on SIGUSR2 it prints
 * "gpu" and the UUIDs of its GPUs.
 *
 *     cuda-workload [--processes N] [--gpus N] [--megabytes N] [--idle-child]
 *
 * With several processes the first one is the parent of the others and speaks for all of them.
 * --idle-child adds a child that does not use CUDA.
 */
#include <dlfcn.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { GPUS_MAX = 16, PROCESSES_MAX = 16, PIECE = 1 << 20, LINE = 1024, MESSAGE = 256 };

static struct {
    int (*init)(unsigned);
    int (*get_count)(int *);
    int (*get)(int *, int);
    int (*get_uuid)(void *, int);
    int (*retain)(void **, int);
    int (*set_current)(void *);
    int (*alloc)(uint64_t *, size_t);
    int (*to_device)(uint64_t, const void *, size_t);
    int (*to_host)(void *, uint64_t, size_t);
    int (*synchronize)(void);
} cu;

struct gpu {
    int device;
    void *context;
    uint64_t data, counter; /* device memory */
};

static struct gpu gpus[GPUS_MAX];
static int gpu_count = 1, megabytes = 4, process_index;
static uint64_t count; /* the answer that came last, kept in host memory to compare */
static uint64_t piece[PIECE / sizeof(uint64_t)];

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)printf("FAIL ");
    (void)vprintf(format, arguments);
    (void)printf("\n");
    va_end(arguments);
    (void)fflush(stdout);
    exit(1);
}

static void must(int result, const char *what)
{
    if (result != 0)
        fail("%s: CUDA error %d", what, result);
}

static void driver_load(void)
{
    static const struct {
        const char *name;
        void *pointer;
    } symbols[] = {
        {"cuInit", &cu.init},
        {"cuDeviceGetCount", &cu.get_count},
        {"cuDeviceGet", &cu.get},
        {"cuDeviceGetUuid_v2", &cu.get_uuid},
        {"cuDevicePrimaryCtxRetain", &cu.retain},
        {"cuCtxSetCurrent", &cu.set_current},
        {"cuMemAlloc_v2", &cu.alloc},
        {"cuMemcpyHtoD_v2", &cu.to_device},
        {"cuMemcpyDtoH_v2", &cu.to_host},
        {"cuCtxSynchronize", &cu.synchronize},
    };
    void *library = dlopen("libcuda.so.1", RTLD_NOW);

    if (!library)
        fail("%s", dlerror());
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *function = dlsym(library, symbols[i].name);

        if (!function)
            fail("no %s", symbols[i].name);
        memcpy(symbols[i].pointer, &function, sizeof function);
    }
}

/* Different in every word, process, GPU and round. */
static void pattern(uint64_t *words, int gpu, int megabyte)
{
    uint64_t seed = ((uint64_t)process_index << 56) + ((uint64_t)gpu << 48) + (uint64_t)megabyte;

    for (size_t i = 0; i < PIECE / sizeof *words; i++)
        words[i] = (seed << 20 | i) * UINT64_C(0x9e3779b97f4a7c15);
}

static void gpus_set_up(void)
{
    int present = 0;

    must(cu.init(0), "cuInit");
    must(cu.get_count(&present), "cuDeviceGetCount");
    if (present < gpu_count)
        fail("%d GPUs instead of %d", present, gpu_count);
    for (int g = 0; g < gpu_count; g++) {
        uint64_t zero = 0;

        must(cu.get(&gpus[g].device, g), "cuDeviceGet");
        must(cu.retain(&gpus[g].context, gpus[g].device), "cuDevicePrimaryCtxRetain");
        must(cu.set_current(gpus[g].context), "cuCtxSetCurrent");
        must(cu.alloc(&gpus[g].data, (size_t)megabytes * PIECE), "cuMemAlloc");
        must(cu.alloc(&gpus[g].counter, sizeof zero), "cuMemAlloc");
        must(cu.to_device(gpus[g].counter, &zero, sizeof zero), "cuMemcpyHtoD");
        for (int m = 0; m < megabytes; m++) {
            pattern(piece, g, m);
            must(cu.to_device(gpus[g].data + (uint64_t)m * PIECE, piece, PIECE), "cuMemcpyHtoD");
        }
        must(cu.synchronize(), "cuCtxSynchronize");
    }
}

/* Verifies everything and counts on. NULL, or what is wrong. */
static const char *gpus_check(void)
{
    static uint64_t expected[PIECE / sizeof(uint64_t)];
    static char message[MESSAGE];

    for (int g = 0; g < gpu_count; g++) {
        uint64_t counter = 0;

        must(cu.set_current(gpus[g].context), "cuCtxSetCurrent");
        for (int m = 0; m < megabytes; m++) {
            must(cu.to_host(piece, gpus[g].data + (uint64_t)m * PIECE, PIECE), "cuMemcpyDtoH");
            pattern(expected, g, m);
            if (memcmp(piece, expected, PIECE) != 0) {
                (void)snprintf(message, sizeof message, "GPU %d: megabyte %d differs", g, m);
                return message;
            }
        }
        must(cu.to_host(&counter, gpus[g].counter, sizeof counter), "cuMemcpyDtoH");
        if (counter != count) {
            (void)snprintf(message, sizeof message, "GPU %d counted to %llu, host to %llu", g,
                           (unsigned long long)counter, (unsigned long long)count);
            return message;
        }
        counter++;
        must(cu.to_device(gpus[g].counter, &counter, sizeof counter), "cuMemcpyHtoD");
    }
    count++;
    return NULL;
}

static void uuids_write(char *line)
{
    size_t length = (size_t)snprintf(line, LINE, "gpu");

    for (int g = 0; g < gpu_count; g++) {
        unsigned char b[16];

        must(cu.get_uuid(b, gpus[g].device), "cuDeviceGetUuid");
        length += (size_t)snprintf(
            line + length, LINE - length,
            " GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
            b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
            b[15]);
    }
}

/* The answer to one signal. */
static void answer(int number, char *line)
{
    const char *problem;

    if (number == SIGUSR2) {
        uuids_write(line);
        return;
    }
    problem = gpus_check();
    if (problem)
        (void)snprintf(line, LINE, "FAIL process %d: %.255s", process_index, problem);
    else
        (void)snprintf(line, LINE, "ok %llu", (unsigned long long)count);
}

/* A child: a byte on `in` is a signal's number, the answer goes to `out` as a record of LINE bytes.
 */
static void child_serve(int in, int out) __attribute__((noreturn));

static void child_serve(int in, int out)
{
    char line[LINE] = "ready";
    unsigned char number;

    driver_load();
    gpus_set_up();
    for (;;) {
        ssize_t n;

        if (write(out, line, sizeof line) != (ssize_t)sizeof line)
            _exit(1);
        do {
            n = read(in, &number, 1);
        } while (n < 0 && errno == EINTR);
        if (n != 1)
            _exit(0);
        memset(line, 0, sizeof line);
        answer(number, line);
    }
}

static int to_child[PROCESSES_MAX], from_child[PROCESSES_MAX];

static void child_start(int index, bool idle)
{
    int down[2], up[2];
    pid_t pid;

    if (pipe(down) < 0 || pipe(up) < 0)
        fail("pipe: %s", strerror(errno));
    pid = fork();
    if (pid < 0)
        fail("fork: %s", strerror(errno));
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(down[1]);
        (void)close(up[0]);
        process_index = index;
        while (idle)
            (void)pause();
        child_serve(down[0], up[1]);
    }
    (void)close(down[0]);
    (void)close(up[1]);
    to_child[index] = down[1];
    from_child[index] = up[0];
}

static void child_read(int index, char *line)
{
    size_t have = 0;

    while (have < LINE) {
        ssize_t n = read(from_child[index], line + have, LINE - have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            fail("process %d is gone", index);
        have += (size_t)n;
    }
}

/* Everybody's answer has to be the same as this process's own. */
static void all_answer(int processes, int number)
{
    char own[LINE], other[LINE];
    unsigned char byte = (unsigned char)number;

    for (int i = 1; i < processes; i++) {
        if (write(to_child[i], &byte, 1) != 1)
            fail("process %d: %s", i, strerror(errno));
    }
    answer(number, own);
    for (int i = 1; i < processes; i++) {
        child_read(i, other);
        if (strcmp(own, other) != 0)
            fail("process %d says \"%s\", process 0 \"%s\"", i, other, own);
    }
    (void)printf("%s\n", own);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"processes", required_argument, NULL, 'p'},
                                            {"gpus", required_argument, NULL, 'g'},
                                            {"megabytes", required_argument, NULL, 'm'},
                                            {"idle-child", no_argument, NULL, 'i'},
                                            {NULL, 0, NULL, 0}};
    int processes = 1, option, number;
    char line[LINE];
    bool idle = false;
    sigset_t signals;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == '?')
            return 2;
        if (option == 'i')
            idle = true;
        else
            *(option == 'p'   ? &processes
              : option == 'g' ? &gpu_count
                              : &megabytes) = (int)strtol(optarg, NULL, 10);
    }
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGUSR1);
    (void)sigaddset(&signals, SIGUSR2);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    for (int i = 1; i < processes && i < PROCESSES_MAX; i++)
        child_start(i, false);
    if (idle)
        child_start(0, true);
    driver_load();
    gpus_set_up();
    for (int i = 1; i < processes; i++)
        child_read(i, line);
    (void)printf("ready\n");
    for (;;) {
        (void)fflush(stdout);
        if (sigwait(&signals, &number) == 0)
            all_answer(processes, number);
    }
}
