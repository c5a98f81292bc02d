/* SPDX-License-Identifier: Apache-2.0 */
#include "criu/plugin/host.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cuda/plugin-protocol.h"

#define HOST_FUNCTION(type, name) ((type)dlsym(RTLD_DEFAULT, name))

void criu_log(int level, const char *format, ...)
{
    void (*print)(unsigned level, const char *format, ...) =
        HOST_FUNCTION(void (*)(unsigned, const char *, ...), "print_on_level");
    char line[1024];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (print)
        print((unsigned)level, "%sstasis: %s\n", level == 1 ? "Error: " : "", line);
}

void inventory_add(void)
{
    int (*add)(const char *name) = HOST_FUNCTION(int (*)(const char *), "add_inventory_plugin");

    if (add)
        (void)add(PLUGIN_INVENTORY_NAME);
}

bool inventory_claim(void)
{
    bool (*claim)(const char *name, size_t length) =
        HOST_FUNCTION(bool (*)(const char *, size_t), "check_and_remove_inventory_plugin");

    return !claim || claim(PLUGIN_INVENTORY_NAME, strlen(PLUGIN_INVENTORY_NAME));
}

void freezer_avoid(void)
{
    void (*set)(void) = HOST_FUNCTION(void (*)(void), "set_compel_interrupt_only_mode");

    if (set)
        set();
}
