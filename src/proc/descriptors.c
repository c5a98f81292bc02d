/* SPDX-License-Identifier: Apache-2.0 */
#include "proc/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "proc/parse.h"
#include "proc/process.h"

#define INFO_MAX ((size_t)16 << 20)
#define DELETED " (deleted)"

static const char *const kind_names[DESCRIPTOR_KINDS] = {
    [DESCRIPTOR_FILE] = "file",
    [DESCRIPTOR_DIRECTORY] = "directory",
    [DESCRIPTOR_PIPE] = "pipe",
    [DESCRIPTOR_FIFO] = "fifo",
    [DESCRIPTOR_SOCKET] = "socket",
    [DESCRIPTOR_TERMINAL] = "terminal",
    [DESCRIPTOR_CHARACTER_DEVICE] = "character device",
    [DESCRIPTOR_BLOCK_DEVICE] = "block device",
    [DESCRIPTOR_MEMFD] = "memfd",
    [DESCRIPTOR_NAMESPACE] = "namespace",
    [DESCRIPTOR_EVENTFD] = "eventfd",
    [DESCRIPTOR_EPOLL] = "epoll",
    [DESCRIPTOR_TIMERFD] = "timerfd",
    [DESCRIPTOR_SIGNALFD] = "signalfd",
    [DESCRIPTOR_INOTIFY] = "inotify",
    [DESCRIPTOR_FANOTIFY] = "fanotify",
    [DESCRIPTOR_PIDFD] = "pidfd",
    [DESCRIPTOR_IO_URING] = "io_uring",
    [DESCRIPTOR_USERFAULTFD] = "userfaultfd",
    [DESCRIPTOR_PERF_EVENT] = "perf event",
    [DESCRIPTOR_BPF] = "bpf object",
    [DESCRIPTOR_KVM] = "kvm object",
    [DESCRIPTOR_DMABUF] = "dma-buf",
    [DESCRIPTOR_OTHER] = "other object",
};

static const struct {
    const char *prefix;
    enum descriptor_kind kind;
} targets[] = {
    {"pipe:[", DESCRIPTOR_PIPE},
    {"socket:[", DESCRIPTOR_SOCKET},
    {"/memfd:", DESCRIPTOR_MEMFD},
    {"/dmabuf:", DESCRIPTOR_DMABUF},
    {"anon_inode:[eventfd", DESCRIPTOR_EVENTFD},
    {"anon_inode:[eventpoll]", DESCRIPTOR_EPOLL},
    {"anon_inode:[timerfd]", DESCRIPTOR_TIMERFD},
    {"anon_inode:[signalfd]", DESCRIPTOR_SIGNALFD},
    {"anon_inode:inotify", DESCRIPTOR_INOTIFY},
    {"anon_inode:[fanotify]", DESCRIPTOR_FANOTIFY},
    {"anon_inode:[pidfd]", DESCRIPTOR_PIDFD},
    {"pidfd:[", DESCRIPTOR_PIDFD},
    {"anon_inode:[io_uring]", DESCRIPTOR_IO_URING},
    {"anon_inode:[userfaultfd]", DESCRIPTOR_USERFAULTFD},
    {"anon_inode:[perf_event]", DESCRIPTOR_PERF_EVENT},
    {"anon_inode:bpf", DESCRIPTOR_BPF},
    {"anon_inode:btf", DESCRIPTOR_BPF},
    {"anon_inode:[bpf", DESCRIPTOR_BPF},
    {"anon_inode:kvm", DESCRIPTOR_KVM},
    {"anon_inode:[kvm", DESCRIPTOR_KVM},
    {"mnt:[", DESCRIPTOR_NAMESPACE},
    {"net:[", DESCRIPTOR_NAMESPACE},
    {"pid:[", DESCRIPTOR_NAMESPACE},
    {"user:[", DESCRIPTOR_NAMESPACE},
    {"ipc:[", DESCRIPTOR_NAMESPACE},
    {"uts:[", DESCRIPTOR_NAMESPACE},
    {"cgroup:[", DESCRIPTOR_NAMESPACE},
    {"time:[", DESCRIPTOR_NAMESPACE},
};

