/* SPDX-License-Identifier: Apache-2.0 */
/* All three kinds of file locks, tested by a child that holds none. */
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "common.h"

static struct {
    int whole;       /* flock */
    int range;       /* POSIX record lock */
    int description; /* lock of an open file description */
    struct worker worker;
} s;

static int test_lock(const char *name, int command, off_t start, struct flock *ret_lock)
{
    int fd = open(own_path(name).text, O_RDWR | O_CLOEXEC);

    MUST(fd, name);
    *ret_lock =
        (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = 5};
    MUST(fcntl(fd, command, ret_lock), "F_GETLK");
    (void)close(fd);
    return 0;
}

/* In the child: what of the locks can be seen from outside. */
static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    struct flock lock;
    int fd = open(own_path("whole").text, O_RDWR | O_CLOEXEC);

    (void)arg;
    MUST(fd, "open");
    EQUAL("flock of a locked file", -1, flock(fd, LOCK_EX | LOCK_NB));
    EQUAL("errno of flock", EWOULDBLOCK, errno);
    (void)close(fd);
    PASS_ON(test_lock("range", F_GETLK, (off_t)question * 10, &lock));
    EQUAL("type of the record lock", F_WRLCK, lock.l_type);
    EQUAL("start of the record lock", question * 10, lock.l_start);
    EQUAL("length of the record lock", 5, lock.l_len);
    EQUAL("owner of the record lock", getppid(), lock.l_pid);
    PASS_ON(test_lock("range", F_GETLK, 5000, &lock));
    EQUAL("lock elsewhere", F_UNLCK, lock.l_type);
    PASS_ON(test_lock("description", F_OFD_GETLK, 0, &lock));
    EQUAL("type of the description's lock", F_RDLCK, lock.l_type);
    *answer = question;
    return 0;
}

static int lock_range(uint64_t n, short type)
{
    struct flock lock = {
        .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)n * 10, .l_len = 5};

    MUST(fcntl(s.range, F_SETLK, &lock), "F_SETLK");
    return 0;
}

static int setup(void)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

    /* First, so that the child inherits no open file description with a lock. */
    PASS_ON(worker_start(&s.worker, serve, NULL));
    PASS_ON(s.whole = make_file("whole", 4096, 0, O_RDWR));
    PASS_ON(s.range = make_file("range", 8192, 0, O_RDWR));
    PASS_ON(s.description = make_file("description", 4096, 0, O_RDWR));
    MUST(flock(s.whole, LOCK_EX), "flock");
    MUST(fcntl(s.description, F_OFD_SETLK, &lock), "F_OFD_SETLK");
    return lock_range(0, F_WRLCK);
}

static int check(uint64_t n)
{
    PASS_ON(worker_expect(&s.worker, "locks seen by the child", n - 1, n - 1));
    PASS_ON(lock_range(n - 1, F_UNLCK));
    return lock_range(n, F_WRLCK);
}

const struct workload_kind kind_file_locks = {
    .name = "file-locks",
    .description = "flock, record locks and locks of open file descriptions",
    .flags = KIND_FILES,
    .setup = setup,
    .check = check,
};
