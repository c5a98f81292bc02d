/* SPDX-License-Identifier: Apache-2.0 */
#include "criu/network-address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "basic/text.h"

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

int network_address_parse(const char *text, struct network_address *ret)
{
    struct network_address address = {0};

    if (inet_pton(AF_INET, text, address.bytes + sizeof mapped_prefix) == 1)
        memcpy(address.bytes, mapped_prefix, sizeof mapped_prefix);
    else if (inet_pton(AF_INET6, text, address.bytes) != 1)
        return -EINVAL;
    *ret = address;
    return 0;
}

char *network_address_text(const struct network_address *address)
{
    bool ipv4 = network_address_is_ipv4(address);
    char text[INET6_ADDRSTRLEN] = "?";

    (void)inet_ntop(ipv4 ? AF_INET : AF_INET6, address->bytes + (ipv4 ? sizeof mapped_prefix : 0),
                    text, sizeof text);
    return text_copy(text);
}

char *network_endpoint_text(const struct network_endpoint *endpoint)
{
    bool ipv4 = network_address_is_ipv4(&endpoint->address);
    char *address = network_address_text(&endpoint->address);
    char *text = text_format(ipv4 ? "%s:%u" : "[%s]:%u", address, (unsigned)endpoint->port);

    free(address);
    return text;
}

bool network_address_equal(const struct network_address *a, const struct network_address *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool network_address_is_ipv4(const struct network_address *address)
{
    return memcmp(address->bytes, mapped_prefix, sizeof mapped_prefix) == 0;
}

static bool is_one_of(const struct network_address *address, const uint8_t last[4])
{
    return network_address_is_ipv4(address) &&
           memcmp(address->bytes + sizeof mapped_prefix, last, 4) == 0;
}

bool network_address_is_wildcard(const struct network_address *address)
{
    static const uint8_t zero[16];

    return memcmp(address->bytes, zero, sizeof zero) == 0 || is_one_of(address, zero);
}

bool network_address_is_loopback(const struct network_address *address)
{
    static const uint8_t one[16] = {[15] = 1};

    if (network_address_is_ipv4(address))
        return address->bytes[12] == 127;
    return memcmp(address->bytes, one, sizeof one) == 0;
}

bool network_address_is_link_local(const struct network_address *address)
{
    return address->bytes[0] == 0xfe && (address->bytes[1] & 0xc0) == 0x80;
}

bool network_address_is_group(const struct network_address *address)
{
    static const uint8_t everybody[4] = {0xff, 0xff, 0xff, 0xff};

    if (network_address_is_ipv4(address))
        return (address->bytes[12] & 0xf0) == 0xe0 || is_one_of(address, everybody);
    return address->bytes[0] == 0xff;
}

struct network_address network_address_loopback(const struct network_address *like)
{
    struct network_address address = {.bytes = {[15] = 1}};

    if (network_address_is_ipv4(like)) {
        memcpy(address.bytes, mapped_prefix, sizeof mapped_prefix);
        address.bytes[12] = 127;
    }
    return address;
}
