#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The images, really built by buildah, and started: their programs need nothing of the machine that
built them, and a placeholder is its base with our programs before what it starts. Prints TAP.

pictures.py SOURCE-DIRECTORY BUILD-DIRECTORY WORKLOAD
"""
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile

sys.dont_write_bytecode = True
SOURCE, BUILD, WORKLOAD = (pathlib.Path(word).resolve() for word in sys.argv[1:4])
sys.path.insert(0, str(SOURCE / "tests/container"))
import images  # noqa: E402
from tap import contains, equal, run_all, test  # noqa: E402

ENTRY = "/usr/local/bin/smart-entrypoint.sh"
LABELS = {"org.example.team": "inference", "maintainer": "somebody"}
OURS = ("restore-entrypoint", "smart-entrypoint", "smart-entrypoint.sh")


class Place:
    """An installed tree, and buildah with a storage of its own."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.storage = self.directory / "storage"
        self.saved = self.directory / "saved"
        self.installed = self.directory / "installed"
        self.environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}
        self.roots = {}

    def run(self, *command, **options):
        return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, env=self.environment,
                              check=options.pop("check", True), **options)

    def buildah(self, *words):
        return self.run("buildah", "--root", self.storage / "root", "--runroot",
                        self.storage / "run", *words).stdout.strip()

    def install(self):
        if not self.installed.exists():
            self.run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir",
                     self.installed)
        return self.installed

    def build(self, *words, **options):
        return self.run(SOURCE / "tools/build-images", "--installed", self.install(), "--storage",
                        self.storage, "--save", self.saved, *words, **options)

    def settings(self, image):
        text = self.buildah("inspect", "--type", "image", image)
        return json.loads(text)["OCIv1"]["config"]

    def root(self, image):
        """A container of the image, mounted."""
        if image not in self.roots:
            self.roots[image] = self.buildah("mount", self.buildah("from", image))
        return self.roots[image]

    def inside(self, image, *command, environment=None):
        """What a program says whose root is the image, with an environment as empty as there."""
        return subprocess.run(["chroot", self.root(image), *command], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False,
                              env={"PATH": images.PATH[5:], **(environment or {})})

    def base(self, name, layer, *settings):
        """An image of one layer; what it starts as buildah's words."""
        file = self.directory / f"{name}.tar"
        file.write_bytes(layer)
        container = self.buildah("from", "scratch")
        self.buildah("add", container, file, "/")
        self.buildah("config", *settings, container)
        self.buildah("commit", container, f"localhost/{name}")
        return f"localhost/{name}"

    def done(self):
        if self.storage.exists():
            self.buildah("rm", "--all")
            self.buildah("rmi", "--all", "--force")


def busybox_placeholder(place):
    """Shell words are in its CMD; it has labels, a user, a folder, and no entry point."""
    base = place.base("base-busybox", images.busybox_layer(), "--cmd",
                      "/bin/sh -c 'echo cold start as $(id -u) with $0' word",
                      "--user", "app", "--workingdir", "/home", "--env", "GREETING=hello",
                      "--env", images.PATH,
                      *(word for key, value in LABELS.items()
                        for word in ("--label", f"{key}={value}")))
    place.build("placeholder", "--base", base, "--placeholder-name", "localhost/busybox-restore")
    return base, "localhost/busybox-restore"


@test
def placeholder_keeps_its_base(place):
    """A placeholder has the command, user, labels, folder and environment of its base"""
    base, made = busybox_placeholder(place)
    before, after = place.settings(base), place.settings(made)
    equal(after["Entrypoint"], [ENTRY], "entry point")
    equal(len(before["Cmd"]), 4, "words of the base's command")
    for name in ("Cmd", "User", "WorkingDir", "Env"):
        equal(after[name], before[name], name)
    equal({key: after["Labels"].get(key) for key in LABELS}, LABELS, "labels")


