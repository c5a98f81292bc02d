/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/words.h"

#include <stddef.h>

#include "basic/text.h"

bool words_is_ours(const char *key)
{
    return text_starts_with(key, "nvidia.com/");
}

bool words_is_variable(const char *name)
{
    static const char *const names[] = {
        VARIABLE_HASH,        VARIABLE_LOCATION, VARIABLE_PATH,    VARIABLE_STORAGE,
        VARIABLE_SIGNAL_FILE, VARIABLE_MARKER,   VARIABLE_CONTROL, VARIABLE_CONTROL_OLD,
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (text_equal(name, names[i]))
            return true;
    }
    return false;
}
