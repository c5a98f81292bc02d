/* SPDX-License-Identifier: Apache-2.0 */
/* Current directory and file mode mask, of the workload and of a child. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

static struct worker worker;

static int compare_cwd(const char *name)
{
    char seen[PATH_MAX];

    if (getcwd(seen, sizeof(seen)) == NULL)
        return fail_errno("getcwd");
    if (strcmp(seen, own_path(name).text) != 0)
        return fail("current directory: expected %s, seen %s", own_path(name).text, seen);
    return 0;
}

static int move_to(const char *name)
{
    struct path_name path = own_path(name);

    if (mkdir(path.text, 0700) < 0 && errno != EEXIST)
        return fail_errno("mkdir");
    MUST(chdir(path.text), "chdir");
    return 0;
}

static int serve(void *arg, uint64_t question, uint64_t *answer)
{
    (void)arg;
    if (question == 0)
        return move_to("child");
    *answer = umask(077);
    (void)umask((mode_t)*answer);
    return compare_cwd("child");
}

static int setup(void)
{
    (void)umask(023);
    PASS_ON(worker_start(&worker, serve, NULL));
    PASS_ON(worker_expect(&worker, "start", 0, 0));
    (void)umask(0);
    return move_to("even");
}

static int check(uint64_t n)
{
    EQUAL("mask", (n - 1) & 0777, umask((mode_t)n & 0777));
    PASS_ON(compare_cwd(n % 2 == 1 ? "even" : "odd"));
    PASS_ON(move_to(n % 2 == 0 ? "even" : "odd"));
    return worker_expect(&worker, "mask of the child", n, 023);
}

const struct workload_kind kind_cwd_umask = {
    .name = "cwd-umask",
    .description = "current directories and file mode masks",
    .setup = setup,
    .check = check,
};
