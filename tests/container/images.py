#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Images for the container tests, made here: no registry is asked.

Layers that take long (a Debian with Python, and servers on top of it) are made once and kept in
the cache; archives (OCI layout, as containerd, podman and skopeo read it) are written from them.
Run as a program it makes the layers and prints their folder.
"""
import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import os
import pathlib
import platform
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile

RECIPE = 2  # raise it when the layers change
SUITE = "bookworm"
KEYRINGS = ["/usr/share/keyrings/debian-archive-keyring.gpg",
            "/usr/share/keyrings/debian-archive-keyring.pgp"]
LAYERS = {"debian": ["python3"], "nginx": ["nginx"], "redis": ["redis-server"],
          "postgresql": ["postgresql"]}
# What is in a folder where packages are installed, and not in an image.
LEFT_OUT = ("var/lib/apt/lists/", "var/cache/apt/", "usr/share/doc/", "usr/share/man/",
            "usr/share/locale/", "usr/share/info/", "usr/share/lintian/", "tmp/", "proc/", "dev/",
            "sys/")
FILES_LEFT_OUT = ("var/log/",)  # folders stay: who logs there expects his own
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BUSYBOX = "/bin/busybox"
SIXTY = 60


class Unavailable(Exception):
    """This machine lacks what is needed; the text says what."""


@dataclasses.dataclass
class Recipe:
    """What an image is made of: layers, lowest first, and what its container starts."""
    layers: list
    command: list
    entrypoint: list = dataclasses.field(default_factory=list)
    user: str = ""
    environment: list = dataclasses.field(default_factory=lambda: [PATH])
    directory: str = "/"
    stop_signal: str = ""


# Layers


def tar_of(entries):
    """A layer of (name, content): bytes are a file's, a text is a symbolic link's target, None is
    a directory. A file whose name is in bin is a program."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.mtime = 1700000000
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            elif isinstance(content, str):
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, content, 0o777
            else:
                info.size = len(content)
                info.mode = 0o755 if "bin/" in name else 0o644
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return data.getvalue()


def skeleton():
    users = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
    users += "app:x:1000:1000:app:/home:/bin/sh\n"
    groups = "root:x:0:\nnogroup:x:65534:\napp:x:1000:\n"
    names = ["bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "var"]
    return [(name, None) for name in names] + [
        ("etc/passwd", users.encode()), ("etc/group", groups.encode())]


def busybox_layer():
    if not os.access(BUSYBOX, os.X_OK):
        raise Unavailable("there is no busybox; install busybox-static")
    listing = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    names = [name for name in listing.stdout.split() if name != "busybox"]
    return tar_of(skeleton() + [("bin/busybox", pathlib.Path(BUSYBOX).read_bytes())] +
                  [(f"bin/{name}", "busybox") for name in names])


def program_layer(program):
    if not program or not os.access(program, os.X_OK):
        raise Unavailable(f"there is no static program {program}")
    return tar_of(skeleton() + [("bin/workload", pathlib.Path(program).read_bytes())])


def small_layers(count):
    return [tar_of([("layers", None), (f"layers/{number}", f"{number}\n".encode()),
                    ("layers/last", f"{number}\n".encode())]) for number in range(1, count + 1)]


# Layers of Debian packages


def layer_key():
    text = json.dumps([RECIPE, SUITE, LAYERS, LEFT_OUT, FILES_LEFT_OUT, platform.machine()])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def cache_directory():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(base, "stasis")


def layer_directory():
    return cache_directory() / f"images-{layer_key()}"


def run(*command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
                          **options)
    if done.returncode != 0:
        lines = done.stdout.strip().splitlines() or ["no output"]
        raise Unavailable(f"{command[0]} ended with {done.returncode}: {lines[-1]}")
    return done.stdout


def bootstrap(target):
    keyring = next((name for name in KEYRINGS if os.access(name, os.R_OK)), None)
    if keyring is None or not shutil.which("debootstrap"):
        raise Unavailable("debootstrap and debian-archive-keyring are needed")
    mirror = os.environ.get("STASIS_DEBIAN_MIRROR") or "http://deb.debian.org/debian"
    run("debootstrap", "--variant=minbase", "--include=" + ",".join(LAYERS["debian"]),
        "--keyring=" + keyring, SUITE, str(target), mirror)
    (target / "etc/passwd").write_text((target / "etc/passwd").read_text() +
                                       "app:x:1000:1000:app:/home:/bin/sh\n")
    (target / "etc/group").write_text((target / "etc/group").read_text() + "app:x:1000:\n")
    # Nobody is told to go to the network by what an image was made with.
    (target / "etc/resolv.conf").write_text("")
    (target / "etc/hostname").write_text("localhost\n")
    (target / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")


@contextlib.contextmanager
def mounted(kind, source, target, options=""):
    command = ["mount", "-t", kind, source, str(target)]
    run(*command, *(["-o", options] if options else []))
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(target)], check=False)


