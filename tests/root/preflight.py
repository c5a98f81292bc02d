#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Preflight against real processes, and each of its refusals against the real CRIU.

Every case is a program of its own that gets into one situation. Preflight must say what the case
expects (no more refusals than that), and where a CRIU is given, `criu dump` (and, where the case
says so, `criu restore`) must really fail, or really work.

  preflight.py PREFLIGHT_PRINT [--criu PATH] [CASE...]
"""
import ctypes
import fcntl
import mmap
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
libc.shmat.restype = ctypes.c_void_p

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
NEWUSER, NEWPID, NEWNET, CLONE_FS, CLONE_FILES = 0x10000000, 0x20000000, 0x40000000, 0x200, 0x400

CASES = {}


class Unavailable(Exception):
    """This machine lacks what the case is about."""


def case(*codes, level="refuse", dump=None, restore=None, options=(), criu=(), pre=(), text=None):
    """codes: those that must be found, at `level`. dump, restore: "fails", "works" or None (not
    tried). options: of preflight-print. criu: more options. pre: a command before the program."""

    def keep(function):
        CASES[function.__name__.strip("_").replace("_", "-")] = dict(
            function=function, codes=codes, level=level, dump=dump, restore=restore,
            options=list(options), criu=list(criu), pre=list(pre), text=text)
        return function

    return keep


# ---- helpers of the cases ----

def syscall(number, *arguments):
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *converted)
    if result < 0:
        error = ctypes.get_errno()
        raise Unavailable(f"system call {number}: {os.strerror(error)}")
    return result


def device(path, flags=os.O_RDWR):
    try:
        return os.open(path, flags | os.O_NOCTTY)
    except OSError as error:
        raise Unavailable(str(error))


def child(work=None):
    """Forks a child that does `work` and then sleeps; returns its pid when the work is done."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        done = os.read(read, 1)
        os.close(read)
        if not done:
            raise Unavailable("the child failed")
        return pid
    os.close(read)
    try:
        if work:
            work()
    except BaseException:
        os._exit(1)
    os.write(write, b"x")
    os.close(write)
    forever()


def forever():
    while True:
        time.sleep(1000)


def unshare(flags):
    if libc.unshare(flags) < 0:
        raise Unavailable("unshare: " + os.strerror(ctypes.get_errno()))


def thread(work):
    ready = threading.Event()

    def run():
        work()
        ready.set()
        forever()

    created = threading.Thread(target=run, daemon=True)
    created.start()
    ready.wait()
    return created


class Tree(int):
    """What a case returns when the tree to look at begins at another process than itself."""


def split(before, inside):
    """The tree is a child in a session of its own; the parent stays outside of it."""
    def work():
        os.setsid()
        inside()

    pid = child(work)
    before()
    return Tree(pid)


# ---- the cases ----

@case(dump="works", restore="works")
def plain():
    pass


