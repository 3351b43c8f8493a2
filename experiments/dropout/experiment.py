"""One training for each rate, and the differences from the first."""

import dataclasses
from typing import Any

from cnnlab.report import drawing, plots
from cnnlab.report.statistics import over_seeds, paired
from cnnlab.studies import build, study
from cnnlab.studies.claims import Claim
from cnnlab.train import check_fits, evaluate

from ..cli import host
from .config import Config


def run(config: Config) -> dict[str, Any]:
    """Trains with each rate, and writes the run directory."""
    with study.open(config, host()) as s:
        splits = s.load_data()
        options = {r: (*s.config.model_options, f"dropout={r}") for r in s.config.rates}
        configs = {r: dataclasses.replace(s.config, model_options=o) for r, o in options.items()}
        recipes = {rate: build.make_recipe(c, splits.train) for rate, c in configs.items()}
        for recipe in recipes.values():
            check_fits(recipe, splits.train)
        s.begin(f"dropout-{s.config.data_name}", splits.notes)
        accuracy = {}
        for rate, recipe in recipes.items():
            data = (splits.train, splits.validation)
            trained = s.train(f"rate-{rate:g}", recipe, *data, config=configs[rate])
            accuracy[f"{rate:g}"] = evaluate(recipe, trained.states, splits.test)["accuracy"]
        s.save_figure("accuracy", lambda: draw(accuracy))
        (first, baseline), *others = accuracy.items()
        claims = [
            Claim(f"dropout {r} beats {first}", f"accuracy: {r} - {first}", paired(a, baseline))
            for r, a in others
        ]
        means = {rate: over_seeds(values) for rate, values in accuracy.items()}
        return s.finish({"model": s.config.model_name, "accuracy by rate": means}, claims)


def draw(accuracy: dict[str, Any]) -> Any:
    """Draws a dot with its interval for each rate."""
    figure, [[axes]] = drawing.figure(size=(7, 3), title="Dropout at several rates")
    plots.dots(axes, [plots.mean_dot(rate, each, scale=100) for rate, each in accuracy.items()])
    drawing.set_labels(axes, x="test accuracy (%), mean and 95 % interval", y="rate")
    return figure
