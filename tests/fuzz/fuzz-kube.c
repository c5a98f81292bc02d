/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a kubeconfig; and as a watch, cut into pieces by what the first byte says: the
 * pieces make no difference, and every line is an event or refused. */
#include <stdlib.h>
#include <string.h>

#include "basic/text.h"
#include "fuzz.h"
#include "kube/config.h"
#include "kube/lines.h"
#include "kube/watch-event.h"

enum { LINE_MAXIMUM = 4096 };

struct lines {
    size_t count, bytes;
    bool parse;
};

static void must(int condition)
{
    if (!condition)
        abort();
}

static int take_line(char *line, size_t length, void *context)
{
    struct lines *lines = context;
    struct watch_event event = {0};
    struct error error = ERROR_INIT;

    must(length > 0 && line[length] == '\0');
    must(!memchr(line, '\n', length));
    lines->count++;
    lines->bytes += length;
    if (!lines->parse)
        return 0;
    if (watch_event_parse(line, length, &event, &error) < 0)
        must(error_is(&error, "kube-protocol"));
    else
        must(json_is_object(event.object));
    watch_event_done(&event);
    error_done(&error);
    return 0;
}

static int feed(const char *data, size_t size, size_t piece, struct lines *lines)
{
    struct line_splitter splitter = LINE_SPLITTER_INIT(LINE_MAXIMUM);
    int r = 0;

    for (size_t at = 0; at < size && r == 0; at += piece) {
        r = line_splitter_feed(&splitter, data + at, size - at < piece ? size - at : piece,
                               take_line, lines);
    }
    line_splitter_done(&splitter);
    return r;
}

static void read_config(const char *data, size_t size)
{
    struct kube_config *config = NULL;
    struct error error = ERROR_INIT;

    if (kube_config_parse(data, size, "/nowhere", NULL, &config, &error) < 0) {
        must(!config && error.code && error.message && *error.message);
        error_done(&error);
        return;
    }
    must(text_starts_with(config->server, "http") && !strpbrk(config->server, " \r\n@"));
    must(!config->token || !strpbrk(config->token, " \r\n"));
    must(config->namespace != NULL);
    kube_config_free(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lines whole = {.parse = true}, pieces = {0};

    read_config((const char *)data, size);
    if (size == 0)
        return 0;
    must(feed((const char *)data, size, size, &whole) ==
         feed((const char *)data, size, 1 + data[0] % 64, &pieces));
    must(whole.count == pieces.count && whole.bytes == pieces.bytes);
    return 0;
}
