/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/metrics.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/reconciler.h"
#include "basic/cleanup.h"
#include "basic/file.h"
#include "basic/text.h"
#include "kube/object.h"

enum { KINDS = 2, PHASES_MAXIMUM = 64, CODES_MAXIMUM = 256, PAGE_MAXIMUM = 1 << 20 };

static const double bounds[] = {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300, 900};

enum { BOUNDS = sizeof bounds / sizeof bounds[0] };

struct histogram {
    uint64_t buckets[BOUNDS + 1];
    uint64_t count;
    double sum;
};

/* Seconds in a phase, or failures with a code. */
struct named {
    char *name;
    enum wish_kind kind;
    uint64_t count;
    double sum;
};

struct metrics {
    char *node;
    uint64_t results[KINDS][2]; /* by kind, and whether it went well */
    uint64_t bytes[KINDS];
    struct histogram seconds[KINDS], frozen;
    struct named phases[PHASES_MAXIMUM], codes[CODES_MAXIMUM];
    size_t phase_count, code_count;
    uint64_t troubles;
};

struct metrics *metrics_new(const char *node)
{
    struct metrics *metrics = allocate(sizeof *metrics);

    metrics->node = text_copy(node);
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    for (size_t i = 0; i < metrics->phase_count; i++)
        free(metrics->phases[i].name);
    for (size_t i = 0; i < metrics->code_count; i++)
        free(metrics->codes[i].name);
    free(metrics->node);
    free(metrics);
}

static void observe(struct histogram *histogram, double value)
{
    size_t i = 0;

    while (i < BOUNDS && value > bounds[i])
        i++;
    histogram->buckets[i]++;
    histogram->count++;
    histogram->sum += value;
}

static void add(struct named *list, size_t *count, size_t maximum, enum wish_kind kind,
                const char *name, double seconds)
{
    size_t i = 0;

    while (i < *count && (list[i].kind != kind || !text_equal(list[i].name, name)))
        i++;
    if (i == maximum)
        return;
    if (i == *count) {
        list[i] = (struct named){.name = text_copy(name), .kind = kind};
        (*count)++;
    }
    list[i].count++;
    list[i].sum += seconds;
}

static void count_phases(struct metrics *metrics, enum wish_kind kind, const json_t *phases)
{
    for (size_t i = 0; i < json_array_size(phases); i++) {
        const json_t *phase = json_array_get(phases, i);
        const char *name = kube_text(phase, "name");

        if (name)
            add(metrics->phases, &metrics->phase_count, PHASES_MAXIMUM, kind, name,
                json_number_value(json_object_get(phase, "seconds")));
    }
}

void metrics_count_result(struct metrics *metrics, enum wish_kind kind, const json_t *result)
{
    bool ok = json_is_true(json_object_get(result, "ok"));
    const char *code = kube_text(result, "code");

    metrics->results[kind][ok]++;
    if (!ok) {
        add(metrics->codes, &metrics->code_count, CODES_MAXIMUM, kind, code ? code : "unknown", 0);
        return;
    }
    if (json_is_true(json_object_get(result, "already")))
        return;
    metrics->bytes[kind] += (uint64_t)kube_number(result, "bytes");
    observe(&metrics->seconds[kind], json_number_value(json_object_get(result, "seconds")));
    if (kind == WISH_CAPTURE)
        observe(&metrics->frozen, json_number_value(json_object_get(result, "frozen_seconds")));
    count_phases(metrics, kind, json_object_get(result, "phases"));
}

void metrics_count_trouble(struct metrics *metrics)
{
    metrics->troubles++;
}

static const char *operation_of(enum wish_kind kind)
{
    return kind == WISH_CAPTURE ? "checkpoint" : "restore";
}

