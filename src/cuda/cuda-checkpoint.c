/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda-checkpoint: suspends and resumes the CUDA state of processes. The same words, output and
 * exit status as NVIDIA's utility of that name, and several processes in one call.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/catalogue.h"
#include "basic/cleanup.h"
#include "basic/text.h"
#include "cuda/action.h"
#include "cuda/state.h"

enum { PIDS_MAX = 4096 };

enum operation {
    OPERATION_NONE,
    OPERATION_GET_STATE,
    OPERATION_GET_RESTORE_TID,
    OPERATION_LOCK,
    OPERATION_CHECKPOINT,
    OPERATION_RESTORE,
    OPERATION_UNLOCK,
    OPERATION_TOGGLE,
    OPERATION_LAUNCH_JOB,
    OPERATION_HELP,
};

struct invocation {
    enum operation operation;
    pid_t pids[PIDS_MAX];
    size_t count;
    unsigned timeout_msec;
    struct cuda_device_map map;
};

static volatile sig_atomic_t interrupted;

static const char help_text[] =
    "Suspends and resumes the CUDA state of running processes.\n"
    "Version " STASIS_VERSION " (Stasis).\n"
    "\n"
    "Operations:\n"
    "--get-state --pid <pid>\n"
    "        Print the state: running, locked, checkpointed or failed\n"
    "\n"
    "--action lock | checkpoint | restore | unlock --pid <pid> [--timeout <ms>]\n"
    "        [--device-map <old>=<new>,...]\n"
    "        Take one step. lock waits until submitted work is done, at most <ms> milliseconds;\n"
    "        restore can move the process to other GPUs\n"
    "\n"
    "--toggle --pid <pid> [--timeout <ms>] [--device-map <old>=<new>,...]\n"
    "        Go from running to checkpointed, or from checkpointed to running\n"
    "\n"
    "--get-restore-tid --pid <pid>\n"
    "        Print the id of the thread that checkpoints and restores the process\n"
    "\n"
    "--launch-job <command> [<argument>...]\n"
    "        Start a job of processes that share GPU memory (not available)\n"
    "\n"
    "Options:\n"
    "--pid|-p <pid>[,<pid>...]\n"
    "        The process to act on; more than one is possible, in a list, by repeating the "
    "option,\n"
    "        or as plain arguments. A step that fails for one is undone for the others\n"
    "\n"
    "--timeout|-t <ms>\n"
    "        The longest time that locking one process may take; 0 is without limit\n"
    "\n"
    "--device-map <old>=<new>,...\n"
    "        UUIDs of GPUs (nvidia-smi -L): restore onto <new> what was on <old>. Every GPU that\n"
    "        the process sees has to be named\n"
    "\n"
    "--help|-h\n"
    "        Print this text\n";

static void report(struct error *error)
{
    const struct catalogue_entry *entry = error->code ? catalogue_find(error->code) : NULL;

    (void)fprintf(stderr, "%s\n", error->message ? error->message : "unknown error");
    if (entry)
        (void)fprintf(stderr, "  %s\n", entry->cure);
    error_done(error);
}

static int usage(const char *format, const char *argument)
{
    (void)fprintf(stderr, "cuda-checkpoint: ");
    /* The formats are literals of this file with at most one %s. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)fprintf(stderr, format, argument);
#pragma GCC diagnostic pop
    (void)fprintf(stderr, "\nTry 'cuda-checkpoint --help'.\n");
    return -EINVAL;
}

/* "12" or "12,13"; each once. */
static int pids_parse(struct invocation *invocation, const char *text)
{
    CLEANUP(free_ptr) char *copy = text_copy(text);
    char *rest = copy, *item;

    while ((item = strsep(&rest, ",")) != NULL) {
        bool known = false;
        int pid;

        if (text_to_int(item, &pid) < 0 || pid <= 0)
            return usage("\"%s\" is not a process id", item);
        for (size_t i = 0; i < invocation->count; i++)
            known = known || invocation->pids[i] == pid;
        if (known)
            continue;
        if (invocation->count == PIDS_MAX)
            return usage("too many process ids%s", "");
        invocation->pids[invocation->count++] = pid;
    }
    return 0;
}

static enum operation action_parse(const char *word)
{
    static const struct {
        const char *word;
        enum operation operation;
    } actions[] = {
        {"lock", OPERATION_LOCK},
        {"checkpoint", OPERATION_CHECKPOINT},
        {"restore", OPERATION_RESTORE},
        {"unlock", OPERATION_UNLOCK},
    };

    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(word, actions[i].word) == 0)
            return actions[i].operation;
    }
    return OPERATION_NONE;
}

static int operation_set(struct invocation *invocation, enum operation operation)
{
    if (invocation->operation != OPERATION_NONE && invocation->operation != operation)
        return usage("one operation at a time, please%s", "");
    invocation->operation = operation;
    return 0;
}

