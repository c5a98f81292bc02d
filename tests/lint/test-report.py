# SPDX-License-Identifier: Apache-2.0
"""tools/test-report counts what the test runs say, and is not pleased with silence."""
import json
import pathlib
import subprocess
import sys
import tempfile

REPORT = pathlib.Path(sys.argv[1]).resolve() / "test-report"


def entry(result, stdout="", name="suite / a"):
    return {"name": name, "result": result, "stdout": stdout, "returncode": 0, "duration": 1.0}


# what the log holds, status, last line
CASES = [
    ("nothing", [], 1, "0 passed, 0 failed, 0 skipped"),
    ("plain results", [entry("OK"), entry("SKIP", "no such device\n")], 0,
     "1 passed, 0 failed, 1 skipped"),
    ("a failure", [entry("OK"), entry("FAIL")], 1, "1 passed, 1 failed, 0 skipped"),
    ("only skipped", [entry("SKIP")], 1, "0 passed, 0 failed, 1 skipped"),
    ("a time-out", [entry("TIMEOUT", "1..2\nok 1 - a\nok 2 - b\n")], 1,
     "2 passed, 1 failed, 0 skipped"),
    ("TAP", [entry("OK", "1..3\nok 1 - a\nok 2 - b # SKIP why\nok 3\n")], 0,
     "2 passed, 0 failed, 1 skipped"),
    ("TAP failure", [entry("FAIL", "1..2\nok 1 - a\nnot ok 2 - b\n")], 1,
     "1 passed, 1 failed, 0 skipped"),
    ("TAP that broke off", [entry("ERROR", "1..4\nok 1 - a\n")], 1,
     "1 passed, 3 failed, 0 skipped"),
    ("TAP all skipped", [entry("SKIP", "1..0 # SKIP no GPU\n")], 1,
     "0 passed, 0 failed, 1 skipped"),
    ("good TAP, bad end", [entry("FAIL", "1..1\nok 1 - a\n")], 1, "1 passed, 1 failed, 0 skipped"),
    ("TAP failure under an OK", [entry("OK", "1..1\nnot ok 1 - a\n")], 1,
     "0 passed, 1 failed, 0 skipped"),
    ("cmocka", [entry("OK", "[==========] Running 3 test(s).\n[       OK ] a\n[       OK ] b\n"
                            "[  SKIPPED ] c\n[==========] 3 test(s) run.\n[  PASSED  ] 2 test(s).\n"
                            "[  SKIPPED ] 1 test(s), listed below:\n[  SKIPPED ] c\n")], 0,
     "2 passed, 0 failed, 1 skipped"),
    ("cmocka that broke off", [entry("FAIL", "[==========] Running 3 test(s).\n[       OK ] a\n")],
     1, "1 passed, 2 failed, 0 skipped"),
]


def run(entries):
    with tempfile.TemporaryDirectory() as root:
        logs = pathlib.Path(root, "build", "meson-logs")
        logs.mkdir(parents=True)
        logs.joinpath("testlog.json").write_text("".join(json.dumps(e) + "\n" for e in entries))
        done = subprocess.run([sys.executable, REPORT, logs / "testlog.json"],
                              capture_output=True, text=True, check=False)
        return done.returncode, (done.stdout.splitlines() or [done.stderr])[-1]


def main():
    print(f"1..{len(CASES)}")
    for number, (title, entries, status, line) in enumerate(CASES, 1):
        seen = run(entries)
        print(f"{'ok' if seen == (status, line) else 'not ok'} {number} - {title}")
        if seen != (status, line):
            print("# wanted", (status, line), "seen", seen)


main()
