"""Plain and residual networks of several depths, trained one after the other and compared."""

from collections.abc import Mapping
from typing import Any

from cnnlab.studies import build, study

from ..cli import host
from . import figures
from .claims import compare
from .config import MODELS, Config
from .summary import network_line, network_summary, summary_lines
from .training import train_or_read

Errors = Mapping[tuple[str, int], Mapping[str, Any]]


def run(config: Config) -> dict[str, Any]:
    """Trains the architectures one after the other, and writes the run directory.

    Returns:
      The content of result.json: ``architectures`` (name -> the errors of the trained networks on
      the training images, without augmentation, and the test part) and ``claims``.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    with study.open(config, host()) as s:
        splits = s.load_data()
        architectures = s.config.architectures()
        for each in architectures.values():
            build.make_recipe(each, splits.train)  # refuses, before anything is written
        s.begin(f"depth-{s.config.data_name}", splits.notes)
        s.say("watched after each epoch, and nothing is chosen by it: the test part")
        errors = {}
        for place, each in architectures.items():
            s.say(f"\n{each.model}, {each.seeds} seeds:")
            errors[place] = train_or_read(s, each, each.model, splits)
            s.say(network_line(each.model, errors[place]))
        s.save_figure("curves", lambda: _curves(s.config, errors))
        about = {
            "architectures": {
                each.model: network_summary(*place, errors[place])
                for place, each in architectures.items()
            },
            "seconds": round(sum(each["seconds"] for each in errors.values()), 1),
        }
        return s.finish(about, compare(errors), summary_lines)


def _curves(config: Config, errors: Errors) -> Any:
    panels: dict[str, dict[str, Any]] = {kind: {} for kind in MODELS}
    for (kind, depth), each in errors.items():
        note = f", {len(each['diverged'])} diverged" if each["diverged"] else ""
        panels[kind][f"{depth} layers{note}"] = each["curves"]
    return figures.errors(panels, title=f"{config.data_name}, width {config.width}")
