/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot-agent: one on each node. Two processes: this one keeps the rights and carries orders out
 * (agent/executor.h); its child has none, talks to the API server and decides (agent/reconciler.h).
 */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/executor.h"
#include "agent/journal.h"
#include "agent/metrics.h"
#include "agent/reconciler.h"
#include "agent/say.h"
#include "agent/settings.h"
#include "agent/shed.h"
#include "agent/web.h"
#include "basic/catalogue.h"
#include "basic/cleanup.h"
#include "basic/text.h"
#include "kube/client.h"
#include "loop/loop.h"

enum { STARTED_USEC = 20000000, NOBODY = 65534, STATUS_FAILED = 1, STATUS_USAGE = 2 };

static const char usage[] =
    "usage: snapshot-agent [--config FILE] [--runtime containerd|crio] [--runtime-socket PATH]\n"
    "       snapshot-agent --check-config [--config FILE]\n"
    "Saves and restores the containers of one node, as pods ask for it.\n"
    "  --config FILE          settings (default: /etc/snapshot/config.yaml, "
    "/etc/chrek/config.yaml)\n"
    "  --runtime NAME         which container runtime ($RUNTIME_TYPE); default: the one that is "
    "there\n"
    "  --runtime-socket PATH  its CRI socket ($RUNTIME_SOCKET)\n"
    "  --check-config         look whether the settings make sense, and end\n"
    "NODE_NAME has to be set. See snapshot-agent(8).\n";

struct options {
    const char *config, *runtime, *socket;
    bool check;
};

struct agent {
    struct loop *loop;
    struct kube_client *client;
    struct metrics *metrics;
    struct reconciler *reconciler;
    struct web *web;
};

static int fail(const struct error *error)
{
    const struct catalogue_entry *entry = catalogue_find(error->code);

    say_fields(SAY_ERROR,
               json_pack("{ss ss*}", "code", error->code, "cure", entry ? entry->cure : NULL), "%s",
               error->message);
    return STATUS_FAILED;
}

static void on_broken(const struct error *error, void *context)
{
    struct agent *agent = context;

    say("%s", error->message);
    loop_stop(agent->loop, STATUS_FAILED);
}

static void on_stop(struct loop_source *source, const struct signalfd_siginfo *info, void *context)
{
    struct agent *agent = context;

    (void)source;
    (void)info;
    loop_stop(agent->loop, 0);
}

/* All that is done only once has been done. */
static void on_started(struct loop_source *source, uint64_t now_usec, void *context)
{
    (void)now_usec;
    (void)context;
    shed_memory();
    loop_source_free(source);
}

static int connect_api(struct agent *agent, struct error *error)
{
    struct kube_config *config = NULL;
    int r = kube_config_find(&config, error);

    if (r < 0)
        return r;
    return kube_client_new(agent->loop, config, &agent->client, error);
}

static int set_up(struct agent *agent, const struct agent_settings *settings, int channel,
                  struct error *error)
{
    struct reconciler_options options = {
        .settings = settings, .channel = channel, .broken = on_broken, .context = agent};
    int r = loop_new(NULL, &agent->loop, error);

    if (r == 0 && !settings->http_source)
        r = connect_api(agent, error);
    if (r < 0)
        return r;
    options.loop = agent->loop;
    options.client = agent->client;
    options.metrics = agent->metrics = metrics_new(settings->node);
    loop_add_timer(agent->loop, loop_now(agent->loop) + STARTED_USEC, on_started, NULL, NULL);
    r = reconciler_new(&options, &agent->reconciler, error);
    if (r == 0 && settings->listen_address) {
        struct web_options web = {agent->loop, settings, agent->reconciler, agent->metrics};

        r = web_new(&web, &agent->web, error);
    }
    if (r == 0)
        r = loop_add_signal(agent->loop, SIGTERM, on_stop, agent, NULL, error);
    if (r == 0)
        r = loop_add_signal(agent->loop, SIGINT, on_stop, agent, NULL, error);
    return r;
}

