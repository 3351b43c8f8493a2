"""A trained network, tuned by one recipe after the other, and compared with scratch."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from cnnlab.studies import build, provenance, study
from cnnlab.studies.fine_tuning import FrontCache
from cnnlab.studies.saved_networks import FOLDER

from ..cli import host
from . import figures, recommendation, source
from .claims import compare
from .config import Config
from .recommendation import Similarity
from .summary import summary_lines
from .tuning import Transfer, tune_by_recipe


def run(config: Config) -> dict[str, Any]:
    """Trains by one recipe after the other, and writes the run directory.

    Returns:
      The content of result.json: ``origin``; ``recipes`` (name -> test accuracy, seconds, what was
      cached …); ``recommended`` with its reason, where it was asked for; and ``claims``.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      SurgeryError: if the network does not fit the images.
      ResumeError: if there is no finished run to begin from, none to resume, or a resume would go
        on from other weights.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    with study.open(config, host()) as s:
        s.config = config = source.resolve_defaults(s.config)
        splits = s.load_data()
        network = source.load_pretrained(config, splits)
        seconds = 0.0
        if network is None:
            data = s.load_data(source.source_config(config)).train
            recipe = build.make_recipe(source.source_config(config), data)
            own = source.with_model(config, config.model, config.model_options)
            shapes = source.variable_shapes(recipe, data)
            report = source.check_transfer(own, shapes, data.image_shape[2], splits)
            s.begin(f"finetune-{config.data_name}", splits.notes)
            network, seconds = source.train_source(s, config)
        else:
            if config.from_run is not None:
                provenance.check_history_unseen(config.from_run, splits.test, s.say)
            own = source.with_model(config, network.model, network.model_options)
            report = source.check_transfer(own, network.variables, network.channels, splits)
            source.with_normalization(own, network, splits.train)
            s.begin(f"finetune-{config.data_name}", splits.notes)
        source.check_same_weights(s, network)
        s.say(f"from {network.name} to {', '.join(splits.train.class_names)}")
        for each in (network.report, report):
            if each is not None:
                s.say(str(each))
        s.say(f"{len(splits.train)} images to train on, {len(splits.test)} to test on")
        transfer = Transfer(own, network, splits, FrontCache())
        names, recommended, similarity = _recipes(s, transfer)
        _note_squeezenet(s, transfer)
        recipes = {name: tune_by_recipe(s, transfer, name) for name in names}
        values = {name: _accuracies(each) for name, each in recipes.items()}
        s.save_figure("recipes", lambda: _draw(transfer, recipes, values, similarity))
        claims = compare({name: recipes[name] | {"test_accuracy": values[name]} for name in names})
        about = {
            "images": {"train": len(splits.train), "test": len(splits.test)},
            "classes": splits.train.class_names,
            "model": network.model,
            "origin": network.name,
            "loaded": None if network.report is None else str(network.report).splitlines(),
            "surgery": {**dataclasses.asdict(report), "copied": len(report.copied)},
            "recipes": recipes,
            "recommended": recommended,
            "seconds": round(seconds + sum(each["seconds"] or 0 for each in recipes.values()), 1),
            "claims": [],
        }
        result = s.finish(about, claims, summary_lines)
        saved = [name for name in names if not recipes[name]["diverged"]]
        if saved:
            folder = s.directory / FOLDER / saved[0]
            s.host.say(f"and go on with its networks:  python -m experiments.evaluate {folder}")
        return result


def _recipes(
    s: study.Study[Config], transfer: Transfer
) -> tuple[list[str], dict[str, Any] | None, Similarity | None]:
    """The recipes, each once; and the recommended one, where it was asked for."""
    config, train = transfer.config, transfer.splits.train
    if "recommended" not in config.recipes:
        return list(dict.fromkeys(config.recipes)), None, None
    own, seen = source.with_normalization(config, transfer.network, train)
    similarity = recommendation.measure(
        transfer.network,
        train,
        build.make_recipe(own, seen).prepare,
        seed=config.seed,
        channels=config.channels,
    )
    advice = recommendation.recommend(len(train), train.num_classes, similarity, config.little)
    s.say(f"\nrecommended: {advice.recipe}. {advice.reason}")
    names = [advice.recipe if name == "recommended" else name for name in config.recipes]
    about = {**advice._asdict(), "similarity": recommendation.similarity_fields(similarity)}
    return list(dict.fromkeys(names)), about, similarity


def _note_squeezenet(s: study.Study[Config], transfer: Transfer) -> None:
    if transfer.network.model == "squeezenet" and not transfer.config.head_options:
        s.say(
            "note: SqueezeNet has a ReLU after its last convolution, and a class whose logits it "
            "cuts off learns no more: --head-options head_activation=identity leaves it out."
        )


def _accuracies(recipe: Mapping[str, Any]) -> list[float] | None:
    return None if recipe["diverged"] else recipe["test_accuracy"]["values"]


def _draw(
    transfer: Transfer,
    recipes: Mapping[str, Mapping[str, Any]],
    accuracy: Mapping[str, list[float] | None],
    similarity: Similarity | None,
) -> Any:
    train = transfer.splits.train
    notes = {
        name: "diverged"
        if each["diverged"]
        else f"{each['parameters']:,} learn, {each['seconds']:.0f} s"
        for name, each in recipes.items()
    }
    probes = None
    if similarity is not None:
        probes = {"trained": similarity.trained, "fresh weights": similarity.fresh}
    title = f"{transfer.network.name}, tuned to {len(train)} images of {train.num_classes} classes"
    return figures.recipes(
        accuracy, chance=1 / train.num_classes, probes=probes, notes=notes, title=title
    )
