/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/errors.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "http/printable.h"
#include "kube/object.h"

enum { SAID_MAXIMUM = 1024 };

int kube_errno(const char *code)
{
    static const struct {
        const char *code;
        int number;
    } numbers[] = {{"kube-unreachable", EHOSTUNREACH},
                   {"kube-untrusted", EKEYREJECTED},
                   {"kube-timeout", ETIMEDOUT},
                   {"kube-unauthorized", EACCES},
                   {"kube-forbidden", EPERM},
                   {"kube-not-found", ENOENT},
                   {"kube-exists", EEXIST},
                   {"kube-conflict", EBUSY},
                   {"kube-gone", ESTALE},
                   {"kube-invalid", EINVAL},
                   {"kube-throttled", EAGAIN},
                   {"kube-server", EREMOTEIO},
                   {"kube-too-large", EMSGSIZE},
                   {"kube-protocol", EBADMSG},
                   {"kube-lease-held", EBUSY},
                   {"out-of-memory", ENOMEM},
                   {"interrupted", EINTR}};

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (text_equal(code, numbers[i].code))
            return -numbers[i].number;
    }
    return -EIO;
}

void kube_error_set(struct error *error, const char *code, const char *format, ...)
{
    va_list arguments;
    char *message;

    va_start(arguments, format);
    message = text_vformat(format, arguments);
    va_end(arguments);
    (void)error_set(error, code, 0, "%s", message);
    if (error)
        error->number = -kube_errno(code);
    free(message);
}

static const char *code_of(int status, const json_t *body)
{
    switch (status) {
    case 401:
        return "kube-unauthorized";
    case 403:
        return "kube-forbidden";
    case 404:
        return "kube-not-found";
    case 409:
        return text_equal(kube_text(body, "reason"), "AlreadyExists") ? "kube-exists"
                                                                      : "kube-conflict";
    case 410:
        return "kube-gone";
    case 412:
        return "kube-conflict";
    case 413:
        return "kube-too-large";
    case 429:
        return "kube-throttled";
    default:
        if (status >= 500)
            return "kube-server";
        return status >= 400 ? "kube-invalid" : "kube-protocol";
    }
}

void kube_error_of_status(const char *method, const char *path, int status, const json_t *body,
                          struct error *error)
{
    const char *said = kube_text(body, "message");
    CLEANUP(free_ptr) char *clean = NULL;

    if (!said || !*said)
        said = "no reason given";
    clean = printable_copy(said, strlen(said), SAID_MAXIMUM);
    kube_error_set(error, code_of(status, body), "The API server answered %s %s with %d: %s",
                   method, path, status, clean);
}

json_t *kube_json_parse(const char *data, size_t length)
{
    json_t *json = json_loadb(data, length, JSON_ALLOW_NUL, NULL);

    if (json && !json_is_object(json)) {
        json_decref(json);
        return NULL;
    }
    return json;
}
