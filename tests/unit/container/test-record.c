/* SPDX-License-Identifier: Apache-2.0 */
/* What runtimes write, by files that runc, crun and containerd would not write; and the choice
 * between containers. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "container/look.h"
#include "container/record.h"
#include "proc/process.h"

static int parse(const char *text)
{
    json_t *json = NULL;
    int r = record_parse(text, strlen(text), "x", &json, NULL);

    json_decref(json);
    return r;
}

static void json_has_limits(void **state)
{
    static char deep[1000];

    (void)state;
    assert_int_equal(parse("{\"a\": [\"}}}\\\"]\"]}"), 0);
    assert_int_equal(parse("[]"), -EBADMSG);
    assert_int_equal(parse(""), -EBADMSG);
    assert_int_equal(parse("{\"a\": \"\\u0000\"}"), -EBADMSG);
    memset(deep, '[', sizeof deep - 1);
    assert_int_equal(parse(deep), -EBADMSG);
}

static void process_ids_are_checked(void **state)
{
    json_t *json = json_pack("{s:i, s:i, s:I, s:s, s:f, s:i}", "good", 7, "none", 0, "large",
                             (json_int_t)1 << 31, "text", "7", "broken", 7.5, "minus", -2);
    pid_t pid = 5;

    (void)state;
    assert_int_equal(record_pid(json, "good", "x", &pid, NULL), 0);
    assert_int_equal(pid, 7);
    assert_int_equal(record_pid(json, "none", "x", &pid, NULL), 0);
    assert_int_equal(pid, 0);
    assert_int_equal(record_pid(json, "missing", "x", &pid, NULL), 0);
    assert_int_equal(pid, 0);
    assert_int_equal(record_pid(json, "large", "x", &pid, NULL), -EBADMSG);
    assert_int_equal(record_pid(json, "text", "x", &pid, NULL), -EBADMSG);
    assert_int_equal(record_pid(json, "broken", "x", &pid, NULL), -EBADMSG);
    assert_int_equal(record_pid(json, "minus", "x", &pid, NULL), -EBADMSG);
    json_decref(json);
}

static void ids_are_names_of_directories(void **state)
{
    (void)state;
    assert_true(record_is_id("a1_b.c-d+e"));
    assert_false(record_is_id(""));
    assert_false(record_is_id(".."));
    assert_false(record_is_id("a/b"));
    assert_false(record_is_id("-a"));
    assert_false(record_is_id("a b"));
    assert_false(record_is_id("caf\xc3\xa9"));
}

/* A state directory with what crun would write about this very process. */
struct bed {
    char directory[32];
    struct process self;
};

static void write_at(const struct bed *bed, const char *name, const char *text)
{
    CLEANUP(free_ptr) char *path = text_format("%s/%s", bed->directory, name);

    assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text)), 0);
}

static void write_status(const struct bed *bed, uint64_t start_time)
{
    CLEANUP(free_ptr)
    char *text = text_format("{\"pid\": %d, \"process-start-time\": %llu, \"bundle\": \"%s/one\"}",
                             (int)getpid(), (unsigned long long)start_time, bed->directory);

    write_at(bed, "one/status", text);
}

static int make_bed(void **state)
{
    struct bed *bed = allocate(sizeof *bed);
    CLEANUP(free_ptr) char *path = NULL;

    (void)snprintf(bed->directory, sizeof bed->directory, "/tmp/stasis-record-XXXXXX");
    assert_non_null(mkdtemp(bed->directory));
    path = text_format("%s/one", bed->directory);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(process_read(getpid(), &bed->self, NULL), 0);
    *state = bed;
    return 0;
}

static int remove_bed(void **state)
{
    struct bed *bed = *state;

    process_done(&bed->self);
    assert_int_equal(directory_remove_all(AT_FDCWD, bed->directory), 0);
    free(bed);
    return 0;
}

static int find(const struct bed *bed, const char *text, struct container *ret, const char *code)
{
    struct error error = ERROR_INIT;
    int r = container_find_by_state(text, bed->directory, ret, &error);

    if (code ? !error_is(&error, code) : error.code != NULL)
        fail_msg("%s instead of %s: %s", error.code, code, error.message);
    error_done(&error);
    return r;
}

