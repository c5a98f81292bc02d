/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "container/rootfs.h"
#include "kube/yaml-tree.h"

enum {
    FILE_MAXIMUM = 1 << 20,
    LIST_MAXIMUM = 1000,
    COUNT_MAXIMUM = 10000,
    SECONDS_MAXIMUM = 7 * 86400
};

enum form {
    FORM_FLAG,
    FORM_SECONDS, /* 0: no limit of its own, where that makes sense */
    FORM_COUNT,   /* from 1 on */
    FORM_BYTES,
    FORM_PATH,
    FORM_TEXT,
    FORM_LIST,
    FORM_MORE,  /* a list that is added to what is there */
    FORM_WORD,  /* one of `words`, into an int */
    FORM_OTHER, /* known, checked for its type only: says something about CRIU or a part of theirs
                   that is decided otherwise here (docs/agent-configuration.md says how) */
};

#define AT(member) offsetof(struct agent_settings, member)

static const char *const sources[] = {"watcher", "http", NULL};
static const char *const modes[] = {"agentMount", "podMount", NULL};
static const char *const storages[] = {"pvc", NULL};

/* A key may be known by more than one path: ChReK's file and Dynamo's differ in shape. */
static const struct key {
    const char *path;
    enum form form;
    size_t at;
    const char *const *words;
} keys[] = {
    {"storage.type", FORM_WORD, 0, storages},
    {"storage.basePath", FORM_PATH, AT(base_path), NULL},
    {"storage.accessMode", FORM_WORD, AT(pod_mount), modes},
    {"agent.checkpointDir", FORM_PATH, AT(base_path), NULL},
    {"agent.signalSource", FORM_WORD, AT(http_source), sources},
    {"agent.listenAddr", FORM_TEXT, AT(listen_address), NULL},
    {"agent.containerdSocket", FORM_PATH, AT(runtime_endpoint), NULL},
    {"agent.runtimeSocket", FORM_PATH, AT(runtime_endpoint), NULL},
    {"agent.stateDir", FORM_PATH, AT(state_directory), NULL},
    {"agent.maxConcurrentCheckpoints", FORM_COUNT, AT(captures_at_once), NULL},
    {"agent.maxConcurrentRestores", FORM_COUNT, AT(restores_at_once), NULL},
    {"agent.hostProc", FORM_OTHER, 0, NULL},
    {"agent.nodeName", FORM_TEXT, AT(node), NULL},
    {"agent.restrictedNamespace", FORM_TEXT, AT(restricted_namespace), NULL},
    {"protocols.standalone", FORM_FLAG, AT(protocols[PROTOCOL_STANDALONE]), NULL},
    {"protocols.chrek", FORM_FLAG, AT(protocols[PROTOCOL_CHREK]), NULL},
    {"protocols.signals", FORM_FLAG, AT(protocols[PROTOCOL_SIGNALS]), NULL},
    {"protocols.control", FORM_FLAG, AT(protocols[PROTOCOL_CONTROL]), NULL},
    {"overlay.exclusions", FORM_LIST, AT(exclusions), NULL},
    {"checkpoint.attempts", FORM_COUNT, AT(capture_attempts), NULL},
    {"checkpoint.timeoutSeconds", FORM_SECONDS, AT(checkpoint_timeout_sec), NULL},
    {"checkpoint.keepVersions", FORM_COUNT, AT(keep_versions), NULL},
    {"checkpoint.killFailed", FORM_FLAG, AT(kill_failed), NULL},
    {"checkpoint.criu.timeout", FORM_SECONDS, AT(checkpoint_timeout_sec), NULL},
    {"checkpoint.criu.ghostLimit", FORM_BYTES, AT(ghost_limit), NULL},
    {"checkpoint.skipMountPrefixes", FORM_OTHER, 0, NULL},
    {"checkpoint.rootfsExclusions.systemDirs", FORM_OTHER, 0, NULL},
    {"checkpoint.rootfsExclusions.cacheDirs", FORM_OTHER, 0, NULL},
    {"checkpoint.rootfsExclusions.additionalExclusions", FORM_MORE, AT(more_exclusions), NULL},
    {"restore.attempts", FORM_COUNT, AT(restore_attempts), NULL},
    {"restore.restoreTimeoutSeconds", FORM_SECONDS, AT(restore_timeout_sec), NULL},
    {"restore.containerWaitSeconds", FORM_SECONDS, AT(container_wait_sec), NULL},
    {"restore.skipCompatCheck", FORM_FLAG, AT(any_image), NULL},
    {"restore.nsRestorePath", FORM_OTHER, 0, NULL},
    {"restore.restoreReadyTimeoutSeconds", FORM_OTHER, 0, NULL},
    {"criu.ghostLimit", FORM_BYTES, AT(ghost_limit), NULL},
    {"criu.binaryPath", FORM_OTHER, 0, NULL},
    {"criu.logLevel", FORM_OTHER, 0, NULL},
    {"criu.workDir", FORM_OTHER, 0, NULL},
    {"criu.leaveRunning", FORM_OTHER, 0, NULL},
    {"criu.shellJob", FORM_OTHER, 0, NULL},
    {"criu.tcpClose", FORM_OTHER, 0, NULL}, /* with the next one: settings_read_tcp */
    {"criu.tcpEstablished", FORM_OTHER, 0, NULL},
    {"criu.fileLocks", FORM_OTHER, 0, NULL},
    {"criu.orphanPtsMaster", FORM_OTHER, 0, NULL},
    {"criu.extUnixSk", FORM_OTHER, 0, NULL},
    {"criu.linkRemap", FORM_OTHER, 0, NULL},
    {"criu.extMasters", FORM_OTHER, 0, NULL},
    {"criu.manageCgroupsMode", FORM_OTHER, 0, NULL},
    {"criu.imageIoMode", FORM_OTHER, 0, NULL},
    {"criu.rstSibling", FORM_OTHER, 0, NULL},
    {"criu.evasiveDevices", FORM_OTHER, 0, NULL},
    {"criu.forceIrmap", FORM_OTHER, 0, NULL},
    {"criu.mntnsCompatMode", FORM_OTHER, 0, NULL},
    {"criu.autoDedup", FORM_OTHER, 0, NULL},
    {"criu.lazyPages", FORM_OTHER, 0, NULL},
    {"criu.libDir", FORM_OTHER, 0, NULL},
    {"criu.allowUprobes", FORM_OTHER, 0, NULL},
    {"criu.skipInFlight", FORM_OTHER, 0, NULL},
};

