/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/trial.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

int trial_run(int (*attempt)(void *context), void *context)
{
    int status;
    pid_t pid = fork();

    if (pid < 0)
        return -errno;
    if (pid == 0)
        _exit(-attempt(context) & 255);
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -ENOSYS;
}
