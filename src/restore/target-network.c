/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network that restored processes come back to is the target's. What CRIU has saved about
 * sockets is rewritten for it (criu/network.h) without a change to the snapshot: CRIU reads the
 * images in a view in which the rewritten files lie over the saved ones. The view is made of mounts
 * that only a child of ours has; that child also holds the ports which the restore needs. It ends
 * when we close its socket, and with it the mounts are gone, whatever becomes of us.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/catalogue.h"
#include "basic/cleanup.h"
#include "basic/text.h"
#include "criu/network-ports.h"
#include "criu/network.h"
#include "proc/sockets.h"
#include "restore/target.h"

enum { MOVES_MAXIMUM = 256, CLONE_BYTES = 6 };

/* What the child has to say; with result 0 the view comes along. */
struct answer {
    int result;
    struct network_summary summary;
    char code[64];
    char message[4096];
};

/* "fe80::1%eth0" is an address and an interface. */
static int parse_address(const char *text, struct network_address *ret_address,
                         char **ret_interface)
{
    CLEANUP(free_ptr) char *copy = text_copy(text);
    char *percent = strchr(copy, '%');

    if (percent)
        *percent++ = 0;
    if (network_address_parse(copy, ret_address) < 0)
        return -EINVAL;
    *ret_interface = percent ? text_copy(percent) : NULL;
    return 0;
}

static bool are_alike(const struct network_address *a, const struct network_address *b)
{
    return network_address_is_ipv4(a) == network_address_is_ipv4(b) &&
           network_address_is_link_local(a) == network_address_is_link_local(b);
}

struct known {
    struct network_address address;
    char *interface;
};

static size_t parse_list(const json_t *list, struct known *known)
{
    size_t count = 0;

    for (size_t i = 0; i < json_array_size(list) && count < MOVES_MAXIMUM; i++) {
        const char *text = json_string_value(json_array_get(list, i));

        if (text && parse_address(text, &known[count].address, &known[count].interface) == 0)
            count++;
    }
    return count;
}

/* The n-th address of one kind takes the place of the n-th of that kind. */
static const struct known *counterpart(const struct known *from, size_t index,
                                       const struct known *to, size_t to_count)
{
    size_t nth = 0;

    for (size_t i = 0; i < index; i++)
        nth += are_alike(&from[i].address, &from[index].address);
    for (size_t i = 0; i < to_count; i++) {
        if (are_alike(&to[i].address, &from[index].address) && nth-- == 0)
            return &to[i];
    }
    return NULL;
}

struct addresses {
    struct known from[MOVES_MAXIMUM], to[MOVES_MAXIMUM];
    struct network_move moves[MOVES_MAXIMUM];
    size_t move_count;
};

static void pair_addresses(const struct restore *restore, struct addresses *all)
{
    size_t from_count =
        parse_list(json_object_get(restore->plan.container, "addresses"), all->from);
    size_t to_count = parse_list(restore->target.addresses, all->to);

    for (size_t i = 0; i < from_count; i++) {
        const struct known *to = counterpart(all->from, i, all->to, to_count);

        if (to)
            all->moves[all->move_count++] =
                (struct network_move){.from = all->from[i].address,
                                      .to = to->address,
                                      .from_interface = all->from[i].interface,
                                      .to_interface = to->interface};
    }
}

/* A name that the program chose belongs to whoever has it first. */
static int check_abstract_names(int images, struct error *error)
{
    struct socket_table table = SOCKET_TABLE_INIT;
    json_t *sockets = NULL;
    const json_t *list;
    int r = network_describe(images, &sockets, error);

    if (r < 0)
        return r;
    list = json_object_get(sockets, "unix");
    r = socket_table_read(getpid(), &table, error);
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
        const char *kind = json_string_value(json_object_get(json_array_get(list, i), "kind"));
        const char *name = json_string_value(json_object_get(json_array_get(list, i), "name"));

        for (size_t k = 0; r == 0 && text_equal(kind, "abstract") && k < table.count; k++) {
            if (table.entries[k].family == AF_UNIX && text_equal(table.entries[k].name, name))
                r = error_set(error, "address-taken", EADDRINUSE,
                              "Another process of the target's network has the unix socket %s",
                              name);
        }
    }
    socket_table_done(&table);
    json_decref(sockets);
    return r;
}

