"""Seconds from the command to the first training step of ResNet-20, cold and with its cache.

    python -m benchmarks.startup

Starts ``python -m experiments.train`` on made-up 32 x 32 images in processes of its own, with an
empty and then with a filled compilation cache, until the metrics of the first step are written.
Also the import time of ``cnnlab`` over that of ``jax``, and the time of ``--help``. Writes
benchmarks/results/startup.json.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

RESULT = pathlib.Path(__file__).parent / "results" / "startup.json"
OPTIONS = (
    "--dataset synthetic:128:32x32x3:10 --validation None --model resnet20 --batch-size 128 "
    "--epochs 1 --warmup-epochs 0 --flip --crop 4"
).split()


def first_step(folder: pathlib.Path, cache: pathlib.Path) -> float:
    """Seconds until the metrics of the first step are on the disk."""
    directory = folder / f"run{time.monotonic_ns()}"
    environment = {**os.environ, "CNNLAB_CACHE": str(cache)}
    command = [sys.executable, "-m", "experiments.train", *OPTIONS, "--run-dir", str(directory)]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    metrics = directory / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        if process.poll() is not None:
            raise RuntimeError(f"the run ended with {process.returncode} before its first step")
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    process.wait()
    return seconds


def seconds_of(*arguments: str) -> float:
    """Seconds of a Python process with these arguments."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        times.setdefault(name, []).append(seconds)

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for number in range(rounds):
            cache = folder / f"cache{number}"
            note("first step, cold", first_step(folder, cache))
            note("first step, with the compilation cache", first_step(folder, cache))
            note("import jax", seconds_of("-c", "import jax"))
            note("import jax, cnnlab", seconds_of("-c", "import jax, cnnlab"))
            note("experiments.train --help", seconds_of("-m", "experiments.train", "--help"))

    from cnnlab.files import write_json
    from cnnlab.train.environment import environment

    rows = {}
    for what, values in times.items():
        rows[what] = {
            "median": statistics.median(values),
            "min": min(values),
            "max": max(values),
        }
        print(f"{what:40} {rows[what]['median']:6.2f} s ({min(values):.2f} - {max(values):.2f})")
    here = environment(RESULT.parent, os.environ.get("XLA_FLAGS"))
    write_json(RESULT, {"rounds": rounds, "seconds": rows, "environment": here})


if __name__ == "__main__":
    main()
