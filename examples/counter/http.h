/* SPDX-License-Identifier: Apache-2.0 */
/* As little HTTP as an example needs: one request a connection, one connection at a time. */
#pragma once

#include <stddef.h>

/* Writes the body for `path` ("/factor/15") and returns the status: 200, 404, ... */
typedef int http_handler(const char *path, char *body, size_t size, void *context);

/* Listens on 127.0.0.1 (port 0: the kernel chooses). Returns a descriptor or -1 with errno;
 * *port is what it became. */
int http_listen(unsigned *port);

/* Answers for ever. */
void http_serve(int listener, http_handler *handler, void *context) __attribute__((noreturn));
