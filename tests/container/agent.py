#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Talks over the network for a test, in the network namespace in which it was started: one JSON
array a line in (a function and its arguments), one JSON object a line out."""
import json
import socket
import sys
import urllib.request

TIMEOUT = 20
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
connections = {}


def get(url):
    with opener.open(url, timeout=TIMEOUT) as answer:
        return answer.read().decode()


def connect(name, host, port):
    connections[name] = socket.create_connection((host, port), TIMEOUT)


def send(name, text):
    connections[name].sendall(text.encode("latin-1"))


def receive(name, until):
    """What arrives, until a part is there. The end of the connection is an EOFError."""
    data = b""
    while until.encode("latin-1") not in data:
        piece = connections[name].recv(65536)
        if not piece:
            raise EOFError(data.decode("latin-1"))
        data += piece
    return data.decode("latin-1")


FUNCTIONS = {function.__name__: function for function in (get, connect, send, receive)}

for line in sys.stdin:
    function, *arguments = json.loads(line)
    try:
        answer = {"value": FUNCTIONS[function](*arguments)}
    except (OSError, EOFError) as error:
        answer = {"error": type(error).__name__, "text": str(error)}
    print(json.dumps(answer), flush=True)
