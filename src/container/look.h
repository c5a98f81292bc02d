/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of the search for a container, for the files of this folder. */
#pragma once

#include "basic/error.h"
#include "basic/text.h"
#include "container/runtime.h"

/* Hands over: `from` is empty then. */
void container_move(struct container *to, struct container *from);

/* Where was looked already, for the error that says that there is nothing: "A, B". */
#define LOOKED_INIT BUFFER_INIT((size_t)16 << 10)

void looked_add(struct buffer *looked, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "container-missing", naming where was looked. */
int looked_in_vain(const struct buffer *looked, const char *text, struct error *error);

/* container_find_by_state, and where it looked. */
int state_find(const char *text, const char *state_directory, struct container *ret,
               struct buffer *looked, struct error *error);

/* Sockets of runtimes that exist here: NULL-terminated, to be freed with free_sockets. */
char **runtime_sockets(void);
void free_sockets(char ***sockets);

/* Chooses from a list: see runtime_find. */
int container_choose(const struct container_list *list, const char *text, const char *where,
                     size_t *ret_index, struct error *error);
