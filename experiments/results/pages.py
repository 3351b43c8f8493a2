"""A page for each kept result, and the index of all pages."""

import dataclasses
import pathlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cnnlab.studies import claims
from cnnlab.studies.claims import CONTRADICTED, NOT_COMPARABLE, REPRODUCED, UNDECIDED
from cnnlab.studies.settings import with_current_names

from . import experiments
from .keeping import Kept
from .markdown import escape, link, plain_table, table, text_block

WRITTEN = "<!-- written by python -m experiments.results -->"
"""The first line of every page: a page with it may be overwritten or deleted."""

VERDICTS = (REPRODUCED, CONTRADICTED, UNDECIDED, NOT_COMPARABLE)

NO_FIGURE = "no figure"

_SAME_RESULT = ("quiet",)
"""Options that do not change a result."""

_READING = """\
Written by `python -m experiments.results` from the files in `results/`; nothing is typed by hand.
± is a standard error over seeds. Intervals are 95 % intervals of Student's t over seeds, of paired
differences, unless a line says otherwise. A claim says that a difference is positive; it is
*reproduced* where the whole interval lies above zero, *contradicted* where it lies below, and
*undecided* where it holds zero. Each claim is a test of its own: nothing is corrected for their
number. Nearly all of it was run on a small machine, in minutes; the docstring of each experiment
has the command for a large one."""


def page(kept: Kept, figures: Sequence[pathlib.Path]) -> str:
    """The page of a result, in Markdown.

    Args:
      kept: the result.
      figures: in the same folder.
    """
    experiment, result = kept.experiment, kept.result
    rows = claims.read_rows(result)
    folder = f"../../{kept.path.parent.name}"
    parts = [WRITTEN, f"# {escape(f'{experiments.title(experiment)}, on {data_set(kept)}')}"]
    parts += filter(None, [experiments.claims_text(experiment)])
    parts += ["## How it was run", "\n".join(_provenance(kept, folder))]
    if rows:
        parts += [
            "## Claims",
            f"How to read this: {link('the index', 'README.md')}.",
            claims_table(rows),
        ]
    lines = experiments.summary_lines(experiment, result)
    if lines:
        parts += ["## What was measured", text_block(lines)]
    if figures:
        parts += ["## Figures", *(f"![{each.stem}]({folder}/{each.name})" for each in figures)]
    return "\n\n".join(parts) + "\n"


def index(kept: Sequence[Kept]) -> str:
    """The table of all pages, in Markdown."""
    rows, total = [], dict.fromkeys(VERDICTS, 0)
    for each in kept:
        counts = count_verdicts(each)
        total = {verdict: total[verdict] + counts[verdict] for verdict in VERDICTS}
        rows.append(
            [
                link(each.name, f"{each.name}.md"),
                escape(experiments.title(each.experiment)),
                escape(data_set(each)),
                *_counts(counts),
            ]
        )
    rows.append(["all", "", "", *_counts(total)])
    head = ["page", "experiment", "data set", *VERDICTS]
    benchmarks = f"{link('benchmarks.md', 'benchmarks.md')} has the times and the memory."
    parts = [WRITTEN, "# What was measured", _READING, table(head, rows), benchmarks]
    return "\n\n".join(parts) + "\n"


def count_verdicts(kept: Kept) -> dict[str, int]:
    """How many claims of a result have each verdict."""
    verdicts = [row["verdict"] for row in claims.read_rows(kept.result)]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS}


def claims_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Claims as a Markdown table; without published figures it has no column for them."""
    head, *cells = claims.table(rows)
    place = head.index("published")
    if not any(row[place] for row in cells):
        head, *cells = ([*row[:place], *row[place + 1 :]] for row in (head, *cells))
    else:
        cells = [[*row[:place], row[place] or NO_FIGURE, *row[place + 1 :]] for row in cells]
    return plain_table(head, cells)


def data_set(kept: Kept) -> str:
    """The name of the data set, with the task where there are several.

    Images of a folder have no name but the last part of the result's own.
    """
    name = kept.result["dataset"]
    if name == "folder":
        name = kept.name.rpartition("-")[2]
    return ", ".join(filter(None, [name, kept.result.get("task")]))


def _counts(counts: Mapping[str, int]) -> Iterator[str]:
    return (str(counts[verdict] or "") for verdict in VERDICTS)


def _provenance(kept: Kept, folder: str) -> Iterator[str]:
    """The provenance of a result: a list, an item a line."""
    result = kept.result
    config, here = result["config"], result["environment"]
    yield f"* data: {escape(result['dataset'])}" + _suffix("; ", result.get("data"))
    if result.get("model"):
        options = () if " " in result["model"] else config.get("model_options", ())
        yield f"* model: {escape(' '.join([result['model'], *options]))}"
    yield f"* seeds: {_seeds(result.get('seeds', ()))}"
    yield f"* device: {escape(device(here))}" + _suffix(
        ", jax ", here.get("versions", {}).get("jax")
    )
    if result.get("seconds"):
        yield f"* time: {duration(result['seconds'])}"
    commit = here.get("git") or {}
    if commit.get("commit"):
        changed = " with changes that were not committed" if commit.get("dirty") else ""
        yield f"* commit: `{commit['commit'][:12]}`{changed}"
    yield f"* command: `{command(kept.experiment, config)}`"
    yield f"* everything: {link(kept.path.name, f'{folder}/{kept.path.name}')}"


def _suffix(separator: str, text: str | None) -> str:
    return separator + escape(text) if text else ""


def _seeds(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds)) or "none"


def device(environment: Mapping[str, Any]) -> str:
    """The devices in words: ``2 CPU cores``, ``4 x NVIDIA A100``."""
    if environment["platform"] == "cpu":
        cores = environment["cpu_count"]
        return f"{cores} CPU core{'s' * (cores != 1)}"
    return f"{environment['device_count']} x {environment['device_kind']}"


def duration(seconds: float) -> str:
    """A time in words, of seconds up to a minute and a half, else of minutes."""
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def command(experiment: str, config: Mapping[str, Any]) -> str:
    """The command that repeats the run: every option that is not today's default.

    Folders of the machine are not kept: of data that are not embedded it is ``--data-dir DIR``.
    """
    words = ["python", "-m", f"experiments.{experiment}"]
    kind = getattr(experiments.module(experiment), "Config", None)
    if kind is None:
        return " ".join(words)
    config = with_current_names(kind, config)
    size = config.get("size")
    default = kind.for_size(size) if size in getattr(kind, "sizes", ()) else kind()
    for field in dataclasses.fields(kind):
        if field.name not in config or field.name in _SAME_RESULT:
            continue
        value, usual = config[field.name], getattr(default, field.name)
        if field.name == "size" and size in getattr(kind, "sizes", ()):
            usual = None  # the other options are compared with the defaults of this size
        if value == (list(usual) if isinstance(usual, tuple) else usual):
            continue
        words += _option(field.name, value)
        if field.name == "dataset":
            words += ["--data-dir", "DIR"]
    return " ".join(words)


def _option(name: str, value: Any) -> list[str]:
    option = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [option if value else f"--no-{option[2:]}"]
    values = value if isinstance(value, list) else [value]
    return [option, *(shlex.quote(str(each)) for each in values)]
