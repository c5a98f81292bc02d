/* SPDX-License-Identifier: Apache-2.0 */
#include "http/grpc.h"

#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "basic/cleanup.h"
#include "basic/clock.h"
#include "basic/interrupt.h"
#include "basic/text.h"
#include "http/grpc-memory.h"
#include "http/printable.h"

enum {
    FRAME_HEADER = 5,        /* "compressed", then the length in four bytes */
    PIECE_MAXIMUM = 1 << 16, /* more than curl hands over at once */
    TEXT_MAXIMUM = 1024,     /* of a message of the other side */
    POLL_MSEC = 250,         /* a signal between check and poll is noticed this late */
};

struct grpc {
    char *socket_path;
    CURLM *multi;
};

struct exchange {
    struct grpc *grpc;
    const struct grpc_call *call;
    const ProtobufCMethodDescriptor *method;
    grpc_answer_function *answer; /* NULL: one answer is expected, and kept in `single` */
    void *context;
    ProtobufCMessage *single;
    CURL *easy;
    struct curl_slist *headers;
    struct buffer request, received;
    uint64_t deadline;
    bool paused, checked, finished;
    CURLcode result;
};

int grpc_open(const char *socket_path, struct grpc **ret, struct error *error)
{
    struct grpc *grpc;

    if (socket_path[0] != '/' ||
        strlen(socket_path) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return error_set(error, "grpc-unreachable", EINVAL, "%s can't be the path of a socket",
                         socket_path);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return error_set(error, "out-of-memory", ENOMEM, "Can't start the HTTP client");
    grpc = allocate(sizeof *grpc);
    grpc->socket_path = text_copy(socket_path);
    grpc->multi = curl_multi_init();
    if (!grpc->multi) {
        grpc_free(grpc);
        return error_set(error, "out-of-memory", ENOMEM, "Can't start the HTTP client");
    }
    *ret = grpc;
    return 0;
}

void grpc_free(struct grpc *grpc)
{
    if (!grpc)
        return;
    if (grpc->multi)
        (void)curl_multi_cleanup(grpc->multi);
    free(grpc->socket_path);
    free(grpc);
    curl_global_cleanup();
}

static int malformed(const struct exchange *exchange, const char *what, struct error *error)
{
    (void)error_set(error, "grpc-protocol", 0, "The answer of %s to %s is not valid: %s",
                    exchange->grpc->socket_path, exchange->call->method, what);
    return -EBADMSG;
}

/* Called by curl. What does not fit waits until the messages before it were taken. */
static size_t receive_piece(char *data, size_t size, size_t count, void *context)
{
    struct exchange *exchange = context;

    if (exchange->received.length + size * count > exchange->received.maximum) {
        exchange->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    return buffer_append(&exchange->received, data, size * count) < 0 ? 0 : size * count;
}

static const char *header_value(const struct exchange *exchange, const char *name, unsigned where)
{
    struct curl_header *header;

    if (curl_easy_header(exchange->easy, name, 0, where, -1, &header) != CURLHE_OK)
        return NULL;
    return header->value;
}

/* A body is looked at only when it is one of gRPC. */
static int check_headers(struct exchange *exchange, struct error *error)
{
    const char *type = header_value(exchange, "content-type", CURLH_HEADER);
    CLEANUP(free_ptr) char *what = NULL;
    long status = 0;

    (void)curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        what = text_format("it has the HTTP status %ld", status);
        return malformed(exchange, what, error);
    }
    if (!type || !text_starts_with(type, "application/grpc") ||
        !strchr(";+", type[strlen("application/grpc")]))
        return malformed(exchange, "it is not of the type application/grpc", error);
    exchange->checked = true;
    return 0;
}

/* Whether a complete frame lies at `offset`: 1 or 0. */
static int frame_at(const struct exchange *exchange, size_t offset, size_t *ret_length,
                    struct error *error)
{
    const unsigned char *at;
    size_t length;

    if (exchange->received.length - offset < FRAME_HEADER)
        return 0;
    at = (const unsigned char *)exchange->received.data + offset;
    length = (size_t)at[1] << 24 | (size_t)at[2] << 16 | (size_t)at[3] << 8 | at[4];
    if (at[0] != 0)
        return malformed(exchange, "it has a compressed message, which was not asked for", error);
    if (length > GRPC_MESSAGE_MAXIMUM) {
        (void)error_set(error, "grpc-too-large", 0,
                        "The answer of %s to %s has a message of %zu bytes; %zu are accepted",
                        exchange->grpc->socket_path, exchange->call->method, length,
                        GRPC_MESSAGE_MAXIMUM);
        return -EMSGSIZE;
    }
    *ret_length = length;
    return exchange->received.length - offset - FRAME_HEADER >= length;
}

static int hand_over(struct exchange *exchange, size_t offset, size_t length, struct error *error)
{
    const uint8_t *data = (const uint8_t *)exchange->received.data + offset + FRAME_HEADER;
    ProtobufCMessage *message =
        grpc_unpack(exchange->method->output, data, length, GRPC_MEMORY_MAXIMUM);
    int r;

    if (!message)
        return malformed(exchange, "a message of it can't be decoded", error);
    if (!exchange->answer && !exchange->single) {
        exchange->single = message;
        return 0;
    }
    r = exchange->answer ? exchange->answer(message, exchange->context, error)
                         : malformed(exchange, "it has more than one message", error);
    protobuf_c_message_free_unpacked(message, NULL);
    return r;
}

/* Takes the complete messages out of what was received. 1: no more are wanted. */
static int take_messages(struct exchange *exchange, struct error *error)
{
    size_t offset = 0, length = 0;
    int r = 0;

    if (exchange->received.length == 0)
        return 0;
    if (!exchange->checked)
        r = check_headers(exchange, error);
    while (r == 0) {
        r = frame_at(exchange, offset, &length, error);
        if (r <= 0)
            break;
        r = hand_over(exchange, offset, length, error);
        offset += FRAME_HEADER + length;
    }
    exchange->received.length -= offset;
    memmove(exchange->received.data, exchange->received.data + offset, exchange->received.length);
    return r;
}

static const char *status_name(int status)
{
    static const char *const names[] = {"OK",
                                        "CANCELLED",
                                        "UNKNOWN",
                                        "INVALID_ARGUMENT",
                                        "DEADLINE_EXCEEDED",
                                        "NOT_FOUND",
                                        "ALREADY_EXISTS",
                                        "PERMISSION_DENIED",
                                        "RESOURCE_EXHAUSTED",
                                        "FAILED_PRECONDITION",
                                        "ABORTED",
                                        "OUT_OF_RANGE",
                                        "UNIMPLEMENTED",
                                        "INTERNAL",
                                        "UNAVAILABLE",
                                        "DATA_LOSS",
                                        "UNAUTHENTICATED"};

    return status < (int)(sizeof names / sizeof names[0]) ? names[status] : "unknown";
}

static int timed_out(const struct exchange *exchange, struct error *error)
{
    (void)error_set(error, "grpc-timeout", 0, "%s did not answer %s completely within %u ms",
                    exchange->grpc->socket_path, exchange->call->method,
                    exchange->call->timeout_msec);
    return -ETIMEDOUT;
}

static int report_status(const struct exchange *exchange, int status, struct error *error)
{
    const char *sent = header_value(exchange, "grpc-message", CURLH_TRAILER | CURLH_HEADER);
    CLEANUP(free_ptr) char *text = printable_percent_decode(sent ? sent : "", TEXT_MAXIMUM);
    const char *path = exchange->grpc->socket_path, *method = exchange->call->method;

    switch (status) {
    case 4:
        return timed_out(exchange, error);
    case 5:
        (void)error_set(error, "grpc-not-found", 0, "%s says to %s: %s", path, method, text);
        return -ENOENT;
    case 12:
        (void)error_set(error, "grpc-unsupported", 0, "%s does not know %s: %s", path, method,
                        text);
        return -EOPNOTSUPP;
    default:
        (void)error_set(error, "grpc-refused", 0, "%s answered %s with %s (%d): %s", path, method,
                        status_name(status), status, text);
        return -EREMOTEIO;
    }
}

/* What ended a call before an answer was complete. */
static int report_failure(const struct exchange *exchange, struct error *error)
{
    const char *path = exchange->grpc->socket_path;
    long number = 0;

    switch (exchange->result) {
    case CURLE_COULDNT_CONNECT:
        (void)curl_easy_getinfo(exchange->easy, CURLINFO_OS_ERRNO, &number);
        return error_set(error, "grpc-unreachable", number > 0 ? (int)number : ECONNREFUSED,
                         "Can't connect to %s", path);
    case CURLE_OUT_OF_MEMORY:
    case CURLE_WRITE_ERROR: /* of receive_piece */
        return error_set(error, "out-of-memory", ENOMEM, "Can't keep the answer of %s", path);
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
        (void)error_set(error, "grpc-lost", 0, "The connection to %s broke during %s", path,
                        exchange->call->method);
        return -ECONNRESET;
    default:
        return malformed(exchange, curl_easy_strerror(exchange->result), error);
    }
}

static int conclude(const struct exchange *exchange, struct error *error)
{
    const char *text = header_value(exchange, "grpc-status", CURLH_TRAILER | CURLH_HEADER);
    int status = 0;

    if (text && (text_to_int(text, &status) < 0 || status < 0))
        return malformed(exchange, "its status is not a number", error);
    if (status > 0)
        return report_status(exchange, status, error);
    if (exchange->result != CURLE_OK)
        return report_failure(exchange, error);
    if (!exchange->checked) {
        struct exchange headers_only = *exchange;
        int r = check_headers(&headers_only, error);

        if (r < 0)
            return r;
    }
    if (!text)
        return malformed(exchange, "it ended without a status", error);
    if (exchange->received.length > 0)
        return malformed(exchange, "it ended in the middle of a message", error);
    return 0;
}

/* Other exchanges of the same client may end meanwhile, too. */
static void note_finished(CURLM *multi)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(multi, &left))) {
        struct exchange *exchange = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
        exchange->result = message->data.result;
        exchange->finished = true;
    }
}

