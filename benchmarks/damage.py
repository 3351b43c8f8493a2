"""Damages files of run directories, one at a time, and says what resuming and evaluating do.

    python -m benchmarks.damage
    python -m benchmarks.damage --write docs/robustness.md
    python -m benchmarks.damage --all    # every file of every checkpoint, not a sample

A tiny training and a tiny study (distillation) are made once, finished and interrupted. Of a copy
one file is changed: one bit flipped, cut to half, emptied, deleted. Then it is resumed or
evaluated, and what came out (arrays of the last checkpoints, metrics, result) is compared with what
comes of an undamaged copy. Broke is a case that ends in other numbers without a word ("silent"), in
a trace, a crash or a hang. Then checkpoints are swapped, renamed and brought from another run.
"""

import argparse
import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.in_process import Outcome, Worker
from benchmarks.robustness_page import write_section

DATA = "--dataset synthetic:300:8x8x1:3 --batch-size 32 --quiet --keep 3".split()
TRAIN = [*DATA, "--model", "mlp", "--model-options", "widths=(8,)", "--epochs", "4"]
DISTILL = [
    *(*DATA, "--teachers", "1", "--teacher-model", "mlp", "--teacher-model-options"),
    *("widths=(8,)", "--teacher-epochs", "2", "--teacher-crop", "0", "--model", "mlp"),
    *("--model-options", "widths=(8,)", "--epochs", "2", "--seeds", "1"),
]
LAST = {"train": "checkpoints/32", "distill": "distilled-T4/checkpoints/16"}
"""The newest checkpoint of what was trained last: without it the run is an interrupted one."""

CHANGES: dict[str, Callable[[pathlib.Path], object]] = {
    "flip": lambda path: flip(path),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "delete": lambda path: path.unlink(),
}
HELD = ("same", "named", "refused")
BROKE = ("silent", "trace", "long message", "crash", "hang")
# In result.json, of each sitting; its checksum is of these, too.
_PASSING = ("seconds", "environment", "run_dir", "figures", "sha256")
_ARRAYS = re.compile(r"/tree/(ocdbt\.process_0/)?d/")


@dataclasses.dataclass
class Row:
    """What came of one case: the run, the action, the file, the change, the verdict, a message."""

    run: str
    action: str
    file: str
    change: str
    verdict: str
    message: str


def flip(path: pathlib.Path) -> None:
    """Flips one bit of a file, at a place that depends on its name only."""
    data = bytearray(path.read_bytes())
    if data:
        place = random.Random(path.name).randrange(8 * len(data))
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)


def numbers(directory: pathlib.Path, action: str) -> dict[str, Any]:
    """What comes of an action: arrays of the last checkpoints, metrics and results, or scores."""
    if action.startswith("evaluate"):
        scores = sorted(directory.glob("evaluate-*.json"))
        return {file.name: _lasting(json.loads(file.read_text())) for file in scores}
    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    said: dict[str, Any] = {}
    for folder in sorted(directory.rglob("checkpoints")):
        last = max((int(p.name) for p in folder.iterdir() if p.name.isdigit()), default=None)
        tree = (
            {} if last is None else ocp.StandardCheckpointer().restore(folder / str(last) / "tree")
        )
        arrays = hashlib.sha256(b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(tree)))
        said[str(folder.relative_to(directory))] = [last, arrays.hexdigest()]
    for file in sorted(directory.rglob("metrics.jsonl")):
        said[str(file.relative_to(directory))] = file.read_text()
    return {**said, "result.json": _lasting(json.loads((directory / "result.json").read_text()))}


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(item) for key, item in value.items() if key not in _PASSING}
    return [_lasting(item) for item in value] if isinstance(value, list) else value


def judge(
    outcome: Outcome, where: str, file: str, same: bool, expected_output: str
) -> tuple[str, str]:
    """The verdict on a case, and what was printed about it.

    Args:
      outcome: of the experiment.
      where: the run directory, which a line on the damage names.
      file: that was changed, within the run directory.
      same: whether the numbers are those of an undamaged run.
      expected_output: what the undamaged run prints.
    """
    if outcome.ending in ("trace", "crash", "hang"):
        return outcome.ending, outcome.message.strip().splitlines()[-1]
    if outcome.ending == "refused":
        message = outcome.message.strip()
        return "refused" if "\n" not in message and len(message) < 700 else "long message", message
    if "Traceback" in outcome.output:
        return "trace", outcome.output[outcome.output.index("Traceback") :].splitlines()[-1]
    usual = set(expected_output.splitlines())
    for line in outcome.output.splitlines():
        if line not in usual and (where in line or file.split("/")[-1] in line):
            return "named", line
    return ("same" if same else "silent"), ""


