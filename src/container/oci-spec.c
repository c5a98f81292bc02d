/* SPDX-License-Identifier: Apache-2.0 */
#include "container/oci-spec.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "basic/text.h"

enum {
    MOUNTS_MAXIMUM = 100000, /* as many as the kernel allows in a namespace by default */
    TEXTS_MAXIMUM = 65536,
    NAMESPACES_MAXIMUM = 64,
    MAPPINGS_MAXIMUM = 1024,
    DEVICES_MAXIMUM = 65536,
    GROUPS_MAXIMUM = 65536,
    TEXT_LENGTH_MAXIMUM = 128 << 10, /* of an argument, by the kernel */
};

/* What a text has to be; or NEEDED to each. */
enum text_kind {
    TEXT = 0,
    PATH = 1,
    ABSOLUTE_PATH = 3,
    NEEDED = 4,
};

/* The first thing that is wrong is kept, what is read after it does not count. */
struct reader {
    const char *within; /* "process", or "" for the document */
    bool failed;
    struct error *error;
};

static void wrong(struct reader *reader, const char *name, const char *why)
{
    if (reader->failed)
        return;
    reader->failed = true;
    (void)error_set(reader->error, "oci-spec", 0, "The OCI spec is not valid: %s%s%s %s",
                    reader->within, *reader->within ? "." : "", name, why);
}

static bool is_of_type(const json_t *value, json_type type)
{
    return type == JSON_TRUE ? json_is_boolean(value) : json_typeof(value) == type;
}

/* A member of that type (JSON_TRUE: of either truth), or NULL. */
static const json_t *member(struct reader *reader, const json_t *object, const char *name,
                            json_type type)
{
    const json_t *value = json_object_get(object, name);

    if (!value || json_is_null(value))
        return NULL;
    if (is_of_type(value, type))
        return value;
    wrong(reader, name, "is of the wrong type");
    return NULL;
}

static void check_text(struct reader *reader, const char *name, const json_t *value, unsigned kind)
{
    size_t length = json_string_length(value);

    if ((kind & PATH) && (length == 0 || length >= PATH_MAX))
        wrong(reader, name, "is empty or longer than a path can be");
    if ((kind & ABSOLUTE_PATH) == ABSOLUTE_PATH && json_string_value(value)[0] != '/')
        wrong(reader, name, "is not an absolute path");
    if (length > TEXT_LENGTH_MAXIMUM)
        wrong(reader, name, "is too long");
}

static const char *text_member(struct reader *reader, const json_t *object, const char *name,
                               unsigned kind)
{
    const json_t *value = member(reader, object, name, JSON_STRING);

    if (value)
        check_text(reader, name, value, kind);
    else if (kind & NEEDED)
        wrong(reader, name, "is missing");
    return json_string_value(value);
}

/* As above; an empty text is none at all (that is how some writers leave it out). */
static const char *filled_text_member(struct reader *reader, const json_t *object, const char *name,
                                      unsigned kind)
{
    const char *text = text_member(reader, object, name, TEXT);

    return text && *text ? text_member(reader, object, name, kind) : NULL;
}

static bool flag_member(struct reader *reader, const json_t *object, const char *name)
{
    return json_is_true(member(reader, object, name, JSON_TRUE));
}

static uint32_t number_value(struct reader *reader, const char *name, const json_t *value)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0 &&
        json_integer_value(value) <= UINT32_MAX)
        return (uint32_t)json_integer_value(value);
    wrong(reader, name, "is not a number of 32 bits");
    return 0;
}

static uint32_t number_member(struct reader *reader, const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return value ? number_value(reader, name, value) : 0;
}

static oci_texts texts_member(struct reader *reader, const json_t *object, const char *name,
                              unsigned kind)
{
    const json_t *array = member(reader, object, name, JSON_ARRAY);
    size_t count = json_array_size(array);
    const char **texts;

    if (count > TEXTS_MAXIMUM) {
        wrong(reader, name, "has too many items");
        count = 0;
    }
    texts = allocate((count + 1) * sizeof *texts);
    for (size_t i = 0; i < count && !reader->failed; i++) {
        const json_t *value = json_array_get(array, i);

        if (json_is_string(value))
            check_text(reader, name, value, kind);
        else
            wrong(reader, name, "has an item that is not a text");
        texts[i] = json_string_value(value);
    }
    return texts;
}

typedef void item_function(struct reader *reader, const json_t *item, void *slot);

struct items {
    const char *name;
    size_t maximum, size; /* how many; of one slot */
    json_type type;
    item_function *read;
};

