/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/catalogue.h"
#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/installation.h"
#include "basic/text.h"
#include "container/nsrestore.h"
#include "proc/ending.h"
#include "restore/target.h"

enum { OUTPUT_MAXIMUM = 1 << 20, CGROUPS_MAXIMUM = 32 };

/* The descriptors that the helper gets, by the numbers that they have here. */
struct handed {
    int fds[2 * NSRESTORE_DESCRIPTORS_MAXIMUM];
    size_t count;
};

static json_t *hand(struct handed *handed, int fd)
{
    if (fd >= 0 && handed->count < sizeof handed->fds / sizeof handed->fds[0])
        handed->fds[handed->count++] = fd;
    return json_integer(fd);
}

/* The mount namespace last: what it holds is not what we know. */
static json_t *namespace_names(const struct container_view *target, bool own_ipc)
{
    static const enum namespace_kind kinds[] = {NAMESPACE_CGROUP,  NAMESPACE_IPC, NAMESPACE_UTS,
                                                NAMESPACE_NETWORK, NAMESPACE_PID, NAMESPACE_MOUNT};
    json_t *names = json_array();

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (target->namespaces.inode[kinds[i]] != 0 && !(own_ipc && kinds[i] == NAMESPACE_IPC))
            (void)json_array_append_new(names, json_string(namespace_name(kinds[i])));
    }
    return names;
}

static json_t *fd_list(struct handed *handed, const int *fds, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list, hand(handed, fds[i]));
    return list;
}

static json_t *mount_list(struct handed *handed, const struct target_plan *plan)
{
    json_t *list = json_array();

    for (size_t i = 0; i < plan->mount_count; i++)
        (void)json_array_append_new(list,
                                    json_pack("{so ss}", "fd", hand(handed, plan->mounts[i].fd),
                                              "point", plan->mounts[i].point));
    return list;
}

static json_t *criu_plan(const struct restore *restore, struct handed *handed,
                         const struct target_plan *plan, const char *inside)
{
    return json_pack("{ss ss ss? so so so so so si si}", "binary", restore->criu.path, "inside",
                     inside, "plugins", restore->plugins, "images", hand(handed, restore->images),
                     "work", hand(handed, restore->work), "plugin", hand(handed, restore->plugin),
                     "users", hand(handed, restore->users), "inherited",
                     fd_list(handed, plan->inherited, plan->inherited_count), "personality",
                     (int)restore->plan.personality, "least_pid", (int)restore->plan.highest_id);
}

/* As a descriptor, at its start. */
static int write_plan(json_t *plan, struct error *error)
{
    CLEANUP(free_ptr) char *text = json_dumps(plan, JSON_COMPACT);
    CLEANUP(close_fd) int fd = memfd_create("nsrestore-plan", MFD_CLOEXEC);
    int r = fd < 0 || !text ? -ENOMEM : file_write_all(fd, text, strlen(text));

    if (r < 0)
        return error_set(error, "system", r, "Can't write the plan of nsrestore");
    return steal_fd(&fd);
}

_Noreturn static void become_helper(const char *program, int plan, const struct handed *handed,
                                    int output)
{
    CLEANUP(free_ptr) char *number = text_format("%d", plan);
    char *const arguments[] = {(char *)"nsrestore", (char *)"--plan", number, NULL};
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)fd_set_inherited(plan, true);
    for (size_t i = 0; i < handed->count; i++)
        (void)fd_set_inherited(handed->fds[i], true);
    if (dup2(output, STDOUT_FILENO) >= 0)
        (void)execv(program, arguments);
    _exit(127);
}

static int spawn(struct target_helper *helper, const char *program, int plan,
                 const struct handed *handed, struct error *error)
{
    int output[2];

    if (pipe2(output, O_CLOEXEC) < 0)
        return error_set(error, "system", errno, "Can't make a pipe");
    helper->pid = fork();
    if (helper->pid == 0)
        become_helper(program, plan, handed, output[1]);
    (void)close(output[1]);
    helper->output = output[0];
    return helper->pid < 0 ? error_set(error, "system", errno, "Can't start nsrestore") : 0;
}

static void error_from(const char *text, struct error *error)
{
    json_t *object = json_loads(text, 0, NULL);
    const char *code = json_string_value(json_object_get(object, "code"));
    const char *message = json_string_value(json_object_get(object, "message"));
    const struct catalogue_entry *entry = code ? catalogue_find(code) : NULL;

    (void)error_set(error, "system", 0, "%s", message ? message : "nsrestore failed");
    if (error && entry) {
        error->code = entry->code;
        error->number = (int)json_integer_value(json_object_get(object, "number"));
    }
    json_decref(object);
}

