"""The networks that are measured, how they may start, and the statistics of their layers."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from cnnlab import models
from cnnlab.data import Dataset
from cnnlab.diagnose import LayerStatistics, activations
from cnnlab.keys import run_key, stream_key
from cnnlab.mesh import run_once_options
from cnnlab.models import Network
from cnnlab.models.init import Init
from cnnlab.report.statistics import over_seeds
from cnnlab.studies.settings import parse_options
from cnnlab.studies.study import Study
from cnnlab.train import Recipe, check_fits, init_examples

from . import figures
from .config import Config

# Of the fields of LayerStatistics and its Values, those that result.json holds of each layer.
_KERNEL = ("kernel_std", "gradient_std", "kernel_gradient_std", "gradient_to_weight")
_VALUES = ("mean", "std", "zeros", "dead", "saturated")


def parse_init(text: str) -> Init:
    """The initialisation that ``NAME:OPTION=VALUE,OPTION=VALUE`` names.

    Raises:
      ValueError: if it is unknown, or its options are.
    """
    name, _, options = text.partition(":")
    return models.init.create(name, **parse_options([part for part in options.split(",") if part]))


@dataclasses.dataclass(frozen=True)
class Setting:
    """A network, the initialisations to compare, and the images of both.

    Attributes:
      name: in results.
      network: the row of stages.
      inits: label -> initialisation.
      start_images: (init, key) -> float32 [n, H, W, C] that the initialisation looks at.
      images: key -> float32 [N, H, W, C] that are measured.
      labels: int32 [N] of these.
    """

    name: str
    network: Network
    inits: Mapping[str, Init]
    start_images: Callable[[Init, Any], Any]
    images: Callable[[Any], Any]
    labels: Any


def measure(s: Study[Config], setting: Setting) -> dict[str, Any]:
    """The statistics of each initialisation over the seeds; both figures are saved."""
    runs: dict[str, list[list[LayerStatistics]]] = {}
    for label, init in setting.inits.items():
        runs[label] = _measure_init(setting, init, s.config.all_seeds)
        stds = [f"{float(layer.reads.std):.3g}" for layer in runs[label][0]]
        s.say(f"{setting.name}, {label}: std of each layer's input: {' '.join(stds)}")
    name, file = setting.name, "".join(c if c.isalnum() else "-" for c in setting.name)
    s.save_figure(f"histograms-{file}", lambda: figures.inputs(runs, name))
    s.save_figure(f"layers-{file}", lambda: figures.deviations(runs, name))
    return {label: _summary(seeds) for label, seeds in runs.items()}


def lecture_settings() -> list[Setting]:
    """The two of the lecture: 10 layers of 500 units, tanh and ReLU, on 1000 inputs."""
    inits = ["gaussian:std=0.01", "gaussian:std=0.05", "glorot", "he"]

    def gaussian(key: Any, count: int) -> jax.Array:
        return jax.random.normal(key, (count, 1, 500, 1))

    def setting(activation: str) -> Setting:
        return Setting(
            f"10 x 500 {activation}",
            models.mlp(10, widths=(500,) * 10, activation=activation),
            {text: parse_init(text) for text in inits},
            lambda init, key: gaussian(key, init.examples),
            lambda key: gaussian(key, 1000),
            np.arange(1000, dtype=np.int32) % 10,
        )

    return [setting("tanh"), setting("relu")]


def model_setting(
    title: str, recipe: Recipe, inits: Mapping[str, Init], train: Dataset, examples: int
) -> Setting:
    """The network of ``recipe``, which starts here as in a training, on ``train``.

    It is measured on ``examples`` training images, spread evenly over the data set.

    Raises:
      ValueError: if the network does not fit the images, or an initialisation not both.
    """

    def with_init(init: Init) -> Recipe:
        return dataclasses.replace(recipe, init=init)

    for init in inits.values():
        check_fits(with_init(init), train)
    count = min(examples, len(train))
    chosen = np.linspace(0, len(train) - 1, count).astype(np.int64)

    def prepare(images: Any) -> jax.Array:
        pixels: Any = np.asarray(images)
        return recipe.prepare(jax.random.key(0), pixels)  # draws nothing

    return Setting(
        title,
        recipe.network,
        inits,
        lambda init, key: prepare(init_examples(with_init(init), train)),
        lambda key: prepare(train.images[chosen]),
        np.asarray(train.labels)[chosen],
    )


def _measure_init(
    setting: Setting, init: Init, seeds: Sequence[int]
) -> list[list[LayerStatistics]]:
    """For each seed the statistics of every layer, on the host."""
    quick = run_once_options(jax.default_backend())

    @functools.partial(jax.jit, compiler_options=quick)
    def statistics(variables: Any, images: Any) -> list[LayerStatistics]:
        return activations(setting.network, variables, images, setting.labels)

    draw = jax.jit(functools.partial(init, setting.network), compiler_options=quick)
    runs = []
    for seed in seeds:
        key = stream_key(run_key(seed), "images")
        images = setting.start_images(init, key)
        variables = draw(stream_key(run_key(seed), "init"), images)
        runs.append(jax.device_get(statistics(variables, setting.images(key))))
    return runs


def _summary(runs: Sequence[Sequence[LayerStatistics]]) -> list[dict[str, Any]]:
    """Every layer's statistics over the seeds."""
    table = []
    for calls in zip(*runs, strict=True):  # of one layer, one for each seed
        row: dict[str, Any] = {"layer": calls[0].name}
        for side in ("reads", "gives"):
            for name in _VALUES:
                row[f"{side}_{name}"] = over_seeds([getattr(getattr(c, side), name) for c in calls])
        for name in _KERNEL:
            row[name] = over_seeds([getattr(call, name) for call in calls])
        table.append(row)
    return table
