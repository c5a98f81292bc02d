/* SPDX-License-Identifier: Apache-2.0 */
#include "criu/network.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "criu/network-steps.h"

enum { CLONE_MAXIMUM = 40 };

static int check_clone(const char *clone, struct error *error)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

    if (!clone || (*clone && strlen(clone) <= CLONE_MAXIMUM && clone[strspn(clone, allowed)] == 0))
        return 0;
    return error_set(error, "clone-name", EINVAL, "'%.60s'", clone);
}

static bool has_place(const struct network_address *address)
{
    return !network_address_is_wildcard(address) && !network_address_is_group(address);
}

static int check_move(const struct network_move *move, struct error *error)
{
    CLEANUP(free_ptr) char *from = NULL;
    CLEANUP(free_ptr) char *to = NULL;

    if (network_address_is_ipv4(&move->from) == network_address_is_ipv4(&move->to) &&
        has_place(&move->from) && !network_address_is_loopback(&move->from) && has_place(&move->to))
        return 0;
    from = network_address_text(&move->from);
    to = network_address_text(&move->to);
    return error_set(error, "address-pair", EINVAL, "%s by %s", from, to);
}

static int check_plan(const struct network_plan *plan, struct error *error)
{
    int r = check_clone(plan->clone, error);

    for (size_t i = 0; i < plan->move_count && r == 0; i++)
        r = check_move(&plan->moves[i], error);
    return r;
}

static int write_sockets(const struct saved_sockets *saved, int output, struct error *error)
{
    CLEANUP(free_ptr) char *image = NULL;
    size_t length = 0;
    bool changed = false;
    int r;

    for (size_t i = 0; i < saved->count && !changed; i++)
        changed = saved->sockets[i].changed;
    if (!changed)
        return 0;
    r = saved_sockets_pack(saved, &image, &length, error);
    return r < 0 ? r : saved_file_write(output, "files.img", image, length, error);
}

static int rewrite(struct saved_sockets *saved, int images, int output,
                   const struct network_plan *plan, struct network_summary *summary,
                   struct error *error)
{
    int r = network_move_addresses(saved, plan, summary, error);

    if (r == 0)
        r = network_exchange_ports(saved, plan, summary, error);
    if (r == 0)
        r = network_close_foreign(saved, images, output, plan, summary, error);
    if (r == 0)
        r = network_rename_unix(saved, plan, summary, error);
    if (r == 0)
        r = write_sockets(saved, output, error);
    return r;
}

int network_rewrite(int images, int output, const struct network_plan *plan,
                    struct network_summary *ret, struct error *error)
{
    struct saved_sockets saved = SAVED_SOCKETS_INIT;
    struct network_summary summary = {0};
    int r = check_plan(plan, error);

    if (r == 0)
        r = saved_sockets_read(images, &saved, error);
    if (r < 0)
        return r;
    r = rewrite(&saved, images, output, plan, &summary, error);
    saved_sockets_done(&saved);
    if (r < 0)
        return error_wrap(error, r, "Can't give the restored processes their network");
    summary.inside /= 2;
    *ret = summary;
    return 0;
}
