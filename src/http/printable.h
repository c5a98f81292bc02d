/* SPDX-License-Identifier: Apache-2.0 */
/* Text that somebody else wrote, before a person sees it. */
#pragma once

#include <stddef.h>

/* A copy of at most `maximum` bytes of `data` that is valid UTF-8 without control characters; what
 * is not becomes '?', what is cut off ends in "...". The caller frees it. */
char *printable_copy(const char *data, size_t length, size_t maximum);

/* The same after the percent decoding of "grpc-message" (gRPC over HTTP/2, section "Responses"): a
 * '%' without two hexadecimal digits stands for itself. */
char *printable_percent_decode(const char *text, size_t maximum);