@case(dump="works", restore="works")
def everyday_things():
    """What servers have, none of it a reason to refuse."""
    held = [socket.socket(), socket.socketpair(), os.pipe(), select.epoll(), os.memfd_create("a"),
            mmap.mmap(-1, 65536), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM), device("/dev/urandom", os.O_RDONLY),
            device("/dev/zero"), os.openpty(), os.open("/proc/self/status", os.O_RDONLY),
            os.open("/proc/self/ns/net", os.O_RDONLY), os.open("/tmp", os.O_PATH)]
    held[0].bind(("127.0.0.1", 0))
    held[0].listen()
    syscall(283, 1, 0)
    syscall(290, 3, 0)
    child()
    pid = child()
    held.append(syscall(434, pid, 0))
    fcntl.flock(os.open("lock", os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)
    ended = os.fork()
    if ended == 0:
        os._exit(0)
    thread(lambda: None)
    return held


@case("io-uring-in-use", dump="fails")
def io_uring():
    syscall(425, 4, ctypes.create_string_buffer(120))


@case("io-uring-in-use", dump="fails")
def io_uring_mapped():
    fd = syscall(425, 4, ctypes.create_string_buffer(120))
    ring = mmap.mmap(fd, 4096)
    os.close(fd)
    return ring


@case("userfaultfd", dump="fails")
def userfaultfd():
    syscall(323, 0o2004000)


@case("perf-event", dump="fails")
def perf_event():
    attributes = struct.pack("IIQQQQQ", 1, 120, 0, 0, 0, 0, 0x20) + bytes(72)
    syscall(298, ctypes.c_char_p(attributes), 0, -1, -1, 0)


@case("bpf-object", dump="fails")
def bpf_map():
    attributes = struct.pack("IIII", 2, 4, 4, 4) + bytes(120)
    syscall(321, 0, ctypes.c_char_p(attributes), len(attributes))


@case("kvm-object", dump="fails")
def kvm_machine():
    kvm = device("/dev/kvm")
    fcntl.ioctl(kvm, 0xAE01, 0)
    os.close(kvm)


@case("secret-memory", dump="fails")
def secret_memory():
    syscall(447, 0)


@case("kernel-object", dump="fails", text="fscontext")
def mount_context():
    syscall(430, ctypes.c_char_p(b"tmpfs"), 0)


@case("kernel-object", dump="fails", text="landlock")
def landlock():
    syscall(444, ctypes.create_string_buffer(struct.pack("Q", 1)), 8, 0)


@case("kernel-object", dump="fails", text="seccomp")
def seccomp_listener():
    program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000))
    filter_ = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(program)))
    libc.prctl(38, 1, 0, 0, 0)
    syscall(317, 1, 8, filter_)


@case("character-device", dump="fails", text="/dev/fuse")
def fuse_device():
    device("/dev/fuse")


@case("character-device", dump="fails", text="/dev/kvm")
def kvm_device():
    device("/dev/kvm")


@case("character-device", dump="fails", text="/dev/tty0")
def console():
    device("/dev/tty0")


@case("block-device", dump="fails", text="/dev/loop0")
def block_device():
    device("/dev/loop0", os.O_RDONLY)


@case("tun-device", dump="fails")
def tun_device():
    device("/dev/net/tun")


@case("traced", dump="fails", text="python3")
def traced():
    pid = child()
    if libc.ptrace(0x4206, pid, None, None) < 0:
        raise Unavailable("ptrace")


@case("thread-leader-ended", dump="fails")
def thread_leader_ended():
    def work():
        threading.Thread(target=forever).start()
        libc.syscall(60, 0)

    pid = os.fork()
    if pid == 0:
        work()
    while open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z":
        time.sleep(0.01)


@case("vfork-parent", level="refuse")
def vfork_parent():
    pid = os.fork()
    if pid == 0:
        if libc.vfork() == 0:
            libc.pause()
    while open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "D":
        time.sleep(0.01)


@case("stopped", level="note", dump="works", restore="works")
def stopped():
    pid = child()
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)


@case("workload-ending", dump="works", text="SIGTERM")
def told_to_end():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.kill(os.getpid(), signal.SIGTERM)


@case("thread-private", dump="works", text="open files")
def thread_files():
    thread(lambda: unshare(CLONE_FILES))


@case("thread-private", dump="works", text="net namespace")
def thread_network():
    thread(lambda: unshare(NEWNET))


@case("session-outside", dump="fails", pre=["unshare", "-p", "-f"])
def session_outside():
    pass


@case("not-namespace-init", dump="fails", pre=["unshare", "-p", "-f", "setsid"])
def not_namespace_init():
    return Tree(child())


@case("user-namespace", dump="works", restore="fails", pre=["unshare", "-U", "-r", "-f", "setsid"])
def user_namespace():
    pass


def nested(flags):
    def work():
        unshare(flags)
        if flags == NEWPID and os.fork() == 0:
            forever()

    child(work)


@case("namespace-nested", dump="fails", text="pid")
def nested_pid():
    nested(NEWPID)


@case("namespace-nested", dump="fails", text="ipc")
def nested_ipc():
    nested(NEWIPC)


@case("namespace-nested", dump="fails", text="uts")
def nested_uts():
    nested(NEWUTS)


@case("namespace-nested", dump="fails", text="cgroup")
def nested_cgroup():
    nested(NEWCGROUP)


@case("namespace-nested", dump="fails", text="user")
def nested_user():
    nested(NEWUSER)


