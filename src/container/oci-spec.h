/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is used of an OCI runtime spec (opencontainers/runtime-spec 1.0 to 1.2, config.md and
 * config-linux.md), checked: types, ranges, numbers of things. Paths are as written there: absolute
 * where it says so, but neither normal nor without links; open them with care.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/error.h"

/* NULL-terminated, never NULL itself after reading. */
typedef const char *const *oci_texts;

struct oci_mount {
    const char *destination; /* absolute */
    const char *source;      /* NULL: none; relative to the bundle when not absolute */
    const char *type;        /* NULL: none, "bind" is only an option then */
    oci_texts options;
};

struct oci_namespace {
    const char *type; /* "pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time" */
    const char *path; /* absolute; NULL: a new one was made */
};

struct oci_id_mapping {
    uint32_t inside, outside, count;
};

struct oci_device {
    const char *path; /* absolute */
    char type;        /* 'c', 'b', 'u' or 'p' */
    dev_t number;
    bool has_mode;
    mode_t mode;
    uint32_t uid, gid;
};

struct oci_spec {
    json_t *document; /* owned; all strings are in it */
    const char *version, *hostname;
    const char *root_path; /* relative to the bundle when not absolute */
    bool root_readonly;
    struct oci_mount *mounts;
    size_t mount_count;

    bool has_process;
    bool terminal, no_new_privileges;
    oci_texts arguments, environment;
    const char *directory; /* process.cwd, absolute */
    uint32_t uid, gid;
    uint32_t *additional_gids;
    size_t additional_gid_count;

    oci_texts masked_paths, readonly_paths;
    struct oci_namespace *namespaces;
    size_t namespace_count;
    struct oci_id_mapping *uid_mappings, *gid_mappings;
    size_t uid_mapping_count, gid_mapping_count;
    struct oci_device *devices;
    size_t device_count;
    const char *cgroups_path;
    bool seccomp;              /* a filter is installed */
    const json_t *annotations; /* object of strings, or NULL */
};

#define OCI_SPEC_INIT ((struct oci_spec){0})

/* Keeps `document` for itself (by reference). "oci-spec" (-EBADMSG) names the member that is
 * wrong. */
int oci_spec_read(json_t *document, struct oci_spec *ret, struct error *error);

void oci_spec_done(struct oci_spec *spec);

/* The namespace of this type, or NULL when it is shared with the runtime. */
const struct oci_namespace *oci_spec_namespace(const struct oci_spec *spec, const char *type);

/* Value of a variable of process.env, the last one counts; NULL when it is not set. */
const char *oci_spec_variable(const struct oci_spec *spec, const char *name);

/* Value of an annotation, or NULL. */
const char *oci_spec_annotation(const struct oci_spec *spec, const char *name);
