/* SPDX-License-Identifier: Apache-2.0 */
/* What restore-entrypoint decides by. The rest of it is tested in containers. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "entrypoint/adopted.h"
#include "entrypoint/control.h"
#include "entrypoint/decision.h"
#include "entrypoint/json-scan.h"
#include "entrypoint/privileges.h"

static char base[] = "/tmp/entrypoint-test-XXXXXX";

static int make_base(void **state)
{
    (void)state;
    memcpy(base + strlen(base) - 6, "XXXXXX", 6);
    return mkdtemp(base) ? 0 : -1;
}

static int remove_base(void **state)
{
    (void)state;
    return directory_remove_all(AT_FDCWD, base);
}

static void put(const char *path, const char *text)
{
    CLEANUP(free_ptr) char *whole = text_format("%s/%s", base, path);
    char *slash = strrchr(whole, '/');

    *slash = 0;
    assert_int_equal(directory_create_all(whole, 0755), 0);
    *slash = '/';
    assert_int_equal(file_write_atomic(AT_FDCWD, whole, text, strlen(text)), 0);
}

static void put_pipe(const char *path)
{
    CLEANUP(free_ptr) char *whole = text_format("%s/%s", base, path);

    assert_int_equal(unlink(whole), 0);
    assert_int_equal(mkfifo(whole, 0600), 0);
}

static void set(const char *name, const char *value)
{
    assert_int_equal(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

static bool decide(const char *wait, const char *hash, const char *part)
{
    CLEANUP(free_ptr) char *reason = NULL;
    struct settings settings;
    bool result;

    set("WAIT_FOR_CHECKPOINT", wait);
    set("DYN_CHECKPOINT_HASH", hash);
    set("DYN_CHECKPOINT_PATH", base);
    settings_read(&settings);
    result = decision_make(&settings, &reason);

    assert_non_null(reason);
    if (part && !strstr(reason, part))
        fail_msg("\"%s\" is not in \"%s\"", part, reason);
    return result;
}

static void nothing_to_wait_for(void **state)
{
    (void)state;
    assert_false(decide(NULL, NULL, "not set"));
    assert_false(decide("0", "", "not set"));
    assert_false(decide("false", "web", "there is no"));
    put("web/inventory.img", "");
    assert_false(decide(NULL, "web", "no complete snapshot"));
    assert_false(decide(NULL, "../web", "no name"));
    assert_false(decide(NULL, "..", "no name"));
    assert_false(decide(NULL, "web/x", "no name"));
}

static void asked_to_wait(void **state)
{
    (void)state;
    assert_true(decide("1", NULL, "WAIT_FOR_CHECKPOINT"));
    assert_true(decide("true", "missing", "WAIT_FOR_CHECKPOINT"));
}

static void done_files(void **state)
{
    (void)state;
    put("a/checkpoint.done", "{\"checkpoint_id\":\"a\",\"success\":true}");
    assert_false(decide(NULL, "a", "no complete snapshot of Stasis"));
    put("a/versions/1/manifest.json", "{}");
    assert_true(decide(NULL, "a", "there is a snapshot"));
    put("a/checkpoint.done", "{\"success\" : false,\"error\":\"disk full\"}");
    assert_false(decide(NULL, "a", "failed: disk full"));
    put("a/checkpoint.done", "2026-02-01T10:00:00Z\n");
    assert_true(decide(NULL, "a", NULL));
    put("a/checkpoint.done", "nonsense");
    assert_false(decide(NULL, "a", "damaged or half written"));
    put("a/checkpoint.done", "{\"error\":\"disk full\"}");
    assert_false(decide(NULL, "a", "damaged or half written"));
    assert_false(decision_done_is_success(""));
    assert_false(decision_done_is_success("{}"));
    assert_true(
        decision_done_is_success("{\"error\":\"\\\"success\\\": false\",\"success\":\ttrue}"));
    assert_false(decision_done_is_success("{\"success\":null}"));
    assert_false(decision_done_is_success("{\"succ")); /* cut off */
    assert_false(decision_done_is_success("{\"success\": true"));
    assert_false(decision_done_is_success("{\"success\": truely}"));
    assert_true(decision_done_is_success(" {\"success\": true}\n"));
    put("a/checkpoint.done", "{\"success\": falsely, \"error\": \"x\"}");
    assert_false(decide(NULL, "a", "damaged or half written"));
    put_pipe("a/checkpoint.done");
    assert_false(decide(NULL, "a", "no regular file"));
}

