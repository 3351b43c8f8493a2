"""The page docs/transfer.md: what was measured of transfer, pretraining and dense prediction.

Every experiment says of its own result what it prints at its end, ``said(result)``; the page has it
beside the claims of the experiment's docstring and its figures.
"""

import importlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

EXPERIMENTS = (
    "finetune",
    "probe",
    "transfer_grid",
    "transferability",
    "autoencoder",
    "pretrain",
    "deepening",
    "segment",
    "detect",
)

HEAD = """# Transfer: what was measured

Written by `python -m experiments.results` from the files in `results/`; nothing is typed by hand.
± is a standard error over seeds; intervals are 95 % intervals of Student's t over seeds, of paired
differences, unless a line says otherwise. "Reproduced" means that the whole interval is on the side
of the claim. Each claim is a test of its own: nothing is corrected for their number. All of it was
run on a small machine, in minutes; each module's docstring has the command for a large one.
"""

Kept = Sequence[tuple[pathlib.Path, Mapping[str, Any]]]
"""Kept results, each with the file that it is in."""


def page(kept: Mapping[str, Kept]) -> str:
    """The page, in Markdown.

    Args:
      kept: experiment -> its results.
    """
    parts = [HEAD]
    for name in EXPERIMENTS:
        for path, result in kept.get(name, ()):
            parts += _section(name, path, result)
    return "\n".join(parts).rstrip() + "\n"


def _section(name: str, path: pathlib.Path, result: Mapping[str, Any]) -> list[str]:
    module = importlib.import_module(f"experiments.{name}")
    task = f", {result['task']}" if "task" in result else ""
    here = result["environment"]
    device = (
        f"{here['cpu_count']} CPU core{'s' * (here['cpu_count'] != 1)}"
        if here["platform"] == "cpu"
        else f"{here['device_count']} x {here['device_kind']}"
    )
    seconds = result.get("seconds")
    spent = ""
    if seconds:
        minutes = round(seconds / 60)
        spent = f" in {minutes} minute{'s' * (minutes != 1)}" if minutes else " in under a minute"
    alone = path.with_suffix(".png")
    figures = [alone] * alone.is_file() + sorted(path.parent.glob(f"{path.stem}-*.png"))
    return [
        f"\n## {_title(module)}: {result['dataset']}{task}\n",
        _claims(module),
        "",
        f"{result['model']}, {len(result['seeds'])} seeds ({result['data']}) on {device}{spent}; "
        f"[config and all figures](../{path.parent.name}/{path.name}).\n",
        *(f"![{each.stem}](../{path.parent.name}/{each.name})\n" for each in figures),
        "```text",
        *module.said(result),
        "```",
    ]


def _title(module: Any) -> str:
    first: str = module.__doc__.strip().splitlines()[0]
    return first.rstrip(".")


def _claims(module: Any) -> str:
    """The docstring's claims and what was published, up to where they were measured."""
    _, _, rest = module.__doc__.strip().partition("\n\n")
    claims: str = rest.partition("\nMeasured:")[0]
    return claims.replace("\nPublished:", "\n\nPublished:")
