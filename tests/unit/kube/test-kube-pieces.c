/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of src/kube that need no server. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "kube/base64.h"
#include "kube/config.h"
#include "kube/errors.h"
#include "kube/lines.h"
#include "kube/marks.h"
#include "kube/object.h"
#include "kube/resolve.h"
#include "kube/update.h"
#include "kube/watch-event.h"
#include "kube/yaml-tree.h"

static int join(char *line, size_t length, void *context)
{
    struct buffer *all = context;

    assert_int_equal(strlen(line), length);
    (void)buffer_append(all, "<", 1);
    (void)buffer_append(all, line, length);
    (void)buffer_append(all, ">", 1);
    return strcmp(line, "stop") == 0 ? -EPIPE : 0;
}

static void test_lines_from_pieces_of_any_size(void **state)
{
    static const char text[] = "one\n\ntwo\r\nthree\nfo";

    (void)state;
    for (size_t piece = 1; piece < sizeof text; piece++) {
        struct line_splitter splitter = LINE_SPLITTER_INIT(5);
        struct buffer all = BUFFER_INIT(1000);

        for (size_t at = 0; at < strlen(text); at += piece) {
            size_t left = strlen(text) - at;

            assert_int_equal(
                line_splitter_feed(&splitter, text + at, left < piece ? left : piece, join, &all),
                0);
        }
        assert_string_equal(all.data, "<one><two><three>");
        assert_true(line_splitter_is_within(&splitter));
        line_splitter_done(&splitter);
        buffer_done(&all);
    }
}

static void test_lines_have_a_maximum_and_an_end(void **state)
{
    struct line_splitter splitter = LINE_SPLITTER_INIT(5);
    struct buffer all = BUFFER_INIT(1000);

    (void)state;
    assert_int_equal(line_splitter_feed(&splitter, "123456\n", 7, join, &all), -EFBIG);
    line_splitter_done(&splitter);
    splitter = LINE_SPLITTER_INIT(5);
    assert_int_equal(line_splitter_feed(&splitter, "a\nstop\nb\n", 9, join, &all), -EPIPE);
    assert_string_equal(all.data, "<a><stop>");
    line_splitter_done(&splitter);
    buffer_done(&all);
}

static void test_paths(void **state)
{
    static const struct kube_resource jobs = {"batch/v1", "jobs"};
    CLEANUP(free_ptr) char *one = kube_path(&kube_pods, "a", "b/../c", "status");
    CLEANUP(free_ptr) char *two = kube_path(&jobs, NULL, NULL, NULL);
    CLEANUP(free_ptr) char *three = kube_path(&kube_pods, "..", "x", NULL);

    (void)state;
    assert_string_equal(one, "/api/v1/namespaces/a/pods/b%2F..%2Fc/status");
    assert_string_equal(two, "/apis/batch/v1/jobs");
    assert_string_equal(three, "/api/v1/namespaces/%2E%2E/pods/x");
}

static void test_times(void **state)
{
    int64_t date = 0;
    CLEANUP(free_ptr) char *text = kube_micro_time(1800000000123456);

    (void)state;
    assert_string_equal(text, "2027-01-15T08:00:00.123456Z");
    assert_int_equal(kube_time_parse(text, &date), 0);
    assert_int_equal(date, 1800000000123456);
    assert_int_equal(kube_time_parse("2027-01-15T08:00:00Z", &date), 0);
    assert_int_equal(date, 1800000000000000);
    assert_int_equal(kube_time_parse("2027-01-15T08:00:00.1234567Z", &date), 0);
    assert_int_equal(date, 1800000000123456);
    assert_int_equal(kube_time_parse("yesterday", &date), -EINVAL);
    assert_int_equal(kube_time_parse("2027-01-15T08:00:00", &date), -EINVAL);
}

static void test_getters_trust_nothing(void **state)
{
    json_t *object = json_loads("{\"metadata\":{\"name\":5,\"labels\":{\"a/b.c\":\"d\"}},"
                                "\"status\":{\"conditions\":[7,{\"type\":\"Ready\",\"status\":"
                                "\"True\"}]}}",
                                0, NULL);

    (void)state;
    assert_non_null(object);
    assert_string_equal(kube_name(object), "");
    assert_string_equal(kube_label(object, "a/b.c"), "d");
    assert_null(kube_annotation(object, "a"));
    assert_true(kube_condition_is_true(object, "Ready"));
    assert_false(kube_condition_is_true(object, "Other"));
    assert_null(kube_text(NULL, "metadata", "name"));
    json_decref(object);
}

