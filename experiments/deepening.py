"""Growing a deep network out of a shallow one (Simonyan and Zisserman, ICLR 2015, section 3.1).

Claims: a deep network without normalisation does not start to learn from small gaussian weights;
one whose layers begin as those of a shallow network, which does learn from them, goes on. From
Glorot's or He's weights it learns without being grown.
Published: configuration A (11 layers) was trained from normal weights of standard deviation 0.01,
and configurations of up to 19 layers were begun with its layers; "it is possible to initialise the
weights without pre-training by using the random initialisation procedure of Glorot and Bengio". He
et al. (ICCV 2015) found that 30 layers learn from theirs, not from Glorot's.
Measured: see results/deepening-*.json (written by this module).

    python -m experiments.deepening
    python -m experiments.deepening --dataset fashion_mnist --data-dir DIR --fraction 0.1 \
        --model-options "widths=(256,256,256)" --std 0.022 --seeds 3 \
        --deep-options "widths=(256,256,256,256,256,256,256,256)"
    python -m experiments.deepening --dataset cifar10 --data-dir DIR --std 0.02 --seeds 5 \
        --model vgg11 --deep vgg19 --model-options width=64 "hidden=(512,512)" --flip --crop 4 \
        --batch-size 128 --shallow-epochs 30 --epochs 90
    python -m experiments.deepening --resume runs/deepening-digits-1

Every network has the same epochs in all, those of the shallow one that it grew out of included
(which cost less); a seed gives them the same order of the images within a phase. Each phase has a
schedule of its own. ``unchanged`` grows by layers that do nothing yet (Chen et al., ICLR 2016).
What is too small is a matter of the widths: ``--std`` is to be chosen so that the shallow network
learns; 0.01 was for inputs of up to 255 and layers of up to 4608 inputs. New layers that are drawn
from it must be few: on digits a perceptron grown from 3 hidden layers to 12 stayed where it was.
Some of the test part is looked at after each epoch, to draw it; nothing is chosen by it. A network
counts as started if its error on the training images comes under half of that of guessing.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import tyro

from cnnlab.spelling import unknown
from experiments import teachers
from experiments.config import Training, load_data, make_recipe
from experiments.deepening_claims import GROWN, METHODS, compare, line, said
from experiments.parts import Part, Whole, fresh_states, open_whole, train_part
from experiments.resuming import command_line, resumed

if TYPE_CHECKING:
    from cnnlab.data import Dataset, Splits
    from cnnlab.train import TrainState


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Grow a deep network out of a shallow one, and compare it with others from scratch."""

    methods: tuple[str, ...] = tuple(METHODS)
    """Of grown, unchanged, gaussian, glorot and he."""
    model: str = "mlp"
    """The shallow network, such as plain8, vgg11, mlp."""
    deep: str = "mlp"
    """The deep one, of the same family."""
    model_options: tuple[str, ...] = ("widths=(64,64,64)",)
    """Further settings of both; of other models than mlp none by default."""
    deep_options: tuple[str, ...] = ("widths=(64,64,64,64,64,64)",)
    """Further settings of the deep one, in place of the same ones of both."""
    std: float = 0.05
    """Standard deviation of the small gaussian; the shallow network starts from it, too."""
    shallow_epochs: int = 10
    """How many of the epochs a grown network is shallow."""
    margin: float = 0.01
    """The accuracy that may be lost where growing is said to be of no need."""

    watched: int = 1000
    """How many images of the test part the curves are of; the errors at the end are of all."""

    # Of all phases together.
    epochs: int = 30
    batch_size: int = 50
    learning_rate: float = 0.02
    schedule: Literal["constant", "step", "cosine", "swa"] = "cosine"
    weight_decay: float = 1e-4
    clip: float | None = 1.0
    crop: int = 0
    seeds: int = 5
    init: tyro.conf.Suppress[str] = "default"
    init_options: tyro.conf.Suppress[tuple[str, ...]] = ()
    validation: tyro.conf.Suppress[float | int | None] = None
    keep_every: tyro.conf.Suppress[int | None] = None

    def phase(self, method: str) -> "Config":
        """The config of one training: "shallow", or the deep network's of a method."""
        small: dict[str, Any] = {"init": "gaussian", "init_options": (f"std={self.std}",)}
        if method == "shallow":
            return dataclasses.replace(self, **small, epochs=self.shallow_epochs)
        given = (*self.model_options, *self.deep_options)
        named: dict[str, Any] = {"model": self.deep, "model_options": given}
        if method in GROWN:
            rest = self.epochs - self.shallow_epochs
            return dataclasses.replace(self, **small, **named, epochs=rest)
        start = small if method == "gaussian" else {"init": method, "init_options": ()}
        return dataclasses.replace(self, **start, **named)


