"""Layer statistics at the start, then training, of every initialisation."""

import dataclasses
import functools
from typing import Any

from cnnlab.studies import build, study

from ..cli import host
from . import figures
from .config import Config, check
from .learning import curve_panels, learn
from .measurement import lecture_settings, measure, model_setting, parse_init
from .summary import learning_line, summary_lines


def run(config: Config) -> dict[str, Any]:
    """Measures, trains, draws, and writes the run directory.

    Returns:
      The content of result.json: ``layers`` (setting -> initialisation -> statistics of each layer,
      as ``over_seeds`` gives them) and ``learning`` (initialisation -> curves, last values, epochs
      to 90 % training accuracy, whether it diverged, distinct units).

    Raises:
      ValueError: for invalid settings, before anything is written; the message lists the valid
        ones.
      FileExistsError: if the run directory is there already.
      Interrupted: after SIGTERM or Ctrl-C; what was done so far is saved.
    """
    with study.open(config, host()) as s:
        config = s.config
        began = s.host.clock()
        check(config)
        inits = {text: parse_init(text) for text in config.inits}
        splits = s.load_data(config.training)
        recipe = build.make_recipe(config.training, splits.train)
        title = f"{config.model_name} on {config.data_name}"
        own = model_setting(title, recipe, inits, splits.train, config.examples)
        s.begin(f"init_study-{config.data_name}-{config.model_name}", splits.notes)
        layers = {}
        for setting in [*(lecture_settings() if config.lecture else []), own]:
            path = f"layers/{setting.name.replace('/', '-')}.json"
            layers[setting.name] = s.cached_json(path, functools.partial(measure, s, setting))
        learning = {}
        for label, init in inits.items() if config.epochs else ():
            learning[label] = learn(s, label, dataclasses.replace(recipe, init=init), splits)
            s.say(learning_line(label, learning[label]))
        if learning:
            notes = {
                label: f"diverged at step {each['diverged']['step']}"
                for label, each in learning.items()
                if each["diverged"]
            }
            panels = curve_panels(learning)
            s.save_figure("learning", lambda: figures.learning(panels, notes=notes, title=title))
        about = {
            "model": config.model_name,
            "layers": layers,
            "learning": learning,
            "seconds": round(s.host.clock() - began, 1),
        }
        return s.finish(about, summary=summary_lines)