static int advance(struct exchange *exchange, struct error *error)
{
    int running, r;

    if (curl_multi_perform(exchange->grpc->multi, &running) != CURLM_OK)
        return error_set(error, "system", EIO, "The HTTP client has failed");
    note_finished(exchange->grpc->multi);
    r = take_messages(exchange, error);
    if (r != 0)
        return r;
    if (exchange->paused) {
        exchange->paused = false;
        (void)curl_easy_pause(exchange->easy, CURLPAUSE_CONT);
    }
    return 0;
}

/* Until the other side has ended the call, or no more is wanted (1). */
static int converse(struct exchange *exchange, struct error *error)
{
    while (!exchange->finished) {
        uint64_t now = clock_now_usec(), left;
        int r = interrupt_check(error);

        if (r < 0)
            return r;
        if (now >= exchange->deadline)
            return timed_out(exchange, error);
        r = advance(exchange, error);
        if (r != 0)
            return r;
        left = (exchange->deadline - now) / 1000 + 1;
        if (!exchange->finished)
            (void)curl_multi_poll(exchange->grpc->multi, NULL, 0,
                                  left < POLL_MSEC ? (int)left : POLL_MSEC, NULL);
    }
    return take_messages(exchange, error);
}

static int frame_request(struct exchange *exchange, struct error *error)
{
    size_t length = protobuf_c_message_get_packed_size(exchange->call->request);
    uint8_t *frame;

    if (length > GRPC_MESSAGE_MAXIMUM)
        return error_set(error, "grpc-too-large", EMSGSIZE, "The request %s has %zu bytes",
                         exchange->call->method, length);
    frame = allocate(FRAME_HEADER + length);
    for (int i = 0; i < 4; i++)
        frame[1 + i] = (uint8_t)(length >> (24 - 8 * i));
    (void)protobuf_c_message_pack(exchange->call->request, frame + FRAME_HEADER);
    exchange->request.data = (char *)frame;
    exchange->request.length = FRAME_HEADER + length;
    return 0;
}

