"""The result of the study, in words."""

from collections.abc import Mapping
from typing import Any

from cnnlab.studies.method_tables import diversity_table, method_table
from cnnlab.studies.run_table import align_columns


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines of text."""
    config = result["config"]
    options = " ".join(config["model_options"])
    return [
        f"{result['model']} {f'({options}) ' * bool(options)}on {result['examples']:,} training "
        f"images; one budget is {config['epochs']} epochs, M is {config['members']}, "
        f"{config['seeds']} repetitions; {result['seconds'] / 60:.0f} minutes of training.",
        "The single network has the whole budget; of M networks for one budget each has an M-th "
        "of it, in whole epochs; M budgets are M times as dear. A prediction costs the "
        "multiply-adds of all networks or views that are asked.",
        "",
        *align_columns(method_table(result["methods"])),
        "",
        _cycle_note(result),
        "",
        "The Brier score of an ensemble is the mean of its members' less their variance around it "
        "(Krogh and Vedelsby 1995):",
        *align_columns(diversity_table(result["diversity"])),
    ]


def _cycle_note(result: Mapping[str, Any]) -> str:
    """How long a cycle is beside the paper's, and what the early snapshots add to the last."""
    config = result["config"]
    epochs = config["epochs"] // config["members"]
    updates = epochs * (result["examples"] // config["batch_size"])
    text = (
        f"A cycle is {updates:,} updates here ({epochs} epochs), some 35,000 in the paper (50 "
        "epochs of CIFAR with batches of 64)."
    )
    curve = result["by_count"].get("one run, cycles")
    if not curve:
        return text
    last, together = curve["mean"][0], curve["mean"][-1]
    verdict = (
        "the early ones had not learned enough in so short a cycle, and spoil the mean."
        if together < last
        else "the early ones help."
    )
    return (
        f"{text} The last snapshot alone has an error of {100 * (1 - last):.2f} %, all "
        f"{config['members']} together {100 * (1 - together):.2f} %: {verdict}"
    )
