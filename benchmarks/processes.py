"""Kills, doubles and repeats the processes of a run, and says whether it held.

    python -m benchmarks.processes
    python -m benchmarks.processes --write docs/robustness.md

SIGKILL at the moments around the first checkpoints, each followed by a resume; two resumes at once;
the second run on two CPU devices, when its programs are in the compilation cache. Every run must
end in bitwise the same states and metrics as one that was left alone. For kills at random moments
see ``benchmarks.kill_and_resume``.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from benchmarks.kill_and_resume import compare, finish, train
from benchmarks.robustness_page import write_section

OPTIONS = (
    "--dataset synthetic:300:8x8x1:3 --model mlp --model-options widths=(8,) --epochs 4 "
    "--batch-size 32 --quiet"
).split()
DEVICES = (
    "--dataset synthetic:300:8x8x1:3 --model resnet8 --model-options width=2 --epochs 4 "
    "--batch-size 32 --quiet"
).split()
_LIMIT = 600  # seconds


def metrics_lines(directory: pathlib.Path) -> int:
    """How many epochs a run has recorded."""
    with contextlib.suppress(OSError):
        return (directory / "metrics.jsonl").read_bytes().count(b"\n")
    return 0


def committed(directory: pathlib.Path) -> int:
    """How many checkpoints a run has."""
    with contextlib.suppress(OSError):
        return sum(path.name.isdigit() for path in (directory / "checkpoints").iterdir())
    return 0


MOMENTS: dict[str, Callable[[pathlib.Path], bool]] = {
    "as config.json appears": lambda d: (d / "config.json").exists(),
    "as checkpoints/ appears": lambda d: (d / "checkpoints").exists(),
    "as the first epoch is recorded": lambda d: metrics_lines(d) >= 1,
    "as the first checkpoint is begun": lambda d: any((d / "checkpoints").glob("*")),
    "as the first checkpoint is there": lambda d: committed(d) >= 1,
    "as the second epoch is recorded": lambda d: metrics_lines(d) >= 2,
    "as the second checkpoint is there": lambda d: committed(d) >= 2,
}


def aimed_kills(folder: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Kills a run at each moment, and resumes it: (case, what broke)."""
    reference = folder / "reference"
    finish(train(OPTIONS, reference, resume=False))
    for number, (moment, reached) in enumerate(MOMENTS.items()):
        directory = folder / f"killed{number}"
        process = train(OPTIONS, directory, resume=False)
        while process.poll() is None and not reached(directory):
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed = process.returncode == -signal.SIGKILL
        case = f"SIGKILL {moment}" if killed else f"SIGKILL {moment}: too late, it had ended"
        yield case, _resumed(reference, directory)


def _resumed(reference: pathlib.Path, directory: pathlib.Path) -> str:
    try:
        finish(train(OPTIONS, directory, resume=True))
        compare(reference, directory)
    except (AssertionError, RuntimeError, OSError, ValueError) as error:
        return " ".join(str(error).split())[-200:]
    return ""


def two_at_once(folder: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Resumes a run twice at once: one goes on, the other is refused."""
    reference, directory = folder / "reference", folder / "twice"
    process = train(OPTIONS, directory, resume=False)
    while process.poll() is None and not committed(directory):
        time.sleep(0.0005)
    process.kill()
    process.communicate()
    both = [train(OPTIONS, directory, resume=True) for _ in range(2)]
    ends = [(each.communicate(timeout=_LIMIT)[0].strip(), each.returncode) for each in both]
    refused = [text for text, status in ends if status]
    broke = "" if len(refused) < 2 else "both failed"
    for text in refused:
        if "is being written by process" not in text or len(text.splitlines()) > 1:
            broke = text[-200:]
    try:
        compare(reference, directory)
    except (AssertionError, OSError, ValueError) as error:
        broke = broke or str(error)
    shown = "one refused" if refused else "one after the other"
    yield f"two resumes at once ({shown})", broke


def sums(directory: pathlib.Path) -> tuple[object, str]:
    """The checksums of the last checkpoint's arrays, which need no devices to read; the metrics."""
    steps = [int(p.name) for p in (directory / "checkpoints").iterdir() if p.name.isdigit()]
    record = directory / "checkpoints" / str(max(steps)) / "record" / "metadata"
    metrics = (directory / "metrics.jsonl").read_text()
    return json.loads(record.read_text())["checksums"], metrics


def second_run_on_two_devices(folder: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Trains the same run twice on two CPU devices, with one compilation cache."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags, "CNNLAB_CACHE": str(folder / "cache")}
    broke = ""
    for number in range(2):
        where = ["--run-dir", str(folder / f"devices{number}")]
        command = [sys.executable, "-m", "experiments.train", *DEVICES, *where]
        try:
            done = subprocess.run(
                command,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            broke = f"run {number + 1} hangs"
            break
        if done.returncode:
            broke = f"run {number + 1}: status {done.returncode} {done.stderr[-200:]}"
            break
    else:
        if sums(folder / "devices0") != sums(folder / "devices1"):
            broke = "the runs differ"
    yield "the second run on 2 CPU devices, with the compilation cache", broke


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", type=pathlib.Path, help="the page that gets the table")
    arguments = parser.parse_args()
    lines, broken = ["| case | |", "| --- | --- |"], 0
    with tempfile.TemporaryDirectory() as folder:
        for attack in (aimed_kills, two_at_once, second_run_on_two_devices):
            for case, broke in attack(pathlib.Path(folder)):
                verdict = f"broke: {broke}" if broke else "held"
                print(f"{case}: {verdict}", flush=True)
                lines.append(f"| {case} | {' '.join(verdict.split())} |")
                broken += bool(broke)
    if arguments.write is not None:
        write_section(arguments.write, "Processes", "processes", lines)
    sys.exit(broken > 0)


if __name__ == "__main__":
    main()