static void head(struct buffer *page, const char *name, const char *type, const char *help)
{
    (void)buffer_printf(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_results(struct buffer *page, const struct metrics *metrics)
{
    head(page, "stasis_operations_total", "counter", "Operations that have ended, by outcome.");
    for (int kind = 0; kind < KINDS; kind++) {
        for (int ok = 0; ok < 2; ok++)
            (void)buffer_printf(page,
                                "stasis_operations_total{operation=\"%s\",outcome=\"%s\"} %llu\n",
                                operation_of(kind), ok ? "success" : "failure",
                                (unsigned long long)metrics->results[kind][ok]);
    }
    head(page, "stasis_failures_total", "counter", "Operations that failed, by code.");
    for (size_t i = 0; i < metrics->code_count; i++)
        (void)buffer_printf(page, "stasis_failures_total{operation=\"%s\",code=\"%s\"} %llu\n",
                            operation_of(metrics->codes[i].kind), metrics->codes[i].name,
                            (unsigned long long)metrics->codes[i].count);
    head(page, "stasis_snapshot_bytes_total", "counter", "Bytes of snapshots that were made.");
    (void)buffer_printf(page, "stasis_snapshot_bytes_total %llu\n",
                        (unsigned long long)metrics->bytes[WISH_CAPTURE]);
}

static void print_histogram(struct buffer *page, const char *name, const char *labels,
                            const struct histogram *histogram)
{
    const char *comma = *labels ? "," : "";
    uint64_t sum = 0;

    for (size_t i = 0; i < BOUNDS; i++) {
        sum += histogram->buckets[i];
        (void)buffer_printf(page, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels, comma, bounds[i],
                            (unsigned long long)sum);
    }
    (void)buffer_printf(page, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma,
                        (unsigned long long)histogram->count);
    (void)buffer_printf(page, "%s_sum{%s} %.6f\n%s_count{%s} %llu\n", name, labels, histogram->sum,
                        name, labels, (unsigned long long)histogram->count);
}

static void print_times(struct buffer *page, const struct metrics *metrics)
{
    head(page, "stasis_operation_seconds", "histogram", "Time of operations that went well.");
    print_histogram(page, "stasis_operation_seconds", "operation=\"checkpoint\"",
                    &metrics->seconds[WISH_CAPTURE]);
    print_histogram(page, "stasis_operation_seconds", "operation=\"restore\"",
                    &metrics->seconds[WISH_RESTORE]);
    head(page, "stasis_frozen_seconds", "histogram", "How long workloads stood still.");
    print_histogram(page, "stasis_frozen_seconds", "", &metrics->frozen);
    head(page, "stasis_phase_seconds", "summary", "Time in each phase of an operation.");
    for (size_t i = 0; i < metrics->phase_count; i++) {
        const struct named *phase = &metrics->phases[i];

        (void)buffer_printf(page,
                            "stasis_phase_seconds_sum{operation=\"%s\",phase=\"%s\"} %.6f\n"
                            "stasis_phase_seconds_count{operation=\"%s\",phase=\"%s\"} %llu\n",
                            operation_of(phase->kind), phase->name, phase->sum,
                            operation_of(phase->kind), phase->name,
                            (unsigned long long)phase->count);
    }
}

static uint64_t resident_bytes(void)
{
    CLEANUP(free_ptr) char *text = NULL;
    const char *second;
    size_t length;

    if (file_read(AT_FDCWD, "/proc/self/statm", 4096, &text, &length) < 0)
        return 0;
    second = strchr(text, ' ');
    return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static void print_moment(struct buffer *page, const struct metrics *metrics,
                         const struct reconciler_numbers *numbers, int synced)
{
    head(page, "stasis_operations_running", "gauge", "Operations under way.");
    for (int kind = 0; kind < KINDS; kind++)
        (void)buffer_printf(page, "stasis_operations_running{operation=\"%s\"} %zu\n",
                            operation_of(kind), numbers->running[kind]);
    head(page, "stasis_operations_queued", "gauge", "Operations that wait for their turn.");
    for (int kind = 0; kind < KINDS; kind++)
        (void)buffer_printf(page, "stasis_operations_queued{operation=\"%s\"} %zu\n",
                            operation_of(kind), numbers->queued[kind]);
    head(page, "stasis_pods", "gauge", "Pods of this node that are known.");
    (void)buffer_printf(page, "stasis_pods %zu\n", numbers->pods);
    head(page, "stasis_synced", "gauge", "Whether the pods of this node are known (1) or not (0).");
    (void)buffer_printf(page, "stasis_synced %d\n", synced);
    head(page, "stasis_api_troubles_total", "counter", "Troubles with the API server.");
    (void)buffer_printf(page, "stasis_api_troubles_total %llu\n",
                        (unsigned long long)metrics->troubles);
    head(page, "stasis_agent_info", "gauge", "Who this is.");
    (void)buffer_printf(page, "stasis_agent_info{version=\"%s\",node=\"%s\"} 1\n", STASIS_VERSION,
                        metrics->node);
    head(page, "process_resident_memory_bytes", "gauge", "Resident memory of the agent's loop.");
    (void)buffer_printf(page, "process_resident_memory_bytes %llu\n",
                        (unsigned long long)resident_bytes());
}

char *metrics_text(const struct metrics *metrics, const struct reconciler_numbers *numbers,
                   int synced)
{
    struct buffer page = BUFFER_INIT(PAGE_MAXIMUM);

    print_results(&page, metrics);
    print_times(&page, metrics);
    print_moment(&page, metrics, numbers, synced);
    return page.data;
}