/* grpc-timeout has at most eight digits. */
static char *timeout_header(unsigned msec)
{
    return msec < 100000000 ? text_format("grpc-timeout: %um", msec)
                            : text_format("grpc-timeout: %uS", msec / 1000);
}

static bool add_headers(struct exchange *exchange)
{
    CLEANUP(free_ptr) char *timeout = timeout_header(exchange->call->timeout_msec);
    const char *const lines[] = {"content-type: application/grpc", "te: trailers",
                                 "accept:", timeout};

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct curl_slist *longer = curl_slist_append(exchange->headers, lines[i]);

        if (!longer)
            return false;
        exchange->headers = longer;
    }
    return curl_easy_setopt(exchange->easy, CURLOPT_HTTPHEADER, exchange->headers) == CURLE_OK;
}

/* libcurl 7.88 (that of Debian 12) puts a second layer of HTTP/2 onto a connection that is used
 * again, when HTTP/2 is known beforehand. Connecting to a unix socket costs next to nothing. */
static bool can_reuse(void)
{
    return curl_version_info(CURLVERSION_NOW)->version_num >> 8 != 0x0758;
}

static bool set_options(struct exchange *exchange)
{
    CURL *easy = exchange->easy;
    CLEANUP(free_ptr)
    char *url = text_format("http://localhost/%s/%s", exchange->call->service->name,
                            exchange->method->name);
    bool good = add_headers(exchange);

    good = good && !curl_easy_setopt(easy, CURLOPT_URL, url);
    good = good && !curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
    good = good && !curl_easy_setopt(easy, CURLOPT_PROXY, "");
    good = good && !curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, exchange->grpc->socket_path);
    good = good &&
           !curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    good = good && !curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long)!can_reuse());
    good = good && !curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, (long)!can_reuse());
    good = good && !curl_easy_setopt(easy, CURLOPT_USERAGENT, "stasis/" STASIS_VERSION);
    good = good && !curl_easy_setopt(easy, CURLOPT_POST, 1L);
    good = good && !curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                                     (curl_off_t)exchange->request.length);
    good = good && !curl_easy_setopt(easy, CURLOPT_POSTFIELDS, exchange->request.data);
    good = good && !curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive_piece);
    good = good && !curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
    return good && !curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
}

