/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/web.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "agent/web-request.h"
#include "basic/cleanup.h"
#include "basic/text.h"

enum { CONNECTIONS_MAXIMUM = 64, CONNECTION_TIMEOUT_SEC = 30, TICK_USEC = 1000000 };

struct web {
    struct web_options options;
    struct MHD_Daemon *daemon;
    struct loop_source *source, *timer;
};

int web_parse_address(const char *text, char **ret_host, int *ret_port)
{
    const char *colon = strrchr(text, ':');
    const char *begin = text, *end = colon;
    int port;

    if (!colon || text_to_int(colon + 1, &port) < 0 || port < 1 || port > 65535)
        return -EINVAL;
    if (*begin == '[' && end > begin && end[-1] == ']') {
        begin++;
        end--;
    }
    *ret_host = end > begin ? strndup(begin, (size_t)(end - begin)) : NULL;
    *ret_port = port;
    return 0;
}

/* Timeouts of connections are looked at now and then. */
static void serve(struct web *web)
{
    MHD_UNSIGNED_LONG_LONG timeout = 0;

    (void)MHD_run(web->daemon);
    if (MHD_get_timeout(web->daemon, &timeout) != MHD_YES)
        loop_timer_set(web->timer, LOOP_NEVER);
    else
        loop_timer_set(web->timer, loop_now(web->options.loop) +
                                       (timeout * 1000 < TICK_USEC ? timeout * 1000 : TICK_USEC));
}

static void on_ready(struct loop_source *source, int fd, uint32_t events, void *context)
{
    (void)source;
    (void)fd;
    (void)events;
    serve(context);
}

static void on_timer(struct loop_source *source, uint64_t now_usec, void *context)
{
    (void)source;
    (void)now_usec;
    serve(context);
}

static void wake(void *context)
{
    struct web *web = context;

    loop_timer_set(web->timer, loop_now(web->options.loop));
}

/* libmicrohttpd keeps `*state` for us between the calls for one request. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
    struct web *web = context;
    struct web_request *request = *state;

    (void)version;
    if (!request) {
        struct web_place place = {.settings = web->options.settings,
                                  .reconciler = web->options.reconciler,
                                  .metrics = web->options.metrics,
                                  .wake = wake,
                                  .context = web};

        *state = web_request_new(&place, connection, method, url);
        return MHD_YES;
    }
    if (*size) {
        web_request_data(request, data, *size);
        *size = 0;
        return MHD_YES;
    }
    return web_request_answer(request) == 0 ? MHD_YES : MHD_NO;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    (void)context;
    (void)connection;
    (void)code;
    web_request_free(*state);
    *state = NULL;
}

static int resolve(const char *host, int port, struct addrinfo **ret)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV | AI_NUMERICHOST};
    CLEANUP(free_ptr) char *service = text_format("%d", port);

    if (host && strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    return getaddrinfo(host, service, &hints, ret);
}

static struct MHD_Daemon *listen_at(struct web *web, const struct sockaddr *address)
{
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
                     (address->sa_family == AF_INET6 ? MHD_USE_IPv6 : 0);

    return MHD_start_daemon(flags, 0, NULL, NULL, on_request, web, MHD_OPTION_SOCK_ADDR, address,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAXIMUM,
                            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_TIMEOUT_SEC,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, web, MHD_OPTION_END);
}

static int start(struct web *web, struct error *error)
{
    const char *text = web->options.settings->listen_address;
    CLEANUP(free_ptr) char *host = NULL;
    struct addrinfo *addresses = NULL;
    int port;

    if (web_parse_address(text, &host, &port) < 0 || resolve(host, port, &addresses) != 0)
        return error_set(error, "agent-listen", EINVAL,
                         "'%s' is no address to listen at: HOST:PORT, with a number for a host",
                         text);
    errno = 0;
    web->daemon = listen_at(web, addresses->ai_addr);
    freeaddrinfo(addresses);
    if (!web->daemon)
        return error_set(error, "agent-listen", errno, "Can't listen at '%s'", text);
    return 0;
}

static int attach(struct web *web, struct error *error)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(web->daemon, MHD_DAEMON_INFO_EPOLL_FD);

    if (!info)
        return error_set(error, "agent-listen", ENOTSUP, "libmicrohttpd has no epoll here");
    loop_add_timer(web->options.loop, LOOP_NEVER, on_timer, web, &web->timer);
    return loop_add_fd(web->options.loop, info->epoll_fd, EPOLLIN, on_ready, web, &web->source,
                       error);
}

int web_new(const struct web_options *options, struct web **ret, struct error *error)
{
    struct web *web = allocate(sizeof *web);
    int r;

    web->options = *options;
    r = start(web, error);
    if (r == 0)
        r = attach(web, error);
    if (r < 0) {
        web_free(web);
        return r;
    }
    *ret = web;
    return 0;
}

void web_free(struct web *web)
{
    if (!web)
        return;
    loop_source_free(web->source);
    loop_source_free(web->timer);
    if (web->daemon)
        MHD_stop_daemon(web->daemon);
    free(web);
}
