/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a reference, a version, a path, the name of a scratch directory. */
#include <stdlib.h>
#include <string.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "fuzz.h"
#include "image/layout.h"
#include "image/manifest.h"
#include "image/scratch.h"

static void must(int condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(free_ptr) char *text = allocate(size + 1);
    CLEANUP(free_ptr) char *id = NULL;
    CLEANUP(free_ptr) char *version = NULL;
    struct scratch_name name;
    struct digest digest;

    memcpy(text, data, size);
    if (snapshot_reference_parse(text, &id, &version, NULL) == 0)
        must(manifest_path_is_sound(id) && !strchr(id, '/') && id[0] != '.');
    if (scratch_name_parse(text, &name) == 0) {
        CLEANUP(free_ptr) char *again = scratch_name_format(&name);

        must(text_equal(again, text));
    }
    if (manifest_path_is_sound(text))
        must(text[0] != '/' && !strstr(text, "/../"));
    (void)digest_from_hex(text, &digest);
    return 0;
}
