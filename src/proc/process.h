/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process, as /proc shows it (proc(5)). Ids are those of the caller's pid namespace unless
 * "inner" says otherwise; a process is the same one as long as pid and start_time are equal.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"

/* Pid namespaces nest at most this deep (the kernel's MAX_PID_NS_LEVEL), and the first. */
#define PROCESS_PID_LEVELS 33

struct process {
    pid_t pid, ppid, pgid, sid; /* pgid, sid: 0 when outside the caller's pid namespace */
    pid_t tracer;               /* of the main thread; 0: not traced */
    pid_t inner_pid;            /* in its own pid namespace; equals pid when that is the caller's */
    pid_t inner_pgid, inner_sid;
    unsigned pid_depth;                   /* how many values NSpid has; 1: the caller's own */
    pid_t level_pids[PROCESS_PID_LEVELS]; /* NSpid: [0] is pid, [pid_depth - 1] is inner_pid */
    uint64_t start_time;                  /* clock ticks since boot */
    char state;                           /* R S D T t Z X I P */
    bool kernel_thread;
    unsigned threads;
    unsigned
        terminal; /* device number of the controlling terminal in the kernel's old form, 0: none */
    uid_t uid;    /* effective */
    gid_t gid;
    uint64_t capabilities; /* effective */
    uint64_t pending;      /* signals that wait for it or its main thread, the lowest bit is 1 */
    int seccomp;           /* SECCOMP_MODE_*: 0 none, 1 strict, 2 filter */
    uint64_t rss_bytes, rss_anonymous_bytes, rss_shared_bytes, swap_bytes;
    char comm[64];
    char *command; /* arguments joined by blanks, at most 4 KiB; "[comm]" when there are none; owned
                    */
};

#define PROCESS_INIT ((struct process){0})

/* A directory descriptor of /proc/<pid>: whatever is read through it is of that very process or
 * fails with ESRCH. The caller closes it. "process-gone" (-ESRCH) or "process-unreadable". */
int process_open(pid_t pid, int *ret_fd, struct error *error);

/* Fills `ret`, which process_done gives up. "process-gone" (-ESRCH) or "process-unreadable". */
int process_read(pid_t pid, struct process *ret, struct error *error);
int process_read_at(int directory, struct process *ret, struct error *error);

void process_done(struct process *process);

bool process_same(const struct process *a, const struct process *b);

/* Whether the process that was read is still that one and not a zombie. */
bool process_alive(const struct process *process);

/* Thread ids, ascending; the caller frees the array. */
int process_threads(int directory, pid_t **ret_threads, size_t *ret_count, struct error *error);

/* Every pid of the caller's pid namespace; the caller frees the array. */
int process_list(pid_t **ret_pids, size_t *ret_count, struct error *error);

/* Reports -number for a failed read of `what`: "process-gone" for ESRCH and ENOENT, else
 * "process-unreadable". For the files of this folder. */
int process_error(struct error *error, int number, pid_t pid, const char *what);

/* The parsers; `text` is changed. 0 or -EINVAL. */
int process_parse_stat(char *text, struct process *process);
int process_parse_status(char *text, struct process *process);
void process_parse_command(char *data, size_t length, struct process *process);
