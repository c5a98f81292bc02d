/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets in a files.img, and how they belong together. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/error.h"
#include "criu-images.pb-c.h"
#include "criu/network-address.h"

/* The kernel's numbers for states (include/net/tcp_states.h), as CRIU saves them. */
enum saved_state {
    SAVED_ESTABLISHED = 1,
    SAVED_SYN_SENT = 2,
    SAVED_FIN_WAIT1 = 4,
    SAVED_FIN_WAIT2 = 5,
    SAVED_CLOSED = 7,
    SAVED_CLOSE_WAIT = 8,
    SAVED_LAST_ACK = 9,
    SAVED_LISTENING = 10,
    SAVED_CLOSING = 11,
};

enum socket_role {
    ROLE_UNIX,
    ROLE_LISTENER,
    ROLE_INSIDE,   /* TCP; the other end is in the image, too */
    ROLE_FOREIGN,  /* TCP; it is not */
    ROLE_DATAGRAM, /* UDP */
    ROLE_OTHER,    /* TCP without a connection, raw sockets, ping sockets */
};

struct saved_socket {
    size_t begin, end; /* of its message with the length before it, in the image */
    Criu__FileEntry *entry;
    enum socket_role role;
    bool changed;
    struct network_endpoint local, remote; /* as they are to be; written by saved_socket_store */
};

struct saved_sockets {
    char *image;
    size_t length;
    struct saved_socket *sockets; /* in the order of the image */
    size_t count;
};

#define SAVED_SOCKETS_INIT ((struct saved_sockets){0})

/* Fails with "socket-image" for whatever CRIU would not have written. */
int saved_sockets_read(int directory, struct saved_sockets *ret, struct error *error);
void saved_sockets_done(struct saved_sockets *saved);

/* The image with what has changed. `ret_image` is the caller's. */
int saved_sockets_pack(const struct saved_sockets *saved, char **ret_image, size_t *ret_length,
                       struct error *error);

/* Puts `local` and `remote` into the message, which is then changed if it was different. */
void saved_socket_store(struct saved_socket *socket);

static inline Criu__InetSocket *saved_inet(const struct saved_socket *socket)
{
    return socket->role == ROLE_UNIX ? NULL : socket->entry->inet_socket;
}

/* Reads "tcp-stream-<inode>.img": `ret_header` is the message, `ret_queues` what is received and
 * not read, then what is sent, inside `ret_image`. -ENOENT without an error when there is none. */
int saved_stream_read(int directory, uint32_t inode, Criu__TcpStream **ret_header, char **ret_image,
                      const char **ret_received, struct error *error);
int saved_stream_write(int directory, uint32_t inode, const Criu__TcpStream *header,
                       const void *received, struct error *error);

/* Writes a file that did not have to be durable. */
int saved_file_write(int directory, const char *name, const void *data, size_t length,
                     struct error *error);

/* "\0" and five hexadecimal digits (unix(7), autobind), or a name of the CUDA library's. */
bool unix_name_is_kernel_given(const ProtobufCBinaryData *name);
