/* SPDX-License-Identifier: Apache-2.0 */
/* Small things which many kinds need. */
#pragma once

#include <limits.h>

#include "workload.h"

/* Ample for a slow machine, and still an end to waiting. */
#define TIMEOUT_MS 20000

struct path_name {
    char text[PATH_MAX];
};

/* A path below --dir. */
struct path_name own_path(const char *name);
/* A name in /dev/shm, the IPC space or the abstract namespace which no other workload uses. */
struct path_name unique_name(const char *prefix);

/* A value that depends on both, for contents that cannot be right by accident. */
uint64_t mix(uint64_t seed, uint64_t index);
void pattern_fill(void *buffer, size_t size, uint64_t seed);
int pattern_verify(const char *what, const void *buffer, size_t size, uint64_t seed);

int read_full(int fd, void *buffer, size_t size);
int write_full(int fd, const void *buffer, size_t size);
/* Waits until fd has events; nothing within the time is a failure. */
int wait_for(int fd, short events, const char *what);
int expect_quiet(int fd, const char *what);
/* The text of a (proc) file, ended with NUL. */
int read_text(const char *path, char *buffer, size_t size);
int sleep_ms(unsigned int ms);
/* A file of --dir with this many bytes of the pattern of a seed; gives the fd. */
int make_file(const char *name, size_t size, uint64_t seed, int flags);

/* A child process that answers questions; it ends when its parent does. */
typedef int (*serve_function)(void *arg, uint64_t question, uint64_t *answer);

struct worker {
    pid_t pid;
    int fd;
};

int worker_start(struct worker *worker, serve_function serve, void *arg);
int worker_ask(struct worker *worker, uint64_t question, uint64_t *answer);
int worker_expect(struct worker *worker, const char *what, uint64_t question, uint64_t expected);
/* Kills and reaps it, and forgets its fd. */
int worker_end(struct worker *worker);
void workers_end(void);

/* The parts, for kinds that fork in their own way. */
int channel_make(int fds[2]);
void serve_forever(int fd, serve_function serve, void *arg) __attribute__((noreturn));
void worker_become(int keep_fd);
void worker_adopt(struct worker *worker, pid_t pid, int fd);

int wait_child(pid_t pid, int *ret_status);
/* State letter of /proc/PID/stat, or negative errno. */
int process_state(pid_t pid);
/* Waits for the process to get into that state. */
int wait_state(pid_t pid, char state);