@case("namespace-nested", dump="works", restore="fails", text="mnt")
def nested_mount():
    nested(NEWNS)


@case("namespace-nested", dump="works", restore="fails", text="net")
def nested_network():
    nested(NEWNET)


@case("namespace-outside", dump="fails")
def namespace_outside():
    pid = child(lambda: unshare(NEWNET))
    os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@case("pidfd-outside", dump="fails")
def pidfd_outside():
    return split(lambda: None, lambda: syscall(434, os.getppid(), 0))


@case("pidfd-thread", dump="fails")
def pidfd_thread():
    syscall(434, thread(lambda: None).native_id, 0o200)


@case("message-queue", dump="fails")
def message_queue():
    name = f"preflight{os.getpid()}".encode()
    syscall(240, ctypes.c_char_p(name), 0o102, 0o600, None)
    libc.syscall(241, ctypes.c_char_p(name))


def mount(source, target, kind):
    if libc.mount(source, target.encode(), kind, 0, None) < 0:
        raise Unavailable("mount: " + os.strerror(ctypes.get_errno()))


@case("lost-mount", dump="fails")
def unmounted():
    os.mkdir("t")
    mount(b"t", "t", b"tmpfs")
    fd = os.open("t/x", os.O_CREAT | os.O_RDWR)
    libc.umount2(b"t", 2)
    return fd


@case("lost-mount", dump="fails", text="current directory")
def unmounted_directory():
    os.mkdir("t")
    mount(b"t", "t", b"tmpfs")
    os.chdir("t")
    libc.umount2(b".", 2)


@case("hidden-by-mount", dump="fails")
def hidden():
    os.mkdir("t")
    fd = os.open("t/x", os.O_CREAT | os.O_RDWR)
    mount(b"t", "t", b"tmpfs")
    return fd


@case("hidden-by-mount", dump="fails", text="current directory")
def hidden_directory():
    os.mkdir("t")
    os.chdir("t")
    mount(b"t", os.path.abspath("../t"), b"tmpfs")


@case("deleted-file-large", dump="fails", options=["ghost-limit=1048576"])
def deleted_large():
    fd = os.open("large", os.O_CREAT | os.O_RDWR)
    os.write(fd, bytes(2 << 20))
    os.unlink("large")


@case("deleted-file-large", dump="fails", options=["ghost-limit=1048576"], text="mapped")
def deleted_large_mapped():
    fd = os.open("large", os.O_CREAT | os.O_RDWR)
    os.write(fd, bytes(2 << 20))
    memory = mmap.mmap(fd, 2 << 20)
    os.close(fd)
    os.unlink("large")
    return memory


@case(dump="works", restore="works", options=["ghost-limit=1048576"])
def deleted_sparse():
    fd = os.open("large", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 1 << 30)
    os.unlink("large")


@case("deleted-name", level="note", dump="works")
def deleted_name():
    fd = os.open("a", os.O_CREAT | os.O_RDWR)
    os.link("a", "b")
    os.unlink("a")
    return fd


@case("deleted-name", level="note")
def semaphore():
    import multiprocessing
    return multiprocessing.get_context("spawn").Semaphore(3)


@case("remap-leftover", level="warn", dump="fails")
def leftover():
    fd = os.open("a", os.O_CREAT | os.O_RDWR)
    os.link("a", "b")
    os.unlink("a")
    for i in range(1, 200):
        os.close(os.open(f"link_remap.{i}", os.O_CREAT))
    return fd


@case("file-written", level="warn", options=["leave-running"])
def file_written():
    return os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)