static int option_take(struct invocation *invocation, int option, const char *value)
{
    struct error error = ERROR_INIT;
    enum operation operation;
    uint64_t number;
    int result;

    switch (option) {
    case 's':
        return operation_set(invocation, OPERATION_GET_STATE);
    case 'r':
        return operation_set(invocation, OPERATION_GET_RESTORE_TID);
    case 'T':
        return operation_set(invocation, OPERATION_TOGGLE);
    case 'j':
        return operation_set(invocation, OPERATION_LAUNCH_JOB);
    case 'a':
        operation = action_parse(value);
        if (operation == OPERATION_NONE)
            return usage("unknown action \"%s\"; known are lock, checkpoint, restore, unlock",
                         value);
        return operation_set(invocation, operation);
    case 'p':
        return pids_parse(invocation, value);
    case 't':
        if (text_to_uint64(value, &number) < 0 || number > 0x7fffffff)
            return usage("\"%s\" is not a number of milliseconds", value);
        invocation->timeout_msec = (unsigned)number;
        return 0;
    case 'd':
        cuda_device_map_done(&invocation->map);
        result = cuda_device_map_parse(value, &invocation->map, &error);
        if (result < 0)
            report(&error);
        return result;
    default:
        return usage("wrong option%s", "");
    }
}