static int refuse(struct error *error, const char *path, const char *what)
{
    (void)error_set(error, "agent-config", 0, "%s: %s", path, what);
    return -EINVAL;
}

static char *join(const char *const *words)
{
    struct buffer joined = BUFFER_INIT(4096);

    for (size_t i = 0; words[i]; i++)
        (void)buffer_printf(&joined, "%s%s", i ? " or " : "", words[i]);
    return joined.data; /* all that there is to free */
}

/* What a value has to be; the caller frees it. */
static char *wanted_of(const struct key *key)
{

    switch (key->form) {
    case FORM_FLAG:
        return text_copy("true or false");
    case FORM_SECONDS:
        return text_format("a number of seconds, at most %d", SECONDS_MAXIMUM);
    case FORM_COUNT:
        return text_format("a number from 1 to %d", COUNT_MAXIMUM);
    case FORM_BYTES:
        return text_copy("a number of bytes");
    case FORM_PATH:
        return text_copy("an absolute path");
    case FORM_LIST:
    case FORM_MORE:
        return text_format("a list of texts, at most %d", LIST_MAXIMUM);
    case FORM_WORD:
        return join(key->words);
    case FORM_TEXT:
    case FORM_OTHER:
        break;
    }
    return text_copy("a text");
}

static int refuse_value(struct error *error, const struct key *key, const json_t *value)
{
    CLEANUP(free_ptr) char *wanted = wanted_of(key);
    const char *text = json_string_value(value);
    CLEANUP(free_ptr)
    char *what = text ? text_format("it is '%.100s' and has to be %s", text, wanted)
                      : text_format("it has to be %s", wanted);

    return refuse(error, key->path, what);
}

/* ChReK's file has the section `criu` below `checkpoint`. */
static const struct key *find_key(const char *path)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (text_equal(keys[i].path, path))
            return &keys[i];
    }
    return text_starts_with(path, "checkpoint.criu.") ? find_key(path + strlen("checkpoint."))
                                                      : NULL;
}

/* Whether there are keys below it. */
static bool is_section(const char *path)
{
    CLEANUP(free_ptr) char *prefix = text_format("%s.", path);

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (text_starts_with(keys[i].path, prefix))
            return true;
    }
    return false;
}

static int parse_flag(const char *text, bool *ret_flag)
{
    if (strcasecmp(text, "true") != 0 && strcasecmp(text, "false") != 0)
        return -EINVAL;
    *ret_flag = strcasecmp(text, "true") == 0;
    return 0;
}

static int set_number(const char *text, uint64_t least, uint64_t most, unsigned *ret)
{
    uint64_t number;

    if (text_to_uint64(text, &number) < 0 || number < least || number > most)
        return -EINVAL;
    *ret = (unsigned)number;
    return 0;
}

static int set_word(const char *text, const char *const *words, bool *ret, size_t at)
{
    for (size_t i = 0; words[i]; i++) {
        if (!text_equal(words[i], text))
            continue;
        if (at) /* of a key with one word there is nothing to keep */
            *ret = i > 0;
        return 0;
    }
    return -EINVAL;
}

