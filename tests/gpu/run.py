#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the GPU cases: real programs, a real driver, a real CRIU. Needs root and an NVIDIA GPU.

  run.py --bin BUILD/src --criu /usr/sbin/criu --out RESULTS [CASE...]

Without CASE all but vllm run. Each case prints its checks as a table; one that fails does
not stop the others. RESULTS gets table.txt, results.json and logs.tar.gz.
"""

import argparse
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time
import traceback

import cases_cuda
import cases_models
from harness import CHILDREN, Case, Failure, OutOfTime, Processes, Table, quick

# case: function, seconds that it may take, GiB of memory to touch first
CASES = {
    "abi": (cases_cuda.case_abi, 30, 0),
    "counter": (cases_cuda.case_counter, 120, 0),
    "counter-snapshotctl": (cases_cuda.case_counter_snapshotctl, 120, 0),
    "two-process": (cases_cuda.case_two_process, 120, 0),
    "other-gpu": (cases_cuda.case_other_gpu, 120, 0),
    "other-gpu-auto": (cases_cuda.case_other_gpu_auto, 120, 0),
    "llama": (cases_models.case_llama, 150, 48),
    "llama-classic": (cases_models.case_llama_classic, 180, 48),
    "vllm": (cases_models.case_vllm, 560, 100),
}
BY_DEFAULT = [name for name in CASES if name != "vllm"]
CUDA_PROGRAMS = ["counter", "pattern"]
C_PROGRAMS = ["pretouch", "without-io-uring"]
BACKSTOP_SECONDS = 20  # after a case's own limit


def options_from_command_line():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("cases", nargs="*", metavar="CASE", help=f"of: {', '.join(CASES)}")
    add("--bin", default=os.environ.get("STASIS_BIN", "build"), type=pathlib.Path,
        help="folder with (or above) snapshotctl and cuda-checkpoint; $STASIS_BIN")
    add("--criu", default=os.environ.get("STASIS_CRIU") or shutil.which("criu"),
        help="CRIU for the classic way; snapshotctl is given it as $STASIS_CRIU")
    add("--out", default="gpu-results", type=pathlib.Path, help="for table, results and logs")
    add("--seconds", default=540, type=int, help="no case goes on after this long")
    add("--work", type=pathlib.Path,
        help="folder for snapshots and images, best in memory; default: a tmpfs of our own")
    add("--work-gib", default=110, type=int, help="the size of that tmpfs")
    add("--scratch", type=pathlib.Path, help="folder for caches and programs, kept if given")
    add("--programs", type=pathlib.Path, help="folder with counter, pattern, … already built")
    add("--touch-gib", type=int, help="memory to touch before timing (0: none)")
    add("--python", default=sys.executable, help="Python with torch and transformers")
    add("--llama-size", default="8b", help="8b or tiny")
    add("--llama-device", default="cuda")
    add("--kit", type=pathlib.Path, default=os.environ.get("STASIS_KIT"),
        help="folder with vllm.1 … vllm.N, pieces of a tar.xz whose one folder, site, holds vLLM "
             "and what it needs; $STASIS_KIT")
    add("--vllm-site", type=pathlib.Path, help="the same, already unpacked")
    add("--vllm-option", action="append", default=[], help="one more word for vllm serve")
    add("--with-classic", action="store_true", help="vllm by hand as well")
    options = parser.parse_args()
    for name in options.cases:
        if name not in CASES:
            parser.error(f"no case {name}; there are {', '.join(CASES)}")
    options.cases = options.cases or BY_DEFAULT
    return options


class Environment:
    """What all cases need of the machine; `results` carries times from one case to another."""

    def __init__(self, options, processes, table):
        self.options, self.processes, self.table = options, processes, table
        self.here = pathlib.Path(__file__).resolve().parent
        self.source = self.here.parent.parent
        self.results = {}
        self.python, self.criu = options.python, options.criu
        self.snapshotctl = self._tool("snapshotctl")
        self.cuda_checkpoint = self._tool("cuda-checkpoint")
        if self.criu:
            self.criu = pathlib.Path(self.criu).resolve()
            os.environ["STASIS_CRIU"] = str(self.criu)
        self.own_scratch = options.scratch is None
        self.scratch = options.scratch or pathlib.Path(tempfile.mkdtemp(prefix="gpu-cases-"))
        self.scratch = self.scratch.resolve()
        (self.scratch / "bin").mkdir(parents=True, exist_ok=True)
        self.mounted = options.work is None
        self.work = (options.work or self.scratch / "memory").resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        if self.mounted:
            quick(["mount", "-t", "tmpfs", "-o", f"size={options.work_gib}g,mode=700", "tmpfs",
                   self.work])
        self.builds = {}
        self.warming = None
        self.touched = 0

    def _tool(self, name):
        """A build tree has each program in a folder of its own."""
        top = self.options.bin.resolve()
        found = [path for path in (top / name, *sorted(top.rglob(name)))
                 if path.is_file() and os.access(path, os.X_OK)]
        return found[0] if found else top / name

    def close(self):
        for child in [self.warming, *(child for child, _ in self.builds.values())]:
            if child is not None and child.poll() is None:
                self.processes.end(child.pid)
        if self.mounted:
            # Lazily: whatever is still in use must not keep the rest from being cleared away.
            quick(["umount", "-l", self.work])
        if self.own_scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)

    # Programs, compiled while other things go on: they outlive the case that they began in
    def nvcc(self):
        return os.environ.get("NVCC") or shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"

    def compiler(self):
        return os.environ.get("CC") or shutil.which("cc") or "gcc"

    def cuda_includes(self):
        given = os.environ.get("CUDA_INCLUDE")
        top = pathlib.Path(self.nvcc()).resolve().parent.parent
        folders = [pathlib.Path(given)] if given else [top / "include",
                                                       top / "targets/x86_64-linux/include"]
        return [folder for folder in folders if (folder / "cuda.h").is_file()]

    def start_builds(self):
        if self.options.programs:
            return
        commands = {name: [self.compiler(), "-O2", "-std=gnu17", "-o", self.scratch / "bin" / name,
                           self.here / f"{name}.c", "-lpthread"] for name in C_PROGRAMS}
        for name in CUDA_PROGRAMS:
            commands[name] = [self.nvcc(), "-O2", f"-arch={os.environ.get('CUDA_ARCH', 'native')}",
                              "-o", self.scratch / "bin" / name, self.here / f"{name}.cu"]
        for name, argv in commands.items():
            log = open(self.scratch / f"build-{name}.log", "wb")
            try:
                child = CHILDREN.popen(argv, stdout=log, stderr=log)
            except OSError as error:
                log.write(str(error).encode())
                child = None
            self.builds[name] = (child, log)

    def program(self, name):
        if self.options.programs:
            return (self.options.programs / name).resolve()
        child, log = self.builds[name]
        if child is None or self.processes.wait(child, 120) != 0:
            text = pathlib.Path(log.name).read_text(errors="replace")
            raise Failure(f"{name} could not be built: {text[-300:]}")
        return self.scratch / "bin" / name

    # Memory and file caches, warmed while other things go on
    def start_warming(self):
        log = open(self.scratch / "warming.log", "wb")
        self.warming = CHILDREN.popen(
            [self.python, "-c", "import torch, transformers; transformers.LlamaForCausalLM"],
            stdout=log, stderr=log)

    def models_warm(self):
        if self.warming:
            self.processes.wait(self.warming, 90)
            self.warming = None

    def touch(self, gib):
        if gib and self.options.touch_gib is not None:
            gib = self.options.touch_gib
        if gib > self.touched:
            done = quick([self.program("pretouch"), gib], 120)
            self.table.line(f"memory touched: {done.strip()}")
            self.touched = gib

    def vllm_site(self, case):
        if self.options.vllm_site:
            return self.options.vllm_site.resolve()
        if (self.scratch / "site").is_dir():
            return self.scratch / "site"
        if not self.options.kit:
            raise Failure("no vLLM: neither --kit nor --vllm-site is given")
        pieces = sorted(self.options.kit.glob("vllm.[0-9]*"),
                        key=lambda path: int(path.suffix[1:]))
        unpack = "set -o pipefail; cat \"$@\" | xz -dc -T0 | tar -x -C \"$0\""
        done = case.must(["bash", "-c", unpack, self.scratch, *pieces], 180)
        case.time("vLLM unpacked", done.seconds)
        return self.scratch / "site"


def out_of_time(*_):
    raise OutOfTime("the case ran into the backstop")


def told_to_end(*_):
    raise SystemExit("told to end")


def run_case(name, env, end):
    function, seconds, gib = CASES[name]
    table, start = env.table, time.monotonic()
    folder, logs = env.work / f"case-{name}", env.scratch / "logs" / name
    if end - start < 20:
        table.row("skip", name, "no time left")
        return
    case = Case(name, table, env.processes, folder, logs, min(start + seconds, end))
    signal.alarm(int(case.limit - start) + BACKSTOP_SECONDS)
    try:
        env.touch(gib)
        function(case, env)
    except Exception as error:  # pylint: disable=broad-except
        table.row("FAIL", name, "ended early", " ".join(str(error).split()) or repr(error))
        (logs / "traceback").write_text(traceback.format_exc())
    finally:
        signal.alarm(0)
        env.processes.end_all()
        keep_roots(case, env)
        shutil.rmtree(folder, ignore_errors=True)
        table.keep_logs(env.scratch / "logs")
    failed, held = table.count("FAIL", name), table.count("ok", name)
    verdict = "FAIL" if failed else "pass" if held else "skip"
    table.line(f"== {name}: {verdict}, {held} held, {failed} failed, "
               f"{time.monotonic() - start:.1f} s")


def keep_roots(case, env):
    """Logs that the product wrote beside its snapshots; then the snapshots go."""
    for root in sorted(env.work.iterdir()):
        if root.name.startswith("case-"):
            continue
        for path in root.rglob("*"):
            if path.is_file() and path.stat().st_size < 2 << 20 and \
                    (path.suffix in (".log", ".json") or "log" in path.name):
                target = case.logs / root.name / path.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        shutil.rmtree(root, ignore_errors=True)


def describe(env):
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        gpus = "; ".join(quick(query).strip().splitlines())
    except (OSError, Failure) as error:
        gpus = f"none to be seen ({error})"
    env.table.line(f"GPUs: {gpus}")
    env.table.line(f"kernel {os.uname().release}, {os.cpu_count()} cores, CRIU {env.criu}")


def summary(table, cases):
    verdicts = {name: "failed" if table.count("FAIL", name) else
                "passed" if table.count("ok", name) else "skipped" for name in cases}
    count = [sum(each == word for each in verdicts.values())
             for word in ("passed", "failed", "skipped")]
    table.line(f"{count[0]} passed, {count[1]} failed, {count[2]} skipped")
    return 1 if count[1] else 0


def main():
    options = options_from_command_line()
    end = time.monotonic() + options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    table, processes = Table(options.out.resolve()), Processes()
    signal.signal(signal.SIGALRM, out_of_time)
    signal.signal(signal.SIGTERM, told_to_end)
    env = Environment(options, processes, table)
    try:
        describe(env)
        env.start_builds()
        if any(name.startswith("llama") for name in options.cases):
            env.start_warming()
        for name in options.cases:
            run_case(name, env, end)
    finally:
        processes.end_all()
        env.close()
    return summary(table, options.cases)


if __name__ == "__main__":
    sys.exit(main())
