"""The accuracies of small and sparse networks, in words and a table."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import percent
from cnnlab.studies.claims import difference
from cnnlab.studies.run_table import align_columns

METHODS = {
    "dense": "dense",
    "longer": "dense, trained as long as all rounds",
    "rewound": "pruned, rewound to its first weights",
    "continued": "pruned, trained on",
    "reinitialised": "the same connections, fresh weights",
    "small": "small, alone",
    "distilled": "small, distilled",
}


def place(point: Mapping[str, Any]) -> str:
    """Which one of its method a network is, in words; "" where there is only one."""
    if point["sparsity"]:
        return f"{100 * (1 - point['sparsity']):.3g} % of the weights"
    return str(point["name"])


def point_line(point: Mapping[str, Any]) -> str:
    """A network's size, accuracy and cost as a line of text."""
    name = ", ".join(filter(None, (METHODS[point["method"]], place(point))))
    return (
        f"{name}: {point['parameters']:,} parameters, test accuracy "
        f"{percent(point['test_accuracy'])}; {point['epochs']} epochs in all"
    )


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines: settings, networks, and how far accuracy is kept."""
    config, margin = result["config"], result["config"]["margin"]
    head = ["network", "", "parameters", "epochs in all", "test accuracy", "minus the dense one's"]
    rows = [
        [
            METHODS[each["method"]],
            place(each),
            f"{each['parameters']:,}",
            str(each["epochs"]),
            percent(each["test_accuracy"]),
            difference(each["difference"]),
        ]
        for each in result["points"]
    ]
    return [
        f"{result['model']} ({' '.join(config['model_options'])}) on {result['dataset']}, "
        f"{config['epochs']} epochs a training, {len(result['seeds'])} seeds; "
        f"{result['seconds']:.0f} s of training",
        "",
        *align_columns([head, *rows]),
        "",
        f"the dense accuracy, but for {100 * margin:g} points, is kept down to:",
        *(
            f"  {METHODS[method]}: shown for {_size(tests['shown'])}, not refuted for "
            f"{_size(tests['not_refuted'])}"
            for method, tests in result["kept"].items()
        ),
    ]


def _size(network: Mapping[str, Any] | None) -> str:
    if network is None:
        return "none"
    return f"{place(network)} ({network['parameters']:,} parameters)"
