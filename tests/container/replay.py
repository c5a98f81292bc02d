#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A CRI server of the tests: it answers as CRI-O does, and in all wrong ways. Prints TAP.

replay.py FIND-CONTAINER

CRI-O itself is not run: the shape of its answers was taken from its published source
(cri-o/cri-o, server/container_status.go, container_list.go, sandbox_status.go, version.go).
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.append("/usr/lib/python3/dist-packages")  # where Debian puts python3-h2
from tap import (Finder, contains, decode, encode, encode_map, equal, find_once,  # noqa: E402
                 frame, run_all, test)

try:
    import h2.config
    import h2.connection
    import h2.events
    import h2.exceptions
except ImportError:
    print("1..0 # SKIP python3-h2 is not here")
    sys.exit(0)

TOOL = str(pathlib.Path(sys.argv[1]).resolve())
HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
ID = "c0ffee" + "0" * 58
OTHER = "c0ffee" + "1" * 58
ENDED = "dead" + "2" * 60
SANDBOX = "5a" + "3" * 62
DIGEST = "sha256:" + "ab" * 32
CREATED, RUNNING, EXITED = 0, 1, 2


class Server:
    """Serves a unix socket. `handlers` maps the name of a call to a function (stream, request)."""

    def __init__(self, path, handlers):
        self.path, self.handlers = path, handlers
        self.connections, self.open, self.stopping = 0, [], False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.stopping:
            try:
                connected, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.append(connected)
            threading.Thread(target=self.serve, args=(connected,), daemon=True).start()

    def serve(self, connected):
        try:
            Connection(self, connected).loop()
        except (OSError, h2.exceptions.ProtocolError):
            pass
        finally:
            connected.close()

    def drop_connections(self):
        for connected in self.open:
            try:
                connected.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.open = []

    def stop(self):
        self.stopping = True
        self.listener.close()
        self.drop_connections()
        if os.path.exists(self.path):
            os.unlink(self.path)


class Connection:
    def __init__(self, server, connected):
        self.server, self.socket = server, connected
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.requests = {}
        self.lock = threading.RLock()

    def loop(self):
        if "connect" in self.server.handlers:
            self.server.handlers["connect"](self.socket)
            return
        self.h2.initiate_connection()
        self.flush()
        while self.read():
            pass

    def flush(self):
        with self.lock:
            self.socket.sendall(self.h2.data_to_send())

    def read(self):
        data = self.socket.recv(1 << 16)
        if not data:
            return False
        with self.lock:
            events = self.h2.receive_data(data)
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                path = dict(event.headers)[b":path"].decode()
                self.requests[event.stream_id] = [path, dict(event.headers), b""]
            elif isinstance(event, h2.events.DataReceived):
                self.requests[event.stream_id][2] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                threading.Thread(target=self.answer, args=(event.stream_id,), daemon=True).start()
        self.flush()
        return True

    def answer(self, stream):
        path, headers, body = self.requests[stream]
        call = Stream(self, stream, headers)
        try:
            self.server.handlers[path.rsplit("/", 1)[1]](call, decode(body[5:]))
        except (OSError, h2.exceptions.ProtocolError):
            pass


class Stream:
    def __init__(self, connection, number, headers):
        self.connection, self.number, self.request_headers = connection, number, headers

    def headers(self, headers, end=False):
        with self.connection.lock:
            self.connection.h2.send_headers(self.number, headers, end_stream=end)
        self.connection.flush()

    def data(self, data, end=False):
        """Waits for room; stops when the connection has gone."""
        while data or end:
            with self.connection.lock:
                room = min(self.connection.h2.local_flow_control_window(self.number),
                           self.connection.h2.max_outbound_frame_size)
                piece, last = data[:room], len(data) <= room
                if piece or last:
                    self.connection.h2.send_data(self.number, piece, end_stream=end and last)
            self.connection.flush()
            data = data[len(piece):]
            if last:
                return
            if not piece:
                time.sleep(0.001)

    def good(self, *messages, status=0, text=None):
        trailers = [("grpc-status", str(status))]
        if text is not None:
            trailers.append(("grpc-message", text))
        if not messages:
            self.headers(HEADERS + trailers, end=True)
            return
        self.headers(HEADERS)
        for message in messages:
            self.data(frame(message if isinstance(message, bytes) else encode(message)))
        self.headers(trailers, end=True)

    def break_connection(self):
        self.connection.socket.shutdown(socket.SHUT_RDWR)


