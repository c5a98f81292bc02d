/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide.h"

#include "basic/text.h"

static const struct decision nothing = {.step = STEP_NOTHING};

static bool any_failed(const struct pod *pod)
{
    for (size_t i = 0; i < pod->container_count; i++) {
        if (pod->containers[i].failed)
            return true;
    }
    return false;
}

static struct decision begin_or_wait(const struct work_view *work, uint64_t now_usec)
{
    if (work->not_before_usec > now_usec)
        return (struct decision){.step = STEP_NOTHING, .again_usec = work->not_before_usec};
    return (struct decision){.step = STEP_BEGIN};
}

/* In the control protocol the container says when it is ready; before, its pod does. */
static bool is_quiet(const struct pod *pod, const struct wish *wish)
{
    const struct pod_container *container = pod_container(pod, wish->container);

    if (!container || !container->running)
        return false;
    if (wish->invalid)
        return true; /* to be told */
    return wish->protocol == PROTOCOL_CONTROL ? container->ready : pod->ready;
}

static struct decision decide_capture(const struct pod *pod, const struct wish *wish,
                                      const struct work_view *work,
                                      const struct decide_limits *limits, uint64_t now_usec)
{
    if (work->attempts >= limits->capture_attempts)
        return nothing;
    if (any_failed(pod))
        return (struct decision){.step = STEP_REFUSE, .code = "pod-failed"};
    if (!is_quiet(pod, wish))
        return nothing;
    return begin_or_wait(work, now_usec);
}

/* The kubelet tells late that a container runs, so one that should run soon is looked for. */
static bool may_run(const struct pod *pod, const struct pod_container *container)
{
    if (container->running)
        return true;
    return pod->phase == POD_PENDING && pod->initialized && !container->failed;
}

static struct decision decide_restore(const struct pod *pod, const struct wish *wish,
                                      const struct work_view *work,
                                      const struct decide_limits *limits, uint64_t now_usec)
{
    const struct pod_container *container = pod_container(pod, wish->container);

    if (!container || !may_run(pod, container) || work->attempts >= limits->restore_attempts)
        return nothing;
    return begin_or_wait(work, now_usec);
}

static bool was_replaced(const struct pod *pod, const struct wish *wish,
                         const struct work_view *work)
{
    const struct pod_container *container = pod_container(pod, wish->container);

    return wish->kind == WISH_RESTORE && work->container_id && container && container->id &&
           container->running && !text_equal(container->id, work->container_id);
}

struct decision decide(const struct pod *pod, const struct wish *wish, const struct work_view *work,
                       const struct decide_limits *limits, uint64_t now_usec)
{
    bool over = pod->deleted || pod->phase == POD_ENDED;

    switch (work->state) {
    case WORK_RUNNING:
        return (struct decision){.step = over && !work->cancelled ? STEP_CANCEL : STEP_NOTHING};
    case WORK_QUEUED:
        return (struct decision){.step = over ? STEP_CANCEL : STEP_NOTHING};
    case WORK_SETTLED:
        return nothing;
    case WORK_FAILED:
        if (!over && work->refused && !wish->invalid)
            return (struct decision){.step = STEP_FORGET};
        return nothing;
    case WORK_DONE:
        if (!over && was_replaced(pod, wish, work))
            return (struct decision){.step = STEP_FORGET};
        return nothing;
    case WORK_IDLE:
        break;
    }
    if (over && wish->kind == WISH_CAPTURE && work->attempts)
        return (struct decision){.step = STEP_GIVE_UP};
    if (over)
        return nothing;
    if (wish->kind == WISH_CAPTURE)
        return decide_capture(pod, wish, work, limits, now_usec);
    return decide_restore(pod, wish, work, limits, now_usec);
}
