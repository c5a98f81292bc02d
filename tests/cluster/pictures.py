# SPDX-License-Identifier: Apache-2.0
"""The images of the cluster, as archives that containerd imports: made here and kept in the cache,
or brought by a kit. No registry is asked."""
import fcntl
import hashlib
import inspect
import json
import pathlib
import tarfile

import images
import machine

# What a pod names it, and what the container tests call the same thing.
ALWAYS = {"localhost/pause:1": "pause", "docker.io/library/busybox:latest": "busybox"}
ON_DEMAND = {"docker.io/library/my-app:base": "python"}


def full_name(name):
    """As containerd knows an image that a pod calls by a short name."""
    first = name.partition("/")[0]
    if "/" not in name:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def recipe_key():
    text = inspect.getsource(images) + json.dumps([ALWAYS, ON_DEMAND])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def archive_of(reference):
    """The file of one of the images above, written once."""
    kind = {**ALWAYS, **ON_DEMAND}.get(reference)
    if kind is None:
        raise machine.Failure(f"there is no file {reference}, nor is it one of "
                              + ", ".join([*ALWAYS, *ON_DEMAND]))
    folder = images.cache_directory() / f"cluster-images-{recipe_key()}"
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / f"{reference.replace('/', '_').replace(':', '_')}.tar"
    with open(folder / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output.exists():
            recipe = images.Images(folder).recipe(kind)
            images.write_archive(recipe, reference, output)
    return output


def references_in(archive):
    """The names of the images in an archive (OCI layout or docker-archive)."""
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        if "index.json" in names:
            index = json.load(tar.extractfile("index.json"))
            found = [entry.get("annotations", {}).get("io.containerd.image.name")
                     for entry in index["manifests"]]
            if any(found):
                return [name for name in found if name]
        manifest = json.load(tar.extractfile("manifest.json"))
        return [full_name(name) for entry in manifest for name in entry["RepoTags"]]


def brought(folder):
    """What a kit brings: each archive by the name of the image in it."""
    return {name: path for path in sorted(pathlib.Path(folder).glob("*.tar"))
            for name in references_in(path)}
