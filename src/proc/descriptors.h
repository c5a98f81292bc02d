/* SPDX-License-Identifier: Apache-2.0 */
/* The open files of a process (proc_pid_fd(5), proc_pid_fdinfo(5)). Nothing is opened: looking
 * has no effect on devices, pipes or terminals. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"

enum descriptor_kind {
    DESCRIPTOR_FILE,
    DESCRIPTOR_DIRECTORY,
    DESCRIPTOR_PIPE, /* unnamed */
    DESCRIPTOR_FIFO, /* named */
    DESCRIPTOR_SOCKET,
    DESCRIPTOR_TERMINAL, /* a character device that is a tty, pty master or pty slave */
    DESCRIPTOR_CHARACTER_DEVICE,
    DESCRIPTOR_BLOCK_DEVICE,
    DESCRIPTOR_MEMFD,
    DESCRIPTOR_NAMESPACE,
    DESCRIPTOR_EVENTFD,
    DESCRIPTOR_EPOLL,
    DESCRIPTOR_TIMERFD,
    DESCRIPTOR_SIGNALFD,
    DESCRIPTOR_INOTIFY,
    DESCRIPTOR_FANOTIFY,
    DESCRIPTOR_PIDFD,
    DESCRIPTOR_IO_URING,
    DESCRIPTOR_USERFAULTFD,
    DESCRIPTOR_PERF_EVENT,
    DESCRIPTOR_BPF,
    DESCRIPTOR_KVM,
    DESCRIPTOR_DMABUF,
    DESCRIPTOR_OTHER, /* `target` says what the kernel calls it */
    DESCRIPTOR_KINDS
};

struct descriptor {
    int fd;
    enum descriptor_kind kind;
    char *target;   /* what the link in /proc/<pid>/fd says; owned */
    bool deleted;   /* the name it was opened by is gone */
    unsigned links; /* names that the file still has */
    unsigned flags; /* O_* as at open(2), O_CLOEXEC included */
    uint64_t position;
    int mount;             /* mount id, -1 unknown; memfds and pipes have internal ones */
    dev_t device;          /* of the file system */
    uint64_t inode;        /* of a socket or pipe: its number in the tables */
    dev_t device_number;   /* of a device */
    uint64_t size;         /* of a file */
    uint64_t stored_bytes; /* of a file: what it occupies */
    char protocol[24];     /* of a socket: "UNIX-STREAM", "TCPv6", "NETLINK", …; "" unknown */
    pid_t other;           /* of a pidfd: the process, -1 ended; else 0 */
    bool locked;           /* a file lock is held through it */
};

struct descriptor_table {
    struct descriptor *descriptors; /* ascending */
    size_t count;
    bool truncated; /* there were more than the maximum */
};

#define DESCRIPTOR_TABLE_INIT ((struct descriptor_table){0})

/* At most this many are read of one process. */
#define DESCRIPTOR_TABLE_MAX ((size_t)1 << 20)

/* A word for messages: "file", "pipe", "io_uring", … */
const char *descriptor_kind_name(enum descriptor_kind kind);

int descriptor_table_read(pid_t pid, struct descriptor_table *ret, struct error *error);
int descriptor_table_read_at(int directory, struct descriptor_table *ret, struct error *error);
void descriptor_table_done(struct descriptor_table *table);

/* The name of a character device's driver by its major number ("nvidia-uvm", "gdrdrv"), from
 * /proc/devices. The caller frees it; NULL when unknown. */
char *device_driver_name(unsigned major);

/* The parsers; texts are changed. The kind is set from a link's text when that says it. */
void descriptor_parse_target(const char *target, struct descriptor *descriptor);
int descriptor_parse_info(char *text, struct descriptor *descriptor);
char *device_parse_driver_name(char *text, unsigned major);