/* In a control group namespace it can be "/" for all that is known. */
static bool control_group_is_told(void)
{
    CLEANUP(free_ptr) char *text = NULL;
    char *line, *rest = NULL;

    assert_int_equal(file_read(AT_FDCWD, "/proc/self/cgroup", 1 << 20, &text, NULL), 0);
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (!text_ends_with(line, ":/"))
            return true;
    }
    return false;
}

static void state_is_believed_when_it_fits(void **state)
{
    const struct bed *bed = *state;
    struct container container = CONTAINER_INIT;

    write_at(bed, "one/config.json",
             "{\"annotations\": {\"io.kubernetes.cri.container-name\": \"main\\u001b\", "
             "\"io.kubernetes.pod.name\": \"p\"}, \"linux\": {\"cgroupsPath\": \"/other\"}}");
    write_status(bed, bed->self.start_time);
    assert_int_equal(find(bed, "one", &container, NULL), 0);
    assert_int_equal(container.pid, getpid());
    assert_string_equal(container.name, "main?");
    assert_string_equal(container.pod_name, "p");
    assert_int_equal(container.state, CONTAINER_RUNNING);
    assert_int_equal(container.start_time, bed->self.start_time);
    container_done(&container);
    write_status(bed, bed->self.start_time + 1);
    assert_int_equal(find(bed, "on", &container, "container-not-running"), -ESRCH);
    write_status(bed, 0); /* no start time: then the control group has to fit */
    if (control_group_is_told())
        assert_true(find(bed, "one", &container, "container-process") < 0);
    write_at(bed, "one/config.json", "{\"linux\": {\"cgroupsPath\": 7}}");
    assert_int_equal(find(bed, "one", &container, NULL), 0);
    container_done(&container);
    write_at(bed, "one/config.json", "{");
    assert_int_equal(find(bed, "one", &container, "container-record"), -EBADMSG);
    assert_int_equal(find(bed, "two", &container, "container-missing"), -ENOENT);
    assert_int_equal(find(bed, "../one", &container, "container-missing"), -ENOENT);
    assert_int_equal(container_find_by_state("one", bed->directory, &container, NULL), -EBADMSG);
}

static void the_right_one_is_chosen(void **state)
{
    struct container all[] = {
        {.id = (char[]){"abc1"}, .name = (char[]){"main"}, .state = CONTAINER_RUNNING},
        {.id = (char[]){"abc2"}, .name = (char[]){"abc"}, .state = CONTAINER_RUNNING},
        {.id = (char[]){"abc"}, .name = (char[]){"main"}, .state = CONTAINER_EXITED},
        {.id = (char[]){"d"}, .name = (char[]){"ab"}, .state = CONTAINER_PAUSED},
        {.id = (char[]){"e"}, .name = (char[]){"gone"}, .state = CONTAINER_EXITED},
    };
    const struct container_list list = {all, sizeof all / sizeof *all};
    size_t index = 9;

    (void)state;
    assert_int_equal(container_choose(&list, "abc", "x", &index, NULL), 0);
    assert_int_equal(index, 2); /* a whole id comes first */
    assert_int_equal(container_choose(&list, "ab", "x", &index, NULL), 0);
    assert_int_equal(index, 3); /* then a name */
    assert_int_equal(container_choose(&list, "main", "x", &index, NULL), 0);
    assert_int_equal(index, 0); /* of a running one */
    assert_int_equal(container_choose(&list, "a", "x", &index, NULL), -EEXIST);
    assert_int_equal(container_choose(&list, "gone", "x", &index, NULL), -ESRCH);
    assert_int_equal(container_choose(&list, "", "x", &index, NULL), -ENOENT);
    assert_int_equal(container_choose(&list, "z", "x", &index, NULL), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_limits),
        cmocka_unit_test(process_ids_are_checked),
        cmocka_unit_test(ids_are_names_of_directories),
        cmocka_unit_test_setup_teardown(state_is_believed_when_it_fits, make_bed, remove_bed),
        cmocka_unit_test(the_right_one_is_chosen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
