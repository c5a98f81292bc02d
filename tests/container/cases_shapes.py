# SPDX-License-Identifier: Apache-2.0
"""Containers of every shape, and what is refused."""
import errno
import os
import subprocess

import bed
import machine
from cases_matrix import runtime_of
from lab import Counting, Restored, expect, expect_equal, inside, mounts_seen_by

COUNTER = ["sh", "-c", inside("counter.sh")]
# What of the workloads has to do with what is around a process, in an image with nothing else.
KINDS = ("aio", "children", "deleted-directory", "deleted-file", "epoll", "eventfd",
         "fifo", "file-locks", "files", "link-remap", "many-descriptors", "memfd",
         "mmap-file", "orphans", "pipes", "posix-semaphore", "posix-shm", "posix-timers",
         "process-groups", "pty", "scm-rights", "sessions", "signalfd", "sysv-msg", "sysv-sem",
         "sysv-shm", "tcp-listener", "tcp-loopback", "threads", "timerfd", "udp", "unix-abstract",
         "unix-dgram", "unix-seqpacket", "unix-stream", "vdso-clock")
ELSEWHERE = ("files", "fifo", "inotify", "unix-stream")


def usual(case):
    return case.lab.containerd("1.7", "runc")


def workload(kind, directory="/tmp"):
    return ["/bin/workload", kind, "--dir", directory]


def start(case, runtime, image, command, **options):
    source = case.run(runtime, image, command, **options)
    try:
        source.wait_text("ready")
    except machine.Failure:
        if "skip: " in source.text():
            raise bed.Unavailable(source.text().partition("skip: ")[2].strip()) from None
        raise
    return source, Counting(source.pid, source)


def there_and_back(case, runtime, image, command, target_command, **options):
    """Captured twice, restored once, and the restored one, which counts on."""
    source, counting = start(case, runtime, image, command, **options)
    counting.expect_count(1)
    case.checkpoint(source, "one", "--leave-running")
    counting.expect_count(2)
    case.checkpoint_and_end(source)
    target = case.target(runtime, image, target_command, **options)
    copy = case.restore_counting(target)
    copy.expect_count(3)
    copy.expect_count(4)
    return target, copy


def counter(case, runtime, image="busybox", **options):
    return there_and_back(case, runtime, image, COUNTER, ["sleep", "1000000"], **options)


def test_kind(case, kind):
    there_and_back(case, usual(case), "distroless", workload(kind), workload("heap-stack"))


def test_kind_elsewhere(case, kind, place):
    """In a volume (which the target has, too), or in a tmpfs of the container's own."""
    options = {"mounts": [(case.volume(), "/place")]} if place == "volume" else {"tmpfs": ["/place"]}
    there_and_back(case, usual(case), "distroless", workload(kind, "/place"),
                   workload("heap-stack"), **options)


# Shapes


def test_read_only(case, kind):
    there_and_back(case, usual(case), "distroless", workload(kind), workload("heap-stack"),
                   read_only=True, tmpfs=["/tmp"])


def test_sixty_layers(case):
    containerd = case.lab.containerd("1.7", "runc", root_length=bed.LONG_ROOT)
    target, copy = counter(case, containerd, "sixty-layers")
    for pid in (target.pid, copy.pid):
        longest = max(map(len, machine.read(f"/proc/{pid}/mountinfo").splitlines()))
        expect(longest > 4095, f"a line of more than 4095 characters, seen {longest}")


def test_user_namespace(case, kind, oci_runtime):
    runtime = runtime_of(case.lab, kind, oci_runtime)
    target, copy = counter(case, runtime, userns=True)
    expect_equal(os.readlink(f"/proc/{copy.pid}/ns/user"),
                 os.readlink(f"/proc/{target.pid}/ns/user"), "the target's user namespace")
    expect_equal(os.stat(f"/proc/{copy.pid}").st_uid, 100000, "the owner")


def test_user(case):
    _, copy = counter(case, usual(case), user="1000:1000")
    expect_equal(os.stat(f"/proc/{copy.pid}").st_uid, 1000, "the owner")


def test_terminal(case):
    runtime = usual(case)
    counter(case, runtime, terminal=True)
    plain = case.target(runtime, "busybox")
    case.product.refused("target-terminal", "restore", "one", "--container-pid", plain.pid)


def status_of(pid):
    lines = machine.read(f"/proc/{pid}/status").splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {key: fields[key].strip() for key in (
        "Seccomp", "Seccomp_filters", "NoNewPrivs", "CapBnd", "CapEff", "CapPrm", "CapInh",
        "CapAmb", "Groups") if key in fields}


