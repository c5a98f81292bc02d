#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Containers are captured and restored into others, for real. What it prints is TAP.

A case starts containers of a bed (see README.md), captures some and restores them; afterwards
nothing may be left of that but what was asked for (lab.Case.leftovers).
"""
import argparse
import concurrent.futures
import dataclasses
import fnmatch
import os
import pathlib
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True
import bed  # noqa: E402
import cases_matrix  # noqa: E402
import cases_servers  # noqa: E402
import cases_shapes  # noqa: E402
import lab  # noqa: E402
import machine  # noqa: E402


@dataclasses.dataclass
class Result:
    name: str
    problem: str = ""
    skipped: str = ""
    seconds: float = 0.0


def run_steps(case, function, arguments, result):
    try:
        function(case, *arguments)
        left = case.leftovers()
        if left:
            result.problem = "expected nothing left behind, seen\n" + "\n".join(left)
    except bed.Unavailable as reason:
        result.skipped = str(reason)
    finally:
        case.delete_all()


def run_case(work, name, function, arguments):
    result = Result(name)
    start = time.monotonic()
    try:
        run_steps(lab.Case(work, name), function, arguments, result)
    except machine.Failure as failure:
        result.problem = str(failure)
    except Exception:  # a case that breaks has not passed, and the others go on
        result.problem = traceback.format_exc()
    result.seconds = time.monotonic() - start
    return result


class Tap:
    def __init__(self, count):
        self.number = 0
        self.failed = 0
        print(f"1..{count}", flush=True)

    def report(self, result):
        self.number += 1
        directive = f" # SKIP {result.skipped}" if result.skipped else ""
        self.failed += bool(result.problem)
        word = "not ok" if result.problem else "ok"
        print(f"{word} {self.number} - {result.name}{directive}")
        for line in result.problem.splitlines():
            print(f"#   {line}")
        print(f"#   {result.seconds:.1f} s", flush=True)


def all_cases(settings):
    listing = subprocess.run([settings.workload, "--list"], capture_output=True, text=True,
                             check=True, timeout=30).stdout
    kinds = {line.split("\t")[0]: line.split("\t")[1] for line in listing.splitlines()}
    cases = [*cases_servers.cases(), *cases_shapes.cases(kinds), *cases_matrix.cases()]
    return [case for case in cases
            if any(fnmatch.fnmatch(case[0], pattern) for pattern in settings.only or ["*"])]


def run_all(here, settings, cases):
    tap = Tap(len(cases) + 1)
    work = lab.Lab(here, settings)
    try:
        with concurrent.futures.ThreadPoolExecutor(settings.jobs) as pool:
            running = [pool.submit(run_case, work, name, function, arguments)
                       for name, function, *arguments in cases]
            for done in concurrent.futures.as_completed(running):
                tap.report(done.result())
    finally:
        work.close()
    return tap


def nothing_left(directory):
    left = machine.leftovers(directory)
    return Result("nothing is left on the machine", "\n".join(left))


def parse_arguments():
    build = pathlib.Path(__file__).resolve().parents[2] / "build"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--snapshotctl", default=str(build / "src/cli/snapshotctl"))
    parser.add_argument("--workload", default=str(build / "tests/root/workloads/workload-static"))
    parser.add_argument("--only", action="append", metavar="PATTERN", help="names of cases")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--jobs", type=int, default=3, help="cases at the same time")
    settings = parser.parse_args()
    settings.snapshotctl = os.path.abspath(settings.snapshotctl)
    settings.workload = os.path.abspath(settings.workload)
    return settings


def main():
    settings = parse_arguments()
    cases = all_cases(settings)
    if settings.list:
        print("\n".join(case[0] for case in cases))
        return 0
    try:
        with bed.Bed(settings.workload) as here:
            directory = here.directory
            tap = run_all(here, settings, cases)
    except bed.Unavailable as reason:
        print(f"1..0 # SKIP {reason}")
        return 0
    tap.report(nothing_left(directory))
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
