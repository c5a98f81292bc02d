/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer of the API server means as an error. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "basic/error.h"

/* Records the error of an answer whose status is not 2xx; `body` may be NULL or anything. */
void kube_error_of_status(const char *method, const char *path, int status, const json_t *body,
                          struct error *error);

/* An error with that code and message, without an errno's text. */
void kube_error_set(struct error *error, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The negative errno of a code that kube/client.h lists; -EIO for others. */
int kube_errno(const char *code);

/* Any bytes as a JSON object; NULL when they are none. Texts may have zero bytes in them, as
 * everybody may put such texts into his objects, and readers see what is before. */
json_t *kube_json_parse(const char *data, size_t length);
