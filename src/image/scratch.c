/* SPDX-License-Identifier: Apache-2.0 */
#include "image/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "copy/digest.h"
#include "image/kept-names.h"
#include "image/layout.h"
#include "image/names.h"

static const char *const prefixes[] = {
    [SCRATCH_STAGING] = ".staging-",
    [SCRATCH_TRASH] = ".trash-",
};

/* Start time of a process that is more than a zombie; 0: there is none. */
static uint64_t process_start_time(pid_t pid)
{
    enum { FIELDS_AFTER_STATE = 19 };
    CLEANUP(free_ptr) char *path = text_format("/proc/%d/stat", (int)pid);
    CLEANUP(free_ptr) char *text = NULL;
    char *rest, *word, *next = NULL;
    uint64_t start = 0;

    if (file_read(AT_FDCWD, path, 4096, &text, NULL) < 0)
        return 0;
    rest = strrchr(text, ')'); /* the name before it may contain anything */
    word = rest ? strtok_r(rest + 1, " ", &next) : NULL;
    if (!word || *word == 'Z' || *word == 'X')
        return 0;
    for (int i = 0; word && i < FIELDS_AFTER_STATE; i++)
        word = strtok_r(NULL, " ", &next);
    return text_to_uint64(word, &start) < 0 ? 0 : start;
}

static uint64_t this_host(void)
{
    CLEANUP(free_ptr) char *boot = NULL;
    CLEANUP(free_ptr) char *whole = NULL;
    char space[64] = "";
    struct digest digest = {0};
    uint64_t host;

    (void)file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 4096, &boot, NULL);
    if (readlink("/proc/self/ns/pid", space, sizeof space - 1) < 0)
        space[0] = 0;
    whole = text_format("%s %s", boot ? boot : "", space);
    (void)digest_bytes(whole, strlen(whole), &digest);
    memcpy(&host, digest.bytes, sizeof host);
    return host;
}

struct scratch_name scratch_name_new(enum scratch_kind kind, uint64_t version)
{
    static uint64_t count;

    return (struct scratch_name){.kind = kind,
                                 .version = version,
                                 .host = this_host(),
                                 .pid = getpid(),
                                 .start_time = process_start_time(getpid()),
                                 .count = ++count};
}

char *scratch_name_format(const struct scratch_name *name)
{
    return text_format("%s%" PRIu64 "-%016" PRIx64 "-%d-%" PRIu64 "-%" PRIu64, prefixes[name->kind],
                       name->version, name->host, (int)name->pid, name->start_time, name->count);
}

/* Takes the part up to the next '-' (or the end) off `*text`. */
static bool next_part(const char **text, char *part, size_t size)
{
    size_t length = strcspn(*text, "-");

    if (length == 0 || length >= size)
        return false;
    memcpy(part, *text, length);
    part[length] = 0;
    *text += length;
    if (**text == '-')
        (*text)++;
    return true;
}

static bool next_number(const char **text, uint64_t *ret_value)
{
    char part[24];

    return next_part(text, part, sizeof part) && text_to_uint64(part, ret_value) == 0;
}

int scratch_name_parse(const char *text, struct scratch_name *ret_name)
{
    struct scratch_name name = {.kind = SCRATCH_STAGING};
    CLEANUP(free_ptr) char *again = NULL;
    const char *rest;
    char host[17], *end;
    uint64_t pid = 0;

    if (text_starts_with(text, prefixes[SCRATCH_TRASH]))
        name.kind = SCRATCH_TRASH;
    else if (!text_starts_with(text, prefixes[SCRATCH_STAGING]))
        return -EINVAL;
    rest = text + strlen(prefixes[name.kind]);
    if (!next_number(&rest, &name.version) || !next_part(&rest, host, sizeof host) ||
        !next_number(&rest, &pid) || !next_number(&rest, &name.start_time) ||
        !next_number(&rest, &name.count) || pid == 0 || pid > INT_MAX)
        return -EINVAL;
    name.pid = (pid_t)pid;
    name.host = strtoull(host, &end, 16);
    again = scratch_name_format(&name);
    if (!text_equal(again, text)) /* one way of writing only */
        return -EINVAL;
    *ret_name = name;
    return 0;
}

enum scratch_owner scratch_claim(int versions, const char *text, const struct scratch_name *name,
                                 int *ret_lock)
{
    bool here = name->host == this_host();
    CLEANUP(close_fd) int fd = -1;

    *ret_lock = -1;
    if (here && process_start_time(name->pid) == name->start_time)
        return SCRATCH_LIVES;
    fd = openat(versions, text, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return SCRATCH_DEAD; /* not a directory that a writer makes */
    if (snapshot_lock(fd, LOCK_EX | LOCK_NB)) {
        *ret_lock = steal_fd(&fd);
        return SCRATCH_DEAD;
    }
    if (errno == EWOULDBLOCK)
        return SCRATCH_LIVES;
    return here ? SCRATCH_DEAD : SCRATCH_UNKNOWN;
}

void scratch_clean(int versions)
{
    CLEANUP(names_done) struct names names = NAMES_INIT;

    if (names_read(versions, &names) < 0)
        return;
    for (size_t i = 0; i < names.count; i++) {
        CLEANUP(close_fd) int lock = -1;
        struct scratch_name name;

        if (scratch_name_parse(names.names[i], &name) == 0 &&
            scratch_claim(versions, names.names[i], &name, &lock) == SCRATCH_DEAD)
            (void)kept_names_remove_with(versions, names.names[i]);
    }
}