static int receive_answer(const struct target_helper *helper, struct error *error)
{
    char text[NSRESTORE_MESSAGE_MAXIMUM];
    ssize_t n;

    do {
        n = recv(helper->control, text, sizeof text - 1, 0);
    } while (n < 0 && errno == EINTR);
    if (n <= 0)
        return error_set(error, "nsrestore-died", n < 0 ? errno : ECONNRESET,
                         "nsrestore ended before it was done");
    text[n] = 0;
    if (text_equal(text, NSRESTORE_OK))
        return 0;
    error_from(text, error);
    return -EIO;
}

int target_helper_tell(const struct target_helper *helper, const char *message, struct error *error)
{
    if (send(helper->control, message, strlen(message), MSG_NOSIGNAL) < 0)
        return error_set(error, "nsrestore-died", errno, "nsrestore ended before it was done");
    return receive_answer(helper, error);
}

/* With the far end of the control socket given up, the helper's own end is seen. */
static int start_with(struct restore *restore, const struct target_plan *plan,
                      struct target_helper *helper, int control, const int *cgroups,
                      size_t cgroup_count, struct error *error)
{
    CLEANUP(free_ptr) char *program = NULL, *inside = NULL;
    CLEANUP(close_fd) int plan_fd = -1;
    struct handed handed = {.count = 0};
    json_t *whole;
    int r = installation_find(PART_NSRESTORE, &program, error);

    if (r == 0)
        r = installation_find(PART_CRIU_INSIDE, &inside, error);
    if (r < 0)
        return r;
    whole = json_pack("{so so so so so so so}", "process", hand(&handed, restore->target.process),
                      "namespaces", namespace_names(&restore->target, restore->plan.system_v),
                      "cgroups", fd_list(&handed, cgroups, cgroup_count), "mounts",
                      mount_list(&handed, plan), "criu", criu_plan(restore, &handed, plan, inside),
                      "carrier", hand(&handed, restore->carrier_sender), "control",
                      hand(&handed, control));
    plan_fd = r = write_plan(whole, error);
    json_decref(whole);
    return r < 0 ? r : spawn(helper, program, plan_fd, &handed, error);
}

/* Until it was asked for something it waits for us. */
static int open_its_mounts(struct target_helper *helper, struct error *error)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/ns/mnt", (int)helper->pid);

    helper->mounts = open(path, O_RDONLY | O_CLOEXEC);
    return helper->mounts >= 0
               ? 0
               : error_set(error, "nsrestore-died", errno, "nsrestore ended before it was done");
}

int target_helper_start(struct restore *restore, const struct target_plan *plan,
                        struct target_helper *helper, struct error *error)
{
    int cgroups[CGROUPS_MAXIMUM], pair[2], r;
    size_t cgroup_count = 0;

    r = criu_carrier_make(&restore->carrier_receiver, &restore->carrier_sender, error);
    if (r == 0)
        r = target_open_cgroups(&restore->target, cgroups, CGROUPS_MAXIMUM, &cgroup_count, error);
    if (r == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        r = error_set(error, "system", errno, "Can't make a socket pair");
    if (r == 0) {
        helper->control = pair[0];
        r = start_with(restore, plan, helper, pair[1], cgroups, cgroup_count, error);
        (void)close(pair[1]);
    }
    for (size_t i = 0; i < cgroup_count; i++)
        close_fd(&cgroups[i]);
    close_fd(&restore->carrier_sender);
    close_fd(&restore->plugin);
    if (r == 0)
        r = receive_answer(helper, error);
    if (r == 0)
        r = open_its_mounts(helper, error);
    restore->watch = helper->output;
    return r;
}

static json_t *read_output(int fd)
{
    struct buffer text = BUFFER_INIT(OUTPUT_MAXIMUM);
    char piece[4096];
    json_t *object;
    ssize_t n;

    while ((n = read(fd, piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0 && buffer_append(&text, piece, (size_t)n) < 0)
            break;
    }
    object = text.data ? json_loadb(text.data, text.length, 0, NULL) : NULL;
    buffer_done(&text);
    return object;
}

json_t *target_helper_finish(struct target_helper *helper)
{
    json_t *said = NULL;

    close_fd(&helper->control);
    if (helper->output >= 0)
        said = read_output(helper->output);
    close_fd(&helper->output);
    while (helper->pid > 0 && waitpid(helper->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    close_fd(&helper->mounts);
    *helper = TARGET_HELPER_INIT;
    return said;
}

void target_helper_undo(struct target_helper *helper)
{
    CLEANUP(close_fd) int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_fd) int mounts = steal_fd(&helper->mounts);
    struct stat st;

    json_decref(target_helper_finish(helper));
    if (mounts >= 0 && fstat(mounts, &st) == 0)
        (void)processes_end_in(proc, (uint64_t)st.st_ino, 0);
}
