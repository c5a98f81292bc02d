# SPDX-License-Identifier: Apache-2.0
"""What the suites of this folder share: reports in the Test Anything Protocol, messages of protobuf
by hand, and the tool that prints what was found."""
import json
import subprocess
import traceback

TESTS = []


class Skip(Exception):
    """This machine lacks what the test is about."""


def test(function):
    TESTS.append(function)
    return function


def run_all(*arguments):
    failed = 0
    print(f"1..{len(TESTS)}", flush=True)
    for number, function in enumerate(TESTS, 1):
        name = " ".join((function.__doc__ or function.__name__).split())
        try:
            function(*arguments)
            print(f"ok {number} - {name}", flush=True)
        except Skip as reason:
            print(f"ok {number} - {name} # SKIP {reason}", flush=True)
        except BaseException:  # a failing child must not hide the other tests
            failed += 1
            print(f"not ok {number} - {name}", flush=True)
            print("# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
    return 1 if failed else 0


def equal(seen, wanted, what=""):
    if seen != wanted:
        raise AssertionError(f"{what}: wanted {wanted!r}, saw {seen!r}")


def contains(text, part):
    if part not in (text or ""):
        raise AssertionError(f"{part!r} is not in {text!r}")


def varint(number):
    number &= (1 << 64) - 1
    data = bytearray()
    while number > 0x7f:
        data.append(number & 0x7f | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def encode(fields):
    """{1: "text", 2: 7, 3: {...}, 4: [...]} as a message; a dict with "map" is a map field."""
    data = b""
    for number, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int):
                data += varint(number << 3) + varint(one)
                continue
            if isinstance(one, dict):
                one = encode(one)
            elif isinstance(one, str):
                one = one.encode()
            data += varint(number << 3 | 2) + varint(len(one)) + one
    return data


def encode_map(items):
    return [{1: key, 2: value} for key, value in items.items()]


def decode(data):
    """{number: [values]} of a message; texts and messages stay bytes."""
    fields, position = {}, 0

    def number():
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(data):
        key = number()
        if key & 7 == 2:
            length = number()
            value = data[position:position + length]
            position += length
        else:
            value = number()
        fields.setdefault(key >> 3, []).append(value)
    return fields


def frame(message, compressed=0):
    return bytes([compressed]) + len(message).to_bytes(4, "big") + message


class Finder:
    """One started tool; with --cri it answers line by line."""

    def __init__(self, tool, *arguments, **environment):
        self.process = subprocess.Popen([tool, *arguments], stdin=subprocess.PIPE, text=True,
                                        stdout=subprocess.PIPE, **environment)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.line()

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            raise AssertionError(f"the tool ended with {self.process.wait()}")
        return json.loads(text)

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        status = self.process.wait(timeout=30)
        if status not in (0, 1):
            raise AssertionError(f"the tool ended with {status}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def find_once(tool, *arguments, **environment):
    result = subprocess.run([tool, *arguments], text=True, stdout=subprocess.PIPE, timeout=60,
                            check=False, **environment)
    if result.returncode not in (0, 1):
        raise AssertionError(f"the tool ended with {result.returncode}")
    return json.loads(result.stdout)
