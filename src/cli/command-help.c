/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/help.h"
#include "cli/invocation.h"
#include "cli/suggest.h"

int command_help(const struct invocation *invocation, struct error *error)
{
    const char *name = operand_at(invocation, 0);
    const struct command *command = name ? command_find(name) : NULL;
    struct suggestion suggestion = {.typed = name};

    if (!name) {
        help_overview(stdout);
        return 0;
    }
    if (command) {
        help_command(stdout, command);
        return 0;
    }
    for (const struct command *c = commands; c->name; c++) {
        if (!c->hidden)
            suggestion_offer(&suggestion, c->name, strlen(c->name));
    }
    return error_set(error, "usage", 0, "Unknown command '%s'%s%s%s", name,
                     suggestion.best ? "; did you mean '" : "",
                     suggestion.best ? suggestion.best : "", suggestion.best ? "'?" : "");
}
