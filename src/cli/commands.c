/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands. Texts here are what users read in help, completion and the manual. */
#include "cli/command.h"

#define END_OF_OPTIONS \
    {                  \
        .name = NULL   \
    }
#define END_OF_EXAMPLES \
    {                   \
        .line = NULL    \
    }
#define END_OF_EXITS \
    {                \
        .what = NULL \
    }

#define OPTION_JSON_EXAMPLE "snapshotctl list --json | jq -r '.snapshots[].id'"

const struct option_definition global_options[] = {
    {.name = "root",
     .value = "DIR",
     .type = VALUE_TEXT,
     .completion = COMPLETE_DIRECTORY,
     .help = "Where snapshots and running workloads are kept",
     .more = "The default is $STASIS_ROOT, else /var/lib/stasis. Put it on a fast disk with room "
             "for the memory of your workloads, or on a tmpfs for the fastest restores.",
     .example = "snapshotctl --root /mnt/nvme/stasis list"},
    {.name = "json",
     .type = VALUE_FLAG,
     .help = "Print results as JSON on standard output",
     .more = "Errors become an object {\"error\": {\"code\", \"message\", \"why\", \"cure\"}} "
             "there too; the text for people stays on standard error.",
     .example = OPTION_JSON_EXAMPLE},
    {.name = "progress",
     .value = "HOW",
     .type = VALUE_WORD,
     .initial = "auto",
     .words = "auto|plain|json|none",
     .completion = COMPLETE_WORDS,
     .help = "How to show progress on standard error",
     .more = "auto draws one line on a terminal and is plain elsewhere; plain prints a line for "
             "each finished phase; json prints one object a line.",
     .example = "snapshotctl --progress json restore llama 2>progress.jsonl"},
    {.name = "verbose", .letter = 'v', .type = VALUE_FLAG, .help = "Show more detail"},
    {.name = "version", .letter = 'V', .type = VALUE_FLAG, .help = "Print the version and exit"},
    {.name = "help", .letter = 'h', .type = VALUE_FLAG, .help = "Explain the command and exit"},
    END_OF_OPTIONS,
};

const struct exit_meaning common_exits[] = {
    {0, "It worked."},
    {1, "It failed; standard error says what, why and what to do."},
    {2, "The command line is wrong; nothing was done."},
    END_OF_EXITS,
};

static const struct exit_meaning checkpoint_exits[] = {
    {3, "Refused before anything was touched: preflight found a reason."},
    {5, "This machine can't do it: CRIU, a right or a kernel feature is missing."},
    END_OF_EXITS,
};

static const struct exit_meaning run_exits[] = {
    {125, "Attached: snapshotctl itself failed, before or beside the workload."},
    {126, "Attached: the program was found but can't be executed."},
    {127, "Attached: the program was not found."},
    {-1, "128+N, attached: signal N ended the workload. Any other status, attached, is the "
         "workload's own."},
    {5, "With --detach: this machine can't do it."},
    END_OF_EXITS,
};

static const struct exit_meaning restore_exits[] = {
    {3, "With --detach, or into a container: refused, this machine or its GPUs do not fit the "
        "snapshot."},
    {4, "With --detach, or into a container: the snapshot is damaged."},
    {5, "With --detach, or into a container: this machine can't do it."},
    {125, "Attached: snapshotctl itself failed; the workload does not run."},
    {-1, "128+N, attached: signal N ended the workload. Any other status, attached, is the "
         "workload's own."},
    END_OF_EXITS,
};

static const struct exit_meaning snapshot_exits[] = {
    {4, "The snapshot is damaged."},
    END_OF_EXITS,
};

static const struct exit_meaning doctor_exits[] = {
    {5, "Snapshots can't work here; the findings marked FAIL say why."},
    END_OF_EXITS,
};

static const struct exit_meaning preflight_exits[] = {
    {3, "A checkpoint would be refused; the findings say why."},
    {5, "This machine can't do it."},
    END_OF_EXITS,
};

