r"""What an initialisation does to signals and gradients, layer by layer, and how fast it learns.

Claim: with kernels too small (0.01) the activations of a deep net die out from layer to layer, and
with them all gradients; variances after Glorot (tanh) and He (ReLU) keep both alive, and such nets
learn; equal weights stay equal for ever.
Published: Stanford's CS231n, lecture on training, 10 tanh layers of 500 units on 1000 x 500 unit
Gaussian inputs: standard deviations 0.213, 0.0476, 0.0106, 0.0024 ... 0 at 0.01; 0.628, 0.486,
0.408 ... 0.228 after Glorot. 7 ReLU layers of 4096 units on 16 inputs after He: 0.82 to 0.89.
Measured: see result.json and figures/ in the run directory.

    python -m experiments.init_study
    python -m experiments.init_study --no-lecture --model lenet5 --inits gaussian:std=0.01 he lsuv
    python -m experiments.init_study --no-lecture --model resnet110 --model-options norm=none \
        width=4 --inits he fixup
"""

import dataclasses
import functools
import os
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments import launch
from experiments.config import Training, load_data, make_recipe
from experiments.config import options as parse_options

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.diagnose import LayerStatistics
    from cnnlab.models import Network
    from cnnlab.models.init import Init

# What result.json holds of each layer, of the fields of LayerStatistics and its Values.
_KERNEL = ("kernel_std", "gradient_std", "kernel_gradient_std", "gradient_to_weight")
_VALUES = ("mean", "std", "zeros", "dead", "saturated")


@dataclasses.dataclass(frozen=True)
class Config:
    """Which initialisations to compare, of which network, on what."""

    lecture: bool = True
    """Whether to begin with the lecture's two settings: 10 x 500 tanh and 7 x 4096 ReLU."""
    inits: tuple[str, ...] = (
        "constant",
        "gaussian:std=0.01",
        "lecun",
        "glorot",
        "he",
        "orthogonal:gain=1.414",
        "random_walk",
        "lsuv",
        "data",
    )
    """Initialisations of the model: NAME or NAME:OPTION=VALUE,OPTION=VALUE."""
    model: str = "mlp"
    """The network, any that experiments.train knows."""
    model_options: tuple[str, ...] = ("widths=(100,100,100,100,100,100,100,100,100,100)",)
    """Further settings of the model, such as widths=(256,128) or norm=none."""
    dataset: str = "digits"
    """What it is shown and learns: any that experiments.train knows."""
    data_dir: pathlib.Path | None = None
    """Where the data set's files are. Nothing is downloaded."""
    per_class: int | None = None
    """Train on so many images a class only."""
    examples: int = 256
    """How many training images the statistics are taken of."""

    epochs: int = 15
    """How long each network then trains; 0 for not at all."""
    batch_size: int = 64
    """Images in an update."""
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "sgd"
    """The update rule, the same for all."""
    learning_rate: float = 0.01
    """Constant, and the same for all."""

    seeds: int = 5
    """How many networks of each initialisation."""
    seed: int = 0
    """The first seed."""
    runs: pathlib.Path = pathlib.Path("runs")
    """Where a numbered run directory is made."""
    run_dir: pathlib.Path | None = None
    """The run directory itself, instead; it must not exist."""
    quiet: bool = False
    """Show nothing but the result."""

    @property
    def training(self) -> Training:
        """The settings in the form that data and recipe are made from."""
        return Training(
            dataset=self.dataset,
            data_dir=self.data_dir,
            per_class=self.per_class,
            model=self.model,
            model_options=self.model_options,
            epochs=max(self.epochs, 1),
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            schedule="constant",
            warmup_epochs=0.0,
            weight_decay=0.0,
            crop=0,
            seeds=self.seeds,
            seed=self.seed,
        )


