/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of gRPC services of this machine: HTTP/2 without TLS over a unix socket, messages by
 * protobuf-c, calls with one answer and calls with a stream of answers (the client never streams).
 * Wire format: gRPC over HTTP/2 (grpc/grpc, doc/PROTOCOL-HTTP2.md). What arrives is not trusted:
 * sizes and memory are bounded, times are limited, texts are cleaned.
 *
 * A connection is kept between calls, where the installed libcurl is able to, and made anew when it
 * broke. A call ends with "interrupted"
 * on a signal (basic/interrupt.h). Errors of every call:
 *   "grpc-unreachable"  nobody answers at the socket          its errno
 *   "grpc-lost"         the connection broke within the call  -ECONNRESET
 *   "grpc-timeout"      no complete answer in time            -ETIMEDOUT
 *   "grpc-protocol"     the answer is not proper gRPC         -EBADMSG
 *   "grpc-too-large"    a message is larger than the maximum  -EMSGSIZE
 *   "grpc-not-found"    status NOT_FOUND                      -ENOENT
 *   "grpc-unsupported"  status UNIMPLEMENTED                  -EOPNOTSUPP
 *   "grpc-refused"      any other status than OK              -EREMOTEIO
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#include "basic/error.h"

#define GRPC_MESSAGE_MAXIMUM ((size_t)16 << 20) /* what kubelets accept from a runtime, too */

/* What a decoded message may take in memory: many empty parts are small on the wire only. */
#define GRPC_MEMORY_MAXIMUM ((size_t)128 << 20)

struct grpc;

/* Makes a client; the first call connects. "grpc-unreachable" when the path can't be one. */
int grpc_open(const char *socket_path, struct grpc **ret, struct error *error);

void grpc_free(struct grpc *grpc);

struct grpc_call {
    const ProtobufCServiceDescriptor *service;
    const char *method; /* one of the service */
    const ProtobufCMessage *request;
    unsigned timeout_msec; /* for the whole call; not 0 */
};

/* One request, one answer, of the type that the service describes; to be given up by
 * protobuf_c_message_free_unpacked(answer, NULL). */
int grpc_unary(struct grpc *grpc, const struct grpc_call *call, ProtobufCMessage **ret_answer,
               struct error *error);

/* Gets each answer of a stream, which is given up after it has returned. 0: go on; 1: no more;
 * negative: that error. It may make other calls of the same client. */
typedef int grpc_answer_function(const ProtobufCMessage *answer, void *context,
                                 struct error *error);

/* One request, a stream of answers. 0 when the other side has ended it or `answer` said so. The
 * timeout is for the whole stream; "grpc-timeout" is how a stream that is watched for a while
 * ends. */
int grpc_stream(struct grpc *grpc, const struct grpc_call *call, grpc_answer_function *answer,
                void *context, struct error *error);