def install_packages(root, packages):
    """No service is started: there is a policy against it, as long as this takes."""
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8",
                   "PATH": PATH.partition("=")[2]}
    try:
        run("chroot", str(root), "apt-get", "-qq", "-o", "Acquire::Retries=3", "install", "-y",
            "--no-install-recommends", *packages, env=environment)
    finally:
        policy.unlink()


def is_left_out(name, path):
    if name.startswith(FILES_LEFT_OUT):
        return os.path.islink(path) or not os.path.isdir(path)
    return name.startswith(LEFT_OUT)


def add_to_layer(tar, path, name):
    """One file of a tree, or what the overlay filesystem says of a removed one."""
    seen = os.lstat(path)
    if stat.S_ISCHR(seen.st_mode) and seen.st_rdev == 0:
        folder, _, last = name.rpartition("/")
        info = tarfile.TarInfo(f"{folder}/.wh.{last}" if folder else f".wh.{last}")
        tar.addfile(info)
        return
    if stat.S_ISSOCK(seen.st_mode):
        return
    info = tar.gettarinfo(path, name)
    info.uname = info.gname = ""
    for attribute in os.listxattr(path, follow_symlinks=False):
        if attribute == "security.capability":
            value = os.getxattr(path, attribute, follow_symlinks=False)
            info.pax_headers["SCHILY.xattr." + attribute] = value.decode("utf-8",
                                                                         "surrogateescape")
        elif attribute == "trusted.overlay.opaque":
            tar.addfile(tarfile.TarInfo(f"{name}/.wh..wh..opq"))
    if info.isreg():
        with open(path, "rb") as file:
            tar.addfile(info, file)
    else:
        tar.addfile(info)


def write_layer(root, output):
    with tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as tar:
        for folder, directories, files in os.walk(root):
            directories.sort()
            for name in sorted(directories + files):
                path = os.path.join(folder, name)
                inside = os.path.relpath(path, root)
                if not is_left_out(inside, path):
                    add_to_layer(tar, path, inside)


def build_layers(work):
    base = work / "debian"
    bootstrap(base)
    write_layer(base, work / "debian.tar")
    for name, packages in LAYERS.items():
        if name == "debian":
            continue
        upper, scratch, merged = work / name, work / "work", work / "merged"
        for folder in (upper, scratch, merged):
            folder.mkdir(exist_ok=True)
        options = f"lowerdir={base},upperdir={upper},workdir={scratch}"
        with mounted("overlay", "overlay", merged, options), \
                mounted("proc", "proc", merged / "proc"), \
                mounted("none", "/etc/resolv.conf", merged / "etc/resolv.conf", "bind"), \
                mounted("none", "/etc/hosts", merged / "etc/hosts", "bind"):
            install_packages(merged, packages)
        write_layer(upper, work / f"{name}.tar")
    for name in [*LAYERS, "work", "merged"]:
        shutil.rmtree(work / name)


def is_complete(directory):
    return all((directory / f"{name}.tar").is_file() for name in LAYERS)


