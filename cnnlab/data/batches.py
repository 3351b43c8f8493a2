"""Batches behind one interface: resident on the devices, or streamed from the host.

A *plan* holds the index of every example of every batch: int32 ``[M, S, B]`` for M members, S
steps, batches of B. An epoch's plan is a permutation from ``fold_in(seed, epoch)``, the same for
every source, so that a position is just a step, and any run can resume at any step.

A compiled program takes a ``Window``, runs ``count`` steps from ``start`` and asks ``batch_at`` for
each batch. A resident window is the whole data set with the epoch's plan; a streamed one holds the
images of the next few steps.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, Protocol

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import Mesh, NamedSharding

from cnnlab.data.dataset import Dataset
from cnnlab.keys import run_key, stream_key
from cnnlab.mesh import DATA, MEMBER, place, run_once_options, sharding

Remainder = Literal["drop", "wrap"]

WINDOW_BYTES = 2**28  # of streamed images and targets on the devices, for one call


class Batch(NamedTuple):
    """Some examples; ``weights`` is 0 for those that only pad the batch."""

    images: jax.Array  # uint8 [N, H, W, C]
    labels: jax.Array  # int32 [N]
    weights: jax.Array  # float32 [N], 0 or 1
    targets: jax.Array | None = None  # [N, ...], a teacher's logits [N, K] or annotations, if any


class Window(NamedTuple):
    """The arrays from which a compiled call makes its batches."""

    shared: Any  # arrays that all members read
    own: Any  # arrays [M, ...], one part for each member
    start: int  # the first step to run, counted within the window
    steps: int  # how many steps to run, >= 1


class Source(Protocol):
    """A data set as windows."""

    def windows(self, plan: np.ndarray, first: int, steps: int) -> Iterator[Window]:
        """Windows of at most ``steps`` steps that cover ``plan`` from step ``first`` on."""
        ...

    def batch_at(self, shared: Any, own: Any, index: jax.Array) -> Batch:
        """The batch at step ``index`` of a window, for one member (pure; called in a trace)."""
        ...


def steps_per_epoch(examples: int, batch_size: int, remainder: Remainder = "drop") -> int:
    """Steps in an epoch: the last partial batch is dropped, or filled from the epoch's beginning.

    Raises:
      ValueError: if there are fewer examples than a batch, or ``remainder`` is unknown.
    """
    if remainder not in ("drop", "wrap"):
        raise ValueError(f'remainder must be "drop" or "wrap", got {remainder!r}.')
    if batch_size < 1:
        raise ValueError(f"the batch size must be at least 1, got {batch_size}.")
    if examples < batch_size:
        raise ValueError(
            f"a batch needs {batch_size} examples, the training part has only {examples}: "
            f"take a batch size of at most {examples}."
        )
    return examples // batch_size if remainder == "drop" else -(-examples // batch_size)


def training_plan(
    examples: int,
    batch_size: int,
    seeds: tuple[int, ...],
    epoch: int,
    remainder: Remainder = "drop",
    subsets: np.ndarray | None = None,
) -> np.ndarray:
    """The order of one epoch for each seed: int32 ``[M, S, B]``.

    Every example is in it at most once ("drop"), or every example once and the first ones a
    second time to fill the last batch ("wrap").

    Args:
      examples: the number of examples.
      batch_size: examples in a step.
      seeds: one for each member.
      epoch: the number of the epoch.
      remainder: see above.
      subsets: int ``[M, n]``, the examples that each member sees in an epoch, some of them perhaps
        several times; all by default.
    """
    if subsets is not None:
        examples = subsets.shape[1]
    steps = steps_per_epoch(examples, batch_size, remainder)
    permute = _permutations(examples, jax.default_backend())
    orders = np.asarray(permute(np.asarray(seeds, np.uint32), np.int32(epoch)))
    if subsets is not None:
        orders = np.take_along_axis(subsets, orders, axis=1)
    filled = np.take(orders, np.arange(steps * batch_size), axis=1, mode="wrap")
    return filled.reshape(len(seeds), steps, batch_size).astype(np.int32)


def evaluation_plan(examples: int, batch_size: int, members: int = 1) -> np.ndarray:
    """Every example exactly once, in order, padded with -1: int32 ``[M, S, B]``."""
    steps = -(-examples // batch_size)
    plan = np.full(steps * batch_size, -1, np.int32)
    plan[:examples] = np.arange(examples)
    return np.broadcast_to(plan.reshape(1, steps, batch_size), (members, steps, batch_size))


class Resident:
    """The whole data set, uint8, on every device; batches are gathered inside the program."""

    def __init__(self, dataset: Dataset, mesh: Mesh) -> None:
        self._mesh = mesh
        self._images = place(np.asarray(dataset.images[:]), sharding(mesh))
        self._labels = place(dataset.labels, sharding(mesh))
        self._targets = None
        if dataset.supervision is not None:
            self._targets = place(dataset.supervision, sharding(mesh))

    def windows(self, plan: np.ndarray, first: int, steps: int) -> Iterator[Window]:
        """See ``Source``. The plan of the whole epoch is transferred once."""
        own = place(plan, sharding(self._mesh, MEMBER, None, DATA))
        for start in range(first, plan.shape[1], steps):
            count = min(steps, plan.shape[1] - start)
            yield Window((self._images, self._labels, self._targets), own, start, count)

    @staticmethod
    def batch_at(shared: Any, own: Any, index: jax.Array) -> Batch:
        """See ``Source``."""
        images, labels, targets = shared
        at = own[index]
        # -1 pads: it reads the last example, which then does not count.
        weights = (at >= 0).astype(jnp.float32)
        return Batch(images[at], labels[at], weights, None if targets is None else targets[at])


class Streamed:
    """Images read on the host by Grain, some steps ahead; for data that do not fit on a device.

    Each process reads only its own part of each batch.
    """

    def __init__(self, dataset: Dataset, mesh: Mesh, *, threads: int = 4, ahead: int = 8) -> None:
        self._dataset = dataset
        self._mesh = mesh
        self._threads = threads
        self._ahead = ahead

    def windows(self, plan: np.ndarray, first: int, steps: int) -> Iterator[Window]:
        """See ``Source``. Windows are cut to ``WINDOW_BYTES``, the last one is padded."""
        members, total, batch = plan.shape
        images, supervision = self._dataset.images, self._dataset.supervision
        example_bytes = int(np.prod(images.shape[1:])) * images.dtype.itemsize
        if supervision is not None:
            example_bytes += supervision[0].nbytes
        steps = max(1, min(steps, total, WINDOW_BYTES // (members * batch * example_bytes)))
        where = sharding(self._mesh, MEMBER, None, DATA)
        block = _local_block(where, (members, 1, batch))
        local = plan[block]
        _check_rectangle(where, (members, 1, batch), local.shape)
        reader = self._read(local, first)
        for start in range(first, total, steps):
            count = min(steps, total - start)
            parts = [next(reader) for _ in range(count)]
            parts += [parts[-1]] * (steps - count)
            own = tuple(
                jax.make_array_from_process_local_data(
                    where,
                    np.stack(column, axis=1),
                    (members, steps, batch, *column[0].shape[2:]),
                )
                for column in zip(*parts, strict=True)
            )
            yield Window((), own, 0, count)

    @staticmethod
    def batch_at(shared: Any, own: Any, index: jax.Array) -> Batch:
        """See ``Source``."""
        del shared
        return Batch(*(column[index] for column in own))

    def _read(self, plan: np.ndarray, first: int) -> Iterator[tuple[np.ndarray, ...]]:
        """The fields of ``Batch`` ``[m, b, ...]`` at each step of ``plan`` from ``first`` on."""
        import grain  # noqa: PLC0415 grain is slow to import

        steps = grain.MapDataset.source(_Steps(self._dataset, plan, first))
        options = grain.ReadOptions(num_threads=self._threads, prefetch_buffer_size=self._ahead)
        return iter(steps.to_iter_dataset(options))


class _Steps:
    """The steps of a plan as a random-access source for Grain."""

    def __init__(self, dataset: Dataset, plan: np.ndarray, first: int) -> None:
        self._dataset, self._plan, self._first = dataset, plan, first

    def __len__(self) -> int:
        return self._plan.shape[1] - self._first

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        at = self._plan[:, self._first + index]
        flat = np.maximum(at, 0).ravel()
        images = np.asarray(self._dataset.images[flat]).reshape(
            *at.shape, *self._dataset.image_shape
        )
        labels = self._dataset.labels[flat].reshape(at.shape)
        fields = (images, labels, (at >= 0).astype(np.float32))
        supervision = self._dataset.supervision
        if supervision is None:
            return fields
        return (*fields, supervision[flat].reshape(*at.shape, *supervision.shape[1:]))


@functools.cache
def _permutations(examples: int, platform: str) -> Callable[[Any, Any], jax.Array]:
    """``(seeds [M], epoch) -> int [M, examples]``, compiled."""

    def all_of(seeds: jax.Array, epoch: jax.Array) -> jax.Array:
        def one(seed: jax.Array) -> jax.Array:
            return jax.random.permutation(stream_key(run_key(seed), "order", epoch), examples)

        return jax.vmap(one)(seeds)

    return jax.jit(all_of, compiler_options=run_once_options(platform))


def _check_rectangle(where: NamedSharding, shape: tuple[int, ...], local: tuple[int, ...]) -> None:
    shards = where.addressable_devices_indices_map(shape)
    each = where.shard_shape(shape)
    covered = len({str(index) for index in shards.values()}) * each[0] * each[2]
    if covered != local[0] * local[2]:
        raise ValueError(
            "a streamed data set needs each process's devices to form a rectangle of members by "
            "data, and here they do not: choose another member_axis, or keep the data resident."
        )


def _local_block(where: NamedSharding, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The rectangle of an array of ``shape`` that is on this process's devices."""
    indices = where.addressable_devices_indices_map(shape).values()
    block = []
    for axis, size in enumerate(shape):
        spans = [index[axis].indices(size) for index in indices if index is not None]
        block.append(slice(min(s[0] for s in spans), max(s[1] for s in spans)))
    return block[0], slice(None), block[2]
