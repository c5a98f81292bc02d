/* SPDX-License-Identifier: Apache-2.0 */
/* network_rewrite and network_describe, with images that are made here, some of them by nobody's
 * CRIU. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "criu-images.pb-c.h"
#include "criu/network-image.h"
#include "criu/network-ports.h"
#include "criu/network.h"

static const char files_magic[] = "\x19\x43\x56\x54\x38\x31\x30\x56";
static const char stream_magic[] = "\x19\x43\x56\x54\x06\x55\x46\x51";
/* Field 13, as CRIU's owner of a socket: not known here, and to be kept. */
static const uint8_t unknown[] = {0x6a, 2, 8, 7};

struct fixture {
    char images_path[32], output_path[32];
    int images, output;
    struct buffer files;
    uint32_t next_id;
    struct network_summary summary;
    struct error error;
};

static int begin(void **state)
{
    struct fixture *f = allocate(sizeof *f);

    *f = (struct fixture){.images_path = "/tmp/network-i-XXXXXX",
                          .output_path = "/tmp/network-o-XXXXXX",
                          .files = BUFFER_INIT(1 << 24),
                          .next_id = 1};
    assert_non_null(mkdtemp(f->images_path));
    assert_non_null(mkdtemp(f->output_path));
    f->images = open(f->images_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f->output = open(f->output_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(buffer_append(&f->files, files_magic, 8), 0);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;

    close_fd(&f->images);
    close_fd(&f->output);
    (void)directory_remove_all(AT_FDCWD, f->images_path);
    (void)directory_remove_all(AT_FDCWD, f->output_path);
    buffer_done(&f->files);
    error_done(&f->error);
    free(f);
    return 0;
}

static void append(struct buffer *out, const ProtobufCMessage *message, bool extended)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint32_t length = (uint32_t)(size + (extended ? sizeof unknown : 0));
    CLEANUP(free_ptr) uint8_t *data = allocate(size + 1);

    (void)protobuf_c_message_pack(message, data);
    assert_int_equal(buffer_append(out, &length, sizeof length), 0);
    assert_int_equal(buffer_append(out, data, size), 0);
    if (extended)
        assert_int_equal(buffer_append(out, unknown, sizeof unknown), 0);
}

struct inet {
    const char *local, *remote; /* "[::ffff:1.2.3.4]" is told by `six` */
    uint16_t local_port, remote_port;
    uint32_t state, type, protocol;
    bool six, v6_only, freebind;
    char *device;
};

static void fill_words(const char *text, uint32_t *words, bool six)
{
    struct network_address address = {0};

    if (text)
        assert_int_equal(network_address_parse(text, &address), 0);
    memcpy(words, address.bytes + (six ? 0 : 12), six ? 16 : 4);
}

static uint32_t add_inet(struct fixture *f, const struct inet *inet)
{
    Criu__FileEntry entry = CRIU__FILE_ENTRY__INIT;
    Criu__InetSocket socket = CRIU__INET_SOCKET__INIT;
    Criu__SocketOptions options = CRIU__SOCKET_OPTIONS__INIT;
    Criu__IpOptions ip = CRIU__IP_OPTIONS__INIT;
    uint32_t local[4], remote[4], id = f->next_id++;

    fill_words(inet->local, local, inet->six);
    fill_words(inet->remote, remote, inet->six);
    options.device = inet->device;
    ip.has_freebind = ip.freebind = inet->freebind;
    socket.id = socket.inode = id;
    socket.family = inet->six ? AF_INET6 : AF_INET;
    socket.type = inet->type ? inet->type : SOCK_STREAM;
    socket.protocol = inet->protocol ? inet->protocol : IPPROTO_TCP;
    socket.state = inet->state;
    socket.local_port = inet->local_port;
    socket.remote_port = inet->remote_port;
    socket.n_local = socket.n_remote = inet->six ? 4 : 1;
    socket.local = local;
    socket.remote = remote;
    socket.options = &options;
    socket.ip_options = &ip;
    socket.has_v6_only = inet->six;
    socket.v6_only = inet->v6_only;
    entry.type = 4;
    entry.id = id;
    entry.inet_socket = &socket;
    append(&f->files, &entry.base, true);
    return id;
}

static void add_unix(struct fixture *f, const char *name, size_t length)
{
    Criu__FileEntry entry = CRIU__FILE_ENTRY__INIT;
    Criu__UnixSocket socket = CRIU__UNIX_SOCKET__INIT;

    socket.id = socket.inode = f->next_id++;
    socket.type = SOCK_DGRAM;
    socket.state = SAVED_CLOSED;
    socket.name = (ProtobufCBinaryData){.data = (uint8_t *)name, .len = length};
    entry.type = 5;
    entry.id = socket.id;
    entry.unix_socket = &socket;
    append(&f->files, &entry.base, false);
}

static void add_stream(struct fixture *f, uint32_t inode, const char *received, const char *sent)
{
    CLEANUP(free_ptr) char *name = text_format("tcp-stream-%x.img", inode);
    struct buffer out = BUFFER_INIT(1 << 20);
    Criu__TcpStream stream = CRIU__TCP_STREAM__INIT;

    stream.receive_length = (uint32_t)strlen(received);
    stream.send_length = (uint32_t)strlen(sent);
    stream.has_unsent_length = 1;
    stream.unsent_length = stream.send_length / 2;
    stream.has_send_window = stream.has_maximum_window = 1;
    (void)buffer_append(&out, stream_magic, 8);
    append(&out, &stream.base, true);
    (void)buffer_append(&out, received, strlen(received));
    (void)buffer_append(&out, sent, strlen(sent));
    assert_int_equal(file_write_atomic(f->images, name, out.data, out.length), 0);
    buffer_done(&out);
}

static void add_pair(struct fixture *f, const char *one, uint16_t port, const char *other,
                     uint16_t other_port, bool six)
{
    (void)add_inet(f, &(struct inet){.local = one,
                                     .local_port = port,
                                     .remote = other,
                                     .remote_port = other_port,
                                     .six = six,
                                     .state = SAVED_ESTABLISHED});
    (void)add_inet(f, &(struct inet){.local = other,
                                     .local_port = other_port,
                                     .remote = one,
                                     .remote_port = port,
                                     .state = SAVED_ESTABLISHED,
                                     .six = six});
}

static struct network_move move(const char *from, const char *to)
{
    struct network_move result = {0};

    assert_int_equal(network_address_parse(from, &result.from), 0);
    assert_int_equal(network_address_parse(to, &result.to), 0);
    return result;
}

static int rewrite(struct fixture *f, const struct network_plan *plan)
{
    assert_int_equal(file_write_atomic(f->images, "files.img", f->files.data, f->files.length), 0);
    return network_rewrite(f->images, f->output, plan, &f->summary, &f->error);
}

static int rewrite_moved(struct fixture *f, const char *from, const char *to)
{
    struct network_move one = move(from, to);

    return rewrite(f, &(struct network_plan){.moves = &one, .move_count = 1});
}

static struct saved_sockets read_output(struct fixture *f)
{
    struct saved_sockets saved = SAVED_SOCKETS_INIT;

    assert_int_equal(saved_sockets_read(f->output, &saved, NULL), 0);
    return saved;
}

static void assert_endpoint(const struct network_endpoint *endpoint, const char *expected)
{
    CLEANUP(free_ptr) char *text = network_endpoint_text(endpoint);

    assert_string_equal(text, expected);
}

static void assert_code(struct fixture *f, int result, const char *code)
{
    assert_true(result < 0);
    assert_non_null(f->error.code);
    assert_string_equal(f->error.code, code);
}

static bool has_file(int directory, const char *name)
{
    return faccessat(directory, name, F_OK, 0) == 0;
}

/* ---- addresses ---- */

static void own_addresses_move(void **state)
{
    struct fixture *f = *state;
    struct saved_sockets saved;

    (void)add_inet(f, &(struct inet){.local = "10.0.0.1", .local_port = 80, .state = 10});
    (void)add_inet(
        f, &(struct inet){.local = "::ffff:10.0.0.1", .local_port = 81, .state = 10, .six = true});
    (void)add_inet(f, &(struct inet){.local = "0.0.0.0", .local_port = 82, .state = 10});
    (void)add_inet(f, &(struct inet){.local = "127.0.0.9", .local_port = 83, .state = 10});
    (void)add_inet(f, &(struct inet){.local = "10.0.0.1",
                                     .local_port = 53,
                                     .remote = "8.8.8.8",
                                     .remote_port = 53,
                                     .type = SOCK_DGRAM,
                                     .protocol = IPPROTO_UDP,
                                     .state = 1});
    assert_int_equal(rewrite_moved(f, "10.0.0.1", "10.9.9.9"), 0);
    assert_int_equal(f->summary.moved, 3);
    saved = read_output(f);
    assert_int_equal(saved.count, 5);
    assert_endpoint(&saved.sockets[0].local, "10.9.9.9:80");
    assert_endpoint(&saved.sockets[1].local, "10.9.9.9:81");
    assert_endpoint(&saved.sockets[2].local, "0.0.0.0:82");
    assert_endpoint(&saved.sockets[3].local, "127.0.0.9:83");
    assert_endpoint(&saved.sockets[4].local, "10.9.9.9:53");
    assert_endpoint(&saved.sockets[4].remote, "8.8.8.8:53");
    saved_sockets_done(&saved);
}

static void unknown_fields_stay(void **state)
{
    struct fixture *f = *state;
    struct saved_sockets saved;

    (void)add_inet(f, &(struct inet){.local = "10.0.0.1", .local_port = 80, .state = 10});
    assert_int_equal(rewrite_moved(f, "10.0.0.1", "10.9.9.9"), 0);
    saved = read_output(f);
    assert_int_equal(saved.sockets[0].entry->base.n_unknown_fields, 1);
    assert_int_equal(saved.sockets[0].entry->base.unknown_fields[0].tag, 13);
    assert_int_equal(saved.sockets[0].end - saved.sockets[0].begin,
                     f->files.length - 8); /* nothing else came or went */
    saved_sockets_done(&saved);
}

static void nothing_to_do_writes_nothing(void **state)
{
    struct fixture *f = *state;

    (void)add_inet(f, &(struct inet){.local = "10.0.0.1", .local_port = 80, .state = 10});
    add_unix(f, "\0abcde", 6);
    assert_int_equal(rewrite_moved(f, "10.0.0.1", "10.0.0.1"), 0);
    assert_false(has_file(f->output, "files.img"));
}

static void missing_addresses_are_listed(void **state)
{
    struct fixture *f = *state;

    (void)add_inet(f, &(struct inet){.local = "10.0.0.1", .local_port = 80, .state = 10});
    (void)add_inet(f,
                   &(struct inet){.local = "fd00::1", .local_port = 80, .state = 10, .six = true});
    (void)add_inet(f, &(struct inet){.local = "10.0.0.7",
                                     .local_port = 80,
                                     .state = 10,
                                     .freebind = true}); /* may be bound anywhere */
    (void)add_inet(f, &(struct inet){.local = "10.0.0.8", .state = 7});
    (void)add_inet(f, &(struct inet){.local = "224.0.0.251",
                                     .local_port = 5353,
                                     .type = SOCK_DGRAM,
                                     .protocol = IPPROTO_UDP,
                                     .state = 7});
    assert_code(f, rewrite_moved(f, "10.0.0.2", "10.0.0.3"), "address-missing");
    assert_non_null(strstr(f->error.message, "10.0.0.1, fd00::1"));
    assert_null(strstr(f->error.message, "10.0.0.7"));
    assert_null(strstr(f->error.message, "10.0.0.8"));
    assert_null(strstr(f->error.message, "224.0.0.251"));
}

static void link_local_needs_its_interface(void **state)
{
    struct fixture *f = *state;
    struct network_move wanted = move("fe80::1", "fe80::2");
    struct network_plan plan = {.moves = &wanted, .move_count = 1};
    struct saved_sockets saved;

    wanted.from_interface = "eth1";
    wanted.to_interface = "eth0";
    (void)add_inet(f, &(struct inet){.local = "fe80::1",
                                     .local_port = 80,
                                     .state = 10,
                                     .six = true,
                                     .device = (char[]){"eth1"}});
    assert_int_equal(rewrite(f, &plan), 0);
    saved = read_output(f);
    assert_endpoint(&saved.sockets[0].local, "[fe80::2]:80");
    assert_string_equal(saved.sockets[0].entry->inet_socket->options->device, "eth0");
    saved_sockets_done(&saved);
    wanted.from_interface = "eth7";
    assert_code(f, rewrite(f, &plan), "address-missing");
}

static void link_local_connections_are_refused(void **state)
{
    struct fixture *f = *state;

    add_pair(f, "fe80::1", 1000, "fe80::1", 2000, true);
    assert_code(f, rewrite_moved(f, "fe80::1", "fe80::2"), "address-link-local");
}

static void wrong_plans_are_refused(void **state)
{
    struct fixture *f = *state;
    struct network_move mixed = move("10.0.0.1", "fd00::1");
    struct network_move wildcard = move("0.0.0.0", "10.0.0.1");

    assert_code(f, rewrite(f, &(struct network_plan){.moves = &mixed, .move_count = 1}),
                "address-pair");
    assert_code(f, rewrite(f, &(struct network_plan){.moves = &wildcard, .move_count = 1}),
                "address-pair");
    assert_code(f, rewrite(f, &(struct network_plan){.clone = "a/b"}), "clone-name");
    assert_code(f, rewrite(f, &(struct network_plan){.clone = ""}), "clone-name");
}

/* ---- connections inside ---- */

struct ports {
    uint16_t taken, next;
    unsigned calls;
    int failure;
};

static int give_port(const struct port_request *request, uint16_t *ret_port, void *context)
{
    struct ports *ports = context;

    ports->calls++;
    if (ports->failure)
        return ports->failure;
    if (request->exact && request->port == ports->taken)
        return -EADDRINUSE;
    *ret_port = request->port && request->port != ports->taken ? request->port : ports->next++;
    return 0;
}

static int rewrite_ports(struct fixture *f, struct ports *ports, bool fresh)
{
    return rewrite(
        f, &(struct network_plan){.reserve = give_port, .context = ports, .fresh_ports = fresh});
}

static void both_ends_get_the_same_ports(void **state)
{
    struct fixture *f = *state;
    struct ports ports = {.next = 50000};
    struct saved_sockets saved;

    add_pair(f, "127.0.0.1", 1000, "127.0.0.1", 2000, false);
    add_pair(f, "127.0.0.1", 1000, "127.0.0.1", 3000, false); /* the same accepting port */
    assert_int_equal(rewrite_ports(f, &ports, true), 0);
    assert_int_equal(f->summary.inside, 2);
    assert_int_equal(f->summary.exchanged, 3);
    assert_int_equal(ports.calls, 3);
    saved = read_output(f);
    for (size_t i = 0; i < 4; i += 2) {
        assert_true(saved.sockets[i].role == ROLE_INSIDE);
        assert_true(saved.sockets[i].local.port >= 50000);
        assert_int_equal(saved.sockets[i].local.port, saved.sockets[i + 1].remote.port);
        assert_int_equal(saved.sockets[i].remote.port, saved.sockets[i + 1].local.port);
    }
    assert_int_equal(saved.sockets[0].local.port, saved.sockets[2].local.port);
    saved_sockets_done(&saved);
}

static void listeners_keep_their_ports(void **state)
{
    struct fixture *f = *state;
    struct ports ports = {.next = 50000, .taken = 2000};
    struct saved_sockets saved;

    (void)add_inet(f, &(struct inet){.local = "::", .local_port = 1000, .state = 10, .six = true});
    add_pair(f, "::ffff:127.0.0.1", 1000, "127.0.0.1", 2000, true);
    assert_int_equal(rewrite_ports(f, &ports, false), 0);
    saved = read_output(f);
    assert_endpoint(&saved.sockets[1].local, "127.0.0.1:1000");
    assert_endpoint(&saved.sockets[1].remote, "127.0.0.1:50000");
    assert_endpoint(&saved.sockets[2].local, "127.0.0.1:50000");
    saved_sockets_done(&saved);
}

static void taken_listeners_are_told(void **state)
{
    struct fixture *f = *state;
    struct ports ports = {.next = 50000, .taken = 1000};

    (void)add_inet(f, &(struct inet){.local = "0.0.0.0", .local_port = 1000, .state = 10});
    assert_code(f, rewrite_ports(f, &ports, false), "address-taken");
    ports.failure = -EADDRNOTAVAIL;
    assert_code(f, rewrite_ports(f, &ports, false), "address-missing");
    ports.failure = -EMFILE;
    assert_code(f, rewrite_ports(f, &ports, false), "port-unavailable");
}

static void mapped_and_plain_are_one_connection(void **state)
{
    struct fixture *f = *state;
    struct saved_sockets saved;

    (void)add_inet(f, &(struct inet){.local = "::ffff:10.0.0.1",
                                     .local_port = 80,
                                     .remote = "::ffff:10.0.0.1",
                                     .remote_port = 4000,
                                     .six = true,
                                     .state = 1});
    (void)add_inet(f, &(struct inet){.local = "10.0.0.1",
                                     .local_port = 4000,
                                     .remote = "10.0.0.1",
                                     .remote_port = 80,
                                     .state = 8});
    assert_int_equal(rewrite_moved(f, "10.0.0.1", "10.9.9.9"), 0);
    assert_int_equal(f->summary.inside, 1);
    assert_int_equal(f->summary.closed, 0);
    saved = read_output(f);
    assert_endpoint(&saved.sockets[0].remote, "10.9.9.9:4000");
    assert_endpoint(&saved.sockets[1].remote, "10.9.9.9:80");
    saved_sockets_done(&saved);
}

/* ---- foreign connections ---- */

static uint32_t add_foreign(struct fixture *f, uint32_t state, uint16_t port)
{
    return add_inet(f, &(struct inet){.local = "10.0.0.1",
                                      .local_port = 80,
                                      .remote = "10.5.5.5",
                                      .remote_port = port,
                                      .state = state,
                                      .device = (char[]){"eth0"}});
}

static void foreign_connections_become_lost(void **state)
{
    static const uint32_t states[] = {1, 2, 4, 5, 8, 9, 11};
    static const uint32_t expected[] = {1, 2, 1, 1, 8, 9, 9};
    struct fixture *f = *state;
    struct saved_sockets saved;

    for (size_t i = 0; i < 7; i++)
        add_stream(f, add_foreign(f, states[i], (uint16_t)(1000 + i)), "received", "sent");
    assert_int_equal(rewrite(f, &(struct network_plan){0}), 0);
    assert_int_equal(f->summary.closed, 7);
    saved = read_output(f);
    for (size_t i = 0; i < 7; i++) {
        const struct saved_socket *socket = &saved.sockets[i];

        assert_int_equal(socket->entry->inet_socket->state, expected[i]);
        assert_true(network_address_is_loopback(&socket->local.address));
        assert_true(network_address_is_loopback(&socket->remote.address));
        assert_true(socket->remote.port != 0 && socket->remote.port != socket->local.port);
        /* CRIU sends an end of the peer's to those. */
        assert_int_equal(socket->local.port, expected[i] >= 8 ? 80 : 0);
        assert_null(socket->entry->inet_socket->options->device);
    }
    assert_true(saved.sockets[4].remote.port != saved.sockets[5].remote.port);
    saved_sockets_done(&saved);
}

static void what_was_received_stays(void **state)
{
    struct fixture *f = *state;
    Criu__TcpStream *stream = NULL;
    CLEANUP(free_ptr) char *image = NULL;
    const char *received = NULL;
    uint32_t id = add_foreign(f, 1, 1000);

    add_stream(f, id, "received", "sent");
    assert_int_equal(rewrite(f, &(struct network_plan){0}), 0);
    assert_int_equal(saved_stream_read(f->output, id, &stream, &image, &received, NULL), 0);
    assert_int_equal(stream->receive_length, 8);
    assert_string_equal(received, "received"); /* and nothing behind it */
    assert_int_equal(stream->send_length, 0);
    assert_int_equal(stream->unsent_length, 0);
    assert_true(stream->send_window > 0 && stream->maximum_window >= stream->send_window);
    assert_int_equal(stream->base.n_unknown_fields, 1);
    criu__tcp_stream__free_unpacked(stream, NULL);
}

static void without_a_stream_it_is_closed(void **state)
{
    struct fixture *f = *state;
    struct saved_sockets saved;

    (void)add_foreign(f, 1, 1000);
    (void)add_inet(f, &(struct inet){.local = "fd00::1",
                                     .local_port = 80,
                                     .remote = "fd00::2",
                                     .remote_port = 99,
                                     .six = true,
                                     .state = 7});
    assert_int_equal(rewrite(f, &(struct network_plan){0}), 0);
    saved = read_output(f);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(saved.sockets[i].entry->inet_socket->state, 7);
        assert_int_equal(saved.sockets[i].entry->inet_socket->shutdown, 3);
        assert_true(network_address_is_wildcard(&saved.sockets[i].local.address));
        assert_int_equal(saved.sockets[i].local.port, 0);
        assert_int_equal(saved.sockets[i].remote.port, 0);
    }
    saved_sockets_done(&saved);
}

