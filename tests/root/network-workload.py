#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: network-workload.py IPV4 IPV6 PEER-IPV4 FAR-IPV4

Holds every kind of socket for network.py and answers its questions over its listeners, one question
a connection. What it holds is in memory only: a restored copy knows what it had.
"""
import errno
import json
import os
import select
import signal
import socket
import sys
import time

OWN4, OWN6, PEER4, FAR4 = sys.argv[1:5]
TIMEOUT = 5
BITS = {"in": select.POLLIN, "out": select.POLLOUT, "err": select.POLLERR, "hup": select.POLLHUP,
        "rdhup": select.POLLRDHUP}

listeners = {}
pairs = {}
foreign = {}
lone = {}
early = {}


def listen(name, address, port, family=socket.AF_INET, dual=False):
    listeners[name] = socket.create_server((address, port), family=family, dualstack_ipv6=dual)


def pair(name, listener, address, family=socket.AF_INET):
    """Two ends of one connection; `listener` may be closed afterwards."""
    client = socket.create_connection((address, listener.getsockname()[1]))
    server, _ = listener.accept()
    client.settimeout(TIMEOUT)
    server.settimeout(TIMEOUT)
    pairs[name] = (client, server)


def orphan(name, address, family=socket.AF_INET):
    with socket.create_server((address, 0), family=family) as listener:
        pair(name, listener, address, family)


def make_pairs():
    pair("own4", listeners["v4"], OWN4)
    pair("own6", listeners["v6"], OWN6, socket.AF_INET6)
    pair("mapped", listeners["dual"], OWN4)
    orphan("orphan4", OWN4)
    orphan("orphan6", OWN6, socket.AF_INET6)
    orphan("loopback", "127.0.0.1")
    for name in ("own4", "orphan6"):
        pairs[name][0].sendall(b"early")
        early[name] = True


def make_lone():
    for name, port in (("bound", 7010), ("receiver", 7011)):
        lone[name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        lone[name].bind((OWN4, port))
    lone["sender"] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    lone["sender"].connect((OWN4, 7011))
    lone["outside"] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    lone["outside"].connect((PEER4, 7200))
    lone["auto"] = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    lone["auto"].bind("")
    lone["auto-sender"] = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    lone["auto-sender"].bind("")
    lone["auto-sender"].connect(lone["auto"].getsockname())
    lone["auto-listener"] = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    lone["auto-listener"].bind("")
    lone["auto-listener"].listen()
    lone["cuda"] = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    lone["cuda"].bind(f"\0cuda-uvmfd-4026531836-{os.getpid()}")
    lone["cuda"].listen()
    for name in ("receiver", "auto"):
        lone[name].settimeout(TIMEOUT)


def take(connection, name):
    foreign[name] = connection
    connection.sendall(b"+")
    if name == "fin-wait":
        connection.shutdown(socket.SHUT_WR)
    if name == "full":
        connection.setblocking(False)
        try:
            while True:
                connection.send(bytes(65536))
        except BlockingIOError:
            pass


def dial():
    foreign["dialed"] = socket.create_connection((PEER4, 7100), timeout=TIMEOUT)
    foreign["dialing"] = socket.socket()
    foreign["dialing"].setblocking(False)
    if foreign["dialing"].connect_ex((FAR4, 7200)) != errno.EINPROGRESS:
        return "not dialing"
    return "ok"


def narrow():
    """Gives up the listeners of which one network namespace can have only one."""
    for name in ("dual", "loopback"):
        listeners.pop(name).close()
    return "ok"


def all_sockets():
    for name, one in [*listeners.items(), *foreign.items(), *lone.items()]:
        yield name, one
    for name, (client, server) in pairs.items():
        yield name + "-client", client
        yield name + "-server", server


def where():
    return {"descriptors": {name: one.fileno() for name, one in all_sockets()},
            "names": {name: str(one.getsockname()) for name, one in all_sockets()}}


def check_pair(name, round_):
    client, server = pairs[name]
    if early.pop(name, False) and server.recv(5) != b"early":
        return "what was on its way is lost"
    if client.getpeername()[:2] != server.getsockname()[:2] and name != "mapped":
        return f"{client.getpeername()} is not {server.getsockname()}"
    for one, other in ((client, server), (server, client)):
        text = f"{name} {round_} {one.fileno()}".encode() * 1000
        one.sendall(text)
        seen = b""
        while len(seen) < len(text):
            seen += other.recv(len(text) - len(seen))
        if seen != text:
            return "other bytes"
    return "ok"


def check(function, *arguments):
    try:
        return function(*arguments)
    except OSError as problem:
        return f"{type(problem).__name__}: {problem}"


def look_at_foreign(connection):
    poll = select.poll()
    poll.register(connection, sum(BITS.values()))
    connection.settimeout(TIMEOUT)
    bits = dict(poll.poll(0)).get(connection.fileno(), 0)
    reads = []
    while not reads or reads[-1] != "end":
        try:
            data = connection.recv(4096)
            reads.append(data.decode() if data else "end")
        except OSError as problem:
            reads.append(type(problem).__name__)
            if len(reads) > 5 or isinstance(problem, socket.timeout):
                break
    write = "nothing"
    for _ in range(2):  # the first one may be what finds out
        try:
            connection.send(b"x", socket.MSG_NOSIGNAL)
            time.sleep(0.2)
        except OSError as problem:
            write = type(problem).__name__
    return {"poll": [name for name, bit in BITS.items() if bits & bit], "reads": reads,
            "write": write}


def check_datagram():
    lone["sender"].send(b"udp")
    data, origin = lone["receiver"].recvfrom(100)
    return "ok" if (data, origin) == (b"udp", lone["sender"].getsockname()) else f"{data} {origin}"


def check_auto():
    lone["auto-sender"].send(b"unix")
    data, origin = lone["auto"].recvfrom(100)
    return "ok" if (data, origin) == (b"unix", lone["auto-sender"].getsockname()) else f"{origin}"


def check_auto_listener():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(lone["auto-listener"].getsockname())
        server, _ = lone["auto-listener"].accept()
        with server:
            client.sendall(b"a")
            return "ok" if server.recv(1) == b"a" else "other bytes"


def answer(question):
    word, _, rest = question.partition(" ")
    if word == "where":
        return where()
    if word == "dial":
        return dial()
    if word == "narrow":
        return narrow()
    if word == "pairs":
        return {name: check(check_pair, name, rest) for name in pairs}
    if word == "foreign":
        return {name: look_at_foreign(one) for name, one in foreign.items()}
    if word == "lone":
        return {"datagram": check(check_datagram), "autobound": check(check_auto),
                "autobound listener": check(check_auto_listener)}
    return "?"


def read_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    return line.decode().strip()


def serve(listener):
    connection, _ = listener.accept()
    connection.settimeout(TIMEOUT)
    question = read_line(connection)
    if question.startswith("keep "):
        take(connection, question.removeprefix("keep "))
        return
    with connection:
        connection.sendall(json.dumps(answer(question)).encode())


def cut_off(*_):
    """The network is gone: what is sent now stays unacknowledged."""
    foreign["last-ack"].shutdown(socket.SHUT_WR)
    print("cut off", flush=True)


def main():
    listen("v4", OWN4, 7001)
    listen("v6", OWN6, 7002, socket.AF_INET6)
    listen("dual", "::", 7003, socket.AF_INET6, dual=True)
    listen("loopback", "127.0.0.1", 7004)
    make_pairs()
    make_lone()
    signal.signal(signal.SIGUSR1, cut_off)
    print("ready", flush=True)
    while True:
        ready = select.select([*listeners.values(), lone["bound"]], [], [], 60)[0]
        for one in ready:
            if one is lone["bound"]:
                one.sendto(*one.recvfrom(100))
            elif one in listeners.values():
                serve(one)


main()
