/* SPDX-License-Identifier: Apache-2.0 */
/* How fast checksums are: a file, and the most threads. Not a test. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/text.h"
#include "copy/digest.h"
#include "copy/file.h"

int main(int argc, char **argv)
{
    CLEANUP(close_fd) int fd = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
    int wanted = 0;
    unsigned most;
    struct copy_files files = {.fds = &fd};
    struct copy_source source = copy_source_files(&files);
    struct stat st;
    uint64_t size;

    if (fd < 0 || fstat(fd, &st) < 0 || (argc > 2 && text_to_int(argv[2], &wanted) < 0)) {
        (void)fprintf(stderr, "usage: image-measure FILE [THREADS]\n");
        return 2;
    }
    size = (uint64_t)st.st_size;
    most = copy_threads((unsigned)wanted);
    for (unsigned threads = 1; threads <= most; threads *= 2) {
        uint64_t start = clock_now_usec();
        struct digest digest;
        char hex[DIGEST_HEX_LENGTH + 1];

        if (digest_objects(&source, &size, 1, threads, NULL, &digest, NULL) < 0)
            return 1;
        digest_to_hex(&digest, hex);
        (void)printf("%2u threads: %6.2f GB/s  %s\n", threads,
                     (double)size / 1e9 / clock_seconds_since(start), hex);
    }
    return 0;
}
