"""How ways to predict are compared: their scores over repetitions, their cost, paired differences.

A repetition is everything trained anew from another seed, so an interval over repetitions is what
another run would give. The interval of the bootstrap over test examples is what another test set
would give to the networks at hand.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Dataset
    from cnnlab.train import Recipe, TrainState

SCORES = ("accuracy", "nll", "brier", "ece", "top_k")


class Method(NamedTuple):
    """One way to predict.

    Attributes:
      name: such as "snapshot, 5 cycles".
      group: what it is compared within, such as "equal budget".
      probabilities: float64 [R, N, K], of R repetitions on the same examples.
      epochs: of training in one repetition, all networks together.
      networks: forward passes through a network that a prediction takes.
      seconds: of training in one repetition.
    """

    name: str
    group: str
    probabilities: "np.ndarray"
    epochs: float
    networks: float = 1
    seconds: float | None = None

    def of(self, name: str, logits: "np.ndarray", rule: str = "probabilities") -> "Method":
        """The same training, used in another way: logits [M, R, N, K] combined over M."""
        probabilities = combined(logits, rule)
        return self._replace(name=name, probabilities=probabilities, networks=len(logits))


def predicted(recipe: "Recipe", states: Sequence["TrainState"], part: "Dataset") -> "np.ndarray":
    """Logits [M, R, N, K] of M states [R, ...], which one recipe trained, on a part of the data."""
    from cnnlab.ensemble.members import joined
    from cnnlab.train import predict

    logits = predict(recipe, joined(states), part)
    return logits.reshape(len(states), -1, *logits.shape[1:])


def combined(logits: "np.ndarray", rule: str = "probabilities") -> "np.ndarray":
    """The probabilities [R, N, K] of each repetition's ensemble, of logits [M, R, N, K]."""
    import numpy as np

    from cnnlab.ensemble.combine import combine

    return np.stack([combine(logits[:, each], rule) for each in range(logits.shape[1])])


def by_count(
    logits: "np.ndarray", labels: "np.ndarray", rule: str = "probabilities"
) -> dict[str, list[float]]:
    """Accuracy of the first 1, 2 … M members together, as ``ensemble_figures.by_members`` takes it.

    Args:
      logits: [M, R, N, K].
      labels: integers [N].
      rule: how the members are combined.

    Returns:
      ``members``, ``mean`` over repetitions, ``low`` and ``high``, a standard error around it.
    """
    import numpy as np

    from cnnlab.ensemble.combine import by_count as combined_by_count
    from cnnlab.report.statistics import over_seeds

    accuracies = np.array(
        [
            [
                float((each.argmax(-1) == labels).mean())
                for each in combined_by_count(logits[:, repetition], rule)
            ]
            for repetition in range(logits.shape[1])
        ]
    )
    figures = [over_seeds(column) for column in accuracies.T]
    errors = [each["standard_error"] or 0.0 for each in figures]
    means = [each["mean"] for each in figures]
    return {
        "members": [float(count) for count in range(1, len(figures) + 1)],
        "mean": means,
        "low": [mean - error for mean, error in zip(means, errors, strict=True)],
        "high": [mean + error for mean, error in zip(means, errors, strict=True)],
    }


def diversities(logits: "np.ndarray", labels: "np.ndarray") -> list[dict[str, Any]]:
    """How the members [M, R, N, K] differ, for each repetition."""
    from cnnlab.ensemble.diversity import diversity

    return [diversity(logits[:, each], labels).summary() for each in range(logits.shape[1])]


def judged(
    methods: Sequence[Method],
    labels: "np.ndarray",
    *,
    baseline: str,
    examples_per_epoch: int,
    multiply_adds: int,
) -> dict[str, Any]:
    """Scores, costs and differences from the baseline.

    Args:
      methods: each with other name.
      labels: integers [N].
      baseline: the name of the method that the others are compared with.
      examples_per_epoch: training examples seen in one epoch.
      multiply_adds: of a forward pass of one network.

    Returns:
      name -> ``group``; ``scores``: accuracy, nll, brier, ece, top_k as ``over_seeds`` gives them;
      ``cost``: epochs, examples, seconds, multiply_adds of a prediction; ``less_error``: how much
      lower its test error is than the baseline's, over ``repetitions`` (as ``paired`` gives it)
      and over ``examples`` (as ``paired_bootstrap`` gives it).
    """
    import numpy as np

    from cnnlab.report.scores import example_scores, scores
    from cnnlab.report.statistics import over_seeds, paired, paired_bootstrap

    right = {
        method.name: np.stack(
            [example_scores(each, labels)["accuracy"] for each in method.probabilities]
        )
        for method in methods
    }
    result = {}
    for method in methods:
        found = [scores(each, labels) for each in method.probabilities]
        ours, theirs = right[method.name], right[baseline]
        result[method.name] = {
            "group": method.group,
            "scores": {name: over_seeds([each[name] for each in found]) for name in SCORES},
            "cost": {
                "epochs": method.epochs,
                "examples": round(method.epochs * examples_per_epoch),
                "seconds": None if method.seconds is None else round(method.seconds, 1),
                "multiply_adds": round(method.networks * multiply_adds),
            },
            "less_error": None
            if method.name == baseline
            else {
                "than": baseline,
                "repetitions": paired(ours.mean(axis=1), theirs.mean(axis=1)),
                "examples": paired_bootstrap(ours, theirs),
            },
        }
    return result