def run(config: Config) -> dict[str, Any]:
    """Measures, trains, draws, and writes the run directory.

    Returns:
      What result.json holds: ``layers`` (setting -> initialisation -> statistics of each layer, as
      ``over_seeds`` gives them), ``learning`` (initialisation -> curves, last values, epochs to
      90 % training accuracy, whether it diverged, distinct units), the config and the environment.

    Raises:
      ValueError: for settings that cannot be, with what can.
    """
    from cnnlab.train.environment import environment
    from cnnlab.train.records import write_json
    from cnnlab.train.run import numbered

    began = time.perf_counter()
    say = (lambda text: None) if config.quiet else print
    inits = {text: parse_init(text) for text in config.inits}
    splits = load_data(config.training)
    recipe = make_recipe(config.training, splits.train)
    name = f"init_study-{config.dataset}-{config.model}".replace("/", "-").replace(":", "-")
    if config.run_dir is not None:
        config.run_dir.mkdir(parents=True)
    folder = config.run_dir or numbered(config.runs, name)
    (folder / "figures").mkdir()

    layers = {}
    if config.lecture:
        for setting in lecture_settings():
            layers[setting.name] = setting.study(config.training.all_seeds, folder, say)
    title = f"{config.model} on {config.dataset}"
    measured = Setting(title, recipe.network, inits, *_shown(config, recipe, splits.train))
    layers[title] = measured.study(config.training.all_seeds, folder, say)
    learning = {}
    if config.epochs:
        for label, init in inits.items():
            learning[label] = learn(config, dataclasses.replace(recipe, init=init), splits)
            say(_learnt(label, learning[label]))
        _draw_learning(learning, folder, title)
    project = pathlib.Path(__file__).resolve().parent
    result = {
        "experiment": "init_study",
        "dataset": config.dataset,
        "data": splits.notes,
        "model": config.model,
        "seeds": config.training.all_seeds,
        "layers": layers,
        "learning": learning,
        "seconds": round(time.perf_counter() - began, 1),
        "config": dataclasses.asdict(config),
        "environment": environment(project, os.environ.get("XLA_FLAGS")),
        "run_dir": str(folder),
    }
    write_json(folder / "result.json", result)
    say(f"see {folder}")
    return result


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
    """A network, the initialisations to compare, and what it is shown."""

    name: str
    network: "Network"
    inits: "dict[str, Init]"
    images: Any  # (key, count) -> float32 [count, H, W, C]
    labels: Any  # int32 [N] of the N images that are measured
    wide: bool = False  # drawing the weights takes longer than compiling how

    def study(self, seeds: Sequence[int], folder: pathlib.Path, say: Any) -> dict[str, Any]:
        """The statistics of each initialisation over the seeds, drawn into ``folder``."""
        import jax

        from cnnlab.diagnose import activations
        from cnnlab.keys import run_key, stream_key
        from cnnlab.mesh import run_once_options
        from cnnlab.report import init_figures

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
                variables = draw(stream_key(run_key(seed), "init"), self.images(key, init.examples))
                images = self.images(key, len(self.labels))
                found[label].append(jax.device_get(measure(variables, images)))
            stds = [f"{float(layer.reads.std):.3g}" for layer in found[label][0]]
            say(f"{self.name}, {label}: std of what each layer reads: {' '.join(stds)}")
        init_figures.layers(found, folder / "figures", self.name)
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
        return Setting(
            f"{depth} x {width} {activation}",
            network,
            {text: parse_init(text) for text in inits},
            lambda key, count: jax.random.normal(key, (count, 1, width, 1)),
            np.arange(examples, dtype=np.int32) % 10,
            wide=width > 1000,
        )

    small = ["gaussian:std=0.01", "gaussian:std=0.05"]
    return [
        setting("tanh", 10, 500, 1000, [*small, "glorot", "he"]),
        setting("relu", 7, 4096, 16, [*small, "glorot", "he"]),
    ]