static int set_text(const char *text, char **text_at)
{
    free(*text_at);
    *text_at = *text ? text_copy(text) : NULL;
    return 0;
}

static int set_scalar(struct agent_settings *settings, const struct key *key, const char *text)
{
    void *at = (char *)settings + key->at;

    switch (key->form) {
    case FORM_FLAG:
        return parse_flag(text, at);
    case FORM_SECONDS:
        return set_number(text, 0, SECONDS_MAXIMUM, at);
    case FORM_COUNT:
        return set_number(text, 1, COUNT_MAXIMUM, at);
    case FORM_BYTES:
        return text_to_uint64(text, at);
    case FORM_PATH:
        return text[0] == '/' || text_starts_with(text, "unix:///") ? set_text(text, at) : -EINVAL;
    case FORM_TEXT:
        return set_text(text, at);
    case FORM_WORD:
        return set_word(text, key->words, at, key->at);
    case FORM_LIST:
    case FORM_MORE:
        return -EINVAL;
    case FORM_OTHER:
        return 0;
    }
    return -EINVAL;
}

static void free_list(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

static size_t length_of(char **list)
{
    size_t length = 0;

    while (list && list[length])
        length++;
    return length;
}

/* Takes `more` over. */
static void append_list(char ***list, char **more)
{
    size_t had = length_of(*list), count = length_of(more);
    char **all = allocate((had + count + 1) * sizeof *all);

    for (size_t i = 0; i < had + count; i++)
        all[i] = i < had ? (*list)[i] : more[i - had];
    free(*list);
    free(more);
    *list = all;
}

static int set_list(char ***list, const json_t *value)
{
    size_t count = json_array_size(value);
    char **items;

    if ((value && !json_is_array(value) && !json_is_null(value)) || count > LIST_MAXIMUM)
        return -EINVAL;
    items = allocate((count + 1) * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(value, i));

        if (!text) {
            free_list(items);
            return -EINVAL;
        }
        items[i] = text_copy(text);
    }
    free_list(*list);
    *list = items;
    return 0;
}

static int set_key(struct agent_settings *settings, const struct key *key, const json_t *value,
                   struct error *error)
{
    int r = -EINVAL;

    if (key->form == FORM_LIST || key->form == FORM_MORE)
        r = set_list((char ***)((char *)settings + key->at), value);
    else if (json_is_string(value))
        r = set_scalar(settings, key, json_string_value(value));
    else if (json_is_null(value) || key->form == FORM_OTHER)
        r = 0;
    return r < 0 ? refuse_value(error, key, value) : 0;
}

static int read_section(struct agent_settings *settings, const char *prefix, const json_t *section,
                        struct error *error)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)section, name, value)
    {
        CLEANUP(free_ptr)
        char *path = *prefix ? text_format("%s.%s", prefix, name) : text_copy(name);
        const struct key *key = find_key(path);
        int r;

        if (key)
            r = set_key(settings, key, value, error);
        else if (is_section(path) && (json_is_object(value) || json_is_null(value)))
            r = json_is_null(value) ? 0 : read_section(settings, path, value, error);
        else
            r = refuse(error, path,
                       is_section(path) ? "it has keys below it" : "there is no such key");
        if (r < 0)
            return r;
    }
    return 0;
}

/* Two flags of theirs for one choice. */
static int read_tcp(struct agent_settings *settings, const json_t *tree, struct error *error)
{
    const json_t *theirs = json_object_get(json_object_get(tree, "checkpoint"), "criu");
    const json_t *criu = theirs ? theirs : json_object_get(tree, "criu");
    const char *close_text = json_string_value(json_object_get(criu, "tcpClose"));
    const char *keep_text = json_string_value(json_object_get(criu, "tcpEstablished"));
    bool closes = false, keeps = !close_text || strcasecmp(close_text, "true") != 0;

    if ((close_text && parse_flag(close_text, &closes) < 0) ||
        (keep_text && parse_flag(keep_text, &keeps) < 0))
        return refuse(error, "criu.tcpClose", "it and criu.tcpEstablished are true or false");
    if (closes && keeps)
        return refuse(error, "criu.tcpClose", "it can't be true together with criu.tcpEstablished");
    settings->tcp = keeps ? TCP_KEEP : closes ? TCP_CLOSE : TCP_REFUSE;
    return 0;
}

/* Of two names for one thing one would be ignored. */
static int check_twice(const json_t *tree, struct error *error)
{
    const char *theirs =
        json_string_value(json_object_get(json_object_get(tree, "agent"), "checkpointDir"));
    const char *ours =
        json_string_value(json_object_get(json_object_get(tree, "storage"), "basePath"));

    if (!theirs || !ours || text_equal(theirs, ours))
        return 0;
    return refuse(error, "storage.basePath", "agent.checkpointDir, which is the same, differs");
}

