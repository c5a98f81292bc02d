/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/leaf.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"

static void become_leaf(int socket, bool dies_with_parent, pid_t parent, int (*work)(int, void *),
                        void *context)
{
    if (dies_with_parent) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(255);
    } else {
        (void)setsid();
    }
    _exit(work(socket, context) & 255);
}

int leaf_start(int (*work)(int socket, void *context), void *context, bool dies_with_parent,
               struct leaf *ret_leaf, struct error *error)
{
    int pair[2];
    pid_t parent = getpid(), pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set(error, "system", errno, "Can't make a socket pair");
    pid = fork();
    if (pid < 0) {
        int saved = errno;

        (void)close(pair[0]);
        (void)close(pair[1]);
        return error_set(error, "system", saved, "Can't start a helper process");
    }
    if (pid == 0) {
        (void)close(pair[0]);
        become_leaf(pair[1], dies_with_parent, parent, work, context);
    }
    (void)close(pair[1]);
    *ret_leaf = (struct leaf){.pid = pid, .socket = pair[0]};
    return 0;
}

int leaf_finish(struct leaf *leaf)
{
    int status = 0;

    close_fd(&leaf->socket);
    if (leaf->pid <= 0)
        return -ECHILD;
    while (waitpid(leaf->pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    leaf->pid = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
}

void leaf_done(struct leaf *leaf)
{
    close_fd(&leaf->socket);
    if (leaf->pid <= 0)
        return;
    (void)kill(leaf->pid, SIGKILL);
    (void)leaf_finish(leaf);
}
