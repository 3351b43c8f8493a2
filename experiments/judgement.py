"""How ways to predict are compared: their scores over repetitions, their cost, paired differences.

A repetition is everything trained anew from another seed, so an interval over repetitions is what
another run would give. The interval of the bootstrap over test examples is what another test set
would give to the networks at hand.
"""

import math
import pathlib
import re
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
      probabilities: float64 [R, N, K], of R repetitions on the same examples; or [R, M, N, K] of M
        networks that each predict alone, whose scores are averaged in a repetition.
      epochs: of training in one repetition, all networks together.
      multiply_adds: of a prediction for one image.
      seconds: of training in one repetition.
    """

    name: str
    group: str
    probabilities: "np.ndarray"
    epochs: float
    multiply_adds: float
    seconds: float | None = None

    def of(
        self, name: str, logits: "np.ndarray", rule: str = "probabilities", weights: Any = None
    ) -> "Method":
        """Networks combined, of which this method is one.

        Args:
          name: of the ensemble.
          logits: [M, R, N, K].
          rule: how they are combined.
          weights: [R, M], or None for equal ones.

        Returns:
          The method with these probabilities, and M times the multiply-adds.
        """
        probabilities = combined(logits, rule, weights)
        cost = self.multiply_adds * len(logits)
        return self._replace(name=name, probabilities=probabilities, multiply_adds=cost)

    def each_of(self, name: str, logits: "np.ndarray") -> "Method":
        """Networks [M, R, N, K] that predict each alone, of which this method is one."""
        import numpy as np

        from cnnlab.ensemble.combination import softmax

        return self._replace(name=name, probabilities=np.swapaxes(softmax(logits), 0, 1))


def predicted(
    recipe: "Recipe", states: Sequence["TrainState"], part: "Dataset", members: int | None = None
) -> "np.ndarray":
    """Logits [M, R, N, K] on a part of the data.

    Args:
      recipe: how all of them were trained.
      states: [R, ...] of each of M members; or, with ``members``, [M * R, ...] as
        ``parts.member_seeds`` orders them, in as many pieces as there are.
      part: of the data.
      members: M, where it is not the number of pieces.
    """
    from cnnlab.ensemble import concatenate_members
    from cnnlab.train import predict

    logits = predict(recipe, concatenate_members(states), part)
    return logits.reshape(members or len(states), -1, *logits.shape[1:])


def combined(
    logits: "np.ndarray", rule: str = "probabilities", weights: Any = None
) -> "np.ndarray":
    """The probabilities [R, N, K] of each repetition's ensemble, of logits [M, R, N, K]."""
    import numpy as np

    from cnnlab.ensemble import combine

    repetitions = logits.shape[1]
    weights = [None] * repetitions if weights is None else weights
    return np.stack([combine(logits[:, r], rule, weights[r]) for r in range(repetitions)])