def spec(**more):
    return {"ociVersion": "1.2.0", "process": {"cwd": "/", "env": ["PATH=/bin"],
                                               "user": {"uid": 0, "gid": 0}},
            "root": {"path": "/var/lib/containers/storage/overlay/x/merged"},
            "hostname": "pod-one", "mounts": [], "linux": {"namespaces": [{"type": "pid"}]}, **more}


class Crio:
    """A CRI-O with three containers in a pod; tests change what it tells."""

    def __init__(self, pid):
        self.pid = pid
        self.info = {"sandboxID": SANDBOX, "pid": pid, "runtimeSpec": spec(), "privileged": False}
        self.containers = {ID: ("main", RUNNING), OTHER: ("helper", RUNNING),
                           ENDED: ("main", EXITED)}
        self.started = 1000
        self.asked = []

    def handlers(self, **other):
        own = {name: getattr(self, name) for name in
               ("Version", "ListContainers", "ContainerStatus", "ListPodSandbox",
                "PodSandboxStatus", "GetContainerEvents")}
        return {**own, **other}

    def Version(self, stream, _):
        self.asked.append(stream.request_headers)
        stream.good({1: "0.1.0", 2: "cri-o", 3: "1.34.0", 4: "v1"})

    def ListContainers(self, stream, _):
        stream.good({1: [
            {1: id, 2: SANDBOX, 3: {1: name}, 4: {1: "quay.io/some/image:1"}, 5: "quay.io/some/"
             "image@" + DIGEST, 6: state, 7: 5, 8: encode_map({"app": "x"})}
            for id, (name, state) in self.containers.items()]})

    def ContainerStatus(self, stream, request):
        id = request[1][0].decode()
        if id not in self.containers:
            stream.good(status=5, text=f"could not find container %22{id}%22%0a%1b[2J")
            return
        name, state = self.containers[id]
        status = {1: id, 2: {1: name, 2: 1}, 3: state, 4: 5, 5: self.started, 7: 3,
                  8: {1: "quay.io/some/image:1"}, 9: "quay.io/some/image@" + DIGEST, 10: "Error",
                  12: encode_map({"app": "x", "io.kubernetes.container.name": name}),
                  13: encode_map({"note": "caf\u00e9"}), 15: "/var/log/x", 17: "cd" * 32}
        verbose = request.get(2) == [1]
        info = self.info if isinstance(self.info, str) else json.dumps(self.info)
        stream.good({1: status, 2: encode_map({"info": info}) if verbose else []})

    def ListPodSandbox(self, stream, _):
        stream.good({1: [{1: SANDBOX, 2: {1: "pod-one", 2: "uid-1", 3: "space", 4: 0}, 3: 0}]})

    def PodSandboxStatus(self, stream, _):
        stream.good({1: {1: SANDBOX, 2: {1: "pod-one", 2: "uid-1", 3: "space"}, 3: 0,
                         5: {1: "10.85.0.7", 2: [{1: "fd00::7"}]}}, 4: 99})

    def GetContainerEvents(self, stream, _):
        stream.headers(HEADERS)
        for number in range(3):
            stream.data(frame(encode({1: ID, 2: number, 3: 77})))
        stream.headers([("grpc-status", "0")], end=True)