@case("file-lock", level="note", options=["leave-running"], dump="works", restore="works")
def file_lock():
    fd = os.open("lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


@case("sysv-shared-memory", dump="fails")
def sysv():
    segment = libc.shmget(0, 65536, 0o1600)
    libc.shmat(segment, None, 0)
    libc.shmctl(segment, 0, None)


@case(dump="works", restore="works", pre=["unshare", "-i", "-f", "setsid"])
def sysv_own_namespace():
    segment = libc.shmget(0, 65536, 0o1600)
    libc.shmat(segment, None, 0)


def unix_pair(kind):
    a, b = socket.socketpair(socket.AF_UNIX, kind)
    pid = split(a.close, b.close)
    globals()["kept"] = b
    return pid


@case("unix-peer-outside", dump="fails", text="held by process")
def unix_stream_outside():
    return unix_pair(socket.SOCK_STREAM)


@case("unix-peer-outside", dump="fails")
def unix_packets_outside():
    return unix_pair(socket.SOCK_SEQPACKET)


@case("unix-peer-outside", dump="fails")
def unix_datagrams_outside():
    return unix_pair(socket.SOCK_DGRAM)


@case("unix-datagram-outside", level="warn", dump="works", restore="works")
def unix_log_outside():
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(os.path.abspath("log"))
    globals()["kept"] = server

    def inside():
        server.close()
        client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        client.connect(os.path.abspath("log"))
        globals()["kept"] = client

    return split(lambda: None, inside)


@case("unix-backlog-closed", dump="fails")
def unix_backlog_closed():
    server = socket.socket(socket.AF_UNIX)
    server.bind("s")
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("s")
    client.close()
    return server


@case("unix-backlog-data", dump="fails")
def unix_backlog_data():
    server = socket.socket(socket.AF_UNIX)
    server.bind("s")
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("s")
    client.send(b"x")
    return server, client


@case("unix-credentials", dump="fails")
def unix_credentials():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    b.setsockopt(socket.SOL_SOCKET, 16, 1)
    a.send(b"x")
    return a, b


@case("netlink-data", level="warn", dump="fails")
def netlink_data():
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    s.bind((0, 0))
    s.send(struct.pack("IHHII", 20, 18, 0x301, 1, 0) + bytes(4))
    select.select([s], [], [])
    return s


@case("socket-family", dump="fails", text="VSOCK")
def vsock():
    try:
        return socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    except OSError as error:
        raise Unavailable(str(error))


@case("socket-family", dump="fails", text="MPTCP")
def mptcp():
    try:
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    except OSError as error:
        raise Unavailable(str(error))
    s.bind(("127.0.0.1", 0))
    s.listen()
    return s


def tcp_pair():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    client = socket.create_connection(server.getsockname())
    return server, client, server.accept()


def tcp_outside():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    address = server.getsockname()

    def inside():
        server.close()
        globals()["kept"] = socket.create_connection(address)

    pid = split(lambda: None, inside)
    globals()["kept"] = server, server.accept()
    return pid


@case(dump="works")
def tcp_inside():
    return tcp_pair()


@case("tcp-connection", dump="fails", options=["tcp-refuse"])
def tcp_inside_refused():
    return tcp_pair()


@case("tcp-outside", level="warn", dump="works")
def tcp_outside_kept():
    return tcp_outside()


@case("tcp-outside", level="note", dump="works", options=["tcp-close"])
def tcp_outside_closed():
    return tcp_outside()


@case("tcp-outside", dump="fails", options=["tcp-refuse"])
def tcp_outside_refused():
    return tcp_outside()


@case("tcp-backlog", dump="fails")
def tcp_backlog():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server, socket.create_connection(server.getsockname())


@case(dump="works", options=["skip-in-flight"], criu=["--skip-in-flight"])
def tcp_backlog_skipped():
    return tcp_backlog()


@case("pipe-outside", level="note", dump="works", restore="works", text="writes to")
def pipe_outside():
    read, write = os.pipe()
    return split(lambda: os.close(write), lambda: os.close(read))


@case("terminal-outside", level="note", dump="works")
def terminal_outside():
    master, slave = os.openpty()
    globals()["kept"] = master
    return split(lambda: os.close(slave), lambda: os.close(master))


@case("pipe-packets", dump="fails")
def pipe_packets():
    return os.pipe2(os.O_DIRECT)


@case("eventfd-semaphore", level="refuse", dump="works")
def eventfd_semaphore():
    fd = syscall(290, 3, 1)
    if "eventfd-semaphore" not in open(f"/proc/self/fdinfo/{fd}").read():
        raise Unavailable("the kernel does not tell")


@case("personality", level="refuse", dump="works")
def personality():
    libc.personality(0x0400000)


@case("shared-directory", dump="fails")
def shared_directory():
    if libc.syscall(56, ctypes.c_long(CLONE_FS | signal.SIGCHLD), None, None, None, None) == 0:
        forever()


@case("gpu-mig-in-use", options=["mig"])
def mig():
    pass


@case("gpu-mps-in-use", options=["mps"])
def mps():
    pass


@case("store-space", level="warn", options=["store=/tmp", "device-memory=1152921504606846976"])
def store_space():
    pass


@case("host-memory", level="warn", options=["staged", "device-memory=1152921504606846976"])
def host_memory():
    pass


@case("root-not-session-leader", level="note", dump="works")
def not_session_leader():
    return Tree(child(lambda: os.setpgid(0, 0)))


# ---- the runner ----

def run_case(name):
    """In the case's own process: get into the situation, tell the root of the tree, sleep."""
    descriptor = int(os.environ.pop("PREFLIGHT_READY"))
    fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    try:
        result = CASES[name]["function"]()
    except Unavailable as error:
        os.write(descriptor, f"skip {error}".encode())
        return
    root = int(result) if isinstance(result, Tree) else os.getpid()
    globals()["held"] = result
    # Whoever ends from now on leaves no zombie, and nobody writes to the output any more.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)
    os.write(descriptor, f"ready {root}".encode())
    os.close(descriptor)
    forever()


def descendants(pid):
    found = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for one in open(f"/proc/{pid}/task/{task}/children").read().split():
                found += descendants(int(one))
    except OSError:
        pass
    return found


def end_tree(pids):
    for pid in reversed(pids):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        if not any(os.path.exists(f"/proc/{pid}") for pid in pids):
            return
        time.sleep(0.01)


class Failure(Exception):
    pass


class Runner:
    def __init__(self, print_program, criu):
        self.print_program = print_program
        self.criu = criu

    def start(self, name, directory):
        """Returns (first process, root of the tree as seen here)."""
        read, write = os.pipe()
        environment = dict(os.environ, PREFLIGHT_READY=str(write))
        command = CASES[name]["pre"] + [sys.executable, os.path.abspath(__file__), "--case", name]
        with open(os.path.join(directory, "output"), "wb") as output:
            process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=output, start_new_session=True,
                                       pass_fds=[write], env=environment)
        os.close(write)
        answer = b""
        while True:
            piece = os.read(read, 4096)
            if not piece:
                break
            answer += piece
            if answer.startswith(b"ready "):
                break
        os.close(read)
        word, _, rest = answer.decode().partition(" ")
        if word == "skip":
            end_tree(descendants(process.pid))
            raise Unavailable(rest)
        if word != "ready":
            end_tree(descendants(process.pid))
            raise Failure("the case did not start:\n" +
                          open(os.path.join(directory, "output")).read())
        return process.pid, self.outer(process.pid, int(rest))

    @staticmethod
    def outer(first, inner):
        for pid in descendants(first):
            for line in open(f"/proc/{pid}/status"):
                if line.startswith("NSpid:") and int(line.split()[-1]) == inner and (
                        pid != first or len(line.split()) == 2):
                    return pid
        raise Failure(f"process {inner} is not there")

    def preflight(self, root, options):
        result = subprocess.run([self.print_program, str(root), *options], capture_output=True,
                                text=True)
        if result.returncode != 0 or "Sanitizer" in result.stderr:
            raise Failure(f"preflight ended with {result.returncode}: {result.stderr}")
        return [line.split("\t") for line in result.stdout.splitlines()]

    @staticmethod
    def judge(expected, findings):
        shown = "\n".join(" ".join(f) for f in findings)
        for code in expected["codes"]:
            texts = [f[3] for f in findings if f[0] == expected["level"] and f[1] == code]
            if not texts:
                raise Failure(f"no {expected['level']} {code} in:\n{shown}")
            if expected["text"] and not any(expected["text"] in t for t in texts):
                raise Failure(f"{code} does not mention {expected['text']}:\n{shown}")
        refusals = {f[1] for f in findings if f[0] == "refuse"}
        allowed = set(expected["codes"]) if expected["level"] == "refuse" else set()
        if refusals - allowed:
            raise Failure(f"refused for {refusals - allowed}:\n{shown}")
        errors = [f for f in findings if f[0] == "error"]
        if bool(errors) != bool(refusals) or (errors and errors[0][1] not in refusals):
            raise Failure(f"the error does not fit the refusals:\n{shown}")

    def run_criu(self, action, images, expected, extra):
        options = ["--shell-job", "--link-remap", "--file-locks", "--ext-unix-sk",
                   "--network-lock=skip", "--manage-cgroups=ignore", *expected["criu"]]
        if "tcp-close" in expected["options"]:
            options.append("--tcp-close")
        elif "tcp-refuse" not in expected["options"]:
            options.append("--tcp-established")
        result = subprocess.run([self.criu, action, "-D", images, "-o", action + ".log", "-v2",
                                 *options, *extra], capture_output=True, text=True, timeout=60)
        log = os.path.join(images, action + ".log")
        text = open(log, errors="replace").read() if os.path.exists(log) else result.stderr
        return result.returncode == 0, "\n".join(l for l in text.splitlines() if "Error" in l)

    def check_dump(self, expected, root, images):
        if not self.criu or not expected["dump"]:
            return
        works, log = self.run_criu("dump", images, expected, ["-R", "-t", str(root)])
        if works != (expected["dump"] == "works"):
            raise Failure(f"criu dump {'works' if works else 'fails'}: {log}")

    def check_restore(self, expected, images):
        if not self.criu or not expected["restore"]:
            return
        works, log = False, ""
        for _ in range(10):
            works, log = self.run_criu("restore", images, expected, ["-d", "--pidfile", "pid"])
            if works or "File exists" not in log:
                break
            time.sleep(0.5)
        if works:
            end_tree(descendants(int(open(os.path.join(images, "pid")).read())))
        if works != (expected["restore"] == "works"):
            raise Failure(f"criu restore {'works' if works else 'fails'}: {log}")

    def run(self, name):
        expected = CASES[name]
        directory = tempfile.mkdtemp(prefix="preflight-")
        images = os.path.join(directory, "images")
        os.mkdir(images)
        pids = []
        try:
            first, root = self.start(name, directory)
            pids = descendants(first)
            self.judge(expected, self.preflight(root, expected["options"]))
            self.check_dump(expected, root, images)
            # What belongs to the tree ends, what is outside of it stays.
            end_tree(descendants(root))
            if root == first or expected["pre"]:
                end_tree(pids)
            self.check_restore(expected, images)
        finally:
            end_tree(pids)
            for place in (os.path.join(directory, "t"), directory):
                libc.umount2(place.encode(), 2)
            shutil.rmtree(directory, ignore_errors=True)


