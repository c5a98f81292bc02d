/* SPDX-License-Identifier: Apache-2.0 */
/* A whole spec, a small one, and what no runtime would write. */
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "container/oci-spec.h"

static const char whole[] =
    "{'ociVersion': '1.2.0', 'hostname': 'pod', 'annotations': {'a': 'b'},"
    " 'root': {'path': 'rootfs', 'readonly': true},"
    " 'process': {'terminal': true, 'cwd': '/work', 'args': ['sh', '-c', ''],"
    "  'env': ['PATH=/bin', 'PATHS=1', 'PATH=/usr/bin'], 'noNewPrivileges': true,"
    "  'user': {'uid': 1000, 'gid': 4294967295, 'additionalGids': [1, 2]}},"
    " 'mounts': [{'destination': '/proc', 'type': 'proc', 'source': 'proc'},"
    "  {'destination': '/data', 'source': '/srv', 'type': '', 'options': ['rbind', 'ro']}],"
    " 'linux': {'maskedPaths': ['/proc/kcore'], 'readonlyPaths': ['/proc/sys', '/proc/irq'],"
    "  'namespaces': [{'type': 'pid'}, {'type': 'network', 'path': '/run/netns/x'}],"
    "  'uidMappings': [{'containerID': 0, 'hostID': 100000, 'size': 65536}],"
    "  'devices': [{'path': '/dev/nvidia0', 'type': 'c', 'major': 195, 'minor': 0,"
    "   'fileMode': 438, 'uid': 0, 'gid': 5}],"
    "  'cgroupsPath': '/kubepods/x', 'seccomp': {'defaultAction': 'SCMP_ACT_ERRNO'}}}";

/* Single quotes stand for double ones. */
static json_t *load(const char *text)
{
    char copy[4096];
    json_t *json;

    assert_true(strlen(text) < sizeof copy);
    for (size_t i = 0; i <= strlen(text); i++)
        copy[i] = text[i] == '\'' ? '"' : text[i];
    json = json_loads(copy, 0, NULL);
    assert_non_null(json);
    return json;
}

static void everything_is_read(void **state)
{
    json_t *json = load(whole);
    struct oci_spec spec = OCI_SPEC_INIT;

    (void)state;
    assert_int_equal(oci_spec_read(json, &spec, NULL), 0);
    json_decref(json); /* the spec has its own reference */
    assert_string_equal(spec.hostname, "pod");
    assert_string_equal(spec.root_path, "rootfs");
    assert_true(spec.root_readonly && spec.has_process && spec.terminal && spec.seccomp);
    assert_true(spec.no_new_privileges);
    assert_string_equal(spec.directory, "/work");
    assert_string_equal(spec.arguments[2], "");
    assert_null(spec.arguments[3]);
    assert_string_equal(oci_spec_variable(&spec, "PATH"), "/usr/bin");
    assert_null(oci_spec_variable(&spec, "PAT"));
    assert_int_equal(spec.uid, 1000);
    assert_int_equal(spec.gid, UINT32_MAX);
    assert_int_equal(spec.additional_gid_count, 2);
    assert_int_equal(spec.additional_gids[1], 2);
    assert_int_equal(spec.mount_count, 2);
    assert_string_equal(spec.mounts[0].type, "proc");
    assert_null(spec.mounts[0].options[0]);
    assert_null(spec.mounts[1].type);
    assert_string_equal(spec.mounts[1].options[1], "ro");
    assert_string_equal(spec.readonly_paths[1], "/proc/irq");
    assert_string_equal(spec.masked_paths[0], "/proc/kcore");
    assert_null(oci_spec_namespace(&spec, "pid")->path);
    assert_string_equal(oci_spec_namespace(&spec, "network")->path, "/run/netns/x");
    assert_null(oci_spec_namespace(&spec, "user"));
    assert_int_equal(spec.uid_mappings[0].outside, 100000);
    assert_int_equal(spec.gid_mapping_count, 0);
    assert_int_equal(spec.devices[0].number, makedev(195, 0));
    assert_int_equal(spec.devices[0].mode, 0666);
    assert_string_equal(spec.cgroups_path, "/kubepods/x");
    assert_string_equal(oci_spec_annotation(&spec, "a"), "b");
    oci_spec_done(&spec);
    oci_spec_done(&spec);
}

static void little_is_enough(void **state)
{
    json_t *json = load("{'ociVersion': '1.0', 'root': {'path': '/r'}, 'process': null}");
    struct oci_spec spec = OCI_SPEC_INIT;

    (void)state;
    assert_int_equal(oci_spec_read(json, &spec, NULL), 0);
    json_decref(json);
    assert_false(spec.has_process);
    assert_null(spec.environment[0]);
    assert_null(spec.masked_paths[0]);
    assert_null(oci_spec_variable(&spec, "PATH"));
    assert_null(oci_spec_annotation(&spec, "a"));
    oci_spec_done(&spec);
}