static void foreign_connections_stay_or_are_refused(void **state)
{
    struct fixture *f = *state;
    struct network_move same = move("10.0.0.1", "10.0.0.1");
    struct network_plan plan = {.moves = &same, .move_count = 1, .foreign = FOREIGN_KEEP};

    add_stream(f, add_foreign(f, 1, 1000), "", "");
    assert_int_equal(rewrite(f, &plan), 0);
    assert_false(has_file(f->output, "files.img"));
    plan.foreign = FOREIGN_REFUSE;
    assert_code(f, rewrite(f, &plan), "tcp-outside");
}

/* ---- unix names ---- */

static void kernel_names_are_made_unique(void **state)
{
    struct fixture *f = *state;
    struct saved_sockets saved;
    char padded[108] = "\0cuda-uvmfd-4026531836-77";

    add_unix(f,
             "\0"
             "00a1f",
             6);
    add_unix(f, padded, sizeof padded);
    add_unix(f, "\0mine", 5);
    add_unix(f, "\0ABCDE", 6);
    add_unix(f, "/tmp/s", 6);
    add_unix(f, "", 0);
    assert_int_equal(rewrite(f, &(struct network_plan){.clone = "c-1"}), 0);
    assert_int_equal(f->summary.renamed, 2);
    saved = read_output(f);
    assert_int_equal(saved.sockets[0].entry->unix_socket->name.len, 10);
    assert_memory_equal(saved.sockets[0].entry->unix_socket->name.data,
                        "\0"
                        "00a1f.c-1",
                        10);
    assert_int_equal(saved.sockets[1].entry->unix_socket->name.len, 25 + 4);
    assert_memory_equal(saved.sockets[1].entry->unix_socket->name.data,
                        "\0cuda-uvmfd-4026531836-77.c-1", 29);
    assert_int_equal(saved.sockets[2].entry->unix_socket->name.len, 5);
    assert_int_equal(saved.sockets[3].entry->unix_socket->name.len, 6);
    saved_sockets_done(&saved);
}

