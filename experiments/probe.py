"""What can be read off each stage of a network (Alain & Bengio, ICLR workshop 2017).

Claims: the deeper the stage, the better a linear classifier on its features; those of a trained
network are better than those of random weights; and the nearest neighbours of an image in features
are of its class more often than those in pixels (Krizhevsky et al., NIPS 2012, figure 4).
Published: of Inception v3 and ResNet-50 on ImageNet, the probes' accuracy rises monotonically with
depth.
Measured: see results/probe-*.json (written by this module).

    python -m experiments.probe
    python -m experiments.probe --from runs/digits-resnet8-1
    python -m experiments.probe --weights FILE.th --model resnet20 --dataset cifar10 \
        --data-dir DIR --examples 5000 --seeds 5
    python -m experiments.probe --dataset cifar10 --data-dir DIR --model resnet56 --epochs 160 \
        --batch-size 128 --flip --crop 4 --seeds 5
    python -m experiments.probe --resume runs/probe-digits-1

The control is the same network with fresh weights: those that the trained one began from, or, of a
network that is given, some seeds. It has seen no image (unless by an initialisation that looks at
some, such as LSUV): its BatchNorm has a mean of 0 and a variance of 1, as it is initialised.
Images at a stage are averaged over 4 x 4 cells. Probes learn from training images that are not
augmented, their penalty is chosen on validation images; neighbours are looked for among the
training images. The head's features are its logits. (A network that is given may have been trained
on the validation images as well: the penalty is then chosen on images that it knows.)
"""

import io
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments import probe_claims, teachers
from experiments.features import pool_of
from experiments.parts import Whole, fresh_states, open_whole, train_part
from experiments.probe_claims import PIXELS
from experiments.probe_settings import Config, Source, check, source_of
from experiments.resuming import command_line, resumed

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Dataset, Splits
    from cnnlab.train import TrainState


class Study(NamedTuple):
    """What is read off what."""

    config: Config
    whole: Whole
    splits: "Splits"
    gallery: "Dataset"
    """The training images that probes learn from and neighbours are among."""
    queries: "np.ndarray"
    """Of the test images, those in the figure."""
    last: str
    """The last stage of the network, which gives its logits."""
    say: Any


def run(config: Config) -> dict[str, Any]:
    """Trains or reads a network, reads off its stages, and writes the run directory.

    Returns:
      What result.json holds: ``points`` (accuracy by network, method and stage), ``network`` (its
      own accuracy), ``claims`` as ``probe_claims.compare`` gives them, the penalties, and the
      seconds that training and reading off took.

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; what was done so far is saved.
    """
    if config.resume is not None:
        config = resumed(config)
    source = source_of(teachers.own_options(config))
    config = source.config
    gallery = check(source)
    say = (lambda text: None) if config.quiet else print
    queries = _first_of_classes(source.splits.test, config.queries)
    whole = open_whole(config, f"probe-{config.dataset}")
    last = source.recipe.network.names[-1]
    study = Study(config, whole, source.splits, gallery, queries, last, say)
    say(f"{source.splits.notes}\nrun directory: {whole.directory}\n{source.name}")
    measured, seconds = _all_measured(study, source)
    correct = _correct(measured)
    points = probe_claims.points(correct)
    claims = probe_claims.compare(correct, config.probes[-1])
    network = _own_accuracy(measured["trained"], last)
    _draw(study, source, points, network, measured)
    about = {
        "model": config.model,
        "network": source.name,
        "examples": len(gallery),
        "accuracy": network,
        "points": points,
        "claims": claims,
        "penalties": _penalties(measured),
        "seconds": round(seconds, 1),
    }
    result = whole.finish("probe", config, source.splits.notes, about)
    print("\n".join(["", *said(result), f"see {whole.directory}"]))
    return result


def said(result: Mapping[str, Any]) -> list[str]:
    """What result.json holds, in lines: the accuracy at each stage, then the claims."""
    found = probe_claims.table(result["points"])
    return [*found, "", *probe_claims.conclusions(result["claims"])]


# Networks ------------------------------------------------------------------------------------