def by_count(
    logits: "np.ndarray", labels: "np.ndarray", rule: str = "probabilities"
) -> dict[str, list[float]]:
    """Accuracy of the first 1, 2 … M members together, as ``method_figures.by_members`` takes it.

    Args:
      logits: [M, R, N, K].
      labels: integers [N].
      rule: how the members are combined.

    Returns:
      ``members``, ``mean`` over repetitions, ``low`` and ``high``, a standard error around it.
    """
    import numpy as np

    from cnnlab import ensemble
    from cnnlab.report.statistics import over_seeds

    accuracies = np.array(
        [
            [
                float((each.argmax(-1) == labels).mean())
                for each in ensemble.combine_by_count(logits[:, repetition], rule)
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


def accuracies(
    names: Sequence[str], logits: "np.ndarray", labels: "np.ndarray"
) -> dict[str, dict[str, Any]]:
    """Each member's accuracy alone, as ``over_seeds`` gives it, of logits [M, R, N, K]."""
    from cnnlab.report.statistics import over_seeds

    right = (logits.argmax(-1) == labels).mean(-1)
    return {name: over_seeds(each) for name, each in zip(names, right, strict=True)}


def said_alone(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The members' errors as text."""
    errors = (f"{name} {100 * (1 - each['mean']):.2f}" for name, each in found.items())
    return f"test error of each alone, %: {', '.join(errors)}"


def diversities(logits: "np.ndarray", labels: "np.ndarray") -> list[dict[str, Any]]:
    """How the members [M, R, N, K] differ, for each repetition."""
    from cnnlab.ensemble import diversity

    return [diversity(logits[:, each], labels).summary() for each in range(logits.shape[1])]


def judged(
    methods: Sequence[Method],
    labels: "np.ndarray",
    *,
    baseline: str,
    examples_per_epoch: int,
) -> dict[str, Any]:
    """Scores, costs and differences from the baseline.

    Args:
      methods: each with other name.
      labels: integers [N].
      baseline: the name of the method that the others are compared with.
      examples_per_epoch: training examples seen in one epoch.

    Returns:
      name -> ``group``; ``scores``: accuracy, nll, brier, ece, top_k as ``over_seeds`` gives them;
      ``cost``: epochs, examples, seconds, multiply_adds of a prediction; ``less_error``: how much
      lower its test error is than the baseline's, over ``repetitions`` (as ``paired`` gives it)
      and over ``examples`` (as ``paired_bootstrap`` gives it).
    """
    import numpy as np

    from cnnlab.report.scores import example_scores
    from cnnlab.report.statistics import over_seeds, paired, paired_bootstrap

    right = {
        method.name: np.stack(
            [
                np.mean([example_scores(p, labels)["accuracy"] for p in _each(of)], axis=0)
                for of in method.probabilities
            ]
        )
        for method in methods
    }
    result = {}
    for method in methods:
        found = [_scores(of, labels) for of in method.probabilities]
        ours, theirs = right[method.name], right[baseline]
        result[method.name] = {
            "group": method.group,
            "scores": {name: over_seeds([each[name] for each in found]) for name in SCORES},
            "cost": {
                "epochs": method.epochs,
                "examples": round(method.epochs * examples_per_epoch),
                "seconds": None if method.seconds is None else round(method.seconds, 1),
                "multiply_adds": round(method.multiply_adds),
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


def _each(probabilities: "np.ndarray") -> "np.ndarray":
    """[M, N, K] of one network [N, K] or of M."""
    return probabilities.reshape(-1, *probabilities.shape[-2:])


def _scores(probabilities: "np.ndarray", labels: "np.ndarray") -> dict[str, float]:
    """The scores of one network, or the means of those of M."""
    from cnnlab.report.scores import scores

    found = [scores(each, labels) for each in _each(probabilities)]
    return {name: sum(each[name] for each in found) / len(found) for name in SCORES}


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
    """The methods for ``method_figures.comparison``: 95 % intervals over repetitions."""
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


def draw(
    folder: pathlib.Path,
    found: Mapping[str, Mapping[str, Any]],
    methods: Sequence[Method],
    labels: "np.ndarray",
    curves: Mapping[str, Any],
    *,
    calibrated: Sequence[str],
    title: str,
) -> None:
    """Draws comparison.png, by_count.png and a reliability diagram for some of the methods.

    Args:
      folder: where they go.
      found: what ``judged`` gives.
      methods: those that were judged.
      labels: integers [N].
      curves: label -> ``by_count``.
      calibrated: names of the methods whose reliability diagrams are drawn, of all repetitions
        together.
      title: of all figures.
    """
    import jax

    from cnnlab.report import drawing, method_figures

    if jax.process_index() > 0:
        return
    repetitions = len(methods[0].probabilities)
    intervals = f"; 95 % intervals, {repetitions} repetitions" if repetitions > 1 else ""
    band = "; ± standard error" if repetitions > 1 else ""
    compared = method_figures.comparison(rows(found), title=title + intervals)
    drawing.save(compared, folder / "comparison.png")
    by_count = method_figures.by_members(curves, title=title + band)
    drawing.save(by_count, folder / "by_count.png")
    for method in methods:
        if method.name in calibrated:
            draw_reliability(folder, method, labels)


def draw_reliability(folder: pathlib.Path, method: Method, labels: "np.ndarray") -> None:
    """Draws the reliability diagram of a method, of all repetitions together."""
    import numpy as np

    from cnnlab.report import drawing, figures
    from cnnlab.report.calibration import expected_calibration_error

    together = method.probabilities.reshape(-1, method.probabilities.shape[-1])
    diagram = expected_calibration_error(together, np.tile(labels, len(together) // len(labels)))
    name = re.sub(r"\W+", "-", method.name).strip("-")
    figure = figures.reliability(diagram, title=method.name)
    drawing.save(figure, folder / f"reliability-{name}.png")


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