class Bench:
    """Runs, damaged copies of them, and what came of each."""

    def __init__(self, folder: pathlib.Path, worker: Worker) -> None:
        self.folder, self.worker = folder, worker
        self.rows: list[Row] = []
        self._expected: dict[tuple[str, str], tuple[dict[str, Any], str]] = {}

    def make(self) -> None:
        """Makes the runs: finished ones, another seed's, and interrupted ones."""
        for name, experiment, options in (
            ("train", "train", TRAIN),
            ("other", "train", [*TRAIN, "--seed", "1"]),
            ("distill", "distill", DISTILL),
        ):
            directory = self.folder / "whole" / name
            outcome = self.worker.run(experiment, [*options, "--run-dir", str(directory)])
            if outcome.ending != "finished":
                sys.exit(f"{name} did not train: {outcome.message}")
        for name, last in LAST.items():
            target = self.folder / "whole" / f"{name}, interrupted"
            shutil.copytree(self.folder / "whole" / name, target)
            shutil.rmtree(target / last)
            (target / "result.json").unlink()

    def try_one(
        self, run: str, action: str, file: str, change: str, alter: Callable[[pathlib.Path], object]
    ) -> None:
        """Alters a copy of a run, resumes or evaluates it, and keeps the verdict."""
        expected, printed = self._undamaged(run, action)
        directory = self._copy(run)
        alter(directory)
        try:
            outcome = self._act(directory, action)
        except InterruptedError:  # which says nothing about the case
            self.try_one(run, action, file, change, alter)
            return
        same = False
        if outcome.ending == "finished":
            with contextlib.suppress(Exception):
                same = numbers(directory, action) == expected
        verdict, message = judge(outcome, str(directory), file, same, printed)
        shown = message.replace(f"{directory}", "RUN")
        self.rows.append(Row(run, action, file, change, verdict, shown))
        mark = "broke" if verdict in BROKE else "held"
        print(
            f"{mark:5} {run}: {action} after {change} {file}: {verdict} {shown[:230]}", flush=True
        )

    def _undamaged(self, run: str, action: str) -> tuple[dict[str, Any], str]:
        if (run, action) not in self._expected:
            directory = self._copy(run)
            outcome = self._act(directory, action)
            if outcome.ending != "finished":
                sys.exit(f"the undamaged {run} did not {action}: {outcome.message}")
            self._expected[run, action] = (numbers(directory, action), outcome.output)
        return self._expected[run, action]

    def _copy(self, run: str) -> pathlib.Path:
        directory = self.folder / "case" / run.split(",")[0]
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self.folder / "whole" / run, directory)
        return directory

    def _act(self, directory: pathlib.Path, action: str) -> Outcome:
        if action.startswith("evaluate"):
            return self.worker.run("evaluate", [str(directory), *action.split()[1:]])
        return self.worker.run(directory.name, ["--resume", str(directory)])


def chosen_files(directory: pathlib.Path, everything: bool) -> Iterator[str]:
    """The files of a run to damage: all, or those outside of checkpoints and a sample of theirs."""
    newest = {
        max((path for path in folder.iterdir() if path.name.isdigit()), key=lambda p: int(p.name))
        for folder in directory.rglob("checkpoints")
    }
    arrays: collections.Counter[str] = collections.Counter()
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if not path.is_file():
            continue
        if "checkpoints/" in name and not everything:
            folder = path.parent.as_posix()
            if newest.isdisjoint(path.parents) or (_ARRAYS.search(name) and arrays[folder] >= 2):
                continue
            if not name.startswith("checkpoints/") and path.name != "metadata":
                continue  # of a study: the records of its trainings alone
            arrays[folder] += 1
        yield name


def damage(bench: Bench, everything: bool) -> None:
    """Every file of the runs, each change."""
    actions = (
        ("train, interrupted", "resume"),
        ("train", "evaluate"),
        ("train", "evaluate --best"),
        ("distill, interrupted", "resume"),
    )
    for run, action in actions:
        for file in chosen_files(bench.folder / "whole" / run, everything):
            if action == "evaluate --best" and not file.endswith("record/metadata"):
                continue
            for change, alter in CHANGES.items():
                bench.try_one(run, action, file, change, functools.partial(_within, file, alter))


def _within(file: str, alter: Callable[[pathlib.Path], object], directory: pathlib.Path) -> None:
    alter(directory / file)


