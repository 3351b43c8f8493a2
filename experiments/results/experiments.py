"""The experiments that results are of: docstrings, configs and hooks in ``summary.py``."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from cnnlab.studies import summary

from ..cli import FOLDER, PACKAGE


def module(experiment: str, part: str = "") -> ModuleType | None:
    """The package of an experiment, or a module in it; None where there is none."""
    folder = FOLDER / experiment
    if not (folder / f"{part or '__init__'}.py").is_file():
        return None
    return importlib.import_module(".".join(filter(None, [PACKAGE, experiment, part])))


def hook(experiment: str, name: str) -> Callable[[Mapping[str, Any]], Any] | None:
    """A function of the experiment's module ``summary``; None where there is none."""
    return getattr(module(experiment, "summary"), name, None)


def summary_lines(experiment: str, result: Mapping[str, Any]) -> Sequence[str]:
    """The result in words: by the experiment's own ``summary_lines``, or a line a figure."""
    lines: Sequence[str] = (hook(experiment, "summary_lines") or summary.summary_lines)(result)
    return lines


def title(experiment: str) -> str:
    """The first line of the experiment's docstring."""
    first = _docstring(experiment).partition("\n")[0]
    return first.rstrip(".") or experiment


def claims_text(experiment: str) -> str:
    """The docstring's claims and published figures, as Markdown: up to the line "Measured"."""
    text = _docstring(experiment).partition("\n\n")[2]
    for end in ("\nMeasured:", "\n    python -m "):
        text = text.partition(end)[0]
    return text.replace("\nPublished:", "\n\nPublished:").strip("\n")


def _docstring(experiment: str) -> str:
    return (getattr(module(experiment), "__doc__", None) or "").strip()