static int read_file(struct agent_settings *settings, const char *path, struct error *error)
{
    CLEANUP(free_ptr) char *text = NULL;
    json_t *tree = NULL;
    size_t length;
    int r = file_read(AT_FDCWD, path, FILE_MAXIMUM, &text, &length);

    if (r < 0)
        return error_set(error, "agent-config", r, "Can't read '%s'", path);
    if (strspn(text, " \t\r\n") == length)
        return 0; /* all as it is without a file */
    r = yaml_parse(text, length, &tree, error);
    if (r == 0 && !json_is_object(tree) && !json_is_null(tree))
        r = error_set(error, "agent-config", EINVAL, "there are no keys in it");
    if (r == 0)
        r = read_section(settings, "", tree, error);
    if (r == 0)
        r = read_tcp(settings, tree, error);
    if (r == 0)
        r = check_twice(tree, error);
    append_list(&settings->exclusions, STEAL_PTR(settings->more_exclusions));
    json_decref(tree);
    return error_wrap(error, r, "'%s'", path);
}

static char **default_exclusions(void)
{
    static const char *const list[] = {"/proc",         "/sys", "/dev", "*/.cache/huggingface",
                                       "*/__pycache__", "*.pyc"};
    size_t count = sizeof list / sizeof list[0];
    char **copy = allocate((count + 1) * sizeof *copy);

    for (size_t i = 0; i < count; i++)
        copy[i] = text_copy(list[i]);
    return copy;
}

static struct agent_settings defaults(void)
{
    const char *node = getenv("NODE_NAME");
    const char *namespace = getenv("RESTRICTED_NAMESPACE");
    const char *socket = getenv("RUNTIME_SOCKET");

    return (struct agent_settings){
        .node = node && *node ? text_copy(node) : NULL,
        .restricted_namespace = namespace && *namespace ? text_copy(namespace) : NULL,
        .runtime_endpoint = socket && *socket ? text_copy(socket) : NULL,
        .base_path = text_copy("/checkpoints"),
        .state_directory = text_copy("/run/stasis/agent"),
        .listen_address = text_copy(":8080"),
        .protocols = {true, true, true, true},
        .exclusions = default_exclusions(),
        .tcp = TCP_KEEP,
        .ghost_limit = (uint64_t)512 << 20,
        .restore_timeout_sec = 7200,
        .container_wait_sec = 30,
        .capture_attempts = 3,
        .restore_attempts = 1,
        .captures_at_once = 4,
        .restores_at_once = 8,
        .kill_failed = true,
        .keep_versions = 1,
    };
}

static const char *choose_file(const char *path)
{
    if (path)
        return path;
    if (access(AGENT_CONFIG_DEFAULT, F_OK) == 0)
        return AGENT_CONFIG_DEFAULT;
    return access(AGENT_CONFIG_CHREK, F_OK) == 0 ? AGENT_CONFIG_CHREK : NULL;
}

/* [ADDRESS]:PORT */
static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    int port;

    return colon && text_to_int(colon + 1, &port) == 0 && port > 0 && port <= 65535;
}

static bool is_node_name(const char *name)
{
    size_t length = strlen(name);

    return length > 0 && length <= 253 && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") == length;
}

static int check(const struct agent_settings *settings, struct error *error)
{
    if (!settings->node)
        return error_set(error, "agent-config", 0,
                         "The name of this node is not known: NODE_NAME is not set");
    if (!is_node_name(settings->node))
        return refuse(error, "agent.nodeName (or NODE_NAME)", "that can't be the name of a node");
    if (settings->listen_address && !is_address(settings->listen_address))
        return refuse(error, "agent.listenAddr", "it has to be [ADDRESS]:PORT");
    if (!settings->base_path || !settings->state_directory)
        return refuse(error, "storage.basePath", "it must be the path of a directory");
    if (settings->http_source && !settings->listen_address)
        return refuse(error, "agent.listenAddr", "signalSource http needs one");
    return 0;
}

int agent_settings_read(const char *path, struct agent_settings *ret_settings, struct error *error)
{
    struct agent_settings settings = defaults();
    const char *file = choose_file(path);
    int r = file ? read_file(&settings, file, error) : 0;

    if (r == 0)
        r = check(&settings, error);
    else
        file = NULL; /* is named already */
    if (r < 0) {
        agent_settings_done(&settings);
        return file ? error_wrap(error, r, "'%s'", file) : r;
    }
    *ret_settings = settings;
    return 0;
}

void agent_settings_done(struct agent_settings *settings)
{
    free(settings->node);
    free(settings->restricted_namespace);
    free(settings->base_path);
    free(settings->state_directory);
    free(settings->runtime_endpoint);
    free(settings->listen_address);
    free_list(settings->exclusions);
    free_list(settings->more_exclusions);
    *settings = (struct agent_settings){0};
}
