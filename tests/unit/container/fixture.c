/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

void fixture_fail(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "%s:%d: %s: %m\n", file, line, what);
    abort();
}

bool fixture_isolate(void)
{
    return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

char *fixture_directory(unsigned tmpfs_megabytes)
{
    const char *base = getenv("TMPDIR");
    char *path = text_format("%s/container-test-XXXXXX", base ? base : "/var/tmp");

    MUST(mkdtemp(path));
    if (tmpfs_megabytes > 0) {
        CLEANUP(free_ptr) char *options = text_format("size=%um,mode=755", tmpfs_megabytes);

        MUST(mount("tmpfs", path, "tmpfs", 0, options) == 0);
    } else {
        MUST(mount(path, path, NULL, MS_BIND, NULL) == 0); /* what is mounted below goes with it */
    }
    return path;
}

void fixture_directory_remove(char *path)
{
    (void)umount2(path, MNT_DETACH);
    MUST(directory_remove_all(AT_FDCWD, path) == 0);
    free(path);
}

static int open_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    MUST(fd >= 0);
    return fd;
}

bool layers_mount(struct layers *layers, const char *base, const char *name, const char *lower,
                  const char *options)
{
    CLEANUP(free_ptr) char *all = NULL;

    layers->base = text_format("%s/%s", base, name);
    layers->lower = text_copy(lower);
    layers->upper = text_format("%s/upper", layers->base);
    layers->work = text_format("%s/work", layers->base);
    layers->merged = text_format("%s/merged", layers->base);
    layers->upper_fd = layers->merged_fd = -1;
    layers->indexed = strstr(options, "index=on") != NULL;
    MUST(mkdir(layers->base, 0755) == 0 && mkdir(layers->upper, 0755) == 0);
    MUST(mkdir(layers->work, 0755) == 0 && mkdir(layers->merged, 0755) == 0);
    all = text_format("lowerdir=%s,upperdir=%s,workdir=%s%s%s", lower, layers->upper, layers->work,
                      *options ? "," : "", options);
    if (mount("overlay", layers->merged, "overlay", 0, all) < 0)
        return false;
    layers->upper_fd = open_directory(layers->upper);
    layers->merged_fd = open_directory(layers->merged);
    return true;
}

void layers_unmount(struct layers *layers)
{
    close_fd(&layers->upper_fd);
    close_fd(&layers->merged_fd);
    (void)umount2(layers->merged, MNT_DETACH);
    free(layers->base);
    free(layers->lower);
    free(layers->upper);
    free(layers->work);
    free(layers->merged);
}

uint64_t fixture_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void put_file(int root, const char *path, const char *text, unsigned mode)
{
    CLEANUP(close_fd) int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    MUST(fd >= 0);
    MUST(file_write_all(fd, text, strlen(text)) == 0);
    MUST(fchmod(fd, mode) == 0);
}

void put_directory(int root, const char *path, unsigned mode)
{
    MUST(mkdirat(root, path, 0700) == 0 && fchmodat(root, path, mode, 0) == 0);
}

void put_attribute(int root, const char *path, const char *name, const void *value, unsigned length)
{
    CLEANUP(free_ptr) char *object = text_format("/proc/self/fd/%d/%s", root, path);

    MUST(lsetxattr(object, name, value, length, 0) == 0);
}

void put_time(int root, const char *path, int64_t seconds, long nanoseconds)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_sec = seconds, .tv_nsec = nanoseconds}};

    MUST(utimensat(root, path, times, AT_SYMLINK_NOFOLLOW) == 0);
}

static void make_many(int root, const char *directory, unsigned count)
{
    put_directory(root, directory, 0755);
    for (unsigned i = 0; i < count; i++) {
        CLEANUP(free_ptr) char *path = text_format("%s/file-%u", directory, i);

        put_file(root, path, path, 0644);
        put_time(root, path, 1500000000 + (int64_t)i, (long)i * 1000);
    }
}

