/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/machine.h"

#include <unistd.h>

#include "basic/clock.h"

void machine_examine(const struct machine_request *request, struct findings *findings,
                     struct machine_speed *ret_speed)
{
    bool privileged = geteuid() == 0;
    uint64_t start;

    *ret_speed = (struct machine_speed){0};
    if (!privileged)
        findings_add(findings, "not-root", FINDING_FAILURE,
                     "This is not root: rights, CRIU and some of the kernel were not tried");
    examine_kernel(findings, privileged);
    if (privileged) {
        examine_rights(findings);
        examine_criu(findings);
    }
    examine_memory(findings);
    examine_storage(request->root, findings);
    if (request->measure_speed) {
        start = clock_now_usec();
        reporter_phase_begin(request->reporter, "measure disk speed");
        examine_speed(request->root, findings, ret_speed);
        reporter_phase_end(request->reporter, clock_seconds_since(start));
    }
    examine_gpus(findings);
}
