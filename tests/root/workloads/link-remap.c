/* SPDX-License-Identifier: Apache-2.0 */
/* A file opened by a name that is gone, while the file lives on under another name. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

static int fd;

static int setup(void)
{
    PASS_ON(fd = make_file("opened", 4096, 3, O_RDWR));
    MUST(link(own_path("opened").text, own_path("kept").text), "link");
    MUST(unlink(own_path("opened").text), "unlink");
    MUST(lseek(fd, 100, SEEK_SET), "lseek");
    return 0;
}

static int check(uint64_t n)
{
    struct stat by_fd;
    struct stat by_name;
    uint64_t seen = 0;
    int other;

    EQUAL("offset", 100 + n - 1, lseek(fd, 0, SEEK_CUR));
    MUST(lseek(fd, 1, SEEK_CUR), "lseek");
    MUST(fstat(fd, &by_fd), "fstat");
    MUST(stat(own_path("kept").text, &by_name), "stat");
    EQUAL("inode", by_name.st_ino, by_fd.st_ino);
    MUST(pwrite(fd, &n, sizeof(n), 0), "pwrite");
    MUST(other = open(own_path("kept").text, O_RDONLY | O_CLOEXEC), "open");
    MUST(pread(other, &seen, sizeof(seen), 0), "pread");
    EQUAL("number under the other name", n, seen);
    (void)close(other);
    /* Exactly one name: whatever a restore needed on the way must be gone again. */
    EQUAL("names of the file", 1, by_fd.st_nlink);
    return 0;
}

const struct workload_kind kind_link_remap = {
    .name = "link-remap",
    .description = "file whose opened name was deleted, with another name left",
    .flags = KIND_FILES,
    .setup = setup,
    .check = check,
};