/* Two images are the same in everything. Consumes `fd`. */
static void settle_times(int fd)
{
    CLEANUP(close_directory) DIR *stream = fdopendir(fd);
    struct dirent *entry;

    MUST(stream != NULL);
    while ((entry = readdir(stream))) {
        if (text_equal(entry->d_name, ".") || text_equal(entry->d_name, ".."))
            continue;
        if (entry->d_type == DT_DIR)
            settle_times(openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        put_time(fd, entry->d_name, 1400000000 + (int64_t)strlen(entry->d_name), entry->d_name[0]);
    }
}

void fixture_image(const char *root)
{
    static const char *const directories[] = {"etc",     "usr",  "usr/bin",   "usr/lib", "var",
                                              "var/log", "home", "home/user", "opt",     "tmp"};
    CLEANUP(close_fd) int fd = open_directory(root);

    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
        put_directory(fd, directories[i], 0755);
    put_file(fd, "etc/passwd", "root:x:0:0\n", 0644);
    put_file(fd, "etc/shadow", "secret\n", 0600);
    put_file(fd, "usr/bin/su", "#!su\n", 04755);
    put_file(fd, "usr/bin/one", "one program\n", 0755);
    MUST(linkat(fd, "usr/bin/one", fd, "usr/bin/other-name", 0) == 0);
    MUST(linkat(fd, "usr/bin/one", fd, "opt/third-name", 0) == 0);
    put_file(fd, "usr/lib/libx.so.1", "library\n", 0755);
    MUST(symlinkat("libx.so.1", fd, "usr/lib/libx.so") == 0);
    MUST(symlinkat("usr/lib", fd, "lib") == 0);
    MUST(mkfifoat(fd, "var/pipe", 0640) == 0);
    put_file(fd, "home/user/file", "mine\n", 0640);
    MUST(fchownat(fd, "home/user", 1000, 1000, 0) == 0);
    MUST(fchownat(fd, "home/user/file", 1000, 1000, 0) == 0);
    make_many(fd, "opt/many", 40);
    put_directory(fd, "opt/many/below", 0755);
    put_directory(fd, "opt/many/below/it", 0755);
    put_file(fd, "opt/many/below/it/leaf", "leaf\n", 0644);
    make_many(fd, "var/log/old", 10);
    MUST(fchmodat(fd, "tmp", 01777, 0) == 0);
    settle_times(fd_duplicate(fd, 3));
}

/* What a description is made of. */
struct description {
    struct buffer text;
    struct {
        dev_t device;
        ino_t inode;
        char *path;
    } links[4096];
    size_t link_count;
};

static void append_bytes(struct buffer *text, const void *data, size_t length)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < length; i++) {
        if (bytes[i] > 0x20 && bytes[i] < 0x7f && bytes[i] != '%')
            MUST(buffer_append(text, bytes + i, 1) == 0);
        else
            MUST(buffer_printf(text, "%%%02X", bytes[i]) == 0);
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void append_attributes(struct buffer *text, const char *object)
{
    static char list[65536], value[65536];
    char *names[256];
    size_t count = 0;
    ssize_t length = llistxattr(object, list, sizeof list);

    for (char *name = list; length > 0 && name < list + length; name += strlen(name) + 1) {
        if (!text_equal(name, "security.selinux"))
            names[count++] = name;
    }
    qsort(names, count, sizeof *names, by_text);
    for (size_t i = 0; i < count; i++) {
        ssize_t n = lgetxattr(object, names[i], value, sizeof value);

        MUST(n >= 0);
        MUST(buffer_printf(text, " [%s]=", names[i]) == 0);
        append_bytes(text, value, (size_t)n);
    }
}

/* Where data is, in steps of 64 KiB that differ from zero, and a sum of it. */
static void append_contents(struct buffer *text, int directory, const char *name,
                            const struct stat *st)
{
    static char data[65536];
    CLEANUP(close_fd) int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    uint64_t sum = 14695981039346656037u;
    off_t at = 0;

    MUST(fd >= 0);
    while (at < st->st_size && (at = lseek(fd, at, SEEK_DATA)) >= 0) {
        ssize_t n = pread(fd, data, sizeof data, at);
        bool zero = true;

        MUST(n > 0);
        for (ssize_t i = 0; i < n; i++) {
            if (data[i]) {
                sum = (sum ^ (unsigned char)data[i] ^ (uint64_t)(at + i) << 8) * 1099511628211u;
                zero = false;
            }
        }
        (void)zero;
        at += n;
    }
    MUST(buffer_printf(text, " sum=%" PRIx64, sum) == 0);
    if (st->st_size > 1 << 20 && st->st_blocks * 512 < st->st_size / 2)
        MUST(buffer_printf(text, " sparse") == 0);
}

/* Which names are one file. Not how many there are: for files of the image overlays don't agree. */
static void append_link(struct description *all, const struct stat *st, const char *path)
{
    if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
        return;
    for (size_t i = 0; i < all->link_count; i++) {
        if (all->links[i].device == st->st_dev && all->links[i].inode == st->st_ino) {
            MUST(buffer_printf(&all->text, " same as ") == 0);
            append_bytes(&all->text, all->links[i].path, strlen(all->links[i].path));
            return;
        }
    }
    MUST(all->link_count < sizeof all->links / sizeof *all->links);
    all->links[all->link_count].device = st->st_dev;
    all->links[all->link_count].inode = st->st_ino;
    all->links[all->link_count++].path = text_copy(path);
}

static void describe_one(struct description *all, int directory, const char *name, const char *path,
                         const struct stat *st)
{
    CLEANUP(free_ptr) char *object = text_format("/proc/self/fd/%d/%s", directory, name);
    struct buffer *text = &all->text;
    char target[4097];

    append_bytes(text, path, strlen(path));
    MUST(buffer_printf(text, " %o %u:%u %" PRId64 ".%09ld", st->st_mode, st->st_uid, st->st_gid,
                       (int64_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec) == 0);
    if (S_ISREG(st->st_mode)) {
        MUST(buffer_printf(text, " size=%" PRId64, (int64_t)st->st_size) == 0);
        append_contents(text, directory, name, st);
    } else if (S_ISLNK(st->st_mode)) {
        ssize_t n = readlinkat(directory, name, target, sizeof target);

        MUST(n > 0 && buffer_printf(text, " -> ") == 0);
        append_bytes(text, target, (size_t)n);
    } else if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
        MUST(buffer_printf(text, " device=%u:%u", major(st->st_rdev), minor(st->st_rdev)) == 0);
    }
    append_link(all, st, path);
    append_attributes(text, object);
    MUST(buffer_append(text, "\n", 1) == 0);
}

/* Consumes `fd`. */
static void describe_below(struct description *all, int fd, const char *path)
{
    struct dirent **entries = NULL;
    int count = scandirat(fd, ".", &entries, NULL, alphasort);

    MUST(count >= 0);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        CLEANUP(free_ptr) char *child = text_format("%s/%s", path, name);
        struct stat st;

        if (text_equal(name, ".") || text_equal(name, "..")) {
            free(entries[i]);
            continue;
        }
        MUST(fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0);
        describe_one(all, fd, name, child, &st);
        if (S_ISDIR(st.st_mode))
            describe_below(all, openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), child);
        free(entries[i]);
    }
    free(entries);
    close_fd(&fd);
}