static void long_names_are_refused(void **state)
{
    struct fixture *f = *state;
    char full[108] = "\0cuda-uvmfd-";

    memset(full + 12, 'x', sizeof full - 12);
    add_unix(f, full, sizeof full);
    assert_code(f, rewrite(f, &(struct network_plan){.clone = "c-1"}), "socket-image");
}

/* ---- images of nobody's CRIU ---- */

static void broken_images_are_refused(void **state)
{
    static const struct inet wrong[] = {
        {.state = 3, .local_port = 1, .remote_port = 2}, /* a state without a descriptor */
        {.state = 10, .type = SOCK_DGRAM, .protocol = IPPROTO_UDP},
        {.state = 1, .type = SOCK_RAW, .remote_port = 2},
        {.state = 7, .type = 99},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        f->files.length = 8;
        (void)add_inet(f, &wrong[i]);
        assert_code(f, rewrite(f, &(struct network_plan){0}), "socket-image");
    }
    f->files.length = 8;
    (void)add_foreign(f, 1, 1000);
    (void)add_foreign(f, 1, 1000); /* twice the same */
    assert_code(f, rewrite(f, &(struct network_plan){0}), "socket-image");
}

static void every_cut_is_refused(void **state)
{
    struct fixture *f = *state;
    size_t whole;

    (void)add_inet(f, &(struct inet){.local = "10.0.0.1", .local_port = 80, .state = 10});
    whole = f->files.length;
    for (f->files.length = 0; f->files.length < whole; f->files.length++) {
        if (f->files.length != 8) /* no file is open: that is an image */
            assert_code(f, rewrite_moved(f, "10.0.0.1", "10.0.0.2"), "socket-image");
    }
    assert_int_equal(rewrite_moved(f, "10.0.0.1", "10.0.0.2"), 0);
}

