/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flips single bits, chosen at random, in every part of a snapshot: each flip must be found, in the
 * right file, and undoing it must make the snapshot sound again.
 * Arguments: seed, number of flips.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "fixture.h"
#include "image/tree.h"
#include "image/verify.h"

struct scene {
    char *root;
    int directory;
    struct tree tree;
};

/* Where a verification finds damage: "" for none, or the first file's path. The caller frees it. */
static char *find_damage(const struct scene *scene)
{
    CLEANUP(free_snapshot) struct snapshot *snapshot = NULL;
    CLEANUP(verify_report_done) struct verify_report report = VERIFY_REPORT_INIT;
    struct error error = ERROR_INIT;
    char *found = NULL;

    if (snapshot_open(scene->root, "one", &snapshot, &error) < 0)
        found = text_copy(error_is(&error, "snapshot-damaged") ? "manifest" : error.message);
    else if (snapshot_verify(snapshot, VERIFY_ALL, 1, &report, NULL, &error) < 0)
        found = text_copy(error.message);
    else if (report.count > 1)
        found = text_copy("several");
    else
        found = text_copy(report.count ? report.findings[0].path : "");
    error_done(&error);
    return found;
}

static int flip(int directory, const char *path, uint64_t bit)
{
    CLEANUP(close_fd) int fd = file_open_beneath(directory, path, O_RDWR, 0);
    unsigned char byte;

    if (fd < 0 || pread(fd, &byte, 1, (off_t)(bit / 8)) != 1)
        return -1;
    byte ^= (unsigned char)(1u << (bit % 8));
    return pwrite(fd, &byte, 1, (off_t)(bit / 8)) == 1 ? 0 : -1;
}

/* A file with contents, each with the same chance, so that small ones get their share. */
static const struct tree_entry *choose(const struct scene *scene, uint64_t *random)
{
    for (;;) {
        const struct tree_entry *entry =
            &scene->tree.entries[fixture_random(random) % scene->tree.count];

        if (S_ISREG(entry->stat.st_mode) && entry->stat.st_size > 0)
            return entry;
    }
}

static int check_flip(const struct scene *scene, uint64_t *random)
{
    const struct tree_entry *entry = choose(scene, random);
    uint64_t bit = fixture_random(random) % ((uint64_t)entry->stat.st_size * 8);
    const char *expected = text_starts_with(entry->path, "manifest.") ? "manifest" : entry->path;
    CLEANUP(free_ptr) char *found = NULL;
    CLEANUP(free_ptr) char *after = NULL;

    if (flip(scene->directory, entry->path, bit) < 0)
        return 1;
    found = find_damage(scene);
    if (flip(scene->directory, entry->path, bit) < 0)
        return 1;
    after = find_damage(scene);
    if (text_equal(found, expected) && text_equal(after, ""))
        return 0;
    (void)fprintf(stderr, "bit %" PRIu64 " of '%s': found '%s', afterwards '%s'\n", bit,
                  entry->path, found, after);
    return 1;
}

int main(int argc, char **argv)
{
    uint64_t random = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    uint64_t flips = argc > 2 ? strtoull(argv[2], NULL, 0) : 1000;
    struct scene scene = {.root = fixture_root()};
    CLEANUP(free_ptr) char *path = text_format("%s/one/versions/1", scene.root);
    uint64_t missed = 0;

    fixture_snapshot(scene.root, "one", NULL);
    scene.directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (scene.directory < 0 || tree_read(scene.directory, &scene.tree, NULL) < 0)
        return 1;
    for (uint64_t i = 0; i < flips; i++)
        missed += (uint64_t)check_flip(&scene, &random);
    (void)printf("%" PRIu64 " bits flipped, %" PRIu64 " not found\n", flips, missed);
    tree_done(&scene.tree);
    close_fd(&scene.directory);
    fixture_root_remove(scene.root);
    return missed ? 1 : 0;
}