const char *descriptor_kind_name(enum descriptor_kind kind)
{
    return kind < DESCRIPTOR_KINDS ? kind_names[kind] : "unknown";
}

void descriptor_parse_target(const char *target, struct descriptor *descriptor)
{
    descriptor->kind = *target == '/' ? DESCRIPTOR_FILE : DESCRIPTOR_OTHER;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        if (text_starts_with(target, targets[i].prefix)) {
            descriptor->kind = targets[i].kind;
            break;
        }
    }
    descriptor->deleted = text_ends_with(target, DELETED) && descriptor->kind != DESCRIPTOR_MEMFD;
}

/* "-1" means: the process of the pidfd has ended. */
static pid_t parse_other(const char *value)
{
    pid_t pid = -1;

    (void)parse_pid(value, &pid);
    return pid;
}

int descriptor_parse_info(char *text, struct descriptor *descriptor)
{
    uint64_t number;
    char *line;

    while ((line = parse_line(&text))) {
        const char *value;

        if ((value = parse_value(line, "pos")))
            descriptor->position = parse_leading_number(value);
        else if ((value = parse_value(line, "flags"))) {
            if (parse_number(value, 8, &number) < 0)
                return -EINVAL;
            descriptor->flags = (unsigned)number;
        } else if ((value = parse_value(line, "mnt_id")))
            (void)text_to_int(value, &descriptor->mount);
        else if ((value = parse_value(line, "Pid")))
            descriptor->other = parse_other(value);
        else if (parse_value(line, "lock"))
            descriptor->locked = true;
    }
    return 0;
}

static bool is_terminal(dev_t device)
{
    unsigned high = major(device), low = minor(device);

    return high == 4 || (high == 5 && low <= 2) || (high >= 136 && high <= 143) || high == 188 ||
           high == 204 || high == 229;
}

static void apply_status(const struct stat *st, struct descriptor *descriptor)
{
    descriptor->device = st->st_dev;
    descriptor->inode = st->st_ino;
    descriptor->links = (unsigned)st->st_nlink;
    if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
        descriptor->device_number = st->st_rdev;
    if (S_ISREG(st->st_mode)) {
        descriptor->size = (uint64_t)st->st_size;
        descriptor->stored_bytes = (uint64_t)st->st_blocks * 512;
    }
    if (descriptor->kind != DESCRIPTOR_FILE)
        return;
    if (S_ISDIR(st->st_mode))
        descriptor->kind = DESCRIPTOR_DIRECTORY;
    else if (S_ISFIFO(st->st_mode))
        descriptor->kind = DESCRIPTOR_FIFO;
    else if (S_ISSOCK(st->st_mode))
        descriptor->kind = DESCRIPTOR_OTHER; /* an O_PATH descriptor of a socket's name */
    else if (S_ISBLK(st->st_mode))
        descriptor->kind = DESCRIPTOR_BLOCK_DEVICE;
    else if (S_ISCHR(st->st_mode))
        descriptor->kind =
            is_terminal(st->st_rdev) ? DESCRIPTOR_TERMINAL : DESCRIPTOR_CHARACTER_DEVICE;
}

static void read_protocol(int directory, const char *path, struct descriptor *descriptor)
{
    char whole[64];
    ssize_t n;

    /* There is no getxattrat for older kernels: go through our own descriptor of the directory. */
    (void)snprintf(whole, sizeof whole, "/proc/self/fd/%d/%s", directory, path);
    n = getxattr(whole, "system.sockprotoname", descriptor->protocol,
                 sizeof descriptor->protocol - 1);
    descriptor->protocol[n > 0 ? n : 0] = 0;
}