char *fixture_describe(const char *root)
{
    struct description *all = allocate(sizeof *all);
    int fd = open_directory(root);
    struct stat st;
    char *text;

    all->text = BUFFER_INIT((size_t)256 << 20);
    MUST(fstat(fd, &st) == 0);
    describe_one(all, fd, ".", "/", &st);
    describe_below(all, fd, "");
    text = STEAL_PTR(all->text.data);
    for (size_t i = 0; i < all->link_count; i++)
        free(all->links[i].path);
    free(all);
    return text;
}

void fixture_same(const char *what, const char *a, const char *b)
{
    while (*a && *b) {
        size_t length_a = strcspn(a, "\n"), length_b = strcspn(b, "\n");

        if (length_a != length_b || memcmp(a, b, length_a) != 0)
            fail_msg("%s:\n  %.*s\n  %.*s", what, (int)length_a, a, (int)length_b, b);
        a += length_a + 1;
        b += length_b + 1;
    }
    if (*a || *b)
        fail_msg("%s: only one has %.*s", what, (int)strcspn(*a ? a : b, "\n"), *a ? a : b);
}

int fixture_archive(void)
{
    int fd = open(getenv("TMPDIR") ? getenv("TMPDIR") : "/var/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC,
                  0600);

    MUST(fd >= 0);
    return fd;
}

