"""The shallow network, then the deep one from every start, compared."""

from typing import Any

from cnnlab.studies import study

from ..cli import host
from . import figures
from .claims import compare
from .config import GROWN, METHODS, Config, check, resolve_defaults
from .summary import point_line, summarize_method, summary_lines
from .training import check_networks, grow, guessing_error, train


def run(config: Config) -> dict[str, Any]:
    """Trains one network after the other, and writes the run directory.

    Returns:
      The content of result.json: ``shallow`` and ``points`` (the errors on the training images and
      the test part, of how many seeds that ``started``; of grown ones the test error ``before``,
      with which the deep network begins) and ``claims``.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      DivergedError: if a network diverges; a lower learning rate or ``--clip`` helps.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    with study.open(config, host()) as s:
        config = resolve_defaults(s.config)
        check(config)
        splits = s.load_data(config)
        check_networks(config, splits.train)
        s.begin(f"deepening-{config.data_name}", splits.notes)
        s.say("watched after each epoch, and nothing is chosen by it: images of the test part")
        guessing = guessing_error(splits.train.labels)
        shallow = small = None
        if set(config.methods) & set(GROWN):
            shallow = train(s, config, "shallow", splits)
            small = summarize_method("shallow", shallow, guessing)
        points, curves = [], {}
        for method in config.methods:
            if shallow is not None and method in GROWN:
                errors = grow(s, config, method, shallow, splits)
            else:
                errors = train(s, config, method, splits)
            points.append(summarize_method(method, errors, guessing))
            curves[METHODS[method]] = errors.curves
            s.say(point_line(points[-1]))
        s.save_figure(
            "curves",
            lambda: figures.growth(
                curves,
                grown_at=config.shallow_epochs,
                guessing=guessing,
                watched=config.watched if config.watched < len(splits.test) else None,
                title=f"{config.networks} on {config.data_name}, std {config.std:g}",
            ),
        )
        trainings = points if small is None else [*points, small]
        about = {
            "model": config.networks,
            "guessing": guessing,
            "shallow": small,
            "points": points,
            "seconds": round(sum(each["seconds"] for each in trainings), 1),
        }
        return s.finish(about, compare(points, guessing, config.margin), summary_lines)
