"""One training: data, recipe, epochs, the scores on the test part."""

import contextlib
from collections.abc import Mapping
from typing import Any

from cnnlab.report import figures
from cnnlab.report.statistics import over_seeds
from cnnlab.run_directory import METRICS
from cnnlab.studies import build, study
from cnnlab.train import check_fits, evaluate
from cnnlab.train.records import read_metrics

from ..cli import host
from .config import Config
from .summary import summary_lines


def run(config: Config) -> dict[str, Any]:
    """Trains the networks of all seeds, and writes the run directory.

    Returns:
      The content of result.json: the scores on the test part (mean, standard error and every
      seed's), the best epoch on the validation part, the run directory and the seconds of training.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      Interrupted: after SIGTERM or Ctrl-C; the run is saved.
      DivergedError: where the loss became NaN or infinite.
    """
    with study.open(config, host()) as s:
        config = s.config
        splits = s.load_data()
        recipe = build.make_recipe(config, splits.train)
        if config.resume is None:
            check_fits(recipe, splits.train)
        keep_steps = build.kept_steps(config, splits.train)
        s.begin(f"{config.data_name}-{config.model_name}", splits.notes, keep_steps=keep_steps)
        try:
            for epoch in s.fit(recipe, splits.train, splits.validation):
                s.show(epoch)
        except BaseException:
            with contextlib.suppress(Exception):  # the error that ended the run is what matters
                _draw(s)
            raise
        _draw(s)
        step, states = s.load(recipe, splits.train)
        test = evaluate(recipe, states, splits.test, mesh=s.mesh())
        about: Mapping[str, Any] = {
            "model": config.model_name,
            "test": {name: over_seeds(values) for name, values in test.items()},
            "step": step,
            "best_step": s.run.checkpoints.best_step(),
            "seconds": round(s.run.seconds, 1),
        }
        return s.finish(about, summary=summary_lines)


def _draw(s: study.Study[Config]) -> None:
    """Draws the curves of all epochs so far."""
    metrics = s.directory / METRICS
    if metrics.exists() and (records := read_metrics(metrics)):
        title = f"{s.config.model_name} on {s.config.data_name}"
        s.save_figure("curves", lambda: figures.curves(records, title=title))
