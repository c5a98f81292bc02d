/* SPDX-License-Identifier: Apache-2.0 */
/* Prints what preflight finds in the tree below a process, one finding a line, for
 * tests/root/preflight.py: level, code, pid, what, details, separated by tabs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/catalogue.h"
#include "basic/text.h"
#include "capture/preflight.h"
#include "proc/namespaces.h"

static pid_t no_cuda_pids[1];

static int parse_option(const char *option, struct preflight_request *request)
{
    if (text_equal(option, "leave-running"))
        request->leave_running = true;
    else if (text_equal(option, "tcp-refuse"))
        request->tcp = TCP_REFUSE;
    else if (text_equal(option, "tcp-close"))
        request->tcp = TCP_CLOSE;
    else if (text_equal(option, "skip-in-flight"))
        request->skip_in_flight = true;
    else if (text_equal(option, "private-shm"))
        request->private_shm = true;
    else if (text_equal(option, "entered"))
        request->entered = 1U << NAMESPACE_PID | 1U << NAMESPACE_MOUNT | 1U << NAMESPACE_NETWORK;
    else if (text_equal(option, "mig"))
        request->mig = true;
    else if (text_equal(option, "mps"))
        request->mps = true;
    else if (text_equal(option, "no-cuda"))
        request->cuda_known = true;
    else if (text_starts_with(option, "store="))
        request->store = option + strlen("store=");
    else if (text_equal(option, "staged"))
        request->device_memory_staged = true;
    else if (text_starts_with(option, "device-memory="))
        return text_to_uint64(option + strlen("device-memory="), &request->device_memory);
    else if (text_starts_with(option, "ghost-limit="))
        return text_to_uint64(option + strlen("ghost-limit="), &request->ghost_limit);
    else
        return -1;
    return 0;
}

static int print_report(const struct preflight_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        const struct preflight_finding *finding = &report->findings[i];

        if (!catalogue_find(finding->code)) {
            (void)fprintf(stderr, "no catalogue row for %s\n", finding->code);
            return 2;
        }
        (void)printf("%s\t%s\t%d\t%s\t%s\n", preflight_level_name(finding->level), finding->code,
                     (int)finding->pid, finding->what, finding->details ? finding->details : "");
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct preflight_request request = {.cuda_pids = no_cuda_pids};
    struct preflight_report report = PREFLIGHT_REPORT_INIT;
    struct error error = ERROR_INIT;
    int pid = 0, status = 0;

    if (argc < 2 || text_to_int(argv[1], &pid) < 0)
        return 2;
    request.root = pid;
    for (int i = 2; i < argc; i++) {
        if (parse_option(argv[i], &request) < 0)
            return 2;
    }
    if (preflight_run(&request, &report, &error) < 0) {
        (void)fprintf(stderr, "%s: %s\n", error.code, error.message);
        status = 1;
    } else {
        status = print_report(&report);
        if (preflight_report_error(&report, &error) < 0)
            (void)printf("error\t%s\t0\t%s\t\n", error.code, error.message);
    }
    error_done(&error);
    preflight_report_done(&report);
    return status;
}