/* checkpoint.done tells of the newest attempt, whatever there was before. */
static void versions(void **state)
{
    (void)state;
    put("v/versions/.new-1/manifest.json", "{}");
    put("v/versions/1/criu/core-1.img", "");
    assert_false(decide(NULL, "v", "no complete snapshot"));
    put("v/versions/2/manifest.json", "{}");
    assert_false(decide(NULL, "v", "checkpoint.done is missing"));
    put("v/checkpoint.done", "{\"success\":true}");
    assert_true(decide(NULL, "v", "there is a snapshot"));
    put("v/checkpoint.done", "{\"success\":false}");
    assert_false(decide(NULL, "v", "failed"));
}

/* A job that makes a snapshot is not restored from the one that it makes. */
static void checkpoint_jobs(void **state)
{
    (void)state;
    put("j/versions/2/manifest.json", "{}");
    put("j/checkpoint.done", "{\"success\":true}");
    set("DYN_CHECKPOINT_SIGNAL_FILE", "/checkpoint-signal/j.done");
    assert_false(decide(NULL, "j", "checkpoint job"));
    assert_true(decide("1", "j", "WAIT_FOR_CHECKPOINT"));
    set("DYN_CHECKPOINT_SIGNAL_FILE", NULL);
    assert_true(decide(NULL, "j", NULL));
}

static void locations(void **state)
{
    CLEANUP(free_ptr) char *location = text_format("%s/l/", base);
    struct snapshot_place place = {0};
    struct settings settings;
    char *reason = NULL;

    (void)state;
    set("DYN_CHECKPOINT_LOCATION", location);
    set("DYN_CHECKPOINT_PATH", NULL);
    settings_read(&settings);
    assert_int_equal(snapshot_place_named(&settings, &place, &reason), 0);
    assert_string_equal(place.root, base);
    assert_string_equal(place.id, "l");
    snapshot_place_done(&place);
    set("DYN_CHECKPOINT_LOCATION", NULL);
    assert_int_equal(snapshot_place_parse("/web\n", &place), 0);
    assert_string_equal(place.root, "/");
    snapshot_place_done(&place);
    assert_true(snapshot_place_parse("web", &place) < 0);
    assert_true(snapshot_place_parse("/", &place) < 0);
    assert_true(snapshot_place_parse("/a/..", &place) < 0);
    assert_true(snapshot_place_parse("", &place) < 0);
}

static void variables(void **state)
{
    struct settings settings;

    (void)state;
    set("CRIU_LOG_LEVEL", "9");
    set("CRIU_TIMEOUT", "12");
    set("DEBUG", "TRUE");
    set("DYN_RESTORE_MARKER_FILE", "relative");
    settings_read(&settings);
    assert_int_equal(settings.criu_log_level, 4);
    assert_int_equal(settings.criu_timeout, 12);
    assert_true(settings.debug);
    assert_string_equal(settings.marker, "/tmp/dynamo-restored");
    set("CRIU_LOG_LEVEL", "0");
    set("DEBUG", "maybe");
    set("RESTORE_WAIT_TIMEOUT", "-3");
    settings_read(&settings);
    assert_int_equal(settings.criu_log_level, 0);
    assert_false(settings.debug);
    assert_int_equal(settings.wait_seconds, 300);
    set("CRIU_LOG_LEVEL", NULL);
    set("CRIU_TIMEOUT", NULL);
    set("DEBUG", NULL);
    set("DYN_RESTORE_MARKER_FILE", NULL);
    set("RESTORE_WAIT_TIMEOUT", NULL);
}

