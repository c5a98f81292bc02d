# SPDX-License-Identifier: Apache-2.0
"""What the suites of a cluster print (TAP), and what they expect."""
import subprocess
import time

from machine import Failure


def expect(condition, what):
    if not condition:
        raise Failure(f"expected {what}")


class Report:
    """wanted: words, one of which is in the names of the tests that run; none: all run."""

    def __init__(self, wanted):
        self.wanted = wanted
        self.count = self.failed = 0

    def run(self, function, *arguments):
        if self.wanted and not any(word in function.__name__ for word in self.wanted):
            return
        self.count += 1
        begin = time.monotonic()
        try:
            function(*arguments)
            print(f"ok {self.count} - {function.__doc__} ({time.monotonic() - begin:.1f} s)", flush=True)
        except (Failure, OSError, subprocess.SubprocessError) as problem:
            self.failed += 1
            print(f"not ok {self.count} - {function.__doc__}", flush=True)
            print("# " + str(problem).replace("\n", "\n# "), flush=True)

    def end(self):
        print(f"1..{self.count}")
        return 1 if self.failed else 0
