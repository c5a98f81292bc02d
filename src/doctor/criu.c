/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/error.h"
#include "criu/find.h"
#include "doctor/machine.h"

void examine_criu(struct findings *findings)
{
    struct criu_installation found = {0};
    struct error error = ERROR_INIT;

    if (criu_find(&found, &error) < 0) {
        findings_add(findings, error.code, FINDING_FAILURE, "%s", error.message);
        error_done(&error);
        return;
    }
    findings_add(findings, "criu-works", FINDING_OK,
                 "CRIU %u.%u.%u saves a process on this kernel: %s%s", found.version / 10000,
                 found.version / 100 % 100, found.version % 100, found.path,
                 found.private_copy ? " (private copy)" : "");
    criu_installation_done(&found);
}
