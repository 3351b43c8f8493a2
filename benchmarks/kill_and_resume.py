"""Kills training runs with SIGKILL at random moments, resumes them, compares with unkilled ones.

    python -m benchmarks.kill_and_resume --kills 20
    python -m benchmarks.kill_and_resume --kills 20 --options "--stream True --seeds 2"

A resumed run must end in bitwise the same states (parameters, statistics, optimiser, moving
average), the same metrics of every epoch and the same best score. A run that finishes before
all kills are done is compared, and another one is started.
"""

import argparse
import json
import pathlib
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time

DEFAULT = (
    "--dataset synthetic:600:12x12x1:4 --model resnet8 --epochs 12 --batch-size 32 "
    "--ema-decay 0.99 --flip --steps-per-call 3 --checkpoint-steps 6 --quiet"
)


def train(options: list[str], directory: pathlib.Path, *, resume: bool) -> subprocess.Popen:
    """Starts a run, or goes on with it."""
    where = ["--resume" if resume else "--run-dir", str(directory)]
    command = [sys.executable, "-m", "experiments.train", *options, *where]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen) -> None:
    """Waits for a run; raises RuntimeError with what it printed if it failed."""
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"exit status {process.returncode}:\n{output}")


def final(directory: pathlib.Path) -> tuple[dict[str, list], list[dict], dict]:
    """All arrays of the last checkpoint as lists of bytes, the metrics, and the best score."""
    import orbax.checkpoint as ocp

    from cnnlab.train.records import read_metrics

    checkpoints = directory / "checkpoints"
    last = max(int(path.name) for path in checkpoints.iterdir() if path.name.isdigit())
    tree = ocp.StandardCheckpointer().restore(checkpoints.resolve() / str(last) / "tree")
    record = json.loads((checkpoints / str(last) / "record" / "metadata").read_text())
    leaves = {"step": [last], "tree": _bytes(tree)}
    return leaves, read_metrics(directory / "metrics.jsonl"), record["meta"]["best"]


def compare(reference: pathlib.Path, directory: pathlib.Path) -> None:
    """Raises AssertionError where two runs differ in a bit."""
    wanted, resumed = final(reference), final(directory)
    for what, one, other in zip(("states", "metrics", "best"), wanted, resumed, strict=True):
        if one != other:
            raise AssertionError(f"{what} of {directory} differ from those of {reference}")


def kill_and_resume(
    options: list[str], kills: int, folder: pathlib.Path, seed: int = 0
) -> list[float]:
    """Kills and resumes; returns the moments of the kills, in seconds after each start."""
    choose = random.Random(seed)
    reference = folder / "reference"
    began = time.monotonic()
    finish(train(options, reference, resume=False))
    duration = time.monotonic() - began
    moments: list[float] = []
    number = 0
    while len(moments) < kills:
        number += 1
        directory = folder / f"killed{number}"
        while True:
            process = train(options, directory, resume=(directory / "config.json").exists())
            if len(moments) == kills:
                finish(process)
                break
            moment = choose.uniform(0, duration)
            try:
                process.wait(timeout=moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                moments.append(moment)
            else:
                finish(process)
                break
        compare(reference, directory)
        print(f"run {number}: the same, after {len(moments)} kills in all", flush=True)
    return moments


def _bytes(tree: object) -> list:
    import jax
    import numpy as np

    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path), np.asarray(leaf).tobytes()) for path, leaf in leaves]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--options", default="", help="further options of experiments.train")
    arguments = parser.parse_args()
    options = shlex.split(DEFAULT) + shlex.split(arguments.options)
    with tempfile.TemporaryDirectory() as folder:
        moments = kill_and_resume(options, arguments.kills, pathlib.Path(folder), arguments.seed)
    print(f"killed {len(moments)} times, at " + ", ".join(f"{m:.1f}" for m in moments) + " s")


if __name__ == "__main__":
    main()
