# SPDX-License-Identifier: Apache-2.0
"""The way by hand that the product is measured against: driver checkpoint through
cuda-checkpoint, then CRIU; and back in the opposite order."""

import time

from harness import Failure, process_exists, process_tree, wait_until

# What a server with sockets, locks and deleted files needs beside the defaults.
DUMP_OPTIONS = ["--tcp-established", "--network-lock", "skip", "--link-remap", "--file-locks",
                "--ghost-limit", "1G"]
RESTORE_OPTIONS = ["--restore-detached", "--tcp-established", "--network-lock", "skip",
                   "--link-remap", "--file-locks"]


class CudaCheckpoint:
    """Our utility, called as the vendor's is."""

    def __init__(self, case, program):
        self.case, self.program = case, program

    def run(self, *words, seconds=60):
        return self.case.run([self.program, *words], seconds)

    def must(self, *words, seconds=120):
        return self.case.must([self.program, *words], seconds).out.strip()

    def state(self, pid):
        return self.must("--get-state", "--pid", pid)

    def action(self, name, pid, *options):
        return self.must("--action", name, *options, "--pid", pid)

    def toggle(self, pid):
        return self.must("--toggle", "--pid", pid)

    def is_cuda(self, pid):
        return self.run("--get-restore-tid", "--pid", pid).status == 0


class Classic:
    """One process tree; `times` maps steps to seconds in the order they were taken."""

    def __init__(self, case, cuda_checkpoint, criu, pid, folder):
        self.case, self.criu, self.pid, self.folder = case, criu, pid, folder
        self.cuda = CudaCheckpoint(case, cuda_checkpoint)
        self.tree = process_tree(pid)
        self.cuda_pids = [each for each in self.tree if self.cuda.is_cuda(each)]
        self.times = {}
        folder.mkdir(parents=True)
        if not self.cuda_pids:
            raise Failure("no process of the tree has CUDA state")

    def _step(self, name, calls):
        start = time.monotonic()
        for call in calls:
            call()
        self.times[name] = time.monotonic() - start

    def _actions(self, name, *options):
        self._step(name, [lambda pid=pid: self.cuda.action(name, pid, *options)
                          for pid in self.cuda_pids])

    def _criu(self, verb, options, seconds):
        self._step(f"criu {verb}", [lambda: self.case.must(
            [self.criu, verb, "--images-dir", self.folder, *options], seconds)])

    def checkpoint(self, seconds):
        self._actions("lock", "--timeout", "20000")
        self._actions("checkpoint")
        self._criu("dump", ["--tree", self.pid, *DUMP_OPTIONS], seconds)
        # CRIU has killed them; zombies still hold the ids.
        if not wait_until(lambda: not any(map(process_exists, self.tree)), 10):
            raise Failure("the dumped tree is still there")
        return sum(self.times.values())

    def restore(self, seconds):
        before = sum(self.times.values())
        self._criu("restore", RESTORE_OPTIONS, seconds)
        self.case.processes.remember(self.pid)
        self._actions("restore")
        self._actions("unlock")
        return sum(self.times.values()) - before

    def text(self, *names):
        return " ".join(f"{name} {self.times[name]:.2f}" for name in names)

    def checkpoint_text(self):
        return self.text("lock", "checkpoint", "criu dump")

    def restore_text(self):
        return self.text("criu restore", "restore", "unlock")
