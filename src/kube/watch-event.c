/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/watch-event.h"

#include <errno.h>

#include "basic/text.h"
#include "kube/errors.h"
#include "kube/object.h"

static int type_of(const char *text)
{
    static const char *const names[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"};

    for (int i = 0; i < (int)(sizeof names / sizeof names[0]); i++) {
        if (text_equal(text, names[i]))
            return i;
    }
    return -1;
}

int watch_event_parse(const char *line, size_t length, struct watch_event *ret, struct error *error)
{
    json_t *json = kube_json_parse(line, length);
    json_t *object = kube_get(json, "object");
    int type = type_of(kube_text(json, "type"));

    if (type < 0 || !json_is_object(object)) {
        kube_error_set(error, "kube-protocol", "A line of a watch is no event");
        json_decref(json);
        return -EBADMSG;
    }
    *ret = (struct watch_event){.type = (enum watch_type)type, .object = json_incref(object)};
    json_decref(json);
    return 0;
}

void watch_event_done(struct watch_event *event)
{
    json_decref(event->object);
    event->object = NULL;
}