@test
def placeholder_starts_the_command(place):
    """Its entry point, as the image has it, starts the command where there is no snapshot"""
    settings = place.settings("localhost/busybox-restore")
    done = place.inside("localhost/busybox-restore", *settings["Entrypoint"], *settings["Cmd"])
    equal((done.returncode, done.stdout), (0, "cold start as 0 with word\n"), done.stderr)
    done = place.inside("localhost/busybox-restore", *settings["Entrypoint"], "/bin/echo", "args")
    equal((done.returncode, done.stdout), (0, "args\n"), done.stderr)


@test
def placeholder_of_an_entry_point(place):
    """What the base's entry point is stays before arguments, in an image with one static program"""
    base = place.base("base-distroless", images.program_layer(str(WORKLOAD)), "--entrypoint",
                      '["/bin/workload"]', "--cmd", "--list")
    place.build("placeholder", "--base", base, "--placeholder-name", "localhost/distroless-restore")
    settings = place.settings("localhost/distroless-restore")
    equal(settings["Entrypoint"], [ENTRY, "/bin/workload"], "entry point")
    equal(settings["Cmd"], ["--list"], "command")
    root = pathlib.Path(place.root("localhost/distroless-restore"))
    equal(list(root.glob("lib*")) + list(root.glob("bin/sh")), [], "libraries and shells")
    done = place.inside("localhost/distroless-restore", *settings["Entrypoint"], *settings["Cmd"])
    equal(done.returncode, 0, done.stderr)
    contains(done.stdout, "memfd")


@test
def placeholder_programs(place):
    """Its programs are there under their names, executable by all, and are static"""
    root = pathlib.Path(place.root("localhost/busybox-restore"))
    for name in OURS:
        file = root / "usr/local/bin" / name
        equal(stat.S_IMODE(file.stat().st_mode) & 0o555, 0o555, name)
        done = place.run("ldd", file, check=False)
        contains(done.stdout + done.stderr, "not a dynamic executable")
    for image in ("localhost/busybox-restore", "localhost/distroless-restore"):
        done = place.inside(image, "/usr/local/bin/restore-entrypoint", "--help")
        equal(done.returncode, 0, done.stderr)
        contains(done.stdout, "usage: restore-entrypoint")


@test
def agent_image(place):
    """The agent's image has our programs and CRIU, which start in it, and names of others"""
    place.build("agent", "cli")
    image = images_name("agent")
    equal(place.settings(image)["Entrypoint"], ["/usr/local/bin/snapshot-agent"], "entry point")
    for name in ("criu", "/usr/local/sbin/criu"):
        contains(place.inside(image, name, "--version").stdout, "Version: 4.2.1")
    contains(place.inside(image, "snapshotctl", "--version").stdout, "snapshotctl ")
    contains(place.inside(image, "/usr/local/sbin/cuda-checkpoint", "--help").stdout, "--pid")
    root = pathlib.Path(place.root(image))
    for name in ("usr/local/libexec/stasis/nsrestore", "usr/local/bin/nsrestore",
                 "usr/local/libexec/stasis/criu-inside.so",
                 "usr/local/libexec/stasis/criu-plugins/stasis_plugin.so",
                 "usr/local/libexec/stasis/stasis-root", "usr/share/doc/stasis/LICENSE",
                 "usr/share/doc/libc6/copyright", "var/lib/dpkg/status.d/libc6"):
        equal((root / name).is_file(), True, name)
    equal((root / "checkpoints").is_dir(), True, "/checkpoints")
    installed = (place.installed / "usr/local/bin/snapshot-agent").exists()
    equal((root / "usr/local/bin/snapshot-agent").exists(), installed, "snapshot-agent")


