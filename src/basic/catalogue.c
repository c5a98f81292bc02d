/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/catalogue.h"

#include <string.h>

#define CODE(code, title, why, cure) {code, title, why, cure},

static const struct catalogue_entry entries[] = {
#include "basic/catalogue-agent.def"
#include "basic/catalogue-command.def"
#include "basic/catalogue-container.def"
#include "basic/catalogue-criu.def"
#include "basic/catalogue-cuda.def"
#include "basic/catalogue-image.def"
#include "basic/catalogue-kube.def"
#include "basic/catalogue-machine.def"
#include "basic/catalogue-network.def"
#include "basic/catalogue-rootfs.def"
#include "basic/catalogue-runtime.def"
#include "basic/catalogue-workload.def"
};

#undef CODE

const struct catalogue_entry *catalogue_find(const char *code)
{
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        if (strcmp(entries[i].code, code) == 0)
            return &entries[i];
    }
    return NULL;
}

const struct catalogue_entry *catalogue_entries(size_t *ret_count)
{
    *ret_count = sizeof entries / sizeof entries[0];
    return entries;
}
