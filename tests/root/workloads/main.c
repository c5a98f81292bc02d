/* SPDX-License-Identifier: Apache-2.0 */
/*
 * workload --list
 * workload KIND --dir DIR [--private-shm]
 *
 * Prints "ready" (or "skip: why", where the machine lacks something), then answers each SIGUSR1
 * with "ok N" or "FAIL: ..." and ends on SIGTERM. N lives in memory: whoever is restored from a
 * snapshot taken after "ok K" must answer "ok K+1", every time.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"
#include "kinds.h"

static const struct workload_kind *const kinds[] = {
#define KIND(symbol) &kind_##symbol,
    ALL_KINDS
#undef KIND
};

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    char line[1024];
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (length >= (int)sizeof(line))
        length = (int)sizeof(line) - 1;
    /* One write a line: a line is there as a whole or not at all. */
    if (write(STDOUT_FILENO, line, (size_t)length) != length)
        _exit(3);
}

static void print_flags(unsigned int flags)
{
    static const char *const names[] = {
        "unique", "files", "namespaces", "refused", "carried-or-refused", "tcp"};
    const char *separator = "";

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if ((flags & 1u << i) == 0)
            continue;
        printf("%s%s", separator, names[i]);
        separator = ",";
    }
}

static void list_kinds(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const struct workload_kind *kind = kinds[i];

        printf("%s\t", kind->name);
        print_flags(kind->flags);
        printf("\t%s\t%s\n", kind->description, kind->reason != NULL ? kind->reason : "");
    }
}

static const struct workload_kind *find_kind(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    return NULL;
}

static int usage(void)
{
    (void)fprintf(stderr, "usage: workload --list | workload KIND --dir DIR [--private-shm]\n");
    return 2;
}

static int parse_args(int argc, char **argv)
{
    const char *slash;

    arguments.argc = argc;
    arguments.argv = argv;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc)
            arguments.dir = argv[++i];
        else if (strcmp(argv[i], "--private-shm") == 0)
            arguments.private_shm = true;
        else
            return -EINVAL;
    }
    if (arguments.dir == NULL || arguments.dir[0] != '/')
        return -EINVAL;
    slash = strrchr(arguments.dir, '/');
    arguments.tag = slash + 1;
    return 0;
}

static int answer(const struct workload_kind *kind, uint64_t n)
{
    int r;

    failure_clear();
    r = kind->check(n);
    if (r < 0)
        say("FAIL: %s\n", failure_message()[0] != '\0' ? failure_message() : strerror(-r));
    else
        say("ok %llu\n", (unsigned long long)n);
    return r;
}

static void serve(const struct workload_kind *kind, const sigset_t *signals)
{
    uint64_t n = 1;

    for (;;) {
        /* Not sigwait(): a checkpoint may interrupt it, which some libcs pass on. */
        int signal_number = sigwaitinfo(signals, NULL);

        if (signal_number == SIGTERM)
            return;
        if (signal_number == SIGUSR1 && answer(kind, n) == 0)
            n++;
    }
}

static int run(const struct workload_kind *kind)
{
    sigset_t signals;
    int r;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGUSR1);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    r = kind->setup();
    if (r == -EOPNOTSUPP) {
        /* Goes on, so that whoever started it finds it as it expects workloads to be. */
        say("skip: %s\n", failure_message());
        (void)sigdelset(&signals, SIGUSR1);
        (void)sigwaitinfo(&signals, NULL);
        return EXIT_SUCCESS;
    }
    if (r < 0) {
        say("FAIL: setup: %s\n", failure_message()[0] != '\0' ? failure_message() : strerror(-r));
        return EXIT_FAILURE;
    }
    say("ready\n");
    serve(kind, &signals);
    if (kind->stop != NULL)
        kind->stop();
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    const struct workload_kind *kind;
    int r;

    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        list_kinds();
        return EXIT_SUCCESS;
    }
    if (argc < 2 || parse_args(argc, argv) < 0)
        return usage();
    kind = find_kind(argv[1]);
    if (kind == NULL) {
        (void)fprintf(stderr, "workload: no kind '%s'\n", argv[1]);
        return 2;
    }
    (void)mkdir(arguments.dir, 0700);
    r = run(kind);
    workers_end();
    return r;
}
