/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "capture/container.h"
#include "capture/state.h"
#include "proc/descriptors.h"
#include "proc/namespaces.h"
#include "proc/sockets.h"

static int find_target(struct capture *capture, struct error *error)
{
    const struct capture_request *request = capture->request;
    int r;

    if (!request->name) {
        capture->root = request->pid;
        return 0;
    }
    r = workload_load_living(request->root, request->name, &capture->workload, error);
    if (r < 0)
        return r;
    capture->managed = true;
    capture->root = capture->workload.root;
    if (capture->workload.mode == WORKLOAD_OWN_PIDS)
        capture->inside = capture->workload.keeper;
    return 0;
}

/* A tree that was named by pid may be a workload of ours all the same. */
static void recognise_workload(struct capture *capture)
{
    char **names = NULL;

    if (capture->managed || workload_names(capture->request->root, &names, NULL) < 0)
        return;
    for (char **name = names; *name; name++) {
        struct workload workload = WORKLOAD_INIT;

        if (!capture->managed &&
            workload_load_living(capture->request->root, *name, &workload, NULL) == 0 &&
            (workload.root == capture->root || workload.main == capture->root)) {
            capture->managed = true;
            capture->workload = workload;
            capture->root = workload.root;
            if (workload.mode == WORKLOAD_OWN_PIDS)
                capture->inside = workload.keeper;
        } else {
            workload_done(&workload);
        }
        free(*name);
    }
    free(names);
}

pid_t capture_inner_pid(const struct capture *capture, const struct process *process)
{
    return capture->inside ? process->inner_pid : process->pid;
}

const struct process *capture_main(const struct capture *capture)
{
    const struct process *main =
        capture->managed ? process_tree_find(&capture->tree, capture->workload.main) : NULL;

    return main ? main : &capture->tree.processes[0];
}

static void raise_highest(struct capture *capture, pid_t id)
{
    if (id > capture->highest_id)
        capture->highest_id = id;
}

static void look_at_threads(struct capture *capture, const char *task_path)
{
    CLEANUP(close_directory) DIR *tasks = opendir(task_path);
    struct dirent *entry;
    int id;

    while (tasks && (entry = readdir(tasks))) {
        if (text_to_int(entry->d_name, &id) == 0)
            raise_highest(capture, id);
    }
}

/* Ids as CRIU will see them: read through the /proc of the workload's own pid namespace. */
static void find_highest_id(struct capture *capture)
{
    for (size_t i = 0; i < capture->tree.count; i++) {
        const struct process *process = &capture->tree.processes[i];
        CLEANUP(free_ptr) char *path = NULL;

        if (capture->inside)
            path = text_format("/proc/%d/root/proc/%d/task", (int)capture->inside,
                               (int)process->inner_pid);
        else
            path = text_format("/proc/%d/task", (int)process->pid);
        look_at_threads(capture, path);
        raise_highest(capture, capture->inside ? process->inner_pgid : process->pgid);
        raise_highest(capture, capture->inside ? process->inner_sid : process->sid);
    }
}

struct pipe_end {
    uint64_t inode;
    bool reads, writes;
    bool shared; /* a process outside the tree has it open, too */
};

struct connections {
    struct pipe_end *pipes;
    size_t pipe_count;
    uint64_t *sockets;
    size_t socket_count;
    struct descriptor *terminals; /* shallow copies: numbers only */
    size_t terminal_count;
    struct descriptor *strays; /* shallow, too */
    size_t stray_count;
    bool masters[1 << 10]; /* terminals whose controlling side is in the tree, by index */
};

static void *grow(void *array, size_t count, size_t size)
{
    /* Doubles at powers of two; the number of descriptors is bounded by their table. */
    if (count == 0 || (count & (count - 1)) == 0) {
        void *grown = realloc(array, (count ? count * 2 : 1) * size);

        if (!grown)
            abort();
        return grown;
    }
    return array;
}

static void note_pipe(struct connections *all, const struct descriptor *descriptor)
{
    unsigned mode = descriptor->flags & O_ACCMODE;
    struct pipe_end *end = NULL;

    for (size_t i = 0; i < all->pipe_count && !end; i++) {
        if (all->pipes[i].inode == descriptor->inode)
            end = &all->pipes[i];
    }
    if (!end) {
        all->pipes = grow(all->pipes, all->pipe_count, sizeof *all->pipes);
        end = &all->pipes[all->pipe_count++];
        *end = (struct pipe_end){.inode = descriptor->inode};
    }
    end->reads |= mode != O_WRONLY;
    end->writes |= mode != O_RDONLY;
}

