#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CUDA workloads in containers, on the stand-in driver (tests/lib/fake-cuda): captured, and restored
into other containers. Needs root. Prints TAP.

cuda.py SNAPSHOTCTL CUDA-WORKLOAD FAKE-CUDA-FOLDER RESTORE-ENTRYPOINT MAKE-BUNDLE BUILD

The containers have busybox and, read-only, the machine's libraries and the stand-in. tests/gpu
does the same on a real GPU.
"""
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys

sys.dont_write_bytecode = True
import bed  # noqa: E402
import machine  # noqa: E402
from tap import Skip, equal, run_all, test  # noqa: E402

SNAPSHOTCTL, WORKLOAD, FAKE, ENTRYPOINT, MAKE_BUNDLE, BUILD = \
    (str(pathlib.Path(p).resolve()) for p in sys.argv[1:7])
LIBRARIES = [path for path in ("/lib", "/lib64", "/usr/lib", "/usr/lib64") if os.path.isdir(path)]


class Place:
    def __init__(self, here):
        self.here = here
        self.containerd = here.containerd("2.1", "runc")
        self.store = here.directory / "store"
        self.share = here.directory / "share"
        self.share.mkdir(mode=0o755)
        for path in (WORKLOAD, ENTRYPOINT):
            shutil.copy(path, self.share)
        for name in os.listdir(FAKE):
            if ".so" in name and not os.path.isdir(os.path.join(FAKE, name)):
                shutil.copy(os.path.join(FAKE, name), self.share, follow_symlinks=False)
        self.device = here.directory / "fuse"
        os.mknod(self.device, 0o600 | stat.S_IFCHR, os.makedev(10, 229))
        self.config = here.directory / "machine"
        self.config.mkdir(mode=0o755)
        (self.config / "gpus").write_text("")
        # The programs on this side see the same stand-in; what they see of it is one file.
        self.environment = {**os.environ, "STASIS_ROOT": str(self.store),
                            "LD_LIBRARY_PATH": str(self.share),
                            "FAKE_CUDA_CONFIG": str(self.config / "gpus")}

    def run(self, *command, more_mounts=(), env=None, **options):
        mounts = [(path, path, "rbind,ro") for path in LIBRARIES]
        mounts += [(self.share, "/opt/share", "rbind,ro"), (self.config, "/machine", "rbind,ro"),
                   *more_mounts]
        # The stand-in's "GPU" is a node of the device of /dev/fuse, which CRIU can't save either.
        return self.containerd.run(
            "busybox", self.here.next_name("gpu"), command, mounts=mounts,
            options=["--device", str(self.device)],
            env={"LD_LIBRARY_PATH": "/opt/share", "FAKE_CUDA_CONFIG": "/machine/gpus", **(env or {})},
            **options)

    def workload(self, *arguments):
        container = self.run("/opt/share/" + pathlib.Path(WORKLOAD).name, "--megabytes", "8",
                             *arguments)
        container.wait_text("ready")
        return container

    def target(self):
        return self.run("/opt/share/" + pathlib.Path(ENTRYPOINT).name, "--wait", "120")

    def snapshotctl(self, *arguments, fault=None):
        environment = {**self.environment, **({"STASIS_FAULT": fault} if fault else {})}
        return subprocess.run([SNAPSHOTCTL, "--progress", "none", *map(str, arguments)], text=True,
                              env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=120, check=False)

    def must(self, *arguments):
        done = self.snapshotctl(*arguments)
        if done.returncode:
            logs = "".join(path.read_text(errors="replace")[-3500:]
                           for path in self.store.glob(".logs/*/*.log"))
            raise AssertionError(f"{arguments}: {done.stdout} {done.stderr} {logs}")

    def restore(self, name):
        target = self.target()
        self.must("restore", name, "--container-pid", target.pid)
        target.wait_text("restored")
        return target


def verify(container, number):
    """The workload's answer, from device memory; the entrypoint passes the signal on."""
    container.kill(signal.SIGUSR1)
    container.wait_text(f"ok {number}\n")


