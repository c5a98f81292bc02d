/* SPDX-License-Identifier: Apache-2.0 */
/* Orders: what goes over the channel comes out the same, and what is not as it should be does not
 * come out at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/order.h"

#define GOOD                                                                                  \
    "\"kind\": \"capture\", \"key\": \"u-1.main.capture.1\", \"namespace\": \"ns\", \"pod\":" \
    " \"p\", \"container\": \"main\", \"id\": \"abc\""

static int read_text(const char *text, struct order *order, struct error *error)
{
    json_t *json = json_loads(text, 0, NULL);
    int r;

    assert_non_null(json);
    r = order_from_json(json, order, error);
    json_decref(json);
    return r;
}

static void test_round_trip(void **state)
{
    struct order order = {0}, again = {0};
    json_t *json;

    (void)state;
    assert_int_equal(
        read_text("{" GOOD ", \"control\": \"/snapshot-control\", \"last\": true}", &order, NULL),
        0);
    json = order_to_json(&order);
    assert_int_equal(order_from_json(json, &again, NULL), 0);
    assert_int_equal(again.kind, ORDER_CAPTURE);
    assert_string_equal(again.control, "/snapshot-control");
    assert_true(again.last);
    assert_false(again.kill);
    json_decref(json);
    order_done(&order);
    order_done(&again);
}

static void test_refused(void **state)
{
    static const char *const texts[] = {
        "{}",
        "{\"kind\": \"dance\"}",
        "{\"kind\": \"capture\", \"key\": \"a\"}",
        "{" GOOD ", \"control\": \"relative\"}",
        "{" GOOD ", \"control\": \"/a/../../etc\"}",
        "{" GOOD ", \"signal_file\": \"/a//b\"}",
        "{" GOOD ", \"marker\": \"/\"}",
        "{" GOOD ", \"uid\": \"../../x\"}",
        "{" GOOD ", \"uid\": 7}",
        "{" GOOD ", \"version\": \"a b\"}",
        "{\"kind\": \"restore\", \"key\": \"a/b\", \"container_id\": \"c\", \"id\": \"x\"}",
        "{\"kind\": \"restore\", \"key\": \"a\", \"container_id\": \"c\", \"id\": \"../x\"}",
        "{\"kind\": \"restore\", \"key\": \"a\", \"container_id\": \"-c\", \"id\": \"x\"}",
        "{\"kind\": \"restore\", \"key\": \"a\", \"container_id\": \"c\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct order order = {0};
        struct error error = ERROR_INIT;

        if (read_text(texts[i], &order, &error) == 0)
            fail_msg("taken: %s", texts[i]);
        assert_true(error_is(&error, "agent-order"));
        error_done(&error);
    }
    assert_true(order_from_json(NULL, &(struct order){0}, NULL) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
