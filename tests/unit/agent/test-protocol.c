/* SPDX-License-Identifier: Apache-2.0 */
/* What pods ask for, in every protocol, rightly and wrongly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/pod.h"
#include "agent/protocol.h"
#include "basic/text.h"

static const struct protocol_rules rules = {.enabled = {true, true, true, true},
                                            .base = "/checkpoints"};

/* A pod with one container "main" unless `containers` says otherwise; all are JSON. */
struct parts {
    const char *labels, *annotations, *environment, *mounts, *volumes, *containers;
};

static const char *or_else(const char *text, const char *otherwise)
{
    return text ? text : otherwise;
}

static struct pod *make_pod(const struct parts *parts)
{
    char *container = text_format("{\"name\": \"main\", \"env\": [%s], \"volumeMounts\": [%s]}",
                                  or_else(parts->environment, ""), or_else(parts->mounts, ""));
    char *text =
        text_format("{\"metadata\": {\"name\": \"p\", \"namespace\": \"ns\", \"uid\": \"u-1\","
                    " \"labels\": {%s}, \"annotations\": {%s}},"
                    " \"spec\": {\"containers\": [%s], \"volumes\": [%s]}}",
                    or_else(parts->labels, ""), or_else(parts->annotations, ""),
                    or_else(parts->containers, container), or_else(parts->volumes, ""));
    json_t *json = json_loads(text, 0, NULL);
    struct pod *pod;

    assert_non_null(json);
    pod = pod_read(json);
    assert_non_null(pod);
    json_decref(json);
    free(container);
    free(text);
    return pod;
}

/* The pod stays, since wishes borrow from it. */
static struct pod *expect_wish(const struct parts *parts, struct wish *ret_wish)
{
    struct pod *pod = make_pod(parts);
    struct wishes wishes = {0};
    struct error error = ERROR_INIT;

    if (protocol_read(pod, &rules, &wishes, &error) < 0)
        fail_msg("%s [%s]", error.message, error.code);
    assert_int_equal(wishes.count, 1);
    *ret_wish = wishes.list[0];
    return pod;
}

static void expect_refusal(const struct parts *parts, const struct protocol_rules *with,
                           const char *code)
{
    struct pod *pod = make_pod(parts);
    struct wishes wishes = {0};
    struct error error = ERROR_INIT;

    assert_true(protocol_read(pod, with, &wishes, &error) < 0);
    assert_string_equal(error.code, code);
    /* What of it can be told is there, and nothing unsound. */
    for (size_t i = 0; i < wishes.count; i++) {
        assert_true(wishes.list[i].invalid);
        if (text_equal(code, "pod-id"))
            assert_null(wishes.list[i].id);
        if (text_equal(code, "pod-control"))
            assert_null(wishes.list[i].control);
    }
    assert_int_equal(wishes.count > 0, !text_equal(code, "pod-container"));
    error_done(&error);
    pod_free(pod);
}

static void expect_nothing(const struct parts *parts, const struct protocol_rules *with)
{
    struct pod *pod = make_pod(parts);
    struct wishes wishes = {0};

    assert_int_equal(protocol_read(pod, with, &wishes, NULL), 0);
    assert_int_equal(wishes.count, 0);
    pod_free(pod);
}

#define VARIABLE(name, value) "{\"name\": \"" name "\", \"value\": \"" value "\"}"
#define STANDALONE "\"nvidia.com/checkpoint-source\": \"true\""
#define SOURCE "\"nvidia.com/snapshot-is-checkpoint-source\": \"true\""
#define TARGET "\"nvidia.com/snapshot-is-restore-target\": \"true\""
#define ID "\"nvidia.com/snapshot-checkpoint-id\": \"id-1\""
#define CONTROL_MOUNT "{\"name\": \"snapshot-control\", \"mountPath\": \"/snapshot-control\"}"
#define CONTROL_VOLUME "{\"name\": \"snapshot-control\", \"emptyDir\": {}}"

static void test_standalone_source(void **state)
{
    struct wish wish;
    struct pod *pod = expect_wish(
        &(struct parts){
            .labels = STANDALONE,
            .environment = VARIABLE("DYN_CHECKPOINT_HASH", "abc123") "," VARIABLE(
                "DYN_CHECKPOINT_SIGNAL_FILE",
                "/checkpoint-signal/a.done") "," VARIABLE("DYN_CHECKPOINT_LOCATION",
                                                          "/checkpoints/abc123") "," VARIABLE("DYN_"
                                                                                              "CHEC"
                                                                                              "KPOI"
                                                                                              "NT_"
                                                                                              "STOR"
                                                                                              "AGE_"
                                                                                              "TYP"
                                                                                              "E",
                                                                                              "pv"
                                                                                              "c")},
        &wish);

    (void)state;
    assert_int_equal(wish.kind, WISH_CAPTURE);
    assert_int_equal(wish.protocol, PROTOCOL_STANDALONE);
    assert_string_equal(wish.id, "abc123");
    assert_string_equal(wish.signal_file, "/checkpoint-signal/a.done");
    assert_null(wish.version);
    assert_false(wish.signals);
    pod_free(pod);
}