@test
def captured_and_restored(place):
    """Device memory goes from one container to another"""
    source = place.workload()
    verify(source, 1)
    place.must("checkpoint", "--pid", source.pid, "--id", "one")
    source.wait_gone()
    target = place.restore("one")
    verify(target, 2)
    verify(target, 3)
    target.delete()


@test
def left_running(place):
    """A container that is captured and goes on; two copies of it"""
    source = place.workload()
    verify(source, 1)
    place.must("checkpoint", "--pid", source.pid, "--id", "kept", "--leave-running")
    verify(source, 2)
    first, second = place.restore("kept"), place.restore("kept")
    verify(first, 2)
    verify(second, 2)
    verify(source, 3)
    for container in (source, first, second):
        container.delete()


@test
def several_processes(place):
    """Three processes with device memory, and one without"""
    source = place.workload("--processes", "3", "--idle-child")
    verify(source, 1)
    place.must("checkpoint", "--pid", source.pid, "--id", "several")
    target = place.restore("several")
    verify(target, 2)
    # And from there once more: the restored tree has ids of its own and others outside.
    place.must("checkpoint", "--pid", restored_into(target), "--id", "again")
    target = place.restore("again")
    verify(target, 3)
    target.delete()


def restored_into(container):
    children = machine.read(f"/proc/{container.pid}/task/{container.pid}/children").split()
    equal(len(children), 1, "children of the entrypoint")
    return children[0]


@test
def restored_by_itself(place):
    """A privileged container restores device memory into itself, with the driver that it sees"""
    bundle = place.here.directory / "bundle"
    made = subprocess.run([MAKE_BUNDLE, "--build", BUILD, str(bundle)], capture_output=True,
                          text=True, check=False)
    if made.returncode:
        raise Skip(f"no bundle: {made.stderr.strip()}")
    source = place.workload()
    verify(source, 1)
    place.must("checkpoint", "--pid", source.pid, "--id", "own")
    (place.store / "own/checkpoint.done").write_text('{"success": true}')
    target = place.run("/usr/local/lib/stasis/libexec/restore-entrypoint", privileged=True,
                       seccomp=False, env={"DYN_CHECKPOINT_HASH": "own"},
                       more_mounts=[(bundle, "/usr/local/lib/stasis", "rbind,ro"),
                                    (place.store, "/checkpoints", "rbind,ro")])
    target.wait_text("restored; process")
    verify(target, 2)
    target.delete()


@test
def failures(place):
    """A capture that fails leaves the container's GPU state as it was"""
    source = place.workload()
    for fault in ("capture-locked", "capture-frozen", "capture-rootfs", "capture-publish"):
        done = place.snapshotctl("checkpoint", "--pid", source.pid, "--id", "never", fault=fault)
        if done.returncode == 0:
            raise Skip("this build has no fault points")
    equal(source.alive(), True, "the source lives")
    verify(source, 1)
    source.delete()


@test
def failed_restores(place):
    """A restore that fails with the GPU in the middle is undone; the next one succeeds"""
    source = place.workload()
    verify(source, 1)
    place.must("checkpoint", "--pid", source.pid, "--id", "hard")
    target = place.target()
    for fault in ("restore-restored", "restore-resumed", "nsrestore-release"):
        done = place.snapshotctl("restore", "hard", "--container-pid", target.pid, fault=fault)
        if done.returncode == 0:
            raise Skip("this build has no fault points")
        equal(target.alive(), True, "the target lives")
    place.must("restore", "hard", "--container-pid", target.pid)
    target.wait_text("restored")
    verify(target, 2)
    target.delete()


def main():
    try:
        with bed.Bed() as here:
            return run_all(Place(here))
    except bed.Unavailable as reason:
        print(f"1..0 # SKIP {reason}")
        return 0


if __name__ == "__main__":
    sys.exit(main())
