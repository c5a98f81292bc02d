/* SPDX-License-Identifier: Apache-2.0 */
/* A notification group that watches one file. */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include "common.h"

static int group;
static int file;

static int setup(void)
{
    PASS_ON(file = make_file("watched", 4096, 0, O_RDWR));
    group = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_CLOEXEC);
    if (group < 0 && (errno == EPERM || errno == ENOSYS))
        return skip_kind("no fanotify here: %s", strerror(errno));
    MUST(group, "fanotify_init");
    MUST(fanotify_mark(group, FAN_MARK_ADD, FAN_MODIFY, AT_FDCWD, own_path("watched").text),
         "fanotify_mark");
    return 0;
}

static int check(uint64_t n)
{
    struct fanotify_event_metadata seen;

    PASS_ON(expect_quiet(group, "no events yet"));
    MUST(pwrite(file, &n, sizeof(n), 0), "pwrite");
    PASS_ON(wait_for(group, POLLIN, "an event"));
    MUST(read(group, &seen, sizeof(seen)), "read");
    EQUAL("kind of event", FAN_MODIFY, seen.mask);
    EQUAL("process", getpid(), seen.pid);
    (void)close(seen.fd);
    return 0;
}

const struct workload_kind kind_fanotify = {
    .name = "fanotify",
    .description = "fanotify group with a mark on a file",
    .flags = KIND_FILES,
    .setup = setup,
    .check = check,
};
