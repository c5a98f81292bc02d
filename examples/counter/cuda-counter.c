/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counter server with its state on an NVIDIA GPU: the table of prime factors (several copies of
 * it) and the counter live in device memory only, and a kernel works out every answer. It needs the
 * driver alone: no toolkit to build it, none to run it.
 *
 *   cc -O2 -o cuda-counter cuda-counter.c factors.c http.c -ldl
 *   ./cuda-counter --port 8000 &
 *   curl http://127.0.0.1:8000/factor/1234567
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "factors.h"
#include "http.h"

enum { MOST_COPIES = 64, MOST_FACTORS = 30 };

typedef uint64_t device_pointer;

/* The driver's functions, by the names under which it exports them. */
static struct {
    int (*init)(unsigned flags);
    int (*device_get)(int *device, int ordinal);
    int (*context_create)(void **context, unsigned flags, int device);
    int (*module_load)(void **module, const void *image);
    int (*module_function)(void **function, void *module, const char *name);
    int (*allocate)(device_pointer *address, size_t size);
    int (*set)(device_pointer address, unsigned char value, size_t size);
    int (*to_device)(device_pointer to, const void *from, size_t size);
    int (*to_host)(void *to, device_pointer from, size_t size);
    int (*launch)(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                  unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                  void *stream, void **parameters, void **extra);
    int (*error_name)(int error, const char **name);
} cuda;

struct server {
    void *answer, *sum; /* kernels */
    device_pointer tables[MOST_COPIES];
    device_pointer counter, result;
    uint64_t entries;
    unsigned copies;
    uint64_t next; /* copy to ask */
};

/* answer: counts, then looks up factor after factor; result is {count, found, factors...}.
 * sum: adds up all entries, each weighted by its place. */
static const char kernels[] =
    ".version 6.4\n.target sm_50\n.address_size 64\n"
    ".visible .entry answer(.param .u64 table, .param .u64 entries, .param .u64 counter,\n"
    "                       .param .u64 number, .param .u64 result)\n"
    "{\n"
    "    .reg .pred %stop, %even;\n"
    "    .reg .b32 %entry;\n"
    "    .reg .b64 %table, %entries, %counter, %number, %result;\n"
    "    .reg .b64 %count, %found, %factor, %place;\n"
    "    ld.param.u64 %table, [table];\n"
    "    ld.param.u64 %entries, [entries];\n"
    "    ld.param.u64 %counter, [counter];\n"
    "    ld.param.u64 %number, [number];\n"
    "    ld.param.u64 %result, [result];\n"
    "    ld.global.u64 %count, [%counter];\n"
    "    add.u64 %count, %count, 1;\n"
    "    st.global.u64 [%counter], %count;\n"
    "    st.global.u64 [%result], %count;\n"
    "    mov.u64 %found, 0;\n"
    "again:\n"
    "    setp.lt.u64 %stop, %number, 2;\n"
    "    @%stop bra done;\n"
    "    setp.ge.u64 %stop, %found, 30;\n"
    "    @%stop bra done;\n"
    "    mov.u64 %factor, 2;\n"
    "    and.b64 %place, %number, 1;\n"
    "    setp.eq.u64 %even, %place, 0;\n"
    "    @%even bra store;\n"
    "    sub.u64 %place, %number, 3;\n"
    "    shr.u64 %place, %place, 1;\n"
    "    setp.ge.u64 %stop, %place, %entries;\n"
    "    @%stop bra done;\n"
    "    shl.b64 %place, %place, 2;\n"
    "    add.u64 %place, %place, %table;\n"
    "    ld.global.u32 %entry, [%place];\n"
    "    cvt.u64.u32 %factor, %entry;\n"
    "store:\n"
    "    add.u64 %found, %found, 1;\n"
    "    shl.b64 %place, %found, 3;\n"
    "    add.u64 %place, %place, %result;\n"
    "    st.global.u64 [%place+8], %factor;\n"
    "    div.u64 %number, %number, %factor;\n"
    "    bra again;\n"
    "done:\n"
    "    st.global.u64 [%result+8], %found;\n"
    "    ret;\n"
    "}\n"
    ".visible .entry sum(.param .u64 table, .param .u64 entries, .param .u64 result)\n"
    "{\n"
    "    .reg .pred %stop;\n"
    "    .reg .b32 %block, %size, %thread, %blocks, %entry;\n"
    "    .reg .b64 %table, %entries, %result, %i, %step, %place, %value, %sum;\n"
    "    ld.param.u64 %table, [table];\n"
    "    ld.param.u64 %entries, [entries];\n"
    "    ld.param.u64 %result, [result];\n"
    "    mov.u32 %block, %ctaid.x;\n"
    "    mov.u32 %size, %ntid.x;\n"
    "    mov.u32 %thread, %tid.x;\n"
    "    mov.u32 %blocks, %nctaid.x;\n"
    "    mul.wide.u32 %i, %block, %size;\n"
    "    cvt.u64.u32 %place, %thread;\n"
    "    add.u64 %i, %i, %place;\n"
    "    mul.wide.u32 %step, %blocks, %size;\n"
    "    mov.u64 %sum, 0;\n"
    "again:\n"
    "    setp.ge.u64 %stop, %i, %entries;\n"
    "    @%stop bra done;\n"
    "    shl.b64 %place, %i, 2;\n"
    "    add.u64 %place, %place, %table;\n"
    "    ld.global.u32 %entry, [%place];\n"
    "    cvt.u64.u32 %value, %entry;\n"
    "    add.u64 %place, %i, 1;\n"
    "    mad.lo.u64 %sum, %value, %place, %sum;\n"
    "    add.u64 %i, %i, %step;\n"
    "    bra again;\n"
    "done:\n"
    "    red.global.add.u64 [%result], %sum;\n"
    "    ret;\n"
    "}\n";

