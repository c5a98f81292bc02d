# SPDX-License-Identifier: Apache-2.0
"""Each checker of tools/ accepts a small good tree and finds the fault planted in a bad one."""
import pathlib
import subprocess
import sys
import tempfile

TOOLS = pathlib.Path(sys.argv[1]).resolve()
LICENCE = "/* SPDX-License-Identifier: Apache-2.0 */\n"
ROW = 'CODE("not-there", "It is not there", "Somebody took it away.", "Put it back again.")\n'
PAGE = "| `src/basic/` | helpers |\n| `src/cli/` | program |\n"

GOOD = {
    "src/basic/error.h": LICENCE,
    "src/basic/catalogue-one.def": LICENCE + ROW,
    "src/basic/fault-points.def": LICENCE + "FAULT(first-step)\n",
    "src/cli/main.c": LICENCE + '#include "basic/error.h"\n\nint main(void)\n{\n'
                      '    fault_point("first-step", 0);\n'
                      '    return error_set(0, "not-there", 2, "%s", "sprintf(");\n}\n',
    "docs/architecture.md": PAGE,
}


def function(name, lines):
    return f"static void {name}(void)\n{{\n" + "    work();\n" * (lines - 3) + "}\n"


def run(checker, changes):
    """The exit status and output of a checker on the good tree with some files changed."""
    with tempfile.TemporaryDirectory() as root:
        for name, text in {**GOOD, **changes}.items():
            path = pathlib.Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run([sys.executable, TOOLS / checker, root], capture_output=True,
                              text=True, check=False)
        return done.returncode, done.stdout + done.stderr


def source(body):
    return GOOD["src/cli/main.c"] + body


# checker, what is wrong, the changed files, a part of the complaint (None: it is all right)
CASES = [
    ("check-includes", "good tree", {}, None),
    ("check-includes", "lower layer", {"src/basic/a.c": LICENCE + '#include "cli/a.h"\n'},
     'basic may not include "cli/a.h"'),
    ("check-includes", "commented include is none",
     {"src/basic/a.c": LICENCE + '/*\n#include "cli/a.h"\n*/\n'}, None),
    ("check-includes", "relative path", {"src/cli/a.c": LICENCE + '#include "a.h"\n'},
     "not written from src/"),
    ("check-includes", "unknown folder", {"src/extra/a.c": LICENCE}, "not in the folder of a known"),
    ("check-includes", "missing header", {"src/cli/a.c": LICENCE + '#include "basic/no.h"\n'},
     "there is no src/basic/no.h"),
    ("check-includes", "folder not in the page", {"src/proc/a.c": LICENCE},
     "src/proc/ is missing from the table"),
    ("check-includes", "page out of order",
     {"docs/architecture.md": "| `src/cli/` | x |\n| `src/basic/` | y |\n"}, "not in the order"),
    ("check-catalogue", "good tree", {}, None),
    ("check-catalogue", "code without row",
     {"src/cli/a.c": LICENCE + 'int a = error_set(e(1, 2),\n    "unheard-of", 0, "x");\n'},
     "'unheard-of' has no row"),
    ("check-catalogue", "chosen code without row",
     {"src/cli/a.c": LICENCE + 'int a = error_set(e, b ? "not-there" : "other", 0, "x");\n'},
     "'other' has no row"),
    ("check-catalogue", "finding without row",
     {"src/cli/a.c": LICENCE + 'void f(void) { findings_add(&list, "unheard-of", "%d", 1); }\n'},
     "'unheard-of' has no row"),
    ("check-catalogue", "row that is not used",
     {"src/basic/catalogue-two.def": ROW.replace("not-there", "idle")}, "idle is used nowhere"),
    ("check-catalogue", "row twice", {"src/basic/catalogue-two.def": ROW}, "is also in"),
    ("check-catalogue", "row without cure",
     {"src/basic/catalogue-one.def": ROW.replace('"Put it back again."', '""')}, "four texts"),
    ("check-catalogue", "fault point without row",
     {"src/cli/a.c": LICENCE + 'int a = fault_point("second-step", 0);\n'}, "fault-points.def"),
    ("check-catalogue", "fault point never passed",
     {"src/basic/fault-points.def": "FAULT(first-step)\nFAULT(idle-step)\n"}, "passed nowhere"),
    ("check-lengths", "good tree", {}, None),
    ("check-lengths", "function of 100 lines", {"tests/a.c": LICENCE + function("f", 100)}, None),
    ("check-lengths", "function of 101 lines", {"tests/a.c": LICENCE + function("f", 101)},
     "f has 101 lines"),
    ("check-lengths", "brace in a string ends nothing",
     {"tests/a.c": LICENCE + function("f", 60).replace("}\n", '    text("\\\n}");\n', 1)
      + "    more();\n" * 45 + "}\n"}, "f has 10"),
    ("check-lengths", "file of 1,000 lines", {"tests/a.c": LICENCE + "int a;\n" * 999},
     "1000 lines"),
    ("check-lengths", "median of 20",
     {"src/cli/main.c": LICENCE + function("f", 20) + "\n" + function("g", 20)}, "the median"),
    ("check-words", "good tree", {}, None),
    ("check-words", "banned call", {"src/cli/main.c": source('int a = ato' 'i("1");\n')},
     "is not used here"),
    ("check-words", "name that only ends so", {"src/cli/main.c": source("int a = my_gets(1);\n")},
     None),
    ("check-words", "note of unfinished work",
     {"src/cli/main.c": source("/* TO" "DO later */\n")}, "finish it"),
    ("check-words", "note in a page", {"docs/a.md": "FIX" "ME\n"}, "finish it"),
    ("check-words", "no licence line", {"src/cli/a.c": "int a;\n"}, "licence line"),
]


def main():
    print(f"1..{len(CASES)}")
    for number, (checker, title, changes, complaint) in enumerate(CASES, 1):
        status, output = run(checker, changes)
        good = status == 0 if complaint is None else status == 1 and complaint in output
        print(f"{'ok' if good else 'not ok'} {number} - {checker}: {title}")
        if not good:
            print("# status", status, "wanted", repr(complaint))
            print("# " + output.replace("\n", "\n# "))


main()