static int start(struct exchange *exchange, struct error *error)
{
    int r = frame_request(exchange, error);

    if (r < 0)
        return r;
    exchange->easy = curl_easy_init();
    if (!exchange->easy || !set_options(exchange) ||
        curl_multi_add_handle(exchange->grpc->multi, exchange->easy) != CURLM_OK)
        return error_set(error, "out-of-memory", ENOMEM, "Can't prepare the call %s",
                         exchange->call->method);
    return 0;
}

static void exchange_done(struct exchange *exchange)
{
    if (exchange->easy) {
        (void)curl_multi_remove_handle(exchange->grpc->multi, exchange->easy);
        curl_easy_cleanup(exchange->easy);
    }
    if (exchange->single)
        protobuf_c_message_free_unpacked(exchange->single, NULL);
    curl_slist_free_all(exchange->headers);
    buffer_done(&exchange->request);
    buffer_done(&exchange->received);
}

static int run_call(struct exchange *exchange, struct error *error)
{
    const struct grpc_call *call = exchange->call;
    int r;

    exchange->method =
        protobuf_c_service_descriptor_get_method_by_name(call->service, call->method);
    if (!exchange->method)
        return error_set(error, "grpc-unsupported", EOPNOTSUPP, "There is no call %s",
                         call->method);
    exchange->received = BUFFER_INIT(FRAME_HEADER + GRPC_MESSAGE_MAXIMUM + PIECE_MAXIMUM);
    exchange->deadline = clock_now_usec() + (uint64_t)call->timeout_msec * 1000;
    r = start(exchange, error);
    if (r == 0)
        r = converse(exchange, error);
    if (r == 0)
        r = conclude(exchange, error);
    return r < 0 ? r : 0;
}

int grpc_unary(struct grpc *grpc, const struct grpc_call *call, ProtobufCMessage **ret_answer,
               struct error *error)
{
    CLEANUP(exchange_done) struct exchange exchange = {.grpc = grpc, .call = call};
    int r = run_call(&exchange, error);

    if (r < 0)
        return r;
    if (!exchange.single)
        return malformed(&exchange, "it has no message", error);
    *ret_answer = STEAL_PTR(exchange.single);
    return 0;
}

int grpc_stream(struct grpc *grpc, const struct grpc_call *call, grpc_answer_function *answer,
                void *context, struct error *error)
{
    CLEANUP(exchange_done)
    struct exchange exchange = {.grpc = grpc, .call = call, .answer = answer, .context = context};

    return run_call(&exchange, error);
}
