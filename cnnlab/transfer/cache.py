"""Features of a frozen front: it is run once over a data set, and only the tail is trained.

    features = front_features(recipe, states, splits.train, "stage3")
    held_out = front_features(recipe, states, splits.validation, "stage3")
    tail = tail_recipe(recipe, "stage3")
    initial = tail_states(recipe, states, "stage3")
    for epoch in fit(tail, features, held_out, initial=initial, epochs=10):
        ...
    states = join_front(recipe, states, epoch.states, "stage3")

With the same seeds this equals training the whole network with a frozen front on images that are
not augmented, up to the rounding of float32. With augmentation a cache holds k augmented copies of
each image, which are then the data set: fewer than ordinary training sees.
"""

import dataclasses
import functools
import hashlib
import pathlib
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import Mesh

from cnnlab.augment import compose
from cnnlab.data.dataset import MEMORY_LIMIT, Dataset, fingerprint
from cnnlab.data.features import Features
from cnnlab.keys import run_key, stream_key
from cnnlab.mesh import fetch, make_mesh, place, run_once_options, sharding
from cnnlab.models import Network
from cnnlab.train.start import check_annotations
from cnnlab.train.state import Recipe, TrainState
from cnnlab.train.step import predict_step
from cnnlab.transfer import cache_files
from cnnlab.transfer.tail import as_float32, stages_of, stages_of_state

_NO_AUGMENTATION = compose()

# An augmentation's fingerprint: the number of augmented examples, of images and of sums of each.
_EXAMPLES, _IMAGES, _SUMS = 64, 4, 4


class _Front(NamedTuple):
    """The front of a network with its variables, and the recipe that prepares its images."""

    recipe: Recipe
    variables: dict[str, Any]


def front_features(
    recipe: Recipe,
    states: TrainState,
    dataset: Dataset,
    up_to: str,
    *,
    copies: int = 0,
    seed: int = 0,
    directory: str | pathlib.Path | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    batch_size: int = 256,
    mesh: Mesh | None = None,
    memory_limit: int = MEMORY_LIMIT,
) -> Features:
    """The output of the stage ``up_to`` for every example, as in evaluation, as a data set.

    Args:
      recipe: of the whole network.
      states: ``[M, ...]``, all members with the same front, whose parameters and statistics
        are used; or one network's.
      dataset: its images are the inputs.
      up_to: the last stage of the front.
      copies: 0 for the images as they are; k for k augmented copies of each, one whole data set
        after the other: N * k examples. The augmentation of an example depends on ``seed``, the
        copy and its place in the data set alone.
      seed: of the augmentation.
      directory: where the features are written, or read if they are there already, together with
        fingerprints of all that they depend on. Up to ``memory_limit`` they are read into
        memory, and above it memory-mapped, so that training streams them.
      dtype: of the features; float16 takes half the space and rounds to 3 digits.
      batch_size: examples at a time; rounded up to a multiple of the devices.
      mesh: all devices by default.
      memory_limit: bytes, up to which features read from a directory are held in memory. Without a
        directory all of them are, whatever their size.

    Returns:
      Features ``[N, ...]`` with the labels, class names, targets and annotations of the data set.

    Raises:
      ValueError: for an unknown stage, one that returns a tuple, members with different fronts,
        features that are not finite, augmentation that would move annotated objects, or a directory
        with damaged features or those of other weights, data or another stage (the differences are
        named).
    """
    if copies < 0 or batch_size < 1:
        wrong = f"copies={copies}" if copies < 0 else f"batch_size={batch_size}"
        raise ValueError(f"copies must be >= 0 and batch_size >= 1, got {wrong}.")
    if dtype not in ("float32", "float16"):
        raise ValueError(f"dtype must be float32 or float16, got {dtype!r}.")
    if copies:
        check_annotations(recipe, dataset)
    front = _front(recipe, states, up_to)
    shape = _shape(front, dataset)
    rows = max(copies, 1) * len(dataset)
    about: dict[str, Any] = {}
    if directory is not None:
        about = _fingerprints(front, recipe, dataset, copies, seed)
        about |= {"stage": up_to, "copies": copies, "seed": seed if copies else 0, "dtype": dtype}
        if cache_files.exists(pathlib.Path(directory)):
            stored = cache_files.read(pathlib.Path(directory), about, memory_limit)
            return _make_features(stored, dataset, copies, up_to)
    parts = _compute(
        front, recipe.augment if copies else None, dataset, copies, seed, batch_size, mesh
    )
    converted = (_convert(part, dtype, up_to) for part in parts)
    if directory is None:
        features: Any = np.empty((rows, *shape), dtype)
        start = 0
        for part in converted:
            features[start : start + len(part)] = part
            start += len(part)
    else:
        folder = pathlib.Path(directory)
        cache_files.write(folder, about, converted, (rows, *shape), np.dtype(dtype))
        features = cache_files.read(folder, about, memory_limit)
    return _make_features(features, dataset, copies, up_to)


