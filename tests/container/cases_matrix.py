# SPDX-License-Identifier: Apache-2.0
"""The same small container of every runtime, restored in its own kind and in the next one."""
import bed
from lab import Counting, inside

RUNTIMES = [*((f"containerd {version}", name) for version in bed.VERSIONS
              for name in bed.OCI_RUNTIMES), ("podman", "crun"), ("podman", "runc")]


def runtime_of(lab, kind, name):
    return lab.podman(name) if kind == "podman" else lab.containerd(kind.split()[1], name)


def test_pair(case, first, second):
    here, there = (runtime_of(case.lab, *names) for names in (first, second))
    source = case.run(here, "busybox", ["sh", "-c", inside("counter.sh")])
    source.wait_text("ready")
    counting = Counting(source.pid, source)
    counting.expect_count(1)
    case.checkpoint(source, "one", "--leave-running")
    counting.expect_count(2)
    case.checkpoint_and_end(source)
    for runtime in (here, there) if here is not there else (here,):
        # `ctr run` has a file system on /run, in which podman has changed files.
        start = case.target_pod if second[0] != "podman" == first[0] and runtime is there else \
            case.target
        copy = case.restore_counting(start(runtime, "busybox"))
        copy.expect_count(3)


def cases():
    for number, runtime in enumerate(RUNTIMES):
        following = RUNTIMES[(number + 1) % len(RUNTIMES)]
        yield f"{' '.join(runtime)}, there and into {' '.join(following)}", test_pair, runtime, \
            following
    yield "containerd 1.7 runc into podman crun", test_pair, ("containerd 1.7", "runc"), (
        "podman", "crun")