class Bed:
    """A directory, a process that stands for a container, and a server while a test needs one."""

    def __init__(self, directory, pid):
        self.directory, self.pid = directory, pid
        self.path = os.path.join(directory, "crio.sock")

    def serve(self, **other):
        self.crio = Crio(self.pid)
        return Serving(Server(self.path, self.crio.handlers(**other)))

    def finder(self, timeout=5000):
        return Finder(TOOL, "--cri", "--endpoint", "unix://" + self.path, "--timeout",
                      str(timeout))

    def failure(self, handlers, timeout=5000, line="find " + ID):
        """What is told when these calls are answered so."""
        with self.serve(**handlers), self.finder(timeout) as finder:
            answer = finder.ask(line)
            if "code" not in answer:
                raise AssertionError(f"no failure: {answer}")
            return answer


class Serving:
    def __init__(self, server):
        self.server = server

    def __enter__(self):
        return self.server

    def __exit__(self, *_):
        self.server.stop()


@test
def a_container_of_crio(bed):
    """all that CRI-O tells about a container is found, by id, beginning, name and full name"""
    with bed.serve() as server, bed.finder() as finder:
        equal(finder.ask("version"), {"version": "cri-o 1.34.0", "socket": bed.path})
        for text in (ID, ID[:7], "space/pod-one/main", "main"):
            found = finder.ask("find " + text)
            equal(found.get("id"), ID, str(found))
        wanted = {"name": "main", "pod": "pod-one", "namespace": "space", "uid": "uid-1",
                  "sandbox": SANDBOX, "pid": bed.pid, "state": "running", "digest": DIGEST,
                  "image": "quay.io/some/image:1", "addresses": ["10.85.0.7", "fd00::7"],
                  "annotations": {"note": "caf\u00e9"}, "runtime": "cri-o 1.34.0"}
        equal({key: found[key] for key in wanted}, wanted)
        equal(found["spec"]["hostname"], "pod-one")
        equal(found["start_time"] > 0, True)
        listed = finder.ask("list")["list"]
        equal([(one["id"], one["pod"], one["pid"]) for one in listed],
              [(ID, "pod-one", 0), (OTHER, "pod-one", 0), (ENDED, "pod-one", 0)])
        equal(server.connections in (1, 23), True, f"{server.connections} connections")
        headers = bed.crio.asked[0]
        equal(headers[b"te"], b"trailers")
        equal(headers[b"grpc-timeout"], b"5000m")


@test
def several_are_meant(bed):
    """a beginning or a name that fits several is refused, and all are listed"""
    with bed.serve(), bed.finder() as finder:
        answer = finder.ask("find c0ffee")
        equal(answer["code"], "container-ambiguous")
        contains(answer["error"], ID)
        contains(answer["error"], OTHER + " (space/pod-one/helper)")
        bed.crio.containers[OTHER] = ("main", RUNNING)
        equal(finder.ask("find main")["code"], "container-ambiguous")


@test
def not_running(bed):
    """containers that have ended, were not started, end meanwhile or are not there are told apart"""
    with bed.serve(), bed.finder() as finder:
        answer = finder.ask("find " + ENDED)
        equal(answer["code"], "container-not-running")
        contains(answer["error"], "exit code 3: Error")
        bed.crio.containers[ID] = ("main", CREATED)
        contains(finder.ask("find " + ID)["error"], "created but not started")
        equal(finder.ask("find main")["code"], "container-not-running")
        equal(finder.ask("find nothing")["code"], "container-missing")
        equal(finder.ask("find ")["code"], "container-missing")


    def ends(stream, request):
        bed.crio.started += 1
        bed.crio.ContainerStatus(stream, request)

    answer = bed.failure({"ContainerStatus": ends})
    equal(answer["code"], "container-not-running")
    contains(answer["error"], "just ended")


@test
def wrong_process(bed):
    """a process that is gone or in another control group is not taken for the container's"""
    with bed.serve(), bed.finder() as finder:
        bed.crio.info["pid"] = 2 ** 22 + 5
        equal(finder.ask("find " + ID)["code"], "container-not-running")
        bed.crio.info["pid"] = bed.pid
        bed.crio.info["runtimeSpec"]["linux"]["cgroupsPath"] = "kubepods.slice:crio:" + ID
        told = any(not line.endswith(":/") for line in
                   pathlib.Path("/proc/self/cgroup").read_text().splitlines())
        equal(finder.ask("find " + ID).get("code"), "container-process" if told else None)


