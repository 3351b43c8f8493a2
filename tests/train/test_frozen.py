"""Frozen parameters: constants of the step, unknown to the optimizer, the same to the bit."""

import dataclasses
import time

import jax
import numpy as np
import optax
import pytest
from jax import numpy as jnp

from cnnlab import augment, data, models, optim, train, transfer
from cnnlab.keys import run_key
from cnnlab.mesh import MEMBER, make_mesh, place, sharding
from cnnlab.models import multiply_adds
from cnnlab.rates import Rates
from cnnlab.train.program import initialise
from cnnlab.train.recorder import Recording
from cnnlab.train.run import Run
from cnnlab.train.step import frozen_modules

# The stem and stage1 as a whole, and of stage2 the first convolution and normalisation.
RULES = (
    ("(stem|stage1)/.*|stage2/block0/(conv1|norm1)/.*", 0.0),
    ("stage2/block0/(?!(conv1|norm1)/).*|stage3/.*", 0.1),
    ("head/.*", 1.0),
)


@pytest.fixture(scope="module")
def frozen(tiny):
    optimizer = optim.create("nesterov", 0.05, weight_decay=0.1)
    return dataclasses.replace(tiny, optimizer=optimizer, rates=Rates(RULES), ema_decay=0.9)


@pytest.fixture(scope="module")
def state(frozen, quick_jit):
    return quick_jit(lambda key: train.init_state(frozen, key, (8, 8, 1)))(run_key(0))


@pytest.fixture(scope="module")
def moved(frozen, state, make_batch, quick_jit):
    """The state after two updates of two members, by vmap."""
    states = jax.tree.map(lambda x: jnp.stack([x, x]), state)
    step = quick_jit(
        jax.vmap(
            lambda state, seed, batch: train.train_step(frozen, state, batch, run_key(seed)),
            in_axes=(0, 0, None),
        )
    )
    for seed in range(2):
        states, _ = step(states, jnp.arange(2, dtype=jnp.uint32), make_batch(12, seed=seed))
    return states


