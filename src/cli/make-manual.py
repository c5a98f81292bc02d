#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make-manual.py TEMPLATE OUTPUT SNAPSHOTCTL: puts the reference of commands into the manual."""
import pathlib
import subprocess
import sys

template, output, program = sys.argv[1:]
reference = subprocess.run([program, "__manual"], check=True, capture_output=True, text=True).stdout
text = pathlib.Path(template).read_text()
if "@REFERENCE@\n" not in text:
    sys.exit(f"{template}: no line @REFERENCE@")
pathlib.Path(output).write_text(text.replace("@REFERENCE@\n", reference))