def moves(bench: Bench) -> None:
    """Checkpoints that are swapped, renamed, or of another run; whole folders that are gone."""

    def swap(d: pathlib.Path, one: str, other: str) -> None:
        (d / one).rename(d / "aside")
        (d / other).rename(d / one)
        (d / "aside").rename(d / other)

    def replace(d: pathlib.Path, name: str, source: pathlib.Path) -> None:
        shutil.rmtree(d / name)
        shutil.copytree(source, d / name)

    other = bench.folder / "whole" / "other"
    cases: list[tuple[str, Callable[[pathlib.Path], object]]] = [
        ("swap 24 and 16", lambda d: swap(d, "checkpoints/24", "checkpoints/16")),
        ("rename 24 to 28", lambda d: (d / "checkpoints/24").rename(d / "checkpoints/28")),
        ("rename 24 to 300", lambda d: (d / "checkpoints/24").rename(d / "checkpoints/300")),
        ("24 of another seed", lambda d: replace(d, "checkpoints/24", other / "checkpoints/24")),
        ("copy 16 as 40", lambda d: shutil.copytree(d / "checkpoints/16", d / "checkpoints/40")),
        (
            "tree of 16 in 24",
            lambda d: replace(d, "checkpoints/24/tree", d / "checkpoints/16/tree"),
        ),
        ("delete checkpoints", lambda d: shutil.rmtree(d / "checkpoints")),
        ("delete 24", lambda d: shutil.rmtree(d / "checkpoints/24")),
        ("config of another seed", lambda d: shutil.copy(other / "config.json", d)),
        ("data.npz of another seed", lambda d: shutil.copy(other / "data.npz", d)),
        ("metrics of another seed", lambda d: shutil.copy(other / "metrics.jsonl", d)),
    ]
    for change, alter in cases:
        bench.try_one("train, interrupted", "resume", "checkpoints", change, alter)
        bench.try_one("train, interrupted", "evaluate", "checkpoints", change, alter)
    for seed in range(2):
        old, new = '"learning_rate": 0.1', f'"learning_rate": 0.{seed + 2}'

        def edit(d: pathlib.Path, old: str = old, new: str = new) -> None:
            file = d / "config.json"
            assert old in file.read_text()
            file.write_text(file.read_text().replace(old, new))

        bench.try_one("train, interrupted", "resume", "config.json", f"edit to {new}", edit)


def report(rows: list[Row], seconds: float) -> list[str]:
    """The lines of the page: counts by run and action, and each case that broke."""
    lines = ["| run | action | cases | " + " | ".join((*HELD, *BROKE)) + " |"]
    lines.append("| " + " | ".join(["---"] * (3 + len(HELD) + len(BROKE))) + " |")
    kinds = dict.fromkeys((row.run, row.action) for row in rows)
    for run, action in kinds:
        mine = [row.verdict for row in rows if (row.run, row.action) == (run, action)]
        counts = " | ".join(str(mine.count(verdict)) for verdict in (*HELD, *BROKE))
        lines.append(f"| {run} | {action} | {len(mine)} | {counts} |")
    broke = [row for row in rows if row.verdict in BROKE]
    lines += ["", f"{len(rows) - len(broke)} of {len(rows)} held, in {seconds:.0f} s."]
    for row in broke:
        what = f"{row.run}, {row.action}, {row.change} of {row.file}"
        lines.append(f"* broke: {what}: {row.verdict} {row.message[:200]}".rstrip())
    return [*_LEGEND, "", *lines]


_LEGEND = """\
Same: the same bits as without damage. Named: a line names the damage, and what is whole is used.
Refused: in one line. Silent: other numbers without a word. Of checkpoints the files are those of
the newest, two with arrays in each folder (`--all`: all of them).""".splitlines()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--all", action="store_true", help="every file of every checkpoint")
    parser.add_argument("--only", choices=("files", "moves"), help="one part of it")
    parser.add_argument("--write", type=pathlib.Path, help="the page that gets the table")
    arguments = parser.parse_args()
    parts: dict[str, tuple[str, Callable[[Bench], None]]] = {
        "files": ("Damaged files of a run", lambda bench: damage(bench, arguments.all)),
        "moves": ("Checkpoints and files that were moved", moves),
    }
    broke = False
    with tempfile.TemporaryDirectory() as folder, Worker() as worker:
        bench = Bench(pathlib.Path(folder), worker)
        bench.make()
        for part, (title, attack) in parts.items():
            if arguments.only not in (None, part):
                continue
            began, bench.rows = time.monotonic(), []
            attack(bench)
            lines = report(bench.rows, time.monotonic() - began)
            print("\n".join(lines), flush=True)
            broke |= any(row.verdict in BROKE for row in bench.rows)
            if arguments.write is not None:
                write_section(arguments.write, title, f"damage --only {part}", lines)
    sys.exit(broke)


if __name__ == "__main__":
    main()
