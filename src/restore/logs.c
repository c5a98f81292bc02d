/* SPDX-License-Identifier: Apache-2.0 */
/* What CRIU says of a restore: where it is while CRIU works, and what becomes of it. */
#include "workload/logs.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "basic/cleanup.h"
#include "basic/text.h"
#include "restore/state.h"

enum { COPY_MAXIMUM = 1 << 30 };

int restore_open_logs(struct restore *restore, const char *label, struct error *error)
{
    const struct restore_request *request = restore->request;

    return logs_open(request->logs ? request->logs : request->root, label, &restore->work_path,
                     &restore->work, error);
}

/* In a place of everybody somebody else may have made the name: so it is made anew. */
static void copy_log(const struct restore *restore)
{
    const char *path = restore->request->criu_log;
    CLEANUP(close_fd) int from = -1, to = -1;

    if (!path || restore->work < 0)
        return;
    from = openat(restore->work, CRIU_RESTORE_LOG, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (from < 0)
        return;
    (void)unlink(path);
    to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    while (to >= 0 && sendfile(to, from, NULL, COPY_MAXIMUM) > 0) {
    }
}

void restore_close_logs(const struct restore *restore)
{
    copy_log(restore);
    logs_remove(restore->work_path);
}

void restore_mention_logs(const struct restore *restore, struct error *error)
{
    char *whole;

    if (!error || !error->code || !restore->work_path)
        return;
    copy_log(restore);
    if (unlinkat(AT_FDCWD, restore->work_path, AT_REMOVEDIR) == 0)
        return; /* empty: CRIU never wrote any */
    whole = text_format("%s (logs: %s)", error->message, restore->work_path);
    free(error->message);
    error->message = whole;
}
