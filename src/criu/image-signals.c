/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that were sent and not received yet are saved with a process. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "criu-images.pb-c.h"
#include "criu/images.h"

enum { CORE_MAXIMUM = 16 << 20, MAGIC_BYTES = 8, SIGNALS = 64 };

/* Each is a siginfo_t of the kernel, which begins with the number (sigaction(2)). */
static uint64_t mask_of(const Criu__SignalQueue *queue)
{
    uint64_t mask = 0;

    for (size_t i = 0; queue && i < queue->n_signals; i++) {
        int32_t number = 0;

        if (queue->signals[i]->information.len < sizeof number)
            continue;
        memcpy(&number, queue->signals[i]->information.data, sizeof number);
        if (number >= 1 && number <= SIGNALS)
            mask |= UINT64_C(1) << (number - 1);
    }
    return mask;
}

/* The image has one message. */
static int read_core(const uint8_t *image, size_t length, uint64_t *ret_mask)
{
    const size_t before = MAGIC_BYTES + sizeof(uint32_t);
    Criu__Core *core = NULL;
    uint32_t size = 0;

    if (length >= before)
        memcpy(&size, image + MAGIC_BYTES, sizeof size);
    if (size > 0 && size <= length - before)
        core = criu__core__unpack(NULL, size, image + before);
    if (!core)
        return -EBADMSG;
    *ret_mask = mask_of(core->task ? core->task->pending : NULL) |
                mask_of(core->thread ? core->thread->pending : NULL);
    criu__core__free_unpacked(core, NULL);
    return 0;
}

int criu_image_pending_signals(int directory, pid_t pid, uint64_t *ret_mask, struct error *error)
{
    CLEANUP(free_ptr) char *name = text_format("core-%d.img", (int)pid);
    CLEANUP(free_ptr) char *image = NULL;
    size_t length = 0;
    int r = file_read(directory, name, CORE_MAXIMUM, &image, &length);

    if (r == 0)
        r = read_core((const uint8_t *)image, length, ret_mask);
    return r < 0 ? error_set(error, "criu-protocol", r, "Can't read %s", name) : 0;
}
