/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's settings: a YAML file with the keys of the configuration files of ChReK and Dynamo
 * Snapshot (docs/agent-configuration.md lists all), and what the environment says of the node.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/protocol.h"
#include "basic/error.h"
#include "criu/service.h"

struct agent_settings {
    char *node;                 /* $NODE_NAME */
    char *restricted_namespace; /* $RESTRICTED_NAMESPACE; NULL: pods of all */
    char *base_path;            /* where snapshots are */
    bool pod_mount;             /* in a volume of each pod, instead of the agent's own */
    char *state_directory;      /* the journal: on a file system that goes away with the processes
                                   of this boot */
    char *runtime_endpoint;     /* of CRI; NULL: the first that answers */

    bool http_source;     /* operations are asked for by HTTP, not by pods */
    char *listen_address; /* of HTTP; NULL: none */

    bool protocols[PROTOCOL_COUNT];
    char **exclusions;      /* NULL-terminated: container/rootfs.h */
    char **more_exclusions; /* only while they are read */
    enum tcp_policy tcp;
    uint64_t ghost_limit; /* bytes of a deleted file that is still open */
    unsigned checkpoint_timeout_sec, restore_timeout_sec;
    unsigned container_wait_sec; /* how long a restore waits for its container to run */
    unsigned capture_attempts, restore_attempts;
    unsigned captures_at_once, restores_at_once;
    bool any_image;   /* restore into another image than the snapshot's */
    bool kill_failed; /* in the protocols that know no other word for it: end a container whose
                         capture failed, or that could not be restored into */
    unsigned keep_versions;
};

#define AGENT_CONFIG_DEFAULT "/etc/snapshot/config.yaml"
#define AGENT_CONFIG_CHREK "/etc/chrek/config.yaml"

/* `path` NULL: the first of the two above that is there, or defaults alone.
 * "agent-config": the file can't be read, or has a key or a value that is not known. */
int agent_settings_read(const char *path, struct agent_settings *ret_settings, struct error *error);
void agent_settings_done(struct agent_settings *settings);
