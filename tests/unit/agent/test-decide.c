/* SPDX-License-Identifier: Apache-2.0 */
/* What is done next about a wish: a table, and a walk through what can come together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/decide.h"

static const struct decide_limits limits = {.capture_attempts = 3, .restore_attempts = 1};

enum { NOW = 1000000 };

struct scene {
    struct pod pod;
    struct pod_container container;
    struct wish wish;
    struct work_view work;
};

/* A pod that is ready to be saved, or to be restored into. */
static struct scene scene_of(enum wish_kind kind)
{
    return (struct scene){
        .pod = {.phase = POD_RUNNING, .ready = true, .initialized = true, .container_count = 1},
        .container = {.name = (char *)"main", .id = (char *)"c1", .running = true, .ready = true},
        .wish = {.kind = kind, .protocol = PROTOCOL_STANDALONE, .container = "main"},
    };
}

static struct decision ask(struct scene *scene)
{
    scene->pod.containers = &scene->container;
    return decide(&scene->pod, &scene->wish, &scene->work, &limits, NOW);
}

static void test_begins(void **state)
{
    struct scene capture = scene_of(WISH_CAPTURE), restore = scene_of(WISH_RESTORE);

    (void)state;
    assert_int_equal(ask(&capture).step, STEP_BEGIN);
    assert_int_equal(ask(&restore).step, STEP_BEGIN);
}

static void test_waits_for_readiness(void **state)
{
    struct scene scene = scene_of(WISH_CAPTURE);

    (void)state;
    scene.pod.ready = false;
    assert_int_equal(ask(&scene).step, STEP_NOTHING);
    scene.wish.protocol = PROTOCOL_CONTROL; /* there the container counts */
    assert_int_equal(ask(&scene).step, STEP_BEGIN);
    scene.container.ready = false;
    assert_int_equal(ask(&scene).step, STEP_NOTHING);
}

static void test_restore_looks_early(void **state)
{
    struct scene scene = scene_of(WISH_RESTORE);

    (void)state;
    scene.pod.phase = POD_PENDING;
    scene.container.running = false;
    assert_int_equal(ask(&scene).step, STEP_BEGIN);
    scene.pod.initialized = false;
    assert_int_equal(ask(&scene).step, STEP_NOTHING);
}

static void test_pause(void **state)
{
    struct scene scene = scene_of(WISH_CAPTURE);
    struct decision decision;

    (void)state;
    scene.work.not_before_usec = NOW + 5;
    decision = ask(&scene);
    assert_int_equal(decision.step, STEP_NOTHING);
    assert_int_equal(decision.again_usec, NOW + 5);
}

static void test_failed_container(void **state)
{
    struct scene scene = scene_of(WISH_CAPTURE);

    (void)state;
    scene.container.failed = true;
    assert_int_equal(ask(&scene).step, STEP_REFUSE);
}

static void test_bounded(void **state)
{
    struct scene scene = scene_of(WISH_RESTORE);

    (void)state;
    scene.work.attempts = 1;
    assert_int_equal(ask(&scene).step, STEP_NOTHING);
    scene.container.id = (char *)"c2"; /* the kubelet has started it anew: no further attempt */
    scene.work.container_id = "c1";
    assert_int_equal(ask(&scene).step, STEP_NOTHING);
    scene.work.state = WORK_FAILED;
    assert_int_equal(ask(&scene).step, STEP_NOTHING);
}

static void test_replaced_after_success(void **state)
{
    struct scene scene = scene_of(WISH_RESTORE);

    (void)state;
    scene.work.state = WORK_DONE;
    scene.work.container_id = "c1";
    assert_int_equal(ask(&scene).step, STEP_NOTHING);
    scene.container.id = (char *)"c2";
    assert_int_equal(ask(&scene).step, STEP_FORGET);
}

static void test_deleted(void **state)
{
    struct scene scene = scene_of(WISH_CAPTURE);

    (void)state;
    scene.pod.deleted = true;
    assert_int_equal(ask(&scene).step, STEP_NOTHING);
    scene.work.state = WORK_RUNNING;
    assert_int_equal(ask(&scene).step, STEP_CANCEL);
    scene.work.cancelled = true;
    assert_int_equal(ask(&scene).step, STEP_NOTHING);
    scene.work.state = WORK_QUEUED;
    assert_int_equal(ask(&scene).step, STEP_CANCEL);
}

/* What has begun comes to an end that is told, also when its pod ends between two attempts. */
static void test_given_up(void **state)
{
    struct scene capture = scene_of(WISH_CAPTURE), restore = scene_of(WISH_RESTORE);

    (void)state;
    capture.work.attempts = restore.work.attempts = 1;
    capture.work.not_before_usec = NOW + 5;
    capture.pod.phase = restore.pod.phase = POD_ENDED;
    assert_int_equal(ask(&capture).step, STEP_GIVE_UP);
    assert_int_equal(ask(&restore).step, STEP_NOTHING);
    capture.pod.phase = POD_RUNNING;
    capture.pod.deleted = true;
    assert_int_equal(ask(&capture).step, STEP_GIVE_UP);
    capture.work.state = WORK_FAILED;
    assert_int_equal(ask(&capture).step, STEP_NOTHING);
}

/* Everything that can come together: nothing begins twice, nothing begins for a pod that ends. */
static void test_all(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 1U << 10; bits++) {
        for (int work_state = WORK_IDLE; work_state <= WORK_FAILED; work_state++) {
            struct scene scene = scene_of(bits & 1 ? WISH_CAPTURE : WISH_RESTORE);
            struct decision decision;

            scene.pod.deleted = bits & 2;
            scene.pod.ready = bits & 4;
            scene.pod.phase = bits & 8 ? POD_ENDED : POD_RUNNING;
            scene.container.running = bits & 16;
            scene.container.failed = bits & 32;
            scene.work.attempts = bits & 64 ? 3 : 0;
            scene.work.cancelled = bits & 128;
            scene.wish.protocol = bits & 256 ? PROTOCOL_CONTROL : PROTOCOL_SIGNALS;
            scene.work.container_id = bits & 512 ? "c0" : NULL;
            scene.work.state = (enum work_state)work_state;
            decision = ask(&scene);
            if (decision.step == STEP_BEGIN) {
                assert_int_equal(work_state, WORK_IDLE);
                assert_false(scene.pod.deleted);
                assert_int_not_equal(scene.pod.phase, POD_ENDED);
                assert_int_equal(scene.work.attempts, 0);
                assert_true(scene.container.running);
            }
            if (decision.step == STEP_GIVE_UP) {
                assert_int_equal(work_state, WORK_IDLE);
                assert_true(scene.pod.deleted || scene.pod.phase == POD_ENDED);
            }
            if (decision.step == STEP_FORGET)
                assert_int_equal(work_state, WORK_DONE);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins),
        cmocka_unit_test(test_waits_for_readiness),
        cmocka_unit_test(test_restore_looks_early),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_failed_container),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_replaced_after_success),
        cmocka_unit_test(test_deleted),
        cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
