/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments, environment, names and auxiliary values as /proc shows them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common.h"

struct view {
    char cmdline[8192];
    char environ[16384];
    char auxv[1024];
    char exe[PATH_MAX];
    int cmdline_size;
    int environ_size;
    int auxv_size;
    unsigned long vdso;
};

static struct view start;
static struct view now;

static int look(struct view *view)
{
    memset(view, 0, sizeof(*view));
    PASS_ON(view->cmdline_size =
                read_text("/proc/self/cmdline", view->cmdline, sizeof(view->cmdline)));
    PASS_ON(view->environ_size =
                read_text("/proc/self/environ", view->environ, sizeof(view->environ)));
    PASS_ON(view->auxv_size = read_text("/proc/self/auxv", view->auxv, sizeof(view->auxv)));
    MUST(readlink("/proc/self/exe", view->exe, sizeof(view->exe) - 1), "readlink");
    view->vdso = getauxval(AT_SYSINFO_EHDR);
    return 0;
}

static int set_name(uint64_t n)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "round-%llu", (unsigned long long)n);
    MUST(setenv("STASIS_WORKLOAD_ROUND", text, 1), "setenv");
    MUST(prctl(PR_SET_NAME, text), "PR_SET_NAME");
    return 0;
}

static int check_name(uint64_t n)
{
    char expected[16];
    char seen[32];
    const char *value = getenv("STASIS_WORKLOAD_ROUND");

    (void)snprintf(expected, sizeof(expected), "round-%llu", (unsigned long long)n);
    PASS_ON(read_text("/proc/self/comm", seen, sizeof(seen)));
    seen[strcspn(seen, "\n")] = '\0';
    if (strcmp(seen, expected) != 0)
        return fail("name: expected %s, seen %s", expected, seen);
    if (value == NULL || strcmp(value, expected) != 0)
        return fail("variable: expected %s, seen %s", expected, value != NULL ? value : "nothing");
    return 0;
}

static int setup(void)
{
    PASS_ON(look(&start));
    return set_name(0);
}

static int check(uint64_t n)
{
    PASS_ON(check_name(n - 1));
    PASS_ON(look(&now));
    EQUAL("size of the arguments", start.cmdline_size, now.cmdline_size);
    EQUAL("arguments", 0, memcmp(start.cmdline, now.cmdline, sizeof(now.cmdline)));
    EQUAL("size of the environment", start.environ_size, now.environ_size);
    EQUAL("environment", 0, memcmp(start.environ, now.environ, sizeof(now.environ)));
    EQUAL("size of the auxiliary vector", start.auxv_size, now.auxv_size);
    EQUAL("auxiliary vector", 0, memcmp(start.auxv, now.auxv, sizeof(now.auxv)));
    EQUAL("program", 0, strcmp(start.exe, now.exe));
    EQUAL("address of the vdso", start.vdso, now.vdso);
    return set_name(n);
}

const struct workload_kind kind_arguments = {
    .name = "arguments",
    .description = "arguments, environment, name, program, auxiliary vector",
    .setup = setup,
    .check = check,
};