static void test_label_before_variable(void **state)
{
    struct wish wish;
    struct pod *pod = expect_wish(
        &(struct parts){.labels = STANDALONE ", \"nvidia.com/checkpoint-hash\": \"of-label\"",
                        .environment = VARIABLE("DYN_CHECKPOINT_HASH", "of-variable")},
        &wish);

    (void)state;
    assert_string_equal(wish.id, "of-label");
    pod_free(pod);
}

static void test_standalone_refusals(void **state)
{
    (void)state;
    expect_refusal(&(struct parts){.labels = STANDALONE}, &rules, "pod-id");
    expect_refusal(&(struct parts){.labels = STANDALONE,
                                   .environment = VARIABLE("DYN_CHECKPOINT_HASH", "../etc")},
                   &rules, "pod-id");
    expect_refusal(&(struct parts){.labels = STANDALONE,
                                   .environment = VARIABLE("DYN_CHECKPOINT_HASH", "a") "," VARIABLE(
                                       "DYN_CHECKPOINT_STORAGE_TYPE", "s3")},
                   &rules, "pod-storage");
    expect_refusal(&(struct parts){.labels = STANDALONE,
                                   .environment = VARIABLE("DYN_CHECKPOINT_HASH", "a") "," VARIABLE(
                                       "DYN_CHECKPOINT_LOCATION", "/elsewhere/a")},
                   &rules, "pod-storage");
    expect_refusal(
        &(struct parts){.labels = STANDALONE, .containers = "{\"name\": \"a\"}, {\"name\": \"b\"}"},
        &rules, "pod-container");
}

static void test_standalone_target(void **state)
{
    struct wish wish;
    struct pod *pod = expect_wish(
        &(struct parts){.environment = VARIABLE("DYN_CHECKPOINT_HASH", "abc123")}, &wish);

    (void)state;
    assert_int_equal(wish.kind, WISH_RESTORE);
    assert_int_equal(wish.protocol, PROTOCOL_STANDALONE);
    assert_string_equal(wish.marker, "/tmp/dynamo-restored");
    pod_free(pod);
    /* A job without the label is none. */
    expect_nothing(
        &(struct parts){.environment = VARIABLE("DYN_CHECKPOINT_HASH", "abc123") "," VARIABLE(
                            "DYN_CHECKPOINT_SIGNAL_FILE", "/s/a")},
        &rules);
}

static void test_chrek(void **state)
{
    struct wish wish;
    struct pod *pod = expect_wish(
        &(struct parts){.labels = "\"nvidia.com/chrek-is-checkpoint-source\": \"true\"",
                        .environment = VARIABLE("DYN_CHECKPOINT_HASH", "e5962d34ba272638")},
        &wish);

    (void)state;
    assert_int_equal(wish.kind, WISH_CAPTURE);
    assert_int_equal(wish.protocol, PROTOCOL_CHREK);
    assert_true(wish.signals);
    pod_free(pod);
}

static void test_signals(void **state)
{
    struct wish wish;
    struct pod *pod = expect_wish(
        &(struct parts){.labels = SOURCE ", \"nvidia.com/snapshot-checkpoint-hash\": \"h\""},
        &wish);

    (void)state;
    assert_int_equal(wish.protocol, PROTOCOL_SIGNALS);
    assert_string_equal(wish.id, "h");
    assert_string_equal(wish.version, "1");
    assert_true(wish.signals);
    assert_null(wish.control);
    pod_free(pod);
}

static void test_control(void **state)
{
    struct wish wish;
    struct pod *pod = expect_wish(
        &(struct parts){.labels = SOURCE ", " ID,
                        .annotations = "\"nvidia.com/snapshot-artifact-version\": \"4\"",
                        .mounts = CONTROL_MOUNT,
                        .volumes = CONTROL_VOLUME},
        &wish);

    (void)state;
    assert_int_equal(wish.protocol, PROTOCOL_CONTROL);
    assert_string_equal(wish.control, "/snapshot-control");
    assert_string_equal(wish.version, "4");
    assert_false(wish.signals);
    pod_free(pod);
}