static bool is_terminal_slave(dev_t device)
{
    unsigned number = major(device);

    return number >= 136 && number <= 143; /* Unix98 pty slaves (devices.txt of the kernel) */
}

static void note_terminal(struct connections *all, const struct descriptor *descriptor)
{
    if (!is_terminal_slave(descriptor->device_number))
        return;
    for (size_t i = 0; i < all->terminal_count; i++) {
        if (all->terminals[i].device_number == descriptor->device_number)
            return;
    }
    all->terminals = grow(all->terminals, all->terminal_count, sizeof *all->terminals);
    all->terminals[all->terminal_count] = *descriptor;
    all->terminals[all->terminal_count++].target = NULL;
}

/* A pty master names its slave in fdinfo ("tty-index"). */
static void note_master(struct connections *all, pid_t pid, int fd)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/fdinfo/%d", (int)pid, fd);
    CLEANUP(free_ptr) char *text = NULL;
    const char *index;

    if (file_read(AT_FDCWD, path, 65536, &text, NULL) < 0)
        return;
    index = strstr(text, "tty-index:");
    if (index) {
        unsigned long number = strtoul(index + strlen("tty-index:"), NULL, 10);

        if (number < sizeof all->masters)
            all->masters[number] = true;
    }
}

/* A file of a file system that the container does not see: what its output was sent to, say. */
static void note_stray_file(struct connections *all, const struct descriptor *descriptor)
{
    all->strays = grow(all->strays, all->stray_count, sizeof *all->strays);
    all->strays[all->stray_count] = *descriptor;
    all->strays[all->stray_count++].target = NULL;
}

static bool is_stray(const struct capture *capture, const struct descriptor *descriptor)
{
    return capture->contained && descriptor->mount >= 0 &&
           (descriptor->kind == DESCRIPTOR_FILE || descriptor->kind == DESCRIPTOR_FIFO ||
            descriptor->kind == DESCRIPTOR_CHARACTER_DEVICE) &&
           !mount_table_find(&capture->view.mounts, descriptor->mount);
}

static int note_descriptors(const struct capture *capture, struct connections *all, pid_t pid,
                            struct error *error)
{
    struct descriptor_table table = DESCRIPTOR_TABLE_INIT;
    int r = descriptor_table_read(pid, &table, error);

    if (r < 0)
        return r;
    for (size_t i = 0; i < table.count; i++) {
        const struct descriptor *descriptor = &table.descriptors[i];

        if (is_stray(capture, descriptor))
            note_stray_file(all, descriptor);
        if (descriptor->kind == DESCRIPTOR_PIPE)
            note_pipe(all, descriptor);
        if (descriptor->kind == DESCRIPTOR_TERMINAL) {
            note_terminal(all, descriptor);
            note_master(all, pid, descriptor->fd);
        }
        if (descriptor->kind == DESCRIPTOR_SOCKET) {
            all->sockets = grow(all->sockets, all->socket_count, sizeof *all->sockets);
            all->sockets[all->socket_count++] = descriptor->inode;
        }
    }
    descriptor_table_done(&table);
    return 0;
}

static void add_outside(struct capture *capture, struct outside entry)
{
    for (size_t i = 0; i < capture->outside_count; i++) {
        if (text_equal(capture->outside[i].key, entry.key)) {
            free(entry.key);
            return;
        }
    }
    capture->outside = grow(capture->outside, capture->outside_count, sizeof *capture->outside);
    entry.stdio = -1;
    capture->outside[capture->outside_count++] = entry;
}

static char *pipe_key(uint64_t inode)
{
    return text_format("pipe:[%" PRIu64 "]", inode);
}

static char *terminal_key(const struct descriptor *terminal)
{
    return text_format("tty[%" PRIx64 ":%" PRIx64 "]", (uint64_t)terminal->device_number,
                       (uint64_t)terminal->device);
}

static char *file_key(const struct descriptor *file)
{
    return text_format("file[%x:%" PRIx64 "]", (unsigned)file->mount, file->inode);
}

static void note_shared(struct connections *all, const char *link)
{
    uint64_t inode = strtoull(link + strlen("pipe:["), NULL, 10);

    for (size_t i = 0; i < all->pipe_count; i++) {
        if (all->pipes[i].inode == inode)
            all->pipes[i].shared = true;
    }
}

