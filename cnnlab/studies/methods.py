"""Ways to predict, scored and compared at what they cost: accuracy, likelihood, calibration.

    cost = Cost(epochs=12, multiply_adds=forward_cost(recipe, image_shape), seconds=2.1)
    logits = predict_logits(recipe, [states], splits.test, members=3)
    methods = [
        combine_networks("the single network", "one network", logits[:1], cost),
        combine_networks("ensemble of 3", "3 budgets", logits, cost.times(3)),
    ]
    scores = score_methods(methods, labels, baseline="the single network", examples_per_epoch=1000)

A repetition is everything trained anew from other seeds, so an interval over repetitions is for
another run. The interval of the bootstrap over test examples is for another test set, given these
networks. ``cnnlab.studies.method_tables`` shows the scores as text.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnnlab import ensemble
from cnnlab.data import Dataset
from cnnlab.ensemble.combination import softmax
from cnnlab.report import figures, method_figures
from cnnlab.report.calibration import expected_calibration_error
from cnnlab.report.scores import example_scores
from cnnlab.report.scores import scores as probability_scores
from cnnlab.report.statistics import over_seeds, paired, paired_bootstrap, with_interval
from cnnlab.studies.claims import Claim
from cnnlab.train import Recipe, TrainState, predict

SCORES = ("accuracy", "nll", "brier", "ece", "top_k")


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of training networks, and of predicting with them.

    Attributes:
      epochs: of training in one repetition, all networks together.
      multiply_adds: of a prediction for one image.
      seconds: of training in one repetition, all networks together; None where it is not known.
    """

    epochs: float
    multiply_adds: float
    seconds: float | None = None

    def times(self, count: int) -> "Cost":
        """The cost of ``count`` trainings like this one; a prediction costs the same."""
        seconds = None if self.seconds is None else count * self.seconds
        return Cost(count * self.epochs, self.multiply_adds, seconds)


@dataclasses.dataclass(frozen=True, eq=False)
class Method:
    """One way to predict.

    Attributes:
      name: such as "snapshot, 5 cycles".
      group: of methods that are shown alike, such as "equal budget".
      probabilities: float64 ``[R, N, K]``, of R repetitions on the same examples; or
        ``[R, M, N, K]`` of M networks that each predict alone, whose scores are averaged in a
        repetition.
      cost: of training and predicting.
    """

    name: str
    group: str
    probabilities: np.ndarray
    cost: Cost


def combine_networks(
    name: str,
    group: str,
    logits: np.ndarray,
    cost: Cost,
    rule: str = "probabilities",
    weights: Sequence[ArrayLike] | None = None,
) -> Method:
    """M networks that predict together; for M = 1 a network as it is.

    Args:
      name: of the method.
      group: of the method.
      logits: ``[M, R, N, K]``.
      cost: of training all of them, and of predicting with one.
      rule: of ``ensemble.combine``.
      weights: ``[M]`` for each of R repetitions, or None for equal ones.
    """
    repetitions = logits.shape[1]
    each = [None] * repetitions if weights is None else weights
    probabilities = np.stack(
        [ensemble.combine(logits[:, r], rule, each[r]) for r in range(repetitions)]
    )
    multiply_adds = cost.multiply_adds * len(logits)
    cost = dataclasses.replace(cost, multiply_adds=multiply_adds)
    return Method(name, group, probabilities, cost)


def networks_alone(name: str, group: str, logits: np.ndarray, cost: Cost) -> Method:
    """M networks, of logits ``[M, R, N, K]``, that each predict alone: the mean of their scores."""
    return Method(name, group, np.swapaxes(softmax(logits), 0, 1), cost)


