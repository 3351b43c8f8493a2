"""Trained networks and random ones, probed at every stage."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from cnnlab.data import Dataset
from cnnlab.studies import study
from cnnlab.train import TrainState

from ..cli import host
from . import claims, figures
from .config import PIXELS, Config, check
from .measurements import (
    Images,
    Measurement,
    Measurements,
    correct_by_stage,
    first_of_classes,
    measure,
    own_correct,
    penalties,
    pixel_features,
    stage_features,
)
from .networks import Source, load_source, probe_images, with_run_settings
from .summary import summary_lines


def run(config: Config) -> dict[str, Any]:
    """Trains or loads networks, probes their stages, and writes the run directory.

    Returns:
      The content of result.json: ``points`` (accuracy by network, method and stage), ``accuracy``
      (the network's own), the claims of ``claims.compare``, the penalties, and the seconds of
      training and probing.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      Interrupted: after SIGTERM or Ctrl-C; everything so far is saved.
    """
    check(config)
    with study.open(with_run_settings(config), host()) as s:
        config = s.config
        source = load_source(config, s.load_data)
        splits = source.splits
        train = probe_images(config, source)
        assert splits.validation is not None
        queries = first_of_classes(splits.test, config.queries)
        images = Images(train, splits.validation, splits.test, queries)
        s.begin(f"probe-{config.data_name}", splits.notes)
        s.say("\n".join(filter(None, [source.name, source.report])))

        measured, seconds = _measure_all(s, source, images)
        correct = correct_by_stage(measured)
        points = claims.accuracies(correct)
        stages = list(correct["trained"][config.probes[-1]])
        own = own_correct(measured["trained"], source.recipe.network.names[-1])
        accuracy = None if own is None else claims.accuracy(own)

        s.save_figure("accuracy_by_stage", lambda: _draw_accuracies(s, source, points, accuracy))
        s.save_figure("neighbours", lambda: _draw_neighbours(source, images, stages, measured))
        about = {
            "model": config.model_name,
            "network": source.name,
            "examples": len(train),
            "accuracy": accuracy,
            "points": points,
            "penalties": penalties(measured),
            "seconds": round(seconds, 1),
        }
        return s.finish(about, claims.compare(correct, config.probes[-1]), summary_lines)


def _networks(s: study.Study[Config], source: Source) -> Iterator[tuple[str, TrainState, float]]:
    """The trained networks and those with random weights ``[M, ...]``, and seconds of training.

    The latter are as they are initialised, with statistics that no image has gone into.
    """
    states, seconds = source.states, 0.0
    if states is None:
        s.say(f"\ntraining, {s.config.seeds} seeds:")
        trained = s.train("trained", source.recipe, source.splits.train)
        states, seconds = trained.states, trained.seconds
    yield "trained", states, seconds
    yield "untrained", s.fresh_states(source.recipe, source.splits.train), 0.0


def _measure_all(
    s: study.Study[Config], source: Source, images: Images
) -> tuple[Measurements, float]:
    """Measurements by network, for each member; and the seconds of training and measuring.

    What was measured before in this run directory is read. The seconds are over all sittings.
    """
    last = source.recipe.network.names[-1]

    def measured(name: str, features: Callable[[], Sequence[Measurement]]) -> Measurement:
        def compute() -> Measurement:
            begin = s.host.clock()
            arrays = measure(s.config, images, last, features())
            return {**arrays, "seconds": np.asarray(s.host.clock() - begin)}

        return s.cached(f"measured/{name}.npz", compute)

    result: dict[str, list[Measurement]] = {
        PIXELS: [measured(PIXELS, functools.partial(pixel_features, images))]
    }
    seconds = 0.0
    for name, states, training in _networks(s, source):
        seconds += training
        result[name] = []
        for member in range(len(states.step)):
            one = jax.tree.map(lambda leaf, at=member: leaf[at : at + 1], states)
            s.say(f"probing the {name} network {member + 1} of {len(states.step)}")
            features = functools.partial(stage_features, s.config, source.recipe, one, images)
            result[name].append(measured(f"{name}-{member}", features))
    seconds += sum(float(each.get("seconds", 0)) for members in result.values() for each in members)
    return result, seconds


def _draw_accuracies(
    s: study.Study[Config],
    source: Source,
    points: Sequence[Mapping[str, Any]],
    accuracy: Mapping[str, Any] | None,
) -> Any:
    over = {each["interval_over"] for each in points if each["network"] == "trained"}.pop()
    seeds = len(s.config.all_seeds)
    bars = "bars: 95 % intervals, over test images"
    if over == "seeds":
        bars = f"mean of {seeds} seeds, 95 % intervals over them (pixels: over test images)"
    elif seeds > 1:
        bars += f"; random weights over {seeds} seeds"
    return figures.accuracy_by_stage(
        points,
        own=None if accuracy is None else accuracy["mean"],
        title=f"Accuracy on the features of each stage: {source.name}, {s.config.data_name}",
        bars=bars,
    )


def _draw_neighbours(
    source: Source, images: Images, stages: Sequence[str], measured: Measurements
) -> Any:
    """The neighbours of the queries in pixels and in the features of the first trained network."""
    last = claims.deepest(stages)
    trained, pixels = measured["trained"][0], measured[PIXELS][0]
    near = {
        "nearest in pixels (L2)": pixels[f"near/l2/{PIXELS}"],
        f"nearest in {last} (L2)": trained[f"near/l2/{last}"],
        f"nearest in {last} (cosine)": trained[f"near/cosine/{last}"],
    }
    train, test, queries = images.train, images.test, images.queries
    return figures.retrieval(
        _images_at(test, queries),
        {name: _images_at(train, at) for name, at in near.items()},
        test.labels[queries].tolist(),
        {name: train.labels[at] for name, at in near.items()},
        test.class_names,
        title=f"The first test image of each class, and its neighbours in training ({source.name})",
    )


def _images_at(dataset: Dataset, indices: np.ndarray) -> np.ndarray:
    """Images ``[..., H, W, C]`` at indices ``[...]``."""
    flat = np.asarray(dataset.images[indices.ravel()])
    return flat.reshape(*indices.shape, *dataset.image_shape)