/* An array of checked things; NULL and 0 when there is none. */
static void *items_member(struct reader *reader, const json_t *object, const struct items *items,
                          size_t *ret_count)
{
    const json_t *array = member(reader, object, items->name, JSON_ARRAY);
    size_t count = json_array_size(array);
    char *slots;

    if (count > items->maximum)
        wrong(reader, items->name, "has too many items");
    if (count == 0 || reader->failed)
        return NULL;
    slots = allocate(count * items->size);
    for (size_t i = 0; i < count && !reader->failed; i++) {
        const json_t *item = json_array_get(array, i);

        if (json_typeof(item) == items->type)
            items->read(reader, item, slots + i * items->size);
        else
            wrong(reader, items->name, "has an item of the wrong type");
    }
    *ret_count = count;
    return slots;
}

static void read_mount(struct reader *reader, const json_t *item, void *slot)
{
    struct oci_mount *mount = slot;

    *mount = (struct oci_mount){
        .destination = text_member(reader, item, "destination", NEEDED | ABSOLUTE_PATH),
        .source = filled_text_member(reader, item, "source", PATH),
        .type = filled_text_member(reader, item, "type", TEXT),
        .options = texts_member(reader, item, "options", TEXT),
    };
}

static void read_namespace(struct reader *reader, const json_t *item, void *slot)
{
    struct oci_namespace *namespace = slot;

    *namespace = (struct oci_namespace){
        .type = text_member(reader, item, "type", NEEDED | TEXT),
        .path = filled_text_member(reader, item, "path", ABSOLUTE_PATH),
    };
}

static void read_mapping(struct reader *reader, const json_t *item, void *slot)
{
    struct oci_id_mapping *mapping = slot;

    *mapping = (struct oci_id_mapping){
        .inside = number_member(reader, item, "containerID"),
        .outside = number_member(reader, item, "hostID"),
        .count = number_member(reader, item, "size"),
    };
}

static void read_group(struct reader *reader, const json_t *item, void *slot)
{
    *(uint32_t *)slot = number_value(reader, "additionalGids", item);
}

static void read_device(struct reader *reader, const json_t *item, void *slot)
{
    const char *type = text_member(reader, item, "type", NEEDED | TEXT);
    struct oci_device *device = slot;

    if (type && (strlen(type) != 1 || !strchr("cbup", *type)))
        wrong(reader, "type", "is no type of device");
    *device = (struct oci_device){
        .path = text_member(reader, item, "path", NEEDED | ABSOLUTE_PATH),
        .type = type ? *type : 0,
        .number =
            makedev(number_member(reader, item, "major"), number_member(reader, item, "minor")),
        .has_mode = json_object_get(item, "fileMode") != NULL,
        .mode = number_member(reader, item, "fileMode"),
        .uid = number_member(reader, item, "uid"),
        .gid = number_member(reader, item, "gid"),
    };
}

static const struct items mounts = {"mounts", MOUNTS_MAXIMUM, sizeof(struct oci_mount), JSON_OBJECT,
                                    read_mount};
static const struct items namespaces = {"namespaces", NAMESPACES_MAXIMUM,
                                        sizeof(struct oci_namespace), JSON_OBJECT, read_namespace};
static const struct items uid_mappings = {"uidMappings", MAPPINGS_MAXIMUM,
                                          sizeof(struct oci_id_mapping), JSON_OBJECT, read_mapping};
static const struct items gid_mappings = {"gidMappings", MAPPINGS_MAXIMUM,
                                          sizeof(struct oci_id_mapping), JSON_OBJECT, read_mapping};
static const struct items devices = {"devices", DEVICES_MAXIMUM, sizeof(struct oci_device),
                                     JSON_OBJECT, read_device};
static const struct items groups = {"additionalGids", GROUPS_MAXIMUM, sizeof(uint32_t),
                                    JSON_INTEGER, read_group};

static void read_root(struct reader *reader, struct oci_spec *spec)
{
    const json_t *root = member(reader, spec->document, "root", JSON_OBJECT);

    if (!root)
        wrong(reader, "root", "is missing");
    reader->within = "root";
    spec->root_path = text_member(reader, root, "path", NEEDED | PATH);
    spec->root_readonly = flag_member(reader, root, "readonly");
}

