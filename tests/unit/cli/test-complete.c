/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "basic/text.h"
#include "cli/complete.h"

#define WORDS(...)                        \
    ((const char *const[]){__VA_ARGS__}), \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)

static char *candidates(const char *const *words, size_t count)
{
    char *result = NULL;
    size_t length;
    FILE *stream = open_memstream(&result, &length);

    complete(words, count, stream);
    (void)fclose(stream);
    return result;
}

/* `wanted` and `unwanted` begin a line, or not. */
static void check(const char *const *words, size_t count, const char *wanted, const char *unwanted)
{
    char *result = candidates(words, count), *lines;
    char line[256];

    lines = text_format("\n%s", result);
    (void)snprintf(line, sizeof line, "\n%s", wanted);
    if (!strstr(lines, line))
        fail_msg("no '%s' in %s", wanted, result);
    if (unwanted) {
        (void)snprintf(line, sizeof line, "\n%s", unwanted);
        assert_null(strstr(lines, line));
    }
    free(lines);
    free(result);
}

static void words_and_options(void **state)
{
    (void)state;
    check(WORDS(""), "checkpoint\t", "__complete");
    check(WORDS("re"), "restore\t", "run");
    check(WORDS("--"), "--root\t", "--detach");
    check(WORDS("run", "--"), "--detach\t", "--tcp");
    check(WORDS("run", "--"), "--json\t", NULL);
    check(WORDS("checkpoint", "--tcp", ""), "keep\t", "--");
    check(WORDS("checkpoint", "--tcp", "k"), "keep\t", "close");
    check(WORDS("checkpoint", "--tcp=k"), "--tcp=keep\t", "--tcp=close");
    check(WORDS("completion", ""), "bash\t", NULL);
    check(WORDS("help", "in"), "inspect\t", NULL);
    check(WORDS("explain", "criu-m"), "criu-missing\t", "usage");
    check(WORDS("nonsense", ""), ":none", "run");
}

static void files(void **state)
{
    (void)state;
    check(WORDS("--root", ""), ":directories", "run");
    check(WORDS("list", "--root=/t"), ":directories", NULL);
    check(WORDS("inspect", "--html", ""), ":files", NULL);
    check(WORDS("run", ""), ":programs", NULL);
    check(WORDS("run", "--", "py"), ":programs", NULL);
    check(WORDS("run", "prog", "--"), ":files", "--detach");
    check(WORDS("run", "--", "prog", "x"), ":files", NULL);
    check(WORDS("list", "a", ""), ":none", "a");
    check(WORDS("checkpoint", "--pid", "1"), "1\t", "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_options),
        cmocka_unit_test(files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
