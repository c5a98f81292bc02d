/* SPDX-License-Identifier: Apache-2.0 */
#include "workload/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "image/layout.h"

#define WORKLOADS ".workloads"

enum { RECORD_MAXIMUM = 64 << 20, NAMES_MAXIMUM = 1 << 16 };

void workload_done(struct workload *workload)
{
    free(workload->name);
    json_decref(workload->command);
    free(workload->started);
    free(workload->snapshot);
    free(workload->saved);
    free(workload->stdio);
    *workload = WORKLOAD_INIT;
}

char *workload_path(const char *root, const char *name, const char *file)
{
    return text_format("%s/" WORKLOADS "/%s%s%s", root, name, *file ? "/" : "", file);
}

static int open_directory(const char *root, const char *name, struct error *error)
{
    CLEANUP(free_ptr) char *path = workload_path(root, name, "");
    int r = snapshot_id_check(name, error);
    int fd;

    if (r < 0)
        return r;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return error_set(error, "workload-missing", ENOENT, "There is no workload named %s", name);
    if (fd < 0)
        return error_set(error, "system", errno, "Can't open %s", path);
    return fd;
}

int workload_claim(const char *root, const char *name, int *ret_directory, int *ret_lock,
                   struct error *error)
{
    CLEANUP(free_ptr) char *path = workload_path(root, name, "");
    CLEANUP(close_fd) int directory = -1, lock = -1;
    int r = snapshot_id_check(name, error);

    if (r < 0)
        return r;
    r = directory_create_all(path, 0700);
    if (r < 0)
        return error_set(error, "system", r, "Can't make %s", path);
    directory = open_directory(root, name, error);
    if (directory < 0)
        return directory;
    lock = openat(directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0)
        return error_set(error, "system", errno, "Can't open the lock in %s", path);
    if (flock(lock, LOCK_EX | LOCK_NB) < 0)
        return error_set(error, "workload-exists", EEXIST, "A workload named %s is running already",
                         name);
    *ret_directory = steal_fd(&directory);
    *ret_lock = steal_fd(&lock);
    return 0;
}

char *workload_free_name(const char *root, const char *stem)
{
    char *name = text_copy(stem);

    for (int n = 2; workload_alive(root, name); n++) {
        free(name);
        name = text_format("%s-%d", stem, n);
    }
    return name;
}

int workload_save(int directory, const struct workload *workload, struct error *error)
{
    json_t *record = json_pack(
        "{ss si si si si si sI ss sO* ss* ss* ss* ss* sb}", "name", workload->name, "keeper",
        (int)workload->keeper, "root", (int)workload->root, "main", (int)workload->main,
        "root_inner", (int)workload->root_inner, "main_inner", (int)workload->main_inner,
        "keeper_start", (json_int_t)workload->keeper_start, "mode",
        workload->mode == WORKLOAD_OWN_PIDS ? "own" : "host", "command", workload->command,
        "started", workload->started, "snapshot", workload->snapshot, "saved", workload->saved,
        "stdio", workload->stdio, "private_shm", (int)workload->private_shm);
    CLEANUP(free_ptr) char *text = record ? json_dumps(record, JSON_INDENT(1)) : NULL;
    int r;

    json_decref(record);
    if (!text)
        return error_set(error, "system", ENOMEM, "Can't write the record of %s", workload->name);
    if (!workload->saved)
        (void)unlinkat(directory, "exit.json", 0); /* of an earlier life */
    r = file_write_atomic(directory, "record.json", text, strlen(text));
    return r < 0 ? error_set(error, "system", r, "Can't write the record of %s", workload->name)
                 : 0;
}

static char *copy_string(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value ? text_copy(value) : NULL;
}

static pid_t get_pid(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));

    return value > 0 && value <= INT32_MAX ? (pid_t)value : -1;
}