static const struct option_definition run_options[] = {
    {.name = "name",
     .letter = 'n',
     .value = "NAME",
     .type = VALUE_NAME,
     .help = "What to call the workload",
     .more = "Other commands take this name. The default is made from the program's name and a "
             "number.",
     .example = "snapshotctl run --name llama -- python3 serve.py"},
    {.name = "detach",
     .letter = 'd',
     .type = VALUE_FLAG,
     .help = "Start it in the background and print its name",
     .more = "Without it, snapshotctl waits, passes signals on, and ends with the workload's exit "
             "status. Ending snapshotctl by a signal that can't be passed on (SIGKILL) does not "
             "end the workload.",
     .example = "snapshotctl run --detach --name llama -- python3 serve.py"},
    {.name = "stdio",
     .value = "WHERE",
     .type = VALUE_WORD,
     .initial = "log",
     .words = "log|pty|inherit",
     .completion = COMPLETE_WORDS,
     .help = "Where its input and output go",
     .more = "log: input is empty, output goes to a log file that `snapshotctl logs` reads and "
             "that a restored workload goes on writing. pty: a terminal of its own. inherit: the "
             "terminal or files of this command; such a workload can be restored only where "
             "they can be reopened.",
     .example = "snapshotctl run --stdio pty -- bash"},
    {.name = "host-pids",
     .type = VALUE_FLAG,
     .help = "Use the machine's process ids instead of an own pid namespace",
     .more = "In a pid namespace of its own (the default) a workload gets the same process ids "
             "back at restore, whatever else runs. With this option a restore needs those ids "
             "to be free.",
     .example = "snapshotctl run --host-pids -- ./service"},
    {.name = "shared-shm",
     .type = VALUE_FLAG,
     .help = "Share the machine's /dev/shm instead of a private one",
     .more = "Files in a private /dev/shm are part of the snapshot. Use this when the workload "
             "talks through /dev/shm to processes outside of it.",
     .example = "snapshotctl run --shared-shm -- ./producer"},
    {.name = "allow-io-uring",
     .type = VALUE_FLAG,
     .help = "Let the workload use io_uring",
     .more = "CRIU can't save a process that holds an io_uring instance, so by default "
             "io_uring_setup(2) answers ENOSYS; libraries then fall back to epoll. With this "
             "option a workload that does use io_uring can't be checkpointed.",
     .example = "snapshotctl run --allow-io-uring -- ./database"},
    {.name = "host-ipc",
     .type = VALUE_FLAG,
     .help = "Share System V IPC and POSIX message queues with the machine",
     .more = "By default the workload has an IPC namespace of its own, which is saved with it.",
     .example = "snapshotctl run --host-ipc -- ./legacy"},
    {.name = "env",
     .letter = 'e',
     .value = "KEY=VALUE",
     .type = VALUE_ASSIGNMENT,
     .repeats = true,
     .help = "Set a variable in its environment; may be repeated",
     .example = "snapshotctl run --env CUDA_VISIBLE_DEVICES=0 --env HF_HUB_OFFLINE=1 -- python3 "
                "serve.py"},
    {.name = "cwd",
     .letter = 'C',
     .value = "DIR",
     .type = VALUE_TEXT,
     .completion = COMPLETE_DIRECTORY,
     .help = "Start it in this directory",
     .example = "snapshotctl run --cwd /srv/model -- ./serve"},
    END_OF_OPTIONS,
};

/* For checkpoint, preflight and restore alike. */
#define OPTION_RUNTIME(command)                                                                    \
    {                                                                                              \
        .name = "runtime", .value = "SOCKET", .type = VALUE_TEXT, .completion = COMPLETE_FILE,     \
        .help = "The container runtime to ask for --container",                                    \
        .more = "The unix socket of its CRI. By default what OCI runtimes keep in /run is looked " \
                "at first, then the usual sockets are asked.",                                     \
        .example = "snapshotctl " command " --runtime /run/crio/crio.sock"                         \
    }
#define OPTION_RUNTIME_STATE(command)                                                   \
    {                                                                                   \
        .name = "runtime-state", .value = "DIR", .type = VALUE_TEXT,                    \
        .completion = COMPLETE_DIRECTORY,                                               \
        .help = "Where the OCI runtime or containerd keeps its state, for --container", \
        .more = "Looked at before the usual places below /run.",                        \
        .example = "snapshotctl " command " --runtime-state /run/user/0/runc"           \
    }

#define CONTAINER_MORE                                                                        \
    "NAME is an id or the unique beginning of one, or, where the runtime is asked by CRI, a " \
    "name or NAMESPACE/POD/CONTAINER. Containers of containerd, CRI-O, Docker, podman, runc " \
    "and crun are found."

