# SPDX-License-Identifier: Apache-2.0
"""Small CUDA programs: the classic example, several processes, another GPU."""

import os
import pathlib
import re
import statistics

from classic import CudaCheckpoint
from harness import (Failure, Snapshotctl, gpu_minor, gpu_of, gpu_pids, gpu_uuids, phases_text,
                     process_exists, process_tree, udp_ask, udp_is_bound, wait_until)

COUNTER_PORT, PATTERN_PORT = 10000, 10010
START_UPS = 5
START_UP_LIMIT = 2.0  # seconds; a call that takes longer makes a script of several calls crawl
DAMAGED = 4  # exit status of verify


def start_counter(case, env, port):
    workload = case.start([env.program("counter"), port], f"counter-{port}.log")
    case.wait_for_start(workload, lambda: udp_is_bound(port), 40)
    return workload


def start_plain_pattern(case, env, port, mib):
    workload = case.start([env.program("pattern"), "--port", port, "--mib", mib],
                          f"pattern-{port}.log")
    case.wait_for_start(workload, lambda: udp_is_bound(port), 60)
    return workload


# --- the layouts that we declare ourselves -------------------------------------


def case_abi(case, env):
    program = case.folder / "abi"
    includes = [word for folder in env.cuda_includes() for word in ("-I", folder)]
    case.must([env.compiler(), "-D_GNU_SOURCE", "-std=gnu17", "-I", env.source / "src", *includes,
               env.here / "abi.c", "-o", program])
    done = case.run([program])
    case.check("layouts and numbers as in cuda.h", done.status == 0, " ".join(done.out.split()))


# --- cuda-checkpoint -----------------------------------------------------------


def case_counter(case, env):
    cuda = CudaCheckpoint(case, env.cuda_checkpoint)
    counter = start_counter(case, env, COUNTER_PORT)
    counter_with_criu(case, env, cuda, counter)
    counter_by_actions(case, cuda, counter.pid)
    counter_errors(case, cuda, counter.pid)
    counter_pair(case, env, cuda, counter.pid)
    lock_timeout(case, env, cuda)
    start_up_time(case, cuda, counter.pid)


def counter_with_criu(case, env, cuda, counter):
    """The vendor's example to the letter."""
    pid, demo = counter.pid, case.folder / "demo"
    case.equal("first answer", udp_ask(COUNTER_PORT, "hello"), "101")
    case.check("nvidia-smi shows it", pid in gpu_pids(), pid)
    cuda.toggle(pid)
    case.equal("state after toggle", cuda.state(pid), "checkpointed")
    case.check("nvidia-smi no longer shows it", pid not in gpu_pids(), pid)
    demo.mkdir()
    case.must([env.criu, "dump", "--shell-job", "--images-dir", demo, "--tree", pid])
    case.processes.wait(counter.child, 5)
    case.need("it is gone", not process_exists(pid), pid)
    case.must([env.criu, "restore", "--shell-job", "--restore-detached", "--images-dir", demo])
    case.processes.remember(pid)
    cuda.toggle(pid)
    case.equal("state after second toggle", cuda.state(pid), "running")
    case.equal("answer after restore", udp_ask(COUNTER_PORT, "hello"), "102")


def counter_by_actions(case, cuda, pid):
    tid = cuda.must("--get-restore-tid", "--pid", pid)
    case.check("restore tid is a thread of it", os.path.exists(f"/proc/{pid}/task/{tid}"), tid)
    cuda.action("lock", pid, "--timeout", "10000")
    case.equal("state after lock", cuda.state(pid), "locked")
    case.equal("no answer while locked", udp_ask(COUNTER_PORT, "hello", 0.5), None)
    cuda.action("checkpoint", pid)
    case.equal("state after checkpoint", cuda.state(pid), "checkpointed")
    cuda.action("restore", pid)
    case.equal("state after restore", cuda.state(pid), "locked")
    cuda.action("unlock", pid)
    case.equal("state after unlock", cuda.state(pid), "running")
    # 103 went to the packet that had to wait.
    case.equal("answer after unlock", udp_ask(COUNTER_PORT, "hello"), "104")
    cuda.action("lock", pid)
    cuda.action("checkpoint", pid)
    cuda.action("restore", pid, "--device-map", ",".join(f"{u}={u}" for u in gpu_uuids()))
    cuda.action("unlock", pid)
    case.equal("answer after an identity map", udp_ask(COUNTER_PORT, "hello"), "105")