static int read_json(int directory, const char *name, json_t **ret_object)
{
    CLEANUP(free_ptr) char *data = NULL;
    size_t length = 0;
    int r = file_read(directory, name, RECORD_MAXIMUM, &data, &length);

    if (r < 0)
        return r;
    *ret_object = json_loadb(data, length, JSON_REJECT_DUPLICATES, NULL);
    return *ret_object ? 0 : -EBADMSG;
}

int workload_load(const char *root, const char *name, struct workload *ret_workload,
                  struct error *error)
{
    CLEANUP(close_fd) int directory = open_directory(root, name, error);
    json_t *record = NULL;
    int r;

    if (directory < 0)
        return directory;
    r = read_json(directory, "record.json", &record);
    if (r == -ENOENT)
        return error_set(error, "workload-missing", ENOENT, "There is no workload named %s", name);
    if (r < 0)
        return error_set(error, "system", r, "Can't read the record of %s", name);
    *ret_workload = (struct workload){
        .name = text_copy(name),
        .mode = text_equal(json_string_value(json_object_get(record, "mode")), "own")
                    ? WORKLOAD_OWN_PIDS
                    : WORKLOAD_HOST_PIDS,
        .keeper = get_pid(record, "keeper"),
        .root = get_pid(record, "root"),
        .main = get_pid(record, "main"),
        .root_inner = get_pid(record, "root_inner"),
        .main_inner = get_pid(record, "main_inner"),
        .keeper_start = (uint64_t)json_integer_value(json_object_get(record, "keeper_start")),
        .command = json_incref(json_object_get(record, "command")),
        .started = copy_string(record, "started"),
        .snapshot = copy_string(record, "snapshot"),
        .saved = copy_string(record, "saved"),
        .stdio = copy_string(record, "stdio"),
        .private_shm = json_is_true(json_object_get(record, "private_shm")),
    };
    json_decref(record);
    return 0;
}

bool workload_alive(const char *root, const char *name)
{
    CLEANUP(free_ptr) char *path = workload_path(root, name, "lock");
    CLEANUP(close_fd) int lock = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    return lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) < 0;
}

int workload_load_living(const char *root, const char *name, struct workload *ret_workload,
                         struct error *error)
{
    int r = workload_load(root, name, ret_workload, error);

    if (r == 0 && !workload_alive(root, name)) {
        workload_done(ret_workload);
        r = error_set(error, "workload-ended", ESRCH, "The workload %s does not run any more",
                      name);
    }
    return r;
}

int workload_exit_status(const char *root, const char *name, int *ret_status, struct error *error)
{
    CLEANUP(close_fd) int directory = open_directory(root, name, error);
    json_t *end = NULL;
    int r;

    if (directory < 0)
        return directory;
    r = read_json(directory, "exit.json", &end);
    if (r < 0)
        return error_set(error, "workload-unknown-end", r, "How %s ended is not known", name);
    *ret_status = (int)json_integer_value(json_object_get(end, "status"));
    json_decref(end);
    return 0;
}

void workload_forget(const char *root, const char *name)
{
    CLEANUP(free_ptr) char *path = workload_path(root, name, "");

    (void)directory_remove_all(AT_FDCWD, path);
}

int workload_names(const char *root, char ***ret_names, struct error *error)
{
    CLEANUP(free_ptr) char *path = text_format("%s/" WORKLOADS, root);
    CLEANUP(close_directory) DIR *directory = opendir(path);
    char **names = allocate((NAMES_MAXIMUM + 1) * sizeof *names);
    struct dirent *entry;
    size_t count = 0;

    if (!directory && errno != ENOENT) {
        free(names);
        return error_set(error, "system", errno, "Can't read %s", path);
    }
    while (directory && count < NAMES_MAXIMUM && (entry = readdir(directory))) {
        if (snapshot_id_check(entry->d_name, NULL) == 0)
            names[count++] = text_copy(entry->d_name);
    }
    *ret_names = names;
    return 0;
}
