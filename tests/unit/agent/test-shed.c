/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "agent/shed.h"

/* KiB of files that this process has in memory. */
static long file_memory(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    long kib = -1;

    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "RssFile:", 8) == 0)
            kib = strtol(line + 8, NULL, 10);
    }
    (void)fclose(file);
    return kib;
}

static void test_shed(void **state)
{
    long before = file_memory();
    json_t *json;

    (void)state;
    assert_true(before > 0);
    shed_memory();
    assert_true(file_memory() < before);
    json = json_pack("{si}", "answer", 42); /* what was given back comes again */
    assert_int_equal(json_integer_value(json_object_get(json, "answer")), 42);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
