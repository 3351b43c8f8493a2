"""The outputs of the stages of trained networks for a data set, as arrays and as .npz files.

outputs = features(recipe, states, splits.train, ("stage2", "head"))
outputs["stage2"]  # float32 [M, N, D]
save_features("features.npz", outputs, splits.train)
"""

import dataclasses
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import Mesh

from cnnlab import npz_files
from cnnlab.data.dataset import Dataset
from cnnlab.files import make_folder, write_bytes
from cnnlab.models import Network
from cnnlab.spelling import unknown
from cnnlab.train import Recipe, TrainState, predict
from cnnlab.transfer.cache import check_array

Pool = Literal["mean"] | int | None

_OTHER_ARRAYS = ("labels", "class_names", "about")  # in a file, besides features


def features(
    recipe: Recipe,
    states: TrainState,
    dataset: Dataset,
    stages: Sequence[str] | None = None,
    *,
    pool: Pool = "mean",
    batch_size: int = 256,
    mesh: Mesh | None = None,
) -> dict[str, np.ndarray]:
    """The outputs of stages for each example, without augmentation, in order; all in one pass.

    Args:
      recipe: how the states were trained.
      states: ``[M, ...]``, as ``fit`` yields them; their moving average where they hold one.
      dataset: its images are the inputs.
      stages: their names; by default all whose output is one array.
      pool: "mean" over all positions; a number p for the means of p x p cells (of images, where
        a side is longer than p); None for no pooling.
      batch_size: examples at a time; rounded up to a multiple of the devices.
      mesh: all devices by default.

    Returns:
      Stage -> float32 ``[M, N, D]``; ``[M, N, h, w, C]`` for images that are not pooled to a mean.

    Raises:
      ValueError: for an unknown stage, or one that returns a tuple.
    """
    if pool not in ("mean", None) and not (isinstance(pool, int) and pool >= 1):
        raise ValueError(f'pool must be "mean", a number of cells >= 1 or None, got {pool!r}.')
    shapes = stage_shapes(recipe, states, dataset, stages, pool=pool)
    stacked = _StageOutputs(recipe.network.stages, tuple(shapes), pool)
    recipe = dataclasses.replace(recipe, network=stacked)
    flat = predict(recipe, states, dataset, batch_size=batch_size, mesh=mesh)
    ends = np.cumsum([np.prod(shape, dtype=np.int64) for shape in shapes.values()])
    parts = np.split(flat, ends[:-1], axis=2)
    return {
        stage: part.reshape(*flat.shape[:2], *shape)
        for (stage, shape), part in zip(shapes.items(), parts, strict=True)
    }


def stage_shapes(
    recipe: Recipe,
    states: TrainState,
    dataset: Dataset,
    stages: Sequence[str] | None = None,
    *,
    pool: Pool = "mean",
) -> dict[str, tuple[int, ...]]:
    """The shape of one example's features at each stage; nothing is computed. See ``features``."""
    names = recipe.network.names
    for stage in stages or ():
        if stage not in names:
            raise ValueError(unknown("stage", stage, names))
    image = jax.ShapeDtypeStruct((1, *dataset.image_shape), dataset.images.dtype)

    def outputs(params: Any, model_state: Any, images: jax.Array) -> dict[str, Any]:
        variables = {"params": params, **model_state}
        prepared = recipe.prepare(jax.random.key(0), images)
        return _stage_outputs(recipe.network, variables, prepared, {"train": False})

    member = jax.eval_shape(
        lambda tree: jax.tree.map(lambda leaf: leaf[0], tree), (states.params, states.model_state)
    )
    shapes = jax.eval_shape(outputs, *member, image)
    if stages is None:
        stages = [name for name in names if hasattr(shapes[name], "shape")]
    for stage in stages:
        check_array(shapes[stage], stage)
    pooled = {
        stage: jax.eval_shape(lambda x: _pool(x, pool), shapes[stage])
        for stage in names
        if stage in stages
    }
    return {stage: tuple(shape.shape[1:]) for stage, shape in pooled.items()}


def pixels(dataset: Dataset) -> np.ndarray:
    """The images themselves as features: float32 ``[N, H * W * C]``, in [0, 1]."""
    images = np.asarray(dataset.images[:])
    return images.reshape(len(dataset), -1).astype(np.float32) / 255