def private_surroundings():
    """Mounts, shared memory and message queues of the cases are nobody else's; orphans come back
    to us."""
    libc.prctl(36, 1, 0, 0, 0)
    if libc.unshare(NEWNS | NEWIPC) < 0 or libc.mount(b"none", b"/", None, 0x44000, None) < 0:
        print("1..0 # SKIP needs root")
        sys.exit(0)
    libc.mount(b"shm", b"/dev/shm", b"tmpfs", 0, None)


def main():
    if sys.argv[1:2] == ["--case"]:
        run_case(sys.argv[2])
        return 0
    arguments = sys.argv[1:]
    criu = None
    if "--criu" in arguments:
        place = arguments.index("--criu")
        criu = arguments[place + 1]
        del arguments[place:place + 2]
    criu = shutil.which(criu) if criu else None
    if os.geteuid() != 0 or not arguments:
        print("1..0 # SKIP needs root")
        return 0
    private_surroundings()
    runner = Runner(os.path.abspath(arguments[0]), criu)
    names = arguments[1:] or list(CASES)
    failures = 0
    print(f"1..{len(names)}", flush=True)
    for number, name in enumerate(names, 1):
        try:
            runner.run(name)
            print(f"ok {number} - {name}" + ("" if criu else " # without CRIU"), flush=True)
        except Unavailable as reason:
            print(f"ok {number} - {name} # SKIP {reason}", flush=True)
        except (Failure, subprocess.TimeoutExpired, OSError) as failure:
            failures += 1
            print(f"not ok {number} - {name}", flush=True)
            print("\n".join("# " + line for line in str(failure).splitlines()), flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