static const struct option_definition checkpoint_options[] = {
    {.name = "container",
     .letter = 'c',
     .value = "NAME",
     .type = VALUE_TEXT,
     .help = "A running container",
     .more = CONTAINER_MORE " Beside its processes, changed files and the contents of its tmpfs "
                            "mounts are saved; volumes are not.",
     .example = "snapshotctl checkpoint --container web --id web"},
    OPTION_RUNTIME("checkpoint --container web"),
    OPTION_RUNTIME_STATE("checkpoint --container web"),
    {.name = "exclude",
     .value = "PATTERN",
     .type = VALUE_TEXT,
     .repeats = true,
     .help = "Changed files of a container to leave out",
     .more = "A pattern with a slash is for whole paths (\"/var/cache/*\"), one without for names "
             "(\"*.pyc\"). What is left out is as in the image after a restore.",
     .example = "snapshotctl checkpoint --container web --exclude __pycache__"},
    {.name = "no-rootfs",
     .type = VALUE_FLAG,
     .help = "Leave all changed files of a container out",
     .more = "For containers whose root is no overlay, or that change nothing that matters.",
     .example = "snapshotctl checkpoint --container web --no-rootfs"},
    {.name = "pid",
     .letter = 'p',
     .value = "PID",
     .type = VALUE_PID,
     .completion = COMPLETE_PID,
     .help = "The root of a process tree that was not started by `snapshotctl run`",
     .more = "The process and all its descendants are saved. Not every such tree can be: "
             "`snapshotctl preflight --pid PID` tells.",
     .example = "snapshotctl checkpoint --pid 4711 --id service"},
    {.name = "id",
     .value = "ID",
     .type = VALUE_NAME,
     .completion = COMPLETE_SNAPSHOT,
     .help = "What to call the snapshot",
     .more = "The default is the name of the workload. When the id exists, a new version is "
             "added to it and older ones stay.",
     .example = "snapshotctl checkpoint llama --id llama-warm"},
    {.name = "leave-running",
     .type = VALUE_FLAG,
     .help = "Let the workload go on afterwards",
     .more = "Without it the workload ends once its snapshot is safely published. When anything "
             "fails before that, it goes on either way.",
     .example = "snapshotctl checkpoint llama --leave-running"},
    {.name = "tcp",
     .value = "WHAT",
     .type = VALUE_WORD,
     .initial = "keep",
     .words = "keep|close|refuse",
     .completion = COMPLETE_WORDS,
     .help = "What to do with established TCP connections",
     .more =
         "keep: their state is saved; those whose both ends are in the workload come back, others "
         "go on if the peer still waits at restore. close: they are closed in the restored "
         "workload. refuse: no checkpoint while there are any. Listening sockets are always "
         "saved.",
     .example = "snapshotctl checkpoint llama --tcp close"},
    {.name = "timeout",
     .letter = 't',
     .value = "SECONDS",
     .type = VALUE_DURATION,
     .initial = "60",
     .help = "How long locking and freezing it may take; else it goes on",
     .example = "snapshotctl checkpoint llama --timeout 90s"},
    {.name = "keep-logs",
     .type = VALUE_FLAG,
     .help = "Keep CRIU's logs when it worked, too",
     .more = "They are always kept when something failed; the error says where.",
     .example = "snapshotctl checkpoint llama --keep-logs"},
    {.name = "ghost-limit",
     .value = "BYTES",
     .type = VALUE_BYTES,
     .initial = "1G",
     .help = "Largest deleted file, still open, that is saved with the snapshot",
     .more = "A file that was deleted while a process has it open exists nowhere else, so its "
             "contents must go into the snapshot. Above this size the checkpoint is refused.",
     .example = "snapshotctl checkpoint llama --ghost-limit 1G"},
    END_OF_OPTIONS,
};