static void test_control_refusals(void **state)
{
    (void)state;
    expect_refusal(&(struct parts){.labels = SOURCE ", " ID,
                                   .environment = VARIABLE("SNAPSHOT_CONTROL_DIR", "/etc")},
                   &rules, "pod-control");
    expect_refusal(
        &(struct parts){.labels = SOURCE ", " ID,
                        .mounts = CONTROL_MOUNT,
                        .volumes =
                            "{\"name\": \"snapshot-control\", \"hostPath\": {\"path\": \"/etc\"}}"},
        &rules, "pod-control");
    expect_refusal(&(struct parts){.labels = SOURCE ", " ID,
                                   .mounts = "{\"name\": \"snapshot-control\", \"readOnly\": true, "
                                             "\"mountPath\": \"/snapshot-control\"}",
                                   .volumes = CONTROL_VOLUME},
                   &rules, "pod-control");
    expect_refusal(
        &(struct parts){.labels = SOURCE ", " ID,
                        .annotations = "\"nvidia.com/snapshot-artifact-version\": \"../1\""},
        &rules, "pod-version");
}

static void test_targets(void **state)
{
    struct wishes wishes = {0};
    struct pod *pod = make_pod(
        &(struct parts){.labels = TARGET ", " ID,
                        .annotations = "\"nvidia.com/snapshot-target-containers\": \" a , b\"",
                        .containers = "{\"name\": \"a\"}, {\"name\": \"x\"}, {\"name\": \"b\"}"});

    (void)state;
    assert_int_equal(protocol_read(pod, &rules, &wishes, NULL), 0);
    assert_int_equal(wishes.count, 2);
    assert_string_equal(wishes.list[0].container, "a");
    assert_string_equal(wishes.list[1].container, "b");
    assert_true(wishes.list[1].several);
    pod_free(pod);
}

static void test_wrong_targets(void **state)
{
    static const char *const lists[] = {"a,a", "a,,b", "a,nobody", ""};

    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        char *annotation =
            text_format("\"nvidia.com/snapshot-target-containers\": \"%s\"", lists[i]);

        expect_refusal(&(struct parts){.labels = TARGET ", " ID,
                                       .annotations = annotation,
                                       .containers = "{\"name\": \"a\"}, {\"name\": \"b\"}"},
                       &rules, "pod-container");
        free(annotation);
    }
    /* One is saved at a time. */
    expect_refusal(
        &(struct parts){.labels = SOURCE ", " ID,
                        .annotations = "\"nvidia.com/snapshot-target-containers\": \"a,b\"",
                        .containers = "{\"name\": \"a\"}, {\"name\": \"b\"}"},
        &rules, "pod-container");
}

static void test_pod_mount(void **state)
{
    const struct protocol_rules with = {
        .enabled = {true, true, true, true}, .base = "/checkpoints", .pod_mount = true};
    const char *mount = "{\"name\": \"store\", \"mountPath\": \"/data\"}";
    const char *path = "\"nvidia.com/snapshot-storage-base-path\": \"/data\"";
    struct wishes wishes = {0};
    struct pod *pod = make_pod(&(struct parts){
        .labels = SOURCE ", " ID,
        .annotations = path,
        .mounts = mount,
        .volumes = "{\"name\": \"store\", \"persistentVolumeClaim\": {\"claimName\": \"c\"}}"});

    (void)state;
    assert_int_equal(protocol_read(pod, &with, &wishes, NULL), 0);
    assert_string_equal(wishes.list[0].claim_path, "/data");
    pod_free(pod);
    expect_refusal(
        &(struct parts){.labels = SOURCE ", " ID,
                        .annotations = path,
                        .mounts = mount,
                        .volumes = "{\"name\": \"store\", \"hostPath\": {\"path\": \"/etc\"}}"},
        &with, "pod-storage");
    expect_refusal(&(struct parts){.labels = SOURCE ", " ID}, &with, "pod-storage");
}

static void test_switched_off(void **state)
{
    const struct protocol_rules with = {.enabled = {false, false, false, true},
                                        .base = "/checkpoints"};

    (void)state;
    expect_nothing(
        &(struct parts){.labels = STANDALONE, .environment = VARIABLE("DYN_CHECKPOINT_HASH", "a")},
        &with);
    expect_nothing(&(struct parts){.labels = SOURCE ", " ID}, &with);
}

static void test_ordinary_pods(void **state)
{
    (void)state;
    /* A source that is not to be saved, or not yet, is at work: nothing is restored into it. */
    expect_nothing(
        &(struct parts){.labels = "\"nvidia.com/snapshot-is-checkpoint-source\": \"false\", " ID},
        &rules);
    expect_nothing(&(struct parts){.labels = "\"app\": \"web\""}, &rules);
    expect_nothing(&(struct parts){.labels = "\"nvidia.com/checkpoint-source\": \"false\""},
                   &rules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_standalone_source),
        cmocka_unit_test(test_label_before_variable),
        cmocka_unit_test(test_standalone_refusals),
        cmocka_unit_test(test_standalone_target),
        cmocka_unit_test(test_chrek),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_control),
        cmocka_unit_test(test_control_refusals),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_wrong_targets),
        cmocka_unit_test(test_pod_mount),
        cmocka_unit_test(test_switched_off),
        cmocka_unit_test(test_ordinary_pods),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
