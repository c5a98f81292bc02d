/* SPDX-License-Identifier: Apache-2.0 */
/* What a JSON text would make its reader allocate, known before it is read. */
#pragma once

#include <stddef.h>

enum json_shape {
    JSON_SHAPE_SOUND,
    JSON_SHAPE_DEEP,  /* objects and arrays are nested too deeply */
    JSON_SHAPE_LARGE, /* there are too many values */
};

/* Which bound the text crosses first. It need not be JSON at all. */
enum json_shape json_shape(const char *data, size_t length, size_t depth_maximum,
                           size_t values_maximum);