static const struct option_definition restore_options[] = {
    {.name = "container",
     .letter = 'c',
     .value = "NAME",
     .type = VALUE_TEXT,
     .help = "The running container to restore into",
     .more = CONTAINER_MORE " It should be of the image that the snapshot was taken of, with the "
                            "same volumes, and its command should only sleep.",
     .example = "snapshotctl restore web --container web-2"},
    {.name = "container-pid",
     .value = "PID",
     .type = VALUE_PID,
     .completion = COMPLETE_PID,
     .help = "The same, by the container's first process",
     .more = "For containers of any runtime, by the process id that the host sees.",
     .example = "snapshotctl restore web --container-pid 4711"},
    {.name = "here",
     .type = VALUE_FLAG,
     .help = "Restore into the container that this command itself runs in",
     .more = "For a privileged container whose first process waits, such as restore-entrypoint(1), "
             "which does all of this by itself. No agent and nothing on the host is needed.",
     .example = "snapshotctl --root /checkpoints restore web --here"},
    OPTION_RUNTIME("restore web --container web-2"),
    OPTION_RUNTIME_STATE("restore web --container web-2"),
    {.name = "any-image",
     .type = VALUE_FLAG,
     .help = "Restore into a container of another image, too",
     .more = "Programs and libraries are mapped from the image's files, so another build of them "
             "usually ends the restore, or the program. Asked for where the runtime tells digests "
             "(--container by CRI).",
     .example = "snapshotctl restore web --container web-2 --any-image"},
    {.name = "name",
     .letter = 'n',
     .value = "NAME",
     .type = VALUE_NAME,
     .help = "What to call the restored workload",
     .more = "The default is the name that it had; a number is added when that one still runs.",
     .example = "snapshotctl restore llama --name llama-2 --detach"},
    {.name = "detach",
     .letter = 'd',
     .type = VALUE_FLAG,
     .help = "Return when it runs again and print its name",
     .more = "Without it, snapshotctl waits, passes signals on, and ends with the workload's exit "
             "status.",
     .example = "snapshotctl restore llama --detach"},
    {.name = "pids",
     .value = "WHICH",
     .type = VALUE_WORD,
     .words = "same|new",
     .completion = COMPLETE_WORDS,
     .help = "Process ids: the same on the machine, or a new pid namespace",
     .more = "The processes always see the ids that they had. new (the default for workloads that "
             "had a pid namespace of their own) puts them into a new namespace, so that several "
             "copies can run; same needs the ids to be free on this machine.",
     .example = "snapshotctl restore service --pids same"},
    {.name = "network",
     .value = "WHICH",
     .type = VALUE_WORD,
     .initial = "host",
     .words = "host|own",
     .completion = COMPLETE_WORDS,
     .help = "The machine's network, or a network of its own",
     .more = "own makes an empty network namespace with a loopback interface: listening sockets "
             "come back even when their ports are taken on the machine.",
     .example = "snapshotctl restore llama --network own --name copy --detach"},
    {.name = "tcp",
     .value = "WHAT",
     .type = VALUE_WORD,
     .words = "keep|close",
     .completion = COMPLETE_WORDS,
     .help = "What to do with saved TCP connections",
     .more =
         "The default is what the checkpoint said. close: they are closed. keep: they go on, when "
         "they were saved, the address is here and the peer still waits.",
     .example = "snapshotctl restore llama --tcp keep"},
    {.name = "device-map",
     .value = "OLD=NEW,...",
     .type = VALUE_TEXT,
     .help = "Which GPU takes the place of which, by UUID",
     .more = "Every GPU of the snapshot needs a place. The default maps GPUs of the same model "
             "in their order. `snapshotctl inspect ID` shows the old UUIDs, `nvidia-smi -L` the "
             "new ones.",
     .example = "snapshotctl restore llama --device-map GPU-8c1f...=GPU-77e0..."},
    {.name = "no-verify",
     .type = VALUE_FLAG,
     .help = "Do not check the snapshot's checksums",
     .more = "Saves little time, as bulk data is checked while it is read. A damaged snapshot "
             "then restores to a process with wrong memory.",
     .example = "snapshotctl restore llama --no-verify"},
    {.name = "timeout",
     .letter = 't',
     .value = "SECONDS",
     .type = VALUE_DURATION,
     .initial = "600",
     .help = "Give up after this long; nothing half-restored is left",
     .example = "snapshotctl restore llama --timeout 60"},
    {.name = "marker",
     .value = "FILE",
     .type = VALUE_TEXT,
     .help = "A file that tells the processes in a container that they are restored ones",
     .more = "Its path as they see it, beginning with a slash. It holds the word `restored` and is "
             "there before any of them goes on. Only for a restore into a container.",
     .example = "snapshotctl restore web --container web-2 --marker /tmp/dynamo-restored"},
    {.name = "logs",
     .value = "DIR",
     .type = VALUE_TEXT,
     .completion = COMPLETE_DIRECTORY,
     .help = "Where CRIU works and writes its logs, in a directory .logs",
     .more = "The default is the store itself, which has to be writable for that.",
     .example = "snapshotctl --root /checkpoints restore web --here --logs /tmp"},
    {.name = "criu-log",
     .value = "FILE",
     .type = VALUE_TEXT,
     .completion = COMPLETE_FILE,
     .help = "Copy CRIU's log to this file, whether it worked or not",
     .example = "snapshotctl restore llama --criu-log /tmp/criu-restore.log"},
    {.name = "criu-log-level",
     .value = "LEVEL",
     .type = VALUE_WORD,
     .initial = "2",
     .words = "0|1|2|3|4",
     .completion = COMPLETE_WORDS,
     .help = "How much CRIU writes to its log",
     .more = "1: errors, 2: warnings too, 3: what it does, 4: everything.",
     .example = "snapshotctl restore llama --criu-log-level 4 --criu-log /tmp/criu.log"},
    END_OF_OPTIONS,
};

