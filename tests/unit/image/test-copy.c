/* SPDX-License-Identifier: Apache-2.0 */
/* The copy engine over memory and files, checksums, helpers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "basic/cleanup.h"
#include "basic/interrupt.h"
#include "basic/text.h"
#include "copy/digest.h"
#include "copy/engine.h"
#include "copy/file.h"
#include "copy/hash.h"
#include "copy/helper.h"
#include "fixture.h"

/* Memory as a source and a sink, with a look at what the engine does. */
struct memory {
    char *const *objects;
    atomic_size_t in_flight; /* bytes being written */
    atomic_size_t most;      /* in one call */
    atomic_size_t zeros;
    atomic_size_t begun, ended, failed;
    uint64_t fail_at; /* offset in any object; UINT64_MAX: never */
};

static int memory_read(void *context, void *cursor, size_t object, uint64_t offset, void *buffer,
                       size_t length, struct error *error)
{
    struct memory *memory = context;

    (void)cursor;
    assert_int_equal((uintptr_t)buffer % COPY_ALIGNMENT, 0);
    if (memory->fail_at >= offset && memory->fail_at < offset + length)
        return error_set(error, "copy-read", EIO, "made to fail");
    memcpy(buffer, memory->objects[object] + offset, length);
    return 0;
}

static int memory_begin(void *context, const struct copy_range *range, void **ret_cursor,
                        struct error *error)
{
    struct memory *memory = context;
    uint64_t *next = allocate(sizeof *next);

    (void)error;
    *next = range->offset;
    *ret_cursor = next;
    atomic_fetch_add(&memory->begun, 1);
    return 0;
}

static int memory_write(void *context, void *cursor, size_t object, uint64_t offset,
                        const void *data, size_t length, struct error *error)
{
    struct memory *memory = context;
    size_t most = atomic_load(&memory->most);

    (void)error;
    if (*(uint64_t *)cursor != offset) /* in order within a range */
        return -EILSEQ;
    *(uint64_t *)cursor += length;
    while (length > most && !atomic_compare_exchange_weak(&memory->most, &most, length))
        ;
    memcpy(memory->objects[object] + offset, data, length);
    return 0;
}

static int memory_zero(void *context, void *cursor, size_t object, uint64_t offset, uint64_t length,
                       struct error *error)
{
    struct memory *memory = context;

    (void)object;
    (void)error;
    if (*(uint64_t *)cursor != offset)
        return -EILSEQ;
    *(uint64_t *)cursor += length;
    atomic_fetch_add(&memory->zeros, length);
    return 0;
}

static int memory_end(void *context, void *cursor, const struct copy_range *range, bool complete,
                      struct error *error)
{
    struct memory *memory = context;

    (void)error;
    atomic_fetch_add(complete ? &memory->ended : &memory->failed, 1);
    if (complete && *(uint64_t *)cursor != range->offset + range->length)
        return -EILSEQ;
    free(cursor);
    return 0;
}

static const struct copy_source_operations memory_source = {.read = memory_read};
static const struct copy_sink_operations memory_sink = {
    .begin = memory_begin, .write = memory_write, .end = memory_end};
static const struct copy_sink_operations memory_sparse_sink = {
    .begin = memory_begin, .write = memory_write, .zero = memory_zero, .end = memory_end};

struct seen {
    uint64_t last, total;
    unsigned calls;
    pthread_t thread;
};

static void see(void *context, uint64_t done, uint64_t total)
{
    struct seen *seen = context;

    assert_true(done >= seen->last && done <= total);
    assert_true(pthread_equal(pthread_self(), seen->thread));
    seen->last = done;
    seen->total = total;
    seen->calls++;
}

static const uint64_t sizes[] = {0, 1, 4096, 4097, 5000000, 0, 3145728, 12345};
enum {
    OBJECTS = sizeof sizes / sizeof sizes[0],
    TOTAL = 1 + 4096 + 4097 + 5000000 + 3145728 + 12345
};

static void make_objects(char **objects, bool filled)
{
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i] = allocate(sizes[i]);
        if (filled)
            fixture_fill(objects[i], sizes[i], i);
    }
}

static void free_objects(char **objects)
{
    for (size_t i = 0; i < OBJECTS; i++)
        free(objects[i]);
}

