"""Initialisations by name: valid options, and errors for invalid ones at creation."""

import functools

import jax
import pytest
from jax import numpy as jnp

from cnnlab import models
from cnnlab.models import init


def test_names_options_and_equality():
    assert set(init.names()) >= {"default", "he", "lsuv", "fixup", "data", "random_walk"}
    he = init.create("he")
    assert he == init.create("he", fan="fan_in") and hash(he) == hash(init.create("he"))
    assert he != init.create("he", fan="fan_out")
    assert str(init.create("gaussian", std=0.05)) == "gaussian(std=0.05)"
    assert (he.examples, init.create("lsuv", examples=7).examples) == (1, 7)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("kaimin", {}, "unknown initialisation 'kaimin'. Did you mean 'kaiming'"),
        ("xavier", {"fan": "fan_in"}, "unknown option of initialisation 'glorot': 'fan'"),
        ("glorott", {}, "Did you mean 'glorot'"),
        ("he", {"fann": 1}, "Did you mean 'fan'"),
        ("he", {"fan": "fan_on"}, "unknown fan 'fan_on'. Did you mean"),
        ("glorot", {"distribution": "normall"}, "Did you mean 'normal'"),
        ("gaussian", {"std": 0}, "std must be > 0, got 0"),
        ("constant", {"value": "x"}, "value must be a finite number"),
        ("orthogonal", {"gain": float("nan")}, "gain must be a finite number"),
        ("random_walk", {"activation": "tanh"}, "unknown activation 'tanh'"),
        ("random_walk", {"gain": -1.0}, "gain must be > 0"),
        ("lsuv", {"examples": 1}, "examples must be an integer >= 2"),
        ("lsuv", {"examples": 2.0}, "examples must be an integer >= 2"),
        ("data", {"examples": "x"}, "examples must be an integer >= 2"),
        ("data", {"balance": -1}, "balance must be an integer >= 0"),
        ("data", {"balance": 2.5}, "balance must be an integer >= 0, got 2.5"),
        ("data", {"balance": "x"}, "balance must be an integer >= 0, got 'x'"),
        ("data", {"bias": "abc"}, "bias must be a finite number, got 'abc'"),
        ("data", {"bias": float("inf")}, "bias must be a finite number"),
        ("airbench", {"examples": 1}, "examples must be an integer >= 2"),
    ],
)
def test_invalid_options_are_refused_at_creation(name, options, message):
    with pytest.raises(ValueError, match=message):
        init.create(name, **options)


# Numbers and texts that a command line can give, of every kind, however large.
ODD = ("x", "", None, True, (1,), [1], {}, float("nan"), float("inf"), 0, -1, 1, 1.5, 10**400)


@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name in init.names() for option in init.defaults(name)]
)
def test_a_value_is_refused_when_created_or_it_works(name, option):
    network = models.airbench(3) if name == "airbench" else models.mlp(3, widths=(2,))
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    refused = 0
    for value in ODD:
        try:
            chosen = init.create(name, **{option: value})
        except ValueError as error:
            assert option in str(error)
            refused += 1
            continue
        jax.eval_shape(functools.partial(chosen, network), jax.random.key(0), images)
    assert refused >= 9


@pytest.mark.parametrize(
    ("other", "name"),
    [("kaiming", "he"), ("xavier", "glorot"), ("krahenbuhl", "data"), ("data_dependent", "data")],
)
def test_other_names_make_the_same_initialisation(other, name):
    made = init.create(other)
    assert made == init.create(name) and made.name == name
    assert init.defaults(other) == init.defaults(name)
    assert name in init.names() and other not in init.names()
    assert f"{other}" in init.__doc__


def test_the_defaults_are_read_only():
    with pytest.raises(TypeError):
        init.defaults("he")["fan"] = "fan_out"
    assert init.create("he").options == (("fan", "fan_in"), ("distribution", "normal"))
