/* SPDX-License-Identifier: Apache-2.0 */
#include "fake-cuda.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char default_gpu[] = "gpu GPU-fa6e0000-0000-4000-8000-000000000001 143771 0 Fake H200";

static bool uuid_read(const char *text, struct stasis_cu_uuid *uuid)
{
    size_t digits = 0;

    if (strncmp(text, "GPU-", 4) == 0)
        text += 4;
    for (; *text && digits < 32; text++) {
        unsigned byte;

        if (*text == '-')
            continue;
        if (sscanf(text, "%2x", &byte) != 1)
            return false;
        uuid->bytes[digits / 2] = (unsigned char)byte;
        digits += 2;
        text++;
    }
    return digits == 32;
}

static void gpu_line(struct fake_config *config, const char *line)
{
    struct fake_gpu *gpu = &config->gpus[config->gpu_count];
    unsigned long long mebibytes;
    char uuid[64];

    if (config->gpu_count < FAKE_GPUS_MAX &&
        sscanf(line, "gpu %63s %llu %d %95[^\n]", uuid, &mebibytes, &gpu->minor, gpu->name) == 4 &&
        uuid_read(uuid, &gpu->uuid)) {
        gpu->memory = mebibytes << 20;
        config->gpu_count++;
    }
}

static void rule_line(struct fake_config *config, const char *line)
{
    struct fake_rule rule = {.pid = 0};
    char word[16] = "", last[16] = "";
    int fields;

    if (config->rule_count == FAKE_RULES_MAX || sscanf(line, "%15s", word) != 1)
        return;
    if (strcmp(word, "fail-pid") == 0)
        fields = sscanf(line, "%*s %d %15s %d %15s", &rule.pid, rule.call, &rule.result, last) - 1;
    else
        fields = sscanf(line, "%*s %15s %d %15s", rule.call, &rule.result, last);
    if (fields < 1)
        return;
    rule.kind = word[0] == 'f' ? FAKE_FAIL : word[0] == 'h' ? FAKE_HANG : FAKE_CRASH;
    rule.failed = strcmp(last, "failed") == 0;
    config->rules[config->rule_count++] = rule;
}

static void line_read(struct fake_config *config, const char *line)
{
    char word[16] = "";

    (void)sscanf(line, "%15s", word);
    if (strcmp(word, "driver") == 0)
        (void)sscanf(line, "driver %d", &config->driver_version);
    else if (strcmp(word, "gpu") == 0)
        gpu_line(config, line);
    else if (strncmp(word, "fail", 4) == 0 || strcmp(word, "hang") == 0 ||
             strcmp(word, "crash") == 0)
        rule_line(config, line);
    else if (strcmp(word, "busy") == 0)
        config->busy = true;
    else if (strcmp(word, "inner-tid") == 0)
        config->inner_tid = true;
    else if (strcmp(word, "mig") == 0)
        config->mig = 1;
    else if (strcmp(word, "persistence") == 0)
        config->persistence = 1;
    else if (strcmp(word, "compute-mode") == 0)
        (void)sscanf(line, "compute-mode %d", &config->compute_mode);
}

void fake_config_read(struct fake_config *config)
{
    const char *path = getenv("FAKE_CUDA_CONFIG");
    FILE *file = path ? fopen(path, "re") : NULL;
    char line[256];

    *config = (struct fake_config){.driver_version = FAKE_CUDA_VERSION};
    while (file && fgets(line, sizeof line, file))
        line_read(config, line);
    if (file)
        (void)fclose(file);
    if (config->gpu_count == 0)
        gpu_line(config, default_gpu);
}

static const struct fake_rule *rule_find(const struct fake_config *config, const char *call,
                                         int pid)
{
    for (size_t i = 0; i < config->rule_count; i++) {
        const struct fake_rule *rule = &config->rules[i];

        if (strcmp(rule->call, call) == 0 && (rule->pid == 0 || rule->pid == pid))
            return rule;
    }
    return NULL;
}

int fake_rules_obey(const char *call, int pid, bool *ret_failed)
{
    static struct fake_config config;
    const struct fake_rule *rule;

    fake_config_read(&config);
    while ((rule = rule_find(&config, call, pid)) != NULL && rule->kind == FAKE_HANG) {
        (void)usleep(5000);
        fake_config_read(&config);
    }
    if (!rule)
        return 0;
    if (rule->kind == FAKE_CRASH) {
        (void)signal(SIGSEGV, SIG_DFL);
        (void)raise(SIGSEGV);
    }
    if (ret_failed)
        *ret_failed = rule->failed;
    return rule->result;
}
