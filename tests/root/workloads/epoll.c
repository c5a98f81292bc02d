/* SPDX-License-Identifier: Apache-2.0 */
/* An epoll set with data, one-shot and edge-triggered members, a nested set. */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common.h"

static struct {
    int outer;
    int inner;
    int level;
    int oneshot;
    int inside;
} s;

static int add(int set, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};

    MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), "EPOLL_CTL_ADD");
    return 0;
}

static int setup(void)
{
    MUST(s.outer = epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    MUST(s.inner = epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    MUST(s.level = eventfd(1, EFD_CLOEXEC), "eventfd");
    MUST(s.oneshot = eventfd(0, EFD_CLOEXEC), "eventfd");
    MUST(s.inside = eventfd(0, EFD_CLOEXEC), "eventfd");
    PASS_ON(add(s.outer, s.level, EPOLLIN, 0x1111111122222222u));
    PASS_ON(add(s.outer, s.oneshot, EPOLLIN | EPOLLONESHOT, 2));
    PASS_ON(add(s.outer, s.inner, EPOLLIN, 3));
    return add(s.inner, s.inside, EPOLLIN | EPOLLET, 4);
}

/* Which of the members are ready now, as a sum of their data. */
static int ready(int set, uint64_t expected)
{
    struct epoll_event events[8];
    uint64_t sum = 0;
    int count;

    MUST(count = epoll_wait(set, events, ARRAY_SIZE(events), 0), "epoll_wait");
    for (int i = 0; i < count; i++)
        sum += events[i].data.u64;
    EQUAL("sum of ready members", expected, sum);
    return 0;
}

static int bump(int fd, bool up)
{
    uint64_t one = 1;

    if (up)
        MUST(write(fd, &one, sizeof(one)), "write");
    else
        MUST(read(fd, &one, sizeof(one)), "read");
    return 0;
}

static int check(uint64_t n)
{
    const uint64_t level = 0x1111111122222222u;
    struct epoll_event rearm = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 2};

    /* The one-shot member has had its shot: disarmed though readable, except at first. */
    PASS_ON(ready(s.outer, level));
    if (n == 1)
        PASS_ON(bump(s.oneshot, true));
    MUST(epoll_ctl(s.outer, EPOLL_CTL_MOD, s.oneshot, &rearm), "EPOLL_CTL_MOD");
    PASS_ON(ready(s.outer, level + 2));
    PASS_ON(ready(s.outer, level));
    PASS_ON(bump(s.inside, true));
    PASS_ON(ready(s.outer, level + 3));
    PASS_ON(ready(s.inner, 4));
    PASS_ON(ready(s.inner, 0));
    PASS_ON(bump(s.inside, false));
    return ready(s.outer, level);
}

const struct workload_kind kind_epoll = {
    .name = "epoll",
    .description = "epoll sets, nested, one-shot and edge-triggered",
    .setup = setup,
    .check = check,
};
