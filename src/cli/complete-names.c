/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/complete-names.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "image/store-directory.h"
#include "workload/record.h"

struct names {
    char **list;
    size_t count;
};

static void names_add(struct names *names, char *name)
{
    char **grown = allocate((names->count + 2) * sizeof *grown);

    if (names->count)
        memcpy(grown, names->list, names->count * sizeof *grown);
    free(names->list);
    names->list = grown;
    grown[names->count++] = name;
}

static char **names_finish(struct names *names)
{
    if (!names->list)
        names->list = allocate(sizeof *names->list);
    return names->list;
}

char **process_ids(void)
{
    CLEANUP(close_directory) DIR *directory = opendir("/proc");
    struct names names = {0};
    struct dirent *entry;
    int pid;

    while (directory && (entry = readdir(directory))) {
        if (text_to_int(entry->d_name, &pid) == 0)
            names_add(&names, text_copy(entry->d_name));
    }
    return names_finish(&names);
}

char **snapshot_references(const char *root, bool with_versions)
{
    struct snapshot_list list = SNAPSHOT_LIST_INIT;
    struct names names = {0};

    if (store_list(snapshot_root(root), NULL, &list, NULL) < 0)
        return names_finish(&names);
    for (size_t i = 0; i < list.count; i++) {
        const struct snapshot_entry *entry = &list.entries[i];

        if (with_versions)
            names_add(&names, text_format("%s@%s", entry->id, entry->version));
        else if (i == 0 || !text_equal(entry->id, list.entries[i - 1].id))
            names_add(&names, text_copy(entry->id));
    }
    snapshot_list_done(&list);
    return names_finish(&names);
}

char **known_workloads(const char *root)
{
    struct names names = {0};
    char **all = NULL;

    if (workload_names(snapshot_root(root), &all, NULL) < 0)
        return names_finish(&names);
    for (char **name = all; *name; name++)
        names_add(&names, *name);
    free(all);
    return names_finish(&names);
}
