/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "cli/inspect.h"
#include "cli/invocation.h"
#include "cli/output.h"
#include "image/snapshot.h"

/* Devices and pipes are written to, files are replaced. */
static int write_to(const char *path, const char *data, size_t length)
{
    CLEANUP(close_fd) int fd = -1;
    struct stat st;

    if (stat(path, &st) < 0 || S_ISREG(st.st_mode))
        return file_write_atomic(AT_FDCWD, path, data, length);
    fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? -errno : file_write_all(fd, data, length);
}

static int write_page(const struct snapshot *snapshot, const char *path, struct error *error)
{
    CLEANUP(free_ptr) char *page = NULL;
    size_t length = 0;
    FILE *stream;
    int r;

    if (text_equal(path, "-")) {
        inspect_page(stdout, snapshot);
        return 0;
    }
    stream = open_memstream(&page, &length);
    if (!stream)
        return error_set(error, "out-of-memory", errno, "Can't make the page");
    inspect_page(stream, snapshot);
    if (fclose(stream) == EOF)
        return error_set(error, "out-of-memory", errno, "Can't make the page");
    r = write_to(path, page, length);
    if (r < 0)
        return error_set(error, "system", r, "Can't write %s", path);
    return 0;
}

static void print_manifest(const struct snapshot *snapshot)
{
    json_t *manifest = json_copy((json_t *)snapshot_manifest(snapshot));

    (void)json_object_set_new(manifest, "path", json_text(snapshot_path(snapshot)));
    print_json_object(stdout, manifest);
}

int command_inspect(const struct invocation *invocation, struct error *error)
{
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;
    const char *page = option_text(invocation, "html");
    int r = snapshot_open(invocation->root, operand_at(invocation, 0), &snapshot, error);

    if (r < 0)
        return r;
    if (page)
        return write_page(snapshot, page, error);
    if (invocation->json)
        print_manifest(snapshot);
    else
        inspect_text(stdout, snapshot, invocation->verbose);
    return 0;
}
