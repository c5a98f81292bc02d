/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/container-choice.h"

#include <string.h>

#include "basic/cleanup.h"
#include "container/runtime.h"
#include "image/layout.h"

/* Not every command has both. */
static bool is_given(const struct invocation *invocation, const char *name)
{
    return option_find(invocation->command->options, name, strlen(name)) &&
           option_given(invocation, name);
}

bool container_is_chosen(const struct invocation *invocation)
{
    return is_given(invocation, "container") || is_given(invocation, "container-pid") ||
           is_given(invocation, "here");
}

int container_choice_find(const struct invocation *invocation, struct container_choice *ret_choice,
                          struct error *error)
{
    const char *name = option_text(invocation, "container");
    struct container container = CONTAINER_INIT;
    int r;

    if (!name) {
        *ret_choice =
            (struct container_choice){.pid = (pid_t)option_number(invocation, "container-pid")};
        return 0;
    }
    r = container_find(option_text(invocation, "runtime"), option_text(invocation, "runtime-state"),
                       name, &container, error);
    if (r == 0)
        *ret_choice =
            (struct container_choice){.pid = container.pid, .facts = container_facts(&container)};
    container_done(&container);
    return r;
}

const char *container_choice_id(const struct container_choice *choice)
{
    const char *name = json_string_value(json_object_get(choice->facts, "name"));

    if (!name || snapshot_id_check(name, NULL) < 0)
        name = json_string_value(json_object_get(choice->facts, "id"));
    return name && snapshot_id_check(name, NULL) == 0 ? name : NULL;
}

void container_choice_done(struct container_choice *choice)
{
    json_decref(choice->facts);
    *choice = (struct container_choice){0};
}
