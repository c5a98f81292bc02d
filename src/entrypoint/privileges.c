/* SPDX-License-Identifier: Apache-2.0 */
#include "entrypoint/privileges.h"

#include <linux/capability.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "basic/text.h"

struct needed {
    int number;
    const char *name;
};

static const struct needed all_needed[] = {
    {CAP_SYS_ADMIN, "SYS_ADMIN"},   {CAP_SYS_PTRACE, "SYS_PTRACE"},
    {CAP_SYS_CHROOT, "SYS_CHROOT"}, {CAP_SYS_TIME, "SYS_TIME"},
    {CAP_SETPCAP, "SETPCAP"},       {CAP_SETUID, "SETUID"},
    {CAP_SETGID, "SETGID"},         {CAP_NET_ADMIN, "NET_ADMIN"},
    {CAP_CHOWN, "CHOWN"},           {CAP_DAC_OVERRIDE, "DAC_OVERRIDE"},
};

enum { TEXT_MAXIMUM = 512 };

char *privileges_missing(const char *status)
{
    static const char field[] = "\nCapEff:";
    struct buffer missing = BUFFER_INIT(TEXT_MAXIMUM);
    const char *at = strstr(status, field);
    uint64_t own = at ? strtoull(at + strlen(field), NULL, 16) : 0;

    for (size_t i = 0; i < sizeof all_needed / sizeof all_needed[0]; i++) {
        if (!(own >> all_needed[i].number & 1))
            (void)buffer_printf(&missing, "%s%s", missing.length ? " " : "", all_needed[i].name);
    }
    return missing.data ? missing.data : text_copy("");
}
