/* SPDX-License-Identifier: Apache-2.0 */
#include "criu/find.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/installation.h"
#include "basic/text.h"
#include "criu/trial.h"

/* Forgotten at restart, like the kernel that the trial was about. */
#define MEMORY_FILE "criu-trials"

enum { MEMORY_MAXIMUM = 1 << 16 };

/* Whatever changes when the outcome of a trial may change. */
static char *identity(const char *path)
{
    struct utsname kernel;
    struct stat st;

    if (stat(path, &st) < 0 || uname(&kernel) < 0)
        return NULL;
    return text_format("%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %s", path, (uint64_t)st.st_ino,
                       (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec, kernel.release);
}

static char *memory_path(void)
{
    return text_format("%s/" MEMORY_FILE, installation_run_directory());
}

static json_t *read_memory(void)
{
    CLEANUP(free_ptr) char *path = memory_path();
    CLEANUP(free_ptr) char *data = NULL;
    size_t length = 0;
    json_t *memory = NULL;

    if (file_read(AT_FDCWD, path, MEMORY_MAXIMUM, &data, &length) == 0)
        memory = json_loadb(data, length, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(memory)) {
        json_decref(memory);
        memory = json_object();
    }
    return memory;
}

static void remember(const char *who, unsigned version)
{
    json_t *memory = read_memory();
    CLEANUP(free_ptr) char *path = memory_path();
    CLEANUP(free_ptr) char *data = NULL;

    if (json_object_size(memory) > 32)
        (void)json_object_clear(memory);
    (void)json_object_set_new(memory, who, json_integer(version));
    data = json_dumps(memory, JSON_INDENT(1));
    if (data && directory_create_all(installation_run_directory(), 0700) == 0)
        (void)file_write_atomic(AT_FDCWD, path, data, strlen(data));
    json_decref(memory);
}

static unsigned recall(const char *who)
{
    json_t *memory = read_memory();
    unsigned version = (unsigned)json_integer_value(json_object_get(memory, who));

    json_decref(memory);
    return version;
}

static int try_candidate(const char *path, unsigned *ret_version, struct error *error)
{
    CLEANUP(free_ptr) char *who = identity(path);
    unsigned version;
    int r;

    if (!who || access(path, X_OK) < 0)
        return error_set(error, "criu-missing", errno, "%s", path);
    version = recall(who);
    if (version == 0) {
        r = criu_trial(path, &version, error);
        if (r < 0)
            return error_wrap(error, r, "%s", path);
        remember(who, version);
    }
    *ret_version = version;
    return 0;
}

/* First executable `criu` of PATH and the places that PATH lacks for some users. */
static char *in_path(void)
{
    const char *path = getenv("PATH");
    CLEANUP(free_ptr)
    char *all = text_format("%s:/usr/sbin:/sbin:/usr/local/sbin", path ? path : "");
    char *rest = NULL;

    for (char *place = strtok_r(all, ":", &rest); place; place = strtok_r(NULL, ":", &rest)) {
        CLEANUP(free_ptr) char *candidate = text_format("%s/criu", place);

        if (access(candidate, X_OK) == 0)
            return STEAL_PTR(candidate);
    }
    return NULL;
}

/* Tries `path` (given up here); keeps the reason when it fails. */
static int consider(char *path, bool private_copy, struct criu_installation *ret_installation,
                    struct buffer *reasons)
{
    struct error why = ERROR_INIT;
    unsigned version = 0;
    int r;

    if (!path)
        return -ENOENT;
    r = try_candidate(path, &version, &why);
    if (r == 0) {
        *ret_installation = (struct criu_installation){
            .path = path, .version = version, .private_copy = private_copy};
        return 0;
    }
    if (r != -ENOENT)
        (void)buffer_printf(reasons, "%s%s", reasons->length ? "; " : "", why.message);
    error_done(&why);
    free(path);
    return r;
}

int criu_find(struct criu_installation *ret_installation, struct error *error)
{
    const char *chosen = getenv("STASIS_CRIU");
    struct buffer reasons = BUFFER_INIT(16384);
    int r;

    if (geteuid() != 0)
        return error_set(error, "not-root", EPERM, "CRIU can't be tried without root");
    if (chosen && *chosen) {
        r = consider(text_copy(chosen), true, ret_installation, &reasons);
    } else {
        r = consider(in_path(), false, ret_installation, &reasons);
        if (r < 0)
            r = consider(text_copy(STASIS_CRIU_PREFIX "/criu"), true, ret_installation, &reasons);
    }
    if (r < 0 && reasons.length)
        r = error_set(error, "criu-unusable", ENOTSUP, "No usable CRIU: %s", reasons.data);
    else if (r < 0)
        r = error_set(error, "criu-missing", ENOENT, "CRIU was not found%s%s",
                      chosen && *chosen ? " at $STASIS_CRIU, " : "", chosen ? chosen : "");
    buffer_done(&reasons);
    return r;
}

void criu_installation_done(struct criu_installation *installation)
{
    free(installation->path);
    *installation = (struct criu_installation){0};
}