static void broken_streams_are_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(free_ptr) char *image = NULL;
    size_t length = 0;

    add_stream(f, add_foreign(f, 1, 1000), "received", "sent");
    assert_int_equal(file_read(f->images, "tcp-stream-1.img", 1 << 20, &image, &length), 0);
    for (size_t cut = 0; cut < length; cut++) {
        assert_int_equal(file_write_atomic(f->images, "tcp-stream-1.img", image, cut), 0);
        assert_code(f, rewrite(f, &(struct network_plan){0}), "socket-image");
    }
}

static void sockets_are_described(void **state)
{
    struct fixture *f = *state;
    json_t *told = NULL;

    (void)add_inet(f, &(struct inet){.local = "10.0.0.1", .local_port = 80, .state = 10});
    add_pair(f, "127.0.0.1", 1000, "127.0.0.1", 2000, false);
    add_stream(f, add_foreign(f, 8, 1000), "received", "sent");
    add_unix(f, "\0a\nb\xff", 5);
    assert_int_equal(file_write_atomic(f->images, "files.img", f->files.data, f->files.length), 0);
    assert_int_equal(network_describe(f->images, &told, &f->error), 0);
    assert_int_equal(json_array_size(json_object_get(told, "inside")), 2);
    assert_int_equal(json_array_size(json_object_get(told, "addresses")), 1);
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(told, "foreign"), 0), "state")),
                        "close-wait");
    assert_int_equal(json_integer_value(json_object_get(
                         json_array_get(json_object_get(told, "foreign"), 0), "unread")),
                     8);
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(told, "unix"), 0), "name")),
                        "@a\\x0ab\\xff");
    json_decref(told);
}

