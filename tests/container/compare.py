# SPDX-License-Identifier: Apache-2.0
"""Whether two trees of files are the same: kind, content, mode, owner, extended attributes, hard
links and times, name by name."""
import dataclasses
import hashlib
import os
import stat

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link",
         stat.S_IFCHR: "character device", stat.S_IFBLK: "block device", stat.S_IFIFO: "pipe",
         stat.S_IFSOCK: "socket"}


@dataclasses.dataclass
class Entry:
    kind: str
    mode: str
    owner: tuple
    content: object
    attributes: dict
    times: int
    links: tuple = ()  # the names of the same file


def content_of(path, seen):
    kind = stat.S_IFMT(seen.st_mode)
    if kind == stat.S_IFREG:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return (seen.st_size, digest.hexdigest())
    if kind == stat.S_IFLNK:
        return os.readlink(path)
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        return (os.major(seen.st_rdev), os.minor(seen.st_rdev))
    return None


def attributes_of(path):
    return {name: os.getxattr(path, name, follow_symlinks=False)
            for name in sorted(os.listxattr(path, follow_symlinks=False))
            if not name.startswith("trusted.overlay.")}


def root_of(tree):
    return f"/proc/{tree}/root" if isinstance(tree, int) else str(tree)


def read_tree(tree, ignore=()):
    """name: Entry, of a folder or of the root of a process. Other file systems are passed over."""
    root = root_of(tree)
    device = os.stat(root).st_dev
    entries, groups = {}, {}
    for folder, directories, files in os.walk(root + "/"):
        names = []
        for name in sorted(directories + files):
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, root)
            seen = os.lstat(path)
            # Files of an overlay may carry the number of a layer; only folders tell.
            foreign = stat.S_ISDIR(seen.st_mode) and seen.st_dev != device
            if foreign or inside in ignore or inside.startswith(tuple(i + "/" for i in ignore)):
                if name in directories:
                    directories.remove(name)
                continue
            names.append((inside, path, seen))
        for inside, path, seen in names:
            entries[inside] = Entry(KINDS[stat.S_IFMT(seen.st_mode)],
                                    f"{stat.S_IMODE(seen.st_mode):o}", (seen.st_uid, seen.st_gid),
                                    content_of(path, seen), attributes_of(path), seen.st_mtime_ns)
            if seen.st_nlink > 1 and not stat.S_ISDIR(seen.st_mode):
                groups.setdefault((seen.st_dev, seen.st_ino), []).append(inside)
    for group in groups.values():
        for inside in group:
            entries[inside].links = tuple(sorted(group))
    return entries


def compare_trees(first, second, ignore=(), times=True):
    """The differences as lines to read, none when there is none. A tree is a folder, or the root
    file system of a process given by its id."""
    left, right = read_tree(first, ignore), read_tree(second, ignore)
    differences = [f"{name}: only in the first" for name in sorted(left.keys() - right.keys())]
    differences += [f"{name}: only in the second" for name in sorted(right.keys() - left.keys())]
    for name in sorted(left.keys() & right.keys()):
        for field in dataclasses.fields(Entry):
            if field.name == "times" and not times:
                continue
            here, there = getattr(left[name], field.name), getattr(right[name], field.name)
            if here != there:
                differences.append(f"{name}: {field.name}: {here!r} and {there!r}")
    return differences
