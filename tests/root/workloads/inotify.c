/* SPDX-License-Identifier: Apache-2.0 */
/* Watches on a directory and a file. Events not read yet may get lost, so none is left. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common.h"

static struct {
    int fd;
    int on_directory;
    int on_file;
    int file;
} s;

static int setup(void)
{
    struct path_name file = own_path("watched");

    PASS_ON(s.file = make_file("watched", 4096, 0, O_RDWR));
    MUST(s.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), "inotify_init1");
    s.on_directory = inotify_add_watch(s.fd, arguments.dir, IN_CREATE | IN_DELETE);
    MUST(s.on_directory, "inotify_add_watch");
    s.on_file = inotify_add_watch(s.fd, file.text, IN_MODIFY);
    MUST(s.on_file, "inotify_add_watch");
    return 0;
}

static int expect_event(int watch, uint32_t mask, const char *name)
{
    union {
        struct inotify_event event;
        char space[sizeof(struct inotify_event) + NAME_MAX + 1];
    } seen;

    PASS_ON(wait_for(s.fd, POLLIN, "an event"));
    MUST(read(s.fd, &seen, sizeof(struct inotify_event) + 16), "read");
    EQUAL("watch", watch, seen.event.wd);
    EQUAL("kind of event", mask, seen.event.mask);
    if (name != NULL && strcmp(seen.event.name, name) != 0)
        return fail("event: expected name '%s', seen '%s'", name, seen.event.name);
    return 0;
}

static int check(uint64_t n)
{
    char name[16];
    char drain[4096];
    int fd;

    /* What a restore did to the files may be told; only what comes now counts. */
    while (read(s.fd, drain, sizeof(drain)) > 0)
        ;
    (void)snprintf(name, sizeof(name), "n-%llu", (unsigned long long)n % 1000);
    MUST(fd = open(own_path(name).text, O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open");
    (void)close(fd);
    PASS_ON(expect_event(s.on_directory, IN_CREATE, name));
    MUST(unlink(own_path(name).text), "unlink");
    PASS_ON(expect_event(s.on_directory, IN_DELETE, name));
    MUST(pwrite(s.file, &n, sizeof(n), 0), "pwrite");
    PASS_ON(expect_event(s.on_file, IN_MODIFY, NULL));
    return expect_quiet(s.fd, "no more events");
}

const struct workload_kind kind_inotify = {
    .name = "inotify",
    .description = "watches on a directory and a file",
    .flags = KIND_FILES,
    .setup = setup,
    .check = check,
};
