#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Processes that are restored in another network namespace, at another address, once and twice.

A workload (tests/root/network-workload.py) has every kind of socket in namespace A, with peers in
namespace B. CRIU saves it; its images are rewritten by rewrite-network; it comes back in namespace
C, at an address that A never had, and is asked over that address what it sees. Prints TAP. All
traffic stays inside the namespaces that are made here.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
LIMIT = 60
NAMES = {letter: f"stasis-{os.getpid()}-{letter}" for letter in "abc"}
SOURCE4, SOURCE6 = "10.77.1.2", "fd77:1::2"
PEER4, PEER6 = "10.77.1.1", "fd77:1::1"
FAR4 = "10.77.1.99"  # answers nothing
# Others each time: what was killed leaves ports in TIME_WAIT.
TARGETS = [(f"10.77.2.{n}", f"fd77:2::{n}") for n in (2, 3, 4, 5)]
RESET = ["ConnectionResetError"]


class Failure(Exception):
    pass


def call(*command, check=True):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=LIMIT, check=False)
    if check and done.returncode:
        raise Failure(f"{' '.join(command)}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done


def inside(letter, *command):
    return ["nsenter", f"--net=/run/netns/{NAMES[letter]}", *command]


def link(one, one_addresses, two, two_addresses):
    ends = [(one, f"st{os.getpid() % 100000}{one}{two}", one_addresses),
            (two, f"st{os.getpid() % 100000}{two}{one}", two_addresses)]
    call("ip", "link", "add", ends[0][1], "netns", NAMES[one], "type", "veth", "peer", "name",
         ends[1][1], "netns", NAMES[two])
    for letter, device, addresses in ends:
        for address in addresses:
            nodad = ["nodad"] if ":" in address else []
            call(*inside(letter, "ip", "address", "add", address, "dev", device, *nodad))
        call(*inside(letter, "ip", "link", "set", device, "up"))
    return [end[1] for end in ends]


def make_network():
    for letter in NAMES:
        call("ip", "netns", "add", NAMES[letter])
        call(*inside(letter, "ip", "link", "set", "lo", "up"))
    devices = link("a", [SOURCE4 + "/24", SOURCE6 + "/64"], "b", [PEER4 + "/24", PEER6 + "/64"])
    call(*inside("a", "ip", "neighbour", "add", FAR4, "lladdr", "02:00:00:00:00:63", "dev", devices[0]))
    link("c", [t[0] + "/24" for t in TARGETS] + [t[1] + "/64" for t in TARGETS],
         "b", ["10.77.2.1/24", "fd77:2::1/64"])
    # A connected UDP socket needs a way to where it is connected.
    call(*inside("c", "ip", "route", "add", "default", "via", "10.77.2.1"))
    call(*inside("c", "ip", "-6", "route", "add", "default", "via", "fd77:2::1"))
    return devices[1]


def connect_again(device):
    """After cut_off: a device that is down loses its IPv6 addresses."""
    call(*inside("b", "ip", "link", "set", device, "up"))
    call(*inside("b", "ip", "address", "replace", PEER6 + "/64", "dev", device, "nodad"))


def remove_network():
    for letter in NAMES:
        call("ip", "netns", "delete", NAMES[letter], check=False)


class Namespace:
    """Code that runs in a thread, in a network namespace."""

    def __init__(self, letter):
        self.path = f"/run/netns/{NAMES[letter]}"

    def run(self, function):
        result = {}

        def body():
            import ctypes
            libc = ctypes.CDLL(None, use_errno=True)
            fd = os.open(self.path, os.O_RDONLY)
            if libc.setns(fd, 0x40000000) < 0:
                result["error"] = OSError(ctypes.get_errno(), "setns")
                return
            os.close(fd)
            try:
                result["value"] = function()
            except Exception as problem:  # passed on below
                result["error"] = problem

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if "error" in result:
            raise result["error"]
        return result["value"]


def ask(address, port, text, tries=1):
    """Asks the workload over one of its listeners."""
    def once():
        with socket.create_connection((address, port), timeout=10) as connection:
            connection.sendall(text.encode() + b"\n")
            data = b""
            while piece := connection.recv(65536):
                data += piece
        return json.loads(data)

    for attempt in range(tries):
        try:
            return Namespace("b").run(once)
        except (ConnectionError, socket.timeout, OSError) as problem:
            if attempt == tries - 1:
                raise Failure(f"{address} port {port}: {problem}") from None
            time.sleep(0.1)
    return None


def peers_of_workload():
    """The far ends in B: what each does decides the state that the workload's end is in."""
    held = []

    def connect(address, port, name):
        connection = socket.create_connection((address, port), timeout=10)
        connection.sendall(name.encode() + b"\n")
        if connection.recv(1) != b"+":
            raise Failure(f"{name} was not taken")
        held.append(connection)
        return connection

    def all_of_them():
        listener = socket.create_server((PEER4, 7100))
        held.append(listener)
        connect(SOURCE4, 7001, "keep plain")
        connect(SOURCE4, 7001, "keep unread").sendall(b"left")
        closer = connect(SOURCE4, 7001, "keep close-wait")
        closer.sendall(b"bye")
        closer.shutdown(socket.SHUT_WR)
        connect(SOURCE4, 7001, "keep fin-wait")
        connect(SOURCE4, 7001, "keep last-ack").shutdown(socket.SHUT_WR)
        connect(SOURCE6, 7002, "keep six")
        connect(SOURCE6, 7002, "keep six-close-wait").shutdown(socket.SHUT_WR)
        connect(SOURCE4, 7003, "keep mapped")
        connect(SOURCE4, 7003, "keep mapped-close-wait").shutdown(socket.SHUT_WR)
        held.append(connect(SOURCE4, 7001, "keep full"))
        if ask_here(SOURCE4, "dial") != "ok":
            raise Failure("the workload could not dial")
        held.append(listener.accept()[0])

    def ask_here(address, text):
        with socket.create_connection((address, 7001), timeout=10) as connection:
            connection.sendall(text.encode() + b"\n")
            return json.loads(connection.makefile().read())

    Namespace("b").run(all_of_them)
    return held


class Source:
    def __init__(self, settings, directory, wildcard):
        self.settings = settings
        self.wildcard = wildcard  # listens on all addresses and on the loopback one, too
        self.before = None
        self.targets = TARGETS[:2] if wildcard else TARGETS[2:]
        self.directory = directory
        self.images = directory / "images"
        self.images.mkdir()
        self.log = directory / "workload.log"

    def criu(self, *arguments):
        return [self.settings.criu, *arguments, "-v4", "--tcp-established", "--network-lock",
                "skip", "--ghost-limit", "64M"]

    def save(self):
        with open(self.log, "wb") as log:
            process = subprocess.Popen(
                inside("a", "setsid", sys.executable, str(HERE / "network-workload.py"), SOURCE4,
                       SOURCE6, PEER4, FAR4),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        end = time.monotonic() + LIMIT
        while "ready" not in self.log.read_text():
            if process.poll() is not None or time.monotonic() > end:
                raise Failure(f"the workload did not start: {self.log.read_text()[-800:]}")
            time.sleep(0.05)
        held = peers_of_workload()
        if not self.wildcard:
            ask(SOURCE4, 7001, "narrow")
        self.before = ask(SOURCE4, 7001, "where")
        self.cut_off(process.pid)
        done = call(*inside("a", *self.criu("dump", "-t", str(process.pid), "-D", str(self.images),
                                            "-o", "dump.log")), check=False)
        process.wait(timeout=LIMIT)
        if done.returncode:
            text = (self.images / "dump.log").read_text(errors="replace")
            errors = [line for line in text.splitlines() if "Error" in line]
            raise Failure(f"dump: {errors[-5:]}")
        for connection in held:
            connection.close()

    def cut_off(self, pid):
        """From here on nothing that the workload sends is acknowledged."""
        call(*inside("b", "ip", "link", "set", self.settings.device, "down"))
        os.kill(pid, signal.SIGUSR1)
        end = time.monotonic() + LIMIT
        while "cut off" not in self.log.read_text():
            if time.monotonic() > end:
                raise Failure("the workload did not notice that it is cut off")
            time.sleep(0.05)

    def rewrite(self, output, *options):
        """The answer of rewrite-network, and its process, which holds ports."""
        output.mkdir()
        process = subprocess.Popen(
            inside("c", self.settings.rewrite, str(self.images), str(output), *options),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return json.loads(process.stdout.readline()), process

    def restore(self, name, target, *options):
        new = self.directory / f"{name}.new"
        moves = ["--move", f"{SOURCE4}={target[0]}", "--move", f"{SOURCE6}={target[1]}"]
        answer, holder = self.rewrite(new, *moves, *options)
        if "code" in answer:
            raise Failure(f"rewrite: {answer}")
        merged = self.directory / name
        shutil.copytree(self.images, merged)
        shutil.copytree(new, merged, dirs_exist_ok=True)
        command = inside("c", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
                         *self.criu("restore", "-D", str(merged), "-o", "restore.log"))
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            self.wait_restored(merged / "restore.log", process)
        finally:
            holder.stdin.close()
            holder.wait(timeout=LIMIT)
        return Copy(process, target, answer)

    def wait_restored(self, log, process):
        end = time.monotonic() + LIMIT
        while True:
            text = log.read_text(errors="replace") if log.exists() else ""
            if "Restore finished successfully" in text:
                return
            if process.poll() is not None or time.monotonic() > end:
                errors = [line for line in text.splitlines() if "Error" in line]
                raise Failure(f"restore: {errors[:6]}")
            time.sleep(0.05)


class Copy:
    def __init__(self, process, target, summary):
        self.process = process
        self.target = target
        self.summary = summary

    def end(self):
        self.process.kill()  # and with it the first process of the pid namespace
        self.process.wait()


def equal(what, expected, seen):
    if expected != seen:
        raise Failure(f"{what}: expected {expected!r}, seen {seen!r}")


# Tests. `source` is saved once; `copies` are those that run.


def descriptions(source, copies):
    done = call(source.settings.rewrite, "--describe", str(source.images))
    told = json.loads(done.stdout)
    equal("addresses", sorted([SOURCE4, SOURCE6]), sorted(told["addresses"]))
    ports = sorted(listener["port"] for listener in told["listeners"])
    equal("listeners", [7001, 7002, 7003, 7004], ports)
    states = sorted(connection["state"].replace("fin-wait-2", "fin-wait-1")  # acknowledged yet?
                    for connection in told["foreign"])
    equal("states of foreign connections",
          sorted(["established"] * 6 + ["close-wait"] * 3 +
                 ["last-ack", "fin-wait-1", "syn-sent"]), states)
    equal("ends inside", 12, len(told["inside"]))
    equal("udp", 4, len(told["udp"]))
    kernel = [name for name in told["unix"] if name["kind"] == "kernel"]
    equal("kernel names", 4, len(kernel))
    equal("cuda name", 1, sum("cuda-uvmfd" in name["name"] for name in kernel))


def missing_addresses(source, copies):
    answer, holder = source.rewrite(source.directory / "missing")
    holder.stdin.close()
    holder.wait()
    equal("code", "address-missing", answer.get("code"))
    for address in (SOURCE4, SOURCE6):
        if address not in answer["message"]:
            raise Failure(f"{address} is not in {answer['message']!r}")


def foreign_refused(source, copies):
    answer, holder = source.rewrite(source.directory / "refused", "--foreign", "refuse", "--move",
                                    f"{SOURCE4}={TARGETS[0][0]}", "--move",
                                    f"{SOURCE6}={TARGETS[0][1]}")
    holder.stdin.close()
    holder.wait()
    equal("code", "tcp-outside", answer.get("code"))


def restored(source, copies):
    copies.append(source.restore("one", source.targets[0], "--clone", "one"))


def second(source, copies):
    if not copies:
        raise Failure("the first one is not there")
    # What cannot be there twice: the wildcard and the loopback listener.
    try:
        copies.append(source.restore("refused", source.targets[1], "--clone", "two"))
    except Failure as failure:
        if "address-taken" not in str(failure):
            raise
    else:
        raise Failure("expected 'address-taken'")


def listeners(source, copies):
    for copy in copies:
        for address, port in ((copy.target[0], 7001), (copy.target[1], 7002),
                              (copy.target[0], 7003), (copy.target[1], 7003)):
            if port == 7003 and not source.wildcard:
                continue
            where = ask(address, port, "where")
            equal("descriptors", source.before["descriptors"], where["descriptors"])


def inside_pairs(source, copies):
    for copy in copies:
        for round_ in range(2):
            for name, result in ask(copy.target[0], 7001, f"pairs {round_}").items():
                equal(f"pair {name}", "ok", result)


def addresses(source, copies):
    for copy in copies:
        where = ask(copy.target[0], 7001, "where")
        text = json.dumps(where["names"])
        for address in (SOURCE4, SOURCE6):
            if address in text:
                raise Failure(f"{address} is still in {text}")
        if copy.target[0] not in text or copy.target[1] not in text:
            raise Failure(f"{copy.target} are not in {text}")


FOREIGN = {
    # read until it ends, then poll before that, then a write
    "plain": ["ConnectionResetError", "end"],
    "unread": ["left", "ConnectionResetError", "end"],
    "close-wait": ["bye", "end"],
    "last-ack": ["end"],
    "fin-wait": ["ConnectionResetError", "end"],
    "six": ["ConnectionResetError", "end"],
    "six-close-wait": ["end"],
    "mapped": ["ConnectionResetError", "end"],
    "mapped-close-wait": ["end"],
    "full": ["ConnectionResetError", "end"],
    "dialed": ["ConnectionResetError", "end"],
    "dialing": ["ConnectionRefusedError", "end"],
}


def foreign(source, copies):
    for copy in copies:
        equal("closed connections", len(FOREIGN), copy.summary["closed"])
        seen = ask(copy.target[0], 7001, "foreign")
        print(f"# {json.dumps(seen)}")
        for name, expected in FOREIGN.items():
            equal(f"reads of {name}", expected, seen[name]["reads"])
            equal(f"write to {name}", "BrokenPipeError", seen[name]["write"])
            wanted = "in" if FOREIGN[name][-2:] in (["end"], ["bye", "end"]) else "hup"
            if wanted not in seen[name]["poll"]:
                raise Failure(f"poll of {name}: {seen[name]['poll']}")


def exchanged(source, copies):
    """The first one kept the ports of connections without a listener, the second one could not."""
    equal("names of the first", 4, copies[0].summary["renamed"])
    equal("ports of the first", 0, copies[0].summary["exchanged"])
    # Both ends of the one over 127.0.0.1: all others have addresses of their own.
    equal("ports of the second", 2, copies[1].summary["exchanged"])


def fresh(source, copies):
    answer, holder = source.rewrite(source.directory / "fresh", "--fresh", "--move",
                                    f"{SOURCE4}={TARGETS[0][0]}", "--move",
                                    f"{SOURCE6}={TARGETS[0][1]}")
    holder.stdin.close()
    holder.wait()
    equal("answer", {"moved": 16, "exchanged": 9, "inside": 6, "closed": 12, "renamed": 0}, answer)


def lone_sockets(source, copies):
    for copy in copies:
        for name, result in ask(copy.target[0], 7001, "lone").items():
            equal(name, "ok", result)

        def datagram(copy=copy):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.settimeout(10)
                sender.sendto(b"hello", (copy.target[0], 7010))
                return sender.recvfrom(100)
        data, origin = Namespace("b").run(datagram)
        equal("answer", b"hello", data)
        equal("origin", (copy.target[0], 7010), origin)


def end_copies(source, copies):
    for copy in copies:
        copy.end()
    copies.clear()


TESTS = [
    ("describes the sockets", descriptions),
    ("lists the addresses that have no place", missing_addresses),
    ("refuses foreign connections when told to", foreign_refused),
    ("gives new ports when told to", fresh),
    ("restores at another address", restored),
    ("listeners answer at the new address", listeners),
    ("sockets tell the new address", addresses),
    ("connections inside carry data", inside_pairs),
    ("foreign connections end as lost ones", foreign),
    ("datagrams and unix names", lone_sockets),
    ("a second one is refused where the first listens", second),
]

CLONE_TESTS = [
    ("the first clone is restored", restored),
    ("the second clone is restored beside it",
     lambda source, copies: copies.append(
         source.restore("two", source.targets[1], "--clone", "two"))),
    ("only what was taken is exchanged", exchanged),
    ("both clones: listeners", listeners),
    ("both clones: addresses", addresses),
    ("both clones: connections inside", inside_pairs),
    ("both clones: foreign connections", foreign),
    ("both clones: datagrams and unix names", lone_sockets),
]


def run_tests(number, label, tests, source, copies):
    failed = 0
    try:
        source.save()
    except (Failure, OSError, subprocess.SubprocessError) as problem:
        print(f"# {label}: {problem}")
        tests = [(name, None) for name, _ in tests]
    for name, test in tests:
        number += 1
        try:
            if test is None:
                raise Failure("nothing was saved")
            test(source, copies)
            print(f"ok {number} - {label}: {name}")
        except (Failure, OSError, KeyError, ValueError, subprocess.SubprocessError) as problem:
            failed += 1
            print(f"not ok {number} - {label}: {name}")
            print(f"# {type(problem).__name__}: {problem}")
        sys.stdout.flush()
    end_copies(source, copies)
    return number, failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rewrite")
    parser.add_argument("--criu", required=True)
    parser.add_argument("--keep", action="store_true", help="leave the images and logs")
    settings = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if os.geteuid() or not os.path.exists(settings.criu) or not shutil.which("ip"):
        print("1..0 # SKIP needs root, ip and a CRIU")
        return 0
    directory = pathlib.Path(tempfile.mkdtemp(prefix="stasis-network-"))
    copies, number, failed = [], 0, 0
    print(f"1..{len(TESTS) + len(CLONE_TESTS)}")
    try:
        settings.device = make_network()
        for label, wildcard, tests in (("one", True, TESTS), ("clones", False, CLONE_TESTS)):
            place = directory / label
            place.mkdir()
            connect_again(settings.device)
            source = Source(settings, place, wildcard)
            number, bad = run_tests(number, label, tests, source, copies)
            failed += bad
    finally:
        end_copies(None, copies)
        remove_network()
        if settings.keep:
            print(f"# {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