static const struct option_definition logs_options[] = {
    {.name = "follow",
     .letter = 'f',
     .type = VALUE_FLAG,
     .help = "Go on printing as the workload writes, until it ends",
     .example = "snapshotctl logs llama --follow"},
    END_OF_OPTIONS,
};

static const struct option_definition stop_options[] = {
    {.name = "timeout",
     .letter = 't',
     .value = "SECONDS",
     .type = VALUE_DURATION,
     .initial = "10",
     .help = "How long to wait after SIGTERM before SIGKILL",
     .example = "snapshotctl stop llama --timeout 30"},
    END_OF_OPTIONS,
};

static const struct option_definition inspect_options[] = {
    {.name = "html",
     .value = "FILE",
     .type = VALUE_TEXT,
     .completion = COMPLETE_FILE,
     .help = "Write a self-contained page instead; - is standard output",
     .more = "Process tree, sizes, how long each phase took, and all files. It needs no network "
             "and no script.",
     .example = "snapshotctl inspect llama --html llama.html"},
    END_OF_OPTIONS,
};

static const struct option_definition delete_options[] = {
    {.name = "all-versions",
     .type = VALUE_FLAG,
     .help = "Delete every version of the snapshot",
     .more = "Needed when ID names no version and there is more than one.",
     .example = "snapshotctl delete llama --all-versions"},
    END_OF_OPTIONS,
};

static const struct option_definition gc_options[] = {
    {.name = "keep",
     .value = "N",
     .type = VALUE_NUMBER,
     .help = "Delete all but the newest N versions of each snapshot",
     .example = "snapshotctl gc --keep 3"},
    {.name = "older-than",
     .value = "DURATION",
     .type = VALUE_DURATION,
     .help = "Delete versions older than this",
     .more = "With --keep, only what is both old and not among the newest N goes.",
     .example = "snapshotctl gc --keep 1 --older-than 14d"},
    {.name = "dry-run",
     .type = VALUE_FLAG,
     .help = "Only say what would be deleted",
     .example = "snapshotctl gc --keep 1 --dry-run"},
    END_OF_OPTIONS,
};

static const struct option_definition doctor_options[] = {
    {.name = "speed",
     .type = VALUE_FLAG,
     .help = "Measure how fast the snapshot directory can be written and read",
     .more = "Writes and reads 256 MiB in a temporary file below --root, past the page cache "
             "where the file system allows it.",
     .example = "snapshotctl doctor --speed"},
    END_OF_OPTIONS,
};

static const struct option_definition preflight_options[] = {
    {.name = "pid",
     .letter = 'p',
     .value = "PID",
     .type = VALUE_PID,
     .completion = COMPLETE_PID,
     .help = "The root of a process tree that was not started by `snapshotctl run`",
     .example = "snapshotctl preflight --pid 4711"},
    {.name = "container",
     .letter = 'c',
     .value = "NAME",
     .type = VALUE_TEXT,
     .help = "A running container",
     .more = CONTAINER_MORE,
     .example = "snapshotctl preflight --container web"},
    OPTION_RUNTIME("preflight --container web"),
    OPTION_RUNTIME_STATE("preflight --container web"),
    {.name = "no-rootfs",
     .type = VALUE_FLAG,
     .help = "As for checkpoint: changed files would be left out"},
    {.name = "tcp",
     .value = "WHAT",
     .type = VALUE_WORD,
     .initial = "keep",
     .words = "keep|close|refuse",
     .completion = COMPLETE_WORDS,
     .help = "As for checkpoint: what would be done with TCP connections",
     .example = "snapshotctl preflight llama --tcp close"},
    {.name = "ghost-limit",
     .value = "BYTES",
     .type = VALUE_BYTES,
     .initial = "1G",
     .help = "As for checkpoint: largest deleted file that would be saved",
     .example = "snapshotctl preflight llama --ghost-limit 1G"},
    {.name = "leave-running",
     .type = VALUE_FLAG,
     .help = "As for checkpoint: the workload would go on",
     .example = "snapshotctl preflight llama --leave-running"},
    END_OF_OPTIONS,
};