static double seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void check(int result, const char *what)
{
    const char *name = NULL;

    if (result == 0)
        return;
    if (cuda.error_name)
        (void)cuda.error_name(result, &name);
    fprintf(stderr, "%s: %s (%d)\n", what, name ? name : "driver error", result);
    exit(1);
}

/* 0 when there is a driver with all that is needed. */
static int driver_load(void)
{
    static const struct {
        const char *name;
        void *slot;
    } functions[] = {
        {"cuInit", &cuda.init},
        {"cuDeviceGet", &cuda.device_get},
        {"cuCtxCreate_v2", &cuda.context_create},
        {"cuModuleLoadData", &cuda.module_load},
        {"cuModuleGetFunction", &cuda.module_function},
        {"cuMemAlloc_v2", &cuda.allocate},
        {"cuMemsetD8_v2", &cuda.set},
        {"cuMemcpyHtoD_v2", &cuda.to_device},
        {"cuMemcpyDtoH_v2", &cuda.to_host},
        {"cuLaunchKernel", &cuda.launch},
        {"cuGetErrorName", &cuda.error_name},
    };
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);

    if (!library)
        return -1;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        void *found = dlsym(library, functions[i].name);

        if (!found)
            return -1;
        memcpy(functions[i].slot, &found, sizeof found);
    }
    return cuda.init(0) == 0 ? 0 : -1;
}

static uint64_t table_hash(struct server *server)
{
    uint64_t total = 0, sum = 0;

    for (unsigned i = 0; i < server->copies; i++) {
        void *parameters[] = {&server->tables[i], &server->entries, &server->result};

        check(cuda.set(server->result, 0, sizeof sum), "clear");
        check(cuda.launch(server->sum, 256, 1, 1, 256, 1, 1, 0, NULL, parameters, NULL), "launch");
        check(cuda.to_host(&sum, server->result, sizeof sum), "read the sum");
        total = total * 31 + sum;
    }
    return total;
}

