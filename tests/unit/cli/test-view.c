/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/manifest-view.h"

static char seen[4096];

static void show(const json_t *process, size_t depth, void *context)
{
    size_t used = strlen(seen);

    (void)context;
    (void)snprintf(seen + used, sizeof seen - used, "%zu:%d ", depth,
                   (int)view_number(process, "pid"));
}

static void check_tree(const char *text, const char *expected)
{
    json_t *list = json_loads(text, 0, NULL);

    assert_non_null(list);
    seen[0] = 0;
    (void)view_process_tree(list, show, NULL);
    assert_string_equal(seen, expected);
    json_decref(list);
}

static void process_trees(void **state)
{
    (void)state;
    check_tree("[]", "");
    check_tree("[{\"pid\":3,\"ppid\":2},{\"pid\":2,\"ppid\":1},{\"pid\":4,\"ppid\":2}]",
               "0:2 1:3 1:4 ");
    check_tree("[{\"pid\":1,\"ppid\":2},{\"pid\":2,\"ppid\":1}]", "0:1 1:2 ");
    check_tree("[{\"pid\":1,\"ppid\":1}]", "0:1 ");
    check_tree("[{\"pid\":1,\"ppid\":0},{\"pid\":1,\"ppid\":0}]", "0:1 0:1 ");
    check_tree("[1,null,{\"pid\":\"x\"},{}]", "0:0 0:0 0:0 0:0 ");
    assert_int_equal(view_process_tree(NULL, show, NULL), 0);
}

static void fields(void **state)
{
    json_t *object =
        json_loads("{\"a\":{\"b\":\"text\",\"n\":-4,\"f\":1.5},\"list\":[\"x\",2,\"y z\"],"
                   "\"criu\":{\"version\":40201}}",
                   0, NULL);
    char *text;

    (void)state;
    assert_string_equal(view_text(object, "a.b", "-"), "text");
    assert_string_equal(view_text(object, "a.c", "-"), "-");
    assert_string_equal(view_text(object, "a.b.c", "-"), "-");
    assert_string_equal(view_text(NULL, "a", "-"), "-");
    assert_int_equal(view_number(object, "a.n"), 0);
    assert_true(view_real(object, "a.f") > 1.4);
    assert_null(view_array(object, "a"));
    text = view_command(view_value(object, "list"));
    assert_string_equal(text, "x ? y z");
    free(text);
    text = view_criu_version(object);
    assert_string_equal(text, "4.2.1");
    free(text);
    json_decref(object);
}

static void phases(void **state)
{
    json_t *object = json_loads("{\"phases\":[{\"name\":\"a\",\"seconds\":1},{\"seconds\":2},"
                                "{\"name\":\"c\",\"seconds\":-5},7,{\"name\":\"d\",\"start\":0.5,"
                                "\"seconds\":9}]}",
                                0, NULL);
    size_t count;
    double total;
    struct view_phase *list = view_phases(object, &count, &total);

    (void)state;
    assert_int_equal(count, 5);
    assert_int_equal((int)list[1].start, 1);
    assert_string_equal(list[1].name, "?");
    assert_int_equal((int)list[2].seconds, 0);
    assert_int_equal((int)(total * 10), 95);
    free(list);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(process_trees),
        cmocka_unit_test(fields),
        cmocka_unit_test(phases),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