# The front -----------------------------------------------------------------------------------


def _front(recipe: Recipe, states: TrainState, up_to: str) -> _Front:
    """The front with the weights that all members share.

    Raises:
      ValueError: for an unknown stage, or where the members do not have the same front.
    """
    network = recipe.network.front(up_to)
    members = np.ndim(states.step) == 1

    def variables_of(params: Any, model_state: Any) -> dict[str, Any]:
        front = {"params": stages_of(params, network.names)}
        return fetch({**front, **stages_of_state(model_state, network.names)})

    def first_member(path: Any, leaf: Any) -> np.ndarray:
        if not members:
            return np.asarray(leaf)
        if not np.array_equal(leaf, np.broadcast_to(leaf[:1], leaf.shape), equal_nan=True):
            raise ValueError(
                f"all members must have the same front up to {up_to!r} for one set of features, "
                f"got different values of {jax.tree_util.keystr(path, simple=True, separator='/')}."
                " Make the features of one at a time: jax.tree.map(lambda x: x[i : i + 1], states)."
            )
        return np.asarray(leaf[0])

    own = variables_of(states.params, states.model_state)
    variables = jax.tree_util.tree_map_with_path(first_member, own)
    if states.average is not None:
        averaged = variables_of(states.average.params, states.average.model_state)
        if not all(map(np.array_equal, jax.tree.leaves(averaged), jax.tree.leaves(own))):
            raise ValueError(
                f"the front up to {up_to!r} must be frozen, but its moving average has other "
                "values. Choose one of them: states._replace(params=states.average.params, "
                "model_state=states.average.model_state, average=None)."
            )
    front_recipe = Recipe(network, recipe.optimizer, recipe.prepare)
    return _Front(front_recipe, variables)


def _shape(front: _Front, dataset: Dataset) -> tuple[int, ...]:
    """The shape of an example's features; none are computed.

    Raises:
      ValueError: if the front returns anything but one array.
    """
    image = jax.ShapeDtypeStruct((1, *dataset.image_shape), dataset.images.dtype)

    def forward(variables: Any, images: jax.Array) -> Any:
        prepared = front.recipe.prepare(jax.random.key(0), images)
        return front.recipe.network.apply(variables, prepared, train=False)

    output = jax.eval_shape(forward, front.variables, image)
    check_array(output, front.recipe.network.names[-1])
    return tuple(output.shape[1:])


def check_array(output: Any, stage: str) -> None:
    """Checks that the output of a stage is one array.

    Raises:
      ValueError: if it is a tuple of activations and what later stages need besides.
    """
    if not hasattr(output, "shape"):
        raise ValueError(
            f"the stage {stage!r} must return one array to have features, but returns "
            f"{len(jax.tree.leaves(output))}: its activations and what later stages need besides. "
            "Choose an earlier or later stage."
        )


