/* SPDX-License-Identifier: Apache-2.0 */
#include "workload/keeper-namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

unsigned long keeper_namespace_flags(const struct keeper_plan *plan)
{
    unsigned long flags = 0;

    if (plan->mode == WORKLOAD_OWN_PIDS)
        flags |= CLONE_NEWPID | CLONE_NEWNS;
    if (plan->mode == WORKLOAD_OWN_PIDS && plan->own_ipc)
        flags |= CLONE_NEWIPC;
    if (plan->own_network)
        flags |= CLONE_NEWNET;
    return flags;
}

static int mount_step(const char *source, const char *target, const char *type, unsigned long flags,
                      const char *data, struct error *error)
{
    if (mount(source, target, type, flags, data) < 0)
        return error_set(error, "namespace-setup", errno, "Can't mount %s on %s",
                         type ? type : source, target);
    return 0;
}

/* As large as the one that it hides. */
static int mount_private_shm(struct error *error)
{
    CLEANUP(free_ptr) char *options = NULL;
    struct statfs old;

    if (statfs("/dev/shm", &old) < 0)
        return error_set(error, "namespace-setup", errno, "Can't look at /dev/shm");
    options =
        text_format("mode=1777,size=%" PRIu64, (uint64_t)old.f_blocks * (uint64_t)old.f_bsize);
    return mount_step("stasis-shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, options, error);
}

static int copy_program(int from, const char *path, struct error *error)
{
    CLEANUP(close_fd) int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    char piece[65536];
    off_t position = 0;
    ssize_t n;

    if (to < 0)
        return error_set(error, "namespace-setup", errno, "Can't make %s", path);
    while ((n = pread(from, piece, sizeof piece, position)) > 0) {
        int r = file_write_all(to, piece, (size_t)n);

        if (r < 0)
            return error_set(error, "namespace-setup", r, "Can't write %s", path);
        position += n;
    }
    if (n < 0)
        return error_set(error, "namespace-setup", errno, "Can't read the root process");
    return 0;
}

static int bind_log(const char *log_path, struct error *error)
{
    CLEANUP(close_fd) int target = open(KEEPER_LOG, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    if (target < 0)
        return error_set(error, "namespace-setup", errno, "Can't make " KEEPER_LOG);
    return mount_step(log_path, KEEPER_LOG, NULL, MS_BIND, NULL, error);
}

static int make_place(const struct keeper_plan *plan, struct error *error)
{
    int r = directory_create_all(KEEPER_PLACE, 0755);

    if (r < 0)
        return error_set(error, "namespace-setup", r, "Can't make " KEEPER_PLACE);
    r = mount_step("stasis", KEEPER_PLACE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=16m",
                   error);
    if (r == 0 && plan->root_process >= 0)
        r = copy_program(plan->root_process, KEEPER_ROOT_PROCESS, error);
    if (r == 0)
        r = bind_log(plan->log_path, error);
    return r;
}

static int raise_loopback(struct error *error)
{
    CLEANUP(close_fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_flags = IFF_UP | IFF_RUNNING};

    (void)snprintf(request.ifr_name, sizeof request.ifr_name, "lo");
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
        return error_set(error, "namespace-setup", errno, "Can't start the loopback device");
    return 0;
}

int keeper_prepare_namespaces(const struct keeper_plan *plan, struct error *error)
{
    int r = 0;

    if (plan->own_network)
        r = raise_loopback(error);
    if (r < 0 || plan->mode != WORKLOAD_OWN_PIDS)
        return r;
    /* Mounts that the machine gains later still arrive; ours stay ours. */
    r = mount_step("none", "/", NULL, MS_REC | MS_SLAVE, NULL, error);
    if (r == 0)
        r = mount_step("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, error);
    if (r == 0)
        r = make_place(plan, error);
    /* Last: the log may lie below the /dev/shm that it hides. */
    if (r == 0 && plan->private_shm)
        r = mount_private_shm(error);
    return r;
}
