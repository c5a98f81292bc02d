/* SPDX-License-Identifier: Apache-2.0 */
/* A named pipe, held open at both ends, with data in flight. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

enum { IN_FLIGHT = 3000 };

static struct {
    int reader;
    int writer;
    unsigned char buffer[IN_FLIGHT];
} s;

static int put(uint64_t n)
{
    pattern_fill(s.buffer, IN_FLIGHT, n);
    return write_full(s.writer, s.buffer, IN_FLIGHT);
}

static int setup(void)
{
    struct path_name path = own_path("fifo");

    MUST(mkfifo(path.text, 0600), "mkfifo");
    MUST(s.reader = open(path.text, O_RDONLY | O_NONBLOCK | O_CLOEXEC), "open to read");
    MUST(s.writer = open(path.text, O_WRONLY | O_CLOEXEC), "open to write");
    return put(0);
}

static int check(uint64_t n)
{
    struct stat info;

    MUST(fstat(s.reader, &info), "fstat");
    EQUAL("type of the file", S_IFIFO, info.st_mode & S_IFMT);
    EQUAL("O_NONBLOCK", O_NONBLOCK, fcntl(s.reader, F_GETFL) & O_NONBLOCK);
    PASS_ON(read_full(s.reader, s.buffer, IN_FLIGHT));
    PASS_ON(pattern_verify("fifo", s.buffer, IN_FLIGHT, n - 1));
    PASS_ON(expect_quiet(s.reader, "emptied fifo"));
    return put(n);
}

const struct workload_kind kind_fifo = {
    .name = "fifo",
    .description = "named pipe with data in flight",
    .flags = KIND_FILES,
    .setup = setup,
    .check = check,
};
