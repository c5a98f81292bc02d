/* SPDX-License-Identifier: Apache-2.0 */
#include "worlds.h"

#include <inttypes.h>
#include <stdio.h>

#include "basic/text.h"

int worlds_main(int count, char **arguments, void (*run)(uint64_t seed))
{
    uint64_t first = 0, seeds = 0;

    if (count != 3 || text_to_uint64(arguments[1], &first) < 0 ||
        text_to_uint64(arguments[2], &seeds) < 0)
        return 2;
    for (uint64_t i = 0; i < seeds; i++)
        run(first + i);
    (void)printf("%" PRIu64 " worlds\n", seeds);
    return 0;
}