static void privileges(void **state)
{
    CLEANUP(free_ptr) char *all = privileges_missing("Name:\tx\nCapEff:\t000001ffffffffff\n");
    CLEANUP(free_ptr) char *usual = privileges_missing("Name:\tx\nCapEff:\t00000000a80425fb\n");

    (void)state;
    assert_string_equal(all, "");
    assert_string_equal(usual, "SYS_ADMIN SYS_PTRACE SYS_TIME NET_ADMIN");
}

static void answers(void **state)
{
    CLEANUP(free_ptr)
    char *code = json_scan_string("{\"error\": {\"code\": \"snapshot-damaged\"}}", "code");

    (void)state;
    assert_string_equal(code, "snapshot-damaged");
    assert_null(json_scan_string("{\"code\": 4}", "code"));
    assert_null(json_scan_string("{\"code\": \"x", "code"));
    assert_null(json_scan_string("{\"code\"", "code"));
}

static void depths(void **state)
{
    pid_t pid = 0;

    (void)state;
    assert_int_equal(adopted_depth("Name:\tx\nNSpid:\t25\t1\nNSpgid:\t3\n", &pid), 2);
    assert_int_equal(pid, 1);
    assert_int_equal(adopted_depth("Name:\tx\nNSpid:\t7\nNSpgid:\t3\n", &pid), 1);
    assert_int_equal(pid, 7);
    assert_int_equal(adopted_depth("Name:\tNSpid:\n", &pid), 0);
    assert_int_equal(adopted_depth("", &pid), 0);
}

static void control_files(void **state)
{
    char *reason;
    struct control control;

    (void)state;
    assert_int_equal(control_parse("pid=12\n"), 12);
    assert_int_equal(control_parse("time=now\npid=12\nother=1"), 12);
    assert_int_equal(control_parse("done\n"), 0);
    assert_int_equal(control_parse("pid=12\npid=12\n"), 0);
    assert_int_equal(control_parse("pid=1\n"), 0);
    assert_int_equal(control_parse("pid=-4\n"), 0);
    assert_int_equal(control_parse("pid=12x\n"), 0);
    (void)unsetenv("DYN_SNAPSHOT_CONTROL_DIR");
    (void)unsetenv("SNAPSHOT_CONTROL_DIR");
    control = control_open();
    assert_null(control_failure(&control));
    assert_int_equal(control_restored(&control), 0);
    (void)setenv("SNAPSHOT_CONTROL_DIR", base, 1);
    put("restore-complete", "pid=4\n");
    control = control_open();
    assert_int_equal(control_restored(&control), 0); /* of an earlier container */
    put("restore-complete", "pid=5\n");
    assert_int_equal(control_restored(&control), 5);
    assert_null(control_failure(&control));
    put("restore-failed", "no\033 such\nthing\n");
    reason = control_failure(&control);
    assert_string_equal(reason, "no  such thing ");
    put("restore-failed", "");
    free(reason);
    reason = control_failure(&control);
    assert_non_null(reason);
    free(reason);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_to_wait_for, make_base, remove_base),
        cmocka_unit_test_setup_teardown(asked_to_wait, make_base, remove_base),
        cmocka_unit_test_setup_teardown(done_files, make_base, remove_base),
        cmocka_unit_test_setup_teardown(versions, make_base, remove_base),
        cmocka_unit_test_setup_teardown(checkpoint_jobs, make_base, remove_base),
        cmocka_unit_test_setup_teardown(locations, make_base, remove_base),
        cmocka_unit_test(variables),
        cmocka_unit_test(privileges),
        cmocka_unit_test(answers),
        cmocka_unit_test(depths),
        cmocka_unit_test_setup_teardown(control_files, make_base, remove_base),
    };

    return cmocka_run_group_tests_name("entrypoint", tests, NULL, NULL);
}
