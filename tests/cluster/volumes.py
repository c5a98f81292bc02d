# SPDX-License-Identifier: Apache-2.0
"""Directories of this machine that play the volumes of a cluster: every node sees them at the same
path, as it would a network file system."""
CLASSES = {"shared": ["ReadWriteMany", "ReadOnlyMany", "ReadWriteOnce"], "single": ["ReadWriteOnce"],
           "read-only": ["ReadOnlyMany"]}
# How many of a class are there from the start.
READY = {"shared": 6, "single": 4}


def storage_class(name):
    return {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": name, "annotations": {
                "storageclass.kubernetes.io/is-default-class": str(name == "shared").lower()}},
            "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "Immediate"}


def persistent_volume(name, path, storage, modes, size, node=None):
    """node: the only one where it may be used."""
    spec = {"capacity": {"storage": size}, "accessModes": modes, "storageClassName": storage,
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(path), "type": "Directory"}}
    if node:
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def make_directory(folder, name):
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o777)
    return path


def initial(folder):
    """The classes, and volumes that wait for a claim."""
    found = [storage_class(name) for name in CLASSES]
    for storage, count in READY.items():
        for number in range(1, count + 1):
            name = f"{storage}-{number}"
            found.append(persistent_volume(name, make_directory(folder, name), storage,
                                           CLASSES[storage], "500Gi"))
    return found
