# SPDX-License-Identifier: Apache-2.0
"""What the tests leave on a machine, found and removed: processes, mounts, control groups, network
namespaces, sockets. All of it is known by the name of a bed, the last component of its folder."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

CGROUPS = pathlib.Path("/sys/fs/cgroup")
NETWORKS = pathlib.Path("/run/netns")
POLL = 0.02


class Failure(Exception):
    """Something was expected of a program and not seen; the text says what."""


def run(*command, check=True, timeout=120, **options):
    """A command without input; its output is text."""
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace", check=False,
                          timeout=timeout, **options)
    if check and done.returncode != 0:
        raise Failure(f"{' '.join(str(word) for word in command)}: expected status 0, seen "
                      f"{done.returncode}: {(done.stderr or done.stdout).strip()[-1500:]}")
    return done


def wait_until(condition, what, timeout=30):
    end = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > end:
            raise Failure(f"expected {what} within {timeout} s")
        time.sleep(POLL)
    return result


def alive(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def read(path):
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return ""


def cgroup_version():
    return 2 if (CGROUPS / "cgroup.controllers").exists() else 1


def processes_of(directory):
    """Those that name the folder of a bed, and those in its control groups."""
    name = os.path.basename(directory)
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        if f"/{name}" in read(f"/proc/{entry}/cgroup") or \
                directory in read(f"/proc/{entry}/cmdline"):
            if alive(entry) and not is_ancestor(int(entry)):
                found.append(int(entry))
    return found


def is_ancestor(pid):
    """Whoever started this program may name the folder as well."""
    current = os.getpid()
    while current > 1:
        stat = read(f"/proc/{current}/stat").rpartition(")")[2].split()
        current = int(stat[1]) if stat else 0
        if current == pid:
            return True
    return False


def mounts_of(directory):
    """Mount points below a folder, the latest first."""
    found = []
    for line in read("/proc/self/mountinfo").splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if point == directory or point.startswith(directory + "/"):
            found.append(point)
    return found[::-1]


def cgroups_of(directory):
    """Control groups of a bed, the deepest first."""
    name = os.path.basename(directory)
    roots = [CGROUPS] if cgroup_version() == 2 else [
        path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]
    found = []
    for root in roots:
        for folder, _, _ in os.walk(root / name, topdown=False):
            found.append(folder)
    return found


def network_inodes(pids):
    found = set()
    for pid in pids:
        try:
            found.add(os.stat(f"/proc/{pid}/ns/net").st_ino)
        except OSError:
            pass
    return found - {os.stat("/proc/self/ns/net").st_ino}


def networks_of(directory, inodes=()):
    name = os.path.basename(directory)
    found = []
    for path in NETWORKS.iterdir() if NETWORKS.is_dir() else []:
        try:
            if path.name.startswith(name) or path.stat().st_ino in inodes:
                found.append(path.name)
        except OSError:
            pass
    return found


def shim_sockets_of(directory):
    """containerd keeps the sockets of all shims in one folder; their names are in the bundles."""
    found = []
    for path in pathlib.Path(directory).glob("*/s/io.containerd.runtime.v2.task/*/*/*"):
        if path.name == "address":
            found.append(read(path).strip())
        elif path.name == "bootstrap.json":
            try:
                found.append(json.loads(read(path)).get("address", ""))
            except ValueError:
                pass
    return [address.removeprefix("unix://") for address in found if address.startswith("unix://")]


def notes_of(directory):
    """What runtimes write elsewhere in spite of all they are told: folders, and CNI's notes."""
    name = os.path.basename(directory)
    found = [str(path) for path in pathlib.Path("/run/containerd").glob(f"*/{name}*")]
    return found + [str(path) for path in pathlib.Path("/var/lib/cni/results").glob("pods-*")
                    if directory in read(path)]


def end_processes(directory):
    """As long as there are some: what dies may have a helper that cleans up after it."""
    for _ in range(200):
        pids = processes_of(directory)
        if not pids:
            return
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(POLL)
    raise Failure(f"expected the processes of {directory} to end, seen {processes_of(directory)}")


def sweep(directory):
    """Removes all of a bed, whatever state it is in."""
    directory = str(directory)
    inodes = network_inodes(processes_of(directory))
    sockets = shim_sockets_of(directory)
    end_processes(directory)
    for point in mounts_of(directory):
        run("umount", "-l", point, check=False)
    for name in networks_of(directory, inodes):
        run("ip", "netns", "del", name, check=False)
    for socket in sockets:
        pathlib.Path(socket).unlink(missing_ok=True)
    for path in notes_of(directory):
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    for group in cgroups_of(directory):
        wait_until(lambda group=group: remove_cgroup(group), f"control group {group} to be empty")
    # Another test that has just started may be clearing the same folder away.
    for _ in range(20):
        if not os.path.isdir(directory):
            break
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.1)


def remove_cgroup(group):
    try:
        os.rmdir(group)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True


def leftovers(directory):
    """What sweep() should have removed, as lines to read."""
    directory = str(directory)
    left = [f"process {pid}: {read(f'/proc/{pid}/cmdline')!r}" for pid in processes_of(directory)]
    left += [f"mount {point}" for point in mounts_of(directory)]
    left += [f"control group {group}" for group in cgroups_of(directory)]
    left += [f"network namespace {name}" for name in networks_of(directory)]
    left += [f"file {path}" for path in notes_of(directory)]
    return left + ([f"folder {directory}"] if os.path.exists(directory) else [])
