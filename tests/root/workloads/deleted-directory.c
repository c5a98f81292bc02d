/* SPDX-License-Identifier: Apache-2.0 */
/* The current directory has been removed. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

static int setup(void)
{
    struct path_name path = own_path("gone");

    MUST(mkdir(path.text, 0700), "mkdir");
    MUST(chdir(path.text), "chdir");
    MUST(rmdir(path.text), "rmdir");
    return 0;
}

static int check(uint64_t n)
{
    char text[PATH_MAX] = "";
    struct stat info;
    ssize_t length = readlink("/proc/self/cwd", text, sizeof(text) - 1);

    (void)n;
    MUST(length, "readlink");
    MUST(stat(".", &info), "stat");
    EQUAL("names of the directory", 0, info.st_nlink);
    if (strstr(text, "/gone") == NULL || strstr(text, "(deleted)") == NULL)
        return fail("current directory: expected '.../gone (deleted)', seen '%s'", text);
    return 0;
}

const struct workload_kind kind_deleted_directory = {
    .name = "deleted-directory",
    .description = "current directory that was removed",
    .setup = setup,
    .check = check,
};
