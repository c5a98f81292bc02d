/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

#define ORDER_FILE "order.json"
#define RESULT_FILE "result.json"
#define LOCK_FILE "lock"
#define LOG_FILE "log"

enum { FILE_MAXIMUM = 4 << 20, LOG_MAXIMUM = 4096 };

struct journal {
    int directory;
    int lock; /* of the agent that uses it */
};

static int refuse(struct error *error, int number, const char *what, const char *name)
{
    return error_set(error, "agent-journal", number, "Can't %s '%s'", what, name);
}

/* A lock of this process alone (fcntl(2), "Advisory record locking"): operations are forked from it
 * and must not hold it, so that another agent may come while they work. */
static int lock_alone(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_SETLK, &lock) < 0 ? -errno : 0;
}

static int take(struct journal *journal, const char *path, struct error *error)
{
    int r = directory_create_all(path, 0700);

    if (r < 0)
        return refuse(error, r, "make the directory", path);
    journal->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (journal->directory < 0)
        return refuse(error, errno, "open the directory", path);
    journal->lock = openat(journal->directory, ".agent", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (journal->lock < 0)
        return refuse(error, errno, "open the lock of", path);
    r = lock_alone(journal->lock);
    if (r < 0)
        return error_set(error, "agent-running", r, "Another agent uses '%s'", path);
    return 0;
}

int journal_open(const char *state_directory, struct journal **ret, struct error *error)
{
    CLEANUP(free_ptr) char *path = text_format("%s/operations", state_directory);
    struct journal *journal = allocate(sizeof *journal);
    int r;

    journal->directory = journal->lock = -1;
    r = take(journal, path, error);
    if (r < 0) {
        journal_free(journal);
        return r;
    }
    *ret = journal;
    return 0;
}

void journal_free(struct journal *journal)
{
    if (!journal)
        return;
    close_fd(&journal->directory);
    close_fd(&journal->lock);
    free(journal);
}

static int open_entry(const struct journal *journal, const char *key)
{
    return file_open_beneath(journal->directory, key, O_RDONLY | O_DIRECTORY, 0);
}

static int write_json(int directory, const char *name, const json_t *json)
{
    CLEANUP(free_ptr) char *text = json_dumps(json, JSON_INDENT(1));

    return text ? file_write_atomic(directory, name, text, strlen(text)) : -ENOMEM;
}

static json_t *read_json(int directory, const char *name)
{
    CLEANUP(free_ptr) char *text = NULL;
    size_t length;

    if (file_read(directory, name, FILE_MAXIMUM, &text, &length) < 0)
        return NULL;
    return json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
}

/* The order is written last: an entry without one was never begun. */
static int fill_entry(int entry, const struct order *order, int *ret_lock)
{
    CLEANUP(close_fd) int lock = openat(entry, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    json_t *json;
    int r;

    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
        return -errno;
    json = order_to_json(order);
    r = write_json(entry, ORDER_FILE, json);
    json_decref(json);
    if (r == 0)
        *ret_lock = steal_fd(&lock);
    return r;
}

int journal_begin(struct journal *journal, const struct order *order, int *ret_lock,
                  struct error *error)
{
    CLEANUP(close_fd) int entry = -1;
    int r;

    if (mkdirat(journal->directory, order->key, 0700) < 0)
        return refuse(error, errno, "record the operation", order->key);
    entry = open_entry(journal, order->key);
    r = entry < 0 ? entry : fill_entry(entry, order, ret_lock);
    if (r < 0) {
        (void)directory_remove_all(journal->directory, order->key);
        return refuse(error, r, "record the operation", order->key);
    }
    return 0;
}

int journal_end(struct journal *journal, const char *key, const json_t *result, struct error *error)
{
    CLEANUP(close_fd) int entry = open_entry(journal, key);
    int r = entry < 0 ? entry : write_json(entry, RESULT_FILE, result);

    return r < 0 ? refuse(error, r, "record the result of", key) : 0;
}

int journal_open_log(struct journal *journal, const char *key, struct error *error)
{
    CLEANUP(close_fd) int entry = open_entry(journal, key);
    int log = entry < 0 ? entry
                        : openat(entry, LOG_FILE, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    return log < 0 ? refuse(error, errno, "open the log of", key) : log;
}

char *journal_read_log(struct journal *journal, const char *key)
{
    CLEANUP(close_fd) int entry = open_entry(journal, key);
    CLEANUP(close_fd)
    int log = entry < 0 ? -1 : openat(entry, LOG_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    char *text;
    ssize_t length;

    if (log < 0 || fstat(log, &status) < 0 || status.st_size == 0)
        return NULL;
    text = allocate(LOG_MAXIMUM + 1);
    length = pread(log, text, LOG_MAXIMUM,
                   status.st_size > LOG_MAXIMUM ? status.st_size - LOG_MAXIMUM : 0);
    if (length <= 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* Whoever has the lock lives. */
static bool is_locked(int entry)
{
    CLEANUP(close_fd) int lock = openat(entry, LOCK_FILE, O_RDWR | O_CLOEXEC);

    return lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

void journal_sign(int lock)
{
    (void)dprintf(lock, "%d", (int)getpid());
}

pid_t journal_process(struct journal *journal, const char *key)
{
    CLEANUP(close_fd) int entry = open_entry(journal, key);
    CLEANUP(free_ptr) char *text = NULL;
    size_t length;
    int pid;

    if (entry < 0 || !is_locked(entry) || file_read(entry, LOCK_FILE, 32, &text, &length) < 0 ||
        text_to_int(text, &pid) < 0 || pid <= 1)
        return 0;
    return pid;
}

enum journal_state journal_look(struct journal *journal, const char *key, json_t **ret_result)
{
    CLEANUP(close_fd) int entry = open_entry(journal, key);
    bool running;
    json_t *result;

    if (entry < 0)
        return JOURNAL_LOST;
    running = is_locked(entry); /* asked first: the result comes before the end */
    result = read_json(entry, RESULT_FILE);
    if (json_is_object(result)) {
        *ret_result = result;
        return JOURNAL_ENDED;
    }
    json_decref(result);
    return running ? JOURNAL_RUNNING : JOURNAL_LOST;
}

static int tell_entry(struct journal *journal, const char *key, journal_function *function,
                      void *context)
{
    CLEANUP(close_fd) int entry = open_entry(journal, key);
    json_t *json = entry < 0 ? NULL : read_json(entry, ORDER_FILE);
    struct order order = {0};
    int r = order_from_json(json, &order, NULL);

    json_decref(json);
    if (r == 0 && !text_equal(order.key, key))
        r = -EINVAL;
    if (r == 0)
        function(&order, context);
    order_done(&order);
    return r;
}

int journal_each(struct journal *journal, journal_function *function, void *context,
                 struct error *error)
{
    int copy = openat(journal->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_directory) DIR *directory = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;

    if (!directory)
        return refuse(error, errno, "read", "operations");
    while ((entry = readdir(directory))) {
        if (entry->d_name[0] == '.')
            continue;
        /* What a newer agent has begun and we don't understand is left alone while it runs. */
        if (tell_entry(journal, entry->d_name, function, context) < 0 &&
            journal_process(journal, entry->d_name) == 0)
            (void)directory_remove_all(journal->directory, entry->d_name);
    }
    return 0;
}

void journal_forget(struct journal *journal, const char *key)
{
    (void)directory_remove_all(journal->directory, key);
}