static void test_conditions(void **state)
{
    json_t *object = json_object();
    const char *when;

    (void)state;
    assert_true(kube_condition_set(object, "Saved", "False", "Busy", "one", 1000000));
    assert_true(kube_condition_set(object, "Saved", "False", "Busy", "two", 2000000));
    when = kube_text(kube_condition(object, "Saved"), "lastTransitionTime");
    assert_string_equal(when, "1970-01-01T00:00:01Z");
    assert_false(kube_condition_set(object, "Saved", "False", "Busy", "two", 3000000));
    assert_true(kube_condition_set(object, "Saved", "True", "Done", "", 3000000));
    when = kube_text(kube_condition(object, "Saved"), "lastTransitionTime");
    assert_string_equal(when, "1970-01-01T00:00:03Z");
    assert_int_equal(json_array_size(kube_get(object, "status", "conditions")), 1);
    json_decref(object);
}

static void expect_code(int status, const char *body, const char *code)
{
    json_t *json = body ? json_loads(body, 0, NULL) : NULL;
    struct error error = ERROR_INIT;

    kube_error_of_status("GET", "/x", status, json, &error);
    assert_string_equal(error.code, code);
    assert_int_equal(error.number, -kube_errno(code));
    assert_null(strchr(error.message, '\n'));
    error_done(&error);
    json_decref(json);
}

static void test_errors_of_answers(void **state)
{
    (void)state;
    expect_code(401, NULL, "kube-unauthorized");
    expect_code(403, "{\"message\":\"no\\nway\"}", "kube-forbidden");
    expect_code(404, "[]", "kube-not-found");
    expect_code(409, "{\"reason\":\"AlreadyExists\"}", "kube-exists");
    expect_code(409, "{\"reason\":\"Conflict\"}", "kube-conflict");
    expect_code(410, NULL, "kube-gone");
    expect_code(418, NULL, "kube-invalid");
    expect_code(429, NULL, "kube-throttled");
    expect_code(503, NULL, "kube-server");
    expect_code(302, NULL, "kube-protocol");
}

static void test_base64(void **state)
{
    CLEANUP(free_ptr) char *one = base64_decode_text("SGVsbG8=");
    CLEANUP(free_ptr) char *two = base64_decode_text("SGVs\nbG8h\n");

    (void)state;
    assert_string_equal(one, "Hello");
    assert_string_equal(two, "Hello!");
    assert_null(base64_decode_text("SGVsbG8"));
    assert_null(base64_decode_text("SGVs*G8="));
    assert_null(base64_decode_text("S=VsbG8="));
    assert_null(base64_decode_text("AAAA")); /* zero bytes */
}

static void test_versions(void **state)
{
    (void)state;
    assert_true(mark_version_is_old(mark_version_of("9"), mark_version_of("10")));
    assert_true(mark_version_is_old(mark_version_of("10"), mark_version_of("10")));
    assert_false(mark_version_is_old(mark_version_of("11"), mark_version_of("10")));
    assert_false(mark_version_is_old(mark_version_of("a"), mark_version_of("b")));
    assert_false(mark_version_is_old(mark_version_of(""), mark_version_of("10")));
    assert_true(mark_version_of("a") == mark_version_of("a"));
    assert_true(mark_version_of("a") != mark_version_of("b"));
}

static void test_watch_events(void **state)
{
    static const char good[] = "{\"type\":\"ADDED\",\"object\":{\"a\":\"b\\u0000c\"}}";
    static const char *const bad[] = {"",
                                      "{}",
                                      "[]",
                                      "{\"type\":\"NEW\",\"object\":{}}",
                                      "{\"type\":\"ADDED\",\"object\":1}",
                                      "{\"type\":\"ADDED\""};
    struct watch_event event;

    (void)state;
    assert_int_equal(watch_event_parse(good, strlen(good), &event, NULL), 0);
    assert_int_equal(event.type, WATCH_ADDED);
    watch_event_done(&event);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct error error = ERROR_INIT;

        assert_int_equal(watch_event_parse(bad[i], strlen(bad[i]), &event, &error), -EBADMSG);
        assert_true(error_is(&error, "kube-protocol"));
        error_done(&error);
    }
}

static void test_server_of_a_url(void **state)
{
    static const char *const pairs[][2] = {{"https://h", "h:443"},
                                           {"http://h/x:1", "h:80"},
                                           {"https://h:6443/p", "h:6443"},
                                           {"https://[fd00::1]:1", "[fd00::1]:1"},
                                           {"https://[::1]", "[::1]:443"}};

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct kube_resolver *resolver = kube_resolver_new(pairs[i][0]);

        assert_string_equal(kube_resolver_server(resolver), pairs[i][1]);
        kube_resolver_free(resolver);
    }
}