def test_rights(case):
    target, copy = counter(case, usual(case), no_new_privileges=True)
    seen = status_of(copy.pid)
    expect_equal((seen["Seccomp"], seen["NoNewPrivs"]), ("2", "1"), "a filter, no new privileges")
    expect_equal(seen, status_of(target.pid), "the target's rights")


def test_more_rights(case):
    """A source that may do more than its target is not restored there."""
    runtime = usual(case)
    for options in ({"caps": ["CAP_SYS_ADMIN"]}, {"seccomp": False}):
        name = "-".join(options)
        source, counting = start(case, runtime, "busybox", COUNTER, **options)
        counting.expect_count(1)
        case.checkpoint_and_end(source, name)
        target = case.target(runtime, "busybox")
        case.product.refused("target-privileges", "restore", name, "--container-pid", target.pid)


def refusal_to_write(path):
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        return errno.errorcode[error.errno]
    return None


def test_masks(case):
    target, copy = counter(case, usual(case))
    # The target's own /proc is still there, below the new one, and is listed as well.
    here, there = (sorted(set(mounts_seen_by(pid, "/proc/"))) for pid in (target.pid, copy.pid))
    expect(len(here) > 5, f"masked paths, seen {here}")
    expect_equal(there, here, "what is mounted below /proc")
    here, there = (mounts_seen_by(pid, "/sys") for pid in (target.pid, copy.pid))
    expect_equal(there, here, "what is mounted below /sys")
    root = f"/proc/{copy.pid}/root/proc"
    for name in ("irq/default_smp_affinity", "sys/kernel/domainname", "bus/new"):
        expect(refusal_to_write(f"{root}/{name}") in ("EROFS", "ENOENT"), f"no writing of {name}")
        expect(os.statvfs(f"{root}/{name.split('/')[0]}").f_flag & os.ST_RDONLY, f"a {name} to read")
    expect_equal(os.stat(f"{root}/timer_list").st_rdev, os.makedev(1, 3), "what hides timer_list")
    # It is the /proc of its own processes: the first one is the restored one.
    expect_equal(machine.read(f"{root}/1/comm"), machine.read(f"/proc/{copy.pid}/comm"), "process 1")


def test_exec(case):
    """A session from outside is refused, a probe is waited for."""
    source, counting = start(case, usual(case), "busybox", COUNTER)
    session = start_exec(source, "sleep", "1000")
    case.product.refused("left-behind", "checkpoint", "--pid", source.pid, "--id", "one")
    counting.expect_count(1)
    session.terminate()
    session.wait(30)
    for pid in others_in(source):
        os.kill(pid, 9)
    machine.wait_until(lambda: not others_in(source), "the end of the session")
    probe = start_exec(source, "sleep", "1.5")
    case.checkpoint(source, "one", "--leave-running")
    probe.wait(30)
    counting.expect_count(2)
    copy = case.restore_counting(case.target(usual(case), "busybox"))
    copy.expect_count(2)