/* Whatever the network makes of this process, it can do nothing with it on this machine. */
static int drop_rights(struct error *error)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || setgroups(0, NULL) < 0 ||
        setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_set(error, "agent-rights", errno, "Can't give up the rights of root");
    /* Changing ids has cleared it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return error_set(error, "agent-rights", errno, "Can't give up the rights of root");
    return 0;
}

/* The child: no rights, all decisions. */
static int run_loop(const struct agent_settings *settings, int channel)
{
    struct agent agent = {0};
    struct error error = ERROR_INIT;
    int status;

    if (drop_rights(&error) < 0 || set_up(&agent, settings, channel, &error) < 0)
        status = fail(&error);
    else
        status = loop_run(agent.loop);
    error_done(&error);
    web_free(agent.web);
    reconciler_free(agent.reconciler);
    metrics_free(agent.metrics);
    kube_client_free(agent.client);
    loop_free(agent.loop);
    return status;
}

static int split(const struct agent_settings *settings, struct journal *journal,
                 struct error *error)
{
    int pair[2];
    pid_t child;
    int status;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set(error, "agent-rights", errno, "Can't make a socket");
    child = fork();
    if (child < 0)
        return error_set(error, "agent-rights", errno, "Can't start a process");
    if (child == 0) {
        (void)close(pair[0]);
        journal_free(journal);
        status = run_loop(settings, pair[1]);
        exit(status);
    }
    (void)close(pair[1]);
    status = executor_run(pair[0], child, journal, settings);
    return status;
}

static int run(const struct agent_settings *settings)
{
    struct journal *journal = NULL;
    struct error error = ERROR_INIT;
    int status = -EPERM;

    if (geteuid() != 0)
        (void)error_set(&error, "not-root", EPERM, "snapshot-agent has to run as root");
    else if (journal_open(settings->state_directory, &journal, &error) == 0)
        status = split(settings, journal, &error);
    if (status < 0)
        status = fail(&error);
    journal_free(journal);
    error_done(&error);
    return status;
}

static int parse(int argc, char **argv, struct options *options)
{
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},
        {"runtime", required_argument, NULL, 'r'},
        {"runtime-socket", required_argument, NULL, 's'},
        {"check-config", no_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        switch (c) {
        case 'c':
            options->config = optarg;
            break;
        case 'r':
            options->runtime = optarg;
            break;
        case 's':
            options->socket = optarg;
            break;
        case 'k':
            options->check = true;
            break;
        case 'h':
            (void)fputs(usage, stdout);
            exit(0);
        case 'v':
            (void)puts("snapshot-agent " STASIS_VERSION);
            exit(0);
        default:
            return -EINVAL;
        }
    }
    return optind == argc ? 0 : -EINVAL;
}

static const char *socket_of(const char *runtime)
{
    if (text_equal(runtime, "containerd"))
        return "/run/containerd/containerd.sock";
    return text_equal(runtime, "crio") ? "/var/run/crio/crio.sock" : NULL;
}

static int choose_runtime(const struct options *options, struct agent_settings *settings,
                          struct error *error)
{
    const char *runtime = options->runtime ? options->runtime : getenv("RUNTIME_TYPE");
    const char *socket = options->socket;

    if (runtime && *runtime && !socket_of(runtime))
        return error_set(error, "agent-config", EINVAL,
                         "There is no runtime '%s': containerd or crio", runtime);
    if (!socket && !settings->runtime_endpoint && runtime && *runtime)
        socket = socket_of(runtime);
    if (socket) {
        free(settings->runtime_endpoint);
        settings->runtime_endpoint = text_copy(socket);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct agent_settings settings = {0};
    struct error error = ERROR_INIT;
    int status = 0;

    (void)signal(SIGPIPE, SIG_IGN);
    if (parse(argc, argv, &options) < 0) {
        (void)fputs(usage, stderr);
        return STATUS_USAGE;
    }
    say_set_level(getenv("SNAPSHOT_LOG_LEVEL"));
    if (options.check)
        (void)setenv("NODE_NAME", "a-node", 0); /* a file can be looked at anywhere */
    if (agent_settings_read(options.config, &settings, &error) < 0 ||
        choose_runtime(&options, &settings, &error) < 0)
        status = fail(&error);
    else if (!options.check)
        status = run(&settings);
    agent_settings_done(&settings);
    error_done(&error);
    return status;
}