#define FILE_START                                                                              \
    "current-context: c\nclusters: [{name: k, cluster: {server: 'https://h:1/', "               \
    "certificate-authority: ca.pem}}]\ncontexts: [{name: c, context: {cluster: k, user: "       \
    "u, namespace: n}}, {name: d, context: {cluster: k, user: v}}]\nusers:\n- {name: v, user: " \
    "{}}\n- name: u\n  user: "

static int parse(const char *user, const char *context, struct kube_config **ret,
                 struct error *error)
{
    CLEANUP(free_ptr) char *text = text_format("%s%s\n", FILE_START, user);

    return kube_config_parse(text, strlen(text), "/dir", context, ret, error);
}

static void test_kubeconfig(void **state)
{
    struct kube_config *config = NULL;

    (void)state;
    assert_int_equal(parse("{token: abc, client-certificate-data: SGVsbG8=}", NULL, &config, NULL),
                     0);
    assert_string_equal(config->server, "https://h:1");
    assert_string_equal(config->namespace, "n");
    assert_string_equal(config->ca_file, "/dir/ca.pem");
    assert_string_equal(config->token, "abc");
    assert_string_equal(config->certificate_data, "Hello");
    kube_config_free(config);
    assert_int_equal(parse("{token: abc}", "d", &config, NULL), 0);
    assert_null(config->token);
    assert_string_equal(config->namespace, "default");
    kube_config_free(config);
}

static void expect_refused(const char *user, const char *context, const char *code)
{
    struct kube_config *config = NULL;
    struct error error = ERROR_INIT;

    assert_true(parse(user, context, &config, &error) < 0);
    assert_null(config);
    assert_string_equal(error.code, code);
    error_done(&error);
}

static void test_kubeconfig_refused(void **state)
{
    (void)state;
    expect_refused("{exec: {command: aws}}", NULL, "kube-config-plugin");
    expect_refused("{auth-provider: {name: gcp}}", NULL, "kube-config-plugin");
    expect_refused("{username: me, password: x}", NULL, "kube-config-plugin");
    expect_refused("{token: \"a\\nX-Other: b\"}", NULL, "kube-config");
    expect_refused("{client-key-data: '***'}", NULL, "kube-config");
    expect_refused("{}", "nowhere", "kube-config");
    expect_refused("&a {token: x}", NULL, "yaml-syntax");
    expect_refused("{token: a, token: b}", NULL, "yaml-syntax");
    expect_refused("[", NULL, "yaml-syntax");
}

static void test_token_is_read_again(void **state)
{
    char directory[] = "/tmp/kube-token-XXXXXX";
    struct kube_config *config = allocate(sizeof *config);
    const uint64_t minute = 60 * 1000000;

    (void)state;
    assert_non_null(mkdtemp(directory));
    config->token_file = text_format("%s/token", directory);
    assert_int_equal(file_write_atomic(AT_FDCWD, config->token_file, "one\n", 4), 0);
    assert_string_equal(kube_config_token(config, 5, false), "one");
    assert_int_equal(file_write_atomic(AT_FDCWD, config->token_file, "two\n", 4), 0);
    assert_string_equal(kube_config_token(config, minute, false), "one");
    assert_string_equal(kube_config_token(config, minute, true), "two");
    assert_int_equal(file_write_atomic(AT_FDCWD, config->token_file, "three", 5), 0);
    assert_string_equal(kube_config_token(config, minute * 2, false), "three");
    assert_int_equal(unlink(config->token_file), 0);
    assert_string_equal(kube_config_token(config, minute * 9, false), "three");
    kube_config_free(config);
    assert_int_equal(rmdir(directory), 0);
}

static void test_yaml(void **state)
{
    static const char text[] = "a: [1, ~, 'null', {b: }]\n";
    json_t *json = NULL;
    CLEANUP(free_ptr) char *dump = NULL;

    (void)state;
    assert_int_equal(yaml_parse(text, strlen(text), &json, NULL), 0);
    dump = json_dumps(json, JSON_COMPACT);
    assert_string_equal(dump, "{\"a\":[\"1\",null,\"null\",{\"b\":null}]}");
    json_decref(json);
    assert_true(yaml_parse("", 0, &json, NULL) < 0);
    assert_true(yaml_parse("a\n---\nb\n", 9, &json, NULL) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_from_pieces_of_any_size),
        cmocka_unit_test(test_lines_have_a_maximum_and_an_end),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_getters_trust_nothing),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_errors_of_answers),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_watch_events),
        cmocka_unit_test(test_server_of_a_url),
        cmocka_unit_test(test_kubeconfig),
        cmocka_unit_test(test_kubeconfig_refused),
        cmocka_unit_test(test_token_is_read_again),
        cmocka_unit_test(test_yaml),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
