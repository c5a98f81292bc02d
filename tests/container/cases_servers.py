# SPDX-License-Identifier: Apache-2.0
"""Servers with state, and clients that are connected while they are captured."""
import concurrent.futures
import json
import os
import pathlib
import signal
import struct

import compare
import machine
from lab import Counting, expect, expect_equal, inside

SERVER = ["python3", "-c", inside("server.py")]


def new_volume(case):
    return case.volume(old="old\n", gone="gone\n")


def ask(agent, pod, word=""):
    return json.loads(agent.get(f"http://{pod.ip}:8000/{word}"))


def start_server(case, containerd, volume):
    server = case.pod(containerd, "python", SERVER, mounts=[(volume, "/volume")])
    server.wait_text("ready")
    return server


def target_for_server(case, containerd, volume):
    return case.target_pod(containerd, "python", mounts=[(volume, "/volume")])


def expect_state(agent, target, before):
    """State goes on from what was seen before, and what is around it is the target's."""
    pod = target.pod
    machine.wait_until(lambda: agent.ask("get", f"http://{pod.ip}:8000/")[1] is None, "an answer")
    seen = ask(agent, pod, "memory")
    expect_equal(seen["requests"], before["requests"] + 2, "requests")
    expect(seen["ticks"] > before["ticks"], f"a thread that goes on, seen {seen['ticks']}")
    expect(all(seen["threads"].values()) and len(seen["threads"]) == 3, "three more threads")
    expect_equal((seen["pid"], seen["host"], seen["intact"]), (1, pod.name, True), "who it is")
    ask(agent, pod, f"print-word-of-{pod.name}")
    target.wait_text(f"word-of-{pod.name}\n")
    files = ask(agent, pod, "files")
    expect_equal((files["motd"], files["issue"], files["mine"]), ("changed\n", False, "mine"),
                 "files")
    return files