class Study(NamedTuple):
    """What all trainings of the experiment have in common."""

    config: Config
    whole: Whole
    splits: "Splits"
    say: Callable[[str], Any]


class Trained(NamedTuple):
    """A training: its states at the end, its errors [M] there and [E][M] while it went on."""

    states: "TrainState"
    errors: dict[str, list[float]]
    curves: dict[str, list[list[float]]]
    seconds: float


def run(config: Config) -> dict[str, Any]:
    """Trains one network after the other, and writes the run directory.

    Returns:
      What result.json holds: ``shallow`` and ``points`` (the errors on the training images and the
      test part, of how many seeds that ``started``; of grown ones the test error
      ``before``, with which the deep network begins) and ``claims``, as ``compare`` gives them.

    Raises:
      ValueError: for settings that cannot be, with what can.
      DivergedError: if a network diverges; a lower learning rate or ``--clip`` helps.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    if config.resume is not None:
        config = resumed(config)
    config = _own_options(config)
    splits = load_data(config)
    _check(config, splits)
    say = (lambda text: None) if config.quiet else print
    study = Study(config, open_whole(config, f"deepening-{config.dataset}"), splits, say)
    say(f"{splits.notes}\nrun directory: {study.whole.directory}")
    say("shown as validation, but nothing is chosen by it: images of the test part")
    guessing = _guessing(splits.train.labels)
    shallow = None
    if set(config.methods) & set(GROWN):
        shallow = train(study, "shallow")
    points, curves = [], {}
    for method in config.methods:
        trained, before = grow(study, method, shallow) if method in GROWN else (None, None)
        if trained is None:
            trained = train(study, method)
        points.append(_point(method, trained, guessing, before))
        curves[METHODS[method]] = trained.curves
        say(line(points[-1]))
    claims = compare(points, guessing, config.margin)
    watched = config.watched if config.watched < len(splits.test) else None
    _draw(config, curves, guessing, watched, study.whole)
    small = None if shallow is None else _point("shallow", shallow, guessing, None)
    about = {
        "model": _networks(config),
        "guessing": guessing,
        "shallow": small,
        "points": points,
        "claims": claims,
        "seconds": round(sum(each["seconds"] for each in (*points, small or {"seconds": 0})), 1),
    }
    result = study.whole.finish("deepening", config, splits.notes, about)
    print("\n".join(["", *said(result), f"see {study.whole.directory}"]))
    return result


def _own_options(config: Config) -> Config:
    """The config, where the perceptrons' default options are not taken for other networks'."""
    if config.deep != "mlp" and config.deep_options == Config.deep_options:
        config = dataclasses.replace(config, deep_options=())
    return teachers.own_options(config)


def _check(config: Config, splits: "Splits") -> None:
    """Refuses what could not be trained, before anything is written."""
    import jax

    from cnnlab.train import check_fits
    from cnnlab.train.state import state_shapes
    from cnnlab.transfer import deepening

    for method in config.methods:
        if method not in METHODS:
            raise ValueError(unknown("method of starting a deep network", method, METHODS))
    if not config.methods or len(set(config.methods)) < len(config.methods):
        raise ValueError(f"methods must be some, each given once, got {config.methods}.")
    if not 1 <= config.shallow_epochs < config.epochs:
        raise ValueError(
            f"shallow_epochs must be at least 1 and less than all {config.epochs} epochs, got "
            f"{config.shallow_epochs}."
        )
    if not 0 <= config.margin < 1:
        raise ValueError(f"the margin must be in [0, 1), 0.01 is a point, got {config.margin}.")
    if config.watched < 1:
        raise ValueError(f"watched must be at least 1 image, got {config.watched}.")
    train = splits.train
    phases = {name: make_recipe(config.phase(name), train) for name in ("shallow", *config.methods)}
    for recipe in phases.values():
        check_fits(recipe, train)
    if not set(config.methods) & set(GROWN):
        return
    shapes = {name: state_shapes(recipe, train.image_shape) for name, recipe in phases.items()}
    shallow = _variables(shapes["shallow"])
    for method in (each for each in config.methods if each in GROWN):
        deep = _variables(shapes[method])
        if not deepening.new_layers(shallow, deep):
            raise ValueError(f"{config.deep} must have more layers than {config.model}: none new.")
        if method == "unchanged":
            network = phases[method].network
            image = jax.ShapeDtypeStruct((1, *train.image_shape), "float32")
            jax.eval_shape(
                lambda *trees, network=network: deepening.deepen_with_identity(network, *trees),
                shallow,
                deep,
                image,
            )


# Training ------------------------------------------------------------------------------------


def train(study: Study, method: str, **settings: Any) -> Trained:
    """A part of the run: "shallow", or a method's deep network, from scratch or ``initial``."""
    from cnnlab.train import evaluate, records

    config = study.config.phase(method)
    splits = study.splits
    study.say(f"\n{METHODS.get(method, method)}: {config.model}, {config.seeds} seeds:")
    recipe = make_recipe(config, splits.train)
    watched = _some(splits.test, config.watched)
    part: Part = train_part(config, study.whole, method, recipe, splits.train, watched, **settings)
    errors = {
        name: (1 - evaluate(recipe, part.states, data)["accuracy"]).tolist()
        for name, data in (("train", splits.train), ("test", splits.test))
    }
    lines = records.read_metrics(study.whole.directory / method / records.METRICS_FILE)
    curves = {
        name: [_error(each[f"{key}/accuracy"]) for each in lines if "epoch" in each]
        for name, key in (("train", "train"), ("test", "validation"))
    }
    return Trained(part.states, errors, curves, part.seconds)


