"""What a teacher and its students get wrong: counts, claims, and a missing class put right.

Everything here takes logits or results; ``experiments.distill`` trains.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments import judgement

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Splits

ONE_TEACHER = "students of one teacher; its own variance is not in the intervals"
A_THIRD = 1 / 3  # of the gap: the least that counts as Hinton's finding in kind


def judge(logits: "np.ndarray", labels: "np.ndarray") -> dict[str, Any]:
    """The figures of networks on the test part.

    Args:
      logits: ``[M, N, K]`` of M seeds.
      labels: ``[N]``.

    Returns:
      ``errors``, the number of wrong answers, ``nll`` and ``ece``, as ``over_seeds`` gives them,
      and ``by_class`` ``[M][K]``, the part of each class's examples that is taken for others.
    """
    from scipy.special import softmax

    from cnnlab.report.scores import scores
    from cnnlab.report.statistics import over_seeds

    found = [scores(softmax(each.astype("float64"), axis=-1), labels) for each in logits]
    return {
        "errors": over_seeds([_errors(each, labels) for each in logits]),
        "nll": over_seeds([each["nll"] for each in found]),
        "ece": over_seeds([each["ece"] for each in found]),
        "by_class": [_by_class(each, labels) for each in logits],
    }


def put_right(
    logits: "np.ndarray",
    validation_logits: "np.ndarray | None",
    splits: "Splits",
    missing: Sequence[int],
) -> dict[str, Any]:
    """Errors of students that were not shown some classes, with the bias of these put right.

    Args:
      logits: ``[M, N, K]`` of M seeds on the test part.
      validation_logits: those on the validation part, if there is one.
      splits: the data.
      missing: the classes' indices.

    Returns:
      Who chose the bias ("none", "validation", "frequency": the part of the training images,
      without labels of others; "test", as the paper did) -> ``bias``, ``errors`` and
      ``missing_errors`` (those on the missing classes), as ``over_seeds`` gives them, and
      ``by_class`` as of ``judge``.
    """
    import numpy as np

    from cnnlab.report.statistics import over_seeds
    from cnnlab.transfer import class_bias, prior_bias

    labels = splits.test.labels
    share = float(np.isin(splits.train.labels, missing).mean())
    biases = {"none": [0.0] * len(logits)}
    if validation_logits is not None:
        assert splits.validation is not None
        known = splits.validation.labels
        biases["validation"] = [class_bias(x, known, missing).bias for x in validation_logits]
    biases["frequency"] = [prior_bias(each, missing, share) for each in logits]
    biases["test"] = [class_bias(each, labels, missing).bias for each in logits]
    lacked = np.isin(labels, missing)
    found = {}
    for way, chosen in biases.items():
        moved = logits.astype(np.float64)
        moved[..., missing] += np.asarray(chosen)[:, None, None]
        found[way] = {
            "bias": over_seeds(chosen),
            "errors": over_seeds([_errors(each, labels) for each in moved]),
            "missing_errors": over_seeds([_errors(x[lacked], labels[lacked]) for x in moved]),
            "missing_examples": int(lacked.sum()),
            "by_class": [_by_class(each, labels) for each in moved],
        }
    return found


def compare(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the errors say about the claims.

    Args:
      result: with ``examples``, ``teacher``, ``students`` and ``missing``.

    Returns:
      claim -> how much smaller a test error is, paired over seeds of students of one teacher (as
      ``paired`` gives it), with ``verdict``: "reproduced" if the whole 95 % interval is positive.
      Where students are compared with students alone, ``gap``, as ``gap_closed`` gives it, and
      ``third``: whether it is a third or more.
    """
    import numpy as np

    from cnnlab.report.statistics import paired, verdict
    from cnnlab.transfer import gap_closed

    teacher = result["teacher"]["errors"]["mean"]
    students = result["students"]
    alone = np.asarray(students["alone"]["errors"]["values"])
    claims: dict[str, dict[str, Any]] = {}
    for name, each in students.items():
        if name == "alone" or name in result["missing"]:
            continue
        errors = np.asarray(each["errors"]["values"])
        figure = paired(alone / result["examples"], errors / result["examples"])
        gap = gap_closed(alone, errors, teacher)
        claims[f"{name} makes fewer errors than alone"] = {
            **figure,
            "verdict": verdict(figure["interval"]),
            "gap": gap,
            "third": _third(gap),
        }
    for name, ways in result["missing"].items():
        way = "validation" if "validation" in ways else "frequency"
        before, after = (np.asarray(ways[x]["missing_errors"]["values"]) for x in ("none", way))
        examples = ways[way]["missing_examples"]
        figure = paired(before / examples, after / examples)
        claims[f"{name} knows the missing classes better with a bias by {way}"] = {
            **figure,
            "verdict": verdict(figure["interval"]),
        }
    return claims