static const struct option_definition setup_options[] = {
    {.name = "force",
     .type = VALUE_FLAG,
     .help = "Fetch it again even when a current copy is there",
     .example = "snapshotctl setup --force"},
    END_OF_OPTIONS,
};

static const struct example run_examples[] = {
    {"snapshotctl run --name llama --detach -- python3 serve.py --port 8000",
     "Start a server in the background."},
    {"snapshotctl run -- ./train", "Run a program and wait for it; its exit status is passed on."},
    END_OF_EXAMPLES,
};

static const struct example checkpoint_examples[] = {
    {"snapshotctl checkpoint llama", "Save the workload 'llama' as snapshot 'llama' and end it."},
    {"snapshotctl checkpoint llama --leave-running", "The same, but it goes on."},
    {"snapshotctl checkpoint --pid 4711 --id service", "Save a process tree by its root process."},
    {"snapshotctl checkpoint --container web", "Save a container, of any runtime."},
    END_OF_EXAMPLES,
};

static const struct example restore_examples[] = {
    {"snapshotctl restore web --container web-2",
     "Bring a container's snapshot back in another, running one."},
    {"snapshotctl restore llama --detach", "Bring the newest version back, in the background."},
    {"snapshotctl restore llama@2 --name experiment --network own --detach",
     "Bring version 2 back next to others."},
    END_OF_EXAMPLES,
};

static const struct example ps_examples[] = {
    {"snapshotctl ps", "What runs now."},
    END_OF_EXAMPLES,
};

static const struct example logs_examples[] = {
    {"snapshotctl logs llama --follow", "Watch its output."},
    END_OF_EXAMPLES,
};

static const struct example stop_examples[] = {
    {"snapshotctl stop llama", "Ask it to end, and end it after 10 seconds."},
    END_OF_EXAMPLES,
};

static const struct example list_examples[] = {
    {"snapshotctl list", "All snapshots, with sizes and ages."},
    {"snapshotctl list llama", "Only the versions of one."},
    {OPTION_JSON_EXAMPLE, "The ids, for a script."},
    END_OF_EXAMPLES,
};

static const struct example inspect_examples[] = {
    {"snapshotctl inspect llama", "What is in the newest version."},
    {"snapshotctl inspect llama@2 --json", "The manifest of version 2, with the path."},
    {"snapshotctl inspect llama --html llama.html", "The same as a page."},
    END_OF_EXAMPLES,
};

static const struct example verify_examples[] = {
    {"snapshotctl verify llama", "Read everything once and compare checksums."},
    END_OF_EXAMPLES,
};

static const struct example delete_examples[] = {
    {"snapshotctl delete llama@1", "Delete one version."},
    {"snapshotctl delete llama --all-versions", "Delete all of it."},
    END_OF_EXAMPLES,
};

static const struct example gc_examples[] = {
    {"snapshotctl gc --dry-run", "Show what an interrupted capture or delete has left."},
    {"snapshotctl gc --keep 2 --older-than 30d", "Keep the newest two and all of this month."},
    END_OF_EXAMPLES,
};

static const struct example doctor_examples[] = {
    {"snapshotctl doctor", "Check everything."},
    {"snapshotctl doctor --speed --json", "The same with disk speed, for a script."},
    END_OF_EXAMPLES,
};

static const struct example preflight_examples[] = {
    {"snapshotctl preflight llama", "Look at a workload without touching it."},
    END_OF_EXAMPLES,
};

static const struct example explain_examples[] = {
    {"snapshotctl explain criu-missing", "Why this happens and what to do."},
    {"snapshotctl explain", "All codes."},
    END_OF_EXAMPLES,
};

static const struct example setup_examples[] = {
    {"snapshotctl setup", "Fetch CRIU, where the system's does not work or is not there."},
    END_OF_EXAMPLES,
};

