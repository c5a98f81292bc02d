/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of others before a person sees them, and messages that want too much memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cri.pb-c.h"
#include "http/grpc-memory.h"
#include "http/printable.h"

static void becomes(const char *data, const char *wanted)
{
    char *copy = printable_copy(data, strlen(data), 1000);

    assert_string_equal(copy, wanted);
    free(copy);
}

static void texts_are_cleaned(void **state)
{
    (void)state;
    becomes("", "");
    becomes("plain caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
            "plain caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    becomes("a\x1b[2J\n\x7f", "a?[2J??");
    becomes("\xc2\x9b", "??");                /* a control character of the second kind */
    becomes("\xc0\xaf\xe0\x80\xaf", "?????"); /* longer than they need to be */
    becomes("\xed\xa0\x80", "???");           /* half of a pair */
    becomes("\xf4\x90\x80\x80\xff", "?????");
    becomes("x\xe2\x82", "x??"); /* cut off */
}

static void texts_are_cut(void **state)
{
    char *copy = printable_copy("12345\xc3\xa9", 7, 6);

    (void)state;
    assert_string_equal(copy, "12345?...");
    free(copy);
}

static void decodes(const char *text, const char *wanted)
{
    char *copy = printable_percent_decode(text, 1000);

    assert_string_equal(copy, wanted);
    free(copy);
}

static void percents_are_decoded(void **state)
{
    (void)state;
    decodes("a%20b%C3%a9", "a b\xc3\xa9");
    decodes("100%", "100%");
    decodes("%2", "%2");
    decodes("%zz%1g%", "%zz%1g%");
    decodes("%00%0a%25", "??%");
}

static void memory_is_bounded(void **state)
{
    const ProtobufCMessageDescriptor *type = &runtime__v1__list_containers_response__descriptor;
    uint8_t data[2000];
    ProtobufCMessage *message;

    (void)state;
    for (size_t i = 0; i < sizeof data; i += 2)
        data[i] = 0x0a, data[i + 1] = 0; /* an empty container each */
    message = grpc_unpack(type, data, sizeof data, 1 << 20);
    assert_non_null(message);
    protobuf_c_message_free_unpacked(message, NULL);
    assert_null(grpc_unpack(type, data, sizeof data, 1 << 16));
    for (size_t budget = 0; budget < 4096; budget += 7)
        assert_null(grpc_unpack(type, data, sizeof data, budget));
    message = grpc_unpack(type, NULL, 0, 1 << 16);
    assert_non_null(message);
    protobuf_c_message_free_unpacked(message, NULL);
    assert_null(grpc_unpack(type, (const uint8_t *)"\x0a\x7f", 2, 1 << 16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_cleaned),
        cmocka_unit_test(texts_are_cut),
        cmocka_unit_test(percents_are_decoded),
        cmocka_unit_test(memory_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
