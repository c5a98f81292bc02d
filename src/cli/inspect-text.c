/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "cli/inspect.h"
#include "cli/manifest-view.h"
#include "cli/output.h"
#include "image/manifest.h"

enum { FILES_SHOWN = 10, BAR_WIDTH = 30 };

/* Gives up `value`. */
static void print_fact(FILE *stream, const char *label, char *value)
{
    (void)fprintf(stream, "  %-9s ", label);
    print_safe(stream, value);
    (void)fputc('\n', stream);
    free(value);
}

static void print_facts(FILE *stream, const struct snapshot *snapshot)
{
    const json_t *manifest = snapshot_manifest(snapshot);
    CLEANUP(free_ptr) char *age = text_age(snapshot_created(snapshot));
    CLEANUP(free_ptr) char *size = text_bytes(snapshot_bytes(snapshot));
    CLEANUP(free_ptr) char *command = view_command(view_value(manifest, "workload.command"));

    (void)fprintf(stream, "Snapshot %s@%s\n", snapshot_id(snapshot), snapshot_version(snapshot));
    print_fact(stream, "created", text_format("%s (%s ago)", snapshot_created(snapshot), age));
    print_fact(stream, "by", text_format("stasis %s", view_text(manifest, "stasis", "?")));
    print_fact(stream, "path", text_copy(snapshot_path(snapshot)));
    print_fact(stream, "size",
               text_format("%s in %zu files", size, snapshot_contents(snapshot)->file_count));
    print_fact(stream, "workload",
               text_format("%s (%s)", view_text(manifest, "workload.name", "?"),
                           view_text(manifest, "workload.mode", "?")));
    print_fact(stream, "command", text_copy(command));
    print_fact(stream, "stdio", text_copy(view_text(manifest, "workload.stdio", "?")));
    print_fact(stream, "tcp", text_copy(view_text(manifest, "workload.tcp", "?")));
    print_fact(stream, "source",
               text_format("%s, Linux %s, %s", view_text(manifest, "source.host", "?"),
                           view_text(manifest, "source.kernel", "?"),
                           view_text(manifest, "source.architecture", "?")));
    print_fact(stream, "cpu", text_copy(view_text(manifest, "source.cpu_model", "?")));
    print_fact(stream, "criu", view_criu_version(manifest));
}

static void print_gpus(FILE *stream, const json_t *manifest)
{
    const json_t *gpus = view_array(manifest, "cuda.gpus");
    struct table *table = table_new("  GPU|MODEL|>MEMORY");

    for (size_t i = 0; i < json_array_size(gpus); i++) {
        const json_t *gpu = json_array_get(gpus, i);

        table_add(table, text_format("  %s", view_text(gpu, "uuid", "?")));
        table_add(table, text_copy(view_text(gpu, "name", "?")));
        table_add(table, text_bytes(view_number(gpu, "memory")));
    }
    if (json_array_size(gpus)) {
        (void)fputs("\nGPUs, driver ", stream);
        print_safe(stream, view_text(manifest, "cuda.driver", "?"));
        (void)fputc('\n', stream);
    }
    table_print(table, stream);
    table_free(table);
}

static void add_process(const json_t *process, size_t depth, void *context)
{
    struct table *table = context;
    CLEANUP(free_ptr) char *command = view_command(view_value(process, "command"));
    int indent = (int)(depth > 20 ? 40 : 2 * depth);

    table_add(table, text_format("  %" PRIu64, view_number(process, "pid")));
    table_add(table, text_format("%" PRIu64, view_number(process, "ppid")));
    table_add(table, text_format("%" PRIu64, view_number(process, "threads")));
    table_add(table, text_bytes(view_number(process, "rss_bytes")));
    table_add(table, text_copy(json_is_true(view_value(process, "cuda")) ? "yes" : "-"));
    table_add(table,
              text_format("%*s%.200s%s", indent, "", command, strlen(command) > 200 ? "..." : ""));
}

static void print_processes(FILE *stream, const json_t *manifest)
{
    struct table *table = table_new(">  PID|>PPID|>THREADS|>RESIDENT|CUDA|COMMAND");
    size_t count =
        view_process_tree(view_array(manifest, "workload.processes"), add_process, table);

    if (count)
        (void)fprintf(stream, "\nProcesses (%zu)\n", count);
    table_print(table, stream);
    table_free(table);
}

static void print_phases(FILE *stream, const json_t *manifest)
{
    size_t count;
    double total;
    CLEANUP(free_ptr) struct view_phase *phases = view_phases(manifest, &count, &total);
    struct table *table = table_new("  PHASE|>TIME|");

    for (size_t i = 0; i < count; i++) {
        double scale = total > 0 ? BAR_WIDTH / total : 0;
        int start = (int)(phases[i].start * scale), length = (int)(phases[i].seconds * scale + 0.5);

        table_add(table, text_format("  %s", phases[i].name));
        table_add(table, text_duration(phases[i].seconds));
        table_add(table, text_format("%*s%.*s", start, "", length < 1 ? 1 : length,
                                     "########################################"));
    }
    if (count) {
        CLEANUP(free_ptr) char *time = text_duration(total);

        (void)fprintf(stream, "\nTime (%s)\n", time);
    }
    table_print(table, stream);
    table_free(table);
}