static int read_descriptor(int directory, pid_t fd, struct descriptor *ret)
{
    CLEANUP(free_ptr) char *info = NULL;
    struct descriptor descriptor = {.fd = fd, .mount = -1};
    char path[32], target[PATH_MAX + sizeof DELETED];
    struct stat st;
    ssize_t n;
    int r;

    (void)snprintf(path, sizeof path, "fd/%d", (int)fd);
    n = readlinkat(directory, path, target, sizeof target - 1);
    if (n < 0)
        return -errno;
    target[n] = 0;
    descriptor_parse_target(target, &descriptor);
    if (fstatat(directory, path, &st, 0) < 0)
        return -errno;
    apply_status(&st, &descriptor);
    if (descriptor.kind == DESCRIPTOR_SOCKET)
        read_protocol(directory, path, &descriptor);
    (void)snprintf(path, sizeof path, "fdinfo/%d", (int)fd);
    r = file_read(directory, path, INFO_MAX, &info, NULL);
    if (r == 0)
        r = descriptor_parse_info(info, &descriptor);
    if (r < 0 && r != -EFBIG)
        return r;
    descriptor.target = text_copy(target);
    *ret = descriptor;
    return 0;
}

void descriptor_table_done(struct descriptor_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->descriptors[i].target);
    free(table->descriptors);
    *table = DESCRIPTOR_TABLE_INIT;
}

static int table_add(struct descriptor_table *table, const struct descriptor *descriptor)
{
    if ((table->count & (table->count - 1)) == 0) {
        size_t capacity = table->count ? 2 * table->count : 1;
        struct descriptor *grown = realloc(table->descriptors, capacity * sizeof *grown);

        if (!grown)
            return -ENOMEM;
        table->descriptors = grown;
    }
    table->descriptors[table->count++] = *descriptor;
    return 0;
}

static int compare_descriptors(const void *a, const void *b)
{
    const struct descriptor *left = a, *right = b;

    return (left->fd > right->fd) - (left->fd < right->fd);
}

static int fill_table(int directory, DIR *stream, struct descriptor_table *table)
{
    struct dirent *entry;

    while (errno = 0, (entry = readdir(stream))) {
        struct descriptor descriptor;
        pid_t fd;
        int r;

        if (parse_pid(entry->d_name, &fd) < 0)
            continue;
        if (table->count == DESCRIPTOR_TABLE_MAX) {
            table->truncated = true;
            break;
        }
        r = read_descriptor(directory, fd, &descriptor);
        if (r == -ENOENT)
            continue; /* closed meanwhile */
        if (r < 0)
            return r;
        r = table_add(table, &descriptor);
        if (r < 0) {
            free(descriptor.target);
            return r;
        }
    }
    return -errno;
}

int descriptor_table_read_at(int directory, struct descriptor_table *ret, struct error *error)
{
    struct descriptor_table table = DESCRIPTOR_TABLE_INIT;
    CLEANUP(close_directory) DIR *stream = NULL;
    int fd = openat(directory, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

    if (fd < 0)
        return process_error(error, errno, 0, "its open files");
    stream = fdopendir(fd);
    if (!stream) {
        r = process_error(error, errno, 0, "its open files");
        (void)close(fd);
        return r;
    }
    r = fill_table(directory, stream, &table);
    if (r < 0) {
        descriptor_table_done(&table);
        return process_error(error, r, 0, "its open files");
    }
    if (table.count)
        qsort(table.descriptors, table.count, sizeof table.descriptors[0], compare_descriptors);
    *ret = table;
    return 0;
}

int descriptor_table_read(pid_t pid, struct descriptor_table *ret, struct error *error)
{
    CLEANUP(close_fd) int directory = -1;
    int r = process_open(pid, &directory, error);

    if (r == 0)
        r = descriptor_table_read_at(directory, ret, error);
    return r < 0 ? error_wrap(error, r, "process %d", (int)pid) : 0;
}

char *device_parse_driver_name(char *text, unsigned major)
{
    char *line;

    while ((line = parse_line(&text)) && !text_equal(line, "Block devices:")) {
        char *number = parse_field(&line), *name = parse_field(&line);
        uint64_t value;

        if (number && name && parse_number(number, 10, &value) == 0 && value == major)
            return text_copy(name);
    }
    return NULL;
}

char *device_driver_name(unsigned major)
{
    CLEANUP(free_ptr) char *text = NULL;

    if (file_read(AT_FDCWD, "/proc/devices", INFO_MAX, &text, NULL) < 0)
        return NULL;
    return device_parse_driver_name(text, major);
}