@test
def unusable_information(bed):
    """verbose information that is missing, of wrong types, too deep or no JSON is refused"""
    bad = ["", "[]", "{", "{\"pid\": 1}", "[" * 100000, "{\"a\":" * 200 + "1" + "}" * 200,
           {"pid": bed.pid, "runtimeSpec": []}, {"pid": -5, "runtimeSpec": spec()},
           {"pid": 2 ** 40, "runtimeSpec": spec()}, {"pid": "1", "runtimeSpec": spec()},
           {"pid": bed.pid}]
    with bed.serve(), bed.finder() as finder:
        for info in bad:
            bed.crio.info = info
            equal(finder.ask("find " + ID)["code"], "container-record", str(info)[:60])
        bed.crio.info = {"pid": 0, "runtimeSpec": spec()}
        equal(finder.ask("find " + ID)["code"], "container-not-running")
        bed.crio.info = {"pid": bed.pid, "runtimeSpec": spec(mounts=[{"destination": 7}])}
        equal(finder.ask("find " + ID)["spec"]["code"], "oci-spec")


@test
def unusable_names(bed):
    """ids that are no ids and addresses that are none are refused; texts are cleaned"""
    for id in ("../../etc", "a/b", "x\x1b[2J", "", "-x"):
        listed = {1: [{1: id, 6: 1}]}
        answer = bed.failure({"ListContainers": lambda stream, _, m=listed: stream.good(m)})
        equal(answer["code"], "container-record", id)
    answer = bed.failure({"PodSandboxStatus": lambda stream, _: stream.good(
        {1: {1: SANDBOX, 5: {1: "10.0.0.1; rm"}}})})
    equal(answer["code"], "container-record")
    with bed.serve(ListPodSandbox=lambda stream, _: stream.good(
            {1: [{1: SANDBOX, 2: {1: "po\x1bd\xff", 3: b"\xff\xfe"}}]})), bed.finder() as finder:
        one = finder.ask("list")["list"][0]
        equal((one["pod"], one["namespace"]), ("po?d\xff", "??"))


@test
def refusals(bed):
    """statuses of gRPC become codes; their text is decoded and cleaned"""
    table = {1: "grpc-refused", 4: "grpc-timeout", 5: "grpc-not-found", 7: "grpc-refused",
             12: "grpc-unsupported", 13: "grpc-refused", 14: "grpc-refused", 99: "grpc-refused"}
    for status, code in table.items():
        answer = bed.failure({"ListContainers": lambda stream, _, s=status: stream.good(
            status=s, text="no%20way%1b[2J 100%")})
        equal(answer["code"], code, str(status))
        if status != 4:
            contains(answer["error"], "no way?[2J 100%")
    late = bed.failure({"ListContainers": lambda stream, _: stream.good(b"", status=13)})
    contains(late["error"], "INTERNAL (13)")


def headers_then(*pieces, headers=HEADERS, trailers=None, then=None):
    def handler(stream, _):
        stream.headers(headers)
        for piece in pieces:
            stream.data(piece)
        if trailers is not None:
            stream.headers(trailers, end=True)
        elif then is None:
            stream.data(b"", end=True)
        else:
            then(stream)
    return handler


OK = [("grpc-status", "0")]


