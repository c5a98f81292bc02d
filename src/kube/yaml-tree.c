/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/yaml-tree.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "http/printable.h"

enum { DEPTH_MAXIMUM = 64, VALUES_MAXIMUM = 100000 };

struct reader {
    yaml_parser_t parser;
    unsigned depth, values;
    struct error *error;
};

static int refuse(const struct reader *reader, const yaml_mark_t *mark, const char *what)
{
    CLEANUP(free_ptr) char *clean = printable_copy(what, strlen(what), 200);

    (void)error_set(reader->error, "yaml-syntax", 0, "Line %zu: %s", mark->line + 1, clean);
    return -EINVAL;
}

static int next_event(struct reader *reader, yaml_event_t *event)
{
    if (!yaml_parser_parse(&reader->parser, event)) {
        const char *problem = reader->parser.problem;

        return refuse(reader, &reader->parser.problem_mark, problem ? problem : "it is no YAML");
    }
    return 0;
}

static bool is_null(const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;

    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*text || text_equal(text, "~") || text_equal(text, "null"));
}

static int read_value(struct reader *reader, const yaml_event_t *event, json_t **ret);

/* Reads an event and the value that begins with it. 1: the collection has ended instead. */
static int read_next(struct reader *reader, yaml_event_type_t end, json_t **ret)
{
    yaml_event_t event;
    int r = next_event(reader, &event);

    if (r < 0)
        return r;
    r = event.type == end ? 1 : read_value(reader, &event, ret);
    yaml_event_delete(&event);
    return r;
}

static int read_sequence(struct reader *reader, json_t *array)
{
    json_t *value = NULL;
    int r;

    while ((r = read_next(reader, YAML_SEQUENCE_END_EVENT, &value)) == 0)
        (void)json_array_append_new(array, value);
    return r < 0 ? r : 0;
}

static int read_mapping(struct reader *reader, const yaml_mark_t *mark, json_t *object)
{
    json_t *key = NULL, *value = NULL;
    int r;

    while ((r = read_next(reader, YAML_MAPPING_END_EVENT, &key)) == 0) {
        const char *name = json_string_value(key);

        if (!name)
            r = refuse(reader, mark, "a key of this mapping is no text");
        else if (json_object_get(object, name))
            r = refuse(reader, mark, "a key of this mapping is there twice");
        else
            r = read_next(reader, YAML_NO_EVENT, &value);
        if (r == 0)
            (void)json_object_set_new(object, name, value);
        json_decref(key);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : 0;
}

static int read_scalar(const struct reader *reader, const yaml_event_t *event, json_t **ret)
{
    const char *text = (const char *)event->data.scalar.value;
    json_t *value = is_null(event) ? json_null() : json_string(text);

    if (!value || strlen(text) != event->data.scalar.length) {
        json_decref(value);
        return refuse(reader, &event->start_mark, "a text is not valid");
    }
    *ret = value;
    return 0;
}

static int read_collection(struct reader *reader, const yaml_event_t *event, json_t **ret)
{
    bool mapping = event->type == YAML_MAPPING_START_EVENT;
    json_t *value = mapping ? json_object() : json_array();
    int r = -ENOMEM;

    if (++reader->depth > DEPTH_MAXIMUM)
        r = refuse(reader, &event->start_mark, "it is nested too deeply");
    else if (value)
        r = mapping ? read_mapping(reader, &event->start_mark, value)
                    : read_sequence(reader, value);
    reader->depth--;
    if (r < 0)
        json_decref(value);
    else
        *ret = value;
    return r;
}

static bool has_anchor(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor != NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor != NULL;
    default:
        return event->type == YAML_ALIAS_EVENT;
    }
}

static int read_value(struct reader *reader, const yaml_event_t *event, json_t **ret)
{
    if (has_anchor(event))
        return refuse(reader, &event->start_mark, "anchors and aliases are not supported");
    if (++reader->values > VALUES_MAXIMUM)
        return refuse(reader, &event->start_mark, "it has too many values");
    if (event->type == YAML_SCALAR_EVENT)
        return read_scalar(reader, event, ret);
    if (event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT)
        return read_collection(reader, event, ret);
    return refuse(reader, &event->start_mark, "a value is missing");
}

/* Passes events up to the first value. 1: there is none. */
static int skip_to_value(struct reader *reader, yaml_event_t *ret)
{
    int r;

    while ((r = next_event(reader, ret)) == 0) {
        if (ret->type == YAML_STREAM_END_EVENT) {
            yaml_event_delete(ret);
            return 1;
        }
        if (ret->type != YAML_STREAM_START_EVENT && ret->type != YAML_DOCUMENT_START_EVENT &&
            ret->type != YAML_DOCUMENT_END_EVENT)
            return 0;
        yaml_event_delete(ret);
    }
    return r;
}

static int read_document(struct reader *reader, json_t **ret)
{
    yaml_event_t event;
    yaml_mark_t start = {0};
    json_t *value = NULL;
    int r = skip_to_value(reader, &event);

    if (r > 0)
        return refuse(reader, &start, "there is nothing in it");
    if (r < 0)
        return r;
    r = read_value(reader, &event, &value);
    yaml_event_delete(&event);
    if (r < 0)
        return r;
    r = skip_to_value(reader, &event);
    if (r == 0) {
        r = refuse(reader, &event.start_mark, "there is a second document");
        yaml_event_delete(&event);
    }
    if (r < 0)
        json_decref(value);
    else
        *ret = value;
    return r < 0 ? r : 0;
}

int yaml_parse(const char *text, size_t length, json_t **ret, struct error *error)
{
    struct reader reader = {.error = error};
    int r;

    if (!yaml_parser_initialize(&reader.parser))
        return error_set(error, "out-of-memory", ENOMEM, "Can't read YAML");
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)(length ? text : ""),
                                 length);
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    r = read_document(&reader, ret);
    yaml_parser_delete(&reader.parser);
    return r;
}