static void read_process(struct reader *reader, struct oci_spec *spec)
{
    const json_t *process, *user;

    reader->within = "";
    process = member(reader, spec->document, "process", JSON_OBJECT);
    spec->has_process = process != NULL;
    reader->within = "process";
    spec->terminal = flag_member(reader, process, "terminal");
    spec->no_new_privileges = flag_member(reader, process, "noNewPrivileges");
    spec->arguments = texts_member(reader, process, "args", TEXT);
    spec->environment = texts_member(reader, process, "env", TEXT);
    spec->directory =
        text_member(reader, process, "cwd", process ? NEEDED | ABSOLUTE_PATH : ABSOLUTE_PATH);
    user = member(reader, process, "user", JSON_OBJECT);
    reader->within = "process.user";
    spec->uid = number_member(reader, user, "uid");
    spec->gid = number_member(reader, user, "gid");
    spec->additional_gids = items_member(reader, user, &groups, &spec->additional_gid_count);
}

static void read_linux(struct reader *reader, struct oci_spec *spec)
{
    const json_t *section;

    reader->within = "";
    section = member(reader, spec->document, "linux", JSON_OBJECT);
    reader->within = "linux";
    spec->masked_paths = texts_member(reader, section, "maskedPaths", ABSOLUTE_PATH);
    spec->readonly_paths = texts_member(reader, section, "readonlyPaths", ABSOLUTE_PATH);
    spec->namespaces = items_member(reader, section, &namespaces, &spec->namespace_count);
    spec->uid_mappings = items_member(reader, section, &uid_mappings, &spec->uid_mapping_count);
    spec->gid_mappings = items_member(reader, section, &gid_mappings, &spec->gid_mapping_count);
    spec->devices = items_member(reader, section, &devices, &spec->device_count);
    spec->cgroups_path = filled_text_member(reader, section, "cgroupsPath", PATH);
    spec->seccomp = member(reader, section, "seccomp", JSON_OBJECT) != NULL;
}

static void read_annotations(struct reader *reader, struct oci_spec *spec)
{
    const char *key;
    json_t *value;

    reader->within = "";
    spec->annotations = member(reader, spec->document, "annotations", JSON_OBJECT);
    json_object_foreach((json_t *)(uintptr_t)spec->annotations, key, value)
    {
        if (!json_is_string(value))
            wrong(reader, "annotations", "has a value that is not a text");
    }
}

int oci_spec_read(json_t *document, struct oci_spec *ret, struct error *error)
{
    struct oci_spec spec = {.document = json_incref(document)};
    struct reader reader = {.within = "", .error = error};

    if (!json_is_object(document))
        wrong(&reader, "the document", "is not an object");
    spec.version = text_member(&reader, document, "ociVersion", NEEDED | TEXT);
    spec.hostname = filled_text_member(&reader, document, "hostname", TEXT);
    spec.mounts = items_member(&reader, document, &mounts, &spec.mount_count);
    read_annotations(&reader, &spec);
    read_root(&reader, &spec);
    read_process(&reader, &spec);
    read_linux(&reader, &spec);
    if (reader.failed) {
        oci_spec_done(&spec);
        return -EBADMSG;
    }
    *ret = spec;
    return 0;
}

static void free_texts(oci_texts texts)
{
    free((void *)(uintptr_t)texts);
}

void oci_spec_done(struct oci_spec *spec)
{
    for (size_t i = 0; i < spec->mount_count; i++)
        free_texts(spec->mounts[i].options);
    free(spec->mounts);
    free_texts(spec->arguments);
    free_texts(spec->environment);
    free(spec->additional_gids);
    free_texts(spec->masked_paths);
    free_texts(spec->readonly_paths);
    free(spec->namespaces);
    free(spec->uid_mappings);
    free(spec->gid_mappings);
    free(spec->devices);
    json_decref(spec->document);
    *spec = OCI_SPEC_INIT;
}

const struct oci_namespace *oci_spec_namespace(const struct oci_spec *spec, const char *type)
{
    for (size_t i = 0; i < spec->namespace_count; i++) {
        if (text_equal(spec->namespaces[i].type, type))
            return &spec->namespaces[i];
    }
    return NULL;
}

const char *oci_spec_variable(const struct oci_spec *spec, const char *name)
{
    size_t length = strlen(name);
    const char *found = NULL;

    for (size_t i = 0; spec->environment && spec->environment[i]; i++) {
        const char *entry = spec->environment[i];

        if (strncmp(entry, name, length) == 0 && entry[length] == '=')
            found = entry + length + 1;
    }
    return found;
}

const char *oci_spec_annotation(const struct oci_spec *spec, const char *name)
{
    return json_string_value(json_object_get(spec->annotations, name));
}
