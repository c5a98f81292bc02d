/* SPDX-License-Identifier: Apache-2.0 */
#include "basic/json-shape.h"

#include <stdbool.h>

enum json_shape json_shape(const char *data, size_t length, size_t depth_maximum,
                           size_t values_maximum)
{
    size_t depth = 0, values = 0;
    bool quoted = false;

    for (size_t i = 0; i < length; i++) {
        char c = data[i];

        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            depth++, values++;
        else if (!quoted && (c == '}' || c == ']') && depth > 0)
            depth--;
        else if (!quoted && c == ',')
            values++;
        if (depth > depth_maximum)
            return JSON_SHAPE_DEEP;
        if (values > values_maximum)
            return JSON_SHAPE_LARGE;
    }
    return JSON_SHAPE_SOUND;
}