def counter_errors(case, cuda, pid):
    other = case.start(["sleep", "300"], "sleep.log")
    ended = case.start(["true"], "true.log")
    case.processes.wait(ended.child, 10)
    for label, words in {
        "no CUDA, state": ("--get-state", "--pid", other.pid),
        "no CUDA, restore tid": ("--get-restore-tid", "--pid", other.pid),
        "no CUDA, toggle": ("--toggle", "--pid", other.pid),
        "ended process, state": ("--get-state", "--pid", ended.pid),
        "ended process, lock": ("--action", "lock", "--pid", ended.pid),
        "checkpoint without lock": ("--action", "checkpoint", "--pid", pid),
        "restore without checkpoint": ("--action", "restore", "--pid", pid),
        "unknown action": ("--action", "dance", "--pid", pid),
        "no pid": ("--toggle",),
    }.items():
        done = cuda.run(*words)
        case.check(f"refused: {label}", done.status != 0 and done.err.strip(), done.why)
    done = cuda.run("--action", "lock", "--pid", pid, "--pid", other.pid)
    case.check("refused: lock of two, one no CUDA", done.status != 0 and done.err.strip(), done.why)
    case.equal("state after all refusals", cuda.state(pid), "running")
    done = cuda.run("--help")
    case.check("--help", done.status == 0 and "--toggle" in done.out, f"status {done.status}")


def counter_pair(case, env, cuda, pid):
    """Several processes in one call."""
    second = start_counter(case, env, COUNTER_PORT + 1)
    both = ("--pid", pid, "--pid", second.pid)
    case.equal("second counter", udp_ask(COUNTER_PORT + 1, "hello"), "101")
    case.equal("states of two in one call", cuda.must("--get-state", *both).splitlines(),
               [f"{each}: running" for each in (pid, second.pid)])
    cuda.must("--toggle", *both)
    case.equal("two checkpointed in one call", [cuda.state(pid), cuda.state(second.pid)],
               ["checkpointed"] * 2)
    cuda.must("--toggle", *both)
    case.equal("two running again", [udp_ask(COUNTER_PORT, "hello"),
                                     udp_ask(COUNTER_PORT + 1, "hello")], ["106", "102"])
    case.processes.end(second.pid)


def lock_timeout(case, env, cuda):
    """A lock waits for the kernel that runs, but no longer than it was told to."""
    pattern = start_plain_pattern(case, env, PATTERN_PORT, 64)
    case.equal("a kernel of 4 s runs", udp_ask(PATTERN_PORT, "spin 4000"), "spinning")
    done = cuda.run("--action", "lock", "--timeout", "300", "--pid", pattern.pid)
    case.check("lock gives up after its timeout", done.status != 0 and done.seconds < 3.5,
               f"{done.seconds:.2f} s {done.why}")
    case.equal("state after that", cuda.state(pattern.pid), "running")
    after = udp_ask(PATTERN_PORT, "check", 10) or "no answer"
    case.check("and the workload goes on", after.startswith("ok"), after)
    case.processes.end(pattern.pid)


def start_up_time(case, cuda, pid):
    times = [cuda.run("--get-state", "--pid", pid).seconds for _ in range(START_UPS)]
    case.time("--get-state, mean", statistics.mean(times))
    case.check("start-up is bearable", min(times) < START_UP_LIMIT,
               " ".join(f"{each:.3f}" for each in times))


# --- snapshotctl ---------------------------------------------------------------


def gone(case, label, pids, port=None):
    """After a checkpoint nothing of the workload may be left."""
    wait_until(lambda: not any(map(process_exists, pids)), 3)
    alive = [pid for pid in pids if process_exists(pid)]
    listed = gpu_pids() & set(pids)
    bound = port is not None and udp_is_bound(port)
    case.check(label, not (listed or alive or bound),
               f"alive {alive}, on the GPU {sorted(listed)}, port {'held' if bound else 'free'}")


def case_counter_snapshotctl(case, env):
    tool = Snapshotctl(case, env.snapshotctl, env.work / "counter")
    counter = tool.run("c1", env.program("counter"))
    pid = counter.pid
    case.time("run", counter.answer["wall"])
    case.wait_for_start(counter, lambda: udp_is_bound(COUNTER_PORT), 40)
    case.equal("first answer", udp_ask(COUNTER_PORT, "hello"), "101")
    case.check("nvidia-smi shows it", pid in gpu_pids(), pid)
    taken = tool.call("checkpoint", "c1", "--leave-running", seconds=120)
    case.time("checkpoint --leave-running", taken["wall"])
    case.equal("it goes on", udp_ask(COUNTER_PORT, "hello"), "102")
    for value in (103, 104):
        pid = counter_round(case, tool, pid, str(value))
    case.check("ended by us", case.processes.end(pid), pid)
    again = tool.call("restore", "c1", "--detach", seconds=120)
    case.equal("the same snapshot once more", udp_ask(COUNTER_PORT, "hello", 20), "104")
    case.processes.end(again["pid"])
    snapshot_commands(case, tool)