static void look_at_outsider(struct connections *all, pid_t pid)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/fd", (int)pid);
    CLEANUP(close_directory) DIR *directory = opendir(path);
    struct dirent *entry;
    char link[64];

    while (directory && (entry = readdir(directory))) {
        ssize_t n = readlinkat(dirfd(directory), entry->d_name, link, sizeof link - 1);

        link[n > 0 ? n : 0] = 0;
        if (text_starts_with(link, "pipe:["))
            note_shared(all, link);
    }
}

/* A pipe with one end in the tree is nothing special when nobody else has the other: it may be
 * closed, or be on its way in a message. */
static int find_shared_pipes(struct capture *capture, struct connections *all, struct error *error)
{
    CLEANUP(free_ptr) pid_t *pids = NULL;
    size_t count = 0;
    int r;

    if (all->pipe_count == 0)
        return 0;
    r = process_list(&pids, &count, error);
    for (size_t i = 0; r == 0 && i < count; i++) {
        if (!process_tree_find(&capture->tree, pids[i]))
            look_at_outsider(all, pids[i]);
    }
    return r;
}

static bool has_master(const struct connections *all, const struct descriptor *terminal)
{
    unsigned index = minor(terminal->device_number) + (major(terminal->device_number) - 136) * 256;

    return index < sizeof all->masters && all->masters[index];
}

static void conclude_outside(struct capture *capture, const struct connections *all)
{
    for (size_t i = 0; i < all->pipe_count; i++) {
        if (all->pipes[i].shared)
            add_outside(capture, (struct outside){.key = pipe_key(all->pipes[i].inode),
                                                  .writes = all->pipes[i].writes});
    }
    for (size_t i = 0; i < all->terminal_count; i++) {
        if (!has_master(all, &all->terminals[i]))
            add_outside(capture, (struct outside){.key = terminal_key(&all->terminals[i]),
                                                  .terminal = true,
                                                  .writes = true});
    }
    for (size_t i = 0; i < all->stray_count; i++)
        add_outside(capture,
                    (struct outside){.key = file_key(&all->strays[i]),
                                     .file = true,
                                     .writes = (all->strays[i].flags & O_ACCMODE) != O_RDONLY});
}

static char *key_of(const struct descriptor *descriptor)
{
    if (descriptor->kind == DESCRIPTOR_PIPE)
        return pipe_key(descriptor->inode);
    return descriptor->kind == DESCRIPTOR_TERMINAL ? terminal_key(descriptor)
                                                   : file_key(descriptor);
}

/* Which of the root's three standard descriptors is which. Where one thing is several of them, it
 * is the lowest. */
static void find_stdio(struct capture *capture)
{
    struct descriptor_table table = DESCRIPTOR_TABLE_INIT;

    if (capture->outside_count == 0 || descriptor_table_read(capture->root, &table, NULL) < 0)
        return;
    for (size_t i = 0; i < table.count && table.descriptors[i].fd <= 2; i++) {
        CLEANUP(free_ptr) char *key = key_of(&table.descriptors[i]);

        for (size_t k = 0; k < capture->outside_count; k++) {
            if (capture->outside[k].stdio < 0 && text_equal(capture->outside[k].key, key))
                capture->outside[k].stdio = table.descriptors[i].fd;
        }
    }
    descriptor_table_done(&table);
}

static bool contains(const uint64_t *inodes, size_t count, uint64_t inode)
{
    for (size_t i = 0; i < count; i++) {
        if (inodes[i] == inode)
            return true;
    }
    return false;
}

/* What nobody else may have when the tree is restored beside others. */
static void note_name(struct capture *capture, const struct socket_entry *entry)
{
    CLEANUP(free_ptr) char *text = NULL;

    if (!capture->names)
        capture->names = json_array();
    if (entry->family == AF_UNIX && entry->name && entry->name[0] == '/')
        (void)json_array_append_new(capture->names, json_pack("{ss*}", "unix", entry->name));
    if (entry->family == AF_UNIX || entry->type != SOCK_STREAM || entry->state != SOCKET_LISTENING)
        return;
    text = socket_local_text(entry);
    (void)json_array_append_new(capture->names, json_pack("{ss}", "tcp", text));
}

