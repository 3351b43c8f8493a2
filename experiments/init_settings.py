"""What the study of initialisations measures: a network, how it may start, and what it is shown.

Importing this module imports no jax.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from experiments.config import options as parse_options

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.diagnose import LayerStatistics
    from cnnlab.models import Network
    from cnnlab.models.init import Init

# What result.json holds of each layer, of the fields of LayerStatistics and its Values.
_KERNEL = ("kernel_std", "gradient_std", "kernel_gradient_std", "gradient_to_weight")
_VALUES = ("mean", "std", "zeros", "dead", "saturated")


def parse_init(text: str) -> "Init":
    """The initialisation that ``NAME:OPTION=VALUE,OPTION=VALUE`` says.

    Raises:
      ValueError: if it is unknown, or its options are.
    """
    from cnnlab.models import init

    name, _, options = text.partition(":")
    return init.create(name, **parse_options([part for part in options.split(",") if part]))


@dataclasses.dataclass(frozen=True)
class Setting:
    """A network, the initialisations to compare, and what both are shown."""

    name: str
    network: "Network"
    inits: "dict[str, Init]"
    start_images: Any  # (init, key) -> float32 [n, H, W, C] that the initialisation looks at
    images: Any  # key -> float32 [N, H, W, C] that are measured
    labels: Any  # int32 [N] of these
    wide: bool = False  # drawing the weights takes longer than compiling how

    def study(self, seeds: Sequence[int], folder: pathlib.Path, say: Any) -> dict[str, Any]:
        """The statistics of each initialisation over the seeds, drawn into ``folder``."""
        import jax

        from cnnlab.diagnose import activations
        from cnnlab.keys import run_key, stream_key
        from cnnlab.mesh import run_once_options
        from cnnlab.report import drawing, init_figures

        quick = run_once_options(jax.default_backend())
        thorough = None if self.wide else quick

        @functools.partial(jax.jit, compiler_options=quick)
        def measure(variables: Any, images: Any) -> "list[LayerStatistics]":
            return activations(self.network, variables, images, self.labels)

        found: dict[str, list[list[LayerStatistics]]] = {}
        for label, init in self.inits.items():
            draw = jax.jit(functools.partial(init, self.network), compiler_options=thorough)
            found[label] = []
            for seed in seeds:
                key = stream_key(run_key(seed), "images")
                shown = self.start_images(init, key)
                variables = draw(stream_key(run_key(seed), "init"), shown)
                found[label].append(jax.device_get(measure(variables, self.images(key))))
            stds = [f"{float(layer.reads.std):.3g}" for layer in found[label][0]]
            say(f"{self.name}, {label}: std of what each layer reads: {' '.join(stds)}")
        file = "".join(c if c.isalnum() else "-" for c in self.name)
        histograms = init_figures.inputs(found, self.name)
        drawing.save(histograms, folder / "figures" / f"histograms-{file}.png")
        by_layer = init_figures.deviations(found, self.name)
        drawing.save(by_layer, folder / "figures" / f"layers-{file}.png")
        return {label: _summary(runs) for label, runs in found.items()}


def lecture_settings() -> list[Setting]:
    """The two of the lecture: 10 x 500 tanh on 1000 inputs, 7 x 4096 ReLU on 16."""
    import jax
    import numpy as np

    from cnnlab import models

    def setting(
        activation: str, depth: int, width: int, examples: int, inits: list[str]
    ) -> Setting:
        network = models.mlp(10, widths=(width,) * depth, activation=activation)

        def gaussian(key: Any, count: int) -> jax.Array:
            return jax.random.normal(key, (count, 1, width, 1))

        return Setting(
            f"{depth} x {width} {activation}",
            network,
            {text: parse_init(text) for text in inits},
            lambda init, key: gaussian(key, init.examples),
            lambda key: gaussian(key, examples),
            np.arange(examples, dtype=np.int32) % 10,
            wide=width > 1000,
        )

    small = ["gaussian:std=0.01", "gaussian:std=0.05"]
    return [
        setting("tanh", 10, 500, 1000, [*small, "glorot", "he"]),
        setting("relu", 7, 4096, 16, [*small, "glorot", "he"]),
    ]


def model_setting(
    title: str, recipe: Any, inits: "dict[str, Init]", train: Any, examples: int
) -> Setting:
    """The network of ``recipe``, which starts here as in a training, on ``train``.

    It is measured on ``examples`` training images, spread evenly over the data set.

    Raises:
      ValueError: if the network does not fit the images, or an initialisation not both.
    """
    import jax
    import numpy as np

    from cnnlab.train.program import check_fits, init_examples

    def trained(init: "Init") -> Any:
        return dataclasses.replace(recipe, init=init)

    for init in inits.values():
        check_fits(trained(init), train)
    count = min(examples, len(train))
    chosen = np.linspace(0, len(train) - 1, count).astype(np.int64)

    def prepare(images: "np.ndarray") -> jax.Array:
        return recipe.prepare(jax.random.key(0), np.asarray(images))  # draws nothing

    return Setting(
        title,
        recipe.network,
        inits,
        lambda init, key: prepare(init_examples(trained(init), train)),
        lambda key: prepare(train.images[chosen]),
        np.asarray(train.labels)[chosen],
    )


def _summary(runs: "list[list[LayerStatistics]]") -> list[dict[str, Any]]:
    """Every layer's statistics over the seeds."""
    from cnnlab.report.statistics import over_seeds

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