def start_exec(container, *command):
    """Runs a program in a container, and waits until it is there."""
    before = others_in(container)
    runtime = container.runtime
    started = subprocess.Popen(
        [os.path.join(runtime.folder, "ctr"), "--address", runtime.socket, "--namespace",
         runtime.namespace, "tasks", "exec", "--exec-id", f"exec-{os.getpid()}-{id(command)}",
         container.id, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env=runtime.environment)
    machine.wait_until(lambda: others_in(container) - before or started.poll() is not None,
                       "a program in the container")
    return started


def others_in(container):
    """Processes of its pid namespace that are there by exec."""
    space = os.readlink(f"/proc/{container.pid}/ns/pid")
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/ns/pid") == space and \
                    machine.read(f"/proc/{name}/cmdline").startswith("sleep\0") and \
                    "sleep\x001000\0" in machine.read(f"/proc/{name}/cmdline") + "\0":
                found.add(int(name))
        except OSError:
            continue
    children = machine.read(f"/proc/{container.pid}/task/{container.pid}/children").split()
    for child in children:
        found -= set(map(int, machine.read(f"/proc/{child}/task/{child}/children").split()))
    return found


def test_missing_volume(case):
    volume = case.volume(old="old\n")
    runtime = usual(case)
    source, counting = start(case, runtime, "busybox", COUNTER, mounts=[(volume, "/volume")],
                             env={"KEEP": "/volume/log"})
    counting.expect_count(1)
    case.checkpoint_and_end(source)
    bare = case.target(runtime, "busybox")
    case.product.refused("mount-missing", "restore", "one", "--container-pid", bare.pid)
    copy = case.restore_counting(case.target(runtime, "busybox", mounts=[(volume, "/volume")]))
    copy.expect_count(2)


def test_linked_in_volume(case):
    """Open by a name that is gone: what a volume has is not in the snapshot, and it stays as is."""
    volume = case.volume()
    source, counting = start(case, usual(case), "distroless", workload("link-remap", "/place"),
                             mounts=[(volume, "/place")])
    before = sorted(os.listdir(volume))
    case.product.refused("volume-deleted-name", "checkpoint", "--pid", source.pid, "--id", "one")
    expect_equal(sorted(os.listdir(volume)), before, "the volume")
    counting.expect_count(1)
    expect_equal(case.product.versions(), [], "snapshots")


def test_no_container(case):
    source, _ = start(case, usual(case), "busybox", COUNTER)
    case.checkpoint_and_end(source)
    case.product.refused("needs-container", "restore", "one", "--detach")
    case.product.refused("target-unfit", "restore", "one", "--container-pid", os.getpid())


def test_generations(case):
    """What was restored is captured again, and restored again, and once more."""
    runtime = usual(case)
    source, counting = start(case, runtime, "busybox", COUNTER)
    counting.expect_count(1)
    case.checkpoint_and_end(source)
    for number in (2, 5):
        target = case.target(runtime, "busybox")
        copy = case.restore_counting(target)
        copy.expect_count(number)
        case.checkpoint(target, "one", "--leave-running")
        copy.expect_count(number + 1)
        beside = case.restore_counting(case.target(runtime, "busybox"))
        beside.expect_count(number + 1)
        copy.expect_count(number + 2)
        case.checkpoint(target, "one")
        machine.wait_until(lambda pid=copy.pid: not machine.alive(pid), "the end of the restored")
        expect(target.alive(), "the target's own command to go on")


def test_by_name(case):
    """The runtime's own names of containers, instead of process ids."""
    runtime = usual(case)
    state = ["--runtime-state", runtime.oci_root / runtime.namespace]
    source, counting = start(case, runtime, "busybox", COUNTER)
    counting.expect_count(1)
    case.product.must("checkpoint", "--container", source.id, "--id", "one", *state)
    target = case.target(runtime, "busybox")
    answer = case.product.must("restore", "one", "--container", target.id, *state).json()
    Counting(answer["pid"], target).expect_count(2)
    case.restored.append(Restored(answer["pid"], answer["container_pid"], target))


def test_watch(case):
    runtime = usual(case)
    source, counting = start(case, runtime, "distroless", workload("inotify"))
    told = case.product.must("preflight", "--pid", source.pid)
    expect("watch-on-overlay" in told.output, f"expected a warning, seen {told}")
    case.product.refused("watch-on-overlay", "checkpoint", "--pid", source.pid, "--id", "one")
    counting.expect_count(1)


def cases(kinds):
    for kind in KINDS:
        if kind in kinds:
            yield f"distroless: {kind}", test_kind, kind
    for kind in ("posix-shm", "posix-semaphore"):
        yield f"read-only root, tmpfs: {kind}", test_read_only, kind
    yield "sixty layers", test_sixty_layers
    for kind in ELSEWHERE:
        for place in ("volume", "tmpfs"):
            yield f"distroless, in a {place}: {kind}", test_kind_elsewhere, kind, place
    yield "distroless, in a tmpfs: link-remap", test_kind_elsewhere, "link-remap", "tmpfs"
    yield "a file of a volume by a name that is gone", test_linked_in_volume
    for names in (("containerd 1.7", "runc"), ("containerd 2.1", "crun"), ("podman", "crun")):
        yield f"user namespace, {' '.join(names)}", test_user_namespace, *names
    yield "what is watched in the image", test_watch
    yield "a user that is not root", test_user
    yield "terminal, and a target without", test_terminal
    yield "seccomp and no new privileges", test_rights
    yield "a target with fewer rights", test_more_rights
    yield "masked and read-only paths of /proc", test_masks
    yield "a session by exec, and a probe", test_exec
    yield "a volume that the target lacks", test_missing_volume
    yield "a restore that names no container", test_no_container
    yield "what was restored is captured again", test_generations
    yield "containers by name", test_by_name
