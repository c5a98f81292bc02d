/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the program nsrestore is told, and says. It is started on the host, enters the namespaces of
 * the target container (each by a descriptor, never again by its id), prepares a mount namespace
 * for the restored processes and starts CRIU in it.
 *
 * `nsrestore --plan FD`: the plan is a JSON object; numbers are descriptors that it inherits.
 *   "process"     /proc/<pid> of the target's first process
 *   "namespaces"  names of the namespaces to enter, the mount namespace last
 *   "cgroups"     cgroup.procs files of the target's control groups
 *   "mounts"      [{"fd", "point"}]: detached mounts to put into the new mount namespace
 *   "criu"        {"binary", "inside", "plugins" (may be null)}: paths on the host;
 *                 "images", "work", "plugin" (-1: none), "users" (a user
 *                 namespace, -1: none), "inherited": [..]; "personality"
 *   "carrier"     CRIU's socket goes there (criu/launch.h)
 *   "control"     SOCK_SEQPACKET, for the messages below
 * All of them are required.
 *
 * Messages, one line of text each way:
 *   proc PID      CRIU has made the pid namespace; PID, as the host counts, is its first process.
 *                 A /proc of that namespace is mounted, masked as the target's own.
 *   release       All is well: nsrestore ends and leaves the processes alone.
 * The answer is "ok" or {"code", "number", "message"}. When the other end is closed before
 * "release", every process in the new mount namespace is ended, and then nsrestore.
 *
 * At its end it prints one JSON object: {"restored": true|false, "mount_namespace": inode,
 * "processes_ended": n} and, after a failure, "error".
 */
#pragma once

#define NSRESTORE_PROC "proc "
#define NSRESTORE_RELEASE "release"
#define NSRESTORE_OK "ok"

enum { NSRESTORE_MESSAGE_MAXIMUM = 4096, NSRESTORE_DESCRIPTORS_MAXIMUM = 256 };
