# SPDX-License-Identifier: Apache-2.0
"""The program of cluster.py by hand, with cuda-checkpoint and CRIU, on the machine itself."""
import os
import time

import classic
import machine
from harness import Case, Failure, Processes, Table
from pod_models import words_of


def show(story, kit, work, gpu, model, shown):
    """Cold start, checkpoint and restore; the same tokens."""
    seconds = model.seconds
    folder = work / "by-hand"
    folder.mkdir()
    processes = Processes()
    case = Case("by-hand", Table(folder), processes, folder / "case", folder / "logs",
                time.monotonic() + seconds["hand"] - 10)
    environment = {**os.environ, **gpu.environment, "HF_HUB_OFFLINE": "1"}
    environment.pop("SNAPSHOT_CONTROL_DIR", None)
    if gpu.share:
        environment["LD_LIBRARY_PATH"] = str(gpu.share)
    os.environ["STASIS_LIBCUDA"] = str(gpu.libraries / "libcuda.so.1")
    try:
        begin = time.time()
        workload = case.start(model.by_hand(kit, gpu.python), "server.log", env=environment,
                              start_new_session=True)
        # It asks itself until then: two at once would be computed together, with other roundings.
        log = folder / "logs/server.log"
        case.wait_for_start(workload, lambda: "serves" in words_of(log.read_text(errors="replace")),
                            seconds["cold"])
        warm = words_of(log.read_text(errors="replace"))["warm"]
        story.time("by hand: cold start to tokens", warm["time"] - begin)
        before = model.tokens()
        if model.reproducible:
            story.check("by hand: the same program", before == shown.warm, before)
        else:
            story.note("by hand: the pods' tokens", before == shown.warm)
        processes.disown(workload.child)
        hands = classic.Classic(case, kit / "libexec/cuda-checkpoint", kit / "criu/criu", workload.pid,
                                folder / "images")
        story.time("by hand: checkpoint", hands.checkpoint(seconds["capture"]))
        story.note("by hand: checkpoint", hands.checkpoint_text())
        begin = time.monotonic()
        hands.restore(seconds["restore"])
        story.note("by hand: restore", hands.restore_text())
        tokens = model.tokens()
        story.time("by hand: restore to tokens", time.monotonic() - begin)
        story.check("by hand: same tokens", tokens and tokens == before, tokens)
    except (Failure, OSError) as problem:
        for path in sorted((folder / "logs").iterdir()):
            print(f"== {path.name}\n{path.read_text(errors='replace')[-2000:]}")
        raise machine.Failure(str(problem)) from problem
    finally:
        processes.end_all()