def grow(study: Study, method: str, shallow: Trained | None) -> tuple[Trained, list[float]]:
    """The deep network that begins with the shallow one's layers.

    Returns:
      It, with the shallow one's curves in front, and its test error before its first update, [M].
    """
    import jax
    import numpy as np
    from jax import numpy as jnp

    from cnnlab.train import evaluate
    from cnnlab.train.state import restarted
    from cnnlab.transfer import deepening

    assert shallow is not None
    config = study.config.phase(method)
    part = study.splits.train
    recipe = make_recipe(config, part)
    fresh = _variables(fresh_states(config, recipe, part, config.all_seeds))
    old = _variables(shallow.states)
    if method == "grown":
        new = deepening.deepen(old, fresh)
    else:
        some = jnp.asarray(np.asarray(part.images[:256]))
        images = recipe.prepare(jax.random.key(0), some)

        def one(old: Any, fresh: Any) -> Any:
            return deepening.deepen_with_identity(recipe.network, old, fresh, images)

        new = jax.jit(jax.vmap(one))(old, fresh)
    state = {name: value for name, value in new.items() if name != "params"}
    initial = restarted(recipe, new["params"], state)
    before = _error(evaluate(recipe, initial, study.splits.test)["accuracy"].tolist())
    found = train(study, method, initial=initial)
    curves = {name: [*shallow.curves[name], *found.curves[name]] for name in found.curves}
    return found._replace(curves=curves), before


def _some(dataset: "Dataset", count: int) -> "Dataset":
    """So many examples, evenly spread over the data set."""
    import numpy as np

    if count >= len(dataset):
        return dataset
    return dataset.take(np.linspace(0, len(dataset), count, endpoint=False).astype(int))


def _variables(states: "TrainState") -> dict[str, Any]:
    """What is grown: with a moving average, what was evaluated."""
    network = states.evaluated
    return {"params": network.params, **network.model_state}


def _error(accuracy: float | list[float]) -> list[float]:
    return [1 - each for each in (accuracy if isinstance(accuracy, list) else [accuracy])]


def _guessing(labels: Any) -> float:
    """The error of naming the largest class always."""
    import numpy as np

    return float(1 - np.bincount(labels).max() / len(labels))


# What is written down -------------------------------------------------------------------------


def _point(
    method: str, trained: Trained, guessing: float, before: list[float] | None
) -> dict[str, Any]:
    from cnnlab.report.statistics import over_seeds

    return {
        "method": method,
        "train_error": over_seeds(trained.errors["train"]),
        "test_error": over_seeds(trained.errors["test"]),
        "started": sum(error < guessing / 2 for error in trained.errors["train"]),
        "before": None if before is None else over_seeds(before),
        "seconds": round(trained.seconds, 1),
    }


def _draw(
    config: Config,
    curves: Mapping[str, Any],
    guessing: float,
    watched: int | None,
    whole: Whole,
) -> None:
    import jax

    from cnnlab.report import pretrain_figures

    if jax.process_index() > 0:
        return
    pretrain_figures.growth(
        curves,
        whole.directory / "figures" / "curves.png",
        grown_at=config.shallow_epochs,
        guessing=guessing,
        watched=watched,
        title=f"{_networks(config)} on {config.dataset}, std {config.std:g}",
    )


def _networks(config: Config) -> str:
    deep = " ".join((config.deep, *config.deep_options))
    return f"{' '.join((config.model, *config.model_options))} into {deep}"


# The command line ----------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    command_line("experiments.deepening", run, Config(), __doc__)


if __name__ == "__main__":
    main()
