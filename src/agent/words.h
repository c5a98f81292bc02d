/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary of the protocols between workloads, operators and agents: labels, annotations,
 * variables and files, as published for ChReK and Dynamo Snapshot. docs/protocol.md tells them
 * all. */
#pragma once

#include <stdbool.h>

/* The pod is one to be saved: ChReK alone, ChReK with Dynamo, Dynamo Snapshot. */
#define LABEL_SOURCE_STANDALONE "nvidia.com/checkpoint-source"
#define LABEL_SOURCE_CHREK "nvidia.com/chrek-is-checkpoint-source"
#define LABEL_SOURCE_SNAPSHOT "nvidia.com/snapshot-is-checkpoint-source"

/* The pod is one to restore into. */
#define LABEL_TARGET_CHREK "nvidia.com/chrek-is-restore-target"
#define LABEL_TARGET_SNAPSHOT "nvidia.com/snapshot-is-restore-target"

/* Which snapshot. */
#define LABEL_HASH_STANDALONE "nvidia.com/checkpoint-hash"
#define LABEL_HASH_CHREK "nvidia.com/chrek-checkpoint-hash"
#define LABEL_HASH_SNAPSHOT "nvidia.com/snapshot-checkpoint-hash"
#define LABEL_ID_SNAPSHOT "nvidia.com/snapshot-checkpoint-id"

#define ANNOTATION_VERSION "nvidia.com/snapshot-artifact-version"
#define ANNOTATION_TARGETS "nvidia.com/snapshot-target-containers"
#define ANNOTATION_STORAGE_PATH "nvidia.com/snapshot-storage-base-path"
#define ANNOTATION_STORAGE_TYPE "nvidia.com/snapshot-storage-type"

/* Written by the agent, on a Job and on pods. Where more than one container is meant, the names of
 * the last two end in ".CONTAINER". */
#define ANNOTATION_CHECKPOINT_STATUS "nvidia.com/snapshot-checkpoint-status"
#define ANNOTATION_RESTORE_STATUS "nvidia.com/snapshot-restore-status"
#define ANNOTATION_RESTORE_CONTAINER "nvidia.com/snapshot-restore-container-id"

#define CONDITION_RESTORED "nvidia.com/Restored"
#define CONDITION_CHECKPOINTED "nvidia.com/Checkpointed"

#define VARIABLE_HASH "DYN_CHECKPOINT_HASH"
#define VARIABLE_LOCATION "DYN_CHECKPOINT_LOCATION"
#define VARIABLE_PATH "DYN_CHECKPOINT_PATH"
#define VARIABLE_STORAGE "DYN_CHECKPOINT_STORAGE_TYPE"
#define VARIABLE_SIGNAL_FILE "DYN_CHECKPOINT_SIGNAL_FILE"
#define VARIABLE_MARKER "DYN_RESTORE_MARKER_FILE"
#define VARIABLE_CONTROL "SNAPSHOT_CONTROL_DIR"
#define VARIABLE_CONTROL_OLD "DYN_SNAPSHOT_CONTROL_DIR"

#define CONTROL_DIRECTORY "/snapshot-control"
#define MARKER_DEFAULT "/tmp/dynamo-restored"

/* The name of the first process of a container that waits for a restore (restore-entrypoint). */
#define NAME_WAITS "waits-for-agent"

#define SENTINEL_CAPTURED "snapshot-complete"
#define SENTINEL_RESTORED "restore-complete"
#define SENTINEL_FAILED "restore-failed"

/* Whether a label or an annotation is of these protocols. */
bool words_is_ours(const char *key);

/* Whether an agent looks at a variable of this name. */
bool words_is_variable(const char *name);
