/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/backlog.h"

#include <stdlib.h>

#include "agent/work.h"
#include "basic/text.h"
#include "kube/object.h"

void backlog_add(struct backlog *backlog, json_t *message)
{
    json_t **longer = allocate((backlog->count + 1) * sizeof *longer);

    for (size_t i = 0; i < backlog->count; i++)
        longer[i] = backlog->messages[i];
    longer[backlog->count++] = json_incref(message);
    free(backlog->messages);
    backlog->messages = longer;
}

static int compare(const void *left, const void *right)
{
    const json_t *a = *(json_t *const *)left, *b = *(json_t *const *)right;
    const char *kinds[] = {kube_text(a, "order", "kind"), kube_text(b, "order", "kind")};
    const char *keys[] = {kube_text(a, "key"), kube_text(b, "key")};
    int words[] = {text_equal(kinds[0], "tell"), text_equal(kinds[1], "tell")};
    unsigned serials[] = {keys[0] ? work_serial(keys[0]) : 0, keys[1] ? work_serial(keys[1]) : 0};

    if (words[0] != words[1])
        return words[0] - words[1];
    return serials[0] < serials[1] ? -1 : serials[0] > serials[1];
}

void backlog_sort(struct backlog *backlog)
{
    if (backlog->count)
        qsort(backlog->messages, backlog->count, sizeof(json_t *), compare);
}

void backlog_done(struct backlog *backlog)
{
    for (size_t i = 0; i < backlog->count; i++)
        json_decref(backlog->messages[i]);
    free(backlog->messages);
    *backlog = (struct backlog){0};
}
