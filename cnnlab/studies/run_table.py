"""The runs in a folder as a table, read from their files.

Importing this module imports no jax.
"""

import contextlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from cnnlab.files import read_checked_json
from cnnlab.run_directory import METRICS, RESULT, find_runs, read_config

_HEAD = ("run", "experiment", "data set", "model", "state", "score")


def run_table(parent: pathlib.Path) -> list[str]:
    """The runs in ``parent``, finished or not, as lines of text: a head and a line each.

    The score of a finished training is its test accuracy, that of a study how many of its claims
    are reproduced; of a run that is not finished it is the latest validation accuracy.

    Raises:
      FileNotFoundError: if there is no such folder.
    """
    parent = pathlib.Path(parent)
    if not parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {parent}: give the one that holds the run directories."
        )
    rows: list[tuple[str, ...]] = [_HEAD]
    for directory in find_runs(parent):
        try:
            rows.append(_row(directory))
        except (ValueError, OSError) as error:
            rows.append((directory.name, "", "", "", "damaged", str(error).splitlines()[0]))
    if len(rows) == 1:
        return [f"There are no runs in {parent}."]
    return align_columns(rows)


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines of text, its columns aligned to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _row(directory: pathlib.Path) -> tuple[str, ...]:
    config = read_config(directory)
    about = (
        directory.name,
        str(config.get("experiment", "train")),
        str(config.get("dataset", "")),
        str(config.get("model", "")),
    )
    if (directory / RESULT).is_file():
        return (*about, "finished", _result_score(read_checked_json(directory / RESULT)))
    return (*about, *_progress(directory))


def _result_score(result: Mapping[str, Any]) -> str:
    accuracy = result.get("test", {}).get("accuracy")
    if accuracy is not None:
        return f"{100 * accuracy['mean']:.2f} % test accuracy"
    claims = result.get("claims")
    if not claims or isinstance(claims, Mapping):
        return ""
    count = sum(row["verdict"] == "reproduced" for row in claims)
    return f"{count} of {len(claims)} claims reproduced"


def _progress(directory: pathlib.Path) -> tuple[str, str]:
    """The state and the latest validation accuracy of a run that is not finished."""
    lines = []
    with contextlib.suppress(OSError):
        lines = (directory / METRICS).read_text(encoding="utf-8").splitlines()
    for line in reversed(lines):
        with contextlib.suppress(ValueError):  # the last line may be half written
            record = json.loads(line)
            state = f"after epoch {record['epoch']}"
            accuracy = record.get("validation/accuracy")
            if accuracy is None:
                return state, ""
            return state, f"{100 * _mean(accuracy):.2f} % validation accuracy"
    return "not finished", ""


def _mean(values: float | list[float]) -> float:
    return sum(values) / len(values) if isinstance(values, list) else values
