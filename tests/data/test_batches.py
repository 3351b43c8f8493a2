"""Plans of epochs, and batches from the device and from the host."""

import dataclasses

import numpy as np
import pytest

from cnnlab import data
from cnnlab.data.batches import (
    Resident,
    Streamed,
    evaluation_plan,
    steps_per_epoch,
    training_plan,
)
from cnnlab.mesh import make_mesh


@pytest.fixture(scope="module")
def dataset():
    return data.load("synthetic:50:6x6x1:2", validation=None).train


def drawn(source, plan, first, steps):
    """Every batch of member 0 that a source gives from a plan, as host arrays."""
    batches = []
    for window in source.windows(plan, first, steps):
        own = jax_tree_first(window.own)
        for index in range(window.start, window.start + window.steps):
            batch = source.batch_at(window.shared, own, index)
            batches.append([np.asarray(x) for x in batch if x is not None])
    return batches


def jax_tree_first(tree):
    import jax

    return jax.tree.map(lambda x: x[0], tree)


def test_dropping_leaves_out_the_rest_and_wrapping_fills_from_the_beginning():
    dropped = training_plan(10, 4, (0,), epoch=0, remainder="drop")
    wrapped = training_plan(10, 4, (0,), epoch=0, remainder="wrap")
    assert dropped.shape == (1, 2, 4) and wrapped.shape == (1, 3, 4)
    assert len(set(dropped.ravel())) == 8
    assert sorted(wrapped.ravel()[:10]) == list(range(10))
    assert list(wrapped.ravel()[10:]) == list(wrapped.ravel()[:2])
    assert (wrapped.ravel()[:8] == dropped.ravel()).all()


def test_order_depends_on_seed_and_epoch_only():
    both = training_plan(40, 8, (3, 7), epoch=5)
    assert (both[1] == training_plan(40, 8, (7,), epoch=5)[0]).all()
    assert (both[0] != both[1]).any()
    assert (both[0] != training_plan(40, 8, (3,), epoch=6)[0]).any()


def test_evaluation_holds_every_example_once_and_pads_with_minus_one():
    plan = evaluation_plan(10, 4, members=2)
    assert plan.shape == (2, 3, 4)
    assert plan[1].ravel().tolist() == [*range(10), -1, -1]


@pytest.mark.parametrize("batch", [0, 51])
def test_a_batch_larger_than_the_data_or_empty_is_refused(batch):
    with pytest.raises(ValueError, match=r"at least 1|at most 50"):
        steps_per_epoch(50, batch)
    with pytest.raises(ValueError, match='"drop" or "wrap"'):
        steps_per_epoch(50, 10, "keep")


def test_streamed_batches_are_the_resident_ones_from_any_step(dataset):
    mesh = make_mesh()
    plan = evaluation_plan(len(dataset), 7)
    resident = drawn(Resident(dataset, mesh), plan, 2, 3)
    streamed = drawn(Streamed(dataset, mesh), plan, 2, 3)
    assert len(resident) == len(streamed) == plan.shape[1] - 2
    for (images, labels, weights), (others, other_labels, other_weights) in zip(
        resident, streamed, strict=True
    ):
        counted = weights > 0
        assert (weights == other_weights).all()
        assert (images[counted] == others[counted]).all()
        assert (labels[counted] == other_labels[counted]).all()
    at = plan[0, 2]
    assert (resident[0][0] == dataset.images[at]).all()
    assert (resident[0][1] == dataset.labels[at]).all()
    assert resident[-1][2].sum() == len(dataset) % 7


def test_each_member_draws_from_its_own_subset_as_often_as_it_holds_an_example():
    subsets = np.array([[0, 0, 3, 5], [1, 2, 4, 4]], np.int32)
    plan = training_plan(6, 2, (0, 1), epoch=3, subsets=subsets)
    assert plan.shape == (2, 2, 2) and plan.dtype == np.int32
    assert [sorted(each.ravel().tolist()) for each in plan] == subsets.tolist()


def test_targets_travel_with_their_examples_however_they_are_read(dataset):
    targets = np.arange(2 * len(dataset), dtype=np.float32).reshape(-1, 2)
    with_targets = dataclasses.replace(dataset, targets=targets)
    plan = evaluation_plan(len(dataset), 16)
    for source in (Resident(with_targets, make_mesh()), Streamed(with_targets, make_mesh())):
        drawn_targets = np.concatenate([batch[3] for batch in drawn(source, plan, 0, 4)])
        np.testing.assert_array_equal(drawn_targets[: len(dataset)], targets)
