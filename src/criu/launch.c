/* SPDX-License-Identifier: Apache-2.0 */
#include "criu/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "criu/inside/inside.h"

/* Above every fixed number, so that moving descriptors down never overwrites one. */
enum { SAFE_FD = 300, START_TIMEOUT_MSEC = 30000 };

int criu_carrier_make(int *ret_receiver, int *ret_sender, struct error *error)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set(error, "system", errno, "Can't make a socket pair");
    *ret_receiver = pair[0];
    *ret_sender = pair[1];
    return 0;
}

static int send_fd(int carrier, int fd)
{
    char byte = 0;
    struct iovec piece = {.iov_base = &byte, .iov_len = 1};
    union {
        char data[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.data,
                             .msg_controllen = sizeof control.data};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    return sendmsg(carrier, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int criu_carrier_receive(int carrier_receiver, int *ret_socket, struct error *error)
{
    char byte;
    struct iovec piece = {.iov_base = &byte, .iov_len = 1};
    union {
        char data[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.data,
                             .msg_controllen = sizeof control.data};
    struct pollfd wait = {.fd = carrier_receiver, .events = POLLIN};
    struct cmsghdr *header;
    ssize_t n;

    if (poll(&wait, 1, START_TIMEOUT_MSEC) <= 0)
        return error_set(error, "criu-start", ETIMEDOUT, "CRIU did not start");
    n = recvmsg(carrier_receiver, &message, MSG_CMSG_CLOEXEC);
    header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (!header || header->cmsg_type != SCM_RIGHTS)
        return error_set(error, "criu-start", n < 0 ? errno : ECONNRESET, "CRIU did not start");
    memcpy(ret_socket, CMSG_DATA(header), sizeof *ret_socket);
    return 0;
}

/* Later forks in this pid namespace continue above `least`. Written through the namespace's own
 * /proc; where that can't be done CRIU reports the clash itself. */
static void raise_next_pid(pid_t least)
{
    CLEANUP(free_ptr) char *text = text_format("%d", (int)least);
    CLEANUP(close_fd) int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);

    if (fd >= 0)
        (void)!write(fd, text, strlen(text));
}

/* Killed while it looks into a process it would take that process along. */
static void ask_to_be_spared(void)
{
    CLEANUP(close_fd) int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0)
        (void)!write(fd, "-1000", 5);
}

/* Puts `fd` at `number` and lets it survive exec; nothing for -1. */
static int place_fd(int fd, int number)
{
    if (fd < 0)
        return 0;
    return dup3(fd, number, 0) < 0 ? -errno : 0;
}

struct safe_fds {
    int images, work, plugin, messages, terminal, mounts, users;
    int *inherited;
};

static int safe_copy(int fd)
{
    return fd < 0 ? -1 : fd_duplicate(fd, SAFE_FD);
}

static void copy_fds_up(const struct criu_launch *launch, struct safe_fds *safe)
{
    *safe = (struct safe_fds){
        .images = safe_copy(launch->images_directory),
        .work = safe_copy(launch->work_directory),
        .plugin = safe_copy(launch->plugin_socket),
        .messages = safe_copy(launch->messages),
        .terminal = safe_copy(launch->terminal),
        .mounts = safe_copy(launch->mount_namespace > 0 ? launch->mount_namespace : -1),
        .users = safe_copy(launch->user_namespace > 0 ? launch->user_namespace : -1),
        .inherited = allocate((launch->inherited_count + 1) * sizeof(int)),
    };
    for (size_t i = 0; i < launch->inherited_count; i++)
        safe->inherited[i] = safe_copy(launch->inherited[i]);
}

static int place_fds(const struct criu_launch *launch, int socket)
{
    CLEANUP(close_fd) int opened = open("/dev/null", O_RDWR | O_CLOEXEC);
    CLEANUP(close_fd) int null = safe_copy(opened);
    struct safe_fds safe;
    int r = 0;

    if (null < 0)
        return -errno;
    copy_fds_up(launch, &safe);
    close_fd(&opened); /* its number may be one of those below */
    r = place_fd(null, 0);
    if (r == 0)
        r = place_fd(null, 1);
    if (r == 0)
        r = place_fd(safe.messages >= 0 ? safe.messages : null, 2);
    if (r == 0)
        r = place_fd(safe.images, CRIU_IMAGES_FD);
    if (r == 0)
        r = place_fd(safe.work, CRIU_WORK_FD);
    if (r == 0)
        r = place_fd(socket, CRIU_SOCKET_FD);
    if (r == 0)
        r = place_fd(safe.plugin, CRIU_PLUGIN_FD);
    if (r == 0)
        r = place_fd(safe.mounts, CRIU_MOUNT_NAMESPACE_FD);
    if (r == 0)
        r = place_fd(safe.users, CRIU_USER_NAMESPACE_FD);
    for (size_t i = 0; r == 0 && i < launch->inherited_count; i++)
        r = place_fd(safe.inherited[i], CRIU_FIRST_INHERITED_FD + (int)i);
    if (safe.terminal >= 0)
        (void)ioctl(safe.terminal, TIOCSCTTY, 0);
    free(safe.inherited);
    return r;
}

static int set_environment(const struct criu_launch *launch)
{
    CLEANUP(free_ptr) char *number = text_format("%d", CRIU_PLUGIN_FD);
    CLEANUP(free_ptr) char *mounts = text_format("%d", CRIU_MOUNT_NAMESPACE_FD);
    CLEANUP(free_ptr) char *users = text_format("%d", CRIU_USER_NAMESPACE_FD);

    /* Stock plugins must not answer for our processes: without a plugin of ours CRIU looks into a
     * directory that is always there and never holds any. */
    if (setenv("CRIU_LIBS_DIR",
               launch->plugin_directory ? launch->plugin_directory : "/proc/self/ns", 1) < 0)
        return -errno;
    (void)unsetenv("CRIU_CONFIG_FILE");
    (void)unsetenv("LD_PRELOAD");
    if (launch->plugin_socket >= 0 && setenv("STASIS_PLUGIN_FD", number, 1) < 0)
        return -errno;
    if (launch->mount_namespace > 0 && setenv(INSIDE_VARIABLE, mounts, 1) < 0)
        return -errno;
    if (launch->user_namespace > 0 && setenv(INSIDE_USERS_VARIABLE, users, 1) < 0)
        return -errno;
    return 0;
}

/* The private copy has a loader of its own; the script beside it, for people, needs a shell that
 * not every image has, and what is to be preloaded must be preloaded into CRIU and not into a
 * shell. Returns when there is no such copy. */
static void exec_private_copy(const struct criu_launch *launch, const char *preloaded,
                              char *socket_number)
{
    CLEANUP(free_ptr) char *directory = text_copy(launch->binary);
    CLEANUP(free_ptr) char *loader = NULL, *libraries = NULL, *program = NULL;
    char *slash = strrchr(directory, '/');
    char *arguments[10];
    size_t count = 0;

    if (slash)
        *slash = 0;
    loader = text_format("%s/lib/loader", directory);
    libraries = text_format("%s/lib", directory);
    program = text_format("%s/criu.bin", directory);
    if (access(loader, X_OK) < 0 || access(program, R_OK) < 0)
        return;
    arguments[count++] = loader;
    arguments[count++] = (char *)"--library-path";
    arguments[count++] = libraries;
    if (preloaded) {
        arguments[count++] = (char *)"--preload";
        arguments[count++] = (char *)(uintptr_t)preloaded;
    }
    arguments[count++] = program;
    arguments[count++] = (char *)"swrk";
    arguments[count++] = socket_number;
    arguments[count] = NULL;
    (void)execv(loader, arguments);
}

static void exec_criu(const struct criu_launch *launch, char *socket_number)
{
    char *const arguments[] = {(char *)"criu", (char *)"swrk", socket_number, NULL};
    const char *preloaded = launch->mount_namespace > 0 ? launch->inside : NULL;

    exec_private_copy(launch, preloaded, socket_number);
    if (!preloaded || setenv("LD_PRELOAD", preloaded, 1) == 0)
        (void)execv(launch->binary, arguments);
}

_Noreturn static void become_criu(const struct criu_launch *launch, int carrier_sender)
{
    char socket_number[16];
    sigset_t none;
    int pair[2];

    /* A terminal's Ctrl-C is for us: we undo in order. CRIU must not be cut short by it. */
    (void)setsid();
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    if (launch->load_namespace > 0 && setns(launch->load_namespace, CLONE_NEWNS) < 0)
        _exit(127);
    if (launch->personality)
        (void)personality(launch->personality);
    if (launch->spared)
        ask_to_be_spared();
    if (launch->least_pid > 0)
        raise_next_pid(launch->least_pid + 1);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        _exit(127);
    if (send_fd(carrier_sender, pair[0]) < 0)
        _exit(127);
    pair[1] = fd_duplicate(pair[1], SAFE_FD);
    if (pair[1] < 0 || place_fds(launch, pair[1]) < 0 || set_environment(launch) < 0)
        _exit(127);
    (void)snprintf(socket_number, sizeof socket_number, "%d", CRIU_SOCKET_FD);
    (void)close_range(CRIU_FIRST_INHERITED_FD + (unsigned)launch->inherited_count, ~0U,
                      CLOSE_RANGE_CLOEXEC);
    exec_criu(launch, socket_number);
    _exit(127);
}

/* fork, with a pid that the restored tree does not need. */
static pid_t fork_above(pid_t least_pid)
{
    pid_t wanted = least_pid + 1;
    struct clone_args arguments = {.exit_signal = SIGCHLD};
    pid_t pid;

    if (least_pid <= 0)
        return fork();
    for (int attempt = 0; attempt < 50; attempt++, wanted++) {
        arguments.set_tid = (uint64_t)(uintptr_t)&wanted;
        arguments.set_tid_size = 1;
        pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
        if (pid >= 0 || errno != EEXIST)
            return pid;
    }
    return -1;
}

int criu_start_here(const struct criu_launch *launch, int carrier_sender, pid_t *ret_pid,
                    struct error *error)
{
    pid_t pid = fork_above(launch->least_pid);

    if (pid < 0)
        return error_set(error, "criu-start", errno, "Can't start a process for CRIU");
    if (pid == 0)
        become_criu(launch, carrier_sender);
    *ret_pid = pid;
    return 0;
}

/* The mount namespace last: until then /proc is ours. */
static const enum namespace_kind entered_kinds[] = {
    NAMESPACE_CGROUP,  NAMESPACE_IPC, NAMESPACE_UTS,
    NAMESPACE_NETWORK, NAMESPACE_PID, NAMESPACE_MOUNT,
};

enum { ENTERED_KINDS = sizeof entered_kinds / sizeof entered_kinds[0] };

static int open_namespaces(const struct criu_place *place, int fds[ENTERED_KINDS])
{
    int r = 0;

    for (size_t i = 0; i < ENTERED_KINDS; i++) {
        CLEANUP(free_ptr)
        char *path =
            text_format("/proc/%d/ns/%s", (int)place->pid, namespace_name(entered_kinds[i]));

        fds[i] = -1;
        if (!(place->kinds & 1U << entered_kinds[i]))
            continue;
        fds[i] = open(path, O_RDONLY | O_CLOEXEC);
        if (fds[i] < 0)
            r = -errno;
    }
    return r;
}

/* A foreign mount namespace is left to CRIU: `ret_mounts` is its descriptor. */
static int enter_namespaces(const struct criu_place *place, int *ret_mounts)
{
    int fds[ENTERED_KINDS];
    int r = open_namespaces(place, fds);

    for (size_t i = 0; i < ENTERED_KINDS; i++) {
        if (place->foreign && entered_kinds[i] == NAMESPACE_MOUNT)
            *ret_mounts = steal_fd(&fds[i]);
        else if (r == 0 && fds[i] >= 0 && setns(fds[i], 0) < 0)
            r = -errno;
        close_fd(&fds[i]);
    }
    return r;
}

/* Keeps two descriptors, as 3 and 4, and no others: what this process holds open besides would be
 * taken for a sign of life of somebody else. */
static void keep_for_tidying(int images, int root)
{
    CLEANUP(close_fd) int first = fd_duplicate(images, SAFE_FD);
    CLEANUP(close_fd) int second = fd_duplicate(root, SAFE_FD);

    if (first < 0 || second < 0 || dup3(first, 3, O_CLOEXEC) < 0 || dup3(second, 4, O_CLOEXEC) < 0)
        return;
    (void)close_range(5, ~0U, 0);
}

/* The child of criu_start: goes inside, becomes the parent of CRIU and passes its end on. */
_Noreturn static void go_inside(const struct criu_launch *launch, const struct criu_place *place,
                                int carrier_sender)
{
    struct criu_launch inside = *launch;
    int status = 0;
    pid_t pid;

    (void)setsid();
    if (enter_namespaces(place, &inside.mount_namespace) < 0 ||
        criu_start_here(&inside, carrier_sender, &pid, NULL) < 0)
        _exit(127);
    if (place->tidy)
        keep_for_tidying(launch->images_directory, place->root);
    else
        (void)close_range(3, ~0U, 0);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (place->tidy && status != 0)
        place->tidy(3, 4);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128);
}

int criu_start(const struct criu_launch *launch, const struct criu_place *place, int carrier_sender,
               pid_t *ret_pid, struct error *error)
{
    pid_t pid;

    if (place->pid == 0)
        return criu_start_here(launch, carrier_sender, ret_pid, error);
    pid = fork();
    if (pid < 0)
        return error_set(error, "criu-start", errno, "Can't start a process for CRIU");
    if (pid == 0)
        go_inside(launch, place, carrier_sender);
    *ret_pid = pid;
    return 0;
}
