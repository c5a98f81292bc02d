/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses and socket names that the restored processes listen at: nobody else may have them. The
 * kernel alone does not keep two restored listeners apart, and a socket in the file system would be
 * taken from whoever lives there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "proc/sockets.h"
#include "restore/state.h"

static const char *port_of(const char *address)
{
    const char *colon = strrchr(address, ':');

    return colon ? colon + 1 : "";
}

static bool is_any(const char *address)
{
    return text_starts_with(address, "0.0.0.0:") || text_starts_with(address, "[::]:");
}

static bool clash(const char *wanted, const char *taken)
{
    return text_equal(port_of(wanted), port_of(taken)) &&
           (text_equal(wanted, taken) || is_any(wanted) || is_any(taken));
}

static int compare_tcp(const char *wanted, const struct socket_entry *entry, struct error *error)
{
    CLEANUP(free_ptr) char *taken = NULL;

    if (entry->family == AF_UNIX || entry->type != SOCK_STREAM || entry->state != SOCKET_LISTENING)
        return 0;
    taken = socket_local_text(entry);
    if (!clash(wanted, taken))
        return 0;
    return error_set(error, "address-taken", EADDRINUSE, "Somebody listens at %s", taken);
}

static int compare_unix(const char *wanted, const struct socket_entry *entry, struct error *error)
{
    if (entry->family != AF_UNIX || entry->inode == 0 || !text_equal(entry->name, wanted) ||
        (entry->type != SOCK_DGRAM && entry->state != SOCKET_LISTENING))
        return 0;
    return error_set(error, "address-taken", EADDRINUSE, "A living process has the socket %s",
                     wanted);
}

static int check_name(const struct restore *restore, const json_t *name,
                      const struct socket_table *table, struct error *error)
{
    const char *tcp = json_string_value(json_object_get(name, "tcp"));
    const char *path = json_string_value(json_object_get(name, "unix"));
    int r = 0;

    for (size_t i = 0; r == 0 && i < table->count; i++) {
        if (tcp && !restore->request->own_network)
            r = compare_tcp(tcp, &table->entries[i], error);
        else if (path)
            r = compare_unix(path, &table->entries[i], error);
    }
    return r;
}

int restore_check_names(const struct restore *restore, struct error *error)
{
    const json_t *names = json_object_get(snapshot_manifest(restore->snapshot), "names");
    struct socket_table table = SOCKET_TABLE_INIT;
    int r = 0;

    if (json_array_size(names) == 0)
        return 0;
    r = socket_table_read(getpid(), &table, error);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < json_array_size(names); i++)
        r = check_name(restore, json_array_get(names, i), &table, error);
    socket_table_done(&table);
    return r;
}