static void copy_memory(unsigned threads, uint64_t range, size_t in_flight)
{
    char *from[OBJECTS], *to[OBJECTS];
    struct memory source = {.objects = from, .fail_at = UINT64_MAX};
    struct memory sink = {.objects = to};
    struct seen seen = {.thread = pthread_self()};
    struct progress progress = {.update = see, .context = &seen};
    struct copy_job job = {.sizes = sizes,
                           .count = OBJECTS,
                           .source = {&memory_source, &source},
                           .sink = {&memory_sink, &sink},
                           .range = range,
                           .in_flight = in_flight,
                           .threads = threads,
                           .progress = &progress};

    make_objects(from, true);
    make_objects(to, false);
    assert_int_equal(copy_run(&job, NULL), 0);
    for (size_t i = 0; i < OBJECTS; i++)
        assert_memory_equal(from[i], to[i], sizes[i]);
    assert_int_equal(seen.last, TOTAL);
    assert_int_equal(seen.total, TOTAL);
    assert_int_equal(sink.begun, sink.ended);
    if (in_flight)
        assert_true(sink.most * threads <= in_flight);
    free_objects(from);
    free_objects(to);
}

static void test_engine_copies(void **state)
{
    (void)state;
    copy_memory(1, 0, 0);
    copy_memory(1, 65536, 0);
    copy_memory(4, 65536, 0);
    copy_memory(4, 4096, 4 * 4096);
    copy_memory(3, 1048576, 3 * 65536);
    copy_memory(64, 4096, 64 * 4096);
}

static void test_engine_nothing(void **state)
{
    struct seen seen = {.thread = pthread_self()};
    struct progress progress = {.update = see, .context = &seen};
    struct copy_job job = {.threads = 4, .progress = &progress};

    (void)state;
    assert_int_equal(copy_run(&job, NULL), 0);
    assert_int_equal(seen.calls, 1);
}

static void test_engine_refuses_unaligned_range(void **state)
{
    struct copy_job job = {.range = 1000};

    (void)state;
    assert_int_equal(copy_run(&job, NULL), -EINVAL);
}

static void test_engine_refuses_too_much(void **state)
{
    const uint64_t huge[] = {UINT64_MAX, 1};
    struct copy_job job = {.sizes = huge, .count = 2};

    (void)state;
    assert_int_equal(copy_run(&job, NULL), -EOVERFLOW);
}

static void fail_copy(unsigned threads)
{
    char *from[OBJECTS], *to[OBJECTS];
    struct memory source = {.objects = from, .fail_at = 4500000};
    struct memory sink = {.objects = to};
    struct error error = ERROR_INIT;
    struct copy_job job = {.sizes = sizes,
                           .count = OBJECTS,
                           .source = {&memory_source, &source},
                           .sink = {&memory_sink, &sink},
                           .range = 65536,
                           .threads = threads};

    make_objects(from, true);
    make_objects(to, false);
    assert_int_equal(copy_run(&job, &error), -EIO);
    assert_true(error_is(&error, "copy-read"));
    assert_int_equal(sink.begun, sink.ended + sink.failed);
    assert_true(sink.failed >= 1);
    error_done(&error);
    free_objects(from);
    free_objects(to);
}

static void test_engine_fails(void **state)
{
    (void)state;
    fail_copy(1);
    fail_copy(4);
}

static void test_engine_finds_zeros(void **state)
{
    char *from[OBJECTS], *to[OBJECTS];
    struct memory source = {.objects = from, .fail_at = UINT64_MAX};
    struct memory sink = {.objects = to};
    struct copy_job job = {.sizes = sizes,
                           .count = OBJECTS,
                           .source = {&memory_source, &source},
                           .sink = {&memory_sparse_sink, &sink},
                           .threads = 2};

    (void)state;
    make_objects(from, true);
    make_objects(to, false);
    memset(from[4] + 131072, 0, 3 * 65536);      /* three grains */
    memset(from[4] + 1048576 + 1, 0, 65536);     /* unaligned: no whole grain */
    memset(from[6] + 3145728 - 65536, 0, 65536); /* the last one */
    assert_int_equal(copy_run(&job, NULL), 0);
    for (size_t i = 0; i < OBJECTS; i++)
        assert_memory_equal(from[i], to[i], sizes[i]);
    assert_int_equal(sink.zeros, 4 * 65536);
    free_objects(from);
    free_objects(to);
}

static void test_is_zero(void **state)
{
    char data[300] = {0};

    (void)state;
    for (size_t length = 0; length <= sizeof data; length++)
        assert_true(copy_is_zero(data, length));
    for (size_t at = 0; at < sizeof data; at++) {
        data[at] = 1;
        assert_false(copy_is_zero(data, sizeof data));
        assert_true(copy_is_zero(data, at));
        data[at] = 0;
    }
}

static void test_threads(void **state)
{
    (void)state;
    assert_true(copy_threads(0) >= 1 && copy_threads(0) <= 16);
    assert_int_equal(copy_threads(3), 3);
    assert_int_equal(copy_threads(1000), COPY_THREADS_MAXIMUM);
}

