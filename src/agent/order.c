/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/order.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "basic/text.h"
#include "image/layout.h"

static const char *const kinds[] = {"capture", "restore", "tell", "list"};

const char *order_kind_name(enum order_kind kind)
{
    return kinds[kind];
}

enum form { FORM_NAME, FORM_ID, FORM_PATH, FORM_TEXT };

/* The texts of an order, and what each has to look like. */
static const struct member {
    const char *name;
    size_t offset;
    enum form form;
} members[] = {
    {"key", offsetof(struct order, key), FORM_NAME},
    {"protocol", offsetof(struct order, protocol), FORM_NAME},
    {"namespace", offsetof(struct order, namespace), FORM_NAME},
    {"pod", offsetof(struct order, pod), FORM_NAME},
    {"uid", offsetof(struct order, uid), FORM_NAME},
    {"container", offsetof(struct order, container), FORM_NAME},
    {"container_id", offsetof(struct order, container_id), FORM_NAME},
    {"id", offsetof(struct order, id), FORM_ID},
    {"version", offsetof(struct order, version), FORM_NAME},
    {"claim_path", offsetof(struct order, claim_path), FORM_PATH},
    {"signal_file", offsetof(struct order, signal_file), FORM_PATH},
    {"control", offsetof(struct order, control), FORM_PATH},
    {"marker", offsetof(struct order, marker), FORM_PATH},
    {"problem", offsetof(struct order, problem), FORM_TEXT},
    {"problem_code", offsetof(struct order, problem_code), FORM_NAME},
};

static const struct flag {
    const char *name;
    size_t offset;
} flags[] = {
    {"signals", offsetof(struct order, signals)},
    {"leave_alone", offsetof(struct order, leave_alone)},
    {"last", offsetof(struct order, last)},
    {"kill", offsetof(struct order, kill)},
    {"success", offsetof(struct order, success)},
    {"of_restore", offsetof(struct order, of_restore)},
};

#define LENGTH(list) (sizeof(list) / sizeof((list)[0]))

static char **text_at(const struct order *order, size_t offset)
{
    return (char **)((char *)order + offset);
}

static bool *flag_at(const struct order *order, size_t offset)
{
    return (bool *)((char *)order + offset);
}

void order_done(struct order *order)
{
    for (size_t i = 0; i < LENGTH(members); i++)
        free(*text_at(order, members[i].offset));
    *order = (struct order){0};
}

json_t *order_to_json(const struct order *order)
{
    json_t *json = json_object();

    (void)json_object_set_new(json, "kind", json_string(kinds[order->kind]));
    for (size_t i = 0; i < LENGTH(members); i++) {
        const char *text = *text_at(order, members[i].offset);

        if (text)
            (void)json_object_set_new(json, members[i].name, json_string(text));
    }
    for (size_t i = 0; i < LENGTH(flags); i++) {
        if (*flag_at(order, flags[i].offset))
            (void)json_object_set_new(json, flags[i].name, json_true());
    }
    return json;
}

static bool is_name(const char *text)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strlen(text);

    return length > 0 && length <= 253 && text[0] != '.' && text[0] != '-' &&
           strspn(text, allowed) == length;
}

bool order_path_is_plain(const char *path)
{
    char *between = text_format("%s/", path);
    bool plain = path[0] == '/' && path[1] && strlen(path) < 4096 && !strstr(between, "/../") &&
                 !strstr(between, "//");

    free(between);
    return plain;
}

static bool fits(const char *text, enum form form)
{
    switch (form) {
    case FORM_NAME:
        return is_name(text);
    case FORM_ID:
        return snapshot_id_check(text, NULL) == 0;
    case FORM_PATH:
        return order_path_is_plain(text);
    case FORM_TEXT:
        return strlen(text) < 4096;
    }
    return false;
}

static int read_kind(const json_t *json, enum order_kind *ret_kind)
{
    const char *name = json_string_value(json_object_get(json, "kind"));

    for (size_t i = 0; i < LENGTH(kinds); i++) {
        if (text_equal(name, kinds[i])) {
            *ret_kind = (enum order_kind)i;
            return 0;
        }
    }
    return -EINVAL;
}

static int read_texts(const json_t *json, struct order *order, const char **ret_wrong)
{
    for (size_t i = 0; i < LENGTH(members); i++) {
        const json_t *value = json_object_get(json, members[i].name);

        if (!value)
            continue;
        *ret_wrong = members[i].name;
        if (!json_is_string(value) || json_string_length(value) != strlen(json_string_value(value)))
            return -EINVAL;
        if (!fits(json_string_value(value), members[i].form))
            return -EINVAL;
        *text_at(order, members[i].offset) = text_copy(json_string_value(value));
    }
    return 0;
}

/* What each kind can't do without. */
static bool is_complete(const struct order *order)
{
    if (!order->key || strlen(order->key) > ORDER_KEY_MAXIMUM)
        return false;
    if (order->kind == ORDER_LIST)
        return true;
    if (!order->container_id && !(order->namespace && order->pod && order->container))
        return false;
    return order->kind == ORDER_TELL || order->id || order->problem_code;
}

int order_from_json(const json_t *json, struct order *ret_order, struct error *error)
{
    struct order order = {0};
    const char *wrong = "kind";
    int r = read_kind(json, &order.kind);

    if (r == 0)
        r = read_texts(json, &order, &wrong);
    for (size_t i = 0; r == 0 && i < LENGTH(flags); i++)
        *flag_at(&order, flags[i].offset) = json_is_true(json_object_get(json, flags[i].name));
    if (r == 0 && !is_complete(&order)) {
        wrong = "its members";
        r = -EINVAL;
    }
    if (r < 0) {
        order_done(&order);
        return error_set(error, "agent-order", EINVAL, "An order makes no sense: %s", wrong);
    }
    *ret_order = order;
    return 0;
}
