/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "basic/text.h"
#include "criu/network-steps.h"

/* A name bound with the whole of sun_path has zeros behind it that mean nothing here. */
static size_t length_of(const ProtobufCBinaryData *name)
{
    size_t length = name->len;

    while (length > 1 && name->data[length - 1] == 0)
        length--;
    return length;
}

/* All sockets with one name get the same new one, so a listener and what it has accepted, and a
 * datagram socket and those that send to it, stay together. */
static int rename_socket(ProtobufCBinaryData *name, const char *clone)
{
    size_t length = length_of(name), added = strlen(clone) + 1;
    uint8_t *renamed;

    if (length + added > sizeof((struct sockaddr_un *)0)->sun_path)
        return -ENAMETOOLONG;
    renamed = allocate(length + added);
    memcpy(renamed, name->data, length);
    renamed[length] = '.';
    memcpy(renamed + length + 1, clone, added - 1);
    free(name->data);
    *name = (ProtobufCBinaryData){.data = renamed, .len = length + added};
    return 0;
}

int network_rename_unix(struct saved_sockets *saved, const struct network_plan *plan,
                        struct network_summary *summary, struct error *error)
{
    for (size_t i = 0; i < saved->count && plan->clone; i++) {
        struct saved_socket *socket = &saved->sockets[i];
        ProtobufCBinaryData *name;
        int r;

        if (socket->role != ROLE_UNIX)
            continue;
        name = &socket->entry->unix_socket->name;
        if (!unix_name_is_kernel_given(name))
            continue;
        r = rename_socket(name, plan->clone);
        if (r < 0)
            return error_set(error, "socket-image", r, "A unix socket's name");
        socket->changed = true;
        summary->renamed++;
    }
    return 0;
}
