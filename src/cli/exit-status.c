/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/exit-status.h"

#include "basic/text.h"

struct meaning {
    const char *code;
    int status;
};

static const struct meaning meanings[] = {
    {"usage", STATUS_USAGE},
    {"snapshot-id", STATUS_USAGE},
    {"snapshot-damaged", STATUS_DAMAGED},
    {"snapshot-manifest", STATUS_DAMAGED},
    {"criu-missing", STATUS_UNABLE},
    {"criu-unusable", STATUS_UNABLE},
    {"criu-too-old", STATUS_UNABLE},
    {"not-root", STATUS_UNABLE},
    {"installation-broken", STATUS_UNABLE},
    {"preflight", STATUS_REFUSED},
    {"preflight-refused", STATUS_REFUSED},
    {"incompatible", STATUS_REFUSED},
    {"snapshot-version", STATUS_REFUSED},
    {"cpu-lacks-feature", STATUS_REFUSED},
};

int exit_status_of(const struct error *error)
{
    for (size_t i = 0; error->code && i < sizeof meanings / sizeof meanings[0]; i++) {
        if (text_equal(error->code, meanings[i].code))
            return meanings[i].status;
    }
    return STATUS_FAILED;
}
