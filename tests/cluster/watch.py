# SPDX-License-Identifier: Apache-2.0
"""All that happens to objects of a kind, in its order, from a moment on."""
import json
import subprocess

import machine


class Watch:
    """with Watch(cluster, "jobs", namespace) as watch: …; watch.seen: [(type, object)]"""

    def __init__(self, cluster, kind, namespace):
        self.cluster = cluster
        self.command = cluster.control.command(
            cluster.programs.path("kubectl"), "--kubeconfig", cluster.kubeconfig, "get", kind,
            "--namespace", namespace, "--watch", "--output-watch-events", "-o", "json")
        self.output = cluster.directory / f"watch-{kind}"
        self.process = None

    def __enter__(self):
        with open(self.output, "wb") as file:
            self.process = subprocess.Popen(list(map(str, self.command)), stdout=file,
                                            stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    @property
    def seen(self):
        text, found, at = machine.read(self.output), [], 0
        decoder = json.JSONDecoder()
        while True:
            while at < len(text) and text[at].isspace():
                at += 1
            try:
                event, at = decoder.raw_decode(text, at)
            except ValueError:
                return found
            found.append((event["type"], event["object"]))

    def of(self, name):
        """What happened to one of them."""
        return [(kind, one) for kind, one in self.seen if one["metadata"]["name"] == name]

    def wait(self, name, condition, what, timeout=30):
        machine.wait_until(lambda: any(condition(kind, one) for kind, one in self.of(name)), what,
                           timeout)
