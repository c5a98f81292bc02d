/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A POSIX shared memory object, mapped by parent and child, and a second one
 * whose name is gone. The named one is a file of /dev/shm: unless /dev/shm
 * belongs to the snapshot it may be newer than the memory.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"

enum { SIZE = 128 * 1024 };

static struct {
    uint64_t *named;
    unsigned char *nameless;
    struct worker worker;
} s;

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    PASS_ON(pattern_verify("nameless object", s.nameless, SIZE, question));
    *answer = s.named[100];
    return 0;
}

static int open_object(const char *name, void **ret_memory)
{
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);

    MUST(fd, "shm_open");
    MUST(ftruncate(fd, SIZE), "ftruncate");
    *ret_memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    MUST(*ret_memory, "mmap");
    (void)close(fd);
    return 0;
}

static int setup(void)
{
    void *memory;

    PASS_ON(open_object(unique_name("/named.").text, &memory));
    s.named = memory;
    PASS_ON(open_object(unique_name("/nameless.").text, &memory));
    s.nameless = memory;
    MUST(shm_unlink(unique_name("/nameless.").text), "shm_unlink");
    pattern_fill(s.nameless, SIZE, 0);
    s.named[0] = 0;
    return worker_start(&s.worker, serve, NULL);
}

static int check(uint64_t n)
{
    int fd;
    uint64_t seen = 0;

    if (arguments.private_shm)
        EQUAL("named object", n - 1, s.named[0]);
    AT_LEAST("named object", n - 1, s.named[0]);
    PASS_ON(pattern_verify("nameless object", s.nameless, SIZE, n - 1));
    s.named[0] = n;
    s.named[100] = n * 5;
    pattern_fill(s.nameless, SIZE, n);
    MUST(fd = shm_open(unique_name("/named.").text, O_RDONLY, 0), "shm_open by name");
    MUST(pread(fd, &seen, sizeof(seen), 0), "pread");
    EQUAL("named object, opened again", n, seen);
    (void)close(fd);
    return worker_expect(&s.worker, "object seen by the child", n, n * 5);
}

const struct workload_kind kind_posix_shm = {
    .name = "posix-shm",
    .description = "POSIX shared memory, with and without a name, shared with a child",
    .flags = KIND_FILES,
    .setup = setup,
    .check = check,
};
