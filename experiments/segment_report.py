"""What ``experiments.segment`` says and draws of its networks.

Importing this module imports no jax.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.parts import Whole
from experiments.segment_scenes import Material

if TYPE_CHECKING:
    from cnnlab.train import Recipe, TrainState
    from experiments.segment import Config

STARTS: dict[str, str] = {
    "scratch": "from scratch",
    "pretrained": "encoder from a classifier",
    "frozen first": "encoder from a classifier, frozen first",
}


class Study(NamedTuple):
    """What all trainings of the experiment have in common."""

    config: "Config"
    whole: Whole
    scenes: Material
    recipes: dict[str, "Recipe"]
    fresh: "TrainState"
    say: Any


class Trained(NamedTuple):
    """U-Nets at the end of their training, one for each seed, and what they do on the test."""

    states: "TrainState"
    point: dict[str, Any]


def name_of(loss: str, start: str, scenes: int) -> str:
    """Of a training and its folder."""
    return f"{loss}-{start}-{scenes}".replace(" ", "-")


def judged(recipe: "Recipe", states: "TrainState", test: Any) -> dict[str, Any]:
    """IoU and Dice of each class and their means, and the part of the pixels that is right."""
    import numpy as np

    from cnnlab.losses.dense import centred
    from cnnlab.report import overlap
    from cnnlab.report.statistics import over_seeds, with_interval
    from cnnlab.transfer.segmentation import predict_masks

    found = predict_masks(recipe, states, test)
    truth = centred(np.asarray(test.annotations), found[0])
    counts = np.stack([overlap.confusion(truth, each, test.num_classes) for each in found])
    iou, dice = overlap.intersection_over_union(counts), overlap.dice(counts)
    return {
        "iou": {name: iou[:, k].tolist() for k, name in enumerate(test.class_names)},
        "mean_iou": with_interval(overlap.mean_over_classes(iou)),
        "mean_iou_digits": with_interval(overlap.mean_over_classes(iou, background=False)),
        "mean_dice": with_interval(overlap.mean_over_classes(dice)),
        "pixel_accuracy": over_seeds(overlap.pixel_accuracy(counts)),
    }


# Comparison ----------------------------------------------------------------------------------


def compare(
    points: Sequence[Mapping[str, Any]], losses: Sequence[str], starts: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """What mean IoU says about the claims.

    Args:
      points: of the trainings: loss, start, scenes, mean_iou.
      losses: those that were compared.
      starts: those that were compared; none if they were not.

    Returns:
      claim -> a difference of mean IoU, as ``paired`` gives it, which the claim says is positive
      (``difference`` names it), and ``verdict``.
    """
    from cnnlab.report.statistics import paired, verdict

    iou = {
        (each["loss"], each["start"], each["scenes"]): each["mean_iou"]["values"] for each in points
    }
    every = max(scenes for *_, scenes in iou)
    claims: dict[str, dict[str, Any]] = {}

    def claim(text: str, difference: str, ours: Any, theirs: Any) -> None:
        figure = paired(iou[ours], iou[theirs])
        claims[text] = {"difference": difference, **figure, "verdict": verdict(figure["interval"])}

    for first, second in (
        ("dice", "cross-entropy"),
        ("dice", "weighted"),
        ("both", "cross-entropy"),
        ("both", "dice"),
    ):
        if first in losses and second in losses:
            claim(
                f"{first} overlaps more than {second}"
                if first == "dice"
                else f"both losses together overlap more than {second} alone",
                f"{first} - {second}",
                (first, "scratch", every),
                (second, "scratch", every),
            )
    places = {(loss, scenes) for loss, start, scenes in iou if start != "scratch"}
    for loss, scenes in sorted(places, key=lambda place: place[1]):
        for ours, theirs, text in (
            ("pretrained", "scratch", "a classifier's encoder is a better start than chance"),
            ("frozen first", "scratch", "frozen first, too, it is a better start than chance"),
            ("frozen first", "pretrained", "it is better frozen first"),
        ):
            if ours in starts and theirs in starts:
                where = (loss, ours, scenes), (loss, theirs, scenes)
                claim(f"at {scenes} scenes {text}", f"{ours} - {theirs}", *where)
    return claims


# What is said and drawn ----------------------------------------------------------------------


def line(point: Mapping[str, Any]) -> str:
    """One training, in words."""
    from cnnlab.report.statistics import percent

    whole, digits = (percent(point[name]) for name in ("mean_iou", "mean_iou_digits"))
    return f"mean IoU {whole}, of the digits alone {digits}, {point['seconds']:.0f} s"


def said(result: Mapping[str, Any]) -> list[str]:
    """What result.json holds, in lines: each training, then the claims."""
    from cnnlab.report.statistics import percent

    found = [
        f"{each['loss']}, {STARTS[each['start']]}, {each['scenes']} scenes: {line(each)}"
        for each in result["points"]
    ]
    classifier = result["classifier"]
    if classifier is not None:
        accuracy = percent(classifier["test_accuracy"])
        found.append(f"classifier, {classifier['scenes']} scenes: test accuracy {accuracy}")
    return [*found, "", *claim_lines(result["claims"])]


def claim_lines(claims: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The claims, in words."""
    from cnnlab.report.statistics import points

    return [
        f"{claim}: {figure['difference']}, mean IoU {points(figure)}: {figure['verdict']}"
        for claim, figure in claims.items()
    ]