def counter_round(case, tool, pid, expected):
    taken = tool.call("checkpoint", "c1", seconds=120)
    case.time("checkpoint", taken["wall"])
    case.note("checkpoint phases", phases_text(taken))
    gone(case, "nothing left after checkpoint", [pid], COUNTER_PORT)
    back = tool.call("restore", taken["id"], "--detach", seconds=120)
    case.time("restore", back["wall"])
    case.note("restore phases", phases_text(back))
    case.equal("answer after restore", udp_ask(COUNTER_PORT, "hello", 20), expected)
    case.check("it is on the GPU again", back["pid"] in gpu_pids(), back["pid"])
    return back["pid"]


def snapshot_commands(case, tool):
    """What surrounds a snapshot: inspect, verify (which must see damage), logs, delete."""
    inspected = tool.call("inspect", "c1")
    path = pathlib.Path(inspected.get("path") or tool.call("inspect", "c1@1")["path"])
    case.check("inspect names the folder", path.is_dir(), path)
    case.equal("verify: sound", tool.status("verify", "c1"), 0)
    files = [each for each in path.rglob("*") if each.is_file() and each.stat().st_size > 4096]
    largest = max(files, key=lambda each: each.stat().st_size)
    with flipped_bit(largest):
        case.note("a bit is flipped in", largest.name)
        case.equal("verify: damaged", tool.status("verify", "c1"), DAMAGED)
    case.equal("verify: sound again", tool.status("verify", "c1"), 0)
    case.equal("delete", tool.status("delete", "c1", "--all-versions"), 0)
    case.check("its folder is gone", not path.exists(), path)


class flipped_bit:  # pylint: disable=invalid-name
    """In the middle of a file, but not in a hole: nobody promises anything about holes."""

    def __init__(self, path):
        self.path = path
        data = path.read_bytes()
        middle = len(data) // 2
        self.offset = next((at for at in range(middle, len(data)) if data[at]), None)
        if self.offset is None:
            raise Failure(f"{path} has no data in its second half")

    def _flip(self):
        with open(self.path, "r+b") as file:
            file.seek(self.offset)
            byte = file.read(1)[0]
            file.seek(self.offset)
            file.write(bytes([byte ^ 1]))

    def __enter__(self):
        self._flip()

    def __exit__(self, *unused):
        self._flip()


# --- several processes ---------------------------------------------------------


def without_uuid(answer):
    return re.sub(r" uuid=\S+", "", answer or "no answer")


def uuid_in(answer):
    found = re.search(r"uuid=(\S+)", answer or "")
    return found.group(1) if found else None


def case_two_process(case, env):
    for number, kind in enumerate(("fork", "exec")):
        two_processes(case, env, kind, PATTERN_PORT + 10 * (number + 1))


def two_processes(case, env, kind, port):
    tool, name = Snapshotctl(case, env.snapshotctl, env.work / "two"), f"two-{kind}"
    parent = tool.run(name, env.program("pattern"), "--port", port, "--mib", 512, "--child", kind)
    case.wait_for_start(parent, lambda: udp_is_bound(port) and udp_is_bound(port + 1), 60)
    tree = process_tree(parent.pid)
    case.check(f"{kind}: two processes on the GPU", len(gpu_pids() & set(tree)) >= 2, tree)
    # Different generations, so that neither can be taken for the other.
    udp_ask(port + 1, "bump", 20)
    before = [udp_ask(port, "bump", 20), udp_ask(port + 1, "bump", 20)]
    case.need(f"{kind}: patterns before", all(a and a.startswith("ok") for a in before), before)
    taken = tool.call("checkpoint", name, seconds=120)
    case.time(f"{kind}: checkpoint", taken["wall"])
    gone(case, f"{kind}: nothing left", tree, port)
    back = tool.call("restore", taken["id"], "--detach", seconds=120)
    case.time(f"{kind}: restore", back["wall"])
    after = [udp_ask(port, "check", 20), udp_ask(port + 1, "check", 20)]
    case.equal(f"{kind}: patterns after", after, before)
    bumped = [without_uuid(udp_ask(p, "bump", 20)) for p in (port, port + 1)]
    case.equal(f"{kind}: their graphs still run", bumped,
               ["ok generation=3 seed=1", "ok generation=4 seed=2"])
    case.processes.end(back["pid"])