def learn(config: Config, recipe: Any, splits: Any) -> dict[str, Any]:
    """Trains a network for each seed, and says how fast it learnt and how many units differ."""
    import numpy as np

    from cnnlab.diagnose import hidden_units
    from cnnlab.report.statistics import over_seeds
    from cnnlab.train import DivergedError, fit, member

    curves: dict[str, list[list[float]]] = {}
    diverged, states, seeds = None, None, config.training.all_seeds
    epochs = fit(
        recipe,
        splits.train,
        splits.validation,
        epochs=config.epochs,
        batch_size=config.batch_size,
        seeds=seeds,
    )
    try:
        for at in epochs:
            states = at.states
            for name, value in (at.metrics or {}).items():
                if name != "learning_rate":
                    curves.setdefault(name, []).append(np.asarray(value).tolist())
    except DivergedError as error:
        diverged = {"step": error.step, "seeds": error.seeds}
    if states is None:
        return {"curves": {}, "last": None, "diverged": diverged}
    units = [hidden_units(recipe.network, member(states, i).params) for i in range(len(seeds))]
    return {
        "curves": curves,
        "last": {name: over_seeds(values[-1]) for name, values in curves.items()},
        "epochs_to_90": _epochs_to(0.9, np.array(curves["train/accuracy"])),
        "diverged": diverged,
        "distinct_units": _distinct(units),
    }


def _epochs_to(accuracy: float, curve: "np.ndarray") -> list[int | None]:
    """The first epoch in which each seed reached an accuracy, of a curve [E, S]; None if never."""
    reached = curve >= accuracy
    return [int(each.argmax()) + 1 if each.any() else None for each in reached.T]


def _distinct(units: list[dict[str, list[int]]]) -> dict[str, Any] | None:
    """The fraction of the hidden units that differ, of ``hidden_units`` for each seed."""
    from cnnlab.report.statistics import over_seeds

    if not units[0]:
        return None
    counts = [[sum(column) for column in zip(*each.values(), strict=True)] for each in units]
    fraction = over_seeds([distinct / total for distinct, total in counts])
    return {"fraction": fraction, "first_seed": units[0]}


def _shown(config: Config, recipe: Any, train: Any) -> tuple[Any, Any]:
    """Training images, prepared as in training, for any count of them; and labels to measure by.

    They are spread evenly over the data set, as those are that a training starts from.
    """
    import jax
    import numpy as np

    def chosen(count: int) -> Any:
        return np.linspace(0, len(train) - 1, count).astype(np.int64)

    def images(key: Any, count: int) -> Any:
        del key  # the same for every seed
        return recipe.prepare(jax.random.key(0), np.asarray(train.images[chosen(count)]))

    return images, np.asarray(train.labels)[chosen(min(config.examples, len(train)))]


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


def _draw_learning(learning: dict[str, Any], folder: pathlib.Path, title: str) -> None:
    from cnnlab.report import init_figures

    names = {"train/loss": "training loss", "validation/accuracy": "validation accuracy"}
    panels = {
        text: {label: found["curves"].get(key, []) for label, found in learning.items()}
        for key, text in names.items()
    }
    notes = {
        label: f"diverged at step {found['diverged']['step']}"
        for label, found in learning.items()
        if found["diverged"]
    }
    path = folder / "figures" / "learning.png"
    init_figures.learning(panels, path, notes=notes, title=title)


def _learnt(label: str, found: dict[str, Any]) -> str:
    from cnnlab.report.statistics import percent

    if found["diverged"]:
        return f"{label}: diverged at step {found['diverged']['step']}"
    last, text = found["last"], ""
    if found["distinct_units"]:
        fraction = found["distinct_units"]["fraction"]["mean"]
        text = f", {100 * fraction:.3g} % of the hidden units distinct"
    return (
        f"{label}: training loss {last['train/loss']['mean']:.4g}, validation accuracy "
        f"{percent(last['validation/accuracy'])}{text}"
    )


def main() -> None:
    """The command line."""
    launch.prepare()
    with launch.speaking_plainly("experiments.init_study"):
        run(tyro.cli(Config, args=sys.argv[1:], description=__doc__))


if __name__ == "__main__":
    main()
