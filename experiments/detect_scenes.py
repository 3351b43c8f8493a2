"""The scenes of ``experiments.detect``, the windows in them, and the detector."""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.config import make_recipe
from experiments.parts import fresh_states
from experiments.scenes import backgrounds_of

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Dataset, Splits
    from cnnlab.models import Network
    from cnnlab.models.regions import Window
    from cnnlab.train import Recipe, TrainState
    from experiments.detect import Config


class Objects(NamedTuple):
    """What is in scenes: boxes float32 ``[N, D, 4]``, and classes int32 ``[N, D]``, -1 for none."""

    boxes: "np.ndarray"
    classes: "np.ndarray"


class Material(NamedTuple):
    """What is learned from and measured on.

    Attributes:
      train: scenes, whose annotations say what each window should be.
      test: others, of digits and backgrounds of the test parts.
      objects: what is in the test scenes.
      cuts: cut-outs of one digit with a label, for the classifier.
      cuts_test: others.
      windows: R boxes.
      reached: the part of the test scenes' objects that a window overlaps with an IoU of 0.5.
      foreground: the part of the training scenes' windows that are foreground.
      notes: how they came about.
    """

    train: "Dataset"
    test: "Dataset"
    objects: Objects
    cuts: "Dataset"
    cuts_test: "Dataset"
    windows: "tuple[Window, ...]"
    reached: float
    foreground: float
    notes: str


def material(config: "Config", splits: "Splits") -> Material:
    """Composes the scenes and the cut-outs, which have digits and backgrounds of the same size.

    Raises:
      ValueError: for images that are no digits, scenes that are too small, or windows that do not
        fit into them.
    """
    import numpy as np

    from cnnlab.data.scenes import labelled
    from cnnlab.transfer.detection import check_objects, targets

    size, side, windows = config.size, config.cut_side, windows_of(config)
    behind = {part: backgrounds_of(config, part) for part in ("train", "test")}
    found: dict[str, Any] = {}
    objects = {}
    for number, (name, part, count) in enumerate(
        (
            ("train", "train", config.scenes),
            ("test", "test", config.test_scenes),
            ("cuts", "train", config.cuts),
            ("cuts_test", "test", config.test_scenes),
        )
    ):
        source, alone = getattr(splits, part), name.startswith("cuts")
        other = {"size": side, "digits": (1, 1), "scale": config.cut_scale} if alone else {}
        scenes = config.composed(source, count, number, behind[part], **other)
        if alone:
            found[name] = labelled(scenes, source)
            continue
        check_objects(scenes.boxes, scenes.classes, (size, size), source.num_classes)
        objects[name] = Objects(scenes.boxes, scenes.classes)
        found[name] = _annotated(scenes, source, targets(windows, *objects[name]))
    # The front is to see scenes as the classifier did, so all have the classifier's statistics.
    statistics = found["cuts"].statistics
    found = {name: dataclasses.replace(each, statistics=statistics) for name, each in found.items()}
    first, most = config.digits
    notes = (
        f"{splits.notes}; {config.scenes} scenes of {size} x {size} to learn from, "
        f"{config.test_scenes} to test, {first} to {most} digits each on {config.backgrounds}; "
        f"{config.cuts} cut-outs of {side} x {side} with a label; {len(windows)} windows"
    )
    return Material(
        **found,
        objects=objects["test"],
        windows=windows,
        reached=_reached(windows, objects["test"]),
        foreground=float(np.mean(found["train"].annotations[..., 0] > 0)),
        notes=notes,
    )


