/* SPDX-License-Identifier: Apache-2.0 */
#include "image/store-gc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "image/kept-names.h"
#include "image/layout.h"
#include "image/names.h"
#include "image/scratch.h"
#include "image/store-directory.h"
#include "image/tree.h"

const char *gc_kind_name(enum gc_kind kind)
{
    static const char *const names[] = {
        [GC_STAGING] = "staging",
        [GC_TRASH] = "trash",
        [GC_SNAPSHOT] = "snapshot",
    };

    return names[kind];
}

static void item_done(struct gc_item *item)
{
    free(item->id);
    free(item->version);
    free(item->path);
    free(item->problem);
}

/* Takes over what the item holds. */
static int add_item(struct gc_result *result, struct gc_item *item)
{
    struct gc_item *grown = result->items;

    /* Capacity: the next power of two. */
    if ((result->count & (result->count - 1)) == 0)
        grown = realloc(result->items, (result->count ? result->count * 2 : 1) * sizeof *grown);
    if (!grown) {
        item_done(item);
        return -ENOMEM;
    }
    result->items = grown;
    grown[result->count++] = *item;
    if (!item->problem)
        result->bytes += item->bytes;
    return 0;
}

static uint64_t allocated_below(int versions, const char *name)
{
    CLEANUP(close_fd) int fd = file_open_beneath(versions, name, O_RDONLY | O_DIRECTORY, 0);
    CLEANUP(tree_done) struct tree tree = TREE_INIT;

    return fd < 0 || tree_read(fd, &tree, NULL) < 0 ? 0 : tree_allocated(&tree);
}

static char *path_of(int versions, const char *name)
{
    CLEANUP(free_ptr) char *directory = fd_path(versions);

    return text_format("%s/%s", directory ? directory : "?", name);
}

static int collect_scratch(const char *id, int versions, const char *text, bool dry_run,
                           struct gc_result *result)
{
    CLEANUP(close_fd) int lock = -1;
    enum scratch_owner owner;
    struct scratch_name name;
    struct gc_item item = {0};

    if (scratch_name_parse(text, &name) < 0)
        return 0;
    owner = scratch_claim(versions, text, &name, &lock);
    if (owner == SCRATCH_LIVES)
        return 0;
    item = (struct gc_item){.kind = name.kind == SCRATCH_TRASH ? GC_TRASH : GC_STAGING,
                            .id = text_copy(id),
                            .version = text_format("%" PRIu64, name.version),
                            .path = path_of(versions, text),
                            .bytes = allocated_below(versions, text)};
    if (owner == SCRATCH_UNKNOWN) {
        item.problem = text_copy("its owner may run on another machine");
    } else if (!dry_run) {
        int r = kept_names_remove_with(versions, text);

        if (r < 0)
            item.problem = text_format("can't be removed: %s", strerror(-r));
    }
    return add_item(result, &item);
}

static int collect_leftovers(const char *id, int versions, bool dry_run, struct gc_result *result)
{
    CLEANUP(names_done) struct names names = NAMES_INIT;
    int r = names_read(versions, &names);

    if (r < 0)
        return r == -ENOMEM ? r : 0;
    for (size_t i = 0; r == 0 && i < names.count; i++)
        r = collect_scratch(id, versions, names.names[i], dry_run, result);
    return r;
}

static bool is_older(const char *created, uint64_t seconds)
{
    struct tm fields = {0};
    time_t then, now = time(NULL);

    if (!strptime(created, "%Y-%m-%dT%H:%M:%SZ", &fields))
        return false;
    then = timegm(&fields);
    return then < now && (uint64_t)(now - then) > seconds;
}

static int collect_snapshot(const char *root, const struct snapshot_entry *entry, int versions,
                            bool dry_run, struct gc_result *result)
{
    CLEANUP(free_ptr) char *reference = text_format("%s@%s", entry->id, entry->version);
    struct error error = ERROR_INIT;
    struct gc_item item = {.kind = GC_SNAPSHOT,
                           .id = text_copy(entry->id),
                           .version = text_copy(entry->version),
                           .path = path_of(versions, entry->version),
                           .bytes = allocated_below(versions, entry->version)};

    if (!dry_run && store_delete(root, reference, &error) < 0)
        item.problem = STEAL_PTR(error.message);
    error_done(&error);
    return add_item(result, &item);
}

static int collect_old(const char *root, const char *id, int versions,
                       const struct gc_options *options, struct gc_result *result)
{
    CLEANUP(snapshot_list_done) struct snapshot_list list = SNAPSHOT_LIST_INIT;
    size_t newer = 0;

    if (!options->by_count && !options->by_age)
        return 0;
    if (store_list(root, id, &list, NULL) < 0)
        return -ENOMEM;
    for (size_t i = list.count; i > 0; i--) {
        const struct snapshot_entry *entry = &list.entries[i - 1];
        int r;

        if (entry->state != SNAPSHOT_COMPLETE)
            continue;
        if (newer++ < options->keep && options->by_count)
            continue;
        if (options->by_age && !is_older(entry->created, options->older_than))
            continue;
        r = collect_snapshot(root, entry, versions, options->dry_run, result);
        if (r < 0)
            return r;
    }
    return 0;
}

static int collect_id(const char *root, const char *id, const struct gc_options *options,
                      struct gc_result *result)
{
    CLEANUP(close_fd) int versions = snapshot_versions_open(root, id, NULL);
    int r;

    if (versions < 0)
        return 0;
    r = collect_leftovers(id, versions, options->dry_run, result);
    if (r == 0)
        r = collect_old(root, id, versions, options, result);
    if (!options->dry_run)
        store_remove_empty(root, id);
    return r;
}

static int collect_all(const char *root, const struct gc_options *options, struct gc_result *result,
                       struct error *error)
{
    CLEANUP(close_fd) int directory = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(names_done) struct names names = NAMES_INIT;
    int r = directory < 0 ? -errno : names_read(directory, &names);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return error_set(error, "snapshot-read", r, "Can't list the snapshots in '%s'", root);
    for (size_t i = 0; r == 0 && i < names.count; i++) {
        if (snapshot_id_check(names.names[i], NULL) == 0)
            r = collect_id(root, names.names[i], options, result);
    }
    return r < 0 ? error_set(error, "out-of-memory", r, "Too many snapshots") : 0;
}

int store_gc(const char *root, const struct gc_options *options, struct gc_result *ret_result,
             struct error *error)
{
    struct gc_result result = GC_RESULT_INIT;
    int r;

    if (options->id) {
        r = snapshot_id_check(options->id, error);
        if (r == 0 && collect_id(root, options->id, options, &result) < 0)
            r = error_set(error, "out-of-memory", ENOMEM, "Too many snapshots");
    } else {
        r = collect_all(root, options, &result, error);
    }
    if (r < 0) {
        gc_result_done(&result);
        return r;
    }
    *ret_result = result;
    return 0;
}

void gc_result_done(struct gc_result *result)
{
    for (size_t i = 0; i < result->count; i++)
        item_done(&result->items[i]);
    free(result->items);
    *result = GC_RESULT_INIT;
}