static const struct example completion_examples[] = {
    {"source <(snapshotctl completion bash)",
     "For this bash. Put the line into ~/.bashrc to stay."},
    {"snapshotctl completion zsh > \"${fpath[1]}/_snapshotctl\"", "For zsh."},
    {"snapshotctl completion fish > ~/.config/fish/completions/snapshotctl.fish", "For fish."},
    END_OF_EXAMPLES,
};

static const struct example help_examples[] = {
    {"snapshotctl help checkpoint", "The same as `snapshotctl checkpoint --help`."},
    END_OF_EXAMPLES,
};

#define OPERAND_WORKLOAD_OR_PID                                                                   \
    {                                                                                             \
        .name = "NAME", .minimum = 0, .maximum = 1, .completion = COMPLETE_WORKLOAD, .instead = { \
            "pid",                                                                                \
            "container"                                                                           \
        }                                                                                         \
    }
#define OPERAND_WORKLOAD                                                            \
    {                                                                               \
        .name = "NAME", .minimum = 1, .maximum = 1, .completion = COMPLETE_WORKLOAD \
    }
#define OPERAND_SNAPSHOT                                                                    \
    {                                                                                       \
        .name = "ID[@VERSION]", .minimum = 1, .maximum = 1, .completion = COMPLETE_SNAPSHOT \
    }

