# SPDX-License-Identifier: Apache-2.0
"""Settings of the kernel that a kubelet changes for the whole machine: as they were, once the last
cluster is down."""
import json
import pathlib

import machine

FILE = "settings.json"
NAMES = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
         "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "net/netfilter/nf_conntrack_max")


def remember(directory):
    """Of clusters side by side, the first one has seen them as they were."""
    for other in sorted(pathlib.Path(directory).parent.glob(f"stasis-*.cluster/{FILE}")):
        text = machine.read(other)
        if text:
            break
    else:
        text = json.dumps({name: machine.read(f"/proc/sys/{name}").strip() for name in NAMES})
    (pathlib.Path(directory) / FILE).write_text(text)


def restore(directory):
    text = machine.read(pathlib.Path(directory) / FILE)
    for name, value in json.loads(text or "{}").items():
        path = pathlib.Path("/proc/sys", name)
        if value and machine.read(path).strip() != value:
            try:
                path.write_text(value)
            except OSError:
                pass  # not ours to change here, so it was not changed either
