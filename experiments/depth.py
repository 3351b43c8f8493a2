"""Plain against residual networks, shallow against deep (He et al., CVPR 2016, section 4.2).

Claim: a plain network gets worse with depth, on the training images too, so it is no overfitting;
with shortcuts around every two layers the deeper network is the better one.
Published: CIFAR-10, test error of ResNet-20/32/44/56/110 8.75/7.51/7.17/6.97/6.43 %; plain nets of
20 to 56 layers get worse with depth on both parts (figures 1 and 6, table 6).
Measured: see results/depth-*.json (written by this module).

    python -m experiments.depth
    python -m experiments.depth --dataset cifar10 --data-dir DIR --width 16 --epochs 160 \
        --batch-size 128 --flip --crop 4
    python -m experiments.depth --resume runs/depth-digits-1

All networks have the same settings, and a seed gives them the same order of the images. The test
part is looked at after each epoch, to draw it; nothing is chosen by it. A network that diverges
counts as guessing. Each architecture's folder in the run directory is a run of experiments.train.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments.config import load_data, make_recipe
from experiments.parts import Whole, open_whole, train_part
from experiments.resuming import command_line, resumed
from experiments.train import Config as TrainConfig

if TYPE_CHECKING:
    from cnnlab.data import Splits

_DEPTHS = (8, 20, 32, 44, 56, 110)
_MODELS = {"plain": "plain", "residual": "resnet"}


@dataclasses.dataclass(frozen=True)
class Config(TrainConfig):
    """Train plain and residual networks of several depths, and compare them."""

    depths: tuple[int, ...] = (20, 56)
    """Weighted layers, of 8, 20, 32, 44, 56, 110; the smallest is compared with the largest."""
    width: int = 8
    """Maps of the first stage; 16 in the paper."""

    # The paper's settings, but for the length; no part of the training images is held out.
    epochs: int = 20
    batch_size: int = 64
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "sgd"
    schedule: Literal["constant", "step", "cosine"] = "step"
    weight_decay: float = 1e-4
    seeds: int = 5
    model: tyro.conf.Suppress[str] = ""
    model_options: tyro.conf.Suppress[tuple[str, ...]] = ()
    validation: tyro.conf.Suppress[float | int | None] = None

    def architectures(self) -> dict[tuple[str, int], "Config"]:
        """(kind, depth) -> the config that trains this one; shallow ones first."""
        depths = sorted(set(self.depths))
        if len(depths) < 2 or not set(depths) <= set(_DEPTHS):
            known = ", ".join(map(str, _DEPTHS))
            raise ValueError(f"depths must be at least two of {known}, got {self.depths}.")
        options = (f"width={self.width}",)
        return {
            (kind, depth): dataclasses.replace(
                self, model=f"{prefix}{depth}", model_options=options, resume=None
            )
            for depth, (kind, prefix) in itertools.product(depths, _MODELS.items())
        }


def run(config: Config) -> dict[str, Any]:
    """Trains the architectures one after the other, and writes the run directory.

    Returns:
      What result.json holds: ``architectures`` (name -> the errors of the trained networks on the
      training images, without augmentation, and the test part) and ``claims``, as ``compare``
      gives them.

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    if config.resume is not None:
        config = resumed(config)
    splits = load_data(config)
    for each in config.architectures().values():  # refuses, before anything is written
        make_recipe(each, splits.train)
    whole = open_whole(config, f"depth-{config.dataset}")
    say = (lambda text: None) if config.quiet else print
    say(f"{splits.notes}\nrun directory: {whole.directory}")
    say("shown as validation, but nothing is chosen by it: the test part after each epoch")
    found = {}
    for place, each in config.architectures().items():
        say(f"\n{each.model}, {config.seeds} seeds:")
        found[place] = train_or_read(each, whole, each.model, splits)
        say(_line(each.model, found[place]))
    _draw(config, found, whole.directory)
    claims = compare(found)
    about = {
        "architectures": {
            each.model: _summary(*place, found[place])
            for place, each in config.architectures().items()
        },
        "claims": claims,
        "seconds": round(sum(each["seconds"] for each in found.values()), 1),
    }
    result = whole.finish("depth", config, splits.notes, about)
    say("\n".join(["", *_claim_lines(claims), f"see {whole.directory}"]))
    return result


# Training ------------------------------------------------------------------------------------


def train_or_read(config: TrainConfig, whole: Whole, name: str, splits: "Splits") -> dict[str, Any]:
    """The errors of one architecture, trained now or, where it is finished, before.

    If a seed diverges, each is trained alone: the others do not suffer from it.

    Returns:
      ``errors`` ("train", "test" -> [M], at the end), ``curves`` (the same -> [E][M], those of the
      training with augmentation, while it went on), ``diverged`` (seeds) and ``seconds``.
    """
    from cnnlab.train import DivergedError, records
    from cnnlab.train.run import RESULT

    kept = whole.directory / name / RESULT
    if kept.is_file():
        return records.read_json(kept)
    try:
        found = _train(config, whole, name, splits)
    except DivergedError as error:
        print(f"{config.model}, seeds {', '.join(map(str, config.all_seeds))}: {error}")
        if config.seeds == 1:
            found = _guessing(config, splits.train.num_classes)
        else:
            alone = [dataclasses.replace(config, seed=s, seeds=1) for s in config.all_seeds]
            parts = [train_or_read(s, whole, f"{name}-seed{s.seed}", splits) for s in alone]
            found = _together(parts)
    records.write_json(kept, found)
    return found


