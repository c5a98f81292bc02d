#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds proto/cri.proto against the published interface. Prints TAP.

compare-proto.py CRI.PROTO

Every message, field, enumeration and call of ours has to be there with the same number and type.
The original comes through the Go module proxy (k8s.io/cri-api).
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

MODULE = "k8s.io/cri-api@v0.34.4"
FIELD = re.compile(r"(?:(repeated)\s+)?(map\s*<[^>]*>|[\w.]+)\s+(\w+)\s*=\s*(\d+)\s*(?:\[[^\]]*\])?;")
RPC = re.compile(r"rpc\s+(\w+)\s*\((.*?)\)\s*returns\s*\((.*?)\)")


def parse(text):
    """{"message Name": {field: (number, type)}, "enum Name": {...}, "service Name": {...}}."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
    found = {"package": re.search(r"package\s+([\w.]+)", text)[1]}
    for match in re.finditer(r"\b(message|enum|service)\s+(\w+)\s*\{", text):
        body = text[match.end():closing(text, match.end())]
        if match[1] == "service":
            items = {m[1]: (m[2].strip(), m[3].strip()) for m in RPC.finditer(body)}
        elif match[1] == "enum":
            items = {m[1]: int(m[2]) for m in re.finditer(r"(\w+)\s*=\s*(\d+)", body)}
        else:
            items = {m[3]: (int(m[4]), (m[1] or "") + re.sub(r"\s", "", m[2]))
                     for m in FIELD.finditer(body)}
        found[f"{match[1]} {match[2]}"] = items
    return found


def closing(text, position):
    depth = 1
    while depth:
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        position += 1
    return position - 1


def original():
    """The text of the published file, or None and why it is not to be had."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not os.access(go, os.X_OK):
        return None, "go is not here"
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory, "go.mod").write_text("module none\n\ngo 1.21\n")
        result = subprocess.run([go, "mod", "download", "-json", MODULE], cwd=directory, text=True,
                                capture_output=True, timeout=100, check=False)
    try:
        folder = json.loads(result.stdout)["Dir"]
    except (ValueError, KeyError):
        return None, "the module proxy was not reached"
    return pathlib.Path(folder, "pkg/apis/runtime/v1/api.proto").read_text(encoding="utf-8"), None


def main():
    ours = parse(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    text, reason = original()
    if text is None:
        print(f"1..0 # SKIP {reason}")
        return 0
    theirs = parse(text)
    print(f"1..{len(ours)}")
    failed = 0
    for number, (name, items) in enumerate(ours.items(), 1):
        wrong = [] if name in theirs else ["there is none"]
        if name == "package":
            wrong = [items] if items != theirs["package"] else []
        elif not wrong:
            wrong = [f"{key}: {value}, published {theirs[name].get(key)}"
                     for key, value in items.items() if theirs[name].get(key) != value]
        failed += bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} {number} - {name} is as published")
        for line in wrong:
            print(f"# {line}")
    return 1 if failed else 0


sys.exit(main())
