#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""CUDA in a container of a real containerd, saved and brought back in other containers.

  container.py --kit FOLDER [--size 8b|tiny] [--work FOLDER]

FOLDER holds kit.tar.xz of make-container-kit. Needs root, an NVIDIA GPU and Python with torch and
transformers; no network, no packages. The containers are unprivileged: the machine's /usr and /opt
are bind-mounted read-only, the GPU's device nodes are given to them. A Llama in PyTorch answers
greedy tokens in the first container; it is checkpointed, restored into a second one (its own
namespaces), which is stopped, and restored into a third, which restore-entrypoint waits in. Tokens, and a hash over every parameter,
have to be the same. Prints a line for each check and time; exit status 1 when a check failed.
"""
import argparse
import fcntl
import glob
import io
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import time

sys.dont_write_bytecode = True
from inside_network import in_network_of  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
PORT = 10020
BINDS = ["/usr", "/opt", "/etc/alternatives", "/etc/ld.so.cache", "/usr/local/nvidia"]
failed = []


def check(label, holds, detail=""):
    print(f"{'ok  ' if holds else 'FAIL'}  {label}  {detail}", flush=True)
    if not holds:
        failed.append(label)


def timed(label, seconds):
    print(f"time  {label}  {seconds:.2f} s", flush=True)


def run(*argv, check_status=True, **options):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, **options)
    if check_status and done.returncode:
        raise SystemExit(f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS
    return True


def ask(request, seconds=120):
    with socket.create_connection(("127.0.0.1", PORT), timeout=seconds) as connection:
        with connection.makefile("rw") as stream:
            stream.write(json.dumps(request) + "\n")
            stream.flush()
            return json.loads(stream.readline())


class Bed:
    def __init__(self, kit, work):
        self.work = work
        self.tools = work / "kit"
        self.tools.mkdir()
        run("tar", "-C", self.tools, "-xJf", kit / "kit.tar.xz")
        self.environment = dict(
            os.environ, PATH=f"{self.tools}/bin:{os.environ['PATH']}",
            STASIS_LIBEXEC=str(self.tools / "libexec"), STASIS_CRIU=str(self.tools / "criu/criu"),
            STASIS_ROOT=str(work / "store"))
        self.libraries = dict(self.environment, LD_LIBRARY_PATH=":".join(
            [str(self.tools / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]))
        self.socket = work / "containerd.sock"
        self.tasks = []
        self.start_containerd()
        self.import_image()

    def start_containerd(self):
        configuration = self.work / "containerd.toml"
        configuration.write_text(f'''version = 3
root = "{self.work}/root"
state = "{self.work}/state"
disabled_plugins = ["io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri"]
[grpc]
  address = "{self.socket}"
[ttrpc]
  address = "{self.work}/containerd.ttrpc"
''')
        log = open(self.work / "containerd.log", "wb")
        # runc may need the library of seccomp that came along.
        self.daemon = subprocess.Popen([self.tools / "bin/containerd", "-c", configuration],
                                       env=self.libraries, stdout=log, stderr=log)
        for _ in range(100):
            if self.ctr("version", check_status=False).returncode == 0:
                return
            time.sleep(0.1)
        raise SystemExit((self.work / "containerd.log").read_text()[-3000:])

    def ctr(self, *words, **options):
        return run(self.tools / "bin/ctr", "-a", self.socket, "-n", "gpu", *words,
                   env=self.libraries, **options)

    def import_image(self):
        """An image of places to mount the machine's folders on, and its links."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            for name in ("usr", "opt", "etc", "proc", "sys", "dev", "tmp", "root", "run", "var",
                         "server", "stasis"):
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
                tar.addfile(entry)
            for name in ("bin", "sbin", "lib", "lib64", "lib32"):
                if os.path.islink("/" + name):
                    entry = tarfile.TarInfo(name)
                    entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink("/" + name)
                    tar.addfile(entry)
            for name, data in (("server/llama-server.py", (HERE / "llama-server.py").read_bytes()),
                               ("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
                               ("etc/group", b"root:x:0:\n")):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(data), 0o644
                tar.addfile(entry, io.BytesIO(data))
        data = layer.getvalue()
        digest = __import__("hashlib").sha256(data).hexdigest()
        configuration = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                                    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]}})
        manifest = json.dumps([{"Config": "config.json", "RepoTags": ["localhost/gpu:1"],
                                "Layers": ["layer.tar"]}])
        path = self.work / "image.tar"
        with tarfile.open(path, "w") as tar:
            for name, content in (("layer.tar", data), ("config.json", configuration.encode()),
                                  ("manifest.json", manifest.encode())):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        self.ctr("images", "import", path)

    def start(self, name, *command):
        words = ["run", "-d", "--seccomp", "--log-uri", f"file://{self.work}/{name}.log"]
        words += ["--mount", f"type=bind,src={self.tools}/libexec,dst=/stasis,options=rbind:ro"]
        for place in BINDS:
            if os.path.exists(place) and not os.path.islink(place):
                words += ["--mount", f"type=bind,src={place},dst={place},options=rbind:ro"]
        for node in sorted(glob.glob("/dev/nvidia*")):
            if not os.path.isdir(node):
                words += ["--device", node]
        for key in ("LD_LIBRARY_PATH", "PATH", "CUDA_HOME"):
            if key in os.environ:
                words += ["--env", f"{key}={os.environ[key]}"]
        words += ["--env", "HOME=/tmp", "--env", "HF_HUB_OFFLINE=1",
                  "--env", f"MY_NAME={name}"]
        self.ctr(*words, "localhost/gpu:1", name, *command)
        self.tasks.append(name)
        lines = self.ctr("tasks", "ls").stdout.splitlines()
        pid, = [int(line.split()[1]) for line in lines if line.split()[0] == name]
        in_network_of(pid, loopback_up)
        return pid

    def stop(self, name):
        self.ctr("tasks", "kill", "-s", "SIGKILL", name, check_status=False)
        for _ in range(200):
            if self.ctr("tasks", "rm", name, check_status=False).returncode == 0:
                break
            if "not found" in self.ctr("tasks", "rm", name, check_status=False).stderr:
                break
            time.sleep(0.05)
        self.ctr("containers", "rm", name, check_status=False)

    def snapshotctl(self, *words):
        start = time.monotonic()
        done = run(self.tools / "bin/snapshotctl", "--progress", "none", *words, "--json",
                   env=self.libraries, check_status=False)
        check(f"snapshotctl {' '.join(words[:2])}", done.returncode == 0, done.stderr.strip())
        return json.loads(done.stdout or "{}"), time.monotonic() - start

    def close(self):
        for name in self.tasks:
            self.stop(name)
        self.daemon.terminate()
        self.daemon.wait()


