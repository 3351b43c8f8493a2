"""The page docs/ensembles.md: what was measured of ensembles, distillation and redundancy."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import distill_errors, judgement
from experiments.redundancy_claims import METHODS, place

Kept = Sequence[tuple[pathlib.Path, Mapping[str, Any]]]
"""Kept results, each with the file that it is in."""

HEAD = """# Ensembles, students and sparse networks: what was measured

Written by `python -m experiments.results` from the files in `results/`; nothing is typed by hand.
± is a standard error over repetitions (everything trained anew from other seeds); intervals are
95 % intervals of Student's t over repetitions, of paired differences. "Reproduced" means that the
whole interval is on the side of the claim. Each claim is a test of its own: nothing is corrected
for their number.
"""


def page(studies: Kept, distillations: Kept, redundancies: Kept) -> str:
    """The page, in Markdown."""
    parts = [HEAD]
    for path, result in studies:
        parts += _study(path, result)
    for path, result in distillations:
        parts += _distillation(path, result)
    for path, result in redundancies:
        parts += _redundancy(path, result)
    return "\n".join(parts).rstrip() + "\n"


def _study(path: pathlib.Path, result: Mapping[str, Any]) -> list[str]:
    config = result["config"]
    options = " ".join(config["model_options"])
    budget = config["epochs"]
    where = (
        "" if config["dataset"] == "digits" else f" --dataset {config['dataset']} --data-dir DIR"
    )
    text = (
        f"{result['model']} {f'({options}) ' * bool(options)}on {result['examples']:,} training "
        f"images; one budget is {budget} epochs, M is {config['members']}, "
        f"{config['seeds']} repetitions; {result['seconds'] / 60:.0f} minutes of training on "
        f"{_device(result)}. `python -m experiments.ensemble_study --size {config['size']}{where}` "
        "does it again."
    )
    head, *rows = judgement.table(result["methods"])
    claims = [
        [
            claim,
            each["difference"],
            each["published"],
            judgement.difference(each),
            each["verdict"],
        ]
        for claim, each in result["claims"].items()
    ]
    rows_of = ["claim", "difference", "published error, %", "points (95 % interval)", "verdict"]
    snapshots = result["diversity"].get("one run, cycles")
    return [
        f"\n## One budget, many ways: {result['dataset']}\n",
        text,
        "\nThe single network has the whole budget; of M networks for one budget each has an M-th "
        "of it, in whole epochs; M budgets are M times as dear. A prediction costs the "
        "multiply-adds of all networks or views that are asked.\n",
        f"![Test error and NLL of each method](../{path.parent.name}/{path.stem}.png)\n",
        table(head, rows),
        "",
        _cycle(result),
        "",
        table(rows_of, claims),
        "",
        f"![Accuracy by the number of members](../{path.parent.name}/{path.stem}-by_count.png)\n",
        "Reliability of one network and of the largest ensemble:\n",
        " ".join(
            f"![{name}](../{path.parent.name}/{path.stem}-reliability-{name}.png)"
            for name in (
                "single-cosine",
                f"ensemble-of-{config['members']}-{config['members']}-budgets",
            )
        ),
        "",
        _diversity(result["diversity"]) if snapshots else "",
    ]


def _cycle(result: Mapping[str, Any]) -> str:
    """How long a cycle is beside the paper's, and what the snapshots are worth one by one."""
    config = result["config"]
    epochs = config["epochs"] // config["members"]
    updates = epochs * (result["examples"] // config["batch_size"])
    text = (
        f"A cycle is {updates:,} updates here ({epochs} epochs), some 35,000 in the paper (50 "
        "epochs of CIFAR with batches of 64). "
    )
    found = result["by_count"].get("one run, cycles")
    if found:
        last, together = found["mean"][0], found["mean"][-1]
        text += (
            f"The last snapshot alone has an error of {100 * (1 - last):.2f} %, all "
            f"{config['members']} together {100 * (1 - together):.2f} %: "
        )
        text += (
            "the early ones had not learned enough in so short a cycle, and spoil the mean."
            if together < last
            else "the early ones help."
        )
    return text


def _diversity(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """How the members of each ensemble differ, the means over repetitions."""

    def mean(name: str, rows: Sequence[Mapping[str, Any]], key: str | None = None) -> str:
        values = [row[name] if key is None else row[name][key] for row in rows]
        return f"{sum(values) / len(values):.3f}"

    head = ["members", "disagreement", "correlation of errors", "mean Brier of a member"]
    head += ["less by diversity", "Brier of the ensemble"]
    rows = [
        [
            name,
            mean("disagreement", each),
            mean("error_correlation", each),
            *(mean("brier", each, key) for key in ("members", "ambiguity", "ensemble")),
        ]
        for name, each in found.items()
    ]
    return (
        "The Brier score of an ensemble is the mean of its members' less their variance around it "
        f"(Krogh & Vedelsby 1995):\n\n{table(head, rows)}\n"
    )


def _distillation(path: pathlib.Path, result: Mapping[str, Any]) -> list[str]:
    config, teacher = result["config"], result["teacher"]
    head = ["network", f"errors of {result['examples']:,}", "NLL", "ECE", "multiply-adds"]
    rows = [
        [
            name,
            distill_errors.number(each["errors"]),
            distill_errors.number(each["nll"], digits=4),
            distill_errors.number(each["ece"], digits=4),
            f"{each['multiply_adds']:,}",
        ]
        for name, each in {f"teacher: {teacher['name']}": teacher, **result["students"]}.items()
    ]
    parts = [
        f"\n## Distillation: {result['dataset']}\n",
        f"Students {result['model']} ({' '.join(config['model_options'])}), {config['epochs']} "
        f"epochs, {len(result['seeds'])} seeds, T = "
        f"{', '.join(f'{each:g}' for each in config['temperatures'])}, weight of the teacher "
        f"{config['weight']:g}; the teacher {config['teacher_model']}, "
        f"{config['teacher_epochs']} epochs. Published, MNIST (Hinton et al. 2015): teacher 67, "
        "student alone 146, distilled 74 errors.\n",
        f"![Errors of teacher and students](../{path.parent.name}/{path.stem}.png)\n",
        table(head, rows),
        "",
    ]
    for claim, each in result["claims"].items():
        line = f"* {claim}: {judgement.difference(each)} points: {each['verdict']}."
        parts.append(f"{line} {each['third'].capitalize()}." if "third" in each else line)
    for name, ways in result["missing"].items():
        count = next(iter(ways.values()))["missing_examples"]
        head = [name, "bias", "errors", f"on the {count:,} missing"]
        rows = [
            [
                f"bias by {way}",
                distill_errors.number(each["bias"], digits=2),
                distill_errors.number(each["errors"]),
                distill_errors.number(each["missing_errors"]),
            ]
            for way, each in ways.items()
        ]
        parts += ["", table(head, rows)]
    if result["missing"]:
        parts.append(
            "\nPublished, MNIST without 3s: 206 errors, 133 of them on the 1,010 3s; with the bias "
            "that is best on the test part, 109 and 14."
        )
    return parts


def _redundancy(path: pathlib.Path, result: Mapping[str, Any]) -> list[str]:
    from cnnlab.report.statistics import percent

    config = result["config"]
    rows = [
        [
            METHODS[each["method"]],
            place(each),
            f"{each['parameters']:,}",
            str(each["epochs"]),
            percent(each["test_accuracy"]),
            judgement.difference(each["difference"]),
        ]
        for each in result["points"]
    ]
    head = [
        "network",
        "",
        "parameters",
        "epochs in all",
        "test accuracy",
        "against the dense one's, points",
    ]
    parts = [
        f"\n## How sparse, how small: {result['dataset']}\n",
        f"{result['model']} ({' '.join(config['model_options'])}), {config['epochs']} epochs a "
        f"training, {len(result['seeds'])} seeds; {result['seconds']:.0f} s of training on "
        f"{_device(result)}.\n",
        f"![Accuracy by the parameters that are left](../{path.parent.name}/{path.stem}.png)\n",
        table(head, rows),
        "",
    ]
    for row in result["claims"]:
        said = f"{judgement.difference(row)} points: {row['verdict']}."
        parts.append(f"* {row['claim']}, {row['at']}: {said}")
    return parts


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _device(result: Mapping[str, Any]) -> str:
    here = result["environment"]
    if here["platform"] == "cpu":
        cores = here["cpu_count"]
        return f"{cores} CPU core{'s' * (cores > 1)}"
    return f"{here['device_count']} x {here['device_kind']}"
