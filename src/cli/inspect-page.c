/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "cli/inspect.h"
#include "cli/manifest-view.h"
#include "cli/output.h"
#include "image/manifest.h"

enum { FILES_SHOWN = 5000 };

static const char style[] =
    ":root{color-scheme:light dark;--line:#8884;--bar:#4a86c8;--soft:#8882}"
    "body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid var(--line);"
    "vertical-align:top;overflow-wrap:anywhere}"
    "th{font-weight:600}td.n,th.n{text-align:right;white-space:nowrap;"
    "font-variant-numeric:tabular-nums}"
    "code{font:13px/1.4 ui-monospace,monospace}"
    ".track{background:var(--soft);height:1rem;position:relative;min-width:12rem}"
    ".bar{background:var(--bar);height:1rem;position:absolute;min-width:2px}"
    ".gpu{background:var(--bar);color:#fff;border-radius:.3rem;padding:0 .4rem;font-size:.8rem}"
    "td.wide{width:50%}";

/* Everything that comes from a snapshot goes through here: no markup, no control characters. */
static void put(FILE *stream, const char *text)
{
    CLEANUP(free_ptr) char *safe = text_safe(text);

    for (const char *c = safe; *c; c++) {
        switch (*c) {
        case '&':
            (void)fputs("&amp;", stream);
            break;
        case '<':
            (void)fputs("&lt;", stream);
            break;
        case '>':
            (void)fputs("&gt;", stream);
            break;
        case '"':
            (void)fputs("&quot;", stream);
            break;
        case '\'':
            (void)fputs("&#39;", stream);
            break;
        default:
            (void)fputc(*c, stream);
        }
    }
}

/* Gives up `text`. */
static void put_owned(FILE *stream, char *text)
{
    put(stream, text);
    free(text);
}

static void put_fact(FILE *stream, const char *label, char *value)
{
    (void)fprintf(stream, "<tr><th>%s</th><td>", label);
    put_owned(stream, value);
    (void)fputs("</td></tr>\n", stream);
}

static void put_facts(FILE *stream, const struct snapshot *snapshot)
{
    const json_t *manifest = snapshot_manifest(snapshot);
    CLEANUP(free_ptr) char *size = text_bytes(snapshot_bytes(snapshot));

    (void)fputs("<table>\n", stream);
    put_fact(stream, "Created", text_copy(snapshot_created(snapshot)));
    put_fact(stream, "Path", text_copy(snapshot_path(snapshot)));
    put_fact(stream, "Size",
             text_format("%s in %zu files", size, snapshot_contents(snapshot)->file_count));
    put_fact(stream, "Workload",
             text_format("%s (%s)", view_text(manifest, "workload.name", "?"),
                         view_text(manifest, "workload.mode", "?")));
    put_fact(stream, "Command", view_command(view_value(manifest, "workload.command")));
    put_fact(stream, "Input and output", text_copy(view_text(manifest, "workload.stdio", "?")));
    put_fact(stream, "TCP connections", text_copy(view_text(manifest, "workload.tcp", "?")));
    put_fact(stream, "Source",
             text_format("%s, Linux %s, %s, %s", view_text(manifest, "source.host", "?"),
                         view_text(manifest, "source.kernel", "?"),
                         view_text(manifest, "source.architecture", "?"),
                         view_text(manifest, "source.cpu_model", "?")));
    put_fact(stream, "Stasis", text_copy(view_text(manifest, "stasis", "?")));
    put_fact(stream, "CRIU", view_criu_version(manifest));
    (void)fputs("</table>\n", stream);
}

static void put_gpus(FILE *stream, const json_t *manifest)
{
    const json_t *gpus = view_array(manifest, "cuda.gpus");

    if (json_array_size(gpus) == 0)
        return;
    (void)fputs("<h2>GPUs</h2>\n<p>Driver ", stream);
    put(stream, view_text(manifest, "cuda.driver", "?"));
    (void)fputs("</p>\n<table><tr><th>UUID</th><th>Model</th><th class=n>Memory</th></tr>\n",
                stream);
    for (size_t i = 0; i < json_array_size(gpus); i++) {
        const json_t *gpu = json_array_get(gpus, i);

        (void)fputs("<tr><td><code>", stream);
        put(stream, view_text(gpu, "uuid", "?"));
        (void)fputs("</code></td><td>", stream);
        put(stream, view_text(gpu, "name", "?"));
        (void)fputs("</td><td class=n>", stream);
        put_owned(stream, text_bytes(view_number(gpu, "memory")));
        (void)fputs("</td></tr>\n", stream);
    }
    (void)fputs("</table>\n", stream);
}

