/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648, section 4), as kubeconfig files and secrets have it. */
#pragma once

/* NULL when it is not base64, or what is in it is no text (has a zero byte). The caller frees it.
 */
char *base64_decode_text(const char *text);
