# SPDX-License-Identifier: Apache-2.0
"""Inside a container: a server with state in memory, in files of the image and in a volume.

Port 8000 answers in HTTP: /NAME does what NAME says and gives the state as JSON. Port 9000 echoes
lines, and the state tells how each of its connections ended.
"""
import http.server
import json
import os
import socket
import socketserver
import threading
import time

state = {"requests": 0, "ticks": 0, "threads": {}, "ended": []}
secret = os.urandom(1 << 20)
state["secret"] = hash(secret)
turn = threading.Condition()


def change_files():
    """In the image and in the volume: one changed, one removed, one new."""
    with open("/etc/motd", "w", encoding="ascii") as file:
        file.write("changed\n")
    os.unlink("/etc/issue")
    os.makedirs("/data/folder")
    with open("/data/folder/mine", "w", encoding="ascii") as file:
        file.write("mine")
    os.chmod("/data/folder/mine", 0o640)
    os.chown("/data/folder/mine", 1000, 1000)
    with open("/volume/old", "a", encoding="ascii") as file:
        file.write("changed\n")
    os.unlink("/volume/gone")
    with open("/volume/new", "w", encoding="ascii") as file:
        file.write("new\n")


def worker(name):
    while True:
        with turn:
            turn.wait()
            state["threads"][name] = state["threads"].get(name, 0) + 1


def tick():
    while True:
        time.sleep(0.02)
        state["ticks"] += 1


def act(word):
    if word.startswith("print-"):
        print(word.removeprefix("print-"), flush=True)
    elif word == "log":
        for file in logs:
            file.write(f"{state['requests']}\n")
    elif word == "files":
        return {"motd": open("/etc/motd", encoding="ascii").read(),
                "issue": os.path.exists("/etc/issue"),
                "mine": open("/data/folder/mine", encoding="ascii").read(),
                "log": open("/data/log", encoding="ascii").read().split()}
    elif word == "memory":
        return {"intact": hash(secret) == state["secret"]}
    return {}


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with turn:
            state["requests"] += 1
            turn.notify_all()
        answer = {"host": socket.gethostname(), "pid": os.getpid(), **act(self.path[1:]), **state}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while data := self.request.recv(100):
                self.request.sendall(data)
            how = "end"
        except OSError as error:
            how = type(error).__name__
        state["ended"].append(how)


class Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


change_files()
logs = [open(f"/{folder}/log", "a", buffering=1, encoding="ascii")
        for folder in ("data", "volume")]
for number in range(3):
    threading.Thread(target=worker, args=(str(number),), daemon=True).start()
threading.Thread(target=tick, daemon=True).start()
echo = Threads(("0.0.0.0", 9000), Echo)
threading.Thread(target=echo.serve_forever, daemon=True).start()
web = http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Web)
print("ready", flush=True)
web.serve_forever()