void fixture_save(const struct layers *from, const char *const *exclusions, int archive,
                  struct rootfs_summary *ret)
{
    struct rootfs_source source = {.upper = from->upper_fd,
                                   .merged = from->merged_fd,
                                   .indexed = from->indexed,
                                   .exclusions = exclusions};
    struct error error = ERROR_INIT;

    MUST(ftruncate(archive, 0) == 0 && lseek(archive, 0, SEEK_SET) == 0);
    if (rootfs_save(&source, archive, ret, &error) < 0)
        fail_msg("save: %s: %s", error.code, error.message);
}

void fixture_apply(int archive, const struct layers *to)
{
    struct rootfs_apply_options options = {.devices = true};
    struct error error = ERROR_INIT;

    if (rootfs_apply(archive, to->merged_fd, &options, NULL, &error) < 0)
        fail_msg("apply: %s: %s", error.code, error.message);
}

void fixture_compare(int archive, const struct layers *from, const struct layers *to)
{
    CLEANUP(free_ptr) char *wanted = fixture_describe(from->merged);

    for (int i = 0; i < 2; i++) {
        CLEANUP(free_ptr) char *found = NULL;

        fixture_apply(archive, to);
        found = fixture_describe(to->merged);
        fixture_same(i ? "applied twice" : "applied", wanted, found);
    }
}

bool fixture_round_trip(const char *base, const char *options, void (*change)(int root),
                        struct rootfs_summary *sum)
{
    CLEANUP(free_ptr) char *lower = text_format("%s/image", base);
    CLEANUP(close_fd) int archive = fixture_archive();
    struct rootfs_summary unused;
    struct layers from, to;
    bool possible;

    MUST(mkdir(lower, 0755) == 0);
    fixture_image(lower);
    possible = layers_mount(&from, base, "from", lower, options);
    if (possible) {
        change(from.merged_fd);
        fixture_save(&from, NULL, archive, sum ? sum : &unused);
        MUST(layers_mount(&to, base, "to", lower, ""));
        fixture_compare(archive, &from, &to);
        layers_unmount(&to);
    }
    layers_unmount(&from);
    return possible;
}

int fixture_user_namespace(unsigned outside, unsigned length)
{
    CLEANUP(free_ptr) char *line = text_format("0 %u %u\n", outside, length);
    CLEANUP(free_ptr) char *path = NULL;
    int ready[2], fd;
    char byte;
    pid_t pid;

    MUST(pipe2(ready, O_CLOEXEC) == 0);
    pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        (void)!write(ready[1], "", unshare(CLONE_NEWUSER) == 0);
        (void)close(ready[1]);
        for (;;)
            (void)pause();
    }
    (void)close(ready[1]);
    fd = read(ready[0], &byte, 1) == 1 ? 0 : -1;
    (void)close(ready[0]);
    for (int i = 0; fd >= 0 && i < 2; i++) {
        CLEANUP(free_ptr) char *map = text_format("/proc/%d/%cid_map", (int)pid, "ug"[i]);
        CLEANUP(close_fd) int out = open(map, O_WRONLY | O_CLOEXEC);

        MUST(out >= 0 && file_write_all(out, line, strlen(line)) == 0);
    }
    path = text_format("/proc/%d/ns/user", (int)pid);
    if (fd >= 0)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    MUST(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    return fd;
}