def detector(config: "Config", classifier: "Network", train: "Dataset") -> "Network":
    """The classifier's front, the windows and a head for them.

    Raises:
      ValueError: for an unknown stage, one that gives no maps, or maps that do not grow with the
        image.
    """
    from jax import numpy as jnp

    from cnnlab.models.regions import region_network

    front = classifier.front(config.up_to)
    channels = train.image_shape[-1]
    shape = _shape(front, config.size, channels)
    if len(shape) != 4:
        raise ValueError(
            f"the stage {config.up_to!r} must give maps [N, H, W, C] that windows can be pooled "
            f"from, got shape {shape}. Take an earlier one of {', '.join(classifier.names)}."
        )
    return region_network(
        front,
        windows_of(config),
        image_size=(config.size, config.size),
        stride=_stride(front, config, channels),
        num_classes=train.num_classes,
        size=config.bins,
        hidden=config.hidden,
        pooling=config.pooling,
        dtype=jnp.bfloat16 if config.precision == "bfloat16" else None,
    )


def _shape(front: "Network", side: int, channels: int) -> tuple[int, ...]:
    """Of what the front gives for one image of so many pixels a side."""
    import jax
    from jax import numpy as jnp

    from cnnlab.models.network import activations

    image = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
    given, _ = jax.eval_shape(front.init_with_output, jax.random.key(0), image)
    return tuple(activations(given).shape)


def _stride(front: "Network", config: "Config", channels: int) -> int:
    """Pixels a cell: by how many cells the maps grow with the image, however they are rounded.

    Raises:
      ValueError: if they do not.
    """
    more = 512
    sides = [_shape(front, side, channels)[1] for side in (config.size, config.size + more)]
    cells = sides[1] - sides[0]
    if cells < 1 or more % cells:
        raise ValueError(
            f"the maps of {config.up_to!r} must grow with the image, by a cell for so many pixels; "
            f"got {sides[0]} and {sides[1]} cells for {config.size} and {config.size + more} "
            "pixels. Take an earlier stage."
        )
    return more // cells


def detector_recipe(config: "Config", train: "Dataset") -> "Recipe":
    """How a detector is trained where all of it learns, with the correction of boxes."""
    from cnnlab.transfer.detection import detection_loss, window_score

    recipe = make_recipe(config, train)
    return dataclasses.replace(
        recipe,
        network=detector(config, recipe.network, train),
        loss=detection_loss(box_weight=config.box_weight),
        score=window_score,
    )


def windows_of(config: "Config") -> "tuple[Window, ...]":
    """The windows that are looked at in every scene."""
    from cnnlab.models.regions import sliding_windows

    size = config.size
    shapes = [(h * size, a * h * size) for h in config.heights for a in config.aspects]
    return sliding_windows((size, size), shapes, step=config.step)


def begun(
    recipe: "Recipe", classifiers: "TrainState", train: "Dataset", config: "Config"
) -> "TrainState":
    """Fresh detectors, the front of each from a classifier of its own: states ``[M, ...]``."""
    from cnnlab.mesh import make_mesh
    from cnnlab.transfer.surgery import transplant_each

    fresh = fresh_states(config, recipe, train, config.all_seeds)
    mesh = make_mesh(config.seeds, member_axis=config.member_axis)
    stages = recipe.network.names[:-2]  # those before "regions" and "head"
    return transplant_each(classifiers, recipe, fresh, stages, mesh=mesh)[0]


def _annotated(scenes: Any, digits: "Dataset", annotations: "np.ndarray") -> "Dataset":
    """Scenes as a data set; the label of each is that of its first digit, which nothing reads."""
    import numpy as np

    from cnnlab.data import Dataset

    labels = np.ascontiguousarray(scenes.classes[:, 0])
    name = f"scenes of {digits.name}"
    return Dataset(scenes.images, labels, digits.class_names, name, annotations=annotations)


def _reached(windows: Any, objects: Objects) -> float:
    """The part of the objects that can be found at all without a correction."""
    import numpy as np
    from jax import numpy as jnp

    from cnnlab.transfer.detection import iou

    real = jnp.asarray(objects.boxes[objects.classes >= 0])
    overlaps = iou(real, jnp.asarray(windows, jnp.float32))
    return float(np.mean(np.asarray(overlaps).max(1) >= 0.5))