def make_layers():
    """The folder of the layers, made when it is not there yet."""
    directory = layer_directory()
    if is_complete(directory):
        return directory
    if os.environ.get("STASIS_OFFLINE"):
        raise Unavailable("the image layers are not in the cache, and STASIS_OFFLINE is set")
    if os.geteuid() != 0:
        raise Unavailable("image layers are built by root")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(directory.parent / ".images.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_complete(directory):
            return directory
        work = pathlib.Path(tempfile.mkdtemp(prefix=".images.", dir=directory.parent))
        try:
            build_layers(work)
            work.chmod(0o755)
            work.rename(directory)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return directory


# Images


def postgresql_recipe(layers):
    version = "15"
    data = f"/var/lib/postgresql/{version}/main"
    return Recipe(layers, [f"/usr/lib/postgresql/{version}/bin/postgres", "-D", data, "-c",
                           f"config_file=/etc/postgresql/{version}/main/postgresql.conf",
                           "-c", "unix_socket_directories=/tmp"],
                  user="postgres", stop_signal="SIGINT")


class Images:
    """The images by name; archive() gives the file to import.

    workload: the static program of the image `distroless`.
    """

    NAMES = ("pause", "busybox", "distroless", "python", "nginx", "redis", "postgresql",
             "sixty-layers")

    def __init__(self, directory, workload=None):
        self.directory = pathlib.Path(directory)
        self.workload = workload
        self.directory.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def reference(name, user=None):
        """How runtimes call an image of ours."""
        tag = "1" if user is None else "user-" + user.replace(":", "-")
        return f"localhost/{name}:{tag}"

    def recipe(self, name):
        def cached(*names):
            return [make_layers() / f"{layer}.tar" for layer in names]

        if name in ("busybox", "pause"):
            command = ["/bin/sleep", "infinity"] if name == "pause" else ["/bin/sh"]
            return Recipe([busybox_layer()], command)
        if name == "sixty-layers":
            return Recipe([busybox_layer(), *small_layers(SIXTY - 1)], ["/bin/sh"])
        if name == "distroless":
            return Recipe([program_layer(self.workload)], ["--list"], entrypoint=["/bin/workload"])
        if name == "python":
            return Recipe(cached("debian"), ["python3"])
        if name == "nginx":
            return Recipe(cached("debian", "nginx"), ["nginx", "-g", "daemon off;"],
                          stop_signal="SIGQUIT")
        if name == "redis":
            return Recipe(cached("debian", "redis"), ["redis-server", "--protected-mode", "no"])
        if name == "postgresql":
            return postgresql_recipe(cached("debian", "postgresql"))
        raise ValueError(f"there is no image {name}")

    def archive(self, name, user=None):
        """The OCI archive of an image. With a user: the same, started as that user."""
        output = self.directory / f"{name}{'' if user is None else '-' + user}.tar"
        if not output.exists():
            recipe = self.recipe(name)
            if user is not None:
                recipe.user = user
            write_archive(recipe, self.reference(name, user), output)
        return output


def digest_of(layer):
    if isinstance(layer, bytes):
        return hashlib.sha256(layer).hexdigest()
    with open(layer, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Archive:
    """An OCI layout that grows, as one tar file."""

    def __init__(self, tar):
        self.tar = tar
        self.seen = set()

    def add(self, name, content):
        info = tarfile.TarInfo(name)
        info.mode = 0o644
        if isinstance(content, bytes):
            info.size = len(content)
            self.tar.addfile(info, io.BytesIO(content))
        else:
            info.size = content.stat().st_size
            with open(content, "rb") as file:
                self.tar.addfile(info, file)
        return info.size

    def add_blob(self, kind, content):
        digest = digest_of(content)
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        if digest not in self.seen:
            self.seen.add(digest)
            self.add(f"blobs/sha256/{digest}", content)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}",
                "size": size}


def machine_architecture():
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def write_archive(recipe, reference, output):
    started = {"Env": recipe.environment, "Cmd": recipe.command, "WorkingDir": recipe.directory}
    for name, value in (("Entrypoint", recipe.entrypoint), ("User", recipe.user),
                        ("StopSignal", recipe.stop_signal)):
        if value:
            started[name] = value
    partial = output.with_suffix(".partial")
    with tarfile.open(partial, "w") as tar:
        archive = Archive(tar)
        archive.add("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        layers = [archive.add_blob("layer.v1.tar", layer) for layer in recipe.layers]
        config = {"architecture": machine_architecture(), "os": "linux", "config": started,
                  "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}}
        manifest = {"schemaVersion": 2, "layers": layers,
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "config": archive.add_blob("config.v1+json", json.dumps(config).encode())}
        entry = archive.add_blob("manifest.v1+json", json.dumps(manifest).encode())
        entry["annotations"] = {"io.containerd.image.name": reference,
                                "org.opencontainers.image.ref.name": reference}
        entry["platform"] = {"architecture": machine_architecture(), "os": "linux"}
        archive.add("index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
    partial.rename(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="print the folder when it is complete")
    arguments = parser.parse_args()
    if arguments.check:
        if is_complete(layer_directory()):
            print(layer_directory())
        return
    try:
        print(make_layers())
    except (Unavailable, OSError) as problem:
        sys.exit(f"{problem}")


if __name__ == "__main__":
    main()