def draw(study: Study, trained: Mapping[str, Trained]) -> None:
    """The figures of the run directory."""
    import jax

    if jax.process_index() > 0:
        return
    from cnnlab.report import drawing, segment_figures

    config, scenes = study.config, study.scenes
    folder = study.whole.directory / "figures"
    title = f"{scenes.train.name}, {config.size} x {config.size} pixels"
    by_loss: dict[str, Trained] = {
        loss: trained[name_of(loss, "scratch", config.scenes)] for loss in config.losses
    }
    names = scenes.test.class_names
    by_class = segment_figures.iou_by_class(
        {loss: _iou(each.point) for loss, each in by_loss.items()},
        names,
        title=f"{title}, {config.scenes} scenes with masks",
    )
    drawing.save(by_class, folder / "iou_by_class.png")
    _overlays(study, by_loss, "overlays_losses.png", f"{title}, {config.scenes} with masks")
    if not config.few:
        return
    few = min(config.few)
    by_start = {
        STARTS[start]: trained[name_of(config.start_loss, start, few)] for start in config.starts
    }
    _overlays(study, by_start, "overlays_starts.png", f"{title}, {few} with masks")
    if len(config.few) < 2:
        return
    by_scenes = segment_figures.iou_by_scenes(
        {
            STARTS[start]: {
                n: trained[name_of(config.start_loss, start, n)].point["mean_iou"]["values"]
                for n in sorted(config.few)
            }
            for start in config.starts
        },
        title=title,
    )
    drawing.save(by_scenes, folder / "iou_by_scenes.png")


def _overlays(study: Study, networks: Mapping[str, Trained], file: str, title: str) -> None:
    """Some test scenes as the first seed's networks see them."""
    import jax
    import numpy as np

    from cnnlab.losses.dense import centred
    from cnnlab.report import drawing, segment_figures
    from cnnlab.transfer.segmentation import predict_masks

    some = study.scenes.test.take(np.arange(min(6, len(study.scenes.test))))
    recipe = study.recipes[study.config.start_loss]  # the network is the same for all
    found = {
        label: predict_masks(recipe, jax.tree.map(lambda x: x[:1], each.states), some)[0]
        for label, each in networks.items()
    }
    like = next(iter(found.values()))
    images = np.stack(
        [centred(np.asarray(some.images[..., c]), like) for c in range(some.image_shape[2])],
        axis=-1,
    )
    figure = segment_figures.overlays(
        images,
        centred(np.asarray(some.annotations), like),
        found,
        some.class_names,
        title=title,
    )
    drawing.save(figure, study.whole.directory / "figures" / file)


def _iou(point: Mapping[str, Any]) -> Any:
    """[M, K]."""
    import numpy as np

    return np.array(list(point["iou"].values()), np.float64).T