def test_server(case, version, oci_runtime):
    """Left running, ended, three copies at once, and one on another node without the source."""
    work = case.lab
    agent = work.agent("one")
    containerd = work.containerd(version, oci_runtime)
    volume = new_volume(case)
    source = start_server(case, containerd, volume)
    agent.wait_get(f"http://{source.pod.ip}:8000/")
    client = agent.connect(source.pod.ip, 9000)
    expect_equal(client.ask("hello\n", "\n"), "hello\n", "an echo")
    ask(agent, source.pod, "log")
    before = compare.read_tree(volume)
    case.checkpoint(source, "web", "--leave-running")
    seen = ask(agent, source.pod)
    expect_equal(seen["requests"], 3, "requests of the source, which was left running")
    expect_equal(client.ask("still\n", "\n"), "still\n", "an echo of the source")
    case.checkpoint_and_end(source, "web")
    machine.wait_until(lambda: source.status() == "EXITED", "an ended container")
    targets = [target_for_server(case, containerd, volume) for _ in range(3)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for restored in [pool.submit(case.restore, target, "web") for target in targets]:
            expect(restored.result().inner_pid > 1, "a process id in the target")
    expect_equal(compare.read_tree(volume), before, "the volume, whose files only processes change")
    for target in targets:
        files = expect_state(agent, target, seen)
        expect_equal(files["log"], ["2"], "a log in the image")
        expect_lost(agent, target)
    for target in targets:
        ask(agent, target.pod, "log")
        expect_equal(ask(agent, target.pod, "files")["log"][0], "2", "the log")
    expect_equal(len((volume / "log").read_text().split()), 4, "lines in the volume")


def expect_lost(agent, target):
    """A connection from outside has ended for the server, and it serves others."""
    machine.wait_until(lambda: ask(agent, target.pod)["ended"], "the end of a connection")
    expect_equal(ask(agent, target.pod)["ended"], ["ConnectionResetError"], "a lost connection")
    again = agent.connect(target.pod.ip, 9000)
    expect_equal(again.ask("new\n", "\n"), "new\n", "an echo of the restored one")


def test_other_node(case, first, second):
    """The source and its containerd's pod are gone; another containerd elsewhere has the target."""
    work = case.lab
    agent, far = work.agent("one"), work.agent("two")
    source = start_server(case, work.containerd(*first), new_volume(case))
    agent.wait_get(f"http://{source.pod.ip}:8000/")
    seen = ask(agent, source.pod, "log")
    case.checkpoint_and_end(source, "web")
    machine.wait_until(lambda: source.status() == "EXITED", "an ended container")
    source.pod.delete()
    case.forget(source)
    volume = case.volume(log="of this node\n")
    target = target_for_server(case, work.containerd(*second, node="two"), volume)
    case.restore(target, "web")
    expect_state(far, target, seen)
    ask(far, target.pod, "log")
    # The file is open by its name: where the volume is another one, it is the other one's.
    expect((volume / "log").read_text().startswith("of this node\n"), "the volume of the node")


def test_files(case, version, oci_runtime):
    """Root file systems, file by file, between an ended source and what was restored."""
    containerd = case.lab.containerd(version, oci_runtime)
    source = case.run(containerd, "python", ["python3", "-c", inside("files.py")])
    source.wait_text("ready")
    counting = Counting(source.pid, source)
    counting.expect_count(1)
    case.checkpoint_and_end(source)
    target = case.target(containerd, "python")
    copy = case.restore_counting(target)
    differences = compare.compare_trees(source.root, target.root)
    expect(not differences, "the same files, seen\n" + "\n".join(differences[:20]))
    copy.expect_count(2)


def start_service(case, image, command=(), **options):
    containerd = case.lab.containerd("1.7", "runc")
    return containerd, case.pod(containerd, image, list(command), **options)


def test_nginx(case):
    agent = case.lab.agent("one")
    containerd, source = start_service(case, "nginx")
    url = "http://{}/"
    expect("nginx" in agent.wait_get(url.format(source.pod.ip)), "the page of nginx")
    request = "GET / HTTP/1.1\r\nHost: nginx\r\n\r\n"
    client = agent.connect(source.pod.ip, 80)
    client.ask(request, "</html>")
    case.checkpoint(source, "nginx", "--leave-running")
    client.ask(request, "</html>")
    case.checkpoint_and_end(source, "nginx")
    target = case.target_pod(containerd, "nginx")
    restored = case.restore(target, "nginx")
    log = f"/proc/{restored.pid}/root/var/log/nginx/access.log"
    expect_equal(machine.read(log).count("GET / "), 3, "requests in its log")
    for number in range(4, 9):
        expect("nginx" in agent.get(url.format(target.pod.ip)), "the page of nginx")
        machine.wait_until(lambda number=number: machine.read(log).count("GET / ") == number,
                           "a line in its log")
    # Its master goes on as one: it takes a new configuration and replaces its workers.
    workers = machine.read(f"/proc/{restored.pid}/task/{restored.pid}/children").split()
    os.kill(restored.pid, signal.SIGHUP)
    machine.wait_until(lambda: not any(map(machine.alive, workers)), "new workers")
    expect("nginx" in agent.wait_get(url.format(target.pod.ip)), "the page of nginx")


def test_redis(case):
    agent = case.lab.agent("one")
    command = ["redis-server", "--protected-mode", "no", "--appendonly", "yes",
               "--dir", "/var/lib/redis"]
    containerd, source = start_service(case, "redis", command)
    client = agent.connect(source.pod.ip, 6379)
    fill = "for i=1,2000 do redis.call('SET', 'k'..i, string.rep(i, 50)) end return 'filled'"
    expect("filled" in client.ask(f'EVAL "{fill}" 0\r\n', "filled"), "data")
    case.checkpoint(source, "redis", "--leave-running")
    client.ask("INCR n\r\n", ":1\r\n")
    case.checkpoint_and_end(source, "redis")
    target = case.target_pod(containerd, "redis")
    restored = case.restore(target, "redis")
    again = agent.connect(target.pod.ip, 6379)
    again.ask("INCR n\r\n", ":2\r\n")
    again.ask("DBSIZE\r\n", ":2001\r\n")
    expect("2000" * 50 in again.ask("GET k2000\r\n", "2000\r\n"), "a value")
    again.ask("BGSAVE\r\n", "Background saving started\r\n")
    again.ask("BGREWRITEAOF\r\n", "\r\n")
    root = pathlib.Path(f"/proc/{restored.pid}/root/var/lib/redis")
    machine.wait_until((root / "dump.rdb").exists, "a saved file")
    machine.wait_until(lambda: "rdb_bgsave_in_progress:0" in again.ask(
        "INFO persistence\r\n", "module_fork_last_cow_size") and not list(root.glob("temp-*")),
        "the end of saving")


def postgres_message(kind, text):
    body = text.encode() + b"\0"
    return (kind.encode() + struct.pack(">I", len(body) + 4) + body).decode("latin-1")


READY = "Z\0\0\0\5"


def postgres_connect(agent, pod):
    client = agent.connect(pod.ip, 5432)
    body = struct.pack(">I", 196608) + b"user\0postgres\0database\0postgres\0\0"
    hello = struct.pack(">I", len(body) + 4) + body
    machine.wait_until(lambda: READY in client.ask(hello.decode("latin-1"), READY), "a session")
    return client


def query(client, text):
    """The values of the first column, as bytes that follow their lengths."""
    answer = client.ask(postgres_message("Q", text), READY).encode("latin-1")
    expect(b"ERROR" not in answer, f"no error for {text!r}, seen {answer!r}")
    values, position = [], 0
    while position < len(answer):
        kind, length = answer[position:position + 1], struct.unpack_from(">I", answer,
                                                                        position + 1)[0]
        if kind == b"D":
            size = struct.unpack_from(">I", answer, position + 7)[0]
            values.append(answer[position + 11:position + 11 + size].decode())
        position += 1 + length
    return values


POSTGRES = """echo 'host all all all trust
local all all trust' >/tmp/hba; exec /usr/lib/postgresql/15/bin/postgres \
-D /var/lib/postgresql/15/main -c config_file=/etc/postgresql/15/main/postgresql.conf \
-c unix_socket_directories=/tmp -c listen_addresses='*' -c hba_file=/tmp/hba"""


def test_postgresql(case):
    agent = case.lab.agent("one")
    containerd, source = start_service(case, "postgresql", ["sh", "-c", POSTGRES], user="postgres")
    machine.wait_until(lambda: "ready to accept" in source.text(), "a database")
    client = postgres_connect(agent, source.pod)
    query(client, "create table t as select g as a from generate_series(1, 10000) g")
    query(client, "begin")
    query(client, "insert into t values (0)")
    case.checkpoint(source, "database", "--leave-running")
    query(client, "insert into t values (0)")  # the same transaction, which will be lost
    case.checkpoint_and_end(source, "database")
    target = case.target_pod(containerd, "postgresql", user="postgres")
    case.restore(target, "database")
    again = postgres_connect(agent, target.pod)
    # What had a client that is gone is rolled back; what was committed is there.
    machine.wait_until(lambda: query(again, "select count(*) from pg_stat_activity "
                                     "where state like 'idle in%'") == ["0"], "a rollback")
    expect_equal(query(again, "select count(*) from t"), ["10000"], "rows")
    query(again, "begin; update t set a = a + 1; commit")
    query(again, "checkpoint")
    expect_equal(query(again, "select sum(a) from t"), ["50015000"], "a sum")
    expect("PANIC" not in target.text(), f"no panic, seen {target.text()[-500:]}")


def cases():
    yield "server: state, threads, files, three copies at once", test_server, "1.7", "runc"
    yield "server: on another node, the first removed", test_other_node, ("1.7", "runc"), (
        "2.1", "crun")
    yield "files of the image, compared one by one", test_files, "1.7", "runc"
    yield "nginx with its workers", test_nginx
    yield "redis with data and its files", test_redis
    yield "postgresql with transactions", test_postgresql
