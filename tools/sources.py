# SPDX-License-Identifier: Apache-2.0
"""What the checkers share: the project's C files, and C text with comments or strings blanked."""
import pathlib
import re
import sys

C_FOLDERS = ("src", "tests", "examples", "bench")
TOKEN = re.compile(
    r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def root_argument():
    """The tree to look at: the first argument, else the one this file is in."""
    given = [a for a in sys.argv[1:] if not a.startswith("-")]
    return pathlib.Path(given[0] if given else pathlib.Path(__file__).parent.parent).resolve()


def c_files(root, folders=C_FOLDERS, suffixes=(".c", ".h")):
    found = []
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in suffixes and path.is_file():
                found.append(path)
    return found


def _blank(text):
    return re.sub(r"[^\n]", " ", text)


def without_comments(text):
    """Comments become blanks; lines and columns stay."""
    return TOKEN.sub(lambda m: _blank(m[0]) if m[0].startswith("/") else m[0], text)


def without_comments_and_strings(text):
    def blank(match):
        token = match[0]
        if token.startswith("/"):
            return _blank(token)
        return token[0] + _blank(token[1:-1]) + token[-1]
    return TOKEN.sub(blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def read(path):
    return path.read_text(encoding="utf-8", errors="replace")


def finish(name, problems, summary):
    for problem in problems:
        print(problem)
    print(f"{name}: {summary}" if not problems else f"{name}: {len(problems)} problem(s)")
    sys.exit(1 if problems else 0)
