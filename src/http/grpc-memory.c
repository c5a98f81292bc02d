/* SPDX-License-Identifier: Apache-2.0 */
#include "http/grpc-memory.h"

#include <stdlib.h>

enum { OVERHEAD = 16 }; /* of malloc, about */

static void *allocate_within(void *left, size_t size)
{
    size_t *budget = left, cost;

    if (__builtin_add_overflow(size, OVERHEAD, &cost) || cost > *budget)
        return NULL;
    *budget -= cost;
    return malloc(size);
}

static void give_back(void *left, void *memory)
{
    (void)left;
    free(memory);
}

ProtobufCMessage *grpc_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data,
                              size_t length, size_t maximum)
{
    size_t left = maximum;
    ProtobufCAllocator allocator = {
        .alloc = allocate_within, .free = give_back, .allocator_data = &left};
    static const uint8_t nothing[1];

    return protobuf_c_message_unpack(type, &allocator, length, length ? data : nothing);
}
