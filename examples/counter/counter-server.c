/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A workload for a first try: it needs seconds to start (it computes a table of prime factors),
 * holds some hundred MiB, and remembers how often it was asked.
 *
 *   cc -O2 -o counter-server counter-server.c factors.c http.c
 *   ./counter-server --port 8000 &
 *   curl http://127.0.0.1:8000/factor/1234567
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "factors.h"
#include "http.h"

struct server {
    uint32_t *table;
    size_t entries;
    uint64_t count;
};

static double seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int handle(const char *path, char *body, size_t size, void *context)
{
    struct server *server = context;
    char list[512];

    if (strncmp(path, "/factor/", 8) == 0) {
        uint64_t number = strtoull(path + 8, NULL, 10);

        factors_print(server->table, server->entries, number, list, sizeof list);
        (void)snprintf(body, size, "{\"count\": %lu, \"number\": %lu, \"factors\": %s}\n",
                       (unsigned long)++server->count, (unsigned long)number, list);
        return 200;
    }
    if (strcmp(path, "/hash") == 0) {
        (void)snprintf(body, size, "{\"hash\": \"%016lx\", \"pid\": %d}\n",
                       (unsigned long)factors_hash(server->table, server->entries), (int)getpid());
        return 200;
    }
    (void)snprintf(body, size, "{\"error\": \"ask for /factor/NUMBER or /hash\"}\n");
    return 404;
}

int main(int argc, char **argv)
{
    double start = seconds();
    struct server server = {0};
    unsigned port = 8000;
    size_t memory = 512;
    int listener;

    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && strcmp(argv[i], "--port") == 0)
            port = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--memory") == 0)
            memory = strtoul(argv[i + 1], NULL, 10);
        else
            return fprintf(stderr, "usage: %s [--port PORT] [--memory MIB]\n", argv[0]), 2;
    }
    server.entries = memory * 1048576 / sizeof *server.table;
    server.table = factors_compute(server.entries);
    if (!server.table)
        return perror("memory for the table"), 1;
    listener = http_listen(&port);
    if (listener < 0)
        return perror("listen"), 1;
    printf("ready on 127.0.0.1:%u after %.2f s\n", port, seconds() - start);
    (void)fflush(stdout);
    http_serve(listener, handle, &server);
}