def _compute(
    front: _Front,
    augment: Any,
    dataset: Dataset,
    copies: int,
    seed: int,
    batch_size: int,
    mesh: Mesh | None,
) -> Any:
    """Yields the features, float ``[n, ...]``, of one batch after the other."""
    mesh = make_mesh() if mesh is None else mesh
    devices = mesh.size
    size = -(-min(batch_size, len(dataset)) // devices) * devices
    program = _program(front.recipe, augment, mesh)
    variables = jax.tree.map(lambda leaf: place(leaf, sharding(mesh)), front.variables)
    batch_sharding = sharding(mesh, tuple(mesh.axis_names))
    pending: tuple[Any, int] | None = None
    for copy in range(max(copies, 1)):
        for start in range(0, len(dataset), size):
            rows = np.arange(start, min(start + size, len(dataset)))
            padded = np.pad(rows, (0, size - len(rows)), mode="edge").astype(np.int32)
            images = np.asarray(dataset.images[padded])
            inputs = place(images, batch_sharding), place(padded, batch_sharding)
            out = program(variables, *inputs, np.uint32(seed), np.int32(copy))
            if pending is not None:  # read while the next batch is computed
                yield np.asarray(jax.device_get(pending[0]))[: pending[1]]
            pending = out, len(rows)
    assert pending is not None
    yield np.asarray(jax.device_get(pending[0]))[: pending[1]]


@functools.lru_cache(maxsize=8)
def _program(recipe: Recipe, augment: Any, mesh: Mesh) -> Callable[..., jax.Array]:
    """``(variables, images [B, ...], rows [B], seed, copy) -> features [B, ...]``, compiled."""
    prepared = dataclasses.replace(recipe, prepare=as_float32)

    def call(variables: Any, images: Any, rows: Any, seed: Any, copy: Any) -> Any:
        images = recipe.prepare(jax.random.key(0), images)
        if augment is not None:
            images = _augment_each(augment, images, rows, seed, copy)
        params, model_state = variables["params"], {**variables}
        del model_state["params"]
        state = TrainState(jnp.zeros((), jnp.int32), params, model_state, (), None)
        return predict_step(prepared, state, images)

    return jax.jit(call, out_shardings=sharding(mesh))


def _augment_each(augment: Any, images: Any, rows: Any, seed: Any, copy: Any) -> jax.Array:
    """Augments images one by one, each with the key of its place in the data set."""
    key = stream_key(run_key(seed), "cache", copy)

    def one(image: jax.Array, row: jax.Array) -> Any:
        return augment(jax.random.fold_in(key, row), image[None])[0]

    return jax.vmap(one)(images, rows)


def _convert(part: np.ndarray, dtype: str, up_to: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        converted = part.astype(dtype)
    if not np.isfinite(converted).all():
        if np.isfinite(part.astype(np.float32)).all():
            raise ValueError(
                f"features of {up_to!r} are too large for float16, up to "
                f"{np.abs(part.astype(np.float32)).max():.4g}: use dtype='float32'."
            )
        raise ValueError(
            f"features must be finite, {up_to!r} returns NaN or infinity. Did training diverge?"
        )
    return converted


def _make_features(images: Any, dataset: Dataset, copies: int, up_to: str) -> Features:
    times = max(copies, 1)

    def repeat(values: np.ndarray | None) -> Any:
        if values is None or times == 1:
            return values
        return np.concatenate([values] * times)

    return Features(
        images=images,
        labels=repeat(dataset.labels),
        class_names=dataset.class_names,
        name=f"{dataset.name} at {up_to}",
        targets=repeat(dataset.targets),
        annotations=repeat(dataset.annotations),
        part=dataset.part,
    )


# Fingerprints --------------------------------------------------------------------------------


def weights_digest(variables: Any) -> str:
    """A fingerprint of weights, 16 hexadecimal digits: of their names, dtypes, shapes and bits.

    Args:
      variables: a tree of arrays, such as ``{"params": ..., "batch_stats": ...}``.
    """
    digest = hashlib.blake2b(digest_size=8)
    for path, leaf in jax.tree_util.tree_leaves_with_path(fetch(variables)):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def _fingerprints(
    front: _Front, recipe: Recipe, dataset: Dataset, copies: int, seed: int
) -> dict[str, Any]:
    """Fingerprints of all that the features depend on, as JSON values."""
    # Transformations are functions, identified by their results: on a ramp of all pixel values,
    # and augmentations on noise, in which every pixel differs from the others.
    shape = dataset.image_shape
    ramp = np.resize(np.arange(256), (1, *shape)).astype(dataset.images.dtype)
    noise = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (_IMAGES, *shape))
    augment = recipe.augment if copies else _NO_AUGMENTATION

    def transform(ramp: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        prepared = recipe.prepare(jax.random.key(0), ramp)
        if not copies:
            return prepared, None
        return prepared, _augmented_sums(augment, recipe.prepare(jax.random.key(0), noise), seed)

    options = run_once_options(jax.default_backend())
    program = jax.jit(transform, compiler_options=options)
    prepared, augmented = program(ramp, noise.astype(dataset.images.dtype))
    return {
        "weights": weights_digest(front.variables),
        "network": network_digest(front.recipe.network),
        "data": fingerprint(dataset),
        "prepare": _sample(prepared),
        "augment": None if augmented is None else np.asarray(augmented).ravel().tolist(),
    }


def network_digest(network: Network) -> str:
    """A fingerprint of the architecture: of the settings of all modules."""
    # A module's repr has all its settings; that of a function also has its address: removed. So is
    # what older modules did not have and these leave at its default, or older caches were refused.
    text = re.sub(r" at 0x[0-9a-f]+|\n *frozen = \(\)", "", repr(network))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _augmented_sums(augment: Any, images: jax.Array, seed: int) -> jax.Array:
    """Sums over the first examples' augmented images ``[_EXAMPLES, _SUMS]``, about 1 in size.

    Each weights all pixels at random, so that one that changes or moves changes the sum.
    """
    rows = jnp.arange(_EXAMPLES, dtype=jnp.int32)
    size = jnp.sqrt(jnp.mean(jnp.square(images.astype(jnp.float32))))

    def one(row: jax.Array) -> jax.Array:
        image = images[row % _IMAGES][None]
        x = _augment_each(augment, image, row[None], jnp.uint32(seed), 0)[0].astype(jnp.float32)
        keys = jax.random.split(jax.random.key(0), _SUMS)
        # One set of weights after the other, which may be as large as many images.
        totals = jax.lax.map(lambda key: jnp.sum(x * jax.random.normal(key, x.shape)), keys)
        return totals / (size * np.sqrt(x.size))

    return jax.lax.map(one, rows)


def _sample(images: jax.Array) -> list[float]:
    """At most 24 of the numbers, spread evenly."""
    flat = np.asarray(images, np.float32).ravel()
    at = np.linspace(0, flat.size - 1, min(flat.size, 24)).astype(np.int64)
    return [float(value) for value in flat[at]]
