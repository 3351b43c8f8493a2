"""U-Nets with every loss, then from every start at few scenes, compared on the test scenes."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from cnnlab.losses.dense import centred, segmentation
from cnnlab.studies import study
from cnnlab.transfer.segmentation import predict_masks

from ..cli import host
from . import figures
from .claims import compare
from .config import STARTS, Config, LossName, Start, check, resolve_defaults, training_name
from .data import compose_scenes
from .summary import summary_lines
from .training import Setup, Trained, make_recipes, train_classifiers, train_unets


def run(config: Config) -> dict[str, Any]:
    """Composes the scenes, trains one network after the other, and writes the run directory.

    Returns:
      The content of result.json: ``points`` (for each training the loss, the start, the scenes, and
      IoU, Dice and the part of the pixels that is right, over seeds), ``classifier`` (its test
      accuracy) and ``claims``.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    with study.open(config, host()) as s:
        s.config = config = resolve_defaults(s.config)
        check(config)
        segmentation(config.dice)  # refuses a weight out of range
        scenes = compose_scenes(config, s.load_data(config))
        recipes = make_recipes(config, scenes)
        s.begin(f"segment-{config.data_name}", scenes.notes)
        fresh = s.fresh_states(recipes[config.start_loss], scenes.data.train)
        setup = Setup(scenes.data, recipes, fresh)
        trained: dict[str, Trained] = {}

        def train(loss: LossName, start: Start, count: int, classifiers: Any = None) -> None:
            name = training_name(loss, start, count)
            if name not in trained:
                trained[name] = train_unets(s, setup, loss, start, count, classifiers)

        for loss in config.losses:
            train(loss, "scratch", config.scenes)
        classifier = None
        if config.few:
            classifier, states = train_classifiers(s, scenes.data)
            for count in sorted(config.few):
                for start in config.starts:
                    train(config.start_loss, start, count, states)
        points = [each.point for each in trained.values()]
        _save_figures(s, setup, trained)
        spent = [each["seconds"] for each in (*points, *([classifier] if classifier else []))]
        about = {
            "model": config.model_name,
            "class_names": scenes.data.train.class_names,
            "pixels": scenes.pixels,
            "points": points,
            "classifier": classifier,
            "seconds": round(sum(spent), 1),
        }
        claims = compare(points, config.losses, config.starts if config.few else ())
        return s.finish(about, claims, summary_lines)


def _save_figures(s: study.Study[Config], setup: Setup, trained: Mapping[str, Trained]) -> None:
    config = s.config
    title = f"{setup.data.train.name}, {config.scene_size} x {config.scene_size} pixels"
    masks = f"{title}, {config.scenes} with masks"
    by_loss: dict[str, Trained] = {
        loss: trained[training_name(loss, "scratch", config.scenes)] for loss in config.losses
    }
    s.save_figure(
        "iou_by_class",
        lambda: figures.iou_by_class(
            {
                loss: np.array(list(each.point["iou"].values()), np.float64).T
                for loss, each in by_loss.items()
            },
            setup.data.test.class_names,
            title=f"{title}, {config.scenes} scenes with masks",
        ),
    )
    s.save_figure("overlays_losses", lambda: _overlays(s, setup, by_loss, masks))
    if not config.few:
        return

    def from_start(start: str, count: int) -> Trained:
        return trained[training_name(config.start_loss, start, count)]

    few = min(config.few)
    by_start = {STARTS[start]: from_start(start, few) for start in config.starts}
    s.save_figure(
        "overlays_starts", lambda: _overlays(s, setup, by_start, f"{title}, {few} with masks")
    )
    if len(config.few) > 1:
        by_scenes = {
            STARTS[start]: {
                n: from_start(start, n).point["mean_iou"]["values"] for n in sorted(config.few)
            }
            for start in config.starts
        }
        s.save_figure("iou_by_scenes", lambda: figures.iou_by_scenes(by_scenes, title=title))


def _overlays(
    s: study.Study[Config], setup: Setup, networks: Mapping[str, Trained], title: str
) -> Any:
    """Some test scenes with the masks that the first seed's networks predict."""
    test = setup.data.test
    some = test.take(np.arange(min(6, len(test))))
    recipe = setup.recipes[s.config.start_loss]  # the network is the same for all
    predictions = {
        label: predict_masks(recipe, jax.tree.map(lambda x: x[:1], each.states), some)[0]
        for label, each in networks.items()
    }
    like = next(iter(predictions.values()))
    channels = [centred(np.asarray(some.images[..., c]), like) for c in range(some.image_shape[2])]
    return figures.overlays(
        np.stack(channels, axis=-1),
        centred(np.asarray(some.annotations), like),
        predictions,
        some.class_names,
        title=title,
    )