static int conclude_tcp(struct capture *capture, const struct connections *all, struct error *error)
{
    struct socket_table table = SOCKET_TABLE_INIT;
    int r;

    if (all->socket_count == 0)
        return 0;
    r = socket_table_read(capture->root, &table, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < all->socket_count; i++) {
        const struct socket_entry *entry = socket_table_find(&table, all->sockets[i]);
        const struct socket_entry *peer;

        if (entry)
            note_name(capture, entry);
        if (!entry || entry->family == AF_UNIX || entry->type != SOCK_STREAM ||
            entry->state == SOCKET_LISTENING || entry->state == SOCKET_CLOSED)
            continue;
        capture->tcp_any = true;
        peer = socket_table_tcp_peer(&table, entry);
        if (!peer || !contains(all->sockets, all->socket_count, peer->inode))
            capture->tcp_outside = true;
    }
    socket_table_done(&table);
    return 0;
}

/* The tree still runs: a process other than its root may have ended meanwhile. */
static int look_at_process(struct capture *capture, struct connections *all, size_t index,
                           struct error *error)
{
    struct error own = ERROR_INIT;
    int r = 0;

    if (capture->tree.processes[index].state != 'Z')
        r = note_descriptors(capture, all, capture->tree.processes[index].pid, &own);
    if (r < 0 && (index == 0 || !error_is(&own, "process-gone"))) {
        error_move(error, &own);
        return r;
    }
    error_done(&own);
    return 0;
}

static int find_outside(struct capture *capture, struct error *error)
{
    struct connections all = {0};
    int r = 0;

    for (size_t i = 0; r == 0 && i < capture->tree.count; i++)
        r = look_at_process(capture, &all, i, error);
    if (r == 0)
        r = conclude_tcp(capture, &all, error);
    if (r == 0)
        r = find_shared_pipes(capture, &all, error);
    if (r == 0)
        conclude_outside(capture, &all);
    if (r == 0)
        find_stdio(capture);
    free(all.pipes);
    free(all.sockets);
    free(all.terminals);
    free(all.strays);
    return r;
}

/* A short name made from the command: "python3 serve.py" becomes "python3". */
static char *id_from_command(const struct process *process)
{
    char *id = text_copy(process->comm);

    for (char *c = id; *c; c++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c))
            *c = '-';
    }
    if (!*id || strchr("._-", *id)) {
        char *whole = text_format("p%s", id);

        free(id);
        id = whole;
    }
    return id;
}

static void choose_id(struct capture *capture)
{
    if (capture->request->id)
        capture->id = text_copy(capture->request->id);
    else if (capture->managed)
        capture->id = text_copy(capture->workload.name);
    else
        capture->id = id_from_command(&capture->tree.processes[0]);
}

/* Processes of the workload that are no descendants of its root would be left out. */
static int check_left_behind(const struct capture *capture, struct error *error)
{
    struct process_tree all = PROCESS_TREE_INIT;
    int r = 0;

    if (!capture->inside || process_tree_read(capture->inside, &all, NULL) < 0)
        return 0;
    for (size_t i = 1; r == 0 && i < all.count; i++) {
        const struct process *process = &all.processes[i];

        if (process->ppid == capture->inside && process->pid != capture->root &&
            process->state != 'Z' && process_alive(process))
            r = error_set(error, "left-behind", EOPNOTSUPP, "Process %d (%s)", (int)process->pid,
                          process->command);
    }
    process_tree_done(&all);
    return r;
}

int capture_find(struct capture *capture, struct error *error)
{
    int r = find_target(capture, error);

    if (r == 0)
        recognise_workload(capture);
    if (r == 0)
        r = capture_container_find(capture, error);
    return r;
}

int capture_inspect(struct capture *capture, struct error *error)
{
    int r = process_tree_read(capture->root, &capture->tree, error);

    if (r < 0)
        return r;
    r = capture->contained ? capture_container_check_others(capture, error)
                           : check_left_behind(capture, error);
    if (r < 0)
        return r;
    find_highest_id(capture);
    choose_id(capture);
    return find_outside(capture, error);
}

bool capture_maps_cuda(pid_t pid)
{
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/maps", (int)pid);
    CLEANUP(free_ptr) char *text = NULL;

    return file_read(AT_FDCWD, path, (size_t)256 << 20, &text, NULL) == 0 &&
           strstr(text, "/libcuda.so") != NULL;
}
