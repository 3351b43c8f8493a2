"""The errors of a teacher and its students, in words and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnnlab.report.statistics import mean_and_error
from cnnlab.studies.claims import read_rows
from cnnlab.studies.run_table import align_columns


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines: settings, errors, closed gaps, corrected biases."""
    lines = [_settings(result), "", *align_columns(_errors(result))]
    gaps = [f"{row['claim']}: {row['third']}" for row in read_rows(result) if "third" in row]
    lines += ["", *gaps] if gaps else []
    for name, ways in result["missing"].items():
        lines += ["", *align_columns(_biases(name, ways))]
    return lines


def _settings(result: Mapping[str, Any]) -> str:
    config = result["config"]
    temperatures = ", ".join(f"{each:g}" for each in config["temperatures"])
    matching = f"T = {temperatures}" if config["matching"] == "soft" else "matched logits"
    weight = 1 if config["unlabelled"] else config["weight"]
    teacher = f"{config['teacher_model']}, {config['teacher_epochs']} epochs"
    if config["teacher_run"] is not None:
        teacher = f"{result['teacher']['name']} of {config['teacher_run']}"
    return (
        f"students {result['model']} ({' '.join(config['model_options'])}) on {result['dataset']}, "
        f"{config['epochs']} epochs, {len(result['seeds'])} seeds, {matching}, weight of the "
        f"teacher {weight:g}; the teacher: {teacher}"
    )


def _errors(result: Mapping[str, Any]) -> list[Sequence[str]]:
    head = [f"errors of {result['examples']:,}", "NLL", "ECE, %", "seconds", "multiply-adds"]
    teacher = result["teacher"]
    return [
        ["network", *head],
        *(
            [
                name,
                mean_and_error(each["errors"]),
                mean_and_error(each["nll"], digits=4),
                mean_and_error(each["ece"], scale=100, digits=2),
                "" if each["seconds"] is None else f"{each['seconds']:.1f}",
                f"{each['multiply_adds']:,}",
            ]
            for name, each in {
                f"teacher: {teacher['name']}": teacher,
                **result["students"],
            }.items()
        ),
    ]


def _biases(name: str, ways: Mapping[str, Any]) -> list[Sequence[str]]:
    count = next(iter(ways.values()))["missing_examples"]
    return [
        [name, "bias", "errors", f"on the {count:,} missing"],
        *(
            [
                f"bias by {way}",
                mean_and_error(each["bias"], digits=2),
                mean_and_error(each["errors"]),
                mean_and_error(each["missing_errors"]),
            ]
            for way, each in ways.items()
        ),
    ]
