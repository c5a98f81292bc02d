// SPDX-License-Identifier: Apache-2.0
/*
 * pattern [--port P] [--mib M] [--seed S] [--child fork|exec]
 *
 * Holds M MiB of device memory in blocks of several sizes, filled with a pattern
 * that depends on seed and generation, a block of zeros, pinned host memory, a
 * stream, an event and an instantiated graph, and answers UDP packets on
 * 127.0.0.1:P:
 *   check    every byte is compared on the GPU; "ok ..." or "BAD ..."
 *   bump     the graph runs: next generation, all blocks written anew
 *   spin MS  a kernel that keeps the GPU busy that long, answered at once
 * With --child a second process of the same kind serves port P + 1: forked before
 * CUDA is there, or started by exec.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BLOCKS = 6, THREADS = 256, ZERO_MIB = 64, PINNED_BYTES = 4 << 20 };

struct options {
    int port;
    size_t mib;
    uint64_t seed;
    const char *child;
};

struct block {
    uint64_t *data;
    size_t words;
};

struct state {
    struct block blocks[BLOCKS];
    struct block zeros;
    struct block pinned; // host memory, read by the GPU as well
    unsigned long long *mismatches;
    uint64_t *generation; // in device memory, advanced by the graph
    uint64_t expected;    // the same number, kept in CPU memory
    uint64_t seed;
    cudaStream_t stream;
    cudaEvent_t event;
    cudaGraphExec_t graph;
};

static void must(cudaError_t result, const char *what)
{
    if (result != cudaSuccess) {
        fprintf(stderr, "pattern: %s: %s\n", what, cudaGetErrorString(result));
        exit(1);
    }
}

__host__ __device__ static uint64_t word_at(uint64_t seed, uint64_t generation, size_t index)
{
    uint64_t x = index + seed * 0x9e3779b97f4a7c15ull + generation * 0xd1b54a32d192ed03ull;

    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

__global__ void advance(uint64_t *generation)
{
    *generation += 1;
}

__global__ void fill(uint64_t *data, size_t words, uint64_t seed, const uint64_t *generation)
{
    size_t step = (size_t)gridDim.x * blockDim.x;

    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < words; i += step)
        data[i] = word_at(seed, *generation, i);
}

// generation 0 means zeros: nothing is ever filled before the first advance.
__global__ void compare(const uint64_t *data, size_t words, uint64_t seed, uint64_t generation,
                        unsigned long long *mismatches)
{
    size_t step = (size_t)gridDim.x * blockDim.x;
    unsigned long long wrong = 0;

    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < words; i += step)
        wrong += data[i] != (generation == 0 ? 0 : word_at(seed, generation, i));
    if (wrong != 0)
        atomicAdd(mismatches, wrong);
}

__global__ void spin(uint64_t nanoseconds)
{
    uint64_t start, now;

    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(start));
    do {
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    } while (now - start < nanoseconds);
}

// A block's seed tells blocks apart, so that exchanged blocks are seen too.
static uint64_t block_seed(const struct state *state, size_t number)
{
    return state->seed * 1000 + number;
}

static unsigned int grid_for(size_t words)
{
    size_t grid = (words + THREADS - 1) / THREADS;

    return (unsigned int)(grid > 4096 ? 4096 : grid);
}

static void graph_make(struct state *state)
{
    cudaGraph_t graph;

    must(cudaStreamBeginCapture(state->stream, cudaStreamCaptureModeGlobal), "begin capture");
    advance<<<1, 1, 0, state->stream>>>(state->generation);
    for (size_t i = 0; i < BLOCKS; i++) {
        const struct block *block = &state->blocks[i];

        fill<<<grid_for(block->words), THREADS, 0, state->stream>>>(
            block->data, block->words, block_seed(state, i), state->generation);
    }
    must(cudaStreamEndCapture(state->stream, &graph), "end capture");
    must(cudaGraphInstantiate(&state->graph, graph, 0), "instantiate graph");
    must(cudaGraphDestroy(graph), "destroy graph");
}

static void state_bump(struct state *state)
{
    must(cudaGraphLaunch(state->graph, state->stream), "launch graph");
    must(cudaEventRecord(state->event, state->stream), "record event");
    must(cudaEventSynchronize(state->event), "wait for event");
    state->expected += 1;
    for (size_t i = 0; i < state->pinned.words; i++)
        state->pinned.data[i] = word_at(block_seed(state, BLOCKS), state->expected, i);
}

static void state_make(struct state *state, const struct options *options)
{
    size_t left = options->mib << 20;

    state->seed = options->seed;
    must(cudaStreamCreateWithFlags(&state->stream, cudaStreamNonBlocking), "create stream");
    must(cudaEventCreate(&state->event), "create event");
    must(cudaMalloc(&state->mismatches, sizeof(*state->mismatches)), "allocate");
    must(cudaMalloc(&state->generation, sizeof(*state->generation)), "allocate");
    must(cudaMemset(state->generation, 0, sizeof(*state->generation)), "clear");
    // Halves, quarters, ... and last a size that is no multiple of any page.
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t bytes = i == BLOCKS - 1 ? 123456 : left / 2;

        left -= i == BLOCKS - 1 ? 0 : bytes;
        state->blocks[i].words = bytes / sizeof(uint64_t);
        must(cudaMalloc(&state->blocks[i].data, bytes), "allocate block");
    }
    state->zeros.words = ((size_t)ZERO_MIB << 20) / sizeof(uint64_t);
    must(cudaMalloc(&state->zeros.data, (size_t)ZERO_MIB << 20), "allocate zeros");
    must(cudaMemset(state->zeros.data, 0, (size_t)ZERO_MIB << 20), "clear zeros");
    state->pinned.words = PINNED_BYTES / sizeof(uint64_t);
    must(cudaMallocHost(&state->pinned.data, PINNED_BYTES), "allocate pinned memory");
    must(cudaDeviceSynchronize(), "prepare");
    graph_make(state);
    state_bump(state);
}

static unsigned long long mismatches_in(struct state *state, const struct block *block,
                                        uint64_t seed, uint64_t generation)
{
    unsigned long long wrong = 0;

    must(cudaMemsetAsync(state->mismatches, 0, sizeof(wrong), state->stream), "clear");
    compare<<<grid_for(block->words), THREADS, 0, state->stream>>>(block->data, block->words, seed,
                                                                   generation, state->mismatches);
    must(cudaGetLastError(), "compare");
    must(cudaMemcpyAsync(&wrong, state->mismatches, sizeof(wrong), cudaMemcpyDeviceToHost,
                         state->stream),
         "read");
    must(cudaStreamSynchronize(state->stream), "compare");
    return wrong;
}

static void uuid_text(char text[48])
{
    cudaDeviceProp properties;
    int device;
    const unsigned char *u;

    must(cudaGetDevice(&device), "which device");
    must(cudaGetDeviceProperties(&properties, device), "device properties");
    u = (const unsigned char *)properties.uuid.bytes;
    snprintf(text, 48, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13],
             u[14], u[15]);
}

static void answer_check(struct state *state, char *answer, size_t size)
{
    char uuid[48];
    uint64_t generation = 0;
    unsigned long long wrong;

    must(cudaMemcpy(&generation, state->generation, sizeof(generation), cudaMemcpyDeviceToHost),
         "read generation");
    if (generation != state->expected) {
        snprintf(answer, size, "BAD generation %llu on the GPU, %llu expected",
                 (unsigned long long)generation, (unsigned long long)state->expected);
        return;
    }
    for (size_t i = 0; i < BLOCKS + 2; i++) {
        const struct block *block = i < BLOCKS    ? &state->blocks[i]
                                    : i == BLOCKS ? &state->pinned
                                                  : &state->zeros;

        wrong = mismatches_in(state, block, block_seed(state, i), i > BLOCKS ? 0 : generation);
        if (wrong != 0) {
            snprintf(answer, size, "BAD block %zu: %llu of %zu words", i, wrong, block->words);
            return;
        }
    }
    uuid_text(uuid);
    snprintf(answer, size, "ok generation=%llu seed=%llu uuid=%s", (unsigned long long)generation,
             (unsigned long long)state->seed, uuid);
}

static void serve(struct state *state, int fd)
{
    for (;;) {
        char packet[64] = "", answer[256] = "unknown";
        sockaddr_in peer = {};
        socklen_t peer_size = sizeof(peer);

        if (recvfrom(fd, packet, sizeof(packet) - 1, 0, (sockaddr *)&peer, &peer_size) < 0)
            continue;
        if (strncmp(packet, "check", 5) == 0) {
            answer_check(state, answer, sizeof(answer));
        } else if (strncmp(packet, "bump", 4) == 0) {
            state_bump(state);
            answer_check(state, answer, sizeof(answer));
        } else if (strncmp(packet, "spin ", 5) == 0) {
            spin<<<1, 1, 0, state->stream>>>(strtoull(packet + 5, NULL, 10) * 1000000);
            must(cudaGetLastError(), "spin");
            snprintf(answer, sizeof(answer), "spinning");
        }
        sendto(fd, answer, strlen(answer), 0, (const sockaddr *)&peer, peer_size);
    }
}

static int listen_on(int port)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};

    address.sin_family = AF_INET;
    address.sin_port = htons((unsigned short)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (const sockaddr *)&address, sizeof(address)) < 0) {
        perror("pattern: socket");
        exit(1);
    }
    return fd;
}

// In the child this returns with the options changed, or goes on by exec.
static void child_start(struct options *options)
{
    pid_t parent = getpid();
    char port[16], mib[32];

    switch (fork()) {
    case -1:
        perror("pattern: fork");
        exit(1);
    case 0:
        break;
    default:
        return;
    }
    // Nobody else would end the child.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    options->port += 1;
    options->seed += 1;
    if (strcmp(options->child, "exec") != 0)
        return;
    snprintf(port, sizeof(port), "%d", options->port);
    snprintf(mib, sizeof(mib), "%zu", options->mib);
    execl("/proc/self/exe", "pattern", "--port", port, "--mib", mib, "--seed", "2", (char *)NULL);
    perror("pattern: exec");
    _exit(1);
}

static struct options options_from(int argc, char **argv)
{
    struct options options = {10010, 256, 1, NULL};

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            options.port = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--mib") == 0)
            options.mib = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            options.seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--child") == 0)
            options.child = argv[i + 1];
        else {
            fprintf(stderr, "pattern: unknown option %s\n", argv[i]);
            exit(2);
        }
    }
    return options;
}

int main(int argc, char **argv)
{
    struct options options = options_from(argc, argv);
    struct state state = {};

    if (options.child != NULL)
        child_start(&options);
    state_make(&state, &options);
    // The socket last: it tells that everything is in place.
    serve(&state, listen_on(options.port));
}
