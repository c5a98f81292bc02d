/* SPDX-License-Identifier: Apache-2.0 */
/* Files in YAML that people write, as JSON trees. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "basic/error.h"

/* One document. Every scalar becomes a text, except an empty one, "~" and "null", which become null
 * (unless quoted). Refused with the line, as "yaml-syntax": what is no YAML, references (anchors
 * and aliases), keys that are no text or are there twice, more than 64 levels or 100,000 values. */
int yaml_parse(const char *text, size_t length, json_t **ret, struct error *error);