const struct command commands[] = {
    {.name = "run",
     .summary = "Start a workload so that it can be snapshotted best",
     .description =
         "Starts a program with what makes its snapshots work everywhere: process ids of its own, "
         "a private /dev/shm, output in a log file, no io_uring. Everything the program starts "
         "belongs to the workload, which lasts until the last of it has ended. A signal that "
         "snapshotctl is sent goes to the program alone.\n\n"
         "Options stand before the program; everything from the program's name on belongs to it.",
     .options = run_options,
     .operand = {.name = "COMMAND",
                 .minimum = 1,
                 .maximum = (size_t)-1,
                 .completion = COMPLETE_PROGRAM,
                 .ends_options = true},
     .examples = run_examples,
     .exits = run_exits,
     .passes_status = true,
     .needs_root = true,
     .handler = command_run},
    {.name = "checkpoint",
     .summary = "Save a running workload as a snapshot",
     .description =
         "Freezes the process tree, saves its processes, memory, open files and GPU state, checks "
         "what was written and publishes it in one step. Until then nothing is final: when "
         "anything fails, the workload goes on as if nothing had happened, and no half "
         "snapshot is left.\n\n"
         "The workload ends afterwards, unless --leave-running is given.",
     .options = checkpoint_options,
     .operand = OPERAND_WORKLOAD_OR_PID,
     .examples = checkpoint_examples,
     .exits = checkpoint_exits,
     .needs_root = true,
     .handler = command_checkpoint},
    {.name = "restore",
     .summary = "Bring a snapshot back to life",
     .description =
         "Checks the snapshot and this machine first, then brings the processes back as they "
         "were: same memory, same open files, same GPU state. It works more than once, next to "
         "other copies, and after a restart of the machine. A failed restore leaves nothing "
         "running.\n\n"
         "Without a version, the newest one is taken.",
     .options = restore_options,
     .operand = OPERAND_SNAPSHOT,
     .examples = restore_examples,
     .exits = restore_exits,
     .passes_status = true,
     .needs_root = true,
     .handler = command_restore},
    {.name = "ps",
     .summary = "List running workloads",
     .description = "Workloads that `run` and `restore` have started below the same --root.",
     .examples = ps_examples,
     .handler = command_ps},
    {.name = "logs",
     .summary = "Print what a workload has written",
     .description = "Standard output and standard error of a workload with --stdio log, across "
                    "its checkpoints and restores.",
     .options = logs_options,
     .operand = OPERAND_WORKLOAD,
     .examples = logs_examples,
     .handler = command_logs},
    {.name = "stop",
     .summary = "End a workload",
     .description = "Sends SIGTERM to its first process, waits, and then ends the whole tree with "
                    "SIGKILL. Its snapshots stay.",
     .options = stop_options,
     .operand = OPERAND_WORKLOAD,
     .examples = stop_examples,
     .needs_root = true,
     .handler = command_stop},
    {.name = "list",
     .summary = "List snapshots",
     .description = "Every version of every snapshot below --root, damaged ones too.",
     .operand = {.name = "ID", .minimum = 0, .maximum = 1, .completion = COMPLETE_SNAPSHOT},
     .examples = list_examples,
     .handler = command_list},
    {.name = "inspect",
     .summary = "Show what is in a snapshot",
     .description = "Where and when it was taken, its processes, GPUs, sizes and the time of each "
                    "phase. With --json the whole manifest, with the path on disk added.",
     .options = inspect_options,
     .operand = OPERAND_SNAPSHOT,
     .examples = inspect_examples,
     .exits = snapshot_exits,
     .handler = command_inspect},
    {.name = "verify",
     .summary = "Check every byte of a snapshot",
     .description = "Reads all files and compares them with the checksums taken when they were "
                    "written. Lists each file that is damaged, missing, of the wrong size, or "
                    "does not belong there.",
     .operand = OPERAND_SNAPSHOT,
     .examples = verify_examples,
     .exits = snapshot_exits,
     .handler = command_verify},
    {.name = "delete",
     .summary = "Delete a snapshot",
     .description = "Removes one version, or all with --all-versions. A snapshot that is being "
                    "restored is not deleted.",
     .options = delete_options,
     .operand = OPERAND_SNAPSHOT,
     .examples = delete_examples,
     .handler = command_delete},
    {.name = "gc",
     .summary = "Remove leftovers and old snapshots",
     .description = "Removes what captures and deletes that were interrupted have left. With "
                    "--keep or --older-than it removes old versions as well; without them no "
                    "snapshot is touched. Damaged snapshots are never chosen: delete them by name.",
     .options = gc_options,
     .examples = gc_examples,
     .handler = command_gc},
    {.name = "doctor",
     .summary = "Check whether this machine is able, and what to do",
     .description = "Looks at the kernel, CRIU, rights, memory, disk and GPUs by trying things "
                    "rather than by comparing version numbers, changes nothing, and says for each "
                    "problem why it matters and what to do.",
     .options = doctor_options,
     .examples = doctor_examples,
     .exits = doctor_exits,
     .handler = command_doctor},
    {.name = "preflight",
     .summary = "Check whether a running workload can be snapshotted",
     .description = "Looks at a live process tree from outside, without stopping it, for "
                    "everything that would make a checkpoint fail or a restore go wrong.",
     .options = preflight_options,
     .operand = OPERAND_WORKLOAD_OR_PID,
     .examples = preflight_examples,
     .exits = preflight_exits,
     .handler = command_preflight},
    {.name = "explain",
     .summary = "Explain an error or finding by its code",
     .description = "Prints what a code means, why it happens and what to do. Without a code, "
                    "lists all of them.",
     .operand = {.name = "CODE", .minimum = 0, .maximum = 1, .completion = COMPLETE_CODE},
     .examples = explain_examples,
     .handler = command_explain},
    {.name = "setup",
     .summary = "Fetch a private copy of CRIU",
     .description = "Fetches a CRIU that works with recent kernels into a directory of its own. "
                    "Nothing of the system is installed, upgraded or configured. Not needed where "
                    "`snapshotctl doctor` is content with the CRIU that it finds.",
     .options = setup_options,
     .examples = setup_examples,
     .handler = command_setup},
    {.name = "completion",
     .summary = "Print a completion script for a shell",
     .description = "The script asks snapshotctl for candidates, so commands, options, snapshots, "
                    "workloads and codes are always current.",
     .operand = {.name = "SHELL",
                 .minimum = 1,
                 .maximum = 1,
                 .completion = COMPLETE_WORDS,
                 .words = "bash|zsh|fish"},
     .examples = completion_examples,
     .handler = command_completion},
    {.name = "help",
     .summary = "Explain a command",
     .description = "Without a command, an overview.",
     .operand = {.name = "COMMAND", .minimum = 0, .maximum = 1, .completion = COMPLETE_COMMAND},
     .examples = help_examples,
     .handler = command_help},
    {.name = "__complete",
     .hidden = true,
     .summary = "Completion candidates for the words of a command line",
     .operand = {.name = "WORD", .minimum = 0, .maximum = (size_t)-1, .ends_options = true},
     .handler = command_complete},
    {.name = "__manual",
     .hidden = true,
     .summary = "The manual's reference of commands, in mdoc(7)",
     .handler = command_manual},
    {.name = NULL},
};