static int open_directory(const char *root, const char *name)
{
    CLEANUP(free_ptr) char *path = text_format("%s/%s", root, name);
    int fd;

    assert_int_equal(mkdir(path, 0700), 0);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void check_equal_files(int from, int to, const char *path)
{
    CLEANUP(close_fd) int a = openat(from, path, O_RDONLY | O_CLOEXEC);
    CLEANUP(close_fd) int b = openat(to, path, O_RDONLY | O_CLOEXEC);
    struct stat st, copied;
    char *left, *right;

    assert_true(a >= 0 && b >= 0);
    assert_int_equal(fstat(a, &st), 0);
    assert_int_equal(fstat(b, &copied), 0);
    assert_int_equal(st.st_size, copied.st_size);
    if (st.st_size == 0)
        return;
    left = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, a, 0);
    right = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, b, 0);
    assert_true(left != MAP_FAILED && right != MAP_FAILED);
    assert_memory_equal(left, right, (size_t)st.st_size);
    assert_int_equal(munmap(left, (size_t)st.st_size), 0);
    assert_int_equal(munmap(right, (size_t)st.st_size), 0);
}

static void make_sparse(int directory, const char *path, off_t length)
{
    CLEANUP(close_fd) int fd = openat(directory, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    char data[8192];

    assert_true(fd >= 0);
    fixture_fill(data, sizeof data, 99);
    assert_int_equal(ftruncate(fd, length), 0);
    assert_int_equal(pwrite(fd, data, sizeof data, length / 2), sizeof data);
}

static void test_copy_beneath(void **state)
{
    static const char *const paths[] = {"a", "empty", "d/b", "sparse"};
    char *root = fixture_root();
    CLEANUP(close_fd) int from = open_directory(root, "from");
    CLEANUP(close_fd) int to = open_directory(root, "to");
    struct stat st;

    (void)state;
    fixture_directory(from, "d");
    fixture_directory(to, "d");
    fixture_file(from, "a", 1000003, 1);
    fixture_file(from, "empty", 0, 2);
    fixture_file(from, "d/b", 65536, 3);
    make_sparse(from, "sparse", 200 * 1024 * 1024);
    assert_int_equal(copy_beneath(from, to, paths, 4, 3, NULL, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        check_equal_files(from, to, paths[i]);
    assert_int_equal(fstatat(to, "sparse", &st, 0), 0);
    assert_true(st.st_blocks * 512 < 1024 * 1024);
    assert_int_equal(st.st_mode & 07777, 0600);
    fixture_root_remove(root);
}

static void test_copy_beneath_refuses(void **state)
{
    static const char *const existing[] = {"a"}, *const absent[] = {"b"},
                             *const outside[] = {"../x"}, *const link[] = {"l"};
    char *root = fixture_root();
    CLEANUP(close_fd) int from = open_directory(root, "from");
    CLEANUP(close_fd) int to = open_directory(root, "to");
    struct error error = ERROR_INIT;

    (void)state;
    fixture_file(from, "a", 10, 1);
    fixture_file(to, "a", 20, 1);
    assert_int_equal(symlinkat("a", from, "l"), 0);
    assert_int_equal(copy_beneath(from, to, existing, 1, 1, NULL, &error), -EEXIST);
    assert_true(error_is(&error, "copy-write"));
    assert_int_equal(copy_beneath(from, to, absent, 1, 1, NULL, &error), -ENOENT);
    assert_true(error_is(&error, "copy-read"));
    assert_true(copy_beneath(from, to, outside, 1, 1, NULL, NULL) < 0);
    assert_true(copy_beneath(from, to, link, 1, 1, NULL, NULL) < 0);
    error_done(&error);
    fixture_root_remove(root);
}

static void test_copy_descriptors(void **state)
{
    char *root = fixture_root();
    CLEANUP(close_fd) int directory = open_directory(root, "d");
    int from[2], to[2];

    (void)state;
    fixture_file(directory, "x", 777777, 1);
    from[0] = openat(directory, "x", O_RDONLY | O_CLOEXEC);
    from[1] = memfd_create("test", MFD_CLOEXEC);
    to[0] = openat(directory, "y", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    to[1] = openat(directory, "z", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(from[1], 100000), 0);
    assert_int_equal(copy_descriptors(from, to, 2, 2, NULL, NULL), 0);
    check_equal_files(directory, directory, "x");
    for (int i = 0; i < 2; i++) {
        (void)close(from[i]);
        (void)close(to[i]);
    }
    check_equal_files(directory, directory, "y");
    assert_true(fixture_exists("%s/d/z", root));
    fixture_root_remove(root);
}

/* The rule of docs/snapshot-format.md, written a second time with the one-shot function. */
static struct digest digest_again(const char *data, size_t length)
{
    XXH128_canonical_t blocks[8], whole;
    size_t count = 0;
    struct digest digest;

    for (size_t offset = 0; offset < length; offset += 67108864) {
        size_t block = length - offset < 67108864 ? length - offset : 67108864;

        XXH128_canonicalFromHash(&blocks[count++], XXH3_128bits(data + offset, block));
    }
    XXH128_canonicalFromHash(&whole, XXH3_128bits(blocks, count * sizeof blocks[0]));
    memcpy(digest.bytes, whole.digest, sizeof digest.bytes);
    return digest;
}

static void test_digest_rule(void **state)
{
    static const uint64_t lengths[] = {0, 1, 300000, 67108864, 67108865, 150000000};
    char *root = fixture_root();
    CLEANUP(close_fd) int directory = open_directory(root, "d");
    int fds[6];
    struct digest digests[6];
    struct copy_files files = {.fds = fds};
    struct copy_source source = copy_source_files(&files);

    (void)state;
    for (size_t i = 0; i < 6; i++) {
        char name[2] = {(char)('a' + i), 0};

        fixture_file(directory, name, lengths[i], i);
        fds[i] = openat(directory, name, O_RDONLY | O_CLOEXEC);
    }
    assert_int_equal(digest_objects(&source, lengths, 6, 2, NULL, digests, NULL), 0);
    for (size_t i = 0; i < 6; i++) {
        CLEANUP(free_ptr) char *data = malloc(lengths[i] + 1);
        struct digest expected;

        fixture_fill(data, lengths[i], i);
        expected = digest_again(data, lengths[i]);
        assert_true(digest_equal(&expected, &digests[i]));
        (void)close(fds[i]);
    }
    fixture_root_remove(root);
}

static void test_digest_of_holes(void **state)
{
    const uint64_t length = 130 * 1024 * 1024;
    char *root = fixture_root();
    CLEANUP(close_fd) int directory = open_directory(root, "d");
    CLEANUP(close_fd) int fd = -1;
    struct copy_files files = {.fds = &fd};
    struct copy_source source = copy_source_files(&files);
    struct digest digest, expected;
    char *data;

    (void)state;
    make_sparse(directory, "s", (off_t)length);
    fd = openat(directory, "s", O_RDONLY | O_CLOEXEC);
    assert_int_equal(digest_objects(&source, &length, 1, 1, NULL, &digest, NULL), 0);
    data = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(data != MAP_FAILED);
    expected = digest_again(data, length);
    assert_true(digest_equal(&expected, &digest));
    assert_int_equal(munmap(data, length), 0);
    fixture_root_remove(root);
}

static void test_digest_of_short_file(void **state)
{
    const uint64_t length = 1000;
    CLEANUP(close_fd) int fd = memfd_create("test", MFD_CLOEXEC);
    struct copy_files files = {.fds = &fd};
    struct copy_source source = copy_source_files(&files);
    struct error error = ERROR_INIT;
    struct digest digest;

    (void)state;
    assert_int_equal(ftruncate(fd, 999), 0);
    assert_int_equal(digest_objects(&source, &length, 1, 1, NULL, &digest, &error), -ENODATA);
    assert_true(error_is(&error, "copy-read"));
    error_done(&error);
}

static void test_digest_hex(void **state)
{
    static const char text[] = "00112233445566778899aabbccddeeff";
    struct digest digest;
    char hex[DIGEST_HEX_LENGTH + 1];

    (void)state;
    assert_int_equal(digest_from_hex(text, &digest), 0);
    digest_to_hex(&digest, hex);
    assert_string_equal(hex, text);
    assert_int_equal(digest_from_hex("00112233445566778899AABBCCDDEEFF", &digest), -EINVAL);
    assert_int_equal(digest_from_hex("0011", &digest), -EINVAL);
    assert_int_equal(digest_from_hex("00112233445566778899aabbccddeef", &digest), -EINVAL);
    assert_int_equal(digest_from_hex("00112233445566778899aabbccddeeff0", &digest), -EINVAL);
    assert_int_equal(digest_from_hex("00112233445566778899aabbccddeefg", &digest), -EINVAL);
}

static void test_hash_forms_agree(void **state)
{
    static char data[100000];
    const struct hash_operations *forms[] = {&hash_plain, hash_best()};
    unsigned char digests[2][16];

    (void)state;
    fixture_fill(data, sizeof data, 5);
    for (size_t length = 0; length < sizeof data; length += length < 2000 ? 1 : 997) {
        for (int i = 0; i < 2; i++) {
            void *hash = forms[i]->begin();

            forms[i]->update(hash, data, length / 3);
            forms[i]->update(hash, data + length / 3, length - length / 3);
            forms[i]->end(hash, digests[i]);
        }
        assert_memory_equal(digests[0], digests[1], 16);
    }
}

static int helper_reports(void *context, const struct progress *progress, struct error *error)
{
    (void)error;
    for (uint64_t i = 0; i <= 100; i++)
        progress_update(progress, i, 100);
    *(int *)context = 42;
    return 7;
}

static int helper_fails(void *context, const struct progress *progress, struct error *error)
{
    (void)context;
    (void)progress;
    return error_set(error, "disk-full", ENOSPC, "no room");
}

static int helper_dies(void *context, const struct progress *progress, struct error *error)
{
    (void)context;
    (void)progress;
    (void)error;
    (void)raise(SIGKILL);
    return 0;
}

static int helper_waits(void *context, const struct progress *progress, struct error *error)
{
    (void)context;
    (void)progress;
    (void)error;
    while (pause() < 0)
        ;
    return 0;
}

static void test_helper(void **state)
{
    struct seen seen = {.thread = pthread_self()};
    struct progress progress = {.update = see, .context = &seen};
    struct error error = ERROR_INIT;
    int *shared = helper_memory(sizeof *shared);

    (void)state;
    assert_int_equal(helper_run(helper_reports, shared, &progress, NULL), 7);
    assert_int_equal(*shared, 42);
    assert_int_equal(seen.total, 100);
    assert_int_equal(helper_run(helper_fails, NULL, NULL, &error), -ENOSPC);
    assert_true(error_is(&error, "disk-full"));
    assert_int_equal(error.number, ENOSPC);
    assert_non_null(strstr(error.message, "no room"));
    assert_int_equal(helper_run(helper_dies, NULL, NULL, &error), -ECHILD);
    assert_true(error_is(&error, "helper-died"));
    error_done(&error);
    helper_memory_free(shared, sizeof *shared);
}

static void test_helper_is_given_up(void **state)
{
    struct helper *helper = NULL;

    (void)state;
    assert_int_equal(helper_start(helper_waits, NULL, true, &helper, NULL), 0);
    assert_int_equal(helper_poll(helper, NULL), 0);
    assert_true(helper_fd(helper) >= 0);
    helper_free(helper);
    helper_free(NULL);
}

/* In a child: the note of a signal stays with a process. */
static int run_interrupted(const char *root)
{
    const uint64_t length = 1 << 20;
    CLEANUP(close_fd) int fd = memfd_create("test", MFD_CLOEXEC);
    struct copy_files files = {.fds = &fd};
    struct copy_source source = copy_source_files(&files);
    struct helper *helper = NULL;
    struct error error = ERROR_INIT;
    struct digest digest;
    int good = 0;

    (void)root;
    interrupt_catch();
    if (ftruncate(fd, (off_t)length) < 0 ||
        helper_start(helper_waits, NULL, true, &helper, NULL) < 0)
        return 1;
    (void)raise(SIGTERM);
    good += helper_finish(helper, NULL, &error) == -EINTR && error_is(&error, "interrupted");
    helper_free(helper);
    error_done(&error);
    good += digest_objects(&source, &length, 1, 1, NULL, &digest, &error) == -EINTR &&
            error_is(&error, "interrupted");
    error_done(&error);
    return good != 2;
}

static void test_interrupted(void **state)
{
    (void)state;
    assert_int_equal(fixture_child(run_interrupted, "", ""), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_copies),
        cmocka_unit_test(test_engine_nothing),
        cmocka_unit_test(test_engine_refuses_unaligned_range),
        cmocka_unit_test(test_engine_refuses_too_much),
        cmocka_unit_test(test_engine_fails),
        cmocka_unit_test(test_engine_finds_zeros),
        cmocka_unit_test(test_is_zero),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_copy_beneath),
        cmocka_unit_test(test_copy_beneath_refuses),
        cmocka_unit_test(test_copy_descriptors),
        cmocka_unit_test(test_digest_rule),
        cmocka_unit_test(test_digest_of_holes),
        cmocka_unit_test(test_digest_of_short_file),
        cmocka_unit_test(test_digest_hex),
        cmocka_unit_test(test_hash_forms_agree),
        cmocka_unit_test(test_helper),
        cmocka_unit_test(test_helper_is_given_up),
        cmocka_unit_test(test_interrupted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