static void refuses(const char *text, const char *member)
{
    json_t *json = load(text);
    struct oci_spec spec = OCI_SPEC_INIT;
    struct error error = ERROR_INIT;

    assert_int_equal(oci_spec_read(json, &spec, &error), -EBADMSG);
    assert_string_equal(error.code, "oci-spec");
    if (!strstr(error.message, member))
        fail_msg("%s does not name %s", error.message, member);
    assert_null(spec.document);
    error_done(&error);
    assert_int_equal(oci_spec_read(json, &spec, NULL), -EBADMSG);
    json_decref(json);
}

#define SPEC(rest) "{'ociVersion': '1.0', 'root': {'path': '/r'}, " rest "}"

static void wrong_things_are_named(void **state)
{
    (void)state;
    refuses("[]", "document");
    refuses("{'root': {'path': '/r'}}", "ociVersion");
    refuses("{'ociVersion': '1.0'}", "root");
    refuses("{'ociVersion': '1.0', 'root': {'path': ''}}", "root.path");
    refuses("{'ociVersion': '1.0', 'root': {'path': 5}}", "root.path");
    refuses("{'ociVersion': '1.0', 'root': {'path': '/', 'readonly': 1}}", "root.readonly");
    refuses(SPEC("'mounts': {}"), "mounts");
    refuses(SPEC("'mounts': [1]"), "mounts");
    refuses(SPEC("'mounts': [{}]"), "destination");
    refuses(SPEC("'mounts': [{'destination': 'relative'}]"), "destination");
    refuses(SPEC("'mounts': [{'destination': '/a', 'options': ['ro', 1]}]"), "options");
    refuses(SPEC("'mounts': [{'destination': '/a'}, {'destination': ''}]"), "destination");
    refuses(SPEC("'process': []"), "process");
    refuses(SPEC("'process': {'cwd': 'x'}"), "process.cwd");
    refuses(SPEC("'process': {}"), "process.cwd");
    refuses(SPEC("'process': {'cwd': '/', 'env': [null]}"), "process.env");
    refuses(SPEC("'process': {'cwd': '/', 'user': {'uid': -1}}"), "process.user.uid");
    refuses(SPEC("'process': {'cwd': '/', 'user': {'gid': 4294967296}}"), "process.user.gid");
    refuses(SPEC("'process': {'cwd': '/', 'user': {'additionalGids': [-1]}}"), "additionalGids");
    refuses(SPEC("'linux': 1"), "linux");
    refuses(SPEC("'linux': {'maskedPaths': ['x']}"), "linux.maskedPaths");
    refuses(SPEC("'linux': {'namespaces': [{}]}"), "type");
    refuses(SPEC("'linux': {'namespaces': [{'type': 'pid', 'path': 'x'}]}"), "path");
    refuses(SPEC("'linux': {'uidMappings': [{'size': 1.5}]}"), "size");
    refuses(SPEC("'linux': {'devices': [{'path': '/d', 'type': 'x'}]}"), "type");
    refuses(SPEC("'linux': {'devices': [{'path': '/d', 'type': ''}]}"), "type");
    refuses(SPEC("'linux': {'devices': [{'path': '/d', 'type': 'c', 'major': -1}]}"), "major");
    refuses(SPEC("'linux': {'seccomp': []}"), "linux.seccomp");
    refuses(SPEC("'annotations': {'a': 1}"), "annotations");
}

static void too_many_are_refused(void **state)
{
    json_t *json = load(SPEC("'linux': {'namespaces': []}"));
    json_t *array = json_object_get(json_object_get(json, "linux"), "namespaces");
    struct oci_spec spec = OCI_SPEC_INIT;

    (void)state;
    for (int i = 0; i < 64; i++)
        assert_int_equal(json_array_append_new(array, json_pack("{s:s}", "type", "pid")), 0);
    assert_int_equal(oci_spec_read(json, &spec, NULL), 0);
    oci_spec_done(&spec);
    assert_int_equal(json_array_append_new(array, json_pack("{s:s}", "type", "pid")), 0);
    assert_int_equal(oci_spec_read(json, &spec, NULL), -EBADMSG);
    json_decref(json);
}

static void long_texts_are_refused(void **state)
{
    static char text[(128 << 10) + 2];
    json_t *json = load(SPEC("'process': {'cwd': '/', 'env': []}"));
    json_t *array = json_object_get(json_object_get(json, "process"), "env");
    struct oci_spec spec = OCI_SPEC_INIT;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(json_array_append_new(array, json_string(text)), 0);
    assert_int_equal(oci_spec_read(json, &spec, NULL), -EBADMSG);
    json_decref(json);
    text[4096] = 0;
    json = load(SPEC("'hostname': 'x'"));
    text[0] = '/';
    assert_int_equal(json_object_set_new(json, "mounts", json_pack("[{s:s}]", "destination", text)),
                     0);
    assert_int_equal(oci_spec_read(json, &spec, NULL), -EBADMSG);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_read),     cmocka_unit_test(little_is_enough),
        cmocka_unit_test(wrong_things_are_named), cmocka_unit_test(too_many_are_refused),
        cmocka_unit_test(long_texts_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
