"""The errors of a teacher and of students, also with a corrected bias of missing classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from cnnlab.data import Splits
from cnnlab.report.scores import scores
from cnnlab.report.statistics import over_seeds
from cnnlab.transfer import class_bias, prior_bias


def score_errors(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """The scores of networks on the test part.

    Args:
      logits: ``[M, N, K]`` of M seeds.
      labels: ``[N]``.

    Returns:
      ``errors``, the number of wrong answers, ``nll`` and ``ece``, as ``over_seeds`` gives them,
      and ``by_class`` ``[M][K]``, the part of each class's examples that is taken for others.
    """
    scored = [scores(softmax(each.astype("float64"), axis=-1), labels) for each in logits]
    return {
        "errors": over_seeds([_count_errors(each, labels) for each in logits]),
        "nll": over_seeds([each["nll"] for each in scored]),
        "ece": over_seeds([each["ece"] for each in scored]),
        "by_class": [_errors_by_class(each, labels) for each in logits],
    }


def correct_class_bias(
    logits: np.ndarray,
    validation_logits: np.ndarray | None,
    splits: Splits,
    missing: Sequence[int],
) -> dict[str, Any]:
    """The errors of students that were not shown some classes, with the bias of these corrected.

    Args:
      logits: ``[M, N, K]`` of M seeds on the test part.
      validation_logits: those on the validation part, if there is one.
      splits: the data.
      missing: the classes' indices.

    Returns:
      By what the bias is chosen ("none", "validation", "frequency": the part of the training
      images, without labels of others; "test", as in the paper) -> ``bias``, ``errors`` and
      ``missing_errors`` (those on the missing classes), as ``over_seeds`` gives them,
      ``missing_examples``, and ``by_class`` as of ``score_errors``.
    """
    labels = splits.test.labels
    share = float(np.isin(splits.train.labels, missing).mean())
    biases = {"none": [0.0] * len(logits)}
    if validation_logits is not None:
        assert splits.validation is not None
        known = splits.validation.labels
        biases["validation"] = [class_bias(x, known, missing).bias for x in validation_logits]
    biases["frequency"] = [prior_bias(each, missing, share) for each in logits]
    biases["test"] = [class_bias(each, labels, missing).bias for each in logits]
    inside = np.isin(labels, missing)
    results = {}
    for way, bias in biases.items():
        moved = logits.astype(np.float64)
        moved[..., missing] += np.asarray(bias)[:, None, None]
        results[way] = {
            "bias": over_seeds(bias),
            "errors": over_seeds([_count_errors(each, labels) for each in moved]),
            "missing_errors": over_seeds([_count_errors(x[inside], labels[inside]) for x in moved]),
            "missing_examples": int(inside.sum()),
            "by_class": [_errors_by_class(each, labels) for each in moved],
        }
    return results


def _count_errors(logits: np.ndarray, labels: np.ndarray) -> int:
    return int((logits.argmax(-1) != labels).sum())


def _errors_by_class(logits: np.ndarray, labels: np.ndarray) -> list[float]:
    """The part of each class's examples that is taken for another; 0 for a class without any."""
    wrong = logits.argmax(-1) != labels
    examples = np.bincount(labels, minlength=logits.shape[-1])
    counts = np.bincount(labels, wrong, minlength=logits.shape[-1])
    parts: list[float] = (counts / np.maximum(examples, 1)).tolist()
    return parts
