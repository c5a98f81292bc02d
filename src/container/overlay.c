/* SPDX-License-Identifier: Apache-2.0 */
#include "container/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "container/rootfs-path.h"

enum { NAMES_COMPARED = 32 };

void overlay_done(struct overlay *overlay)
{
    free(overlay->upper);
    free(overlay->upper_plain);
    *overlay = OVERLAY_INIT;
}

static bool is_octal(const char *text)
{
    return text[0] >= '0' && text[0] <= '3' && text[1] >= '0' && text[1] <= '7' && text[2] >= '0' &&
           text[2] <= '7';
}

/* mountinfo writes bytes that would be misread as \ooo. In place. */
static void unescape_octal(char *text)
{
    char *to = text;

    while (*text) {
        if (*text == '\\' && is_octal(text + 1)) {
            *to++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
            text += 4;
        } else {
            *to++ = *text++;
        }
    }
    *to = 0;
}

/* Options of overlay itself: a backslash before ':', ',' or another one. */
static char *unescape_option(const char *text)
{
    char *plain = allocate(strlen(text) + 1), *to = plain;

    for (; *text; text++) {
        if (*text == '\\' && text[1])
            text++;
        *to++ = *text;
    }
    return plain;
}

static bool is_on(const char *value)
{
    return text_equal(value, "on") || text_equal(value, "follow");
}

static void read_option(struct overlay *overlay, char *option)
{
    char *value = strchr(option, '=');

    if (value)
        *value++ = 0;
    if (value && text_equal(option, "upperdir")) {
        unescape_octal(value);
        free(overlay->upper);
        free(overlay->upper_plain);
        overlay->upper_plain = text_copy(value);
        overlay->upper = unescape_option(value);
    } else if (text_equal(option, "userxattr")) {
        overlay->user_attributes = true;
    } else if (text_equal(option, "volatile")) {
        overlay->is_volatile = true;
    } else if (text_equal(option, "redirect_dir")) {
        overlay->redirects = is_on(value);
    } else if (text_equal(option, "index")) {
        overlay->indexed = is_on(value);
    } else if (text_equal(option, "metacopy")) {
        overlay->metadata_only = is_on(value);
    }
}

static void read_options(struct overlay *overlay, const char *options)
{
    CLEANUP(free_ptr) char *copy = text_copy(options);
    char *cursor = copy, *option;

    while ((option = strsep(&cursor, ",")))
        read_option(overlay, option);
}

/* An option is shown only where it differs from the module's parameter. */
static bool is_default(const char *parameter)
{
    CLEANUP(free_ptr) char *path = text_format("/sys/module/overlay/parameters/%s", parameter);
    CLEANUP(free_ptr) char *value = NULL;

    return file_read(AT_FDCWD, path, 64, &value, NULL) == 0 && value[0] == 'Y';
}

int overlay_find(const struct mount_table *table, struct overlay *ret, struct error *error)
{
    const struct mount *root = mount_table_holder(table, "/");
    struct overlay overlay = OVERLAY_INIT;

    if (!root)
        return error_set(error, "rootfs-not-overlay", ENOENT, "Nothing is mounted at /");
    if (!text_equal(root->type, "overlay"))
        return error_set(error, "rootfs-not-overlay", EOPNOTSUPP, "/ is of type %s", root->type);
    if (!text_equal(root->root, "/"))
        return error_set(error, "rootfs-not-overlay", EOPNOTSUPP, "/ is only a part of an overlay");
    overlay.mount = root->id;
    overlay.redirects = is_default("redirect_dir");
    overlay.metadata_only = is_default("metacopy");
    overlay.indexed = is_default("index");
    read_options(&overlay, root->super_options ? root->super_options : "");
    if (!overlay.upper) {
        overlay_done(&overlay);
        return error_set(error, "rootfs-not-overlay", EROFS, "The overlay has no upper layer");
    }
    *ret = overlay;
    return 0;
}

static int open_in_root(int prefix, const char *path)
{
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(SYS_openat2, prefix, path, &how, sizeof how);

    return fd < 0 ? -errno : (int)fd;
}

static bool same_time(const struct statx_timestamp *a, const struct statx_timestamp *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* An overlay shows the times of what is in the upper layer as they are, and nobody can set the
 * change time. Inode numbers say nothing: they are the overlay's own. */
static bool looks_same(const struct statx *a, const struct statx *b)
{
    return a->stx_mode == b->stx_mode && same_time(&a->stx_ctime, &b->stx_ctime) &&
           same_time(&a->stx_mtime, &b->stx_mtime);
}

static bool is_whiteout(const struct statx *st)
{
    return (S_ISCHR(st->stx_mode) && st->stx_rdev_major == 0 && st->stx_rdev_minor == 0) ||
           (S_ISREG(st->stx_mode) && st->stx_size == 0);
}

/* Directories that were made in the same tick look the same; what is in them does not. */
static int compare_names(int upper, int merged, uint64_t mount)
{
    CLEANUP(name_list_done) struct name_list list = NAME_LIST_INIT;
    int r = name_list_read(upper, &list);

    for (size_t i = 0; r == 0 && i < list.count && i < NAMES_COMPARED; i++) {
        struct statx a, b;

        if (name_stat(upper, list.names[i], &a) < 0 || is_whiteout(&a))
            continue;
        if (name_stat(merged, list.names[i], &b) < 0)
            r = -ESTALE;
        else if (b.stx_mnt_id == mount && !looks_same(&a, &b))
            r = -ESTALE;
    }
    return r;
}

static int compare_roots(const struct overlay *overlay, int upper, int merged)
{
    struct statx a, b;
    int r = name_stat(upper, ".", &a);

    if (r == 0)
        r = name_stat(merged, ".", &b);
    if (r < 0)
        return r;
    if (b.stx_mnt_id != (uint64_t)overlay->mount || !looks_same(&a, &b))
        return -ESTALE;
    return compare_names(upper, merged, b.stx_mnt_id);
}

static int open_matching(const struct overlay *overlay, const char *path, int prefix, int merged)
{
    CLEANUP(close_fd) int fd = *path == '/' ? open_in_root(prefix, path) : -EINVAL;
    int r = fd < 0 ? fd : compare_roots(overlay, fd, merged);

    return r < 0 ? r : steal_fd(&fd);
}

int overlay_open_upper(const struct overlay *overlay, int prefix, int merged, int *ret_fd,
                       struct error *error)
{
    int fd = open_matching(overlay, overlay->upper, prefix, merged);

    /* Kernels differ in whether the option is unescaped. */
    if (fd < 0 && !text_equal(overlay->upper, overlay->upper_plain))
        fd = open_matching(overlay, overlay->upper_plain, prefix, merged);
    if (fd == -ESTALE)
        return error_set(error, "rootfs-upper", 0, "%s is not what is mounted", overlay->upper);
    if (fd < 0)
        return error_set(error, "rootfs-upper", fd, "Can't open %s", overlay->upper);
    *ret_fd = fd;
    return 0;
}
