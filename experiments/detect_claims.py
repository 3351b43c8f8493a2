"""How good the detectors of ``experiments.detect`` are, drawn, and held against the claims."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.report.average_precision import Detections
    from experiments.detect import Trained
    from experiments.detect_scenes import Material

_SHOWN = 6  # test scenes in a figure

# claim -> what it says is the larger one, and the smaller: name and regression of a point
_CLAIMS = {
    "fine-tuning the convolutions beats keeping them": (
        ("fine-tuned", "applied"),
        ("frozen", "applied"),
    ),
    "a classifier's convolutions beat a start from scratch": (
        ("fine-tuned", "applied"),
        ("from scratch", "applied"),
    ),
    "even kept as they are they beat a start from scratch": (
        ("frozen", "applied"),
        ("from scratch", "applied"),
    ),
    "correcting boxes beats classes alone": (
        ("fine-tuned", "applied"),
        ("classes only", "not trained"),
    ),
    "training the correction helps where it is not applied": (
        ("fine-tuned", "not applied"),
        ("classes only", "not trained"),
    ),
}


def found_by(outputs: "np.ndarray", scenes: "Material", *, corrected: bool) -> "list[Detections]":
    """What each member finds in the test scenes, of its ``outputs [M, N, R, K + 1 + 4]``."""
    from cnnlab.report.average_precision import detections
    from cnnlab.transfer.detection import detect

    height, width, _ = scenes.test.image_shape
    return [
        detections(*detect(own, scenes.windows, image_size=(height, width), corrected=corrected))
        for own in outputs
    ]


def judged(
    found: "Sequence[Detections]", scenes: "Material", overlaps: Sequence[float]
) -> dict[str, Any]:
    """The average precision of detectors on the test scenes.

    Args:
      found: by each of M.
      scenes: the test scenes.
      overlaps: the IoU from which on a detection is right.

    Returns:
      ``average_precision`` (overlap as text -> mean over the classes, a figure over seeds with the
      interval of its mean), ``classes`` (the same -> class -> [M]) and ``recall`` of all that was
      found.
    """
    from cnnlab.report.average_precision import average_precisions
    from cnnlab.report.statistics import over_seeds, with_interval

    boxes, classes = scenes.objects
    names = scenes.test.class_names
    result: dict[str, Any] = {"average_precision": {}, "classes": {}, "recall": {}}
    for overlap in overlaps:
        each = [
            average_precisions(own, boxes, classes, len(names), overlap=overlap) for own in found
        ]
        said = f"{overlap:g}"
        result["average_precision"][said] = with_interval([one["mean"] for one in each])
        result["classes"][said] = {
            name: [one["classes"][k] for one in each] for k, name in enumerate(names)
        }
        result["recall"][said] = over_seeds([one["recall"] for one in each])
    return result


def compare(
    points: Sequence[Mapping[str, Any]], overlaps: Sequence[float]
) -> dict[str, dict[str, Any]]:
    """What mean average precision says about the claims.

    Args:
      points: name, regression and average_precision of each.
      overlaps: the IoU from which on a detection is right.

    Returns:
      claim -> ``difference``, which the claim says is positive, and for each overlap the difference
      of the same seeds, as ``paired`` gives it, with its ``verdict``.
    """
    from cnnlab.report.statistics import paired, verdict

    by_place = {(each["name"], each["regression"]): each for each in points}
    claims: dict[str, dict[str, Any]] = {}
    for claim, (ours, theirs) in _CLAIMS.items():
        figures = {}
        for overlap in overlaps:
            said = f"{overlap:g}"
            figure = paired(
                *(by_place[place]["average_precision"][said]["values"] for place in (ours, theirs))
            )
            figures[said] = {**figure, "verdict": verdict(figure["interval"])}
        difference = " - ".join(f"{name} (boxes {how})" for name, how in (ours, theirs))
        claims[claim] = {"difference": difference, "overlaps": figures}
    return claims


def line(point: Mapping[str, Any]) -> str:
    """What is said of a detector."""
    from cnnlab.report.statistics import percent

    parts = [
        f"{percent(figure)} at IoU {overlap}"
        for overlap, figure in point["average_precision"].items()
    ]
    said = f"boxes {point['regression']}: mean average precision {', '.join(parts)}"
    return f"{said}, {point['seconds']:.0f} s" if point["seconds"] else said


def said(result: Mapping[str, Any]) -> list[str]:
    """What result.json holds, in lines: every detector, then the claims."""
    found = [f"{each['name']}: {line(each)}" for each in result["points"]]
    return [*found, "", *conclusions(result["claims"])]


def conclusions(claims: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The claims in plain words."""
    from cnnlab.report.statistics import points

    lines = []
    for claim, found in claims.items():
        lines.append(f"{claim}: {found['difference']}")
        for overlap, figure in found["overlaps"].items():
            lines.append(f"  IoU {overlap}: {points(figure, 1)}: {figure['verdict']}")
    return lines


def draw(
    trained: "Mapping[str, Trained]",
    scenes: "Material",
    overlaps: Sequence[float],
    folder: pathlib.Path,
    *,
    title: str,
) -> None:
    """Saves the figures: test scenes, precision over recall, and average precision compared.

    Args:
      trained: by name.
      scenes: the test scenes.
      overlaps: the IoU from which on a detection is right; the first one for scenes and curves.
      folder: where to.
      title: above them.
    """
    import jax
    import numpy as np

    from cnnlab.report import detect_figures, drawing
    from cnnlab.report.average_precision import Detections, correct, precision_recall

    if jax.process_index() > 0:
        return
    (boxes, classes), overlap = scenes.objects, overlaps[0]
    few = slice(0, min(_SHOWN, len(boxes)))
    shown, curves, compared = {}, {}, {}
    for name, (found, points) in trained.items():
        shown[name] = Detections(*(each[found[0].images < _SHOWN] for each in found[0]))
        right = np.concatenate([correct(seed, boxes, classes, overlap) for seed in found])
        scores = np.concatenate([seed.scores for seed in found])
        objects = len(found) * int((classes >= 0).sum())
        curves[name] = precision_recall(scores, right, objects)
        for point in points:
            compared[f"{name}, boxes {point['regression']}"] = {
                f"IoU {overlap}": figure["values"]
                for overlap, figure in point["average_precision"].items()
            }
    figure = detect_figures.scenes(
        np.asarray(scenes.test.images[few]),
        boxes[few],
        classes[few],
        shown,
        scenes.test.class_names,
        overlap=overlap,
        title=title,
    )
    drawing.save(figure, folder / "scenes.png")
    text = f"{title}, all classes and seeds, IoU {overlap:g}"
    figure = detect_figures.precision_recall(curves, title=text)
    drawing.save(figure, folder / "precision_recall.png")
    drawing.save(detect_figures.comparison(compared, title=title), folder / "comparison.png")
