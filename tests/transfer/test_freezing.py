"""Rates by stage."""

import jax
import pytest
from jax import numpy as jnp

from cnnlab import models, transfer


@pytest.fixture(scope="module")
def network():
    return models.create("resnet8", 3, width=4)


@pytest.fixture(scope="module")
def params(network):
    variables = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    return variables["params"]


def factors_by_stage(rates, params):
    """Stage -> the factors of its parameters."""
    return {name: set(jax.tree.leaves(tree)) for name, tree in rates.factors(params).items()}


STAGES = ("stem", "stage1", "stage2", "stage3", "head")


def test_the_front_is_frozen_up_to_and_with_a_stage(network, params):
    actual = factors_by_stage(transfer.freeze(network, up_to="stage2"), params)
    assert [actual[name] for name in STAGES] == [{0}, {0}, {0}, {1}, {1}]
    assert transfer.freeze(network, depth=3) == transfer.freeze(network, up_to="stage2")


def test_patterns_freeze_and_all_else_learns(network, params):
    rates = transfer.freeze(network, patterns=("stage[12]/.*", "(stage3|stem)/.*norm.*"))
    factors = rates.factors(params)
    assert factors_by_stage(rates, params)["stage1"] == {0} and factors_by_stage(rates, params)[
        "head"
    ] == {1}
    block = factors["stage3"]["block0"]
    assert block["norm1"] == {"scale": 0, "bias": 0} and block["conv1"] == {"kernel": 1}
    with pytest.raises(ValueError, match=r"'stage7/\.\*' matches none"):
        transfer.freeze(network, patterns=("stage7/.*",)).factors(params)


def test_rates_by_stage(network, params):
    lecture = factors_by_stage(transfer.lecture_rates(network), params)
    assert [lecture[name] for name in STAGES] == [{0.01}, {0.01}, {0.01}, {0.1}, {1}]
    decay = factors_by_stage(transfer.layer_decay(network, 0.5), params)
    assert [decay[name] for name in STAGES] == [{0.0625}, {0.125}, {0.25}, {0.5}, {1}]
    factors = factors_by_stage(
        transfer.rates_by_stage(network, {"head": 1, "stem": 0}, rest=0.3), params
    )
    assert [factors[name] for name in STAGES] == [{0}, {0.3}, {0.3}, {0.3}, {1}]


def test_stages_are_unfrozen_one_after_the_other(network, params):
    learning = [
        [name for name in STAGES if factors_by_stage(rates, params)[name] == {1}]
        for rates in transfer.gradual_unfreezing(network)
    ]
    assert learning == [list(STAGES[-n:]) for n in range(1, 6)]


def test_stages_without_parameters_are_no_problem():
    network = models.create("mlp", 3, widths=(4,))  # its stem only flattens
    variables = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
    for rates in (transfer.lecture_rates(network), *transfer.gradual_unfreezing(network)):
        assert factors_by_stage(rates, variables["params"])["head"] == {1}


def test_a_stage_that_was_named_and_has_no_parameters_is_refused():
    network = models.create("mlp", 3, widths=(4,))
    variables = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
    with pytest.raises(ValueError, match=r"'stem/\.\*' matches none"):
        transfer.rates_by_stage(network, {"stem": 0.0}).factors(variables["params"])
    with pytest.raises(ValueError, match=r"something must learn, but '\.\*' freeze every"):
        transfer.freeze(network, patterns=(".*",)).factors(variables["params"])
    named = transfer.lecture_rates(network.front("stage1"), variables["params"])  # the head is cut
    assert factors_by_stage(named, {"stage1": variables["params"]["stage1"]})["stage1"] == {1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give one of up_to, depth and patterns, got 0"),
        ({"up_to": "stem", "depth": 1}, "got 2"),
        ({"up_to": "stage9"}, "unknown stage 'stage9'"),
        ({"up_to": "head"}, "at least the last one learns, got 5"),
        ({"depth": 0}, "between 1 and 4"),
        ({"patterns": "stem/.*"}, "patterns must be a tuple of strings.*'stem/"),
    ],
)
def test_invalid_freezing_is_refused(network, settings, message):
    with pytest.raises(ValueError, match=message):
        transfer.freeze(network, **settings)


def test_factors_are_a_mapping(network):
    with pytest.raises(ValueError, match="must be a mapping from stage to factor.*got 'head'"):
        transfer.rates_by_stage(network, "head")


def test_a_decay_out_of_range_is_refused(network):
    with pytest.raises(ValueError, match=r"in \(0, 1\], got 0"):
        transfer.layer_decay(network, 0.0)