def leaves(tree):
    return {
        "/".join(key.key for key in path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def changed(before, after):
    """Path -> whether any member's values differ from those before."""
    first, last = leaves(before), leaves(after)
    return {
        path: not np.array_equal(np.broadcast_to(value, last[path].shape), last[path])
        for path, value in first.items()
    }


def test_under_vmap_exactly_what_is_free_changes_decay_and_statistics_included(state, moved):
    by_parameter = changed(state.params, moved.params)
    factors = leaves(Rates(RULES).factors(state.params))
    assert by_parameter == {path: factor > 0 for path, factor in factors.items()}
    by_statistic = changed(state.model_state["batch_stats"], moved.model_state["batch_stats"])
    still = {path.rpartition("/")[0] for path, moved_too in by_statistic.items() if not moved_too}
    assert "stem/norm" in still and "stage2/block0/norm1" in still
    assert "stage2/block0/norm2" not in still and "stage3/block0/norm1" not in still
    averaged = changed(state.average.params, moved.average.params)
    assert averaged == by_parameter  # the moving average of a constant is that constant


def test_the_optimizer_remembers_only_what_learns(frozen, state):
    remembered = sum(leaf.size for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim)
    learning = sum(leaf.size for leaf in jax.tree.leaves(frozen.rates.trainable(state.params)))
    assert remembered == learning < sum(leaf.size for leaf in jax.tree.leaves(state.params))


def test_the_free_part_moves_as_plain_sgd_at_its_own_rate(tiny, make_batch, quick_jit):
    """Against the gradient of a written-out loss, with the frozen norms as in evaluation."""
    recipe = dataclasses.replace(tiny, optimizer=optax.sgd(0.1), rates=Rates(RULES))
    state = train.init_state(recipe, run_key(1), (8, 8, 1))
    batch = make_batch(12)
    after, _ = quick_jit(lambda s, b: train.train_step(recipe, s, b, run_key(0)))(state, batch)
    images = recipe.prepare(run_key(0), batch.images)

    def loss(params):
        logits, _ = recipe.network.apply(
            {"params": params, **state.model_state},
            images,
            train=True,
            mutable=["batch_stats"],
            frozen=("stem", "stage1", "stage2/block0/conv1", "stage2/block0/norm1"),
        )
        return recipe.loss(logits, batch.labels).mean()

    gradient = leaves(quick_jit(jax.grad(loss))(state.params))
    factors = leaves(recipe.rates.factors(state.params))
    moves = leaves(jax.tree.map(lambda a, b: a - b, after.params, state.params))
    for path, move in moves.items():
        np.testing.assert_allclose(
            move, -0.1 * factors[path] * gradient[path], rtol=1e-3, atol=1e-7, err_msg=path
        )


def test_the_backward_pass_of_a_frozen_front_is_not_computed(tiny, state, make_batch):
    batch = make_batch(12)

    def cost(rates):
        recipe = dataclasses.replace(tiny, rates=rates)
        initial = state._replace(opt_state=recipe.optimizer.init(recipe.trainable(state.params)))
        initial = initial._replace(average=None)
        return multiply_adds(lambda s: train.train_step(recipe, s, batch, run_key(0)), initial)

    network = tiny.network
    variables = {"params": state.params, **state.model_state}
    images = jnp.zeros((12, 8, 8, 1))
    forward = multiply_adds(lambda x: network.apply(variables, x), images)
    head = cost(transfer.freeze(network, up_to="stage3"))
    assert forward < head < 1.05 * forward
    whole = cost(None)
    assert 2.5 * forward < whole  # forward, and twice that for the gradients
    assert head < cost(transfer.freeze(network, up_to="stage1")) < whole


def test_a_frozen_run_that_is_resumed_comes_to_the_same_bits_and_is_recalibrated_around(tmp_path):
    splits = data.load("synthetic:60:5x5x1:3")
    network = models.create("mlp", 3, widths=(6, 5), norm="batch")
    recipe = train.Recipe(
        network,
        optim.create("adam", 0.01),
        augment.to_unit_range(),
        augment.crop(1),
        rates=transfer.freeze(network, up_to="stage1"),
    )

    def follow(run, epochs):
        with run:
            options = train.FitOptions(epochs=3, batch_size=20, seeds=(0, 1))
            recording = Recording(clock=time.perf_counter)
            fit = run.fit(recipe, splits.train, splits.validation, options, recording)
            return [at.states for at, _ in zip(fit, range(epochs), strict=False)]

    *_, whole = follow(Run.create(tmp_path / "whole", {}, {}), 3)
    follow(Run.create(tmp_path / "parts", {}, {}), 1)
    *_, resumed = follow(Run.resume(tmp_path / "parts"), 3)
    same = jax.tree.map(np.array_equal, whole, resumed)  # optimizer and statistics, too
    assert all(jax.tree.leaves(same))
    mesh = make_mesh(2)
    seeds = place(np.arange(2, dtype=np.uint32), sharding(mesh, MEMBER))
    fresh, _ = initialise(recipe, splits.train, seeds, mesh)
    began, ended = ((s.params, s.model_state["batch_stats"]) for s in (fresh, resumed))
    for before, after in zip(began, ended, strict=True):
        assert not any(changed(before["stage1"], after["stage1"]).values())
        assert all(changed(before["stage2"], after["stage2"]).values())
    anew = train.recalibrate(recipe, resumed, splits.train).model_state["batch_stats"]
    before = resumed.model_state["batch_stats"]
    assert not any(changed(before["stage1"], anew["stage1"]).values())
    assert all(changed(before["stage2"], anew["stage2"]).values())
    still = dataclasses.replace(recipe, rates=transfer.freeze(network, up_to="stage2"))
    assert train.recalibrate(still, resumed, splits.train) is resumed


def test_a_frozen_front_includes_stages_without_parameters_in_it_but_not_after_it(tiny):
    names = ("noise", "stem", "pool", "stage1", "drop", "head")
    network = models.Network(tuple((name, tiny.network.stages[0][1]) for name in names))
    params = {name: {"kernel": jnp.zeros(2)} for name in ("stem", "stage1", "head")}
    for rules, frozen in (
        (((r"(stem|stage1)/.*", 0.0), ("head/.*", 1.0)), {"noise", "stem", "pool", "stage1"}),
        ((("(stem|stage1)/.*", 1.0), ("head/.*", 0.0)), {"head"}),
    ):
        recipe = dataclasses.replace(tiny, network=network, rates=Rates(rules))
        assert set(frozen_modules(recipe, params)) == frozen
