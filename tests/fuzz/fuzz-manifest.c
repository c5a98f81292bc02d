/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a manifest: refused with a reason, or a list whose every entry holds. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "image/manifest.h"

static void must(int condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest *manifest = NULL;
    struct error error = ERROR_INIT;
    int r = manifest_parse((const char *)data, size, &manifest, &error);

    if (r < 0) {
        must(error_is(&error, "snapshot-manifest") || error_is(&error, "snapshot-version"));
        must(error.message && *error.message);
        error_done(&error);
        return 0;
    }
    for (size_t i = 0; i < manifest->file_count; i++) {
        const struct manifest_file *file = &manifest->files[i];

        must(manifest_path_is_sound(file->path));
        must(manifest_find(manifest, file->path) == file);
        must(file->bytes <= manifest->bytes);
    }
    for (size_t i = 0; i < manifest->directory_count; i++) {
        must(manifest_path_is_sound(manifest->directories[i]));
        must(!manifest_find(manifest, manifest->directories[i]));
    }
    manifest_free(manifest);
    return 0;
}