def _networks(study: Study, source: Source) -> "Iterator[tuple[str, TrainState, float]]":
    """The trained networks, and those with random weights ``[M, ...]``; seconds of training.

    The latter are as they are initialised, with statistics that no image has gone into.
    """
    config, train = study.config, study.splits.train
    states, seconds = source.states, 0.0
    if states is None:
        study.say(f"\ntraining, {config.seeds} seeds:")
        part = train_part(config, study.whole, "trained", source.recipe, train)
        states, seconds = part.states, part.seconds
    yield "trained", states, seconds
    yield "untrained", fresh_states(config, source.recipe, train, config.all_seeds), 0.0


# Measuring -----------------------------------------------------------------------------------


def _all_measured(
    study: Study, source: Source
) -> "tuple[dict[str, list[dict[str, np.ndarray]]], float]":
    """Network -> for each member, or for the pixels, what ``_measure`` gives; and the seconds that
    training and reading off took, over all sittings.
    """
    import jax

    from cnnlab.transfer.features import features, pixels

    assert study.splits.validation is not None
    parts: list[Dataset] = [study.gallery, study.splits.validation, study.splits.test]

    def of_pixels() -> Any:
        return [{PIXELS: pixels(part)} for part in parts]

    found = {PIXELS: [_once(study, PIXELS, of_pixels)]}
    seconds = 0.0
    for name, states, training in _networks(study, source):
        seconds += training
        found[name] = []
        for member in range(len(states.step)):
            alone = jax.tree.map(lambda leaf, at=member: leaf[at : at + 1], states)

            def of_stages(alone: Any = alone) -> Any:
                stages, pool = study.config.stages or None, pool_of(study.config.pool)
                every = [features(source.recipe, alone, part, stages, pool=pool) for part in parts]
                return [
                    {stage: array[0].reshape(array.shape[1], -1) for stage, array in each.items()}
                    for each in every
                ]

            study.say(f"reading off the {name} network {member + 1} of {len(states.step)}")
            found[name].append(_once(study, f"{name}-{member}", of_stages))
    seconds += sum(float(each.get("seconds", 0)) for every in found.values() for each in every)
    return found, seconds


def _once(study: Study, name: str, features: Any) -> "dict[str, np.ndarray]":
    """What is read off these features, or was before in this run directory."""
    import jax
    import numpy as np

    from cnnlab.train.records import write_bytes

    path = study.whole.directory / "measured" / f"{name}.npz"
    if path.is_file():
        with np.load(path) as file:
            return {key: file[key] for key in file.files}
    begin = time.perf_counter()
    found = _measure(study, *features())
    found["seconds"] = np.asarray(time.perf_counter() - begin)
    if jax.process_index() == 0:
        buffer = io.BytesIO()
        arrays: dict[str, Any] = found
        np.savez_compressed(buffer, **arrays)
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, buffer.getvalue())
    return found


def _measure(
    study: Study,
    train: "Mapping[str, np.ndarray]",
    validation: "Mapping[str, np.ndarray]",
    test: "Mapping[str, np.ndarray]",
) -> "dict[str, np.ndarray]":
    """By "correct/METHOD/STAGE" which test images are right, bool [N]; and by
    "penalty/METHOD/STAGE" and "near/METRIC/STAGE" the penalty, and the queries' neighbours.
    """
    import numpy as np

    from cnnlab.transfer import neighbours, probes

    config, classes = study.config, study.gallery.num_classes
    labels, test_labels = study.gallery.labels, study.splits.test.labels
    assert study.splits.validation is not None
    found: dict[str, np.ndarray] = {}
    for stage, given in train.items():
        known = (given, labels, validation[stage], study.splits.validation.labels)
        for kind in config.probes:
            probe = probes.chosen(*known, classes, kind=kind)
            found[f"correct/{kind}/{stage}"] = probe.linear.correct(test[stage], test_labels)
            found[f"penalty/{kind}/{stage}"] = np.asarray(probe.penalty)
        most = max(config.neighbours, config.shown)
        for metric in neighbours.METRICS:
            near, _ = neighbours.neighbours(test[stage], given, most, metric)
            said = neighbours.vote(labels[near[:, : config.neighbours]], classes)
            found[f"correct/{metric}/{stage}"] = said == test_labels
            found[f"near/{metric}/{stage}"] = near[study.queries, : config.shown]
        if given.shape[1] == classes and stage == study.last:
            found[f"own/{stage}"] = test[stage].argmax(1) == test_labels
    return found


