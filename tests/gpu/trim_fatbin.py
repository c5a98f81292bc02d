#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Drops GPU code that one kind of GPU never runs, so that a library packs small (make-vllm-kit).

  trim_fatbin.py [--arch 90] [--only REGEX] LIBRARY...

Of each group of the section .nv_fatbin what was compiled for the architecture is kept, or, where there is nothing for
it, the newest PTX that it can be made from. It moves to the beginning of its group, whose header then says that
it is all; zeros fill the rest, and nothing else of the file changes. --only keeps of the groups that begin with a
kernel of a main loop those whose first kernel matches.
"""
import argparse
import mmap
import re
import struct

MAGIC = 0xBA55ED50
PTX, CUBIN = 1, 2
KERNEL = re.compile(rb"\.text\.(_Z\w+)")


def section_of(data, wanted):
    """Offset and size of a section of a 64-bit ELF file; None where there is no such section."""
    table, = struct.unpack_from("<Q", data, 40)
    width, count, names = struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQ", data, table + width * i) for i in range(count)]
    base = headers[names][4]
    for name, _, _, _, offset, size in headers:
        if data[base + name:data.find(b"\0", base + name)] == wanted:
            return offset, size
    return None


def groups_of(data, offset, size):
    """(where the group is, size of its header, its parts); a part is (kind, architecture, head, offset, size)."""
    position, end = offset, offset + size
    while position + 16 <= end:
        magic, _, header, length = struct.unpack_from("<IHHQ", data, position)
        if magic != MAGIC:
            position += 8
            continue
        part, after = position + header, position + header + length
        parts = []
        while part < after:
            kind, _, head, code = struct.unpack_from("<HHIQ", data, part)
            arch, = struct.unpack_from("<I", data, part + 28)
            parts.append((kind, arch, head, part, head + code))
            part += head + code
        yield position, header, parts
        position = after


def kept_of(parts, arch):
    exact = [part for part in parts if part[:2] == (CUBIN, arch)]
    sources = [part for part in parts if part[0] == PTX and part[1] <= arch]
    return exact or sorted(sources, key=lambda part: part[1])[-1:]


def is_wanted(data, part, only):
    """What has no such kernel, or can't be looked into, is kept."""
    *_, offset, size = part
    first = KERNEL.search(data, offset, offset + size)
    return not (first and b"Mainloop" in first[1]) or only.search(first[1]) is not None


def rewrite(data, group, kept):
    """Returns how many bytes it has now, and had."""
    position, header, parts = group
    content = b"".join(data[offset:offset + size] for *_, offset, size in kept)
    before = sum(part[-1] for part in parts)
    start = position + header
    data[start:start + before] = content.ljust(before, b"\0")
    struct.pack_into("<Q", data, position + 8, len(content))
    return len(content), before


def trim(path, arch, only):
    left = total = 0
    with open(path, "r+b") as stream, mmap.mmap(stream.fileno(), 0) as data:
        section = section_of(data, b".nv_fatbin")
        for group in list(groups_of(data, *section)) if section else ():
            kept = [part for part in kept_of(group[2], arch) if not only or is_wanted(data, part, only)]
            after, before = rewrite(data, group, kept)
            left, total = left + after, total + before
    print(f"{path}: {left >> 20} of {total >> 20} MiB of GPU code are left")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", type=int, default=90)
    parser.add_argument("--only", type=lambda text: re.compile(text.encode()))
    parser.add_argument("libraries", nargs="+")
    options = parser.parse_args()
    for path in options.libraries:
        trim(path, options.arch, options.only)


if __name__ == "__main__":
    main()
