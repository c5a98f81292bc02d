/* SPDX-License-Identifier: Apache-2.0 */
/* Two bytes of length, that many bytes as files.img, the rest as the stream of the socket with
 * inode 1: describing them and giving them a new network ends, and so does reading the result. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "criu/network-image.h"
#include "criu/network.h"
#include "fuzz.h"

static char path[] = "/tmp/fuzz-network-XXXXXX";
static int images = -1, output = -1;

static void must(int condition)
{
    if (!condition)
        abort();
}

static void remove_directory(void)
{
    (void)directory_remove_all(AT_FDCWD, path);
}

static void make_directories(void)
{
    must(mkdtemp(path) != NULL);
    must(atexit(remove_directory) == 0);
    images = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(images >= 0 && mkdirat(images, "o", 0700) == 0);
    output = openat(images, "o", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(output >= 0);
}

static void put(const char *name, const void *data, size_t length)
{
    CLEANUP(close_fd) int fd = -1;

    (void)unlinkat(images, name, 0);
    fd = openat(images, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(fd >= 0 && file_write_all(fd, data, length) == 0);
}

static int give_port(const struct port_request *request, uint16_t *ret_port, void *context)
{
    uint16_t *next = context;

    *ret_port = request->exact ? request->port : ++*next;
    return 0;
}

static void rewrite(enum foreign_policy foreign)
{
    struct network_move move;
    uint16_t next = 999;
    struct network_plan plan = {.moves = &move,
                                .move_count = 1,
                                .foreign = foreign,
                                .fresh_ports = true,
                                .reserve = give_port,
                                .context = &next,
                                .clone = "c"};
    struct network_summary summary;
    struct saved_sockets saved;

    move = (struct network_move){.from_interface = "eth0", .to_interface = "eth1"};
    must(network_address_parse("10.0.0.1", &move.from) == 0);
    must(network_address_parse("10.0.0.2", &move.to) == 0);
    (void)unlinkat(output, "files.img", 0);
    if (network_rewrite(images, output, &plan, &summary, NULL) < 0 ||
        faccessat(output, "files.img", F_OK, 0) < 0)
        return;
    /* Field number 0, which nobody may write, is read by the library but not read again. */
    if (saved_sockets_read(output, &saved, NULL) == 0)
        saved_sockets_done(&saved);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *description = NULL;
    size_t length;

    if (images < 0)
        make_directories();
    if (size < 2)
        return 0;
    length = (size_t)data[0] | (size_t)data[1] << 8;
    if (length > size - 2)
        length = size - 2;
    put("files.img", data + 2, length);
    put("tcp-stream-1.img", data + 2 + length, size - 2 - length);
    if (network_describe(images, &description, NULL) == 0)
        json_decref(description);
    rewrite(FOREIGN_CLOSE);
    rewrite(FOREIGN_KEEP);
    return 0;
}
