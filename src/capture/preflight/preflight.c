/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/preflight.h"

#include "basic/cleanup.h"
#include "basic/text.h"
#include "capture/preflight/inspection.h"

static void (*const checks[])(struct inspection *inspection) = {
    check_machine, check_processes, check_threads, check_namespaces,   check_descriptors,
    check_devices, check_mappings,  check_files,   check_unix_sockets, check_connections,
    check_silent,  check_outside,   check_gpus,    check_space,
};

static void run_checks(struct inspection *inspection)
{
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        checks[i](inspection);
}

int preflight_run(const struct preflight_request *request, struct preflight_report *ret,
                  struct error *error)
{
    struct inspection inspection;
    int r = inspection_read(request, &inspection, error);

    if (r == 0) {
        if (inspection.tree.processes[0].kernel_thread)
            finding_add(&inspection, "kernel-thread", PREFLIGHT_REFUSE,
                        &inspection.tree.processes[0], NULL, "it is a thread of the kernel");
        else
            run_checks(&inspection);
        *ret = inspection.report;
        inspection.report = PREFLIGHT_REPORT_INIT;
    }
    inspection_done(&inspection);
    return r;
}
