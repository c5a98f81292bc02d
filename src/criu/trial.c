/* SPDX-License-Identifier: Apache-2.0 */
#include "criu/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/installation.h"
#include "basic/text.h"
#include "criu/launch.h"
#include "criu/log.h"
#include "criu/service.h"

/* What is saved: kinds that tell CRIU versions apart on one kernel. Ends with its parent. */
_Noreturn static void be_the_subject(int ready)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener, pair[2], null;
    bool made;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setsid();
    null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd <= 2; fd++)
        (void)dup2(null, fd);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    made = listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0 &&
           listen(listener, 1) == 0 && pipe(pair) == 0;
    (void)!write(ready, made ? "1" : "0", 1);
    (void)close(ready);
    for (;;)
        (void)pause();
}

static int start_subject(pid_t *ret_pid, struct error *error)
{
    char answer = 0;
    int pair[2];
    pid_t pid;

    if (pipe2(pair, O_CLOEXEC) < 0)
        return error_set(error, "system", errno, "Can't make a pipe");
    pid = fork();
    if (pid == 0) {
        int ready = dup2(pair[1], 3);

        (void)close_range(4, ~0U, 0);
        be_the_subject(ready);
    }
    (void)close(pair[1]);
    if (pid > 0)
        (void)!read(pair[0], &answer, 1);
    (void)close(pair[0]);
    if (pid < 0 || answer != '1') {
        if (pid > 0) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, NULL, 0);
        }
        return error_set(error, "system", pid < 0 ? errno : EIO, "Can't start a trial process");
    }
    *ret_pid = pid;
    return 0;
}

/* Where another place than that of the machine was chosen for what CRIU finds out about the kernel
 * ($STASIS_RUN), CRIU is told by what is preloaded into it in a container (criu/inside). */
static int keep_knowledge(char **ret_inside, int *ret_mounts)
{
    if (!getenv("STASIS_RUN") || installation_find(PART_CRIU_INSIDE, ret_inside, NULL) < 0)
        return 0;
    *ret_mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    return *ret_mounts > 0 ? *ret_mounts : 0;
}

/* One CRIU process for one request: `subject` 0 asks for the version only. */
static int ask(const char *path, int directory, pid_t subject, unsigned *ret_version,
               struct error *error)
{
    CLEANUP(close_fd) int receiver = -1, sender = -1, socket = -1, mounts = -1;
    CLEANUP(free_ptr) char *inside = NULL;
    struct criu_launch launch = {.binary = path,
                                 .images_directory = directory,
                                 .work_directory = directory,
                                 .plugin_socket = -1,
                                 .messages = -1,
                                 .terminal = -1};
    struct criu_dump dump = {
        .pid = subject, .leave_running = true, .timeout_seconds = 10, .log_level = 1};
    pid_t child = -1;
    int r = criu_carrier_make(&receiver, &sender, error);

    launch.mount_namespace = keep_knowledge(&inside, &mounts);
    launch.inside = inside;
    if (r == 0)
        r = criu_start(&launch, &(struct criu_place){0}, sender, &child, error);
    close_fd(&sender);
    if (r == 0)
        r = criu_carrier_receive(receiver, &socket, error);
    if (r == 0)
        r = subject ? criu_dump(socket, &dump, NULL, NULL, error)
                    : criu_version(socket, ret_version, error);
    close_fd(&socket);
    if (child > 0)
        (void)waitpid(child, NULL, 0);
    if (r < 0)
        criu_log_explain(directory, CRIU_DUMP_LOG, error);
    return r;
}

int criu_trial(const char *path, unsigned *ret_version, struct error *error)
{
    const char *chosen = getenv("TMPDIR");
    CLEANUP(free_ptr)
    char *place = text_format("%s/stasis-trial-XXXXXX", chosen && *chosen ? chosen : "/tmp");
    CLEANUP(close_fd) int directory = -1;
    unsigned version = 0;
    pid_t subject = -1;
    int r;

    if (!mkdtemp(place))
        return error_set(error, "system", errno, "Can't make %s", place);
    directory = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r = directory < 0 ? error_set(error, "system", errno, "Can't open %s", place) : 0;
    if (r == 0)
        r = ask(path, directory, 0, &version, error);
    if (r == 0)
        r = start_subject(&subject, error);
    if (r == 0)
        r = ask(path, directory, subject, NULL, error);
    if (subject > 0) {
        (void)kill(subject, SIGKILL);
        (void)waitpid(subject, NULL, 0);
    }
    (void)directory_remove_all(AT_FDCWD, place);
    if (r == 0)
        *ret_version = version;
    return r;
}
