/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the manifest, with a right checksum, of a directory with some files: opening and
 * verifying it ends, and finds at least what is foreign. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "fuzz.h"
#include "image/manifest.h"
#include "image/verify.h"

static char path[] = "/tmp/fuzz-reader-XXXXXX";
static int directory = -1;

static void must(int condition)
{
    if (!condition)
        abort();
}

static void put(const char *name, const void *data, size_t length)
{
    CLEANUP(close_fd) int fd = -1;

    (void)unlinkat(directory, name, 0); /* truncating is slow on some file systems */
    fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(fd >= 0 && file_write_all(fd, data, length) == 0);
}

static void remove_directory(void)
{
    (void)directory_remove_all(AT_FDCWD, path);
}

static void make_directory(void)
{
    must(mkdtemp(path) != NULL);
    must(atexit(remove_directory) == 0);
    directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(directory >= 0 && mkdirat(directory, "d", 0700) == 0);
    put("a", "a", 1);
    put("d/b", "", 0);
    must(symlinkat("/etc/passwd", directory, "l") == 0);
    must(mkfifoat(directory, "p", 0600) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;
    CLEANUP(verify_report_done) struct verify_report report = VERIFY_REPORT_INIT;
    CLEANUP(free_ptr) char *sum = manifest_sum((const char *)data, size);

    if (directory < 0)
        make_directory();
    put("manifest.json", data, size);
    put("manifest.sum", sum, strlen(sum));
    if (snapshot_open_path(path, &snapshot, NULL) < 0)
        return 0;
    must(snapshot_verify(snapshot, VERIFY_ALL, 1, &report, NULL, NULL) == 0);
    must(report.count >= 2); /* the link and the pipe are never right */
    return 0;
}
