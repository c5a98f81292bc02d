/* SPDX-License-Identifier: Apache-2.0 */
/* Harmless character devices and proc files held open. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

static struct {
    int null;
    int zero;
    int random;
    int status; /* /proc/self/status */
    int setting;
} s;

static int setup(void)
{
    MUST(s.null = open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null");
    MUST(s.zero = open("/dev/zero", O_RDONLY | O_CLOEXEC), "/dev/zero");
    MUST(s.random = open("/dev/urandom", O_RDONLY | O_CLOEXEC), "/dev/urandom");
    MUST(s.status = open("/proc/self/status", O_RDONLY | O_CLOEXEC), "/proc/self/status");
    MUST(s.setting = open("/proc/sys/kernel/ostype", O_RDONLY | O_CLOEXEC), "ostype");
    return 0;
}

static int check(uint64_t n)
{
    uint64_t numbers[2] = {n, n};
    char text[4096] = "";
    const char *pid;

    MUST(write(s.null, &n, sizeof(n)), "write to /dev/null");
    MUST(read(s.zero, &numbers[0], sizeof(n)), "read of /dev/zero");
    EQUAL("/dev/zero", 0, numbers[0]);
    MUST(read(s.random, numbers, sizeof(numbers)), "read of /dev/urandom");
    EQUAL("two random numbers equal", 0, numbers[0] == numbers[1]);
    MUST(pread(s.status, text, sizeof(text) - 1, 0), "read of /proc/self/status");
    pid = strstr(text, "\nPid:\t");
    EQUAL("process id in /proc/self/status", getpid(), pid != NULL ? strtol(pid + 6, NULL, 10) : 0);
    memset(text, 0, sizeof(text));
    MUST(pread(s.setting, text, sizeof(text) - 1, 0), "read of ostype");
    EQUAL("ostype", 0, strcmp(text, "Linux\n"));
    return 0;
}

const struct workload_kind kind_devices = {
    .name = "devices",
    .description = "null, zero, urandom and files of /proc held open",
    .setup = setup,
    .check = check,
};
