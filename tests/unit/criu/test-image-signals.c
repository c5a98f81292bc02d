/* SPDX-License-Identifier: Apache-2.0 */
/* criu_image_pending_signals, with images that are made here, some of them by nobody's CRIU. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "criu-images.pb-c.h"
#include "criu/images.h"

enum { PID = 7, MAGIC_BYTES = 8 };

struct fixture {
    char path[32];
    int images;
};

static int begin(void **state)
{
    struct fixture *f = allocate(sizeof *f);

    *f = (struct fixture){.path = "/tmp/signals-XXXXXX"};
    assert_non_null(mkdtemp(f->path));
    f->images = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    close_fd(&f->images);
    (void)directory_remove_all(AT_FDCWD, f->path);
    free(f);
    return 0;
}

static void write_image(const struct fixture *f, const void *data, size_t length)
{
    assert_int_equal(file_write_atomic(f->images, "core-7.img", data, length), 0);
}

/* A process with one signal that waits for it, and one that waits for its thread; 0: none. */
static size_t make_core(int32_t number, int32_t of_thread, size_t size, uint8_t *ret_image)
{
    siginfo_t information = {.si_signo = number}, other = {.si_signo = of_thread};
    Criu__Signal signal = CRIU__SIGNAL__INIT, thread_signal = CRIU__SIGNAL__INIT;
    Criu__Signal *signals[] = {&signal}, *thread_signals[] = {&thread_signal};
    Criu__SignalQueue queue = CRIU__SIGNAL_QUEUE__INIT, thread_queue = CRIU__SIGNAL_QUEUE__INIT;
    Criu__TaskCore task = CRIU__TASK_CORE__INIT;
    Criu__ThreadCore thread = CRIU__THREAD_CORE__INIT;
    Criu__Core core = CRIU__CORE__INIT;
    uint32_t length;

    signal.information = (ProtobufCBinaryData){size, (uint8_t *)&information};
    thread_signal.information = (ProtobufCBinaryData){size, (uint8_t *)&other};
    queue.signals = signals;
    queue.n_signals = number ? 1 : 0;
    thread_queue.signals = thread_signals;
    thread_queue.n_signals = of_thread ? 1 : 0;
    task.pending = &queue;
    thread.pending = &thread_queue;
    core.task = &task;
    core.thread = &thread;
    length = (uint32_t)criu__core__get_packed_size(&core);
    memset(ret_image, 'm', MAGIC_BYTES);
    memcpy(ret_image + MAGIC_BYTES, &length, sizeof length);
    return MAGIC_BYTES + sizeof length +
           criu__core__pack(&core, ret_image + MAGIC_BYTES + sizeof length);
}

static uint64_t pending(const struct fixture *f, int32_t number, int32_t of_thread, size_t size)
{
    uint8_t image[1024];
    uint64_t mask = 0;

    write_image(f, image, make_core(number, of_thread, size, image));
    assert_int_equal(criu_image_pending_signals(f->images, PID, &mask, NULL), 0);
    return mask;
}

static void both_queues_are_read(void **state)
{
    const struct fixture *f = *state;

    assert_true(pending(f, 0, 0, sizeof(siginfo_t)) == 0);
    assert_true(pending(f, SIGTERM, 0, sizeof(siginfo_t)) == UINT64_C(1) << (SIGTERM - 1));
    assert_true(pending(f, SIGHUP, 64, sizeof(siginfo_t)) == (1 | UINT64_C(1) << 63));
}

static void senseless_signals_are_none(void **state)
{
    const struct fixture *f = *state;

    assert_true(pending(f, -1, 65, sizeof(siginfo_t)) == 0);
    assert_true(pending(f, SIGTERM, SIGTERM, 3) == 0);
}

static void expect_refused(const struct fixture *f)
{
    struct error error = ERROR_INIT;
    uint64_t mask = 5;

    assert_true(criu_image_pending_signals(f->images, PID, &mask, &error) < 0);
    assert_true(error_is(&error, "criu-protocol"));
    assert_true(mask == 5);
    error_done(&error);
}

static void bad_images_are_refused(void **state)
{
    const struct fixture *f = *state;
    uint8_t image[1024];
    size_t length = make_core(SIGTERM, SIGTERM, sizeof(siginfo_t), image);

    expect_refused(f); /* there is none */
    for (size_t cut = 0; cut < length; cut += 5) {
        write_image(f, image, cut);
        expect_refused(f);
    }
    memset(image + MAGIC_BYTES, 0xff, sizeof(uint32_t));
    write_image(f, image, length);
    expect_refused(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_queues_are_read, begin, end),
        cmocka_unit_test_setup_teardown(senseless_signals_are_none, begin, end),
        cmocka_unit_test_setup_teardown(bad_images_are_refused, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