@test
def every_library_is_there(place):
    """Each program of the agent's image finds its libraries there, and so do the driver's"""
    image = images_name("agent")
    root = pathlib.Path(place.root(image))
    loader = next(root.glob("usr/lib*/**/ld-linux*"))
    seen = 0
    for program in sorted(root.glob("usr/local/bin/*")):
        if program.is_symlink():
            continue
        done = place.inside(image, f"/{loader.relative_to(root)}", "--list",
                            f"/{program.relative_to(root)}")
        equal((done.returncode, "not found" in done.stdout), (0, False), done.stdout + done.stderr)
        seen += 1
    equal(seen >= 2, True, f"{seen} programs")
    names = {file.name for file in root.glob("usr/lib/**/*.so.*")}
    equal({"libdl.so.2", "libpthread.so.0", "librt.so.1", "libm.so.6"} - names, set(), "libraries")


@test
def seccomp_step(place):
    """The command of the chart's init container leaves the profile where the kubelet looks"""
    image = images_name("agent")
    root = pathlib.Path(place.root(image))
    (root / "host/seccomp").mkdir(parents=True)
    text = (SOURCE / "charts/shared/templates/daemonset.yaml").read_text()
    lines = [line.strip() for line in text.splitlines() if " /host/seccomp/profiles" in line]
    equal(len(lines), 3, "lines of the init container")
    done = place.inside(image, "/bin/sh", "-ec", "\n".join(lines))
    equal(done.returncode, 0, done.stderr)
    written = root / "host/seccomp/profiles"
    equal([file.name for file in written.iterdir()], ["block-iouring.json"], "files")
    equal((written / "block-iouring.json").read_text(),
          (SOURCE / "deploy/seccomp/block-iouring.json").read_text(), "profile")


@test
def cli_image(place):
    """The image of the command line is it and its libraries"""
    image = images_name("cli")
    equal(place.settings(image)["Entrypoint"], ["/usr/local/bin/snapshotctl"], "entry point")
    done = place.inside(image, "/usr/local/bin/snapshotctl", "--version")
    contains(done.stdout, "snapshotctl ")
    root = pathlib.Path(place.root(image))
    equal([file.name for file in root.glob("usr/local/bin/*")], ["snapshotctl"], "programs")


@test
def archives(place):
    """What is saved is an archive that runtimes import under the image's name"""
    for target in ("agent", "cli", "placeholder"):
        with tarfile.open(place.saved / f"{target}.tar") as tar:
            content = json.load(tar.extractfile("manifest.json"))
            names = set(tar.getnames())
        equal(len(content), 1, target)
        equal(set(content[0]["Layers"]) - names, set(), target)
        wanted = "localhost/distroless-restore:latest" if target == "placeholder" \
            else images_name(target)
        equal(content[0]["RepoTags"], [wanted], target)


@test
def refusals(place):
    """A placeholder needs a base, a target a name that there is, a tree its programs"""
    done = place.build("placeholder", check=False)
    equal(done.returncode, 2, "status")
    contains(done.stderr, "--base IMAGE")
    done = place.build("operator", check=False)
    contains(done.stderr, "there is no target operator")
    empty = place.directory / "empty/usr/local/lib/stasis/criu"
    empty.mkdir(parents=True)
    done = place.run(SOURCE / "tools/build-images", "--installed", place.directory / "empty", "cli",
                     "--storage", place.storage, check=False)
    equal(done.returncode, 1, "status")
    contains(done.stderr, "usr/local/bin/snapshotctl is not there")


def images_name(target):
    text = (SOURCE / "meson.build").read_text()
    version = text.partition("version: '")[2].partition("'")[0]
    return f"localhost/stasis-{target}:{version}"


def why_not():
    if os.geteuid() != 0:
        return "needs root"
    return None if shutil.which("buildah") else "there is no buildah"


def main():
    with tempfile.TemporaryDirectory(prefix="pictures.", dir="/var/tmp") as directory:
        place = Place(directory)
        try:
            return run_all(place)
        finally:
            place.done()


if __name__ == "__main__":
    missing = why_not()
    if missing:
        print(f"1..0 # SKIP {missing}")
        sys.exit(0)
    sys.exit(main())