@test
def ill_mannered_answers(bed):
    """each malformed answer is refused with its reason"""
    html = [(":status", "404"), ("content-type", "text/html")]
    table = [
        (headers_then(frame(b"")), "grpc-protocol", "without a status"),
        (headers_then(frame(b"abc")[:6], trailers=OK), "grpc-protocol", "middle of a message"),
        (headers_then(b"\0\0", trailers=OK), "grpc-protocol", "middle of a message"),
        (headers_then(frame(b"", 1), trailers=OK), "grpc-protocol", "compressed"),
        (headers_then(frame(b""), frame(b""), trailers=OK), "grpc-protocol", "more than one"),
        (headers_then(trailers=OK), "grpc-protocol", "no message"),
        (headers_then(b"\0\x01\0\0\x01", trailers=OK), "grpc-too-large", "16777217 bytes"),
        (headers_then(b"\0\xff\xff\xff\xff", then=lambda s: None), "grpc-too-large", "4294967295"),
        (headers_then(frame(b"\xff" * 40), trailers=OK), "grpc-protocol", "decoded"),
        (headers_then(frame(b"\x0a\x00" * (8 << 20)), trailers=OK), "grpc-protocol", "decoded"),
        (headers_then(b"<html>", headers=html), "grpc-protocol", "HTTP status 404"),
        (headers_then(headers=html), "grpc-protocol", "HTTP status 404"),
        (headers_then(frame(b""), headers=[(":status", "200"), ("content-type", "text/plain")],
                      trailers=OK), "grpc-protocol", "application/grpc"),
        (headers_then(frame(b""), headers=[(":status", "200")], trailers=OK), "grpc-protocol",
         "application/grpc"),
        (headers_then(frame(b""), headers=[(":status", "200"), ("content-type",
                                                                "application/grpcx")],
                      trailers=OK), "grpc-protocol", "application/grpc"),
        (headers_then(frame(b""), trailers=[("grpc-status", "nought")]), "grpc-protocol",
         "not a number"),
        (headers_then(frame(b""), trailers=[("grpc-status", "-1")]), "grpc-protocol",
         "not a number"),
    ]
    for handler, code, text in table:
        answer = bed.failure({"ListContainers": handler})
        equal(answer["code"], code, answer["error"])
        contains(answer["error"], text)


@test
def broken_connections(bed):
    """a connection that ends, and a stream that is reset, are told"""
    def reset(stream):
        with stream.connection.lock:
            stream.connection.h2.reset_stream(stream.number, error_code=2)
        stream.connection.flush()

    broken = bed.failure({"ListContainers": lambda stream, _: stream.break_connection()})
    equal(broken["code"], "grpc-lost", broken["error"])
    broken = bed.failure({"ListContainers": headers_then(
        frame(b"x" * 1000)[:500], then=Stream.break_connection)})
    equal(broken["code"], "grpc-lost", broken["error"])
    equal(bed.failure({"ListContainers": headers_then(then=reset)})["code"], "grpc-protocol")


@test
def silence(bed):
    """no answer, half an answer and an answer by drops end with the deadline"""
    def drops(stream):
        for _ in range(1000):
            stream.data(b"\0")
            time.sleep(0.02)

    for handler in (lambda stream, _: None, headers_then(then=lambda s: None),
                    headers_then(frame(b"x" * 1000)[:500], then=lambda s: None),
                    headers_then(b"\0\0\0\x10\0", then=drops)):
        answer = bed.failure({"ListContainers": handler}, timeout=300)
        equal(answer["code"], "grpc-timeout", answer["error"])
        contains(answer["error"], "within 300 ms")


@test
def floods(bed):
    """an answer without an end is cut off, whatever it consists of"""
    def flood(piece):
        def handler(stream, _):
            stream.headers(HEADERS)
            for _ in range(100000):
                stream.data(piece)
        return handler

    equal(bed.failure({"ListContainers": flood(frame(b""))})["code"], "grpc-protocol")
    equal(bed.failure({"ListContainers": flood(b"\0\x01" + b"\0" * 16000)}, 20000)["code"],
          "grpc-protocol")
    with bed.serve(GetContainerEvents=flood(frame(encode({1: ID, 2: 9})))), \
            bed.finder() as finder:
        equal(finder.ask("events 500 5"), {"left": 5})  # of unknown types: passed over
        equal(finder.ask("find " + ID)["id"], ID)