static int make_scratch(void)
{
    CLEANUP(close_fd) int context = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);

    if (context < 0 || syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    return (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
}

static int copy_of(int directory, const char *path, int users)
{
    struct mount_attr attribute = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)users};
    CLEANUP(close_fd)
    int copy = (int)syscall(SYS_open_tree, directory, path,
                            OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

    if (copy < 0 || (users >= 0 && syscall(SYS_mount_setattr, copy, "", AT_EMPTY_PATH, &attribute,
                                           sizeof attribute) < 0))
        return -errno;
    return steal_fd(&copy);
}

static int lay_over(int written, int view, int users)
{
    int again = openat(written, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(close_directory) DIR *directory = again < 0 ? NULL : fdopendir(again);
    const struct dirent *entry;

    while (directory && (entry = readdir(directory))) {
        CLEANUP(close_fd) int file = -1;

        if (entry->d_name[0] == '.')
            continue;
        file = copy_of(written, entry->d_name, users);
        if (file < 0)
            return file;
        if (syscall(SYS_move_mount, file, "", view, entry->d_name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
            return -errno;
    }
    return directory ? 0 : -errno;
}

/* The saved images, with the rewritten ones over them. */
static int make_view(const struct restore *restore, int images, int scratch)
{
    CLEANUP(close_fd) int view = -1, written = -1;
    int r;

    if (syscall(SYS_move_mount, images, "", scratch, "view", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return -errno;
    view = openat(scratch, "view", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    written = openat(scratch, "written", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (view < 0 || written < 0)
        return -errno;
    r = lay_over(written, view, restore->users);
    return r < 0 ? r : steal_fd(&view);
}

/* Mounted over / of a mount namespace of our own: nobody looks anything up there. */
static int prepare_scratch(int *ret_scratch, struct error *error)
{
    CLEANUP(close_fd) int mount_fd = -1;

    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return error_set(error, "image-view", errno, "Can't make a mount namespace");
    mount_fd = make_scratch();
    if (mount_fd < 0 ||
        syscall(SYS_move_mount, mount_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
        mkdirat(mount_fd, "view", 0700) < 0 || mkdirat(mount_fd, "written", 0700) < 0)
        return error_set(error, "image-view", errno, "Can't make room for rewritten images");
    *ret_scratch = steal_fd(&mount_fd);
    return 0;
}

static char *clone_name(void)
{
    unsigned char random[CLONE_BYTES];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return text_format("%d", (int)getpid());
    return text_format("%02x%02x%02x%02x%02x%02x", random[0], random[1], random[2], random[3],
                       random[4], random[5]);
}

static int rewrite(const struct restore *restore, int scratch, struct port_keeper *ports,
                   struct network_summary *ret_summary, struct error *error)
{
    struct addresses *all = allocate(sizeof *all);
    CLEANUP(free_ptr) char *clone = clone_name();
    CLEANUP(close_fd)
    int written = openat(scratch, "written", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct network_plan plan = {.moves = all->moves,
                                .foreign = FOREIGN_CLOSE,
                                .reserve = port_keeper_reserve,
                                .context = ports,
                                .clone = clone};
    int r;

    pair_addresses(restore, all);
    plan.move_count = all->move_count;
    r = network_rewrite(restore->images, written, &plan, ret_summary, error);
    for (size_t i = 0; i < MOVES_MAXIMUM; i++) {
        free(all->from[i].interface);
        free(all->to[i].interface);
    }
    free(all);
    return r;
}

/* Returns the view, or a negative number. */
static int work(const struct restore *restore, struct port_keeper *ports, struct answer *answer,
                struct error *error)
{
    /* A mount can be copied in its own mount namespace only: so before there is another. */
    CLEANUP(close_fd) int images = copy_of(restore->images, "", restore->users);
    CLEANUP(close_fd) int network = -1, scratch = -1;
    int view, r = namespace_open(restore->target.process, NAMESPACE_NETWORK, &network, error);

    if (images < 0)
        r = error_set(error, restore->users >= 0 ? "user-mapping" : "image-view", images,
                      "Can't show the images to CRIU");
    if (r == 0 && setns(network, CLONE_NEWNET) < 0)
        r = error_set(error, "namespace-enter", errno, "Can't enter the target's network");
    if (r == 0)
        r = prepare_scratch(&scratch, error);
    if (r == 0)
        r = check_abstract_names(restore->images, error);
    if (r == 0)
        r = rewrite(restore, scratch, ports, &answer->summary, error);
    answer->result = r;
    if (r < 0)
        return -1;
    view = make_view(restore, images, scratch);
    if (view < 0)
        answer->result = error_set(error, "image-view", view, "Can't lay images over others");
    return view;
}

static void send_answer(int socket, const struct answer *answer, int view)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)answer, .iov_len = sizeof *answer};
    union {
        char data[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    if (answer->result == 0) {
        struct cmsghdr *header;

        message.msg_control = control.data;
        message.msg_controllen = sizeof control.data;
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &view, sizeof view);
    }
    (void)sendmsg(socket, &message, MSG_NOSIGNAL);
}

/* The child: does its work, then only holds what it has made until nobody needs it. */
static int hold_view(int socket, void *context)
{
    struct port_keeper ports = PORT_KEEPER_INIT;
    struct answer *answer = allocate(sizeof *answer);
    struct error error = ERROR_INIT;
    char byte;
    int view = work(context, &ports, answer, &error);

    if (answer->result < 0) {
        (void)snprintf(answer->code, sizeof answer->code, "%s", error.code ? error.code : "system");
        (void)snprintf(answer->message, sizeof answer->message, "%s",
                       error.message ? error.message : "");
    }
    send_answer(socket, answer, view);
    (void)prctl(PR_SET_NAME, "stasis-images");
    while (recv(socket, &byte, 1, 0) < 0 && errno == EINTR) {
    }
    port_keeper_done(&ports);
    error_done(&error);
    free(answer);
    return 0;
}

static int receive_answer(int socket, struct answer *answer, int *ret_view, struct error *error)
{
    struct iovec piece = {.iov_base = answer, .iov_len = sizeof *answer};
    union {
        char data[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.data,
                             .msg_controllen = sizeof control.data};
    struct cmsghdr *header;
    ssize_t n;

    do {
        n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof *answer)
        return error_set(error, "image-view", n < 0 ? errno : ECONNRESET,
                         "The process that rewrites images ended");
    header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS)
        memcpy(ret_view, CMSG_DATA(header), sizeof *ret_view);
    return 0;
}

int target_adapt_network(struct restore *restore, struct leaf *ret_holder, struct error *error)
{
    struct answer *answer = allocate(sizeof *answer);
    const struct catalogue_entry *entry;
    int view = -1;
    int r = leaf_start(hold_view, restore, true, ret_holder, error);

    if (r == 0)
        r = receive_answer(ret_holder->socket, answer, &view, error);
    if (r == 0 && answer->result < 0) {
        answer->message[sizeof answer->message - 1] = 0;
        entry = catalogue_find(answer->code);
        r = error_set(error, entry ? "system" : "image-view", 0, "%s", answer->message);
        if (error && entry)
            error->code = entry->code;
    }
    if (r == 0 && view >= 0) {
        close_fd(&restore->images);
        restore->images = view;
    }
    free(answer);
    return r;
}