# --- another GPU ---------------------------------------------------------------


def rotation(uuids, first, second):
    """All GPUs must be in a map: the two change places, the others stay."""
    other = {first: second, second: first}
    return ",".join(f"{uuid}={other.get(uuid, uuid)}" for uuid in uuids)


def two_gpus(case):
    uuids = gpu_uuids()
    if len(uuids) < 2:
        case.table.row("skip", case.name, "two GPUs", f"only {len(uuids)} here")
        return None
    return uuids


def case_other_gpu(case, env):
    uuids = two_gpus(case)
    if uuids is None:
        return
    moved_while_running(case, env, uuids)
    moved_by_restore(case, env, uuids)


def moved_while_running(case, env, uuids):
    """Without CRIU: the utility's own --device-map."""
    port = PATTERN_PORT + 40
    cuda = CudaCheckpoint(case, env.cuda_checkpoint)
    pattern = start_plain_pattern(case, env, port, 1024)
    before = udp_ask(port, "check", 20)
    old = uuid_in(before)
    new = next(uuid for uuid in uuids if uuid != old)
    case.equal("starts on", gpu_of(pattern.pid), {old})
    cuda.action("lock", pattern.pid)
    cuda.action("checkpoint", pattern.pid)
    cuda.action("restore", pattern.pid, "--device-map", rotation(uuids, old, new))
    cuda.action("unlock", pattern.pid)
    case.equal("runs on the other one", gpu_of(pattern.pid), {new})
    case.equal("pattern after the move", without_uuid(udp_ask(port, "check", 20)),
               without_uuid(before))
    case.processes.end(pattern.pid)


def start_pattern(case, env, tool, name, port, mib):
    pattern = tool.run(name, env.program("pattern"), "--port", port, "--mib", mib)
    case.wait_for_start(pattern, lambda: udp_is_bound(port), 60)
    before = udp_ask(port, "bump", 20)
    case.need("pattern before", (before or "").startswith("ok"), before)
    return pattern.pid, before


def moved_by_restore(case, env, uuids):
    port, tool = PATTERN_PORT + 41, Snapshotctl(case, env.snapshotctl, env.work / "move")
    pid, before = start_pattern(case, env, tool, "move", port, 1024)
    old = uuid_in(before)
    new = next(uuid for uuid in uuids if uuid != old)
    taken = tool.call("checkpoint", "move", seconds=120)
    gone(case, "nothing left after checkpoint", [pid], port)
    back = tool.call("restore", taken["id"], "--detach", "--device-map",
                     rotation(uuids, old, new), seconds=120)
    case.time("restore onto the other GPU", back["wall"])
    case.equal("restored on", gpu_of(back["pid"]), {new})
    case.equal("pattern after restore", without_uuid(udp_ask(port, "check", 20)),
               without_uuid(before))
    case.processes.end(back["pid"])


def hiding(uuid):
    """A command that runs another one where the GPU does not exist."""
    script = f"mount --bind /dev/null /dev/nvidia{gpu_minor(uuid)} && exec \"$@\""
    return ["unshare", "--mount", "sh", "-c", script, "sh"]


def case_other_gpu_auto(case, env):
    """Captured where there is only one GPU, restored where there is only another one: no map is
    given, and there is only one way."""
    gpus = two_gpus(case)
    if gpus is None:
        return
    port, tool = PATTERN_PORT + 42, Snapshotctl(case, env.snapshotctl, env.work / "auto")
    tool.prefix = hiding(gpus[1])
    _, before = start_pattern(case, env, tool, "auto", port, 8192)
    old = uuid_in(before)
    case.equal("starts on the only one", old, gpus[0])
    tool.prefix = []
    taken = tool.call("checkpoint", "auto", seconds=120)
    tool.prefix = hiding(old)
    back = tool.call("restore", taken["id"], "--detach", seconds=120)
    tool.prefix = []
    case.check("restored elsewhere", gpu_of(back["pid"]) and old not in gpu_of(back["pid"]),
               gpu_of(back["pid"]))
    case.equal("pattern after restore", without_uuid(udp_ask(port, "check", 20)),
               without_uuid(before))
    case.processes.end(back["pid"])

