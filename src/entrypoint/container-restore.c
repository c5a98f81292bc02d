/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What restore-entrypoint starts to restore a snapshot into its container: `snapshotctl restore
 * --here`, in a program of its own that links to little, because it goes into other people's images
 * with all its libraries (tools/make-bundle).
 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/catalogue.h"
#include "basic/cleanup.h"
#include "basic/installation.h"
#include "basic/interrupt.h"
#include "basic/text.h"
#include "container/own.h"
#include "restore/into-container.h"

enum { STATUS_FAILED = 1, STATUS_USAGE = 2, LEVEL_DEFAULT = 2, TIMEOUT_DEFAULT = 600 };

static const char usage[] =
    "usage: container-restore --root DIR --snapshot ID [--marker FILE] [--logs DIR]\n"
    "                         [--criu-log FILE] [--criu-log-level 0..4] [--timeout SECONDS]\n"
    "       container-restore --explain CODE\n"
    "Restores a snapshot into the container that it runs in; restore-entrypoint starts it. What "
    "the\n"
    "options mean is said at `restore --here` in snapshotctl(1).\n";

struct wishes {
    struct container_restore_request request;
    const char *code; /* to explain; NULL: none */
};

static int number_of(const char *text, int maximum, int *ret_number)
{
    int number, r = text_to_int(text, &number);

    if (r < 0 || number < 0 || number > maximum)
        return -1;
    *ret_number = number;
    return 0;
}

static int take(struct wishes *wishes, int option, const char *value)
{
    struct container_restore_request *request = &wishes->request;
    const char **const texts[] = {
        ['r'] = &request->root, ['s'] = &request->reference, ['m'] = &request->marker,
        ['d'] = &request->logs, ['f'] = &request->criu_log,  ['e'] = &wishes->code};
    int number = 0, r = 0;

    switch (option) {
    case 'l':
        return number_of(value, 4, &request->log_level);
    case 't':
        r = number_of(value, 1000000, &number);
        request->timeout_seconds = (unsigned)number;
        return r;
    case 'r':
    case 's':
    case 'm':
    case 'd':
    case 'f':
    case 'e':
        *texts[option] = value;
        return 0;
    default:
        return -1;
    }
}

static int parse(int argc, char **argv, struct wishes *wishes)
{
    static const struct option options[] = {{"root", required_argument, NULL, 'r'},
                                            {"snapshot", required_argument, NULL, 's'},
                                            {"marker", required_argument, NULL, 'm'},
                                            {"logs", required_argument, NULL, 'd'},
                                            {"criu-log", required_argument, NULL, 'f'},
                                            {"criu-log-level", required_argument, NULL, 'l'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"explain", required_argument, NULL, 'e'},
                                            {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (take(wishes, option, optarg) < 0)
            return -1;
    }
    if (wishes->request.marker && wishes->request.marker[0] != '/')
        return -1;
    return optind == argc && (wishes->code || (wishes->request.root && wishes->request.reference))
               ? 0
               : -1;
}

static void print_entry(FILE *stream, const struct catalogue_entry *entry)
{
    (void)fprintf(stream, "  why:  %s\n  do:   %s\n  code: %s\n", entry->why, entry->cure,
                  entry->code);
}

static int explain(const char *code)
{
    const struct catalogue_entry *entry = catalogue_find(code);

    if (!entry) {
        (void)fprintf(stderr, "container-restore: there is no code %s\n", code);
        return STATUS_FAILED;
    }
    (void)printf("%s\n", entry->title);
    print_entry(stdout, entry);
    return 0;
}

/* For people on standard error, for restore-entrypoint on standard output. */
static int report(const struct error *error)
{
    const char *code = error->code ? error->code : "system";
    const struct catalogue_entry *entry = catalogue_find(code);
    json_t *object = json_pack("{s:{ss}}", "error", "code", code);
    CLEANUP(free_ptr) char *text = json_dumps(object, JSON_COMPACT);

    json_decref(object);
    (void)fprintf(stderr, "container-restore: %s\n", error->message ? error->message : "failed");
    if (entry)
        print_entry(stderr, entry);
    (void)printf("%s\n", text ? text : "{}");
    return STATUS_FAILED;
}

static int restore(const struct container_restore_request *request)
{
    struct container_restore_result result = {0};
    struct error error = ERROR_INIT;
    int r = own_container_prepare(installation_run_directory(), &error), status = 0;

    interrupt_catch();
    if (r == 0)
        r = container_restore_run(request, &result, &error);
    if (r < 0) {
        status = report(&error);
    } else {
        (void)fprintf(stderr, "container-restore: %s restored in %.2f s\n", result.reference,
                      result.seconds);
        container_restore_result_done(&result);
    }
    error_done(&error);
    return status;
}

int main(int argc, char **argv)
{
    struct wishes wishes = {.request = {.target = OWN_CONTAINER_FIRST,
                                        .own = true,
                                        .log_level = LEVEL_DEFAULT,
                                        .timeout_seconds = TIMEOUT_DEFAULT}};

    if (parse(argc, argv, &wishes) < 0) {
        (void)fputs(usage, stderr);
        return STATUS_USAGE;
    }
    return wishes.code ? explain(wishes.code) : restore(&wishes.request);
}
