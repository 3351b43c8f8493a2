"""All that is known of a file of weights: by what cnnlab wrote into it, or if it is published."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnlab.data.record import DataRecord
from cnnlab.models import weights
from cnnlab.models.weights.loading import PREPARATION
from cnnlab.source_file import sources_digest, split_file
from cnnlab.studies.preparation import (
    Preparation,
    from_metadata,
    parse_normalization,
    to_metadata,
)
from cnnlab.studies.settings import Training, split_place

_MEAN_IMAGE, _RECORD, _SOURCES = "mean_image", "data_record", "network_sources"

_LARGEST = 8192
"""Sides of images, in pixels, that metadata may ask for."""

_DATA = ("dataset", "validation", "split_seed", "per_class", "fraction", "classes", "image_size")
"""The settings that choose the images of a run and their parts; no path is among them."""


@dataclasses.dataclass(frozen=True)
class Description:
    """The network of a file of weights.

    Attributes:
      published: the published network that it is, or has the names and shapes of; "" for a file
        that cnnlab wrote.
      model: the network's name in the zoo.
      model_options: further settings of the model.
      num_classes: how many outputs it has.
      image_shape: ``(H, W, C)`` of the images that it was trained on.
      preparation: how they are normalised; None where it is not certain.
      usual: the normalization that is likely then, for the message; None for none.
      class_names: of its classes; empty where they are not known.
      precision: of its computation.
      sources: the SHA-256 sum of the Python files that make the network; "" for one of the zoo.
      data: the settings of ``Training`` that chose its images; empty where they are not known.
      records: which images were in which part, then of the trainings before; empty where they are
        not known.
    """

    published: str
    model: str
    model_options: tuple[str, ...]
    num_classes: int
    image_shape: tuple[int, int, int]
    preparation: Preparation | None
    usual: str | None = None
    class_names: tuple[str, ...] = ()
    precision: str = "float32"
    sources: str = ""
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    records: tuple[DataRecord, ...] = ()

    @property
    def own(self) -> bool:
        """Whether cnnlab wrote the file: all is certain then, and no option may contradict it."""
        return not self.published

    @property
    def source(self) -> str:
        """Where all this is known from, in words."""
        if self.own:
            return "by its metadata"
        certain = self.preparation is not None
        return f"{'it is' if certain else 'its names and shapes are those of'} {self.published}"


def describe(path: pathlib.Path) -> Description | None:
    """All that is known of a file; None for one that says nothing and is not recognised.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if it cannot be read.
    """
    metadata = weights.read_metadata(path)
    if metadata.get("format") == "cnnlab" and "normalization" in metadata:
        try:
            return _own(path, metadata)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise ValueError(
                f"{path} does not say in its metadata what its network is, as a file of cnnlab "
                f"does: {reason}. Export the run again."
            ) from error
    found = weights.recognise(path)
    if found is None:
        return None
    certain = found.normalization is not None
    return Description(
        found.name,
        found.model,
        found.model_options,
        found.num_classes,
        found.image_shape,
        parse_normalization(found.usual) if certain else None,
        found.usual,
        found.class_names,
    )


def with_model_file(path: pathlib.Path, known: Description, model: str | None) -> Description:
    """What is known of a file, where its network is one of the zoo or made by ``model``.

    A file of weights is data: what it names is run only where the user names it as well.

    Args:
      path: of the weights.
      known: what is known of it.
      model: that the user named, such as "net.py:make".

    Raises:
      FileNotFoundError: if there is no such Python file.
      ValueError: if none is named, or one of other code than the network was made by.
    """
    if split_file(known.model) is None:
        return known
    file = None if model is None else split_file(model)
    if model is None or file is None or file[1] != known.model.rpartition(":")[2]:
        raise ValueError(
            f"the network of {path.name} is made by {known.model}, a Python file that is run: name "
            f"the one that you have, --model PATH/{known.model}."
        )
    if sources_digest(file[0]) != known.sources:
        raise ValueError(
            f"the network of {path.name} was made by other code than is in {file[0]} (or in what "
            "it imports from its folder) now: its weights are those of another network. Bring the "
            "file back, or export the run again."
        )
    return dataclasses.replace(known, model=model)


def save_weights(
    path: str | pathlib.Path,
    variables: dict[str, Any],
    config: Training,
    records: Sequence[DataRecord],
    **about: str,
) -> None:
    """Writes the weights of a run's network with all that is needed to use them: ``describe``.

    Args:
      path: the file, .safetensors.
      variables: of one network.
      config: how it was trained.
      records: of its data, with their classes, shape and statistics, and which images it has
        seen; then of the data of trainings before.
      **about: further text by name, such as the step.

    Raises:
      FileNotFoundError: if there is no such folder.
      ValueError: if the extension is not .safetensors, or there are no such statistics.
    """
    record = records[0]
    preparation = Preparation(config.normalization, record.statistics)
    _ = preparation.transform  # which refuses statistics that are not there
    normalization, mean_image = to_metadata(preparation)
    data = {name: getattr(config, name) for name in _DATA}
    source, place = split_place(config.dataset)
    if place is not None:
        data["dataset"] = source
    if config.classes is not None:  # by name: numbers are those of one data set
        data["classes"] = record.class_names
    file = split_file(config.model)
    text = {
        "model": config.model_name,
        **({} if file is None else {_SOURCES: sources_digest(file[0])}),
        "options": json.dumps(config.model_options),
        "precision": config.precision,
        "image_shape": json.dumps(record.image_shape),
        "normalization": normalization,
        "classes": json.dumps(record.class_names),
        "data": json.dumps(data),
        **about,
    }
    further = {
        f"{_RECORD}_{index}": np.frombuffer(each.write(), np.uint8)
        for index, each in enumerate(records)
    }
    if mean_image is not None:
        further[_MEAN_IMAGE] = np.asarray(mean_image)
    weights.save_safetensors({**variables, PREPARATION.strip("/"): further}, path, text)


def _own(path: pathlib.Path, metadata: dict[str, str]) -> Description:
    classes = tuple(map(str, json.loads(metadata["classes"])))
    height, width, channels = map(int, json.loads(metadata["image_shape"]))
    known = {field.name for field in dataclasses.fields(Training)} & set(_DATA)
    stored = json.loads(metadata.get("data", "{}"))
    data = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in stored.items()
        if name in known
    }
    arrays = weights.read(path)
    names = (f"{PREPARATION}{_RECORD}_{index}" for index in itertools.count())
    records = [arrays[name] for name in itertools.takewhile(arrays.__contains__, names)]
    mean_image = arrays.get(f"{PREPARATION}{_MEAN_IMAGE}")
    shape, options = (height, width, channels), tuple(map(str, json.loads(metadata["options"])))
    if not all(1 <= side <= _LARGEST for side in shape) or max(map(len, options), default=0) > 999:
        raise ValueError(f"images of shape {shape}, {len(options)} options of the model")
    if mean_image is not None and (mean_image.shape != shape or not np.isfinite(mean_image).all()):
        raise ValueError(f"a mean image that is not one of shape {shape}")
    return Description(
        "",
        metadata["model"],
        options,
        len(classes),
        shape,
        from_metadata(metadata["normalization"], mean_image),
        class_names=classes,
        precision=metadata.get("precision", "float32"),
        sources=metadata.get(_SOURCES, ""),
        data=data,
        records=tuple(DataRecord.read(path, each.tobytes()) for each in records),
    )