def predict_logits(
    recipe: Recipe, states: Sequence[TrainState], dataset: Dataset, members: int | None = None
) -> np.ndarray:
    """Logits ``[M, R, N, K]`` on a part of the data.

    Args:
      recipe: how all of them were trained.
      states: ``[R, ...]`` of each of M members; or, with ``members``, ``[M * R, ...]`` as
        ``build.member_seeds`` orders them, in as many pieces as there are.
      dataset: the part of the data.
      members: M, where it is not the number of pieces.
    """
    logits = predict(recipe, ensemble.concatenate_members(states), dataset)
    return logits.reshape(members or len(states), -1, *logits.shape[1:])


# Scores --------------------------------------------------------------------------------------


def score_methods(
    methods: Sequence[Method],
    labels: np.ndarray,
    *,
    baseline: str,
    examples_per_epoch: int,
) -> dict[str, Any]:
    """Scores, costs and differences from the baseline.

    Args:
      methods: of different names.
      labels: integers ``[N]``.
      baseline: the name of the method that the others are compared with.
      examples_per_epoch: training examples seen in one epoch.

    Returns:
      name -> ``group``; ``scores``: accuracy, nll, brier, ece, top_k as ``over_seeds`` gives them;
      ``cost``: epochs, examples, seconds, multiply_adds of a prediction; ``less_error``: how much
      lower its test error is than the baseline's, over ``repetitions`` (as ``paired`` gives it)
      and over ``examples`` (as ``paired_bootstrap`` gives it); None for the baseline itself.
    """
    correct = {method.name: _correct(method.probabilities, labels) for method in methods}
    result = {}
    for method in methods:
        scores = [_mean_scores(each, labels) for each in method.probabilities]
        ours, theirs = correct[method.name], correct[baseline]
        cost = method.cost
        result[method.name] = {
            "group": method.group,
            "scores": {name: over_seeds([each[name] for each in scores]) for name in SCORES},
            "cost": {
                "epochs": cost.epochs,
                "examples": round(cost.epochs * examples_per_epoch),
                "seconds": None if cost.seconds is None else round(cost.seconds, 1),
                "multiply_adds": round(cost.multiply_adds),
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


def _correct(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``[R, N]``: 1 where the prediction is right; of networks alone the share that are."""
    return np.stack(
        [
            np.mean([example_scores(p, labels)["accuracy"] for p in _networks(each)], axis=0)
            for each in probabilities
        ]
    )


def _mean_scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The scores of ``[N, K]``, or the means of those of ``[M, N, K]``."""
    each = [probability_scores(p, labels) for p in _networks(probabilities)]
    return {name: sum(scores[name] for scores in each) / len(each) for name in SCORES}


def _networks(probabilities: np.ndarray) -> np.ndarray:
    """``[M, N, K]`` of one network ``[N, K]`` or of M."""
    return probabilities.reshape(-1, *probabilities.shape[-2:])


def accuracy_by_count(
    logits: np.ndarray, labels: np.ndarray, rule: str = "probabilities"
) -> dict[str, list[float]]:
    """Accuracy of the first 1, 2 … M members together, for ``method_figures.by_members``.

    Args:
      logits: ``[M, R, N, K]``.
      labels: integers ``[N]``.
      rule: of ``ensemble.combine``.

    Returns:
      ``members``, ``mean`` over repetitions, ``low`` and ``high``, a standard error around it.
    """
    accuracies = np.array(
        [
            [
                float((together.argmax(-1) == labels).mean())
                for together in ensemble.combine_by_count(logits[:, repetition], rule)
            ]
            for repetition in range(logits.shape[1])
        ]
    )
    columns = [over_seeds(column) for column in accuracies.T]
    errors = [each["standard_error"] or 0.0 for each in columns]
    means = [each["mean"] for each in columns]
    return {
        "members": [float(count) for count in range(1, len(means) + 1)],
        "mean": means,
        "low": [mean - error for mean, error in zip(means, errors, strict=True)],
        "high": [mean + error for mean, error in zip(means, errors, strict=True)],
    }


def member_accuracies(
    names: Sequence[str], logits: np.ndarray, labels: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Each member's accuracy alone, as ``over_seeds`` gives it, of logits ``[M, R, N, K]``."""
    accuracies = (logits.argmax(-1) == labels).mean(-1)
    return {name: over_seeds(each) for name, each in zip(names, accuracies, strict=True)}


def diversity_by_repetition(logits: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """How the members ``[M, R, N, K]`` differ, for each repetition."""
    return [ensemble.diversity(logits[:, r], labels).summary() for r in range(logits.shape[1])]


# Claims and figures --------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A claim that one method has a lower error than another.

    Attributes:
      text: the claim in words.
      better: the name of the method that should have the lower error.
      worse: the name of the other one.
      published: the published difference of their errors, as a fraction; None where there is none.
      source: the published figures and where they are from, as text.
    """

    text: str
    better: str
    worse: str
    published: float | None = None
    source: str = ""


def compare_methods(
    scores: Mapping[str, Mapping[str, Any]], comparisons: Sequence[Comparison]
) -> list[Claim]:
    """The claims about differences of test errors, over repetitions.

    Args:
      scores: of ``score_methods``.
      comparisons: of methods in ``scores``.
    """
    accuracy = {name: each["scores"]["accuracy"]["values"] for name, each in scores.items()}
    return [
        Claim(
            each.text,
            f"error of {each.worse} - error of {each.better}",
            paired(accuracy[each.better], accuracy[each.worse]),
            published=each.published,
            source=each.source,
        )
        for each in comparisons
    ]


def save_figures(
    save: Callable[[str, Callable[[], Any]], None],
    scores: Mapping[str, Mapping[str, Any]],
    methods: Sequence[Method],
    labels: np.ndarray,
    curves: Mapping[str, Any],
    *,
    calibrated: Sequence[str],
    title: str,
) -> None:
    """Saves the figures "comparison", "by_count" and a reliability diagram for some methods.

    Args:
      save: ``Study.save_figure``.
      scores: of ``score_methods``, in the order that they are shown in.
      methods: those that were scored.
      labels: integers ``[N]``.
      curves: label -> ``accuracy_by_count``.
      calibrated: names of the methods with a reliability diagram, of all repetitions together.
      title: of both figures.
    """
    repetitions = len(methods[0].probabilities)
    intervals = f"; 95 % intervals, {repetitions} repetitions" if repetitions > 1 else ""
    band = "; ± standard error" if repetitions > 1 else ""
    rows = [_figure_row(name, each) for name, each in scores.items()]
    save("comparison", lambda: method_figures.comparison(rows, title=title + intervals))
    save("by_count", lambda: method_figures.by_members(curves, title=title + band))
    for method in methods:
        if method.name in calibrated:
            name = re.sub(r"\W+", "-", method.name).strip("-")
            save(f"reliability-{name}", functools.partial(_reliability_figure, method, labels))


def _reliability_figure(method: Method, labels: np.ndarray) -> Any:
    together = method.probabilities.reshape(-1, method.probabilities.shape[-1])
    diagram = expected_calibration_error(together, np.tile(labels, len(together) // len(labels)))
    repetitions = len(method.probabilities)
    pooled = f"{repetitions} repetitions" if repetitions > 1 else ""
    return figures.reliability(diagram, title=method.name, pooled=pooled)


def _figure_row(name: str, method: Mapping[str, Any]) -> dict[str, Any]:
    """A method for ``method_figures.comparison``, with Student's intervals over repetitions."""
    accuracy, nll = (method["scores"][score]["values"] for score in ("accuracy", "nll"))
    return {
        "name": name,
        "group": method["group"],
        "error": _interval([1 - each for each in accuracy]),
        "nll": _interval(nll),
    }


def _interval(values: Sequence[float]) -> dict[str, float | None]:
    figure = with_interval(values)
    low, high = figure["interval"] or (None, None)
    return {"mean": figure["mean"], "low": low, "high": high}
