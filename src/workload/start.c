/* SPDX-License-Identifier: Apache-2.0 */
#include "workload/start.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/fault.h"
#include "basic/file.h"
#include "basic/installation.h"
#include "basic/text.h"
#include "proc/namespaces.h"
#include "proc/process.h"

static const char *const stdio_names[] = {
    [STDIO_LOG] = "log", [STDIO_PTY] = "pty", [STDIO_INHERIT] = "inherit"};

const char *stdio_name(enum stdio_kind kind)
{
    return stdio_names[kind];
}

int stdio_parse(const char *name, enum stdio_kind *ret_kind)
{
    for (size_t i = 0; i < sizeof stdio_names / sizeof stdio_names[0]; i++) {
        if (text_equal(name, stdio_names[i])) {
            *ret_kind = (enum stdio_kind)i;
            return 0;
        }
    }
    return -EINVAL;
}

/* io_uring_setup answers as on a kernel without it; libraries then use their other way. Other
 * system call tables (32 bit programs) are left alone. */
static int refuse_io_uring(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int r = filter ? 0 : -ENOMEM;

    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW);
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(io_uring_setup), 0);
    if (r == 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    return r;
}

/* Files are opened again, so that they belong to the workload's own mounts and can be saved. */
static int reopen_stdio(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        CLEANUP(free_ptr) char *path = fd_path(fd);
        CLEANUP(close_fd) int again = -1;
        int flags = fcntl(fd, F_GETFL);
        off_t position = lseek(fd, 0, SEEK_CUR);

        if (!path || path[0] != '/' || isatty(fd))
            continue;
        /* What is written goes to the end: the caller's position is not ours any more. */
        flags = (flags & O_ACCMODE) == O_RDONLY ? flags : flags | O_APPEND;
        again = open(path, (flags & (O_ACCMODE | O_APPEND | O_NONBLOCK)) | O_CLOEXEC | O_NOCTTY);
        if (again < 0)
            continue; /* deleted meanwhile: it stays as it is, and preflight speaks of it */
        if (position > 0)
            (void)lseek(again, position, SEEK_SET);
        if (dup2(again, fd) < 0)
            return -errno;
    }
    return 0;
}

static int place_stdio(const struct keeper_stdio *stdio)
{
    CLEANUP(close_fd) int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int input = stdio->kind == STDIO_PTY ? stdio->terminal : null;
    int output = stdio->kind == STDIO_PTY ? stdio->terminal : stdio->log;

    if (stdio->kind == STDIO_INHERIT)
        return reopen_stdio();
    if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
        return -errno;
    return 0;
}

static int prepare_command(const struct workload_request *request, const struct keeper_stdio *stdio)
{
    sigset_t none;
    int r;

    for (const char *const *variable = request->environment; variable && *variable; variable++) {
        if (putenv((char *)(uintptr_t)*variable) != 0)
            return -errno;
    }
    if (request->directory && chdir(request->directory) < 0)
        return -errno;
    r = place_stdio(stdio);
    if (r < 0)
        return r;
    (void)setsid();
    if (request->mode == WORKLOAD_HOST_PIDS && stdio->kind == STDIO_PTY)
        (void)ioctl(0, TIOCSCTTY, 0);
    if (!request->allow_io_uring) {
        r = refuse_io_uring();
        if (r < 0)
            return r;
    }
    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    return 0;
}

/* Descriptors that we were given by our own caller are not for the workload. Nor could they be
 * saved: they belong to the mounts of another namespace. */
static int close_others(int error_fd)
{
    if (error_fd != 3 && dup3(error_fd, 3, O_CLOEXEC) < 0)
        return -errno;
    return close_range(4, ~0U, 0) < 0 ? -errno : 0;
}