def _train(config: TrainConfig, whole: Whole, name: str, splits: "Splits") -> dict[str, Any]:
    from cnnlab.train import evaluate, records

    recipe = make_recipe(config, splits.train)
    part = train_part(config, whole, name, recipe, splits.train, splits.test)
    trained = evaluate(recipe, part.states, splits.train)
    lines = records.read_metrics(whole.directory / name / records.METRICS_FILE)
    curves = {
        part: [_errors(line[f"{name}/accuracy"]) for line in lines if "epoch" in line]
        for part, name in (("train", "train"), ("test", "validation"))
    }
    return {
        "errors": {"train": (1 - trained["accuracy"]).tolist(), "test": curves["test"][-1]},
        "curves": curves,
        "diverged": [],
        "seconds": part.seconds,
    }


def _errors(accuracy: float | list[float]) -> list[float]:
    return [1 - each for each in (accuracy if isinstance(accuracy, list) else [accuracy])]


def _guessing(config: TrainConfig, classes: int) -> dict[str, Any]:
    """What a network that diverged counts as."""
    chance = 1 - 1 / classes
    parts = ("train", "test")
    return {
        "errors": {part: [chance] for part in parts},
        "curves": {part: [[chance]] * config.epochs for part in parts},
        "diverged": [config.seed],
        "seconds": 0.0,
    }


def _together(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What networks trained one by one would have been together."""

    def joined(rows: Sequence[list[float]]) -> list[float]:
        return list(itertools.chain.from_iterable(rows))

    return {
        "errors": {name: joined([p["errors"][name] for p in parts]) for name in ("train", "test")},
        "curves": {
            name: [joined(rows) for rows in zip(*(p["curves"][name] for p in parts), strict=True)]
            for name in ("train", "test")
        },
        "diverged": joined([p["diverged"] for p in parts]),
        "seconds": sum(p["seconds"] for p in parts),
    }


# Comparison ----------------------------------------------------------------------------------


def compare(found: Mapping[tuple[str, int], Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the errors say about the claims.

    Args:
      found: (kind, depth) -> ``errors`` of the seeds, "train" and "test".

    Returns:
      claim -> "train", "test" -> a difference of errors, as ``paired`` gives it, that the claim
      says is positive (``difference`` names it), and ``verdict``: "reproduced" if the whole 95 %
      interval is.
    """
    import numpy as np

    from cnnlab.report.statistics import paired, verdict

    shallow, deep = min(depth for _, depth in found), max(depth for _, depth in found)
    lost, gained = f"plain{deep} - plain{shallow}", f"resnet{shallow} - resnet{deep}"
    claims: dict[str, dict[str, Any]] = {}
    for part in ("train", "test"):
        error = {place: np.asarray(each["errors"][part]) for place, each in found.items()}
        plain_deep, plain_shallow = error["plain", deep], error["plain", shallow]
        deep_net, shallow_net = error["residual", deep], error["residual", shallow]
        harm = "depth does a plain network more harm than a residual one"
        for claim, difference, ours, theirs in (
            ("a plain network gets worse with depth", lost, plain_deep, plain_shallow),
            ("a residual network gets better with depth", gained, shallow_net, deep_net),
            (harm, f"({lost}) + ({gained})", plain_deep - plain_shallow, deep_net - shallow_net),
            (
                f"at {deep} layers shortcuts help",
                f"plain{deep} - resnet{deep}",
                plain_deep,
                deep_net,
            ),
        ):
            figure = paired(ours, theirs)
            claims.setdefault(claim, {"difference": difference})[part] = {
                **figure,
                "verdict": verdict(figure["interval"]),
            }
    return claims


# What is said and drawn ----------------------------------------------------------------------


def _summary(kind: str, depth: int, found: Mapping[str, Any]) -> dict[str, Any]:
    from cnnlab.report.statistics import over_seeds

    return {
        "kind": kind,
        "depth": depth,
        **{f"{part}_error": over_seeds(values) for part, values in found["errors"].items()},
        "diverged": found["diverged"],
        "seconds": round(found["seconds"], 1),
    }


def _line(model: str, found: Mapping[str, Any]) -> str:
    from cnnlab.report.statistics import over_seeds, percent

    train, test = (percent(over_seeds(found["errors"][part])) for part in ("train", "test"))
    line = f"{model}: training error {train}, test error {test}, {found['seconds']:.0f} s"
    if found["diverged"]:
        line += f"; diverged, counted as guessing: seeds {', '.join(map(str, found['diverged']))}"
    return line


def _claim_lines(claims: Mapping[str, Mapping[str, Any]]) -> list[str]:
    from cnnlab.report.statistics import points

    names = {"train": "training", "test": "test"}
    lines = []
    for claim, parts in claims.items():
        lines.append(f"{claim}: {parts['difference']}")
        for part, name in names.items():
            figure = parts[part]
            lines.append(f"  {name} error {points(figure)}: {figure['verdict']}")
    return lines


def _draw(
    config: Config, found: Mapping[tuple[str, int], Mapping[str, Any]], folder: pathlib.Path
) -> None:
    import jax

    from cnnlab.report import depth_figures, drawing

    if jax.process_index() > 0:
        return
    panels: dict[str, dict[str, Any]] = {kind: {} for kind in _MODELS}
    for (kind, depth), each in found.items():
        note = f", {len(each['diverged'])} diverged" if each["diverged"] else ""
        panels[kind][f"{depth} layers{note}"] = each["curves"]
    title = f"{config.dataset}, width {config.width}"
    figure = depth_figures.errors(panels, title=title)
    drawing.save(figure, folder / "figures" / "curves.png")


# The command line ----------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    command_line("experiments.depth", run, Config(), __doc__)


if __name__ == "__main__":
    main()
