/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over all files of directories (or single files), and over every prefix of
 * the small ones. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "fuzz.h"

enum { INPUT_MAXIMUM = 64 * 1024 * 1024, PREFIXES_MAXIMUM = 2048 };

/* In memory of exactly that size, so that a sanitizer sees the first byte read too much. */
static void run_exact(const char *data, size_t length)
{
    uint8_t *copy = malloc(length ? length : 1);

    if (!copy)
        abort();
    memcpy(copy, data, length);
    (void)LLVMFuzzerTestOneInput(copy, length);
    free(copy);
}

static int run_file(int directory, const char *name)
{
    CLEANUP(free_ptr) char *data = NULL;
    size_t length = 0;
    int r = file_read(directory, name, INPUT_MAXIMUM, &data, &length);

    if (r < 0) {
        (void)fprintf(stderr, "%s: %s\n", name, strerror(-r));
        return 1;
    }
    run_exact(data, length);
    for (size_t cut = 0; length <= PREFIXES_MAXIMUM && cut < length; cut++)
        run_exact(data, cut);
    return 0;
}

static int run_path(const char *path, unsigned *count)
{
    CLEANUP(close_directory) DIR *stream = opendir(path);
    struct dirent *entry;
    int failed = 0;

    if (!stream) {
        ++*count;
        return run_file(AT_FDCWD, path);
    }
    while ((entry = readdir(stream))) {
        if (text_equal(entry->d_name, ".") || text_equal(entry->d_name, ".."))
            continue;
        ++*count;
        failed |= run_file(dirfd(stream), entry->d_name);
    }
    return failed;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    int failed = 0;

    for (int i = 1; i < argc; i++)
        failed |= run_path(argv[i], &count);
    (void)printf("%u inputs\n", count);
    return failed || count == 0; /* a corpus that was not found is a failure */
}
