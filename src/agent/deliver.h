/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a workload hears from the agent: files in its container, and signals to its first process.
 * Paths are those of the container: they are opened below its "/", links stay inside, and what is
 * replaced is a name, never what a name leads to. "container-deliver"
 */
#pragma once

#include <signal.h>

#include "basic/error.h"
#include "container/runtime.h"

/* Writes a whole file, mode 0644, at once; makes missing directories, mode 0755. */
int deliver_file(const struct container *container, const char *path, const char *text,
                 struct error *error);

/* A small file in a control directory. */
int deliver_sentinel(const struct container *container, const char *directory, const char *name,
                     const char *text, struct error *error);

/* Takes such a file away; nothing there is success. */
int deliver_removal(const struct container *container, const char *path, struct error *error);

/* To the first process of the container, if it still is that process. */
int deliver_signal(const struct container *container, int number, struct error *error);
