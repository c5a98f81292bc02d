#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The agent's image, taken apart and put together again (make-cluster-kit).

  kit_image.py unpack DOCKER-ARCHIVE-FOLDER TREE
  kit_image.py pack DOCKER-ARCHIVE-FOLDER TREE OUTPUT.tar
"""
import io
import json
import pathlib
import sys
import tarfile

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "container"))

import images  # noqa: E402


def description(folder):
    """The manifest's only image, and what its containers start."""
    entry, = json.loads((folder / "manifest.json").read_text())
    return entry, json.loads((folder / entry["Config"]).read_text())["config"]


def unpack(folder, tree):
    for layer in description(folder)[0]["Layers"]:
        with tarfile.open(folder / layer) as tar:
            tar.extractall(tree, filter="fully_trusted")


def pack(folder, tree, output):
    entry, config = description(folder)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(tree, ".")
    recipe = images.Recipe([data.getvalue()], config.get("Cmd") or [], config["Entrypoint"],
                           config.get("User", ""), config["Env"])
    images.write_archive(recipe, entry["RepoTags"][0], output)


def main():
    verb, folder, tree, *output = sys.argv[1:]
    if verb == "unpack":
        unpack(pathlib.Path(folder), pathlib.Path(tree))
    else:
        pack(pathlib.Path(folder), pathlib.Path(tree), pathlib.Path(output[0]))


if __name__ == "__main__":
    main()
