"""A network pruned in rounds and smaller ones, trained one after the other and compared."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnnlab import losses
from cnnlab.data import Splits
from cnnlab.studies import build, study
from cnnlab.studies.settings import drop_default_model_options
from cnnlab.train import check_fits
from cnnlab.transfer import pruning

from ..cli import host
from . import figures
from .claims import compare, compare_with_dense, smallest_kept
from .config import Config, check
from .summary import METHODS, point_line, summary_lines
from .training import all_sparsities, train_all


def run(config: Config) -> dict[str, Any]:
    """Trains one after the other, and writes the run directory.

    Returns:
      The content of result.json: ``points`` (for each network the method, the parameters that are
      left, the epochs that it cost in all, the test accuracy and its difference from the dense
      one's), ``claims`` and ``kept``, as ``smallest_kept`` gives it.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    with study.open(drop_default_model_options(config), host()) as s:
        config = s.config
        check(config)
        splits = s.load_data(config)
        _check_trainings(config, splits)
        s.begin(f"redundancy-{config.data_name}", splits.notes)
        trained = []
        for networks in train_all(s, splits):
            trained.append(networks.point)
            s.say(point_line(networks.point))
        points = compare_with_dense(trained)
        s.save_figure("redundancy", lambda: _draw(config, points))
        about = {
            "model": config.model_name,
            "points": points,
            "kept": smallest_kept(points, config.margin),
            "seconds": round(sum(each["seconds"] for each in points), 1),
        }
        return s.finish(about, compare(points), summary_lines)


def _check_trainings(config: Config, splits: Splits) -> None:
    """Refuses invalid trainings before anything is written."""
    pruning.scale_pruning_rate(all_sparsities(config), config.head_factor)
    losses.distillation(config.temperature, config.teacher_weight)
    for each in (config, *config.small_networks().values()):
        check_fits(build.make_recipe(each, splits.train), splits.train)


def _draw(config: Config, points: Sequence[Mapping[str, Any]]) -> Any:
    def networks(method: str) -> dict[str, list[Any]]:
        own = [each for each in points if each["method"] == method]
        return {
            "parameters": [each["parameters"] for each in own],
            "accuracy": [each["test_accuracy"]["values"] for each in own],
        }

    methods = {label: networks(method) for method, label in METHODS.items() if method != "dense"}
    return figures.redundancy(
        {label: each for label, each in methods.items() if each["parameters"]},
        networks("dense"),
        margin=config.margin,
        title=f"{config.model_name} on {config.data_name}",
    )
