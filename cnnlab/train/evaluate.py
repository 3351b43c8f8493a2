"""Evaluation: every example exactly once, on one device or many."""

import dataclasses

import jax
import numpy as np
from jax.sharding import Mesh

from cnnlab.data.batches import Resident, Source, Streamed, evaluation_plan
from cnnlab.data.dataset import Dataset
from cnnlab.mesh import DATA, make_mesh
from cnnlab.train.metrics import means
from cnnlab.train.program import eval_program, no_sums, predict_program
from cnnlab.train.state import Recipe, TrainState


def evaluate(
    recipe: Recipe,
    states: TrainState,
    dataset: Dataset,
    *,
    batch_size: int = 512,
    mesh: Mesh | None = None,
    source: Source | None = None,
) -> dict[str, np.ndarray]:
    """Loss and accuracy of each member on a data set, without augmentation.

    The last batch is padded and the padding masked, so the figures are those of every example once,
    for any batch size and any number of devices. Where the states hold a moving average, it is what
    is evaluated.

    Args:
      recipe: how the states were trained.
      states: ``[M, ...]``, as ``fit`` yields them.
      dataset: what to evaluate on.
      batch_size: examples at a time; rounded up to a multiple of the devices.
      mesh: all devices by default.
      source: the data set as batches, where it lies on the devices already.

    Returns:
      ``{"loss", "accuracy"}``, float64 ``[M]`` each; the loss in nats, the accuracy in [0, 1]. No
      accuracy for a recipe without a score.
    """
    members = _members(states)
    mesh = make_mesh(members) if mesh is None else mesh
    source = evaluation_source(dataset, mesh) if source is None else source
    plan = evaluation_plan(len(dataset), _round_batch_size(batch_size, len(dataset), mesh), members)
    program = eval_program(recipe, source.batch_at, mesh)
    sums = no_sums(members, mesh)
    for window in source.windows(plan, 0, plan.shape[1]):
        start, count = np.int32(window.start), np.int32(window.steps)
        sums = program(states, sums, window.own, window.shared, start, count)
    return means(sums, scored=recipe.score is not None)


def predict(
    recipe: Recipe,
    states: TrainState,
    dataset: Dataset,
    *,
    batch_size: int = 512,
    mesh: Mesh | None = None,
) -> np.ndarray:
    """Logits of each member for each example, in order: float32 ``[M, N, K]``.

    What a network gives that is no classifier: ``[M, N, ...]``.

    Args are those of ``evaluate``.
    """
    members = _members(states)
    mesh = make_mesh(members) if mesh is None else mesh
    source = evaluation_source(dataset, mesh)
    plan = evaluation_plan(len(dataset), _round_batch_size(batch_size, len(dataset), mesh), members)
    program = predict_program(recipe, source.batch_at, mesh)
    logits = []
    for window in source.windows(plan, 0, 1):
        out = program(states, window.own, window.shared, np.int32(window.start))
        logits.append(np.asarray(jax.device_get(out)))
    return np.concatenate(logits, axis=1)[:, : len(dataset)]


def as_source(dataset: Dataset, mesh: Mesh, stream: bool | None = None) -> Source:
    """The data set as batches: resident if its images are in memory, else streamed."""
    if stream is None:
        stream = type(dataset.images) is not np.ndarray
    return Streamed(dataset, mesh) if stream else Resident(dataset, mesh)


def evaluation_source(dataset: Dataset, mesh: Mesh, stream: bool | None = None) -> Source:
    """``as_source`` without a teacher's targets, which only a training looks at.

    Annotations are looked at in evaluation, too.
    """
    return as_source(dataclasses.replace(dataset, targets=None), mesh, stream)


def _members(states: TrainState) -> int:
    if states.step.ndim != 1:
        raise ValueError(
            "states must have a leading axis [M, ...], as fit yields them, got a step of shape "
            f"{states.step.shape}. For one network: jax.tree.map(lambda x: x[None], state)."
        )
    return states.step.shape[0]


def _round_batch_size(batch_size: int, examples: int, mesh: Mesh) -> int:
    if batch_size < 1:
        raise ValueError(f"the batch size must be at least 1, got {batch_size}.")
    devices = mesh.shape[DATA]
    return -(-min(batch_size, examples) // devices) * devices
