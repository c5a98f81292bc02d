/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "image/store-directory.h"

/* An id alone means one version; where there are more, all of them must be meant. */
static int check_reference(const struct invocation *invocation, const char *id,
                           const struct snapshot_list *list, struct error *error)
{
    if (list->count == 0)
        return error_set(error, "snapshot-missing", 0, "There is no snapshot '%s' below %s", id,
                         invocation->root);
    if (list->count > 1 && !option_flag(invocation, "all-versions"))
        return error_set(error, "usage", 0,
                         "'%s' has %zu versions; name one (%s@%s) or give --all-versions", id,
                         list->count, id, list->entries[0].version);
    return 0;
}

static void print_deleted(const struct invocation *invocation, const char *id, const char *version,
                          const struct snapshot_list *list)
{
    json_t *array = json_array();

    for (size_t i = 0; i < list->count; i++) {
        const struct snapshot_entry *entry = &list->entries[i];

        if (version && !text_equal(version, entry->version))
            continue;
        (void)json_array_append_new(array, json_sprintf("%s@%s", id, entry->version));
        if (!invocation->json)
            (void)printf("deleted %s@%s\n", id, entry->version);
    }
    if (invocation->json)
        print_json_object(stdout, json_pack("{s:O}", "deleted", array));
    json_decref(array);
}

int command_delete(const struct invocation *invocation, struct error *error)
{
    CLEANUP(free_ptr) char *id = NULL;
    CLEANUP(free_ptr) char *version = NULL;
    struct snapshot_list list = SNAPSHOT_LIST_INIT;
    const char *reference = operand_at(invocation, 0);
    int r = snapshot_reference_parse(reference, &id, &version, error);

    if (r < 0)
        return r;
    if (version && option_flag(invocation, "all-versions"))
        return error_set(error, "usage", 0, "'%s' names a version, --all-versions means all",
                         reference);
    r = store_list(invocation->root, id, &list, error);
    if (r < 0)
        return r;
    if (!version)
        r = check_reference(invocation, id, &list, error);
    if (r == 0)
        r = store_delete(invocation->root, reference, error);
    if (r == 0)
        print_deleted(invocation, id, version, &list);
    snapshot_list_done(&list);
    return r;
}
