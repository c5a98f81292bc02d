/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network_rewrite for tests/root/network.py:
 *   rewrite-network IMAGES OUTPUT [--move FROM=TO]... [--foreign close|keep|refuse] [--fresh]
 *                   [--clone NAME]
 *   rewrite-network --describe IMAGES
 * Prints one JSON line; then holds the reserved ports until its standard input ends.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "criu/network-ports.h"
#include "criu/network.h"

enum { MOVES_MAXIMUM = 16 };

struct options {
    struct network_plan plan;
    struct network_move moves[MOVES_MAXIMUM];
};

static int report(struct error *error)
{
    (void)printf("{\"code\": \"%s\", \"message\": \"%s\"}\n", error->code, error->message);
    (void)fflush(stdout);
    error_done(error);
    return 1;
}

static void usage(const char *argument)
{
    (void)fprintf(stderr, "rewrite-network: %s?\n", argument);
    exit(2);
}

static int open_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        usage(path);
    return fd;
}

static void add_move(struct options *options, const char *value)
{
    CLEANUP(free_ptr) char *from = text_copy(value);
    char *to = strchr(from, '=');
    struct network_move *move = &options->moves[options->plan.move_count];

    if (!to || options->plan.move_count == MOVES_MAXIMUM)
        usage(value);
    *to++ = 0;
    if (network_address_parse(from, &move->from) < 0 || network_address_parse(to, &move->to) < 0)
        usage(value);
    options->plan.move_count++;
}

static void read_option(struct options *options, const char *name, const char *value)
{
    if (text_equal(name, "--move"))
        add_move(options, value);
    else if (text_equal(name, "--clone"))
        options->plan.clone = value;
    else if (text_equal(name, "--foreign"))
        options->plan.foreign = text_equal(value, "keep")     ? FOREIGN_KEEP
                                : text_equal(value, "refuse") ? FOREIGN_REFUSE
                                                              : FOREIGN_CLOSE;
    else
        usage(name);
}

static int describe(const char *path)
{
    struct error error = ERROR_INIT;
    json_t *description = NULL;

    if (network_describe(open_directory(path), &description, &error) < 0)
        return report(&error);
    (void)json_dumpf(description, stdout, JSON_COMPACT);
    json_decref(description);
    return 0;
}

int main(int argc, char **argv)
{
    struct port_keeper keeper = PORT_KEEPER_INIT;
    struct network_summary summary = {0};
    struct error error = ERROR_INIT;
    struct options options = {.plan = {.reserve = port_keeper_reserve, .context = &keeper}};
    char byte;

    if (argc == 3 && text_equal(argv[1], "--describe"))
        return describe(argv[2]);
    if (argc < 3)
        usage("IMAGES OUTPUT");
    options.plan.moves = options.moves;
    for (int i = 3; i < argc; i++) {
        if (text_equal(argv[i], "--fresh"))
            options.plan.fresh_ports = true;
        else if (i + 1 < argc)
            read_option(&options, argv[i], argv[i + 1]), i++;
        else
            usage(argv[i]);
    }
    if (network_rewrite(open_directory(argv[1]), open_directory(argv[2]), &options.plan, &summary,
                        &error) < 0) {
        port_keeper_done(&keeper);
        return report(&error);
    }
    (void)printf("{\"moved\": %zu, \"exchanged\": %zu, \"inside\": %zu, \"closed\": %zu, "
                 "\"renamed\": %zu}\n",
                 summary.moved, summary.exchanged, summary.inside, summary.closed, summary.renamed);
    (void)fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    port_keeper_done(&keeper);
    return 0;
}
