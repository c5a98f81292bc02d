/* SPDX-License-Identifier: Apache-2.0 */
#include "container/look-inside.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "proc/namespaces.h"

enum { ANSWER_MAXIMUM = 1 << 20 };

/* What the child finds out goes into `answer`. 0 or a negative errno. */
typedef int question(struct buffer *answer);

_Noreturn static void answer_inside(int process, enum namespace_kind kind, question *ask, int out)
{
    struct buffer answer = BUFFER_INIT(ANSWER_MAXIMUM);
    CLEANUP(close_fd) int space = -1;
    int r = namespace_open(process, kind, &space, NULL);

    if (r == 0 && setns(space, 0) < 0)
        r = -errno;
    if (r == 0)
        r = ask(&answer);
    if (r == 0)
        r = file_write_all(out, answer.data ? answer.data : "", answer.length);
    _exit(r < 0 ? -r & 0xff : 0);
}

static int read_answer(int in, struct buffer *answer)
{
    char piece[4096];
    ssize_t n;
    int r = 0;

    while (r == 0 && (n = read(in, piece, sizeof piece)) != 0) {
        if (n > 0)
            r = buffer_append(answer, piece, (size_t)n);
        else if (errno != EINTR)
            r = -errno;
    }
    return r;
}

static int ask_inside(int process, enum namespace_kind kind, question *ask, struct buffer *answer,
                      struct error *error)
{
    int pair[2], status = 0, r;
    pid_t pid;

    if (pipe2(pair, O_CLOEXEC) < 0)
        return error_set(error, "system", errno, "Can't make a pipe");
    pid = fork();
    if (pid == 0)
        answer_inside(process, kind, ask, pair[1]);
    (void)close(pair[1]);
    r = pid < 0 ? -EAGAIN : read_answer(pair[0], answer);
    (void)close(pair[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (r == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
        r = WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
    return r == 0 ? 0
                  : error_set(error, "container-view", r, "Can't look into the %s namespace",
                              namespace_name(kind));
}

/* Each table has a line of headings, and one for each object. */
static int find_system_v(struct buffer *answer)
{
    static const char *const tables[] = {"/proc/sysvipc/shm", "/proc/sysvipc/sem",
                                         "/proc/sysvipc/msg"};

    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        CLEANUP(free_ptr) char *text = NULL;
        const char *line;

        if (file_read(AT_FDCWD, tables[i], 16 << 20, &text, NULL) < 0)
            continue; /* a kernel without them */
        line = strchr(text, '\n');
        if (line && line[1])
            return buffer_append(answer, "x", 1);
    }
    return 0;
}

int container_look_for_system_v(int process, bool *ret_found, struct error *error)
{
    struct buffer answer = BUFFER_INIT(ANSWER_MAXIMUM);
    int r = ask_inside(process, NAMESPACE_IPC, find_system_v, &answer, error);

    if (r == 0)
        *ret_found = answer.length > 0;
    buffer_done(&answer);
    return r;
}

static int append_address(struct buffer *answer, const struct ifaddrs *interface)
{
    const struct sockaddr *address = interface->ifa_addr;
    char text[INET6_ADDRSTRLEN];

    if (!address || interface->ifa_flags & IFF_LOOPBACK)
        return 0;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)address;

        (void)inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
        return buffer_printf(answer, "%s\n", text);
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)address;
        bool local = IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);

        (void)inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
        return buffer_printf(answer, "%s%s%s\n", text, local ? "%" : "",
                             local ? interface->ifa_name : "");
    }
    return 0;
}

static int find_addresses(struct buffer *answer)
{
    struct ifaddrs *all = NULL;
    int r = 0;

    if (getifaddrs(&all) < 0)
        return -errno;
    for (const struct ifaddrs *next = all; r == 0 && next; next = next->ifa_next)
        r = append_address(answer, next);
    freeifaddrs(all);
    return r;
}

int container_look_for_addresses(int process, json_t **ret_list, struct error *error)
{
    struct buffer answer = BUFFER_INIT(ANSWER_MAXIMUM);
    char *rest = NULL;
    int r = ask_inside(process, NAMESPACE_NETWORK, find_addresses, &answer, error);

    if (r == 0) {
        *ret_list = json_array();
        for (char *line = answer.data ? strtok_r(answer.data, "\n", &rest) : NULL; line;
             line = strtok_r(NULL, "\n", &rest))
            (void)json_array_append_new(*ret_list, json_string(line));
    }
    buffer_done(&answer);
    return r;
}

static int find_host_name(struct buffer *answer)
{
    char name[HOST_NAME_MAX + 1] = "";

    if (gethostname(name, sizeof name - 1) < 0)
        return -errno;
    return buffer_append(answer, name, strlen(name));
}

int container_look_for_host_name(int process, char **ret_name, struct error *error)
{
    struct buffer answer = BUFFER_INIT(ANSWER_MAXIMUM);
    int r = ask_inside(process, NAMESPACE_UTS, find_host_name, &answer, error);

    if (r == 0)
        *ret_name = text_copy(answer.data ? answer.data : "");
    buffer_done(&answer);
    return r;
}