def _correct(measured: "Mapping[str, list[dict[str, np.ndarray]]]") -> probe_claims.Correct:
    import numpy as np

    found: dict[str, dict[str, dict[str, Any]]] = {}
    for network, members in measured.items():
        for key in members[0]:
            what, _, rest = key.partition("/")
            if what == "correct":
                method, _, stage = rest.partition("/")
                right = np.stack([each[key] for each in members])
                found.setdefault(network, {}).setdefault(method, {})[stage] = right
    return found


def _own_accuracy(members: "list[dict[str, np.ndarray]]", last: str) -> dict[str, Any] | None:
    """The networks' own, where their logits are among the stages and of the data's classes."""
    import numpy as np

    key = f"own/{last}"
    if key not in members[0]:
        return None
    return probe_claims.interval(np.stack([each[key] for each in members]))


def _penalties(measured: "Mapping[str, list[dict[str, np.ndarray]]]") -> dict[str, Any]:
    return {
        network: {
            key.partition("/")[2]: [float(each[key]) for each in members]
            for key in members[0]
            if key.startswith("penalty/")
        }
        for network, members in measured.items()
    }


def _first_of_classes(dataset: "Dataset", count: int) -> "np.ndarray":
    """The first image of each class, of the first ``count`` classes that have one."""
    import numpy as np

    _, first = np.unique(dataset.labels, return_index=True)
    return np.asarray(first[:count])


# What is drawn -------------------------------------------------------------------------------


def _draw(
    study: Study,
    source: Source,
    points: list[dict[str, Any]],
    network: dict[str, Any] | None,
    measured: "Mapping[str, list[dict[str, np.ndarray]]]",
) -> None:
    import jax
    import numpy as np

    from cnnlab.report import drawing, feature_figures

    if jax.process_index() > 0:
        return
    config, folder = study.config, study.whole.directory / "figures"
    stages = list(dict.fromkeys(each["stage"] for each in points))
    over = {each["interval_over"] for each in points if each["network"] == "trained"}.pop()
    seeds = len(measured["untrained"])
    bars = "bars: 95 % intervals, over test images"
    if over == "seeds":
        bars = f"mean of {seeds} seeds, 95 % intervals over them (pixels: over test images)"
    elif seeds > 1:
        bars += f"; random weights over {seeds} seeds"
    lines = {} if network is None else {"the network itself": network["mean"]}
    by_stage = feature_figures.accuracy_by_stage(
        probe_claims.curves(points),
        stages,
        lines=lines,
        title=f"What can be read off the stages: {source.name}, {config.dataset}",
        bars=bars,
    )
    drawing.save(by_stage, folder / "accuracy_by_stage.png")
    test, gallery = study.splits.test, study.gallery
    last = probe_claims.deepest([stage for stage in stages if stage != PIXELS])
    trained, pixels = measured["trained"][0], measured[PIXELS][0]
    near = {
        "nearest in pixels (L2)": pixels[f"near/l2/{PIXELS}"],
        f"nearest in {last} (L2)": trained[f"near/l2/{last}"],
        f"nearest in {last} (cosine)": trained[f"near/cosine/{last}"],
    }

    def images(dataset: "Dataset", at: "np.ndarray") -> "np.ndarray":
        flat = np.asarray(dataset.images[at.ravel()])
        return flat.reshape(*at.shape, *dataset.image_shape)

    neighbours = feature_figures.retrieval(
        images(test, study.queries),
        {name: images(gallery, at) for name, at in near.items()},
        test.labels[study.queries],
        {name: gallery.labels[at] for name, at in near.items()},
        test.class_names,
        title=f"The first test image of each class, and its neighbours in training ({source.name})",
    )
    drawing.save(neighbours, folder / "neighbours.png")


# The command line ----------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    command_line("experiments.probe", run, Config(), __doc__)


if __name__ == "__main__":
    main()