static int larger_first(const void *a, const void *b)
{
    const struct manifest_file *const *left = a, *const *right = b;

    if ((*left)->bytes != (*right)->bytes)
        return (*left)->bytes < (*right)->bytes ? 1 : -1;
    return strcmp((*left)->path, (*right)->path);
}

const struct manifest_file **files_by_size(const struct manifest *contents)
{
    const struct manifest_file **files = allocate(contents->file_count * sizeof *files);

    for (size_t i = 0; i < contents->file_count; i++)
        files[i] = &contents->files[i];
    qsort(files, contents->file_count, sizeof *files, larger_first);
    return files;
}

static void print_files(FILE *stream, const struct manifest *contents, bool all)
{
    CLEANUP(free_ptr) const struct manifest_file **files = files_by_size(contents);
    struct table *table = table_new(">  SIZE|FILE");
    size_t shown = all || contents->file_count <= FILES_SHOWN ? contents->file_count : FILES_SHOWN;

    for (size_t i = 0; i < shown; i++) {
        table_add(table, text_bytes(files[i]->bytes));
        table_add(table, text_copy(files[i]->path));
    }
    if (shown)
        (void)fprintf(stream, "\nFiles (%zu%s)\n", contents->file_count,
                      shown < contents->file_count ? ", the largest; --verbose shows all" : "");
    table_print(table, stream);
    table_free(table);
}

static void print_text(FILE *stream, const char *title, const char *text)
{
    CLEANUP(free_ptr) char *safe = text_safe(text);

    if (*text)
        (void)fprintf(stream, "  %-10s%s\n", title, safe);
}

/* What a target has to have, and what it gets. */
static void print_mounts(FILE *stream, const json_t *container)
{
    const json_t *mounts = view_array(container, "mounts");

    for (size_t i = 0; i < json_array_size(mounts); i++) {
        const json_t *mount = json_array_get(mounts, i);
        CLEANUP(free_ptr) char *line = NULL;

        if (strcmp(view_text(mount, "role", ""), "volume") != 0)
            continue;
        line =
            text_format("%s (%s%s)", view_text(mount, "point", "?"), view_text(mount, "type", "?"),
                        json_is_true(view_value(mount, "used")) ? ", files open in it" : "");
        print_text(stream, "volume", line);
    }
    mounts = view_array(container, "memory");
    for (size_t i = 0; i < json_array_size(mounts); i++) {
        const json_t *mount = json_array_get(mounts, i);
        CLEANUP(free_ptr) char *size = text_bytes(view_number(mount, "bytes"));
        CLEANUP(free_ptr)
        char *line = text_format("%s, %" PRIu64 " files, %s", view_text(mount, "point", "?"),
                                 view_number(mount, "files"), size);

        print_text(stream, "tmpfs", line);
    }
}

static void print_rootfs(FILE *stream, const json_t *container)
{
    const json_t *rootfs = view_value(container, "rootfs");
    CLEANUP(free_ptr) char *size = text_bytes(view_number(rootfs, "bytes"));
    CLEANUP(free_ptr)
    char *line = text_format("%" PRIu64 " new or changed (%s), %" PRIu64 " removed",
                             view_number(rootfs, "files"), size, view_number(rootfs, "removed"));

    print_text(stream, "files", json_is_object(rootfs) ? line : "not saved");
}

static void print_container(FILE *stream, const json_t *manifest)
{
    const json_t *container = view_value(manifest, "container");
    const json_t *addresses = view_array(container, "addresses");

    if (!json_is_object(container))
        return;
    (void)fprintf(stream, "\nContainer\n");
    print_text(stream, "name", view_text(container, "name", ""));
    print_text(stream, "id", view_text(container, "id", ""));
    print_text(stream, "image", view_text(container, "image", ""));
    print_text(stream, "digest", view_text(container, "image_digest", ""));
    print_text(stream, "runtime", view_text(container, "runtime", ""));
    print_text(stream, "pod", view_text(container, "pod.name", ""));
    print_text(stream, "namespace", view_text(container, "pod.namespace", ""));
    print_text(stream, "host name", view_text(container, "host_name", ""));
    for (size_t i = 0; i < json_array_size(addresses); i++)
        print_text(stream, "address",
                   json_is_string(json_array_get(addresses, i))
                       ? json_string_value(json_array_get(addresses, i))
                       : "?");
    print_rootfs(stream, container);
    print_mounts(stream, container);
}

void inspect_text(FILE *stream, const struct snapshot *snapshot, bool all_files)
{
    const json_t *manifest = snapshot_manifest(snapshot);

    print_facts(stream, snapshot);
    print_container(stream, manifest);
    print_gpus(stream, manifest);
    print_processes(stream, manifest);
    print_phases(stream, manifest);
    print_files(stream, snapshot_contents(snapshot), all_files);
}
