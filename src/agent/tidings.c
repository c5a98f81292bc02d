/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tidings.h"

#include <stdlib.h>

#include "basic/catalogue.h"
#include "basic/cleanup.h"
#include "basic/text.h"
#include "kube/events.h"
#include "kube/object.h"

static char *with_cure(const char *message, const char *code, const char *cure)
{
    CLEANUP(free_ptr) char *tag = text_format(" [%s]", code ? code : "unknown");
    const char *what = message ? message : "It failed";

    return text_format("%s%s%s%s", what, text_ends_with(what, tag) ? "" : tag, cure ? " " : "",
                       cure ? cure : "");
}

static char *tidings_of_error(const struct error *error)
{
    const struct catalogue_entry *entry = catalogue_find(error->code);

    return with_cure(error->message, error->code, entry ? entry->cure : NULL);
}

static char *tidings_of_success(enum wish_kind kind, const json_t *result)
{
    const char *snapshot = kube_text(result, "snapshot");
    double seconds = json_number_value(json_object_get(result, "seconds"));
    double frozen = json_number_value(json_object_get(result, "frozen_seconds"));
    CLEANUP(free_ptr) char *size = text_bytes((uint64_t)kube_number(result, "bytes"));

    snapshot = snapshot ? snapshot : "";
    if (json_is_true(json_object_get(result, "already")))
        return text_format("Snapshot %s was there already", snapshot);
    if (kind == WISH_RESTORE)
        return text_format("Restored from snapshot %s in %.2f s", snapshot, seconds);
    return text_format("Snapshot %s is complete: %s in %.2f s, %.2f s of them frozen", snapshot,
                       size, seconds, frozen);
}

char *tidings_of_result(enum wish_kind kind, const json_t *result)
{
    const char *code = kube_text(result, "code");
    const char *cure = kube_text(result, "cure");
    const struct catalogue_entry *entry = code ? catalogue_find(code) : NULL;

    if (!result)
        return text_copy(kind == WISH_CAPTURE ? "The container is being saved"
                                              : "The container is being restored");
    if (json_is_true(json_object_get(result, "ok")))
        return tidings_of_success(kind, result);
    return with_cure(kube_text(result, "message"), code, cure ? cure : entry ? entry->cure : NULL);
}

static void tell(struct kube_recorder *recorder, const struct pod *pod, enum kube_event_type type,
                 const char *reason, const char *message)
{
    struct kube_involved involved;

    if (!pod || !recorder)
        return;
    involved = (struct kube_involved){.api_version = "v1",
                                      .kind = "Pod",
                                      .namespace = pod->namespace,
                                      .name = pod->name,
                                      .uid = pod->uid};
    kube_event(recorder, &involved, type, reason, "%s", message);
}

void tidings_tell_complaint(struct kube_recorder *recorder, const struct node_pod *entry,
                            const struct error *error)
{
    CLEANUP(free_ptr) char *message = tidings_of_error(error);

    tell(recorder, entry->pod, KUBE_EVENT_WARNING, "SnapshotRequestInvalid", message);
}

void tidings_tell_begin(struct kube_recorder *recorder, const struct work *work)
{
    bool capture = work->kind == WISH_CAPTURE;
    CLEANUP(free_ptr)
    char *message =
        text_format("%s snapshot '%s'",
                    capture ? "Container is being saved as" : "Container is being restored from",
                    work->wish.id);

    tell(recorder, work->owner->pod, KUBE_EVENT_NORMAL,
         capture ? "CheckpointStarted" : "RestoreRequested", message);
}

/* What went wrong beside it: a workload that could not be told, say. */
static void tell_notes(struct kube_recorder *recorder, const struct work *work)
{
    const json_t *note;
    size_t i;

    json_array_foreach(json_object_get(work->result, "notes"), i, note)
        tell(recorder, work->owner->pod, KUBE_EVENT_WARNING,
             work->kind == WISH_CAPTURE ? "CheckpointWarning" : "RestoreWarning",
             json_string_value(note));
}

void tidings_tell_end(struct kube_recorder *recorder, struct work *work)
{
    static const char *const reasons[2][2] = {{"CheckpointFailed", "CheckpointSucceeded"},
                                              {"RestoreFailed", "RestoreSucceeded"}};
    bool ok = work_succeeded(work);
    CLEANUP(free_ptr) char *message = tidings_of_result(work->kind, work->result);

    tell(recorder, work->owner->pod, ok ? KUBE_EVENT_NORMAL : KUBE_EVENT_WARNING,
         reasons[work->kind][ok], message);
    tell_notes(recorder, work);
    work->announced = true;
}