static void print_answer(const uint64_t *result, uint64_t number, char *body, size_t size)
{
    size_t length = (size_t)snprintf(body, size, "{\"count\": %lu, \"number\": %lu, \"factors\": [",
                                     (unsigned long)result[0], (unsigned long)number);

    for (uint64_t i = 0; i < result[1] && i < MOST_FACTORS; i++)
        length += (size_t)snprintf(body + length, size - length, "%s%lu", i ? ", " : "",
                                   (unsigned long)result[2 + i]);
    (void)snprintf(body + length, size - length, "]}\n");
}

static int handle(const char *path, char *body, size_t size, void *context)
{
    struct server *server = context;
    uint64_t result[2 + MOST_FACTORS];

    if (strncmp(path, "/factor/", 8) == 0) {
        uint64_t number = strtoull(path + 8, NULL, 10);
        void *parameters[] = {&server->tables[server->next++ % server->copies], &server->entries,
                              &server->counter, &number, &server->result};

        check(cuda.launch(server->answer, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL), "launch");
        check(cuda.to_host(result, server->result, sizeof result), "read the answer");
        print_answer(result, number, body, size);
        return 200;
    }
    if (strcmp(path, "/hash") == 0) {
        (void)snprintf(body, size, "{\"hash\": \"%016lx\", \"pid\": %d}\n",
                       (unsigned long)table_hash(server), (int)getpid());
        return 200;
    }
    (void)snprintf(body, size, "{\"error\": \"ask for /factor/NUMBER or /hash\"}\n");
    return 404;
}

/* Computes the table, brings it to the device, and keeps nothing of it here. */
static void server_start(struct server *server)
{
    size_t size = server->entries * sizeof(uint32_t);
    uint32_t *table = factors_compute(server->entries);
    void *context, *module;
    int device;

    if (!table) {
        perror("memory for the table");
        exit(1);
    }
    check(cuda.device_get(&device, 0), "device");
    check(cuda.context_create(&context, 0, device), "context");
    check(cuda.module_load(&module, kernels), "kernels");
    check(cuda.module_function(&server->answer, module, "answer"), "kernel answer");
    check(cuda.module_function(&server->sum, module, "sum"), "kernel sum");
    for (unsigned i = 0; i < server->copies; i++) {
        check(cuda.allocate(&server->tables[i], size), "device memory");
        check(cuda.to_device(server->tables[i], table, size), "copy to the device");
    }
    check(cuda.allocate(&server->counter, sizeof(uint64_t)), "device memory");
    check(cuda.set(server->counter, 0, sizeof(uint64_t)), "clear");
    check(cuda.allocate(&server->result, (2 + MOST_FACTORS) * sizeof(uint64_t)), "device memory");
    check(cuda.set(server->result, 0, (2 + MOST_FACTORS) * sizeof(uint64_t)), "clear");
    factors_free(table, server->entries);
}

static int usage(const char *name)
{
    fprintf(stderr,
            "usage: %s [--port PORT] [--memory MIB] [--copies N]\n"
            "       %s --probe      exit 0 when there is a GPU to use\n",
            name, name);
    return 2;
}

int main(int argc, char **argv)
{
    double start = seconds();
    struct server server = {.copies = 4};
    unsigned port = 8000;
    size_t memory = 512;
    int listener;

    if (argc == 2 && strcmp(argv[1], "--probe") == 0)
        return driver_load() == 0 ? 0 : 1;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && strcmp(argv[i], "--port") == 0)
            port = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--memory") == 0)
            memory = strtoul(argv[i + 1], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--copies") == 0)
            server.copies = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else
            return usage(argv[0]);
    }
    if (memory == 0 || server.copies == 0 || server.copies > MOST_COPIES)
        return usage(argv[0]);
    if (driver_load() < 0)
        return fprintf(stderr, "no usable NVIDIA driver on this machine\n"), 1;
    server.entries = memory * 1048576 / sizeof(uint32_t);
    server_start(&server);
    listener = http_listen(&port);
    if (listener < 0)
        return perror("listen"), 1;
    printf("ready on 127.0.0.1:%u after %.2f s\n", port, seconds() - start);
    (void)fflush(stdout);
    http_serve(listener, handle, &server);
}