def save_features(
    path: str | pathlib.Path,
    outputs: Mapping[str, np.ndarray],
    dataset: Dataset,
    about: str = "",
) -> pathlib.Path:
    """Writes features as an .npz, atomically: an array for each stage, labels and class names.

    The file holds each stage's array under its name, ``labels`` int32 [N], ``class_names`` and
    ``about``, texts.

    Args:
      path: must end with .npz.
      outputs: stage -> ``[M, N, ...]``, or ``[N, D]`` of one network or none, as ``pixels``.
      dataset: the examples, in order.
      about: a description for the reader.

    Raises:
      ValueError: for another suffix, a stage named as one of the other arrays, or features of other
        examples.
    """
    path = pathlib.Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"features are written to a file that ends with .npz, got {str(path)!r}.")
    for stage, array in outputs.items():
        if stage in _OTHER_ARRAYS:
            raise ValueError(f"a stage must not be called {stage!r}, the name of another array.")
        if _rows(array) != len(dataset):
            raise ValueError(
                f"features must be [M, N, ...] or [N, D] of the {len(dataset)} examples of "
                f"{dataset.name}, got {stage} of shape {array.shape}."
            )
    buffer = io.BytesIO()
    texts = {"class_names": np.array(dataset.class_names), "about": np.array(about)}
    arrays: dict[str, Any] = {**outputs, "labels": dataset.labels, **texts}
    np.savez(buffer, **arrays)
    make_folder(path.parent)
    write_bytes(path, buffer.getvalue())
    return path


def load_features(path: str | pathlib.Path) -> tuple[dict[str, np.ndarray], np.ndarray, list[str]]:
    """Reads features: arrays by stage, the labels and the class names, as ``save_features`` wrote.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is damaged or holds something else, or features of other examples than the
        labels.
    """
    try:
        arrays = npz_files.read(path)
        labels, names = arrays["labels"], arrays["class_names"].tolist()
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{path} must hold features, labels and class_names, but cannot be read: {error}. "
            "Write it with experiments.features."
        ) from error
    outputs = {name: array for name, array in arrays.items() if name not in _OTHER_ARRAYS}
    for name, array in outputs.items():
        if labels.ndim != 1 or _rows(array) != len(labels):
            raise ValueError(
                f"{path} must hold features [M, N, ...] or [N, D] and labels [N], got {name} of "
                f"shape {array.shape} and labels of shape {labels.shape}. Write it with "
                "experiments.features."
            )
    return outputs, labels, names


def _rows(array: np.ndarray) -> int:
    """The examples of ``[M, N, ...]`` or ``[N, D]``; -1 for anything else."""
    return int(array.shape[array.ndim > 2]) if array.ndim > 1 else -1


class _StageOutputs(Network):
    """The outputs of several stages as one array, for ``predict``: ``[N, ...] -> [N, D]``."""

    wanted: tuple[str, ...]
    pool: Pool

    @nn.nowrap
    def apply(self, variables: Any, *images: Any, **options: Any) -> Any:
        network = Network(self.stages)
        if options.get("stop") is not None:
            return network.apply(variables, *images, **options)
        outputs = _stage_outputs(network, variables, images[0], options, self.wanted)
        flat = [_pool(outputs[stage], self.pool) for stage in self.wanted]
        return jnp.concatenate([x.reshape(x.shape[0], -1) for x in flat], axis=1)


def _stage_outputs(
    network: Network,
    variables: Any,
    images: jax.Array,
    options: Mapping[str, Any],
    stages: Sequence[str] = (),
) -> dict[str, Any]:
    """The output of each stage, up to the last of ``stages``."""
    x: Any = images
    outputs: dict[str, Any] = {}
    for name in network.names:
        x = network.apply(variables, x, **{**options, "start": name, "stop": name})
        outputs[name] = x
        if stages and set(stages) <= set(outputs):
            break
    return outputs


def _pool(x: jax.Array, pool: Pool) -> jax.Array:
    """``[N, ...]`` as float32; images ``[N, h, w, C]`` as means over cells."""
    x = x.astype(jnp.float32)
    if pool is None or x.ndim != 4:
        return x
    if pool == "mean":
        return jnp.mean(x, axis=(1, 2))
    rows, columns = (jnp.asarray(_cells(side, pool)) for side in x.shape[1:3])
    return jnp.einsum("nhwc,ah,bw->nabc", x, rows, columns, precision="highest")


def _cells(side: int, cells: int) -> np.ndarray:
    """The matrix ``[p, side]`` of means over cells, which meet or overlap by one position.

    Cell i reaches from floor(i * side / p) to ceil((i + 1) * side / p), as in PyTorch's adaptive
    pooling.
    """
    cells = min(side, cells)
    matrix = np.zeros((cells, side), np.float32)
    for i in range(cells):
        first, last = i * side // cells, -(-(i + 1) * side // cells)
        matrix[i, first:last] = 1 / (last - first)
    return matrix
