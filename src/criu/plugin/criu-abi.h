/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRIU's plugin interface, declared by ourselves with its published numbers (version 0.2.0). A
 * plugin that names more hooks than the CRIU which loads it knows is refused, so only those that
 * every release from 4.0 on has are named here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

enum {
    CRIU_HOOK_DUMP_EXT_FILE = 2,
    CRIU_HOOK_HANDLE_DEVICE_VMA = 7,
    CRIU_HOOK_RESUME_DEVICES_LATE = 9,
    CRIU_HOOK_CHECKPOINT_DEVICES = 11,
    CRIU_HOOKS = 12,

    CRIU_STAGE_DUMP = 0,
    CRIU_STAGE_PRE_DUMP = 1,
    CRIU_STAGE_RESTORE = 2,

    CRIU_PLUGIN_VERSION = 0 << 16 | 2 << 8 | 0,

    CRIU_LOG_ERROR = 1,
    CRIU_LOG_INFO = 3,
};

struct criu_plugin {
    const char *name;
    int (*init)(int stage);
    void (*exit)(int stage, int result);
    unsigned version;
    unsigned max_hooks;
    void *hooks[CRIU_HOOKS];
};
