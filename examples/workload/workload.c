/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that can be saved once it is warm, and goes on where it is restored. It needs no
 * library: the environment tells which way the pod was made for (docs/workload-contract.md).
 *
 *     cc -static -o workload workload.c
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static const struct timespec poll_interval = {.tv_nsec = 200000000L};

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

/* Complete or absent: a probe may read it at any moment. */
static void write_file(const char *path, const char *text)
{
    char sibling[PATH_MAX];
    FILE *file;

    (void)snprintf(sibling, sizeof sibling, "%s.tmp", path);
    file = fopen(sibling, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0 || rename(sibling, path) < 0) {
        (void)fprintf(stderr, "can't write %s: %s\n", path, strerror(errno));
        exit(1);
    }
}

/* Whoever sees the first one is a restored copy; the second one tells the original to end. The
 * order of the two questions matters: a copy may see both. */
static bool wait_for_files(const char *restored, const char *saved)
{
    for (;;) {
        if (access(restored, F_OK) == 0)
            return true;
        if (access(saved, F_OK) == 0)
            return false;
        (void)nanosleep(&poll_interval, NULL);
    }
}

/* JSON of the agent, put there by a rename; a program with a parser for it would use that. */
static bool says_success(const char *path)
{
    char text[4096] = "";
    FILE *file = fopen(path, "re");
    bool success =
        file && fread(text, 1, sizeof text - 1, file) > 0 && strstr(text, "\"success\": true");

    if (file)
        (void)fclose(file);
    if (!success)
        (void)printf("not saved: %s\n", text);
    return success;
}

/* A job of ChReK: a file outside of the container tells when it is saved. */
static bool by_signal_file(const char *saved)
{
    const char *restored = variable("DYN_RESTORE_MARKER_FILE");
    const char *ready = variable("DYN_CHECKPOINT_READY_FILE");

    if (!restored)
        restored = "/tmp/dynamo-restored";
    (void)unlink(restored); /* of an earlier container */
    if (ready)
        write_file(ready, "ready");
    (void)printf("CHECKPOINT_READY: waiting for %s or %s\n", saved, restored);
    if (wait_for_files(restored, saved))
        return true;
    if (!says_success(saved))
        exit(1);
    return false;
}

/* Dynamo Snapshot: both files are in a volume that only this container and the agent have. */
static bool by_control_directory(const char *directory)
{
    static const char *const ready[] = {"ready-for-snapshot", "ready-for-checkpoint"};
    char restored[PATH_MAX], saved[PATH_MAX], path[PATH_MAX];

    (void)snprintf(restored, sizeof restored, "%s/restore-complete", directory);
    (void)snprintf(saved, sizeof saved, "%s/snapshot-complete", directory);
    (void)unlink(restored);
    (void)unlink(saved);
    for (size_t i = 0; i < sizeof ready / sizeof ready[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", directory, ready[i]);
        write_file(path, "done\n");
    }
    (void)printf("ready: waiting for files in %s\n", directory);
    return wait_for_files(restored, saved);
}

/* The agent speaks to process 1 by signals: the program must be that process. */
static bool by_signals(const char *ready)
{
    sigset_t both;
    int number = 0;

    (void)sigemptyset(&both);
    (void)sigaddset(&both, SIGUSR1);
    (void)sigaddset(&both, SIGCONT);
    (void)sigprocmask(SIG_BLOCK, &both, NULL);
    write_file(ready, "ready");
    (void)printf("ready: waiting for SIGUSR1 or SIGCONT\n");
    while (sigwait(&both, &number) != 0) {
    }
    (void)sigprocmask(SIG_UNBLOCK, &both, NULL);
    return number == SIGCONT;
}

/* Call it when everything that takes long is done. Returns in a restored copy, and at once where no
 * snapshot is wanted; the original does not return. */
static void stand_still(void)
{
    const char *signal_file = variable("DYN_CHECKPOINT_SIGNAL_FILE");
    const char *ready = variable("DYN_READY_FOR_CHECKPOINT_FILE");
    const char *control = variable("SNAPSHOT_CONTROL_DIR");
    bool restored;

    if (!control)
        control = variable("DYN_SNAPSHOT_CONTROL_DIR");
    if (signal_file)
        restored = by_signal_file(signal_file);
    else if (control)
        restored = by_control_directory(control);
    else if (ready)
        restored = by_signals(ready);
    else
        return;
    if (!restored) {
        (void)printf("saved; the job is done\n");
        exit(0);
    }
}

/* Memory holds the environment of the original; this is that of the container around us now. */
static void print_new_name(void)
{
    char text[65536];
    FILE *file = fopen("/dev/stasis/environment", "r");
    size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;

    text[length] = 0;
    if (file)
        (void)fclose(file);
    for (const char *entry = text; entry < text + length; entry += strlen(entry) + 1) {
        if (strncmp(entry, "COPY=", 5) == 0)
            (void)printf(" as %s", entry + 5);
    }
}

int main(void)
{
    unsigned long long model = 0; /* stands for what takes minutes to load */
    sigset_t end;
    int number;

    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)sigemptyset(&end);
    (void)sigaddset(&end, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &end, NULL);
    if (getrandom(&model, sizeof model, 0) != (ssize_t)sizeof model)
        return 1;
    (void)printf("loaded %016llx\n", model);
    stand_still();
    (void)printf("running %016llx", model);
    print_new_name();
    (void)printf("\n");
    while (sigwait(&end, &number) != 0) {
    }
    return 7;
}