static int invocation_parse(struct invocation *invocation, int argc, char **argv)
{
    static const struct option options[] = {
        {"get-state", no_argument, NULL, 's'},
        {"get-restore-tid", no_argument, NULL, 'r'},
        {"action", required_argument, NULL, 'a'},
        {"toggle", no_argument, NULL, 'T'},
        {"pid", required_argument, NULL, 'p'},
        {"timeout", required_argument, NULL, 't'},
        {"device-map", required_argument, NULL, 'd'},
        {"launch-job", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option, result;

    while ((option = getopt_long(argc, argv, "p:t:h", options, NULL)) != -1) {
        if (option == 'h') {
            invocation->operation = OPERATION_HELP;
            return 0;
        }
        result = option_take(invocation, option, optarg);
        /* What follows is a command with options of its own. */
        if (result < 0 || option == 'j')
            return result;
    }
    for (; optind < argc; optind++) {
        result = pids_parse(invocation, argv[optind]);
        if (result < 0)
            return result;
    }
    if (invocation->operation == OPERATION_NONE)
        return usage("no operation was given%s", "");
    if (invocation->count == 0)
        return usage("no process was given (--pid)%s", "");
    return 0;
}

/* One process: the value alone. Several: "PID: value" each, whatever happens to the others. */
static int values_print(const struct cuda_driver *driver, const struct invocation *invocation)
{
    int first = 0;

    for (size_t i = 0; i < invocation->count; i++) {
        pid_t pid = invocation->pids[i], tid = 0;
        struct error error = ERROR_INIT;
        stasis_cu_process_state state = 0;
        int result;

        if (invocation->operation == OPERATION_GET_STATE)
            result = cuda_get_state(driver, pid, &state, &error);
        else
            result = cuda_get_restore_tid(driver, pid, &tid, &error);
        if (result < 0) {
            first = first < 0 ? first : result;
            report(&error);
            continue;
        }
        if (invocation->count > 1)
            (void)printf("%d: ", (int)pid);
        if (invocation->operation == OPERATION_GET_STATE)
            (void)printf("%s\n", cuda_state_name(state));
        else
            (void)printf("%d\n", (int)tid);
    }
    return first;
}

static int step_take(struct cuda_driver *driver, const struct invocation *invocation,
                     enum operation step, pid_t pid, struct error *error)
{
    switch (step) {
    case OPERATION_LOCK:
        return cuda_lock(driver, pid, invocation->timeout_msec, error);
    case OPERATION_CHECKPOINT:
        return cuda_checkpoint(driver, pid, error);
    case OPERATION_RESTORE:
        return cuda_restore(driver, pid, &invocation->map, error);
    default:
        return cuda_unlock(driver, pid, error);
    }
}

static enum operation step_inverse(enum operation step)
{
    switch (step) {
    case OPERATION_LOCK:
        return OPERATION_UNLOCK;
    case OPERATION_CHECKPOINT:
        return OPERATION_RESTORE;
    case OPERATION_UNLOCK:
        return OPERATION_LOCK;
    default:
        return OPERATION_CHECKPOINT;
    }
}

/* One step for all; when it fails for one, those before it are put back. */
static int step_for_all(struct cuda_driver *driver, struct invocation *invocation,
                        enum operation step)
{
    struct error error = ERROR_INIT;
    struct cuda_device_map none = CUDA_DEVICE_MAP_INIT;

    for (size_t i = 0; i < invocation->count; i++) {
        struct invocation back;
        int result = interrupted ? error_set(&error, "interrupted", EINTR, "Interrupted")
                                 : step_take(driver, invocation, step, invocation->pids[i], &error);

        if (result == 0)
            continue;
        report(&error);
        back = *invocation;
        back.map = none;
        while (i-- > 0) {
            if (step_take(driver, &back, step_inverse(step), invocation->pids[i], &error) < 0)
                report(&error);
        }
        return result;
    }
    return 0;
}

static void on_interrupt(int number)
{
    interrupted = 1;
    /* The second one ends the program at once. */
    (void)signal(number, SIG_DFL);
}

static int two_steps(struct cuda_driver *driver, struct invocation *invocation,
                     enum operation first, enum operation second)
{
    struct error error = ERROR_INIT;
    int result;

    (void)signal(SIGINT, on_interrupt);
    (void)signal(SIGTERM, on_interrupt);
    result = step_for_all(driver, invocation, first);
    if (result < 0)
        return result;
    result = step_for_all(driver, invocation, second);
    /* What could not be saved has to run on, each as far as possible. */
    for (size_t i = 0; i < invocation->count && result < 0 && first == OPERATION_LOCK; i++) {
        if (cuda_bring_back(driver, invocation->pids[i], &error) < 0)
            report(&error);
    }
    return result;
}

static int toggle(struct cuda_driver *driver, struct invocation *invocation)
{
    stasis_cu_process_state common = 0;

    for (size_t i = 0; i < invocation->count; i++) {
        struct error error = ERROR_INIT;
        stasis_cu_process_state state;
        int result = cuda_get_state(driver, invocation->pids[i], &state, &error);

        if (result == 0 && i > 0 && state != common)
            result = error_set(&error, "cuda-wrong-state", EBADFD,
                               "Could not toggle: process ID %d is %s, process ID %d is %s",
                               (int)invocation->pids[0], cuda_state_name(common),
                               (int)invocation->pids[i], cuda_state_name(state));
        if (result < 0) {
            report(&error);
            return result;
        }
        common = state;
    }
    if (common == STASIS_CU_PROCESS_STATE_RUNNING)
        return two_steps(driver, invocation, OPERATION_LOCK, OPERATION_CHECKPOINT);
    if (common == STASIS_CU_PROCESS_STATE_CHECKPOINTED)
        return two_steps(driver, invocation, OPERATION_RESTORE, OPERATION_UNLOCK);
    (void)fprintf(stderr,
                  "Could not toggle on process ID %d: it is %s; --toggle goes between running and "
                  "checkpointed\n",
                  (int)invocation->pids[0], cuda_state_name(common));
    return -EBADFD;
}

static int launch_job(const struct cuda_driver *driver)
{
    CLEANUP(free_ptr) char *description = cuda_driver_describe(driver);

    if (driver->version < 13030)
        (void)fprintf(stderr,
                      "Insufficient driver: --launch-job needs driver 610 or newer, this is %s\n",
                      description);
    else
        (void)fprintf(stderr,
                      "--launch-job: driver %s offers jobs only through an interface that is not "
                      "public; NVIDIA's own utility has it\n",
                      description);
    return -EOPNOTSUPP;
}

static int run(struct cuda_driver *driver, struct invocation *invocation)
{
    struct error error = ERROR_INIT;
    int result;

    if (invocation->operation == OPERATION_LAUNCH_JOB)
        return launch_job(driver);
    result = cuda_driver_require_checkpoint(driver, &error);
    if (result == 0 && invocation->map.count > 0)
        result = cuda_driver_require_device_map(driver, &error);
    if (result < 0) {
        report(&error);
        return result;
    }
    switch (invocation->operation) {
    case OPERATION_GET_STATE:
    case OPERATION_GET_RESTORE_TID:
        return values_print(driver, invocation);
    case OPERATION_TOGGLE:
        return toggle(driver, invocation);
    default:
        return step_for_all(driver, invocation, invocation->operation);
    }
}

int main(int argc, char **argv)
{
    static struct invocation invocation;
    struct cuda_driver driver;
    struct error error = ERROR_INIT;
    int result;

    result = invocation_parse(&invocation, argc, argv);
    if (result == 0 && invocation.operation == OPERATION_HELP) {
        (void)fputs(help_text, stdout);
        return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    /* It would hide GPUs that the processes of others use. */
    (void)unsetenv("CUDA_VISIBLE_DEVICES");
    if (result == 0) {
        result = cuda_driver_open(&driver, &error);
        if (result < 0)
            report(&error);
        else
            result = run(&driver, &invocation);
    }
    cuda_device_map_done(&invocation.map);
    if (fflush(stdout) != 0)
        result = -EIO;
    return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
