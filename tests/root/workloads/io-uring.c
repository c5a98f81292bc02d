/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of io_uring, mapped and used. */
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

static struct {
    int fd;
    struct io_uring_params params;
    unsigned char *ring;
    struct io_uring_sqe *entries;
} s;

static int map_rings(void)
{
    size_t size = s.params.cq_off.cqes + s.params.cq_entries * sizeof(struct io_uring_cqe);
    size_t sq_size = s.params.sq_off.array + s.params.sq_entries * sizeof(uint32_t);

    if (!(s.params.features & IORING_FEAT_SINGLE_MMAP))
        return skip_kind("this kernel maps the two rings apart");
    s.ring = mmap(NULL, size > sq_size ? size : sq_size, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_POPULATE, s.fd, IORING_OFF_SQ_RING);
    MUST(s.ring, "mmap of the rings");
    s.entries = mmap(NULL, s.params.sq_entries * sizeof(*s.entries), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_POPULATE, s.fd, IORING_OFF_SQES);
    MUST(s.entries, "mmap of the entries");
    return 0;
}

static int setup(void)
{
    s.fd = (int)syscall(SYS_io_uring_setup, 8, &s.params);
    /* ENOSYS is also what a product answers which keeps rings away from workloads. */
    if (s.fd < 0 && (errno == ENOSYS || errno == EPERM))
        return skip_kind("io_uring_setup: %s", strerror(errno));
    MUST(s.fd, "io_uring_setup");
    return map_rings();
}

static uint32_t *word(uint32_t offset)
{
    return (uint32_t *)(void *)(s.ring + offset);
}

static int check(uint64_t n)
{
    uint32_t tail = *word(s.params.sq_off.tail);
    uint32_t index = tail & *word(s.params.sq_off.ring_mask);
    uint32_t head = *word(s.params.cq_off.head);
    struct io_uring_cqe *done;

    memset(&s.entries[index], 0, sizeof(s.entries[index]));
    s.entries[index].opcode = IORING_OP_NOP;
    s.entries[index].user_data = n;
    word(s.params.sq_off.array)[index] = index;
    __atomic_store_n(word(s.params.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
    EQUAL("submitted", 1, syscall(SYS_io_uring_enter, s.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0));
    done = (struct io_uring_cqe *)(void *)(s.ring + s.params.cq_off.cqes);
    EQUAL("data of the answer", n, done[head & *word(s.params.cq_off.ring_mask)].user_data);
    __atomic_store_n(word(s.params.cq_off.head), head + 1, __ATOMIC_RELEASE);
    return 0;
}

const struct workload_kind kind_io_uring = {
    .name = "io-uring",
    .description = "io_uring in use",
    .flags = KIND_REFUSED,
    .reason = "CRIU knows no io_uring: the state of a ring is in the kernel only",
    .setup = setup,
    .check = check,
};
