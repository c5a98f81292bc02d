/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: keys of both products, defaults, and everything that is refused. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/settings.h"
#include "agent/web.h"
#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"

static char path[] = "/tmp/settings-test-XXXXXX";

static int read_text(const char *text, struct agent_settings *settings, struct error *error)
{
    assert_int_equal(file_write_atomic(AT_FDCWD, path, text, strlen(text)), 0);
    return agent_settings_read(path, settings, error);
}

static void expect_read(const char *text, struct agent_settings *settings)
{
    struct error error = ERROR_INIT;

    if (read_text(text, settings, &error) < 0)
        fail_msg("%s", error.message);
}

static void test_defaults(void **state)
{
    struct agent_settings settings;

    (void)state;
    expect_read("", &settings);
    assert_string_equal(settings.base_path, "/checkpoints");
    assert_string_equal(settings.listen_address, ":8080");
    assert_string_equal(settings.node, "n1");
    assert_int_equal(settings.tcp, TCP_KEEP);
    assert_int_equal(settings.ghost_limit, 536870912);
    assert_int_equal(settings.restore_timeout_sec, 7200);
    assert_true(settings.protocols[PROTOCOL_STANDALONE]);
    assert_string_equal(settings.exclusions[0], "/proc");
    agent_settings_done(&settings);
}

static void test_chrek_file(void **state)
{
    struct agent_settings settings;

    (void)state;
    expect_read("agent:\n"
                "  signalSource: http\n"
                "  listenAddr: \":9000\"\n"
                "  containerdSocket: /run/containerd/containerd.sock\n"
                "  checkpointDir: /snapshots\n"
                "  hostProc: /host/proc\n"
                "checkpoint:\n"
                "  criu: {timeout: 21600, ghostLimit: 1000}\n"
                "  skipMountPrefixes: [/run/nvidia/driver]\n"
                "  rootfsExclusions:\n"
                "    systemDirs: [./usr]\n"
                "    additionalExclusions: [\"*.tmp\"]\n",
                &settings);
    assert_true(settings.http_source);
    assert_string_equal(settings.listen_address, ":9000");
    assert_string_equal(settings.base_path, "/snapshots");
    assert_int_equal(settings.checkpoint_timeout_sec, 21600);
    assert_int_equal(settings.ghost_limit, 1000);
    assert_string_equal(settings.exclusions[0], "/proc"); /* those are more */
    assert_string_equal(settings.exclusions[5], "*.pyc");
    assert_string_equal(settings.exclusions[6], "*.tmp");
    assert_null(settings.exclusions[7]);
    agent_settings_done(&settings);
}

static void test_snapshot_file(void **state)
{
    struct agent_settings settings;

    (void)state;
    expect_read("storage: {type: pvc, basePath: /checkpoints, accessMode: podMount}\n"
                "overlay: {exclusions: []}\n"
                "restore: {restoreTimeoutSeconds: 10, skipCompatCheck: true}\n"
                "criu:\n"
                "  binaryPath: /usr/local/sbin/criu\n"
                "  tcpClose: true\n"
                "  tcpEstablished: false\n"
                "  manageCgroupsMode: soft\n"
                "  libDir: ~\n"
                "protocols: {standalone: false}\n",
                &settings);
    assert_true(settings.pod_mount);
    assert_null(settings.exclusions[0]);
    assert_int_equal(settings.restore_timeout_sec, 10);
    assert_true(settings.any_image);
    assert_int_equal(settings.tcp, TCP_CLOSE);
    assert_false(settings.protocols[PROTOCOL_STANDALONE]);
    agent_settings_done(&settings);
}

static void test_refused(void **state)
{
    static const char *const texts[] = {
        "storag: {}",
        "storage: {typ: pvc}",
        "storage: {type: s3}",
        "storage: {basePath: relative}",
        "storage: {basePath: [a]}",
        "storage: {accessMode: both}",
        "storage: pvc",
        "restore: {restoreTimeoutSeconds: soon}",
        "restore: {restoreTimeoutSeconds: -1}",
        "restore: {skipCompatCheck: maybe}",
        "checkpoint: {attempts: 0}",
        "criu: {tcpClose: true, tcpEstablished: true}",
        "criu: {tcpClose: perhaps}",
        "criu: {unheardOf: 1}",
        "overlay: {exclusions: {a: b}}",
        "protocols: false",
        "agent: {listenAddr: abc}",
        "agent: {listenAddr: \":99999\"}",
        "agent: {nodeName: ../x}",
        "agent: {maxConcurrentCheckpoints: banana}",
        "storage: {basePath: /a}\nagent: {checkpointDir: /b}",
        "- a list",
        "a: [",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct agent_settings settings;
        struct error error = ERROR_INIT;

        if (read_text(texts[i], &settings, &error) == 0)
            fail_msg("taken: %s", texts[i]);
        assert_non_null(strstr(error.message, path));
        error_done(&error);
    }
}

static void test_no_node(void **state)
{
    struct agent_settings settings;
    struct error error = ERROR_INIT;

    (void)state;
    assert_int_equal(unsetenv("NODE_NAME"), 0);
    assert_true(read_text("", &settings, &error) < 0);
    assert_non_null(strstr(error.message, "NODE_NAME"));
    assert_int_equal(setenv("NODE_NAME", "n1", 1), 0);
    error_done(&error);
}

static void test_addresses(void **state)
{
    static const char *const wrong[] = {"", "8080", ":", ":0", ":65536", ":x", "host"};
    char *host = NULL;
    int port;

    (void)state;
    assert_int_equal(web_parse_address(":8080", &host, &port), 0);
    assert_null(host);
    assert_int_equal(port, 8080);
    assert_int_equal(web_parse_address("[::1]:80", &host, &port), 0);
    assert_string_equal(host, "::1");
    free(host);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_true(web_parse_address(wrong[i], &host, &port) < 0);
}

static int set_up(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    if (fd < 0)
        return -1;
    (void)close(fd);
    return setenv("NODE_NAME", "n1", 1);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),      cmocka_unit_test(test_chrek_file),
        cmocka_unit_test(test_snapshot_file), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_node),       cmocka_unit_test(test_addresses),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
