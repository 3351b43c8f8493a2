"""The few claims that the README shows, chosen in ``results/highlights.json``."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from cnnlab.files import read_json
from cnnlab.studies import claims

from .keeping import Kept
from .markdown import escape, link, table
from .pages import NO_FIGURE, VERDICTS, count_verdicts, data_set

PAGES = "docs/results"
"""The folder of the pages, seen from the README."""

_CHOOSING = ("at", "difference")


def read(path: pathlib.Path) -> list[dict[str, str]]:
    """The chosen claims; none if there is no such file.

    Returns:
      Entries with ``result``, the name of a kept one, ``claim``, and perhaps ``at`` and
      ``difference``, where a claim was tested several times.

    Raises:
      ValueError: an entry of another form.
    """
    chosen: list[dict[str, str]] = read_json(path) if path.is_file() else []
    for each in chosen:
        if not {"result", "claim"} <= each.keys() <= {"result", "claim", *_CHOOSING}:
            raise ValueError(
                f"an entry of {path} must have result and claim, perhaps at and difference, "
                f"got {each}."
            )
    return chosen


def section(kept: Sequence[Kept], chosen: Sequence[Mapping[str, str]]) -> str:
    """The part of the README: how many claims have which verdict, and the chosen ones.

    Raises:
      ValueError: a chosen claim that no result has, or that is not one row of it; it is named.
    """
    by_name = {each.name: each for each in kept}
    head = ["claim", "published", "measured", "verdict", "data"]
    rows = [_cells(by_name, each) for each in chosen]
    return "\n\n".join([_counts(kept), *([table(head, rows)] if rows else [])])


def _counts(kept: Sequence[Kept]) -> str:
    counts = [count_verdicts(each) for each in kept]
    total = {verdict: sum(each[verdict] for each in counts) for verdict in VERDICTS}
    listed = ", ".join(f"{number} {verdict}" for verdict, number in total.items() if number)
    index, benchmarks = (f"{PAGES}/{name}.md" for name in ("README", "benchmarks"))
    return (
        f"Of {sum(total.values())} claims that were tested: {listed or 'none'}.\n"
        f"{link('The index', index)} has a page for each result, "
        f"{link('benchmarks.md', benchmarks)} the times and the memory.\n"
        "A claim is reproduced where the whole interval of its difference lies above zero,\n"
        "contradicted where it lies below, undecided where it holds zero. Some of the claims:"
    )


def _cells(by_name: Mapping[str, Kept], chosen: Mapping[str, str]) -> list[str]:
    kept = by_name.get(chosen["result"])
    if kept is None:
        raise ValueError(f"the highlight {dict(chosen)} is of no kept result: {sorted(by_name)}.")
    row = _row(kept, chosen)
    (_, (claim, difference, published, measured, verdict)) = claims.table([row])
    return [
        escape(claim),
        escape(published or NO_FIGURE),
        escape(f"{difference}: {measured}"),
        escape(verdict),
        link(data_set(kept), f"{PAGES}/{kept.name}.md"),
    ]


def _row(kept: Kept, chosen: Mapping[str, str]) -> dict[str, Any]:
    rows = claims.read_rows(kept.result)
    wanted = {key: chosen[key] for key in ("claim", *_CHOOSING) if key in chosen}
    fitting = [row for row in rows if all(row[key] == text for key, text in wanted.items())]
    if len(fitting) == 1:
        return fitting[0]
    there = [{key: row[key] for key in ("claim", *_CHOOSING)} for row in fitting or rows]
    raise ValueError(
        f"the highlight {dict(chosen)} must be one claim of {kept.path.name}, it is "
        f"{len(fitting)}. Choose one of these: {there}."
    )
