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
import os
import pathlib
import sys
import time
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments import launch
from experiments.config import Training, load_data, make_recipe
from experiments.init_settings import lecture_settings, model_setting, parse_init

if TYPE_CHECKING:
    import numpy as np


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
    """How many training images the statistics are taken of; all, where there are fewer."""

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
      ValueError: for settings that cannot be, with what can, before anything is written.
      FileExistsError: if the run directory is there already.
    """
    from cnnlab.train.environment import environment
    from cnnlab.train.records import write_json

    began = time.perf_counter()
    say = (lambda text: None) if config.quiet else print
    _check(config)
    seeds = config.training.all_seeds
    inits = {text: parse_init(text) for text in config.inits}
    splits = load_data(config.training)
    recipe = make_recipe(config.training, splits.train)
    title = f"{config.model} on {config.dataset}"
    measured = model_setting(title, recipe, inits, splits.train, config.examples)
    folder = _folder(config)

    layers = {}
    for setting in [*(lecture_settings() if config.lecture else []), measured]:
        layers[setting.name] = setting.study(seeds, folder, say)
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
        "seeds": seeds,
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


def _check(config: Config) -> None:
    """Refuses what no data set and no model could mend."""
    if not config.inits:
        raise ValueError(
            "inits must be at least one initialisation, got none: name some, as in he."
        )
    for name, least in (("examples", 1), ("epochs", 0)):
        if getattr(config, name) < least:
            raise ValueError(f"{name} must be at least {least}, got {getattr(config, name)}.")
    if config.run_dir is not None and os.path.lexists(config.run_dir):
        raise FileExistsError(
            f"the run directory {config.run_dir} exists already: choose another one."
        )


def _folder(config: Config) -> pathlib.Path:
    """Makes the run directory."""
    from cnnlab.train.run import numbered

    name = f"init_study-{config.dataset}-{config.model}".replace("/", "-").replace(":", "-")
    if config.run_dir is not None:
        config.run_dir.mkdir(parents=True)
    folder = config.run_dir or numbered(config.runs, name)
    (folder / "figures").mkdir()
    return folder


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


def _draw_learning(learning: dict[str, Any], folder: pathlib.Path, title: str) -> None:
    from cnnlab.report import drawing, init_figures

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
    figure = init_figures.learning(panels, notes=notes, title=title)
    drawing.save(figure, folder / "figures" / "learning.png")


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
