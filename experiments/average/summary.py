"""The scores of an average and of the checkpoints that it is of, as a table."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import mean_and_error
from cnnlab.studies.run_table import align_columns


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of average-NAME.json as a table: the candidates, then the average."""
    rows = [(f"{each['run']}, step {each['step']:,}", each) for each in result["candidates"]]
    seeds = len(result["seeds"])
    title = f"{result['model']} on {result['dataset']}, {seeds} seed{'s' * (seeds > 1)}"
    kind = "average"
    if result["how"] == "greedy":
        kind = f"greedy soup of {', '.join(str(len(each)) for each in result['chosen'])}"
    rows.append((kind, result["averaged"]))
    if result["recalibrated"] is not None:
        rows.append((f"{kind}, recalibrated", result["recalibrated"]))
    parts = [part for part in ("validation", "test") if part in result["averaged"]]
    head = ["", *(text for part in parts for text in (f"{part} accuracy, %", "NLL"))]
    table = [[name, *_scores(each, parts)] for name, each in rows]
    return [title, *align_columns([head, *table])]


def _scores(scored: Mapping[str, Any], parts: list[str]) -> list[str]:
    cells = []
    for part in parts:
        cells.append(mean_and_error(scored[part]["accuracy"], scale=100, digits=2))
        cells.append(mean_and_error(scored[part]["nll"], digits=4))
    return cells