static void put_process(const json_t *process, size_t depth, void *context)
{
    FILE *stream = context;

    (void)fprintf(stream,
                  "<tr><td class=n>%" PRIu64 "</td><td style=\"padding-left:%zu.6em\"><code>",
                  view_number(process, "pid"), depth > 20 ? 20 : depth);
    put_owned(stream, view_command(view_value(process, "command")));
    (void)fprintf(stream, "</code>%s</td><td class=n>%" PRIu64 "</td><td class=n>",
                  json_is_true(view_value(process, "cuda")) ? " <span class=gpu>CUDA</span>" : "",
                  view_number(process, "threads"));
    put_owned(stream, text_bytes(view_number(process, "rss_bytes")));
    (void)fputs("</td></tr>\n", stream);
}

static void put_processes(FILE *stream, const json_t *manifest)
{
    const json_t *processes = view_array(manifest, "workload.processes");

    if (json_array_size(processes) == 0)
        return;
    (void)fprintf(stream,
                  "<h2>Processes (%zu)</h2>\n<table><tr><th class=n>Process id</th><th>Command</th>"
                  "<th class=n>Threads</th><th class=n>Resident</th></tr>\n",
                  json_array_size(processes));
    (void)view_process_tree(processes, put_process, stream);
    (void)fputs("</table>\n", stream);
}

static void put_phases(FILE *stream, const json_t *manifest)
{
    size_t count;
    double total;
    CLEANUP(free_ptr) struct view_phase *phases = view_phases(manifest, &count, &total);

    if (count == 0)
        return;
    (void)fputs("<h2>Time of each phase (", stream);
    put_owned(stream, text_duration(total));
    (void)fputs(")</h2>\n<table><tr><th>Phase</th><th class=n>Time</th><th></th></tr>\n", stream);
    for (size_t i = 0; i < count; i++) {
        double scale = total > 0 ? 100 / total : 0;

        (void)fputs("<tr><td>", stream);
        put(stream, phases[i].name);
        (void)fputs("</td><td class=n>", stream);
        put_owned(stream, text_duration(phases[i].seconds));
        (void)fprintf(stream,
                      "</td><td class=wide><div class=track><div class=bar "
                      "style=\"left:%.2f%%;width:%.2f%%\"></div></div></td></tr>\n",
                      phases[i].start * scale, phases[i].seconds * scale);
    }
    (void)fputs("</table>\n", stream);
}

static void put_files(FILE *stream, const struct manifest *contents)
{
    CLEANUP(free_ptr) const struct manifest_file **files = files_by_size(contents);
    size_t shown = contents->file_count < FILES_SHOWN ? contents->file_count : FILES_SHOWN;
    double largest = shown && files[0]->bytes ? (double)files[0]->bytes : 1;

    (void)fprintf(stream,
                  "<h2>Files (%zu%s)</h2>\n<table><tr><th>File</th><th class=n>Size</th><th></th>"
                  "</tr>\n",
                  contents->file_count, shown < contents->file_count ? ", the largest" : "");
    for (size_t i = 0; i < shown; i++) {
        (void)fputs("<tr><td><code>", stream);
        put(stream, files[i]->path);
        (void)fputs("</code></td><td class=n>", stream);
        put_owned(stream, text_bytes(files[i]->bytes));
        (void)fprintf(stream,
                      "</td><td><div class=track><div class=bar style=\"width:%.2f%%\"></div></div>"
                      "</td></tr>\n",
                      100.0 * (double)files[i]->bytes / largest);
    }
    (void)fputs("</table>\n", stream);
}

void inspect_page(FILE *stream, const struct snapshot *snapshot)
{
    const json_t *manifest = snapshot_manifest(snapshot);

    (void)fputs("<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
                "<meta name=viewport content=\"width=device-width\">\n"
                "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; "
                "style-src 'unsafe-inline'\">\n<title>",
                stream);
    put(stream, snapshot_id(snapshot));
    (void)fprintf(stream, "</title>\n<style>%s</style>\n</head>\n<body>\n<h1>Snapshot ", style);
    put(stream, snapshot_id(snapshot));
    (void)fputs(", version ", stream);
    put(stream, snapshot_version(snapshot));
    (void)fputs("</h1>\n", stream);
    put_facts(stream, snapshot);
    put_gpus(stream, manifest);
    put_processes(stream, manifest);
    put_phases(stream, manifest);
    put_files(stream, snapshot_contents(snapshot));
    (void)fputs("</body>\n</html>\n", stream);
}
