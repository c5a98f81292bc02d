/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/text.h"

#define FAULT(name) name,

static const char *const names[] = {
#include "basic/fault-points.def"
    NULL,
};

#undef FAULT

const char *const *fault_names(void)
{
    return names;
}

#if STASIS_FAULT_INJECTION
int fault_point(const char *name, struct error *error)
{
    const char *wanted = getenv("STASIS_FAULT");
    size_t length = strlen(name);

    if (!wanted || strncmp(wanted, name, length) != 0)
        return 0;
    if (text_equal(wanted + length, ":kill"))
        (void)kill(getpid(), SIGKILL);
    if (text_equal(wanted + length, ":stop"))
        (void)raise(SIGSTOP);
    while (text_equal(wanted + length, ":hang"))
        (void)pause();
    if (wanted[length])
        return 0;
    return error_set(error, "injected", EIO, "fault point %s", name);
}
#else
int fault_point(const char *name, struct error *error)
{
    (void)name;
    (void)error;
    return 0;
}
#endif
