"""The tables of the benchmarks, from their result files."""

import pathlib
from typing import Any

from cnnlab.files import read_json

from .markdown import plain_table
from .pages import WRITTEN


def page(folder: pathlib.Path) -> str:
    """The page of all benchmarks whose files are in ``folder``, in Markdown."""
    tables = [
        render(read_json(folder / name))
        for name, render in (
            ("against_pytorch.json", _pytorch),
            ("members.json", _members),
            ("frozen.json", _frozen),
            ("startup.json", _startup),
        )
        if (folder / name).is_file()
    ]
    head = "Written by `python -m experiments.results` from the files in `benchmarks/results/`."
    return "\n\n".join([WRITTEN, "# Benchmarks", head, *tables]) + "\n"


def _pytorch(result: dict[str, Any]) -> str:
    kinds = {"train": "training step", "infer": "inference"}
    rows = [
        [
            row["model"],
            kinds[row["what"]],
            _range_text(row["milliseconds"]["cnnlab"]),
            _range_text(row["milliseconds"]["torch"]),
            _range_text(row["speed"], 2),
        ]
        if not row["disturbed"]
        else [row["model"], kinds[row["what"]], "disturbed by other load", "", ""]
        for row in result["rows"]
    ]
    head = ["model", "batch of 128", "cnnlab, ms", "PyTorch channels-last, ms", "speed"]
    text = (
        f"`python -m benchmarks.against_pytorch` ({result['environment']['cpu_count']} CPU cores, "
        f"{result['rounds']} rounds by turns, medians with the smallest and largest; speed is "
        "PyTorch's time over cnnlab's):"
    )
    return f"{text}\n\n{plain_table(head, rows)}"


def _members(result: dict[str, Any]) -> str:
    by_size = {(row["model"], row["members"]): row for row in result["rows"]}
    counts = sorted({members for _, members in by_size})

    def cell(row: dict[str, Any]) -> str:
        together, turn = (row["milliseconds"][way]["median"] for way in ("together", "in_turn"))
        memory = f"{row['bytes'] / 2**20:.0f} MiB"
        return f"{together:.0f} / {turn:.0f} ({row['against_in_turn']:.2f}), {memory}"

    rows = [
        [f"{model}, batch {by_size[model, 1]['batch']}", *(cell(by_size[model, k]) for k in counts)]
        for model in dict.fromkeys(model for model, _ in by_size)
    ]
    text = (
        "`python -m benchmarks.members` (milliseconds of a step of all K networks, in one program "
        "/ in turn, the ratio, and the memory that the program asks for):"
    )
    return f"{text}\n\n{plain_table(['K networks', *map(str, counts)], rows)}"


def _frozen(result: dict[str, Any]) -> str:
    rows = [
        [
            f"{row['model']}, batch {row['batch']}",
            row["variant"],
            _range_text(row["milliseconds"]),
            f"{row['speed']:.1f}",
            f"{row['optimizer_bytes'] / 2**10:,.0f}",
            f"{row['program_bytes'] / 2**20:.0f}",
        ]
        for row in result["rows"]
    ]
    head = ["model", "variant", "ms a step", "times as fast", "optimizer, KiB", "program, MiB"]
    still = all(row["frozen_bitwise_unchanged"] for row in result["rows"])
    text = (
        f"`python -m benchmarks.frozen` (Adam, {result['environment']['cpu_count']} CPU cores, "
        f"{result['rounds']} rounds by turns; cached: the rest is trained on the front's stored "
        f"output; frozen parameters and statistics {'un' * still}changed to the bit):"
    )
    return f"{text}\n\n{plain_table(head, rows)}"


def _startup(result: dict[str, Any]) -> str:
    rows = [[what, _range_text(figure, 2)] for what, figure in result["seconds"].items()]
    text = "`python -m benchmarks.startup` (ResNet-20, batch 128):"
    return f"{text}\n\n{plain_table(['from the command to', 'seconds'], rows)}"


def _range_text(figure: dict[str, float], digits: int = 1) -> str:
    low, high = figure["min"], figure["max"]
    return f"{figure['median']:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
