/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an archive of a root file system: refused with a reason, or applied to a directory,
 * beside which nothing appears. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "container/rootfs.h"
#include "fuzz.h"

static char path[] = "/tmp/fuzz-rootfs-XXXXXX";

static void must(int condition)
{
    if (!condition)
        abort();
}

static void remove_all(void)
{
    (void)directory_remove_all(AT_FDCWD, path);
}

static int make_directory(void)
{
    static int directory = -1;

    if (directory < 0) {
        must(mkdtemp(path) != NULL && atexit(remove_all) == 0);
        directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    must(directory >= 0 && directory_remove_all(directory, "target") == 0);
    must(mkdirat(directory, "target", 0700) == 0);
    must(mkdirat(directory, "target/d", 0700) == 0);
    must(symlinkat("..", directory, "target/up") == 0);
    return directory;
}

static void count_beside(int directory)
{
    CLEANUP(close_directory)
    DIR *stream = fdopendir(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    int count = 0;

    must(stream != NULL);
    while (readdir(stream))
        count++;
    must(count == 3);
}

static void apply(int archive)
{
    struct rootfs_apply_options options = {.devices = false};
    int directory = make_directory();
    CLEANUP(close_fd) int target = openat(directory, "target", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct error error = ERROR_INIT;

    must(target >= 0);
    if (rootfs_apply(archive, target, &options, NULL, &error) < 0) {
        must(error.code && error.message && *error.message);
        error_done(&error);
    }
    if (tree_apply(archive, target, &options, NULL, &error) < 0)
        error_done(&error);
    count_beside(directory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(close_fd) int archive = memfd_create("archive", MFD_CLOEXEC);
    struct rootfs_apply_options options = {.devices = true};
    struct error error = ERROR_INIT;

    must(archive >= 0 && file_write_all(archive, data, size) == 0);
    if (rootfs_archive_check(archive, &options, NULL, &error) < 0) {
        must(error_is(&error, "rootfs-archive"));
        error_done(&error);
        return 0;
    }
    if (geteuid() == 0)
        apply(archive);
    return 0;
}