_Noreturn static void become_command(const struct workload_request *request,
                                     const struct keeper_stdio *stdio, int error_fd)
{
    size_t count = 0;
    char **arguments;
    char number[16];
    int r = prepare_command(request, stdio);

    if (r == 0) {
        r = close_others(error_fd);
        error_fd = 3;
    }
    while (request->command[count])
        count++;
    arguments = allocate((count + 3) * sizeof *arguments);
    (void)snprintf(number, sizeof number, "%d", error_fd);
    arguments[0] = (char *)(uintptr_t)KEEPER_ROOT_PROCESS;
    arguments[1] = number;
    memcpy(arguments + 2, request->command, count * sizeof *arguments);
    if (r == 0 && request->mode == WORKLOAD_OWN_PIDS) {
        (void)fd_set_inherited(error_fd, true);
        (void)execv(KEEPER_ROOT_PROCESS, arguments);
    } else if (r == 0) {
        (void)execvp(arguments[2], arguments + 2);
    }
    r = r < 0 ? -r : errno;
    (void)!write(error_fd, &r, sizeof r);
    _exit(127);
}

/* Waits until the command was executed. */
static int wait_for_exec(int error_fd, const char *name, struct error *error)
{
    int number = 0;
    ssize_t n;

    do {
        n = read(error_fd, &number, sizeof number);
    } while (n < 0 && errno == EINTR);
    if (n <= 0)
        return 0;
    return error_set(error, number == ENOENT ? "command-not-found" : "command-not-executable",
                     number, "Can't execute %s", name);
}

/* The only child of the root process, as soon as it was executed. */
static pid_t first_child(pid_t parent)
{
    CLEANUP(free_ptr)
    char *path = text_format("/proc/%d/task/%d/children", (int)parent, (int)parent);
    CLEANUP(free_ptr) char *children = NULL;
    int pid = -1;

    if (file_read(AT_FDCWD, path, 4096, &children, NULL) < 0 || !children)
        return -1;
    children[strcspn(children, " ")] = 0;
    return text_to_int(children, &pid) == 0 ? pid : -1;
}

static int begin_command(const struct keeper_stdio *stdio, void *context,
                         struct keeper_begun *ret_begun, struct error *error)
{
    const struct workload_request *request = context;
    CLEANUP(close_fd) int reader = -1;
    int pair[2], r;
    pid_t pid;

    if (pipe2(pair, O_CLOEXEC) < 0)
        return error_set(error, "system", errno, "Can't make a pipe");
    reader = pair[0];
    pid = fork();
    if (pid == 0) {
        (void)close(pair[0]);
        become_command(request, stdio, pair[1]);
    }
    (void)close(pair[1]);
    if (pid < 0)
        return error_set(error, "system", errno, "Can't start a process");
    r = wait_for_exec(reader, request->command[0], error);
    if (r < 0)
        return r;
    *ret_begun = (struct keeper_begun){.root = pid, .main = pid};
    if (request->mode == WORKLOAD_OWN_PIDS)
        ret_begun->main = first_child(pid);
    return 0;
}

/* For people to recognise it: bytes that are no UTF-8 come out as question marks. */
static json_t *printable(const char *text)
{
    json_t *string = json_string(text);
    CLEANUP(free_ptr) char *copy = NULL;

    if (string)
        return string;
    copy = text_copy(text);
    for (char *c = copy; *c; c++) {
        if (*c & 0x80)
            *c = '?';
    }
    return json_string(copy);
}

static json_t *command_json(const char *const *command)
{
    json_t *array = json_array();

    for (; *command; command++)
        (void)json_array_append_new(array, printable(*command));
    return array;
}

static int outer_pid(const struct keeper *keeper, enum workload_mode mode, pid_t inner,
                     pid_t *ret_pid, struct error *error)
{
    struct error own = ERROR_INIT;
    int r = 0;

    *ret_pid = -1;
    if (mode == WORKLOAD_HOST_PIDS)
        *ret_pid = inner;
    else if (inner > 0)
        r = namespace_pid_to_outer(keeper->pid, inner, ret_pid, &own);
    if (r < 0 && !error_is(&own, "process-gone")) {
        error_move(error, &own);
        return r;
    }
    error_done(&own); /* it has ended already; the keeper knows how */
    return 0;
}

int workload_describe(const struct keeper *keeper, const struct keeper_begun *begun,
                      struct workload *workload, struct error *error)
{
    struct process process = PROCESS_INIT;
    int r = process_read(keeper->pid, &process, error);

