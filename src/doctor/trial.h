/* SPDX-License-Identifier: Apache-2.0 */
/* Trying a thing in a child process, so that nothing of it stays. */
#pragma once

/* Runs `attempt` in a child; its result is 0 or a negative errno. A child that is killed (a seccomp
 * filter can do that) is -ENOSYS. */
int trial_run(int (*attempt)(void *context), void *context);
