/* SPDX-License-Identifier: Apache-2.0 */
/* make-snapshot ROOT ID MANIFEST.json NAME=SIZE...: publishes a snapshot with files of that size,
 * for tests that need one and no CRIU. Prints ID@VERSION. With DIE in the environment it ends
 * before publishing, as if killed. */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/file.h"
#include "image/snapshot-writer.h"

static int write_file(int directory, const char *name, long size)
{
    CLEANUP(close_fd) int fd = openat(directory, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    char block[4096];

    memset(block, name[0], sizeof block);
    for (; fd >= 0 && size > 0; size -= (long)sizeof block) {
        size_t piece = size < (long)sizeof block ? (size_t)size : sizeof block;

        if (file_write_all(fd, block, piece) < 0)
            return -1;
    }
    return fd < 0 ? -1 : 0;
}

static int make(char **argv, struct error *error)
{
    CLEANUP(free_snapshot_writer) struct snapshot_writer *writer = NULL;
    json_t *manifest = json_load_file(argv[3], 0, NULL);
    int r = snapshot_writer_begin(argv[1], argv[2], NULL, &writer, error);

    for (char **file = argv + 4; r == 0 && *file; file++) {
        char *equals = strchr(*file, '=');

        *equals = 0;
        r = write_file(snapshot_writer_directory(writer), *file, atol(equals + 1));
    }
    if (r == 0 && getenv("DIE"))
        _exit(0);
    if (r == 0)
        r = snapshot_writer_seal(writer, 1, NULL, error);
    if (r == 0)
        r = snapshot_writer_publish(writer, manifest, error);
    if (r == 0)
        (void)printf("%s@%s\n", snapshot_writer_id(writer), snapshot_writer_version(writer));
    json_decref(manifest);
    return r;
}

int main(int argc, char **argv)
{
    struct error error = ERROR_INIT;

    if (argc < 4)
        return 2;
    if (make(argv, &error) == 0)
        return 0;
    (void)fprintf(stderr, "make-snapshot: %s\n", error.message ? error.message : "failed");
    error_done(&error);
    return 1;
}