def claims(
    found: Mapping[str, Mapping[str, Any]], wanted: Sequence[tuple[str, str, str, str]]
) -> dict[str, dict[str, Any]]:
    """What the repetitions say about claims that one method has a lower error than another.

    Args:
      found: what ``judged`` gives.
      wanted: (claim, the method that should be better, the other one, what was published).

    Returns:
      claim -> ``paired`` of the difference of accuracies, ``difference`` (which one), ``published``
      and ``verdict``.
    """
    from cnnlab.report.statistics import paired, verdict

    result = {}
    for claim, better, worse, published in wanted:
        ours, theirs = (found[name]["scores"]["accuracy"]["values"] for name in (better, worse))
        figure = paired(ours, theirs)
        result[claim] = {
            **figure,
            "difference": f"error of {worse} - error of {better}",
            "published": published,
            "verdict": verdict(figure["interval"]),
        }
    return result


def rows(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The methods for ``ensemble_figures.comparison``: 95 % intervals over repetitions."""
    return [
        {
            "name": name,
            "group": each["group"],
            "error": _interval(each["scores"]["accuracy"], error=True),
            "nll": _interval(each["scores"]["nll"]),
        }
        for name, each in found.items()
    ]


def table(found: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """The methods as text: a head and a row each."""
    head = ["method", "test error, %", "less than the baseline's, points", "NLL", "Brier", "ECE"]
    head += ["epochs", "seconds", "multiply-adds"]
    lines = [head]
    for name, each in found.items():
        scores, cost = each["scores"], each["cost"]
        seconds = "" if cost["seconds"] is None else f"{cost['seconds']:.0f}"
        lines.append(
            [
                name,
                _figure({**scores["accuracy"], "mean": 1 - scores["accuracy"]["mean"]}, 100, 2),
                "" if each["less_error"] is None else difference(each["less_error"]["repetitions"]),
                _figure(scores["nll"], 1, 3),
                _figure(scores["brier"], 1, 3),
                _figure(scores["ece"], 1, 3),
                f"{cost['epochs']:g}",
                seconds,
                f"{cost['multiply_adds'] / 1e6:.1f} M",
            ]
        )
    return lines


def printed(lines: Sequence[Sequence[str]]) -> str:
    """A table in columns."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def said(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The claims as text, a line each."""
    return "\n".join(
        f"{claim}: {difference(each)} points: {each['verdict']}" for claim, each in found.items()
    )


def difference(figure: Mapping[str, Any]) -> str:
    """A difference of fractions in points, with its interval: ``+1.20 (+0.35 to +2.05)``."""
    text = f"{100 * figure['mean']:+.2f}"
    if figure["interval"] is None:
        return text
    low, high = (f"{100 * end:+.2f}" for end in figure["interval"])
    return f"{text} ({low} to {high})"


def _interval(figure: Mapping[str, Any], *, error: bool = False) -> dict[str, float | None]:
    """Mean and the ends of Student's t interval; of 1 - the figure for an error."""
    from cnnlab.report.statistics import paired

    values = [1 - each if error else each for each in figure["values"]]
    found = paired(values, [0.0] * len(values))
    low, high = found["interval"] or (None, None)
    return {"mean": found["mean"], "low": low, "high": high}


def _figure(figure: Mapping[str, Any], scale: float, digits: int) -> str:
    text = f"{scale * figure['mean']:.{digits}f}"
    error = figure["standard_error"]
    if error is None or not math.isfinite(error):
        return text
    return f"{text} ± {scale * error:.{digits}f}"