/* ---- ports of this machine ---- */

static void kept_ports_are_taken_and_bindable(void **state)
{
    struct port_keeper keeper = PORT_KEEPER_INIT;
    struct port_request request = {.type = SOCK_STREAM};
    uint16_t first = 0, second = 0;

    (void)state;
    assert_int_equal(network_address_parse("127.0.0.1", &request.address), 0);
    assert_int_equal(port_keeper_reserve(&request, &first, &keeper), 0);
    assert_int_not_equal(first, 0);
    request.port = first;
    assert_int_equal(port_keeper_reserve(&request, &second, &keeper), 0);
    assert_int_not_equal(second, first);
    request.exact = true; /* as CRIU binds: what is held is no obstacle */
    assert_int_equal(port_keeper_reserve(&request, &second, &keeper), 0);
    assert_int_equal(second, first);
    assert_int_equal(listen(keeper.sockets[0], 1), 0);
    assert_int_equal(port_keeper_reserve(&request, &second, &keeper), -EADDRINUSE);
    assert_int_equal(network_address_parse("192.0.2.1", &request.address), 0);
    assert_int_equal(port_keeper_reserve(&request, &second, &keeper), -EADDRNOTAVAIL);
    port_keeper_done(&keeper);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(own_addresses_move),
        TEST(unknown_fields_stay),
        TEST(nothing_to_do_writes_nothing),
        TEST(missing_addresses_are_listed),
        TEST(link_local_needs_its_interface),
        TEST(link_local_connections_are_refused),
        TEST(wrong_plans_are_refused),
        TEST(both_ends_get_the_same_ports),
        TEST(listeners_keep_their_ports),
        TEST(taken_listeners_are_told),
        TEST(mapped_and_plain_are_one_connection),
        TEST(foreign_connections_become_lost),
        TEST(what_was_received_stays),
        TEST(without_a_stream_it_is_closed),
        TEST(foreign_connections_stay_or_are_refused),
        TEST(kernel_names_are_made_unique),
        TEST(long_names_are_refused),
        TEST(broken_images_are_refused),
        TEST(every_cut_is_refused),
        TEST(broken_streams_are_refused),
        TEST(sockets_are_described),
        TEST(kept_ports_are_taken_and_bindable),
    };

    return cmocka_run_group_tests_name("network", tests, NULL, NULL);
}
