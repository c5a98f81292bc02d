/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding a message of protobuf with a limit on the memory that it may take. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/* NULL when the data is no such message, or needs more than `maximum` bytes of memory. The message
 * is given up by protobuf_c_message_free_unpacked(message, NULL). */
ProtobufCMessage *grpc_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *data,
                              size_t length, size_t maximum);