def report(result: Mapping[str, Any]) -> str:
    """The result as text."""
    head = [f"errors of {result['examples']:,}", "NLL", "ECE, %", "seconds", "multiply-adds"]
    lines = [["", *head]]
    teacher = result["teacher"]
    for name, each in {f"teacher: {teacher['name']}": teacher, **result["students"]}.items():
        lines.append(
            [
                name,
                number(each["errors"]),
                number(each["nll"], digits=4),
                number(each["ece"], scale=100, digits=2),
                "" if each["seconds"] is None else f"{each['seconds']:.1f}",
                f"{each['multiply_adds']:,}",
            ]
        )
    texts = [judgement.printed(lines), ""]
    for claim, each in result["claims"].items():
        texts.append(f"{claim}: {judgement.difference(each)} points: {each['verdict']}")
        if "gap" in each:
            texts.append(f"  {each['third']}")
    texts.append(f"({ONE_TEACHER})")
    for name, ways in result["missing"].items():
        count = next(iter(ways.values()))["missing_examples"]
        lines = [[name, "bias", "errors", f"on the {count:,} missing"]]
        lines += [
            [f"bias by {way}", number(x["bias"], digits=2), *map(number, _counts(x))]
            for way, x in ways.items()
        ]
        texts += ["", judgement.printed(lines)]
    return "\n".join(texts)


def _counts(way: Mapping[str, Any]) -> tuple[Any, Any]:
    return way["errors"], way["missing_errors"]


def _third(gap: Mapping[str, Any]) -> str:
    """What the closed part of the gap is, in words."""
    if gap["fraction"] is None:
        return "there is no gap: students alone are as good as the teacher"
    text = f"{100 * gap['fraction']:.0f} % of the gap to the teacher is closed"
    if gap["interval"] is None:
        return f"{text}, which these seeds are too few to tell from none"
    low, high = gap["interval"]
    text += f" (95 % interval {100 * low:.0f} to {100 * high:.0f})"
    if low >= A_THIRD:
        return f"{text}: at least a third"
    return f"{text}: a third or more is {'not excluded' if high >= A_THIRD else 'excluded'}"


def _errors(logits: "np.ndarray", labels: "np.ndarray") -> int:
    return int((logits.argmax(-1) != labels).sum())


def _by_class(logits: "np.ndarray", labels: "np.ndarray") -> list[float]:
    """The part of each class's examples that is taken for another; 0 for a class without any."""
    import numpy as np

    wrong = logits.argmax(-1) != labels
    examples = np.bincount(labels, minlength=logits.shape[-1])
    counts = np.bincount(labels, wrong, minlength=logits.shape[-1])
    return (counts / np.maximum(examples, 1)).tolist()


def number(figure: Mapping[str, Any], *, scale: float = 1, digits: int = 1) -> str:
    """A figure of ``over_seeds`` as text, with its standard error."""
    text = f"{scale * figure['mean']:.{digits}f}"
    if figure["standard_error"] is None:
        return text if digits > 1 else f"{scale * figure['mean']:g}"
    return f"{text} ± {scale * figure['standard_error']:.{digits}f}"
