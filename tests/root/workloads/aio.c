/* SPDX-License-Identifier: Apache-2.0 */
/* A context for asynchronous input and output, with nothing under way. */
#include <linux/aio_abi.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

static aio_context_t context;
static int file;

static int setup(void)
{
    if (syscall(SYS_io_setup, 64, &context) < 0) {
        if (errno == ENOSYS)
            return skip_kind("no asynchronous input and output in this kernel");
        return fail_errno("io_setup");
    }
    MUST(file = memfd_create("aio", MFD_CLOEXEC), "memfd_create");
    return 0;
}

static int check(uint64_t n)
{
    struct iocb request = {.aio_data = n,
                           .aio_lio_opcode = IOCB_CMD_PWRITE,
                           .aio_fildes = (uint32_t)file,
                           .aio_buf = (uintptr_t)&n,
                           .aio_nbytes = sizeof(n),
                           .aio_offset = (int64_t)n * 8};
    struct iocb *requests[] = {&request};
    struct io_event event;
    uint64_t seen = 0;

    EQUAL("requests taken", 1, syscall(SYS_io_submit, context, 1, requests));
    EQUAL("requests done", 1, syscall(SYS_io_getevents, context, 1, 1, &event, NULL));
    EQUAL("data of the request", n, event.data);
    EQUAL("result", sizeof(n), event.res);
    MUST(pread(file, &seen, sizeof(seen), (off_t)n * 8), "pread");
    EQUAL("number written", n, seen);
    return 0;
}

const struct workload_kind kind_aio = {
    .name = "aio",
    .description = "asynchronous input and output context",
    .setup = setup,
    .check = check,
};
