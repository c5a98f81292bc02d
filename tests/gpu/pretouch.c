/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pretouch GIB
 *
 * Touches that much memory once and gives it back. Virtual machines that hand
 * out memory on first touch would otherwise be what a timing measures. Memory
 * that does not arrive is not insisted on: a measurement is not worth an OOM kill.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 64 << 20, PAGE = 4096, MAX_THREADS = 16, PATIENCE_MS = 5000, TICK_MS = 20 };

static const long floor_kib = 1536 * 1024; /* left alone for everybody else */

static char *memory;
static size_t chunks;
static atomic_size_t next_chunk;
static atomic_size_t touched;
static atomic_bool enough_left = true;
static atomic_bool give_up;

static void nap(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

static long available_kib(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    long value = 0;

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "MemAvailable: %ld", &value) == 1)
            break;
    fclose(file);
    return value;
}

static void *touch(void *unused)
{
    (void)unused;
    for (;;) {
        size_t chunk = atomic_fetch_add(&next_chunk, 1);

        if (chunk >= chunks)
            return NULL;
        while (!atomic_load(&enough_left) && !atomic_load(&give_up))
            nap(TICK_MS);
        if (atomic_load(&give_up))
            return NULL;
        for (size_t at = 0; at < CHUNK; at += PAGE)
            ((volatile char *)memory)[chunk * CHUNK + at] = 1;
        atomic_fetch_add(&touched, 1);
    }
}

/* Ends when all is touched or nothing has moved for too long. */
static void watch(void)
{
    size_t before = 0;
    int idle_ms = 0;

    while (atomic_load(&touched) < chunks && idle_ms < PATIENCE_MS) {
        atomic_store(&enough_left, available_kib() > floor_kib);
        nap(TICK_MS);
        idle_ms = atomic_load(&touched) == before ? idle_ms + TICK_MS : 0;
        before = atomic_load(&touched);
    }
    atomic_store(&give_up, true);
}

static void volunteer_for_oom(void)
{
    FILE *file = fopen("/proc/self/oom_score_adj", "we");

    if (file == NULL)
        return;
    fputs("1000", file);
    fclose(file);
}

int main(int argc, char **argv)
{
    pthread_t threads[MAX_THREADS];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int count = cores < 1 ? 1 : cores > MAX_THREADS ? MAX_THREADS : (int)cores;
    struct timespec start, end;

    if (argc != 2 || (chunks = strtoull(argv[1], NULL, 10) * 1024 / 64) == 0) {
        fprintf(stderr, "usage: pretouch GIB\n");
        return 2;
    }
    volunteer_for_oom();
    memory = mmap(NULL, chunks * CHUNK, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        perror("pretouch: mmap");
        return 1;
    }
    madvise(memory, chunks * CHUNK, MADV_HUGEPAGE);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, touch, NULL) != 0)
            return 1;
    watch();
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.1f GiB in %.1f s\n", (double)atomic_load(&touched) * CHUNK / (1 << 30),
           (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9);
    return 0;
}
