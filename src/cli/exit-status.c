/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/exit-status.h"

#include <errno.h>

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
    {"not-root", STATUS_UNABLE},
    {"installation-broken", STATUS_UNABLE},
    {"criu-missing", STATUS_UNABLE},
    {"criu-unusable", STATUS_UNABLE},
    {"criu-too-old", STATUS_UNABLE},
    {"namespace-setup", STATUS_UNABLE},
    {"cuda-driver-missing", STATUS_UNABLE},
    {"cuda-driver-broken", STATUS_UNABLE},
    {"cuda-driver-too-old", STATUS_UNABLE},
    {"snapshot-version", STATUS_REFUSED},
    {"other-architecture", STATUS_REFUSED},
    {"cpu-lacks-feature", STATUS_REFUSED},
    {"pid-taken", STATUS_REFUSED},
    {"address-taken", STATUS_REFUSED},
    {"address-missing", STATUS_REFUSED},
    {"file-changed", STATUS_REFUSED},
    {"file-missing", STATUS_REFUSED},
    {"cuda-gpu-missing", STATUS_REFUSED},
    {"cuda-gpu-ambiguous", STATUS_REFUSED},
    {"cuda-gpu-busy", STATUS_REFUSED},
    {"cuda-mig", STATUS_REFUSED},
    {"cuda-device-map", STATUS_REFUSED},
};

int exit_status_of(const struct error *error, int result)
{
    for (size_t i = 0; error->code && i < sizeof meanings / sizeof meanings[0]; i++) {
        if (text_equal(error->code, meanings[i].code))
            return meanings[i].status;
    }
    return result == -EOPNOTSUPP ? STATUS_REFUSED : STATUS_FAILED;
}