@test
def not_http2(bed):
    """something else that listens at the socket is not waited for longer than allowed"""
    def talk(text):
        def connect(connected):
            connected.recv(1 << 16)
            connected.sendall(text)
            time.sleep(2 if not text else 0)
        return connect

    for text, codes in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", ("grpc-protocol", "grpc-lost")),
                        (b"\xff" * 100000, ("grpc-protocol", "grpc-lost")),
                        (b"", ("grpc-timeout",))):
        with bed.serve(connect=talk(text)):
            answer = find_once(TOOL, "--cri", "--endpoint", bed.path, "--timeout", "500")
            equal(answer["code"] in codes, True, str(answer))


@test
def large_answer(bed):
    """an answer of nearly 16 MiB is taken"""
    big = encode({1: [{1: ID, 3: {1: "main"}, 6: 1, 9: encode_map({"x": "y" * (15 << 20)})}]})
    with bed.serve(ListContainers=lambda stream, _: stream.good(big)), bed.finder(20000) as finder:
        equal(finder.ask("find " + ID).get("id"), ID)


@test
def connections_come_back(bed):
    """after the connection was closed, and after the server was started again, calls work"""
    with bed.serve() as server, bed.finder() as finder:
        equal(finder.ask("find main")["id"], ID)
        before = server.connections
        server.drop_connections()
        equal(finder.ask("find main").get("id"), ID)
        equal(server.connections - before in (1, 5), True, "connections")
        server.stop()
        equal(finder.ask("find main")["code"], "grpc-unreachable")
        with bed.serve() as again:
            equal(finder.ask("find main")["id"], ID)
            equal(again.connections in (1, 5), True, "connections")


@test
def events(bed):
    """events arrive; their number, a deadline or the other side ends them; they may ask back"""
    def waits(stream, _):
        stream.headers(HEADERS)
        stream.data(frame(encode({1: ID, 2: 1})))

    with bed.serve(), bed.finder() as finder:
        first = finder.ask("events 5000 9")
        seen = [first] + [finder.line() for _ in range(2)]
        equal([one["event"] for one in seen], [0, 1, 2])
        equal(finder.line(), {"left": 6})
        finder.ask("events 5000 1")
        equal(finder.line(), {"left": 0})
        finder.ask("nested 5000 2")
        equal(finder.line().get("id"), ID)
        equal(finder.line()["event"], 1)
        equal(finder.line().get("id"), ID)
        equal(finder.line(), {"left": 0})
    with bed.serve(GetContainerEvents=waits), bed.finder() as finder:
        finder.ask("events 300 2")
        equal(finder.line(), {"left": 1})
        equal(finder.ask("find main").get("id"), ID)
    with bed.serve(GetContainerEvents=lambda stream, _: stream.good(status=12)), \
            bed.finder() as finder:
        equal(finder.ask("events 300 2")["code"], "grpc-unsupported")


@test
def nobody_there(bed):
    """sockets that are missing, no sockets, or too long are unreachable"""
    plain = os.path.join(bed.directory, "plain")
    pathlib.Path(plain).write_text("")
    for path in (os.path.join(bed.directory, "nothing"), plain, "/x" * 100, "relative"):
        answer = find_once(TOOL, "--cri", "--endpoint", path)
        equal(answer["code"], "grpc-unreachable", path)


@test
def by_environment(bed):
    """without an endpoint the one of the environment is asked, and named when it has nothing"""
    environment = {**os.environ, "CONTAINER_RUNTIME_ENDPOINT": "unix://" + bed.path}
    with bed.serve():
        equal(find_once(TOOL, "main", env=environment).get("id"), ID)
        answer = find_once(TOOL, "--state-directory", bed.directory, "absent-one", env=environment)
        equal(answer["code"], "container-missing")
        contains(answer["error"], bed.path)
        contains(answer["error"], bed.directory)
    answer = find_once(TOOL, "main", env=environment)
    equal(answer["code"], "container-missing")
    contains(answer["error"], "Can't connect")


def main():
    stand_in = subprocess.Popen(["sleep", "1000"])
    try:
        with tempfile.TemporaryDirectory(prefix="stasis-replay-") as directory:
            return run_all(Bed(directory, stand_in.pid))
    finally:
        stand_in.kill()
        stand_in.wait()


sys.exit(main())
