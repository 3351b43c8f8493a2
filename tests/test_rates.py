"""Rules by name: every parameter by exactly one, and what they leave to learn."""

import jax
import numpy as np
import pytest

from cnnlab.rates import Rates

PARAMS = {
    "stem": {"conv": {"kernel": np.zeros((3, 3))}},
    "stage1": {
        "block0": {
            "norm1": {"scale": np.zeros(2), "bias": np.zeros(2)},
            "conv": {"kernel": np.zeros(())},
        },
        "block1": {"norm1": {"scale": np.zeros(2), "bias": np.zeros(2)}},
    },
    "head": {"dense": {"kernel": np.zeros((4, 2)), "bias": np.zeros(2)}},
}
BODY = "(stem|stage1)/.*"


def test_every_parameter_has_the_factor_of_its_rule():
    rates = Rates(((BODY, 0.0), ("head/dense/kernel", 1.0), ("head/.*/bias", 0.5)))
    factors = rates.factors(PARAMS)
    assert factors["stem"]["conv"]["kernel"] == factors["stage1"]["block1"]["norm1"]["bias"] == 0
    assert factors["head"]["dense"] == {"kernel": 1.0, "bias": 0.5}
    assert rates.frozen(PARAMS)["head"]["dense"] == {"kernel": False, "bias": False}
    assert set(rates.trainable(PARAMS)) == {"head"}
    ones = jax.tree.map(np.ones_like, rates.trainable(PARAMS))
    assert rates.scaled(ones, PARAMS)["head"]["dense"]["bias"].tolist() == [0.5, 0.5]
    merged = rates.merged(PARAMS, ones)
    assert merged["head"] is not PARAMS["head"] and merged["stem"] == PARAMS["stem"]
    assert jax.tree.structure(merged) == jax.tree.structure(PARAMS)


def test_the_largest_frozen_modules_are_named():
    rates = Rates(
        (
            ("stem/.*|stage1/block0/.*|stage1/block1/norm1/bias", 0.0),
            ("stage1/block1/norm1/scale|head/.*", 1),
        )
    )
    assert rates.frozen_modules(PARAMS) == ("stage1/block0", "stem")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (((BODY, 0.0),), r"none matches 'head/dense/kernel', 'head/dense/bias'"),
        (((BODY, 0.0), (".*kernel|head/.*", 1.0)), r"several match 'stem/conv/kernel', 'stage1"),
        (((BODY, 0.0), ("head/.*", 1.0), ("haed/.*", 1.0)), r"but 'haed/\.\*' matches none"),
        (((".*", 0.0),), "freeze every parameter. Leave at least the head free"),
    ],
)
def test_rules_that_miss_double_match_nothing_or_freeze_all_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        Rates(rules).factors(PARAMS)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ((), "at least one rule"),
        ((("stage(", 1.0),), "regular expression, got 'stage\\('"),
        (((".*", -1.0),), ">= 0 and finite, 0 to freeze, got -1"),
        (((".*", float("inf")),), "finite"),
    ],
)
def test_invalid_rules_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        Rates(rules)


def test_the_table_has_the_number_and_rate_of_the_parameters_of_each_rule():
    lines = Rates(((BODY, 0.0), ("head/.*", 0.1))).table(PARAMS, 0.01).splitlines()
    assert lines[0].split() == ["parameters", "arrays", "numbers", "rate"]
    assert lines[1].split() == [BODY, "6", "18", "frozen"]
    assert lines[2].split() == ["head/.*", "2", "10", "0.001"]
