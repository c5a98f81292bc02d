/* SPDX-License-Identifier: Apache-2.0 */
#include "container/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/json-shape.h"
#include "basic/text.h"
#include "http/printable.h"

enum { NAME_MAXIMUM = 4096, ID_MAXIMUM = 255 };

int record_error(struct error *error, const char *format, ...)
{
    CLEANUP(free_ptr) char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    text = text_vformat(format, arguments);
    va_end(arguments);
    (void)error_set(error, "container-record", 0, "%s", text);
    return -EBADMSG;
}

int record_parse(const char *data, size_t length, const char *what, json_t **ret,
                 struct error *error)
{
    json_error_t problem;
    json_t *json;

    if (length > RECORD_BYTES_MAXIMUM ||
        json_shape(data, length, RECORD_DEPTH_MAXIMUM, RECORD_VALUES_MAXIMUM) != JSON_SHAPE_SOUND)
        return record_error(error, "%s is too large or nested too deeply", what);
    json = json_loadb(data, length, 0, &problem);
    if (!json) {
        CLEANUP(free_ptr)
        char *text = printable_copy(problem.text, strlen(problem.text), sizeof problem.text);

        return record_error(error, "%s is not valid JSON: line %d: %s", what, problem.line, text);
    }
    if (!json_is_object(json)) {
        json_decref(json);
        return record_error(error, "%s is not a JSON object", what);
    }
    *ret = json;
    return 0;
}

int record_read(int directory, const char *path, const char *what, json_t **ret,
                struct error *error)
{
    CLEANUP(free_ptr) char *data = NULL;
    size_t length = 0;
    int r = file_read(directory, path, RECORD_BYTES_MAXIMUM, &data, &length);

    if (r < 0) {
        (void)error_set(error, "container-record", r, "Can't read %s", what);
        return r == -ENOENT || r == -ENOTDIR ? -ENOENT : -EBADMSG;
    }
    return record_parse(data, length, what, ret, error);
}

const char *record_text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

char *record_clean(const char *text)
{
    return text && *text ? printable_copy(text, strlen(text), NAME_MAXIMUM) : NULL;
}

bool record_is_id(const char *text)
{
    size_t length = strlen(text);

    if (length == 0 || length > ID_MAXIMUM || text[0] == '.' || text[0] == '-')
        return false;
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-") ==
           length;
}

int record_pid(const json_t *object, const char *name, const char *what, pid_t *ret,
               struct error *error)
{
    const json_t *value = json_object_get(object, name);

    if (value && (!json_is_integer(value) || json_integer_value(value) < -1 ||
                  json_integer_value(value) > INT_MAX))
        return record_error(error, "%s has no valid process id (%s)", what, name);
    *ret = value && json_integer_value(value) > 0 ? (pid_t)json_integer_value(value) : 0;
    return 0;
}

static void fill(char **field, const char *text)
{
    if (!*field)
        *field = record_clean(text);
}

static void fill_from(char **field, const json_t *object, const char *const *names)
{
    for (; *names; names++)
        fill(field, record_text(object, *names));
}

void record_fill_names(struct container *container)
{
    /* Labels of a kubelet, then annotations of containerd, then of CRI-O. */
    static const char *const name[] = {"io.kubernetes.container.name",
                                       "io.kubernetes.cri.container-name", NULL};
    static const char *const pod[] = {"io.kubernetes.pod.name", "io.kubernetes.cri.sandbox-name",
                                      NULL};
    static const char *const namespace[] = {"io.kubernetes.pod.namespace",
                                            "io.kubernetes.cri.sandbox-namespace", NULL};
    static const char *const uid[] = {"io.kubernetes.pod.uid", "io.kubernetes.cri.sandbox-uid",
                                      NULL};
    static const char *const sandbox[] = {"io.kubernetes.cri.sandbox-id",
                                          "io.kubernetes.cri-o.SandboxID", NULL};
    static const char *const image[] = {"io.kubernetes.cri.image-name",
                                        "io.kubernetes.cri-o.ImageName", NULL};
    const json_t *sources[] = {container->labels, json_object_get(container->spec, "annotations")};

    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        fill_from(&container->name, sources[i], name);
        fill_from(&container->pod_name, sources[i], pod);
        fill_from(&container->pod_namespace, sources[i], namespace);
        fill_from(&container->pod_uid, sources[i], uid);
        fill_from(&container->sandbox_id, sources[i], sandbox);
        fill_from(&container->image, sources[i], image);
    }
}