    workload->keeper = keeper->pid;
    workload->keeper_start = process.start_time;
    workload->root_inner = begun->root;
    workload->main_inner = begun->main;
    workload->started = clock_date();
    process_done(&process);
    if (r == 0)
        r = outer_pid(keeper, workload->mode, begun->root, &workload->root, error);
    if (r == 0)
        r = outer_pid(keeper, workload->mode, begun->main, &workload->main, error);
    return r;
}

static int open_root_process(const struct workload_request *request, int *ret_fd,
                             struct error *error)
{
    CLEANUP(free_ptr) char *path = NULL;
    int r;

    if (request->mode != WORKLOAD_OWN_PIDS)
        return 0;
    r = installation_find(PART_ROOT_PROCESS, &path, error);
    if (r < 0)
        return r;
    *ret_fd = open(path, O_RDONLY | O_CLOEXEC);
    return *ret_fd < 0 ? error_set(error, "installation-broken", errno, "Can't open %s", path) : 0;
}

/* The log of an earlier workload of this name is not ours to continue. */
static int make_log(int directory, struct error *error)
{
    CLEANUP(close_fd) int log = -1;

    (void)renameat(directory, "log", directory, "log.previous");
    log = openat(directory, "log", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return log < 0 ? error_set(error, "system", errno, "Can't make the log") : 0;
}

static int start_and_record(const struct workload_request *request, int directory, int lock,
                            struct workload *workload, struct keeper *keeper, struct error *error)
{
    CLEANUP(free_ptr) char *log_path = workload_path(request->root, request->name, "log");
    CLEANUP(close_fd) int root_process = -1;
    struct keeper_begun begun = {.root = -1, .main = -1};
    struct keeper_plan plan = {
        .mode = request->mode,
        .private_shm = request->private_shm,
        .own_ipc = request->own_ipc,
        .stdio = request->stdio,
        .log_path = log_path,
        .directory = directory,
        .lock = lock,
        .root_process = -1,
        .begin = begin_command,
        .context = (void *)(uintptr_t)request,
    };
    int r = make_log(directory, error);

    if (r == 0)
        r = open_root_process(request, &root_process, error);
    plan.root_process = root_process;
    if (r == 0)
        r = fault_point("run-start", error);
    if (r == 0)
        r = keeper_start(&plan, keeper, &begun, error);
    if (r == 0)
        r = workload_describe(keeper, &begun, workload, error);
    if (r == 0)
        r = fault_point("run-record", error);
    if (r == 0)
        r = workload_save(directory, workload, error);
    if (r == 0)
        r = keeper_release(keeper, begun.root, error);
    return r;
}

static int check_directory(const struct workload_request *request, struct error *error)
{
    struct stat st;

    if (!request->directory)
        return 0;
    if (stat(request->directory, &st) < 0)
        return error_set(error, "directory-missing", errno, "%s", request->directory);
    return S_ISDIR(st.st_mode)
               ? 0
               : error_set(error, "directory-missing", ENOTDIR, "%s", request->directory);
}

int workload_start(const struct workload_request *request, struct workload *ret_workload,
                   struct keeper *ret_keeper, struct error *error)
{
    CLEANUP(close_fd) int directory = -1, lock = -1;
    struct keeper keeper = KEEPER_INIT;
    struct workload workload = {
        .name = text_copy(request->name),
        .mode = request->mode,
        .command = command_json(request->command),
        .stdio = text_copy(stdio_name(request->stdio)),
        .private_shm = request->private_shm,
    };
    CLEANUP(free_ptr) char *place = workload_path(request->root, request->name, "");
    bool is_new = access(place, F_OK) < 0;
    int r = check_directory(request, error);

    if (r == 0)
        r = workload_claim(request->root, request->name, &directory, &lock, error);
    if (r == 0)
        r = start_and_record(request, directory, lock, &workload, &keeper, error);
    if (r < 0) {
        keeper_done(&keeper);
        workload_done(&workload);
        if (directory >= 0 && is_new)
            workload_forget(request->root, request->name);
        else if (directory >= 0)
            (void)renameat(directory, "log.previous", directory, "log");
        return error_wrap(error, r, "Can't start %s", request->name);
    }
    *ret_workload = workload;
    *ret_keeper = keeper;
    return 0;
}