def phases_text(answer):
    return " ".join(f"{p['name']} {p['seconds']:.2f}" for p in answer.get("phases", []))


def wait_for_answer(pid, request, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = in_network_of(pid, lambda: ask(request))
        if answer and "problem" not in answer:
            return answer
        time.sleep(0.1)
    return {"problem": "no answer"}


def story(bed, size):
    tokens = {"ids": [11, 22, 33, 44], "count": 16}
    start = time.monotonic()
    source = bed.start("source", sys.executable, "-u", "/server/llama-server.py", "--size", size,
                       "--port", str(PORT))
    first = wait_for_answer(source, tokens, 200)
    timed("cold start to tokens", time.monotonic() - start)
    check("the source answers", "ids" in first,
          first.get("problem", "") or (bed.work / "source.log").read_text()[-1500:]
          if "ids" not in first else str(first["ids"][:6]))
    sums = wait_for_answer(source, {"sums": True}, 60)
    answer, seconds = bed.snapshotctl("checkpoint", "--pid", str(source), "--id", "kept",
                                      "--leave-running")
    timed(f"checkpoint --leave-running ({phases_text(answer)})", seconds)
    again = wait_for_answer(source, tokens, 60)
    check("the source is unharmed", again.get("ids") == first.get("ids"))
    run("rm", "-rf", bed.work / "store/kept")
    answer, seconds = bed.snapshotctl("checkpoint", "--pid", str(source), "--id", "llama")
    timed(f"checkpoint ({phases_text(answer)})", seconds)
    waiting = {"second": ["/usr/bin/sleep", "1000000"],
               "third": ["/stasis/restore-entrypoint", "--wait", "300"]}
    for name, command in waiting.items():
        target = bed.start(name, *command)
        start = time.monotonic()
        answer, seconds = bed.snapshotctl("restore", "llama", "--container-pid", str(target))
        timed(f"restore into the {name} ({phases_text(answer)})", seconds)
        restored = wait_for_answer(target, tokens, 60)
        timed(f"restore into the {name}, to tokens", time.monotonic() - start)
        check(f"the {name} answers the same tokens", restored.get("ids") == first.get("ids"),
              str(restored)[:200])
        check(f"the {name} has the same parameters",
              wait_for_answer(target, {"sums": True}, 60) == sums)
        identity = pathlib.Path(f"/proc/{answer.get('pid', 0)}/root/dev/stasis/environment")
        check(f"the {name} knows who it is now",
              identity.exists() and f"MY_NAME={name}".encode() in identity.read_bytes())
        if name == "third":
            end_restored(bed, name, answer.get("pid", 0))
        bed.stop(name)
    verified, seconds = bed.snapshotctl("verify", "llama")
    timed("verify", seconds)
    del verified


def end_restored(bed, name, pid):
    """restore-entrypoint ends with the restored program, and tells how that ended."""
    if pid > 0:
        os.kill(pid, signal.SIGKILL)
    for _ in range(200):
        lines = bed.ctr("tasks", "ls").stdout.splitlines()
        if not any(line.split()[0] == name and "RUNNING" in line for line in lines):
            break
        time.sleep(0.05)
    told = bed.ctr("tasks", "rm", name, check_status=False).stderr
    check("the entrypoint ends as the restored program", "code 137" in told, told.strip())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kit", required=True, type=pathlib.Path)
    parser.add_argument("--size", default="8b")
    parser.add_argument("--work-gib", default=80, type=int)
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="gpu-container-"))
    run("mount", "-t", "tmpfs", "-o", f"size={options.work_gib}g", "tmpfs", work)
    bed = None
    try:
        bed = Bed(options.kit.resolve(), work)
        story(bed, options.size)
    finally:
        if failed:
            for log in sorted(glob.glob(f"{work}/*.log") + glob.glob(f"{work}/store/.logs/*/*.log")):
                print(f"== {log}\n{pathlib.Path(log).read_text(errors='replace')[-3000:]}")
        if bed:
            bed.close()
        run("umount", "-l", work, check_status=False)
        shutil.rmtree(work, ignore_errors=True)
    print(f"{len(failed)} failed")
    sys.exit(1 if failed else 0)


signal.signal(signal.SIGPIPE, signal.SIG_DFL)
main()
